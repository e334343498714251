"""Idempotency keys: absent ones, unusable ones, and equality by value."""

from __future__ import annotations

import dataclasses
import types
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, SecretStr, computed_field

from dynamo_outbox import Event, IdempotencyStore, Key, idempotent
from dynamo_outbox.consuming.keys import claim_maker
from dynamo_outbox.errors import InvalidIdempotencyKeyError, MissingIdempotencyKeyError

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock


class Size(Enum):
    SMALL = "s"
    ONE = 1
    NONE = None
    PAIR = ("a", "b")


class Answer(Enum):
    YES = True


class Shirt(StrEnum):
    SMALL = "s"


class Number(IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    shop: str
    number: int


PAYMENT = uuid.UUID(int=7)
MORNING = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)


def claimed(payload: Any, find: Any, *, on_missing_key: Any = "run") -> str | None:
    """Return a call's key; None if it runs without one."""

    def function(payload: Any) -> None: ...

    claim = claim_maker(function, key=find, scope="s", on_missing_key=on_missing_key)((payload,), {})
    return None if claim is None else claim.key


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"]}, clock)


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, clock=clock)


@pytest.mark.parametrize(
    ("equal", "key"),
    [
        ([1, 1.0, Decimal(1), Decimal("1.00"), Decimal("1E0"), Number.ONE, Size.ONE, Fraction], "=1"),
        ([0, -0.0, 0.0, Decimal("-0.00"), Decimal("0E+5")], "=0"),
        ([1.5, Decimal("1.50"), Decimal("15E-1")], "=1.5"),
        ([1000, 1e3, Decimal("1E+3"), Decimal("1000.0")], "=1000"),
        ([0.1, Decimal("0.1"), Decimal("0.10")], "=0.1"),
        ([10**30, 1e30, Decimal("1E30")], f"={10**30}"),
        ([10**5000, Decimal("1E+5000")], "=1E+5000"),
        (["1", Text("1")], "1"),
        (["s", Size.SMALL, Shirt.SMALL, ["s"], ("s",)], "s"),
        (["1.0"], "1.0"),
        ([PAYMENT, str(PAYMENT)], str(PAYMENT)),
        ([MORNING, MORNING.astimezone(timezone(timedelta(hours=2)))], "2026-01-01T09:30:00+00:00"),
        ([date(2026, 1, 1), "2026-01-01"], "2026-01-01"),
        ([["a", 1, PAYMENT], ("a", 1.0, str(PAYMENT)), [Text("a"), Decimal("1.0"), PAYMENT]], f"a#=1#{PAYMENT}"),
        ([Pair("a", 7), ["a", 7]], "a#=7"),
        ([" "], " "),
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_keys_are_compared_by_value(equal: list[Any], key: str, *, by_name: bool) -> None:
    """Equal values give one key, however they are typed; text and numbers stay apart."""
    keys = {
        claimed({"id": value}, "id" if by_name else lambda payload: payload["id"])
        for value in equal
        if value is not Fraction
    }
    assert keys == {f"call#s#{key}"}


NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
)


def exact(number: Any) -> Decimal:
    """Return a number as its decimal text says."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


@given(NUMBERS, NUMBERS)
def test_two_numbers_give_one_key_if_they_are_equal(one: Any, other: Any) -> None:
    """A number's type and spelling do not count, its value does."""
    assert (claimed({"id": one}, "id") == claimed({"id": other}, "id")) == (exact(one) == exact(other))


@given(NUMBERS)
def test_a_number_and_its_text_give_two_keys(number: Any) -> None:
    """No text gives a number's key."""
    key = claimed({"id": number}, "id")
    assert key is not None
    for text in (str(number), f"={number}", key.removeprefix("call#s#")):
        assert claimed({"id": text}, "id") != key


UNUSABLE = {
    "true": True,
    "false": False,
    "enum of true": Answer.YES,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "-infinity": float("-inf"),
    "decimal NaN": Decimal("NaN"),
    "signalling NaN": Decimal("sNaN"),
    "decimal infinity": Decimal("-Infinity"),
    "fraction": Fraction(1, 2),
    "complex": 1j,
    "object": {"n": 1},
    "empty object": {},
    "bytes": b"7",
    "empty list": [],
    "empty tuple": (),
    "null in a list": ["a", None],
    "only nulls": [None, None],
    "bool in a list": ["a", True],
    "NaN in a list": [float("nan")],
    "nested list": [["a"], "b"],
    "object in a list": [{}],
    "enum of null": Size.NONE,
    "enum of a tuple": Size.PAIR,
    "set": {"a"},
    "duration": timedelta(1),
    "any object": object(),
    "class": uuid.UUID,
    "lone surrogate": "\ud800",
    "lone surrogate in a list": ["a", "\udfff"],
    "too long": "x" * 3000,
    "too long in bytes": "é" * 1000,
    "too long when escaped": "#" * 1000,
    "too long list": ["x" * 500] * 5,
    "too long number": int("1" * 4000),
}


@pytest.mark.parametrize("found", UNUSABLE.values(), ids=UNUSABLE.keys())
@pytest.mark.parametrize("on_missing_key", ["raise", "run"])
@pytest.mark.parametrize("by_name", [False, True])
def test_an_unusable_key_is_an_error_that_is_not_waived(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, found: object, on_missing_key: Any, *, by_name: bool
) -> None:
    """A key that is present but can't be one is refused; with `run`, too, the function does not run unprotected."""
    ran: list[object] = []
    key = "id" if by_name else (lambda payload: payload["id"])
    handle = idempotent(store, scope="s", key=key, on_missing_key=on_missing_key)(ran.append)
    with pytest.raises(InvalidIdempotencyKeyError) as caught:
        handle({"id": found})
    assert len(str(caught.value)) < 400
    assert (ran, dynamodb.scan(TableName="handled")["Items"]) == ([], [])


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": ""}, {"id": Text("")}, [], None])
def test_an_absent_key_is_an_error_that_can_be_waived(payload: Any) -> None:
    """No key, null and empty text are absent: an error by default, and with `run` the call runs without a key."""
    assert claimed(payload, "id") is None
    with pytest.raises(MissingIdempotencyKeyError, match="'id' finds no idempotency key in the payload"):
        claimed(payload, "id", on_missing_key="raise")


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    order: str = "1"
    number: int = Field(7, serialization_alias="orderNumber")
    payment: uuid.UUID = PAYMENT
    total: Decimal = Decimal("1.50")
    rate: float = 1.5
    at: datetime = MORNING
    lines: list[Line] = [Line(sku="a")]
    size: Size = Size.SMALL
    nothing: str | None = None
    nan: float = float("nan")
    secret: SecretStr = SecretStr("pin")
    paid: bool = True

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def name(self) -> str:
        return f"order {self.order}"


@dataclasses.dataclass
class Parcel:
    order: str = "1"
    payment: uuid.UUID = PAYMENT
    lines: tuple[Line, ...] = (Line(sku="a"),)
    lock: object = dataclasses.field(default_factory=object)


class Row(NamedTuple):
    order: str
    lines: list[Line]


MODELS = [
    (Order(), "order", "1"),
    (Order(), "number", "=7"),
    (Order(), "orderNumber", "=7"),
    (Order(), "payment", str(PAYMENT)),
    (Order(), "total", "=1.5"),
    (Order(), "rate", "=1.5"),
    (Order(), "at", "2026-01-01T09:30:00+00:00"),
    (Order(), "lines[0].sku", "a"),
    (Order(), "[order, number]", "1#=7"),
    (Order(), "size", "s"),
    (Order(), "name", "order 1"),
    (RootModel[Order](Order()), "order", "1"),
    (RootModel[list[Line]]([Line(sku="a")]), "[0].sku", "a"),
    (Row("1", [Line(sku="a")]), "lines[0].sku", "a"),
    ({"order": Order()}, "order.order", "1"),
    ({"orders": [Order()]}, "orders[0].lines[0].sku", "a"),
    ({"parcel": Parcel(lock=None)}, "parcel.payment", str(PAYMENT)),
    (Parcel(lock=None), "lines[0].sku", "a"),
    ([Order()], "[0].order", "1"),
    (types.MappingProxyType({"order": "1"}), "order", "1"),
    (Event("T", {"order": {"id": 7}}, id="e"), "data.order.id", "=7"),
    (Event("T", {}, id="e"), "[type, id]", "T#e"),
]


@pytest.mark.parametrize(("payload", "expression", "key"), MODELS)
def test_an_expression_finds_a_models_fields(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, payload: Any, expression: str, key: str
) -> None:
    """A payload may be, or may hold, a pydantic model, a dataclass, a named tuple or an event.

    If an expression finds nothing in such payloads, `on_missing_key="run"` leaves the call unprotected.
    """
    ran = []

    @idempotent(store, scope="s", key=expression, on_missing_key="run")
    def handle(payload: Any) -> None:
        ran.append(payload)

    for _ in range(3):
        handle(payload)
    assert (len(ran), [item["pk"]["S"] for item in dynamodb.scan(TableName="handled")["Items"]]) == (
        1,
        [f"call#s#{key}"],
    )


@pytest.mark.parametrize(
    ("payload", "expression"),
    [
        (Order(), "nan"),
        (Order(), "paid"),
        (Order(), "lines"),
        (Order(), "secret"),
        (Order(), "secret.value"),
        (Parcel(), "lock.id"),
        (types.SimpleNamespace(id="1"), "id"),
        ({"order": types.SimpleNamespace(id="1")}, "order.id"),
        (object(), "id"),
        (b'{"id": 1}', "id"),
    ],
)
def test_what_an_expression_cannot_look_into_is_an_error(payload: Any, expression: str) -> None:
    """An object without known fields is refused; it does not count as a payload without a key."""
    with pytest.raises(InvalidIdempotencyKeyError):
        claimed(payload, expression)


@pytest.mark.parametrize("expression", ["nothing", "missing", "lines[5].sku", "missing.id"])
def test_a_models_absent_field_is_absent(expression: str) -> None:
    """A field that is null, or not there, can be waived, like a dictionary's."""
    assert claimed(Order(), expression) is None
    assert claimed({"order": Order()}, f"order.{expression}") is None


@pytest.mark.parametrize(
    ("payload", "expression"),
    [
        ({"headers": {"Idempotency-Key": "k"}}, 'headers."idempotency-key"'),
        ({"headers": {"idempotency-key": "k"}}, 'headers."Idempotency-Key"'),
        ({"headers": {"IDEMPOTENCY-KEY": "k", "a": "b"}}, 'headers."Idempotency-Key"'),
        ({"headers": {"Idempotency-Key": "k"}}, 'headers."x-key" || headers."idempotency-key"'),
        ({"headers": {"Idempotency-Key": ["k"]}}, 'headers."idempotency-key"[0]'),
        ({"multiValueHeaders": {"Idempotency-Key": ["k"]}}, 'multiValueHeaders."idempotency-key"[0]'),
        ({"request": {"headers": {"Idempotency-Key": "k"}}}, 'request.headers."idempotency-key"'),
        ({"headers": {"a": "k"}}, "values(headers)[0]"),
    ],
)
def test_names_of_headers_have_no_case(payload: Any, expression: str) -> None:
    """RFC 9110, 5.1: field names are case-insensitive; HTTP API lowers them, REST API and ALB do not."""
    assert claimed(payload, expression) == "call#s#k"


def test_the_header_as_written_comes_first() -> None:
    """If two names differ only in case, the name as written in the expression is used."""
    assert claimed({"headers": {"KEY": "1", "key": "2"}}, "headers.key") == "call#s#2"


@pytest.mark.parametrize("headers", [None, {}, {"other": "k"}, "text", []])
def test_a_missing_header_is_absent(headers: Any) -> None:
    """Requests without headers, or without the header, have no key."""
    assert claimed({"headers": headers}, 'headers."idempotency-key"') is None


def test_a_field_without_a_json_form_does_not_hide_the_others() -> None:
    """A dataclass with a lock in it still has its id."""
    find = Key("order", fingerprint="lines[0].sku")
    assert claimed(Parcel(), find) == "call#s#1"


def test_other_names_have_case() -> None:
    """Only the names of headers are compared without case."""
    assert claimed({"body": {"ID": "1"}, "headers": {}}, "body.id") is None


def test_a_key_function_of_a_method_sees_its_object(store: IdempotencyStore) -> None:
    """`self` is the first argument of a method's functions for key and fingerprint; an expression skips it."""

    class Shop:
        name = "Rome"

        @idempotent(store, scope="by function", key=lambda self, order: [self.name, order["id"]])
        def by_function(self, order: dict[str, Any]) -> Any:
            return order["id"]

        @idempotent(store, scope="by expression", key="id")
        def by_expression(self, order: dict[str, Any]) -> Any:
            return order["id"]

    assert [Shop().by_function({"id": 1}), Shop().by_expression({"id": 2})] == [1, 2]
