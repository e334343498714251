"""Each fast path accepts, refuses and returns the same as its reference."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import boto3
import jmespath
import pytest
from botocore.exceptions import ParamValidationError
from hypothesis import assume, given
from hypothesis import strategies as st

from dynamo_outbox import Condition, Event, TransactionalOutbox
from dynamo_outbox.aws.clients import Prevalidated, forget_shared_clients, shared_client
from dynamo_outbox.codec.json_text import canonical, canonical_reference, dumps
from dynamo_outbox.codec.path_error import PathError
from dynamo_outbox.consuming import keys as identity
from dynamo_outbox.errors import InvalidEventError
from dynamo_outbox.events import limits as event_limits
from dynamo_outbox.events.bus_event import DETAIL_FORMS
from dynamo_outbox.events.context import CONTEXT_FIELDS, context_members, context_text
from dynamo_outbox.events.outbox_item import time_text
from dynamo_outbox.writing.callables import argument_binder

from ..strategies import events, json_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_outbox.events.context import Context

EDGES = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**18, 10**19, 10**400, 1e300, 1e-300])


def error_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except (PathError, InvalidEventError) as error:
        return error
    return None


@given(json_objects | st.fixed_dictionaries({"number": EDGES | st.lists(EDGES)}))
def test_numbers_are_refused_as_by_looking_at_each(data: dict[str, Any]) -> None:
    """The fast check of an event's JSON text refuses the same numbers as the check of each value."""
    event = Event("A", data)
    plain = error_of(lambda: event_limits._check(event.data))
    fast = error_of(lambda: event_limits.check_numbers(event))
    expected = (f"data{plain.path}", plain.problem) if isinstance(plain, PathError) else None
    assert expected == ((fast.field, fast.problem) if isinstance(fast, InvalidEventError) else None)


CHANGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "source": st.none() | st.sampled_from(["Books", "aws.books", "", "\ud800"]),
        "sequence": st.none() | st.integers() | st.just(True),
        "correlation_id": st.none() | st.text(max_size=3) | st.just(5),
        "causation_id": st.none() | st.text(max_size=3) | st.just(b""),
        "traceparent": st.none() | st.text(max_size=3) | st.just(1.5),
    },
)


@given(events(), CHANGES)
def test_a_replaced_field_is_checked_as_in_a_new_event(event: Event, changes: dict[str, Any]) -> None:
    """A copy with replaced fields equals an event constructed with them, or both are refused with the same message."""
    fields = {name: getattr(event, name) for name in Event.FIELDS}
    plain = error_of(lambda: Event(**{**fields, **changes}))
    fast = error_of(lambda: event.replace(**changes))
    assert (plain is None) == (fast is None)
    if plain is None:
        copy = event.replace(**changes)
        assert copy == Event(**{**fields, **changes})
        defaults: dict[str, Any] = {"id": "by default", "time": datetime(2026, 11, 23, tzinfo=UTC)}
        assert copy.with_defaults(**defaults) == event.with_defaults(**defaults).replace(**changes)
    elif len(changes) == 1:
        assert str(fast) == str(plain)


CONTEXTS = st.tuples(
    st.none() | st.integers(0, 2**63 - 1), *[st.none() | st.text(min_size=1, max_size=3)] * 3
)  # sequence, correlation, causation, traceparent


@given(CONTEXTS)
def test_a_context_is_written_as_by_the_plain_encoder(context: Context) -> None:
    """A context's text consists of the members of its JSON object."""
    assert f"{{{context_text(context)}}}" == dumps(context_members(context))


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"DEFAULT_REGION": "eu-west-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    forget_shared_clients()
    yield
    forget_shared_clients()


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("get_item", {"TableName": "a", "Key": {"pk": {"S": 1}}}),
        ("get_item", {"Key": {}}),
        ("update_item", {"TableName": "a", "Key": {"pk": "a"}, "Unknown": 1}),
        ("transact_write_items", {"TransactItems": [{"Put": {"TableName": "a"}}]}),
        ("transact_write_items", {"TransactItems": []}),
    ],
)
@pytest.mark.usefixtures("ours")
def test_our_client_refuses_in_botocores_words(operation: str, request_: dict[str, Any]) -> None:
    """The library's own client validates a caller's parameters as any client does, before it sends a request."""
    plain: Any = boto3.client("dynamodb")
    with pytest.raises(ParamValidationError) as expected:
        getattr(plain, operation)(**request_)
    with pytest.raises(ParamValidationError) as raised:
        getattr(shared_client("dynamodb"), operation)(**request_)
    assert str(raised.value) == str(expected.value)


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (5, {}, "Invalid type for parameter TransactItems[0].Put.TableName"),
        ("", {}, "Invalid length for parameter TransactItems[0].Put.TableName"),
        (
            "books",
            {"condition": Condition("#a = :a", {"#a": cast("Any", 5)}, {":a": 1})},
            "ExpressionAttributeNames.#a",
        ),
    ],
)
def test_a_transaction_that_names_no_text_is_refused_before_it_is_sent(
    table: Any, options: dict[str, Any], said: str
) -> None:
    """A table or attribute name that is not a text gets botocore's clear error, although most checks are skipped."""
    outbox = TransactionalOutbox("events", source="Books")
    with pytest.raises(ParamValidationError, match="Parameter validation failed") as raised, outbox.transaction() as tx:
        tx.put(table, {"name": "Dune"}, **options)
    assert said in str(raised.value)


@pytest.mark.usefixtures("ours")
def test_an_action_of_the_users_own_is_checked_by_botocore() -> None:
    """An action passed to `add`, alone or beside others, is validated by botocore: it refuses an unknown parameter."""
    outbox = TransactionalOutbox("events", source="Books")
    with pytest.raises(ParamValidationError, match="Unknown parameter"), outbox.transaction() as tx:
        tx.put("books", {"name": "Ubik"})
        tx.add({"Put": {"TableName": "books", "Item": {"name": {"S": "Dune"}}, "Condition": "a"}})


def test_a_prevalidated_list_is_a_list_on_the_wire() -> None:
    """A `Prevalidated` list is serialised like a plain list."""
    assert json.dumps(Prevalidated([{"a": 1}])) == '[{"a": 1}]'


_keys = st.text(max_size=3) | st.integers(-3, 12) | st.none() | st.booleans()
_payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.decimals("-1e5", "1e5"),
    lambda members: st.lists(members, max_size=3) | st.dictionaries(_keys, members, max_size=3),
    max_leaves=6,
)


@given(_payloads)
def test_a_fingerprints_text_is_the_same_either_way(payload: Any) -> None:
    """The fast encoder writes the same text as the reference, which walks over the values."""
    assert canonical(payload) == canonical_reference(payload)


@given(st.integers(-(10**30), 10**30))
def test_equal_numbers_have_one_text(number: int) -> None:
    """An integer, its Decimal, and its Decimal with trailing zeros have the same text."""
    assert canonical([number]) == canonical([Decimal(number)]) == canonical([Decimal(f"{number}.00")])


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, 2), {}),
        ((1,), {"b": 2}),
        ((), {"a": 1, "b": 2}),
        ((), {"b": 1, "a": 2}),
        ((1,), {}),
        ((1,), {"c": 2}),
        ((1, 2), {"b": 2}),
    ],
)
@pytest.mark.parametrize("skipped", [0, 1])
def test_arguments_are_those_that_the_signature_binds(args: Any, kwargs: Any, skipped: int) -> None:
    """The fast binder returns the arguments that the signature binds, in the same order, or raises the same error."""

    def function(a: int, b: int = 5) -> None: ...

    bind = argument_binder(function, skipped)
    try:
        expected = list(inspect.signature(function).bind(*args, **kwargs).arguments.items())[skipped:]
    except TypeError as refused:
        with pytest.raises(TypeError, match=re.escape(str(refused))):
            bind(args, kwargs)
    else:
        assert list(bind(args, kwargs).items()) == expected


@given(
    st.dictionaries(st.sampled_from(["id", "a_b", "é", "true"]), json_objects | st.text()),
    st.sampled_from(["id", "a_b", "é", "true"]),
)
def test_a_simple_expression_finds_what_jmespath_finds(payload: dict[str, Any], expression: str) -> None:
    """A bare name is looked up as JMESPath would look it up."""
    assume(expression.isascii())
    assert identity._finder(expression, "scope")(payload, (), {}) == jmespath.search(expression, payload)


@given(events())
def test_the_envelope_is_json_of_the_events_fields(event: Event) -> None:
    """The envelope, assembled from texts, equals the text that the JSON encoder makes of the same fields."""
    metadata: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "version": event.version,
        "time": time_text(event.time),
    }
    if event.aggregate_type is not None:
        metadata |= {"aggregateType": event.aggregate_type, "aggregateId": event.aggregate_id}
    metadata |= {wire: getattr(event, name) for wire, name in CONTEXT_FIELDS if getattr(event, name) is not None}
    assert DETAIL_FORMS["envelope"](event, event.source) == f'{{"metadata":{dumps(metadata)},"data":{event.data_json}}}'
