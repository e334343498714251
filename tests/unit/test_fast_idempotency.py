"""What an idempotent call is spared beside the plain way of it: the same requests, texts and errors come of both."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import identity, results
from dynamo_outbox.core import claims, json_text
from dynamo_outbox.core.claims import Claim, Met, Place, Terms
from dynamo_outbox.errors import MissingIdempotencyKeyError
from dynamo_outbox.functions import JSON_TYPES, argument_binder
from dynamo_outbox.results import ResultCodec

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.core.claims import OnExpiredLease

CLAIM = Claim("orders#1", "token", "fingerprint")
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # it has one
DURATIONS = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))
PLACES = st.builds(
    Place, st.just("handled"), st.just("pk"), st.none() | st.just("sk"), st.sampled_from(["", "a/"]), st.just("ttl")
)


def outcome(call: Callable[[], object]) -> object:
    """What a call returns, types included, or its error."""
    try:
        returned = call()
    except Exception as error:
        return type(error), str(error)
    return repr(returned)


@given(PLACES, TIMES, DURATIONS, DURATIONS, DURATIONS, st.sampled_from(["rerun", "raise"]))
def test_a_claim_says_what_its_store_and_the_time_make_of_it(
    where: Place, now: datetime, lease: timedelta, margin: timedelta, ttl: timedelta, policy: OnExpiredLease
) -> None:
    """What is made once for a store changes nothing in a request: each value is as reckoned from the time alone."""
    terms = Terms(where, ttl=ttl, margin=margin)
    request = claims.claim_request(CLAIM, terms, now=now, lease=terms.lease(lease), on_expired_lease=policy)
    milliseconds = int(now.timestamp() * 1000)
    numbers = {
        ":leaseExpiresAt": milliseconds + int(lease.total_seconds() * 1000),
        ":expiresAt": int((now + max(ttl, lease + margin)).timestamp()),
        ":nowSeconds": int(now.timestamp()),
        ":nowMilliseconds": milliseconds,
        ":one": 1,
        **({":overdue": milliseconds - int(margin.total_seconds() * 1000)} if policy == "rerun" else {}),
    }
    texts = {":inProgress": "IN_PROGRESS", ":released": "RELEASED", ":token": "token", ":fingerprint": "fingerprint"}
    assert request == {
        "TableName": "handled",
        "Key": where.key_of(CLAIM),
        "UpdateExpression": claims.CLAIM_UPDATE,
        "ConditionExpression": claims.CLAIM_CONDITIONS[policy],
        "ExpressionAttributeNames": {"#key": "pk", "#expiresAt": "ttl", **claims._CLAIM_NAMES},
        "ExpressionAttributeValues": {name: {"S": text} for name, text in texts.items()}
        | {name: {"N": str(number)} for name, number in numbers.items()},
        "ReturnValues": "UPDATED_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@pytest.mark.parametrize(
    ("ending", "update", "values"),
    [
        (claims.succeeded(None), "#status = :status", {":status": {"S": "COMPLETED"}}),
        (
            claims.succeeded(("1", False)),
            "#status = :status, #result = :result",
            {":status": {"S": "COMPLETED"}, ":result": {"S": "1"}},
        ),
        (
            claims.succeeded(("1", True)),
            "#status = :status, #result = :result, #resultByAnnotation = :resultByAnnotation",
            {":status": {"S": "COMPLETED"}, ":result": {"S": "1"}, ":resultByAnnotation": {"BOOL": True}},
        ),
        (
            claims.failed("{}"),
            "#status = :status, #failure = :failure",
            {":status": {"S": "COMPLETED"}, ":failure": {"S": "{}"}},
        ),
        (None, "#status = :status", {":status": {"S": "RELEASED"}}),
    ],
)
@given(where=PLACES, now=TIMES, ttl=DURATIONS)
def test_an_ending_says_how_the_call_ended_and_no_more(
    ending: dict[str, Any] | None, update: str, values: dict[str, Any], where: Place, now: datetime, ttl: timedelta
) -> None:
    """A completion sets what the call left and when it is forgotten, a release the status alone; both by the token."""
    terms = Terms(where, ttl=ttl, margin=timedelta(seconds=1))
    if ending is None:
        request = claims.release_request(CLAIM, terms)
        expiry = {}
    else:
        request = claims.completion_request(CLAIM, terms, ending=ending, now=now)
        expiry = {":expiresAt": {"N": str(int((now + ttl).timestamp()))}}
        update = f"{update}, #expiresAt = :expiresAt"
    names = {f"#{name[1:]}": name[1:] for name in values} | ({"#expiresAt": "ttl"} if expiry else {})
    assert request == {
        "TableName": "handled",
        "Key": where.key_of(CLAIM),
        "UpdateExpression": f"SET {update}",
        "ConditionExpression": claims.ENDING_CONDITION,
        "ExpressionAttributeNames": {"#claimToken": "claimToken", **names},
        "ExpressionAttributeValues": {
            ":token": {"S": "token"},
            ":inProgress": {"S": "IN_PROGRESS"},
            **values,
            **expiry,
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def test_no_request_writes_into_another() -> None:
    """Two requests of a store share what they don't change, and nothing else."""
    terms = Terms(Place("handled", "pk", None, "", "ttl"), ttl=timedelta(days=8), margin=timedelta(seconds=1))
    first = claims.release_request(CLAIM, terms)
    second = claims.release_request(CLAIM._replace(key="orders#2", token="another"), terms)
    assert first["Key"] == {"pk": {"S": "orders#1"}}
    assert first["ExpressionAttributeValues"][":token"] == {"S": "token"}
    assert second["Key"] == {"pk": {"S": "orders#2"}}


NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
MARGIN = timedelta(seconds=1)
NUMBERS = st.sampled_from([int(NOW.timestamp()) + each for each in (-1, 0, 1)]).map(str) | st.just("no number")
RECORDS: st.SearchStrategy[dict[str, dict[str, str]]] = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.builds(lambda tag, value: {tag: value}, st.sampled_from("NS"), NUMBERS),
        "leaseExpiresAt": st.builds(lambda value: {"N": f"{value}000"}, NUMBERS),
        "claimToken": st.sampled_from([{"S": "token"}, {"S": "another"}, {"N": "5"}]),
        "status": st.sampled_from([{"S": "IN_PROGRESS"}, {"S": "COMPLETED"}, {"S": "RELEASED"}, {"N": "5"}]),
        "fingerprint": st.sampled_from([{"S": "fingerprint"}, {"S": "another"}]),
        "result": st.just({"S": "1"}),
        "failure": st.just({"S": "{}"}),
    },
)


def plainly_met(record: dict[str, dict[str, str]]) -> Met:
    """The row of a record, whose values are all read before any is looked at."""
    held = {name: next(iter(typed.values())) for name, typed in record.items()}
    if not held or int(held["ttl"]) <= int(NOW.timestamp()):
        return Met.FORGOTTEN
    is_own = held["claimToken"] == CLAIM.token
    if held["status"] == "RELEASED":
        return Met.SPENT if is_own else Met.RELEASED
    if is_own:
        return Met.OWN
    is_completed = held["status"] == "COMPLETED"
    late = int(NOW.timestamp() * 1000) - int(MARGIN.total_seconds() * 1000)
    if not is_completed and int(held["leaseExpiresAt"]) <= late:
        return Met.OVERDUE
    if held["fingerprint"] != CLAIM.fingerprint:
        return Met.OTHER_PAYLOAD
    if not is_completed:
        return Met.HELD
    if "failure" in held:
        return Met.FAILED
    return Met.DONE if "result" in held else Met.DONE_WITHOUT_RESULT


@given(RECORDS)
def test_a_record_is_read_no_further_than_needed(record: dict[str, Any]) -> None:
    """Its row is the one that all of its values give, and what lacks something fails in the same way."""
    found = outcome(lambda: claims.what_is_met(CLAIM, record, ttl_attribute="ttl", now=NOW, margin=MARGIN))
    assert found == outcome(lambda: plainly_met(record))


def test_a_row_is_found_by_itself_and_by_its_text() -> None:
    """A row's hash is its text's, as it equals that."""
    assert all({str(met): met}[met] is met for met in Met)


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


MARKS = st.text(alphabet='.,:[]{}"\\e+-015aé\x7f\ud83d\ude00 \n', max_size=8)
NUMBERS_OF_MANY_FORMS = st.sampled_from(
    [1.0, -1.0, 1e16, 1e15, 1e22, 1e-4, 9e-5, -9e-5, -0.0, 10**16, 10**4000, Whole(1), HTTPStatus.OK, Decimal("1.5")]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | NUMBERS_OF_MANY_FORMS
    | MARKS
    | st.sampled_from([Text("a"), b"a", object(), (1, "a"), {1}])
)
KEYS: st.SearchStrategy[Any] = MARKS | st.sampled_from([1, None, True, Text("b"), 1.5])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda members: (
        st.lists(members, max_size=3)
        | st.dictionaries(KEYS, members, max_size=3)
        | st.lists(members, max_size=2).map(tuple)
    ),
    max_leaves=6,
)
DEEP: list[Any] = []
for _ in range(250):
    DEEP = [DEEP]


def returning(annotation: Any) -> Callable[[], Any]:
    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    return function


CODECS = [ResultCodec(returning(each)) for each in (Any, dict, dict[str, Any], list[Any], dict[str, int])]


@pytest.mark.parametrize("codec", CODECS)
@given(result=VALUES | st.just(DEEP) | st.dictionaries(MARKS, NUMBERS_OF_MANY_FORMS, max_size=2))
def test_a_result_is_written_as_if_it_had_been_read_back(codec: ResultCodec, result: Any) -> None:
    """A result whose types alone say that it comes back is stored as what is read back and compared is, or refused."""
    fast = outcome(lambda: codec.write(result))
    with pytest.MonkeyPatch.context() as plainly:
        plainly.setattr(results, "_plain", lambda *_: None)
        assert fast == outcome(lambda: codec.write(result))


def test_a_result_that_holds_itself_is_refused_as_ever() -> None:
    """What holds itself, twice even, is refused at once, by an error that says so."""
    result: dict[str, Any] = {}
    result["a"] = result["b"] = [result, result]
    for codec in CODECS:
        with pytest.raises(ValueError, match="Circular reference"):
            codec.write(result)


def test_what_holds_itself_is_not_written() -> None:
    """Its types are looked at first, which has an end: its text would take all memory before it is refused."""
    result: dict[str, Any] = {"text": "x"}
    result["self"] = result
    assert results._plain(result, pytest.fail) is None


@given(MARKS | VALUES.map(repr) | st.sampled_from(["{}", " {}", "{} ", "\ufeff1", "1 2", "NaN", '{"a": 1}', "[" * 9]))
def test_a_stored_text_is_read_as_json_reads_it(text: str) -> None:
    """White space, a mark of byte order, or what is no JSON: the value or the error is that of `json.loads`."""
    assert outcome(lambda: results._loaded(text)) == outcome(lambda: json.loads(text))


@given(NUMBERS_OF_MANY_FORMS | st.lists(NUMBERS_OF_MANY_FORMS, max_size=2) | VALUES)
def test_a_fingerprint_is_that_of_the_walk(value: Any) -> None:
    """A text that looks like numbers, or a number in whatever place, changes nothing of the canonical text."""
    assert outcome(lambda: json_text.canonical(value)) == outcome(lambda: json_text._canonical(value))


class Name(str, Enum):  # noqa: UP042  # the kind of enum whose str() is its name
    A = "a"


@pytest.mark.parametrize("number", [1, 1.0, Decimal("1.0")])
def test_a_key_is_its_text_whatever_stands_behind_it(number: object) -> None:
    """An enum's member as a key is its text, whichever way the value beside it goes."""
    assert json_text.canonical({Name.A: number}) == '{"a":1}'


def test_a_fingerprint_may_have_an_integer_that_python_doesnt_write() -> None:
    """An integer beyond what Python writes as text has its canonical text all the same."""
    assert json_text.canonical([10**5000]) == json_text._canonical([10**5000])


def test_a_fingerprint_of_what_holds_itself_is_an_error() -> None:
    """What holds itself has no canonical text, with or without the encoder in C."""
    value: list[Any] = []
    value.append(value)
    for write in (json_text.canonical, json_text._canonical):
        with pytest.raises(RecursionError):
            write(value)


@given(VALUES)
def test_what_is_ready_writes_as_its_encoder(value: Any) -> None:
    """The parts of an encoder that are set up once write as the encoder does, refusals included."""
    for options in ({}, {"ensure_ascii": False}, {"sort_keys": True, "separators": (",", ":")}, {"allow_nan": False}):
        encoder = json.JSONEncoder(**options)
        assert outcome(lambda: json_text.ready(encoder)(value)) == outcome(lambda: encoder.encode(value))  # noqa: B023


NAMES = st.sampled_from("abc")


@given(st.lists(st.integers(), max_size=3), st.dictionaries(NAMES, st.integers(), max_size=3), st.integers(0, 1))
def test_a_calls_arguments_are_those_that_its_signature_binds(
    args: list[int], given: dict[str, int], skip: int
) -> None:
    """However a call is written, its arguments, their order and its refusal are the signature's."""

    def whole(a: int, b: int) -> None: ...
    def defaults(a: int, b: int = 5, c: int = 6) -> None: ...
    def starred(a: int, *b: int, c: int = 5, **d: int) -> None: ...

    for function in (whole, defaults, starred):
        signature = inspect.signature(function)
        expected = outcome(lambda: list(signature.bind(*args, **given).arguments.items())[skip:])  # noqa: B023
        bind = argument_binder(function, skip)
        assert outcome(lambda: list(bind(tuple(args), given).items())) == expected  # noqa: B023


def plain_key(found: object, where: str, scope: str) -> str:
    """The rules of a key, one after the other."""
    if found is None or found == "":
        raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
    if not isinstance(found, (str, int, Decimal)) or isinstance(found, bool):
        raise MissingIdempotencyKeyError(scope, f"{where} finds {found!r}, and a key is text or a whole number")
    if len(f"{scope}#{found!s}".encode()) > identity.MAX_KEY_BYTES:
        raise MissingIdempotencyKeyError(scope, f"{where} finds a key of {len(str(found)):,} characters; give a digest")
    return f"{scope}#{found!s}"


LONG = st.sampled_from(["", "é" * 990, "é" * 991, "a" * 1981, "a" * 1982, "a" * 1983])


@given(LONG | VALUES, st.sampled_from(["s", "é"]), st.booleans())
def test_a_key_follows_its_rules(found: Any, scope: str, by_name: bool) -> None:
    """A key that is plainly right is what the rules make of it, and any other is refused in their words."""
    key: Any = "id" if by_name else lambda _: found
    where = "'id'" if by_name else "the key function"
    payload = {"id": found}
    fast = outcome(lambda: identity.key_finder(key, scope)(payload, (payload,), {}))
    assert fast == outcome(lambda: plain_key(found, where, scope))


@pytest.mark.parametrize("kind", sorted(JSON_TYPES, key=repr))
def test_jsons_own_types_are_nothing_else(kind: type) -> None:
    """What is spared for them would find nothing: no context, no model, nothing to await."""
    assert not hasattr(kind, "get_remaining_time_in_millis")
    assert not hasattr(kind, "model_dump")
    assert not dataclasses.is_dataclass(kind)
    assert not inspect.isawaitable(kind())
