"""Fingerprints: duplicates are recognised by a call's content, not by the envelope of a delivery."""

from __future__ import annotations

import dataclasses
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
from dynamo_outbox.errors import InvalidIdempotencyKeyError, PayloadMismatchError
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
    """The same content in another envelope is a duplicate; other content under its key raises an error."""
    runs = []

    @idempotent(store, scope="handle", key=key)
    def handle(payload: Any, _context: object = None) -> int:
        runs.append(payload)
        return len(runs)

    assert [handle(payload_of("a", "first")), handle(payload_of("a", "second"))] == [1, 1]
    with pytest.raises(PayloadMismatchError):
        handle(payload_of("b", "third"))


def test_every_argument_of_a_plain_call_counts(store: IdempotencyStore) -> None:
    """All arguments count, whether they are passed by position or by name."""

    @idempotent(store, scope="charge", key=lambda order, amount: order)  # noqa: ARG005  # called with both arguments
    def charge(order: str, amount: int) -> int:
        assert order == "1"
        return amount

    assert [charge("1", 5), charge(amount=5, order="1"), charge("1", amount=5)] == [5, 5, 5]
    with pytest.raises(PayloadMismatchError):
        charge("1", 500)


def test_keywords_have_no_order(store: IdempotencyStore) -> None:
    """The payload is the function's first parameter, whatever the order of the keyword arguments."""

    @idempotent(store, scope="charge", key="id")
    def charge(order: dict[str, str], amount: int) -> int:
        assert order == {"id": "1"}
        return amount

    assert [charge(order={"id": "1"}, amount=5), charge(amount=5, order={"id": "1"})] == [5, 5]


def test_a_fingerprint_may_be_an_expression(store: IdempotencyStore) -> None:
    """A JMESPath expression can select the fingerprint; the rest of the payload may differ."""
    handle = idempotent(store, key=Key("id", fingerprint="amount"), scope="a")(lambda payload: payload["note"])
    assert [handle({"id": 1, "amount": 5, "note": "x"}), handle({"id": 1, "amount": 5, "note": "y"})] == ["x", "x"]
    with pytest.raises(PayloadMismatchError):
        handle({"id": 1, "amount": 6, "note": "x"})


def one(order: Any) -> None: ...
def two(order: Any, extra: Any = None) -> None: ...
def with_defaults(a: int, b: int = 5, c: int = 6) -> None: ...
def with_any_number(a: int, *b: int, c: int = 5, **d: int) -> None: ...


def claim_of(function: Callable[..., None], *args: Any, key: Any = "id", scope: str = "s", **kwargs: Any) -> Claim:
    """Return the claim for a call."""
    claim = claim_maker(function, key=key, scope=scope, on_missing_key="raise")(args, kwargs)
    assert claim is not None
    return claim


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("7", "7"),
        (0, "=0"),
        (10**30, f"={10**30}"),
        (Decimal("1.50"), "=1.5"),
        ("\x00 #", "\x00 %23"),
        ("a" * (MAX_KEY_BYTES - 7), "a" * (MAX_KEY_BYTES - 7)),
        ("é" * (MAX_KEY_BYTES // 2 - 4), "é" * (MAX_KEY_BYTES // 2 - 4)),
        (["a", 7, "b#"], "a#=7#b%23"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_key_is_text_or_a_number_behind_its_scope(found: object, text: str, *, by_name: bool) -> None:
    """A key is the scope and the text found, up to the limit in UTF-8 bytes."""
    assert claim_of(one, {"id": found}, key="id" if by_name else lambda _: found).key == f"call#s#{text}"


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("scope", "found", "problem"),
    [
        ("s", True, "finds a bool True; a key is text, a number"),
        ("s", b"a", "finds a bytes; a key is text, a number"),
        ("s", {"a": 1}, "finds a dict; a key is text"),
        ("s", [["a"]], "finds a list; a key is text"),
        ("s", [1, None], "finds a null; a key is text"),
        ("s", "a" * (MAX_KEY_BYTES - 6), "gives a key of 1,985 bytes, and 1,984 fit; use a digest"),
        ("s", "é" * (MAX_KEY_BYTES // 2 - 3), "gives a key of 1,985 bytes, and 1,984 fit; use a digest"),
        ("é", "a" * (MAX_KEY_BYTES - 7), "gives a key of 1,985 bytes, and 1,984 fit; use a digest"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_key_of_another_kind_is_refused(scope: str, found: object, problem: str, *, by_name: bool) -> None:
    """A key that is too long or of another type is refused; the error says where it was looked for."""
    place = "'id'" if by_name else "the key function"
    with pytest.raises(InvalidIdempotencyKeyError, match=f"{place} {problem}"):
        claim_of(one, {"id": found}, key="id" if by_name else lambda _: found, scope=scope)


@dataclasses.dataclass(frozen=True)
class FrozenOrder:
    id: str


class Context:
    """A Lambda context."""

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
            ["POST", "/", None, "1"],
        ),
        (one, {"order": {"id": "7", "requestContext": {}}}, {"order": {"id": "7", "requestContext": {}}}),
        (
            one,
            {"order": {"id": "7", "detail-type": "T", "source": "s", "detail": {"a": 1}}},
            ["s", "T", {"a": 1}],
        ),
        (one, {"order": {"id": "7", "specversion": "1.0"}}, {"order": {"id": "7", "specversion": "1.0"}}),
    ],
)
def test_a_fingerprint_is_of_a_calls_content(function: Callable[..., None], call: Any, content: object) -> None:
    """Models count by their fields, HTTP requests by method, path, query and body, Lambda's context not at all.

    A payload that only resembles an event or a request counts as a whole.
    """
    assert claim_of(function, **call).fingerprint == fingerprint_of(content)


@pytest.mark.parametrize("key", ["id", lambda order: str(order["id"])])
def test_each_claim_has_a_token_of_its_own(key: Any) -> None:
    """Claims for the same call have different tokens."""
    assert len({claim_of(one, {"id": "1"}, key=key).token for _ in range(3)}) == 3


@given(
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
    st.integers(0, 1),
)
def test_a_calls_arguments_are_those_that_its_signature_binds(
    args: list[int], kwargs: dict[str, int], skipped: int
) -> None:
    """Arguments are bound as `inspect.signature` binds them: same values, same order, same refusals."""
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
    """An enum member as a dictionary key is written as its value, in both implementations."""
    assert canonical({Name.A: number}) == '{"a":1}'


@pytest.mark.parametrize(
    "value",
    [1e16, 1e22, 9e-5, -0.0, 10**5000, [1.0, {"a": 1e-4}], "1.0", ["1.0,", ":1e+5]"], "\ud83d", {1: 2, "a": 3}, (1,)],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else "long",
)
def test_a_number_of_any_form_has_its_canonical_text(value: object) -> None:
    """The fast and the reference implementation write the same canonical text."""
    assert canonical(value) == canonical_reference(value)


def test_a_payload_that_contains_itself_has_no_fingerprint() -> None:
    """A payload that contains itself raises RecursionError in both implementations."""
    value: list[Any] = []
    value.append(value)
    for write in (canonical, canonical_reference):
        with pytest.raises(RecursionError):
            write(value)
