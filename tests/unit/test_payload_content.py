"""Payloads of messages and requests: two deliveries have one fingerprint, two contents have two."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, IdempotencyStore, idempotent
from dynamo_outbox.codec.json_text import canonical
from dynamo_outbox.codec.path_error import PathError
from dynamo_outbox.consuming.keys import claim_maker, fingerprint_of
from dynamo_outbox.consuming.payload_content import as_json, payload_content
from dynamo_outbox.errors import PayloadMismatchError

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..doubles import FakeClock


def sqs(body: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of an SQS message to Lambda."""
    return {
        "messageId": "m",
        "receiptHandle": f"handle-{n}",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": str(n), "ApproximateFirstReceiveTimestamp": str(n)},
        "messageAttributes": {"tenant": {"stringValue": "a", "dataType": "String"}},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:123456789012:{'orders' if n == 1 else 'redriven'}",
    }


def received(body: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of a message to boto3's receive_message."""
    return {
        "MessageId": "m",
        "ReceiptHandle": str(n),
        "Body": body if isinstance(body, str) else json.dumps(body),
        "Attributes": {"ApproximateReceiveCount": str(n)},
    }


def sns(message: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of an SNS message to Lambda."""
    notification: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "m",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders",
        "Subject": None,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-01-01T00:00:00Z",
        "Signature": f"signature {n}",
        "SigningCertUrl": f"https://sns/{n}.pem",
        "UnsubscribeUrl": f"https://sns/{n}",
        "MessageAttributes": {},
    }
    return {"EventSource": "aws:sns", "EventSubscriptionArn": f"arn:{n}", "Sns": notification}


def kinesis(data: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of a Kinesis record."""
    inner = {
        "partitionKey": "p",
        "sequenceNumber": "495",
        "data": b64encode(json.dumps(data).encode()).decode(),
        "approximateArrivalTimestamp": 1.5,
        "kinesisSchemaVersion": "1.0",
    }
    return {"kinesis": inner, "eventID": "shard:495", "invokeIdentityArn": f"arn:{n}", "eventSourceARN": f"arn:{n}"}


def from_a_pipe(data: Any, n: int = 1) -> dict[str, Any]:
    """Return the same as a pipe delivers it."""
    return {**kinesis(data, n)["kinesis"], "eventSource": "aws:kinesis", "eventSourceARN": f"arn:{n}"}


def firehose(data: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of a batch of Firehose."""
    text = b64encode(json.dumps(data).encode()).decode()
    record = {"recordId": "r", "approximateArrivalTimestamp": n, "data": text}
    return {"invocationId": str(n), "deliveryStreamArn": "arn", "records": [record]}


def stream(data: Any, n: int = 1) -> dict[str, Any]:
    """Return the n-th delivery of a record of DynamoDB Streams."""
    change = {
        "Keys": {"id": {"S": "7"}},
        "NewImage": {"id": {"S": "7"}, "data": {"S": str(data)}},
        "SequenceNumber": "1",
        "ApproximateCreationDateTime": n,
    }
    return {"eventID": "e", "eventName": "INSERT", "dynamodb": change, "eventSourceARN": f"arn:{n}"}


def s3(key: Any, n: int = 1) -> dict[str, Any]:
    """Return an event of AWS's on the bus; the second delivery is a replay from an archive."""
    event = {
        "id": "17",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-01-01T00:00:00Z",
        "detail": {"object": {"key": str(key)}},
    }
    return event if n == 1 else {**event, "replay-name": "again"}


def own(title: Any, n: int = 1) -> dict[str, Any]:
    """Return an event of ours on the bus."""
    metadata = {"id": "1", "type": "BookAdded", "version": 1, "time": "2026-11-23T09:30:00Z"}
    event = {
        "id": str(n),
        "source": "Books",
        "detail-type": "BookAdded",
        "time": f"2026-01-0{n}T00:00:00Z",
        "detail": {"metadata": metadata, "data": {"title": title}},
    }
    return event if n == 1 else {**event, "replay-name": "again"}


def cloud_event(data: Any, n: int = 1) -> dict[str, Any]:
    """Return a CloudEvent; the second delivery has another extension."""
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "T", "data": {"data": data}}
    return {**event, "time": "2026-01-01T00:00:00Z", "traceparent": f"00-{n:032}-{n:016}-01"}


def rest_api(body: Any, n: int = 1) -> dict[str, Any]:
    """Return a request of a REST API, and the client's retry."""
    return {
        "resource": "/orders",
        "httpMethod": "POST",
        "path": "/orders",
        "headers": {"X-Amzn-Trace-Id": f"Root={n}", "Idempotency-Key": "k"},
        "queryStringParameters": {"shop": "1"},
        "multiValueQueryStringParameters": {"shop": ["1"]},
        "requestContext": {"requestId": str(n), "requestTimeEpoch": n},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def http_api(body: Any, n: int = 1) -> dict[str, Any]:
    """Return a request of an HTTP API or a function URL."""
    return {
        "version": "2.0",
        "rawPath": "/orders",
        "rawQueryString": "shop=1",
        "headers": {"x-forwarded-for": f"1.1.1.{n}"},
        "requestContext": {
            "requestId": str(n),
            "timeEpoch": n,
            "http": {"method": "POST", "path": "/orders", "sourceIp": f"1.1.1.{n}"},
        },
        "body": b64encode(json.dumps(body).encode()).decode(),
        "isBase64Encoded": True,
    }


def alb(body: Any, n: int = 1) -> dict[str, Any]:
    """Return a request of an Application Load Balancer."""
    return {
        "requestContext": {"elb": {"targetGroupArn": f"arn:{n}"}},
        "httpMethod": "POST",
        "path": "/orders",
        "queryStringParameters": {},
        "headers": {"x-amzn-trace-id": f"Root={n}"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def lattice_v1(body: Any, n: int = 1) -> dict[str, Any]:
    """Return a request of VPC Lattice, version 1.0."""
    return {
        "raw_path": "/orders",
        "method": "POST",
        "headers": {"x-forwarded-for": f"1.1.1.{n}"},
        "query_string_parameters": {"shop": "1"},
        "body": json.dumps(body),
        "is_base64_encoded": False,
    }


def lattice_v2(body: Any, n: int = 1) -> dict[str, Any]:
    """Return a request of VPC Lattice, version 2.0."""
    return {
        "version": "2.0",
        "path": "/orders",
        "method": "POST",
        "headers": {"x-forwarded-for": [f"1.1.1.{n}"]},
        "body": json.dumps(body),
        "requestContext": {"serviceArn": "arn", "timeEpoch": str(n)},
    }


def appsync(arguments: Any, n: int = 1) -> dict[str, Any]:
    """Return a call of an AppSync resolver."""
    return {
        "arguments": {"order": arguments},
        "identity": {"sourceIp": [f"1.1.1.{n}"]},
        "source": None,
        "request": {"headers": {"x-amzn-trace-id": f"Root={n}"}, "domainName": None},
        "info": {"fieldName": "place", "parentTypeName": "Mutation", "variables": {}, "selectionSetList": [str(n)]},
        "stash": {},
    }


def active_mq(data: Any, n: int = 1) -> dict[str, Any]:
    """Return a message of Amazon MQ for ActiveMQ."""
    return {
        "messageID": "ID:1",
        "messageType": "jms/text-message",
        "data": b64encode(json.dumps(data).encode()).decode(),
        "redelivered": n > 1,
        "brokerOutTime": n,
        "destination": {"physicalName": "orders"},
    }


def rabbit_mq(data: Any, n: int = 1) -> dict[str, Any]:
    """Return a batch of Amazon MQ for RabbitMQ."""
    message = {
        "basicProperties": {"deliveryMode": 1, "headers": {"x-death": n}},
        "redelivered": n > 1,
        "data": b64encode(json.dumps(data).encode()).decode(),
    }
    return {"eventSource": "aws:rmq", "eventSourceArn": f"arn:{n}", "rmqMessagesByQueue": {"orders::/": [message]}}


def batch_of(record: Callable[[Any, int], dict[str, Any]], name: str | None = "Records") -> Callable[..., Any]:
    """Return a function that makes a batch of one record; without a name, as a pipe does."""
    return lambda content, n=1: [record(content, n)] if name is None else {name: [record(content, n)]}


def inside(record: Callable[[Any, int], Any], outer: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """Return a function that makes a message with a message in it, which is delivered again by both."""
    return lambda content, n=1: outer(record(content, n), n)


SINGLE = [sqs, received, sns, kinesis, from_a_pipe, stream, s3, own, cloud_event, active_mq]
REQUESTS = [rest_api, http_api, alb, lattice_v1, lattice_v2, appsync]
SHAPES: dict[str, Callable[..., Any]] = {each.__name__: each for each in (*SINGLE, *REQUESTS, firehose, rabbit_mq)}
SHAPES |= {f"batch of {each.__name__}": batch_of(each) for each in (sqs, sns, kinesis, stream)}
SHAPES |= {f"pipe's {each.__name__}": batch_of(each, None) for each in (sqs, from_a_pipe, stream)}
SHAPES |= {
    "receive_message": batch_of(received, "Messages"),
    "batch of active_mq": batch_of(active_mq, "messages"),
    "batch of appsync": batch_of(appsync, None),
    "bus to sqs": inside(s3, sqs),
    "own event to sqs": inside(own, sqs),
    "bus to sns": inside(own, sns),
    "bus to sns to sqs": inside(inside(own, sns), lambda record, n: sqs(record["Sns"], n)),
    "bus to sqs, polled": inside(own, received),
    "cloud event to sqs": inside(cloud_event, sqs),
    "batch of bus to sns to sqs": batch_of(inside(inside(s3, sns), lambda record, n: sqs(record["Sns"], n))),
}


def fingerprint(payload: Any) -> str:
    def function(payload: Any) -> None: ...

    claim = claim_maker(function, key=lambda _: "k", scope="s", on_missing_key="raise")((payload,), {})
    assert claim is not None
    return claim.fingerprint


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_redelivery_has_the_fingerprint_of_its_content(shape: Callable[..., Any]) -> None:
    """A delivery's own members (handle, count, replay-name, trace, time, address) do not count; the content does.

    powertools-lambda-python's docs for batches use `messageId` as the key: its redelivery is "another payload" if the
    whole record counts.
    """
    assert shape("a", 1) != shape("a", 2)
    assert fingerprint(shape("a", 1)) == fingerprint(shape("a", 2)) != fingerprint(shape("b", 1))


@given(
    st.sampled_from([*SHAPES.values()]),
    st.tuples(st.dictionaries(st.text(max_size=3), st.integers(0, 2), max_size=2), st.integers(1, 9)),
    st.tuples(st.dictionaries(st.text(max_size=3), st.integers(0, 2), max_size=2), st.integers(1, 9)),
)
def test_of_any_two_deliveries_the_content_decides(shape: Callable[..., Any], one: Any, other: Any) -> None:
    """Two deliveries of a shape have one fingerprint if and only if their contents are equal."""
    is_same = fingerprint(shape(*one)) == fingerprint(shape(*other))
    assert is_same == (one[0] == other[0])


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("messageId", sqs("hello"), sqs("hello", 2)),
        ("Records[0].messageId", {"Records": [sqs("hello")]}, {"Records": [sqs("hello", 2)]}),
        ("MessageId", received("x"), received("x", 2)),
        ("id", s3("k"), s3("k", 2)),
        ("arguments.order", appsync("k"), appsync("k", 2)),
        (None, own("k"), own("k", 2)),
        (None, sqs(own("k")), None),
    ],
)
def test_a_redelivery_gets_the_stored_result(clock: FakeClock, key: Any, one: Any, other: Any) -> None:
    """AWS's knowledge centre takes an SQS message's id as the key: its redelivery is a duplicate."""
    store = IdempotencyStore("handled", client=fake_dynamodb({"handled": ["pk"]}, clock), clock=clock)
    ran = []
    handle = idempotent(store, scope="s", key=key)(lambda payload, _context=None: ran.append(payload))
    if other is None:  # not an event by itself, and no key is given
        with pytest.raises(Exception, match="event"):
            handle(one)
        return
    handle(one)
    handle(other)
    assert ran == [one]


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        ({"messageAttributes": {}}, sqs),
        ({"httpMethod": "PUT"}, rest_api),
        ({"path": "/other"}, rest_api),
        ({"multiValueQueryStringParameters": {"shop": ["2"]}, "queryStringParameters": {"shop": "2"}}, rest_api),
        ({"rawQueryString": "shop=2"}, http_api),
        ({"method": "PUT"}, lattice_v1),
        ({"query_string_parameters": {"shop": "2"}}, lattice_v1),
        ({"path": "/other"}, lattice_v2),
        ({"source": {"id": "1"}}, appsync),
        ({"info": {"fieldName": "cancel", "parentTypeName": "Mutation"}}, appsync),
        ({"eventName": "REMOVE"}, stream),
        ({"partitionKey": "other"}, from_a_pipe),
        ({"source": "aws.other"}, s3),
        ({"detail-type": "Object Deleted"}, s3),
    ],
)
def test_each_part_of_the_content_counts(change: dict[str, Any], shape: Callable[..., Any]) -> None:
    """Method, path, query, attributes, field and type are content."""
    assert fingerprint({**shape("a"), **change}) != fingerprint(shape("a"))


@pytest.mark.parametrize("shape", [sqs, sns, received, rest_api, http_api, lattice_v1])
def test_the_spelling_of_json_text_does_not_count(shape: Callable[..., Any]) -> None:
    """White space, order of members and the spelling of numbers and characters in a body do not count."""

    def with_body(text: str) -> Any:
        payload = shape("a")
        holder, name = next(
            (each, name)
            for each in (payload, payload.get("Sns", {}))
            for name in ("body", "Body", "Message")
            if name in each
        )
        holder[name] = b64encode(text.encode()).decode() if payload.get("isBase64Encoded") else text
        return payload

    first = fingerprint(with_body('{"a": 1, "b": ["\\u00e9", 1.50]}'))
    assert fingerprint(with_body('{"b":["é",1.5],"a":1.0}\n')) == first
    assert fingerprint(with_body('{"b":["é",1.5],"a":2}')) != first
    assert fingerprint(with_body("a")) != fingerprint(with_body(" a"))
    assert fingerprint(with_body('{"a":1e400}')) != fingerprint(with_body('{"a":2e400}'))
    assert fingerprint(with_body('{"a":0.10000000000000000001}')) != fingerprint(with_body('{"a":0.1}'))


BODIES = {
    "not JSON": "{",
    "empty": "",
    "NaN": '{"a": NaN}',
    "huge exponent": '{"a": 1e999999999}',
    "huge integer": '{"a": ' + "9" * 5000 + "}",
    "deep": "[" * 200 + "]" * 200,
    "deeper than Python": "[" * 100_000,
    "as deep as allowed": "[" * 60 + "]" * 60,
    "lone surrogate": '{"a": "\\ud800"}',
    "raw surrogate": "\ud800",
    "twice": '{"a": 1, "a": 2}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("shape", [sqs, sns, rest_api, received])
def test_any_body_has_a_fingerprint(body: str, shape: Callable[..., Any]) -> None:
    """A body that can't be compared as JSON is compared as text; no body is refused because of its fingerprint."""

    def payload(text: str, n: int) -> Any:
        made = shape("a", n)
        for holder in (made, made.get("Sns", {})):
            for name in ("body", "Body", "Message"):
                if name in holder:
                    holder[name] = text
        return made

    assert fingerprint(payload(body, 1)) == fingerprint(payload(body, 2)) != fingerprint(payload(f"{body}x", 1))


@pytest.mark.parametrize(
    "payload",
    [
        {"messageId": "1", "body": "hi", "to": "bob"},
        {"records": [{"a": 1}], "amount": 5},
        {"Records": [], "amount": 5},
        {"messages": [{"role": "user"}], "model": "a"},
        {"data": "a", "partitionKey": "b", "amount": 5},
        {"recordId": "1", "data": "a", "amount": 5},
        {"arguments": [1], "info": "text", "amount": 5},
        {"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"id": 1}},
        {"requestContext": "text", "amount": 5},
        {"detail": {"a": 1}, "amount": 5},
        {"Records": [sqs("a"), {"amount": 5}]},
        [],
        [1, 2],
        "text",
        7,
    ],
)
def test_a_payload_that_only_resembles_a_shape_counts_as_a_whole(payload: Any) -> None:
    """Without the members of a delivery, each member counts: a changed amount is another payload."""
    assert payload_content(payload) is None
    if isinstance(payload, dict):
        assert fingerprint(payload) != fingerprint({**payload, "more": 1})


def test_the_other_arguments_count_beside_an_unknown_payload(clock: FakeClock) -> None:
    """Without a known shape all arguments but Lambda's context count."""
    store = IdempotencyStore("handled", client=fake_dynamodb({"handled": ["pk"]}, clock), clock=clock)
    handle = idempotent(store, scope="s", key="id")(lambda order, amount: (order, amount))
    handle({"id": "1"}, 5)
    with pytest.raises(PayloadMismatchError):
        handle({"id": "1"}, 6)


def test_a_payload_is_not_changed() -> None:
    """Making a fingerprint changes nothing in the payload."""
    for shape in SHAPES.values():
        payload = shape({"a": [1.5]})
        before = copy.deepcopy(payload)
        fingerprint(payload)
        assert payload == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda members: st.lists(members, max_size=3) | st.dictionaries(st.text(max_size=3), members, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_json_value_is_its_own_form(value: Any) -> None:
    """JSON values are fingerprinted as they are."""
    assert as_json(value) == value
    assert canonical(as_json(value)) == canonical(value)


def test_an_event_in_any_form_has_one_fingerprint() -> None:
    """An `Event` and its form on the bus have one fingerprint."""
    event = Event("BookAdded", {"title": "a"}, source="Books", id="1")
    assert fingerprint(event) == fingerprint(own("a")) == fingerprint_of(payload_content(sqs(own("a"), 2))[0])  # type: ignore[index]


def test_text_that_looks_like_base64_is_text_unless_the_request_says_otherwise() -> None:
    """A body is decoded from base64 only if the request says so; one that looks the same is another payload."""
    plain = {"requestContext": {"http": {"method": "POST", "path": "/book"}}, "rawPath": "/book", "body": "e30="}
    assert payload_content(plain) != payload_content({**plain, "isBase64Encoded": True})
    assert payload_content({**plain, "isBase64Encoded": True}) == payload_content({**plain, "body": "{}"})
    assert payload_content({**plain, "isBase64Encoded": True, "body": None}) == payload_content({**plain, "body": None})


def test_a_request_without_a_body_is_known_by_method_and_path() -> None:
    """A GET request has no body; what differs with a delivery does not count."""
    first, second = (
        {"requestContext": {"http": {"method": "GET", "path": "/book"}, "requestId": number}, "rawPath": "/book"}
        for number in "12"
    )
    assert fingerprint(first) == fingerprint(second)


def test_a_list_with_an_unknown_member_counts_as_a_whole() -> None:
    """Messages in a list have their content; with another object among them, each member of the list counts."""
    assert payload_content([sqs({}), sqs({})]) == payload_content([sqs({}, 2), sqs({}, 2)])
    assert payload_content([sqs({}), {"amount": 1}]) is None


def test_a_sets_order_does_not_count() -> None:
    """Two equal sets have one fingerprint, whatever the order in which Python has their members."""
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert as_json(one) == as_json(other)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_a_payload_has_64_levels_at_most(wrap: Callable[[object], object]) -> None:
    """64 nested lists or objects are a payload; 65 are refused."""
    value: object = 1
    for _ in range(64):
        value = wrap(value)
    assert as_json(value) == value
    with pytest.raises(PathError, match="nested more than 64 levels deep"):
        as_json(wrap(value))
