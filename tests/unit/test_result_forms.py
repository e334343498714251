"""Results that the library's own values are in, and results that can't be stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction, decode_item, encode_item, idempotent
from dynamo_outbox.consuming.failures import read_failure, write_failure
from dynamo_outbox.consuming.results import ResultCodec, as_json
from dynamo_outbox.errors import LeaseLostError, ResultError, UnknownOutcomeError

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock

EVENT = Event("OrderPlaced", {"total": 5}, id="7")
LEASE, MARGIN = timedelta(minutes=1), timedelta(seconds=1)


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"], "accounts": ["id"]}, clock)


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, lease=LEASE, clock_margin=MARGIN, clock=clock)


def unannotated(_: Event) -> Any: ...


def as_dict(_: Event) -> dict[str, Any]:
    return {}


CODECS = [ResultCodec(unannotated), ResultCodec(as_dict)]
NUMBERS = st.decimals(min_value=-(10**9), max_value=10**9, places=2, allow_nan=False)
NAMES = st.sampled_from(["a", "b", "$dynamodb", "N", "S", "é"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.sets(NUMBERS, min_size=1, max_size=3)
    | st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=3)
    | st.sets(st.binary(min_size=1, max_size=3), min_size=1, max_size=3),
    lambda members: st.lists(members, max_size=3) | st.dictionaries(NAMES, members, max_size=3),
    max_leaves=8,
)


def shown(value: Any) -> Any:
    """Return a value with its types, for a comparison; sets have no order."""
    if isinstance(value, dict):
        return {name: shown(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shown(member) for member in value]
    return (type(value), sorted(map(repr, value)) if isinstance(value, set) else repr(value))


@pytest.mark.parametrize("codec", CODECS, ids=["unannotated", "dict"])
@given(item=st.dictionaries(NAMES, VALUES, max_size=4))
def test_an_item_that_the_library_decoded_is_a_result(codec: ResultCodec, item: dict[str, Any]) -> None:
    """A value from `decode_item` is stored without an annotation, and read back with its types and digits."""
    decoded = decode_item(encode_item(item))
    assert shown(codec.read("key", *codec.write(decoded))) == shown(decoded)


@pytest.mark.parametrize(
    ("result", "form"),
    [
        ({"total": Decimal("1.10"), "count": 1, "rate": 1.5}, "dynamodb"),
        ([Decimal(1), {"tags": {"a", "b"}, "raw": b"\xff"}], "dynamodb"),
        (Decimal("-0.00"), "dynamodb"),
        (b"", "dynamodb"),
        ({"$dynamodb": {"N": "1"}}, "json"),
        ({"$dynamodb": "x", "total": Decimal(1)}, "dynamodb"),
        ({"$dynamodb": Decimal(1)}, "dynamodb"),
        ({"a": {"$dynamodb": "x"}, "total": Decimal(1)}, "dynamodb"),
        ({"a": {"$dynamodb": {"$dynamodb": [Decimal(1), None]}}}, "dynamodb"),
        ({"total": 5}, "json"),
        (None, "json"),
    ],
)
def test_a_result_with_values_of_dynamodb_comes_back(result: Any, form: str) -> None:
    """Decimals, binary and sets come back beside JSON's values, also beside the name that marks them."""
    stored = CODECS[0].write(result)
    assert stored.form == form
    assert shown(CODECS[0].read("key", *stored)) == shown(result)


def nested(depth: int) -> list[Any]:
    result: list[Any] = []
    for _ in range(depth):
        result = [result]
    return result


class Lazy(dict[str, Any]):
    """A mapping whose own methods fail."""

    def items(self) -> Any:
        raise LookupError("detached")


class Angry(Exception):  # noqa: N818  # raised by a value of the user's
    pass


class Touchy:
    def __eq__(self, _: object) -> bool:
        raise Angry

    def __hash__(self) -> int:
        raise Angry


class Model(BaseModel):
    text: str


UNSTORABLE = {
    "nested 400 levels": nested(400),
    "nested 990 levels": nested(990),
    "nested dictionaries": json.loads('{"a":' * 400 + "1" + "}" * 400),
    "too large": "x" * 500_000,
    "too large in bytes": "é" * 230_000,
    "any object": object(),
    "generator": (each for each in ""),
    "keys that are numbers": {1: 2},
    "integer set": {1, 2},
    "empty set": set(),
    "mixed set": {"a", b"a"},
    "frozenset": frozenset("a"),
    "39 digits": Decimal("1" * 39),
    "NaN": Decimal("NaN"),
    "signalling NaN": [Decimal("sNaN")],
    "out of range": Decimal("1E+200"),
    "number too long for text": 10**5000,
    "detached": Lazy(a=1),
    "refuses to be compared": [Touchy()],
    "mark beside a plain number": {"a": {"$dynamodb": 1}, "total": Decimal(1)},
    "halves of a surrogate pair": "\ud83d\ude00",
}


@pytest.mark.parametrize("result", UNSTORABLE.values(), ids=UNSTORABLE.keys())
@pytest.mark.parametrize("policy", ["rerun", "raise"])
def test_a_result_that_cannot_be_stored_counts_as_done(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock, result: Any, policy: Any
) -> None:
    """The function has run: each call raises ResultError, past the lease too, and none runs it again."""
    ran = []

    @idempotent(store, scope="s", on_expired_lease=policy)
    def handle(event: Event) -> Any:
        ran.append(event)
        return result

    for _ in range(3):
        with pytest.raises(ResultError):
            handle(EVENT)
        clock.advance(LEASE + MARGIN)
    (record,) = dynamodb.scan(TableName="handled")["Items"]
    assert (len(ran), record["status"]) == (1, {"S": "COMPLETED"})


@pytest.mark.parametrize("depth", range(50, 1000, 50))
def test_a_result_of_any_depth_runs_its_function_once(store: IdempotencyStore, clock: FakeClock, depth: int) -> None:
    """A nested result is stored or counts as done, wherever Python's recursion ends."""
    ran = []

    @idempotent(store, scope="s")
    def handle(event: Event) -> Any:
        ran.append(event)
        return nested(depth)

    for _ in range(2):
        try:
            assert handle(EVENT) == nested(depth)
        except ResultError:
            assert depth > 100
        clock.advance(LEASE + MARGIN)
    assert len(ran) == 1


def test_a_models_text_counts_in_bytes(store: IdempotencyStore) -> None:
    """A model of 460 KB in 230,000 characters counts as done."""
    ran = []

    @idempotent(store, scope="s")
    def handle(event: Event) -> Model:
        ran.append(event)
        return Model(text="é" * 230_000)

    for _ in range(2):
        with pytest.raises(ResultError):
            handle(EVENT)
    assert len(ran) == 1


def test_a_late_call_is_told_so_whatever_it_returns(store: IdempotencyStore, clock: FakeClock) -> None:
    """LeaseLostError takes precedence, also if making text of the result raises."""

    @idempotent(store, scope="s")
    def handle(_: Event) -> Any:
        clock.advance(LEASE + MARGIN)
        idempotent(store, scope="s")(lambda _: 1)(EVENT)
        return Lazy(a=1)

    with pytest.raises(LeaseLostError):
        handle(EVENT)


def test_a_result_by_hand_may_hold_decimals(store: IdempotencyStore, clock: FakeClock) -> None:
    """`resolve` stores what `decode_item` returns, too."""

    @idempotent(store, scope="s", on_expired_lease="raise")
    def charge(_: Event) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        charge(EVENT)
    clock.advance(LEASE + MARGIN)
    with pytest.raises(UnknownOutcomeError) as caught:
        charge(EVENT)
    assert store.resolve(caught.value.key, {"total": Decimal("1.10")}, token=caught.value.token)
    assert repr(charge(EVENT)) == "{'total': Decimal('1.10')}"


def test_an_inbox_handler_returns_what_it_read(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """powertools-lambda-python stores a Decimal as text; an inbox returns the item that `tx.get` read, each time."""
    item = {"id": {"S": "1"}, "balance": {"N": "10.50"}, "version": {"N": "1"}}
    dynamodb.put_item(TableName="accounts", Item=item)

    @Inbox(store).handler(consumer="c")
    def handler(_: Event, tx: InboxTransaction) -> Any:
        account = tx.get("accounts", {"id": "1"}, version="version")
        assert account is not None
        tx.update("accounts", {"id": "1"}, set={"balance": account["balance"] + 1})
        return account

    expected = repr({"id": "1", "balance": Decimal("10.5"), "version": Decimal(1)})
    assert [repr(handler(EVENT)), repr(handler(EVENT))] == [expected, expected]
    assert dynamodb.get_item(TableName="accounts", Key={"id": {"S": "1"}})["Item"]["balance"] == {"N": "11.5"}


@pytest.mark.parametrize("result", [nested(400), object(), Lazy(a=1), {1, 2}], ids=["deep", "object", "lazy", "set"])
def test_an_inbox_commits_nothing_with_a_result_that_cannot_be_stored(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, result: Any
) -> None:
    """An inbox stores the result with the effect, so it refuses both; the error says which result it was."""

    @Inbox(store).handler(consumer="c")
    def handler(_: Event, tx: InboxTransaction) -> Any:
        tx.put("accounts", {"id": "1"})
        return result

    with pytest.raises(ResultError, match="nothing was committed"):
        handler(EVENT)
    assert dynamodb.scan(TableName="accounts")["Items"] == dynamodb.scan(TableName="handled")["Items"] == []


class Refused(Exception):  # noqa: N818  # a user's name
    pass


@pytest.mark.parametrize(
    ("attribute", "is_kept"), [(1, True), ("a", True), (Decimal(1), False), (Lazy(a=1), False), (nested(990), False)]
)
def test_a_failures_attribute_is_kept_if_json_keeps_it(attribute: Any, *, is_kept: bool) -> None:
    """A permanent failure is stored, whatever its attributes are."""
    error = Refused("no")
    error.__dict__["detail"] = attribute
    again = read_failure("key", write_failure(error), (Refused,))
    assert (type(again), again.args, hasattr(again, "detail")) == (Refused, ("no",), is_kept)


@pytest.mark.parametrize("text", ["x", "x" * 1000])
def test_an_error_of_a_result_says_why(text: str) -> None:
    """The error of a result that can't be stored names the problem and what to do."""
    with pytest.raises(ValueError, match="annotate what the function returns"):
        as_json({text: object()})


def test_a_result_that_the_annotation_no_longer_reads_is_an_error(dynamodb: FakeDynamoDB, clock: FakeClock) -> None:
    """A duplicate after a change of the return annotation gets an error that shows neither input nor result."""
    store = IdempotencyStore("handled", client=dynamodb, clock=clock)

    def first(_: dict[str, Any]) -> datetime:
        return datetime(2026, 11, 28, tzinfo=UTC)

    def later(_: dict[str, Any]) -> Decimal:
        raise AssertionError

    idempotent(store, scope="f", key="id")(first)({"id": "1"})
    with pytest.raises(ResultError, match="annotation") as caught:
        idempotent(store, scope="f", key="id")(later)({"id": "1"})
    assert "2026-11-28" not in str(caught.value)
    assert caught.value.__suppress_context__
