"""What two calls with one key must have in common: the content, never the envelope that carries it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import IdempotencyStore, Key, idempotent
from dynamo_outbox.codec.json_text import canonical, canonical_reference
from dynamo_outbox.consuming.keys import MAX_KEY_BYTES, claim_maker, fingerprint_of
from dynamo_outbox.errors import MissingIdempotencyKeyError, PayloadMismatchError
from dynamo_outbox.writing.callables import argument_binder

from ..doubles import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.consuming.claims import Claim
    from dynamo_outbox.testing import FakeDynamoDB


@pytest.fixture
def store(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> IdempotencyStore:
    create_table("handled", "pk")
    return IdempotencyStore("handled", client=dynamodb, clock=FakeClock())


def http_v2(body: str, request_id: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": "/orders",
        "headers": {"idempotency-key": "k"},
        "requestContext": {"requestId": request_id, "http": {"method": "POST"}},
        "body": body,
    }


def http_v1(body: str, request_id: str) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "path": "/orders",
        "headers": {"idempotency-key": "k"},
        "requestContext": {"requestId": request_id},
        "body": body,
    }


def bus_event(title: str, delivery: str) -> dict[str, Any]:
    metadata = {"id": "1", "type": "BookAdded", "version": 1, "time": "2026-11-23T09:30:00Z"}
    detail = {"metadata": metadata, "data": {"title": title}}
    return {"id": delivery, "source": "Books", "detail-type": "BookAdded", "detail": detail}


@pytest.mark.parametrize(
    ("key", "payload_of"),
    [
        ('headers."idempotency-key"', http_v2),
        ('headers."idempotency-key"', http_v1),
        ("detail.metadata.id", bus_event),
        (None, bus_event),
    ],
)
def test_a_redelivery_is_a_duplicate_and_other_content_is_not(
    store: IdempotencyStore, key: Any, payload_of: Callable[[str, str], Any]
) -> None:
    """What comes again in another envelope is the same; another content under its key is an error."""
    runs = []

    @idempotent(store, key=key)
    def handle(payload: Any, _context: object = None) -> int:
        runs.append(payload)
        return len(runs)

    assert [handle(payload_of("a", "first")), handle(payload_of("a", "second"))] == [1, 1]
    with pytest.raises(PayloadMismatchError):
        handle(payload_of("b", "third"))


def test_every_argument_of_a_plain_call_counts(store: IdempotencyStore) -> None:
    """Another amount under the same key is an error, however the arguments are given."""

    @idempotent(store, key=lambda order, amount: order)  # noqa: ARG005  # it is called with both
    def charge(order: str, amount: int) -> int:
        assert order == "1"
        return amount

    assert [charge("1", 5), charge(amount=5, order="1"), charge("1", amount=5)] == [5, 5, 5]
    with pytest.raises(PayloadMismatchError):
        charge("1", 500)


def test_keywords_have_no_order(store: IdempotencyStore) -> None:
    """The payload is the function's first parameter, not the keyword that was written first."""

    @idempotent(store, key="id")
    def charge(order: dict[str, str], amount: int) -> int:
        assert order == {"id": "1"}
        return amount

    assert [charge(order={"id": "1"}, amount=5), charge(amount=5, order={"id": "1"})] == [5, 5]


def test_a_fingerprint_may_be_an_expression(store: IdempotencyStore) -> None:
    """A JMESPath expression says what must be equal; the rest of the payload may differ."""
    handle = idempotent(store, key=Key("id", fingerprint="amount"), scope="a")(lambda payload: payload["note"])
    assert [handle({"id": 1, "amount": 5, "note": "x"}), handle({"id": 1, "amount": 5, "note": "y"})] == ["x", "x"]
    with pytest.raises(PayloadMismatchError):
        handle({"id": 1, "amount": 6, "note": "x"})


@pytest.mark.parametrize("nameless", [lambda event: event, functools.partial(max, 1)])
def test_what_has_no_name_needs_a_scope(store: IdempotencyStore, nameless: Any) -> None:
    """Two lambdas of a module would share their calls, so each says its scope."""
    with pytest.raises(TypeError, match="give scope="):
        idempotent(store)(nameless)


def test_a_key_that_no_table_takes_is_refused(store: IdempotencyStore) -> None:
    """A key beyond DynamoDB's limit is refused before anything runs, with what to do."""
    handle = idempotent(store, key="id", scope="a")(lambda payload: payload)
    with pytest.raises(MissingIdempotencyKeyError, match="2,000 characters; give a digest"):
        handle({"id": "x" * 2000})


def one(order: Any) -> None: ...
def two(order: Any, extra: Any = None) -> None: ...
def with_defaults(a: int, b: int = 5, c: int = 6) -> None: ...
def with_any_number(a: int, *b: int, c: int = 5, **d: int) -> None: ...


def claim_of(function: Callable[..., None], *args: Any, key: Any = "id", scope: str = "s", **kwargs: Any) -> Claim:
    """Return the claim of a call."""
    claim = claim_maker(function, key=key, scope=scope, on_missing_key="raise")(args, kwargs)
    assert claim is not None
    return claim


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("7", "7"),
        (0, "0"),
        (10**30, f"{10**30}"),
        (Decimal("1.50"), "1.50"),
        ("\x00 #", "\x00 #"),
        ("a" * (MAX_KEY_BYTES - 2), "a" * (MAX_KEY_BYTES - 2)),
        ("é" * (MAX_KEY_BYTES // 2 - 1), "é" * (MAX_KEY_BYTES // 2 - 1)),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_key_is_text_or_a_number_behind_its_scope(found: object, text: str, *, by_name: bool) -> None:
    """A key is the text of what is found, up to the limit in bytes of UTF-8, its scope included."""
    assert claim_of(one, {"id": found}, key="id" if by_name else lambda _: found).key == f"s#{text}"


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("scope", "found", "problem"),
    [
        ("s", None, "finds no idempotency key"),
        ("s", "", "finds no idempotency key"),
        ("s", True, "finds True, and a key is text or a whole number"),
        ("s", 1.5, r"finds 1\.5, and a key is text"),
        ("s", b"a", "finds b'a', and a key is text"),
        ("s", ["a"], r"finds \['a'\], and a key is text"),
        ("s", "a" * (MAX_KEY_BYTES - 1), "finds a key of 1,983 characters; give a digest"),
        ("s", "é" * (MAX_KEY_BYTES // 2), "finds a key of 992 characters; give a digest"),
        ("é", "a" * (MAX_KEY_BYTES - 2), "finds a key of 1,982 characters; give a digest"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_key_of_another_kind_is_refused(scope: str, found: object, problem: str, *, by_name: bool) -> None:
    """A key that is missing, too long or neither text nor a number is an error that shows where it was looked for."""
    place = "'id'" if by_name else "the key function"
    with pytest.raises(MissingIdempotencyKeyError, match=f"{place} {problem}"):
        claim_of(one, {"id": found}, key="id" if by_name else lambda _: found, scope=scope)


@dataclasses.dataclass(frozen=True)
class FrozenOrder:
    id: str


class Context:
    """Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return 1500


@pytest.mark.parametrize(
    ("function", "call", "content"),
    [
        (one, {"order": {"id": "7"}}, {"order": {"id": "7"}}),
        (two, {"order": {"id": "7"}, "extra": FrozenOrder("1")}, {"order": {"id": "7"}, "extra": {"id": "1"}}),
        (two, {"order": {"id": "7"}, "extra": Context()}, {"order": {"id": "7"}}),
        (
            one,
            {"order": {"id": "7", "requestContext": {"http": {"method": "POST"}}, "rawPath": "/", "body": "1"}},
            ["POST", "/", "1"],
        ),
        (one, {"order": {"id": "7", "requestContext": {}}}, [None, None, None]),
        (
            one,
            {"order": {"id": "7", "detail-type": "T", "source": "s", "detail": {"a": 1}}},
            {"order": {"id": "7", "detail-type": "T", "source": "s", "detail": {"a": 1}}},
        ),
        (one, {"order": {"id": "7", "specversion": "1.0"}}, {"order": {"id": "7", "specversion": "1.0"}}),
    ],
)
def test_a_fingerprint_is_of_a_calls_content(function: Callable[..., None], call: Any, content: object) -> None:
    """A model counts by its fields, Lambda's context not at all, a request by method, path and body.

    A payload that only resembles an event counts as a whole.
    """
    assert claim_of(function, **call).fingerprint == fingerprint_of(content)


@pytest.mark.parametrize("key", ["id", lambda order: str(order["id"])])
def test_each_claim_has_a_token_of_its_own(key: Any) -> None:
    """Two claims of one call never have the same token."""
    assert len({claim_of(one, {"id": "1"}, key=key).token for _ in range(3)}) == 3


@given(
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
    st.integers(0, 1),
)
def test_a_calls_arguments_are_those_that_its_signature_binds(
    args: list[int], kwargs: dict[str, int], skipped: int
) -> None:
    """However a call is written, its arguments, their order and its refusal are the signature's."""
    for function in (one, two, with_defaults, with_any_number):
        bind = argument_binder(function, skipped)
        try:
            arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        except TypeError:
            with pytest.raises(TypeError):
                bind(tuple(args), kwargs)
        else:
            assert list(bind(tuple(args), kwargs).items()) == list(arguments.items())[skipped:]


class Name(str, Enum):  # noqa: UP042  # the kind of enum whose str() is its name
    A = "a"


@pytest.mark.parametrize("number", [1, 1.0, Decimal("1.0")])
def test_an_enums_member_is_its_text(number: object) -> None:
    """An enum's member as a key has its own text, in each of the two ways to write a fingerprint's text."""
    assert canonical({Name.A: number}) == '{"a":1}'


@pytest.mark.parametrize(
    "value",
    [1e16, 1e22, 9e-5, -0.0, 10**5000, [1.0, {"a": 1e-4}], "1.0", ["1.0,", ":1e+5]"], "\ud83d", {1: 2, "a": 3}, (1,)],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "long",
)
def test_a_number_of_any_form_has_its_canonical_text(value: object) -> None:
    """A float, an integer too long for Python to write, and a text that looks like a number: both ways agree."""
    assert canonical(value) == canonical_reference(value)


def test_a_payload_that_contains_itself_has_no_fingerprint() -> None:
    """A payload that contains itself has no canonical text, with or without the encoder in C."""
    value: list[Any] = []
    value.append(value)
    for write in (canonical, canonical_reference):
        with pytest.raises(RecursionError):
            write(value)
