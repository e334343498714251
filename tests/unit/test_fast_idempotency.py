"""What an idempotent call is spared beside the plain way of it: the same requests, texts and errors come of both."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import IdempotencyStore
from dynamo_outbox.consuming import idempotency
from dynamo_outbox.consuming import keys as identity
from dynamo_outbox.consuming import results
from dynamo_outbox.consuming import claims
from dynamo_outbox.codec import json_text
from dynamo_outbox.consuming.claims import Claim, Met, Place, Terms
from dynamo_outbox.errors import MissingIdempotencyKeyError
from dynamo_outbox.aws.functions import JSON_TYPES, argument_binder
from dynamo_outbox.consuming.keys import claim_maker
from dynamo_outbox.consuming.results import ResultCodec

from ..doubles import FixedClock, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.consuming.claims import OnExpiredLease

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
    milliseconds = int(now.timestamp() * 1000)
    request: dict[str, Any] = terms.claim[policy](dict, CLAIM, milliseconds, terms.lease(lease))
    whole = [each // timedelta(milliseconds=1) for each in (lease, margin, ttl)]
    numbers = {
        ":leaseExpiresAt": milliseconds + whole[0],
        ":expiresAt": (milliseconds + max(whole[2], whole[0] + whole[1])) // 1000,
        ":nowSeconds": int(now.timestamp()),
        ":nowMilliseconds": milliseconds,
        ":one": 1,
        **({":overdue": milliseconds - whole[1]} if policy == "rerun" else {}),
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
        (lambda terms, now: terms.complete(dict, CLAIM, now, None, False), "#status = :status", {}),
        (
            lambda terms, now: terms.complete(dict, CLAIM, now, "1", False),
            "#status = :status, #result = :result",
            {":result": {"S": "1"}},
        ),
        (
            lambda terms, now: terms.complete(dict, CLAIM, now, "1", True),
            "#status = :status, #result = :result, #resultByAnnotation = :resultByAnnotation",
            {":result": {"S": "1"}, ":resultByAnnotation": {"BOOL": True}},
        ),
        (
            lambda terms, now: terms.fail(dict, CLAIM, now, "{}"),
            "#status = :status, #failure = :failure",
            {":failure": {"S": "{}"}},
        ),
        (None, "#status = :status", {}),
    ],
)
@given(where=PLACES, now=TIMES, ttl=DURATIONS)
def test_an_ending_says_how_the_call_ended_and_no_more(
    ending: Callable[[Terms, int], dict[str, Any]] | None,
    update: str,
    values: dict[str, Any],
    where: Place,
    now: datetime,
    ttl: timedelta,
) -> None:
    """A completion sets what the call left and when it is forgotten, a release the status alone; both by the token."""
    terms = Terms(where, ttl=ttl, margin=timedelta(seconds=1))
    milliseconds = int(now.timestamp() * 1000)
    names = {f"#{name}": name for name in ("claimToken", "status", *(name[1:] for name in values))}
    if ending is None:
        request: dict[str, Any] = terms.release(dict, CLAIM)
        status, expiry = "RELEASED", {}
    else:
        request = ending(terms, milliseconds)
        status, expiry = (
            "COMPLETED",
            {":expiresAt": {"N": str((milliseconds + ttl // timedelta(milliseconds=1)) // 1000)}},
        )
        update = f"{update}, #expiresAt = :expiresAt"
        names["#expiresAt"] = "ttl"
    assert request == {
        "TableName": "handled",
        "Key": where.key_of(CLAIM),
        "UpdateExpression": f"SET {update}",
        "ConditionExpression": claims.ENDING_CONDITION,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {
            ":token": {"S": "token"},
            ":inProgress": {"S": "IN_PROGRESS"},
            ":status": {"S": status},
            **values,
            **expiry,
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@pytest.mark.parametrize("result", [None, ("1", False), ("1", True)])
@pytest.mark.parametrize("ending", ["claim", "complete", "fail", "release"])
def test_no_request_writes_into_another(ending: str, result: tuple[str, bool] | None) -> None:
    """Two requests of a store share what they don't change, and nothing else."""
    terms = Terms(Place("handled", "pk", None, "", "ttl"), ttl=timedelta(days=8), margin=timedelta(seconds=1))
    text, by_annotation = result or (None, False)
    make: Callable[[Claim], dict[str, Any]] = {
        "claim": lambda claim: terms.claim["rerun"](dict, claim, 1, terms.lease(timedelta(1))),
        "complete": lambda claim: terms.complete(dict, claim, 1, text, by_annotation),
        "fail": lambda claim: terms.fail(dict, claim, 1, "{}"),
        "release": lambda claim: terms.release(dict, claim),
    }[ending]
    first = make(CLAIM)
    second = make(CLAIM._replace(key="orders#2", token="another"))
    assert first["Key"] == {"pk": {"S": "orders#1"}}
    assert first["ExpressionAttributeValues"][":token"] == {"S": "token"}
    assert second["Key"] == {"pk": {"S": "orders#2"}}
    assert second["ExpressionAttributeValues"][":token"] == {"S": "another"}


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
    """The row of a record, one rule after the other."""
    if not record or int(record["ttl"]["N"]) <= int(NOW.timestamp()):
        return Met.FORGOTTEN
    status = record["status"]["S"]
    is_own = record["claimToken"]["S"] == CLAIM.token
    if status == "RELEASED":
        return Met.SPENT if is_own else Met.RELEASED
    if is_own:
        return Met.OWN
    late = int(NOW.timestamp() * 1000) - int(MARGIN.total_seconds() * 1000)
    if status != "COMPLETED" and int(record["leaseExpiresAt"]["N"]) <= late:
        return Met.OVERDUE
    if record["fingerprint"]["S"] != CLAIM.fingerprint:
        return Met.OTHER_PAYLOAD
    if status != "COMPLETED":
        return Met.HELD
    if "failure" in record:
        return Met.FAILED
    return Met.DONE if "result" in record else Met.DONE_WITHOUT_RESULT


@given(RECORDS)
def test_a_record_is_read_no_further_than_needed(record: dict[str, Any]) -> None:
    """Its row is the one that all of its values give, and what lacks something fails in the same way."""
    terms = Terms(Place("handled", "pk", None, "", "ttl"), ttl=timedelta(days=8), margin=MARGIN)
    found = outcome(lambda: claims.what_is_met(CLAIM, record, terms, int(NOW.timestamp() * 1000)))
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
        plainly.setattr(results, "_is_plain", lambda *_: False)
        assert fast == outcome(lambda: codec.write(result))


def test_a_result_that_holds_itself_is_refused_as_ever() -> None:
    """What holds itself, twice even, is refused at once, by an error that says so."""
    result: dict[str, Any] = {}
    result["a"] = result["b"] = [result, result]
    for codec in CODECS:
        with pytest.raises(ValueError, match="Circular reference"):
            codec.write(result)


def test_what_holds_itself_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its types are looked at first, which has an end: its text would take all memory before it is refused."""
    monkeypatch.setattr(results, "_as_python", pytest.fail)
    result: dict[str, Any] = {"text": "x"}
    result["self"] = result
    assert results._plain(result) is None


@pytest.mark.parametrize("text", ["a", "é", "\x7f"])
def test_a_result_of_open_type_has_the_limit_of_any(text: str) -> None:
    """A result that is written by its type alone fits into an item, to the byte, or is refused."""
    codec = ResultCodec(returning(dict[str, Any]))
    codec.write({})  # the way by the type is open from then on
    room = (results.MAX_RESULT_BYTES - len('{"a":""}')) // len(text.encode())
    assert json.loads(codec.write({"a": text * room})[0]) == {"a": text * room}
    with pytest.raises(ValueError, match="an item leaves room for"):
        codec.write({"a": text * (room + 1)})


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


@dataclasses.dataclass(frozen=True)
class FrozenOrder:
    id: str


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 1500


def one(order: Any) -> None: ...
def two(order: Any, extra: Any = None) -> None: ...
def any_number(*order: Any, **extra: Any) -> None: ...


IDS: st.SearchStrategy[Any] = st.sampled_from(["7", "7", "é"]) | LONG | VALUES
PAYLOADS: st.SearchStrategy[Any] = (
    st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "a": VALUES,
            "requestContext": st.just({}),
            "detail": st.just({"a": 1}),
            "specversion": st.just("1.0"),
        },
    )
    | VALUES
)
ARGUMENTS = PAYLOADS | st.just(Context()) | st.just(FrozenOrder("1"))


@pytest.mark.parametrize("function", [one, two, any_number])
@pytest.mark.parametrize("on_missing_key", ["raise", "run"])
@given(
    args=st.lists(ARGUMENTS, max_size=2),
    kwargs=st.dictionaries(st.sampled_from(["order", "extra"]), ARGUMENTS, max_size=2),
    scope=st.sampled_from(["s", "é"]),
)
def test_a_claim_that_is_made_at_once_is_that_of_the_rules(
    function: Callable[..., None], on_missing_key: Any, args: list[Any], kwargs: dict[str, Any], scope: str
) -> None:
    """However a call is written and whatever it holds: its key, its fingerprint, its lease, or its refusal."""

    def made() -> object:
        claim_of = claim_maker(function, key="id", fingerprint=None, scope=scope, on_missing_key=on_missing_key)
        if (call := claim_of(tuple(args), kwargs)) is None:
            return None
        (key, token, fingerprint), lease = call
        assert len(token) == 32
        return key, fingerprint, lease

    at_once = outcome(made)
    with pytest.MonkeyPatch.context() as plainly:
        plainly.setattr(identity, "plain_parameters", lambda _: [])
        assert at_once == outcome(made)


@pytest.mark.parametrize(
    "call",
    [
        {"order": {"id": "7"}, "extra": FrozenOrder("1")},
        {"order": {"id": "7"}, "extra": Context()},
        {"order": {"id": "7", "requestContext": {"http": {"method": "POST"}}, "rawPath": "/", "body": "1"}},
        {"order": {"id": "7", "detail-type": "T", "source": "s", "detail": {"a": 1}}},
        {"order": {"id": "é" * (identity.MAX_KEY_BYTES // 2)}},
        {"order": {"id": "é" * (identity.MAX_KEY_BYTES // 2 - 1)}},
    ],
)
def test_what_is_nearly_a_plain_call_is_claimed_by_the_rules(call: dict[str, Any]) -> None:
    """A context, a model, a request, an event or a key of many bytes beside what makes a claim at once."""
    function = one if len(call) == 1 else two

    def made() -> object:
        claim_of = claim_maker(function, key="id", fingerprint=None, scope="s", on_missing_key="raise")
        made = claim_of((), call)
        return made and (made[0][0], made[0][2], made[1])

    at_once = outcome(made)
    with pytest.MonkeyPatch.context() as plainly:
        plainly.setattr(identity, "plain_parameters", lambda _: [])
        assert at_once == outcome(made)


def test_each_claim_has_a_token_of_its_own() -> None:
    """Two claims of one call, made at once or by the rules, never have one token."""
    for key in ("id", lambda order: str(order["id"])):
        claim_of = claim_maker(one, key=key, fingerprint=None, scope="s", on_missing_key="raise")
        calls = [claim_of(({"id": "1"},), {}) for _ in range(3)]
        assert len({call[0][1] for call in calls if call is not None}) == 3


def test_a_store_without_a_clock_of_its_own_tells_the_machines_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a claim's times are those of the machine's clock; a clock that is given is asked each time."""
    monkeypatch.setattr(idempotency, "time", SimpleNamespace(time=lambda: 5.0019))
    assert IdempotencyStore("handled", client=fake_dynamodb({"handled": ["pk"]}))._now() == 5001
    clock = FixedClock()
    store = IdempotencyStore("handled", client=fake_dynamodb({"handled": ["pk"]}), clock=clock)
    before = store._now()
    clock.advance(timedelta(milliseconds=7))
    assert (before, store._now()) == (
        int(FixedClock().now.timestamp() * 1000),
        int(FixedClock().now.timestamp() * 1000) + 7,
    )


@pytest.mark.parametrize("kind", sorted(JSON_TYPES, key=repr))
def test_jsons_own_types_are_nothing_else(kind: type) -> None:
    """What is spared for them would find nothing: no context, no model, nothing to await."""
    assert not hasattr(kind, "get_remaining_time_in_millis")
    assert not hasattr(kind, "model_dump")
    assert not dataclasses.is_dataclass(kind)
    assert not inspect.isawaitable(kind())
