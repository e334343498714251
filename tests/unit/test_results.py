"""Results of idempotent functions: storing them and replaying them unchanged."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dynamo_outbox import Event, IdempotencyStore, TableKeys, idempotent
from dynamo_outbox.consuming.results import MAX_RESULT_BYTES, ResultCodec, StoredResult
from dynamo_outbox.errors import LeaseLostError, ResultError

from ..doubles import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

EVENT = Event("BookAdded", {"name": "Team Topologies"})


class Shelf(BaseModel):
    number: int
    width: Decimal


@dataclasses.dataclass
class Place:
    shelf: Shelf
    since: datetime


@pytest.fixture
def store(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> IdempotencyStore:
    create_table("handled", "pk")
    return IdempotencyStore("handled", client=dynamodb, clock=FakeClock())


def returning(annotation: Any, result: object) -> Callable[[Event], Any]:
    def function(_event: Event) -> Any:
        return result

    function.__annotations__["return"] = annotation
    return function


SHELF = Shelf(number=7, width=Decimal("1.10"))


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (Decimal, Decimal("24.95")),
        (bytes, b"\xff\x00"),
        (datetime, datetime(2026, 11, 23, tzinfo=UTC)),
        (Shelf, SHELF),
        (Place, Place(SHELF, datetime(2026, 11, 23, tzinfo=UTC))),
        (dict[str, list[Decimal]], {"prices": [Decimal("1.10"), Decimal("0E-10")]}),
        (set[bytes], {b"\xff"}),
        (tuple[int, str], (1, "a")),
        (Shelf | None, None),
        (Shelf | None, SHELF),
        (None, None),
        (dict, {"a": 1}),
        (float, 1),
        (Decimal | float, 1.5),
    ],
)
def test_a_result_comes_back_by_its_annotation(store: IdempotencyStore, annotation: Any, result: object) -> None:
    """A duplicate returns an equal result of the same type, as annotated."""
    call = idempotent(store, scope="a")(returning(annotation, result))
    first, second = call(EVENT), call(EVENT)
    assert second == first == result
    assert type(second) is type(result)


@pytest.mark.parametrize(
    ("annotation", "result"),
    [(Any, {1}), (int, frozenset("a")), (Shelf, {"width": object()}), (str, bytearray(b"\xff"))],
)
def test_a_result_that_does_not_fit_is_not_lost_in_silence(
    store: IdempotencyStore, annotation: Any, result: object
) -> None:
    """A result that fits neither JSON nor the annotation raises ResultError, for the first call and for duplicates."""
    call = idempotent(store, scope="a")(returning(annotation, result))
    for _ in range(2):
        with pytest.raises(ResultError):
            call(EVENT)


class Answer(TypedDict):
    statusCode: int


@pytest.mark.parametrize("annotation", ["FakeDynamoDB | Nowhere", "os.nowhere", Answer, dict[str, str], Shelf])
def test_an_annotation_that_does_not_fit_does_no_harm(store: IdempotencyStore, annotation: Any) -> None:
    """If the annotation can't be resolved or does not fit, a JSON result is stored as JSON."""
    call = idempotent(store, scope="a")(returning(annotation, {"a": 1}))
    assert call(EVENT) == call(EVENT) == {"a": 1}


def test_the_tables_own_names_are_used(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> None:
    """A record has the configured attribute names and prefix, so it can share a table with entities."""
    create_table("shared", "PK", "SK")
    store = IdempotencyStore(
        "shared",
        client=dynamodb,
        table_keys=TableKeys("PK", "SK", "IDEMPOTENCY#", "ttl"),
        clock=FakeClock(),
    )
    call = idempotent(store, scope="a")(returning(int, 1))
    assert call(EVENT) == call(EVENT) == 1
    (record,) = dynamodb.scan(TableName="shared")["Items"]
    assert (record["PK"], record["SK"]) == ({"S": f"IDEMPOTENCY#call#a##{EVENT.id}"}, {"S": "idempotency"})
    assert "ttl" in record
    assert "expiresAt" not in record


def test_a_call_without_a_key_may_run_each_time(store: IdempotencyStore) -> None:
    """With `on_missing_key="run"`, a call without a key always runs, and nothing is stored."""
    runs = []

    @idempotent(store, scope="handle", key="id", on_missing_key="run")
    def handle(payload: dict[str, str]) -> int:
        runs.append(payload)
        return len(runs)

    assert [handle({}), handle({}), handle({"id": "1"}), handle({"id": "1"})] == [1, 2, 3, 3]


def test_a_method_finds_its_payload_behind_self(store: IdempotencyStore) -> None:
    """A method's payload is the argument after self."""

    class Handler:
        def __init__(self) -> None:
            self.runs = 0

        @idempotent(store, scope="handle")
        def handle(self, _event: Event) -> int:
            self.runs += 1
            return self.runs

    handler = Handler()
    assert [handler.handle(EVENT), handler.handle(EVENT)] == [1, 1]


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_a_decorator_in_the_wrong_order_is_refused(store: IdempotencyStore, kind: Any) -> None:
    """A staticmethod or classmethod object is refused; the error says how to order the decorators."""
    with pytest.raises(TypeError, match="put that decorator above this one"):
        idempotent(store, scope="call")(kind(lambda event: event))


@dataclasses.dataclass
class Derived(Place):
    more: int = 5


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (dict[str, Any], {"status": HTTPStatus.OK}),
        (Any, {"total": Decimal(1), "count": {1}}),
        (dict, {"total": Decimal("1E+200")}),
        (Place, Derived(SHELF, datetime(2026, 11, 23, tzinfo=UTC))),
        (dict, {1: "a"}),
        (Any, {1: "a"}),
    ],
)
def test_a_result_that_would_come_back_changed_is_not_stored(
    store: IdempotencyStore, annotation: Any, result: object
) -> None:
    """A result that can't be replayed unchanged raises ResultError."""
    call = idempotent(store, scope="a")(returning(annotation, result))
    for _ in range(2):
        with pytest.raises(ResultError):
            call(EVENT)


@pytest.mark.parametrize(("result", "replayed"), [((1, 2), [1, 2]), ({"a": (1, ("b",))}, {"a": [1, ["b"]]})])
def test_a_tuple_comes_back_as_a_list_where_nothing_says_tuple(
    store: IdempotencyStore, result: object, replayed: object
) -> None:
    """A tuple without an annotation is replayed as a list, as documented."""
    call = idempotent(store, scope="a")(returning(Any, result))
    assert call(EVENT) == result
    assert call(EVENT) == replayed


def test_a_lost_lease_is_told_even_where_the_result_cannot_be_stored(
    dynamodb: FakeDynamoDB, create_table: Callable[..., None]
) -> None:
    """LeaseLostError takes precedence over a result that can't be stored."""
    create_table("handled", "pk")
    clock = FakeClock()
    store = IdempotencyStore("handled", client=dynamodb, clock=clock)

    @idempotent(store, scope="a")
    def late(_event: Event) -> object:
        clock.advance(timedelta(hours=1))
        assert idempotent(store, scope="a")(returning(int, 1))(EVENT) == 1
        return object()

    with pytest.raises(LeaseLostError):
        late(EVENT)


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


MARKS = st.text(alphabet='.,:[]{}"\\e+-015aé\x7f\ud83d\ude00 \n', max_size=8)
NUMBERS = st.sampled_from(
    [1.0, -1.0, 1e16, 1e15, 1e22, 1e-4, 9e-5, -9e-5, -0.0, 10**16, 10**4000, Whole(1), HTTPStatus.OK, Decimal("1.5")]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | NUMBERS
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
CODECS = [ResultCodec(returning(each, None)) for each in (Any, dict, dict[str, Any], list[Any], dict[str, int])]


def written(codec: ResultCodec, result: object) -> object:
    """Return the stored text of a result, or the reason why it can't be stored."""
    try:
        return codec.write(result)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("codec", CODECS)
@given(result=VALUES | st.just(DEEP) | st.dictionaries(MARKS, NUMBERS, max_size=2))
def test_a_result_that_is_stored_is_read_as_it_was(codec: ResultCodec, result: Any) -> None:
    """A stored result is read with the same values and types, tuples as lists; any other is refused."""
    stored = written(codec, result)
    if isinstance(stored, StoredResult):
        assert repr(codec.read("key", *stored)) == repr(with_lists(result))


def with_lists(value: object) -> object:
    """Return a value with lists in place of its tuples."""
    if isinstance(value, dict):
        return {key: with_lists(member) for key, member in value.items()}
    return [with_lists(member) for member in value] if isinstance(value, (list, tuple)) else value


def test_text_that_json_joins_is_refused() -> None:
    """A result with two halves of a surrogate pair is refused, because JSON joins them to one character."""
    for result in ("\ud83d\ude00", {"\ud83d\ude00": 1}, ["\ud83d\ude00"]):
        assert "would give it back changed" in str(written(CODECS[0], result))


def test_a_result_that_contains_itself_is_refused() -> None:
    """A result that contains itself is refused; the error names the circular reference."""
    result: dict[str, Any] = {}
    result["a"] = result["b"] = [result, result]
    for codec in CODECS:
        with pytest.raises(ValueError, match="Circular reference"):
            codec.write(result)


@pytest.mark.parametrize("text", ["a", "é", "\x7f"])
def test_a_result_fits_into_an_item_to_the_byte(text: str) -> None:
    """A result may fill the limit in UTF-8 bytes exactly; one more character is refused."""
    codec = ResultCodec(returning(dict[str, Any], None))
    room = (MAX_RESULT_BYTES - len('{"a":""}')) // len(text.encode())
    assert json.loads(codec.write({"a": text * room}).text) == {"a": text * room}
    with pytest.raises(ValueError, match="an item leaves room for"):
        codec.write({"a": text * (room + 1)})
