"""The effects of the proxy's faults on a real engine, observed with a plain boto3 client."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from dynamo_outbox.testing import (
    LATE,
    LOST_ANSWER,
    RESET,
    RESET_IN_ANSWER,
    SLOW_ANSWER,
    TRUNCATED,
    Fault,
    FaultProxy,
    cancelled_transaction,
    error_response,
    partial_failure,
)

from .engine import key_schema, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_outbox.testing import MiniStack

pytestmark = pytest.mark.engine

SHORT = timedelta(milliseconds=200)


@pytest.fixture
def table(ministack: MiniStack) -> Iterator[str]:
    name = f"faults-{uuid4().hex}"
    dynamodb = ministack.client("dynamodb")
    dynamodb.create_table(TableName=name, **key_schema())
    yield name
    dynamodb.delete_table(TableName=name)


@pytest.fixture
def is_there(ministack: MiniStack, table: str) -> Callable[..., bool]:
    """Return a function that checks whether the table contains an item with a given name."""
    dynamodb = ministack.client("dynamodb")
    return lambda name="a": "Item" in dynamodb.get_item(TableName=table, Key={"pk": {"S": name}}, ConsistentRead=True)


@contextmanager
def proxied(ministack: MiniStack, *faults: Fault) -> Iterator[tuple[FaultProxy, Any]]:
    """Return a proxy that applies these faults to the first transactions, and a client without retries."""
    with FaultProxy(ministack.endpoint_url, script={"TransactWriteItems": faults}) as proxy:
        yield proxy, proxy.client("dynamodb", timeout=SHORT, attempts=1)


@pytest.mark.parametrize(
    ("fault", "is_committed"),
    [
        (LOST_ANSWER, True),
        (RESET, False),
        (RESET_IN_ANSWER, True),
        (SLOW_ANSWER, True),
        (LATE, False),
        (error_response("InternalServerError", status=500), False),
        (error_response("InternalServerError", status=500, after_commit=True), True),
        (cancelled_transaction("TransactionConflict"), False),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_what_a_failed_transaction_leaves(
    ministack: MiniStack, table: str, is_there: Callable[..., bool], fault: Fault, is_committed: bool
) -> None:
    """The client gets an error for each fault; some faults commit the item and others don't."""
    with proxied(ministack, fault) as (_, client):
        with pytest.raises((ClientError, HTTPClientError)):
            client.transact_write_items(TransactItems=[put(table)])
    assert is_there() == is_committed


def test_a_truncated_answer_looks_like_a_success(
    ministack: MiniStack, table: str, is_there: Callable[..., bool]
) -> None:
    """A truncated response of GetItem looks like a missing item if botocore has no retries."""
    with FaultProxy(ministack.endpoint_url, script={"GetItem": [TRUNCATED, TRUNCATED]}) as proxy:
        proxy.client("dynamodb").put_item(**put(table)["Put"])
        request = {"TableName": table, "Key": {"pk": {"S": "a"}}, "ConsistentRead": True}
        assert "Item" not in proxy.client("dynamodb", attempts=1).get_item(**request)
        assert "Item" in proxy.client("dynamodb", attempts=2).get_item(**request)
    assert is_there()


def test_a_late_transaction_is_committed_behind_its_clients_back(
    ministack: MiniStack, table: str, is_there: Callable[..., bool]
) -> None:
    """After the client's error the item is missing; then the delayed request arrives and writes it."""
    with proxied(ministack, LATE) as (proxy, client):
        with pytest.raises(HTTPClientError):
            client.transact_write_items(TransactItems=[put(table)])
        assert not is_there()
        (exchange,) = proxy.deliver_late()
        assert exchange.status == 200
    assert is_there()


def test_botocores_retry_of_a_lost_answer_writes_nothing_twice(
    ministack: MiniStack, table: str, is_there: Callable[..., bool]
) -> None:
    """botocore keeps the token in its own retries, so the engine does not write twice."""
    with FaultProxy(ministack.endpoint_url, script={"TransactWriteItems": [LOST_ANSWER]}) as proxy:
        condition = {"ConditionExpression": "attribute_not_exists(pk)"}
        proxy.client("dynamodb", attempts=2).transact_write_items(TransactItems=[put(table, **condition)])
    first, second = (exchange.request["ClientRequestToken"] for exchange in proxy.exchanges)
    assert first == second
    assert is_there()


def test_a_lost_answer_to_a_single_write_is_a_condition_that_fails(
    ministack: MiniStack, table: str, is_there: Callable[..., bool]
) -> None:
    """A single write has no token, so its retry finds the item of the first attempt and its condition fails."""
    with FaultProxy(ministack.endpoint_url, script={"PutItem": [LOST_ANSWER]}) as proxy:
        client = proxy.client("dynamodb", attempts=2)
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.put_item(**put(table, ConditionExpression="attribute_not_exists(pk)")["Put"])
    assert is_there()


def test_entries_that_fail_never_come_to_the_bus(ministack: MiniStack) -> None:
    """The entries around a failed one are delivered, and botocore does not retry the failed entry."""
    events, sqs = ministack.client("events"), ministack.client("sqs")
    name = f"faults-{uuid4().hex}"
    events.create_event_bus(Name=name)
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventBusName=name, EventPattern='{"source": ["books"]}')
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": arn, "InputPath": "$.detail"}])
    entries = [
        {"EventBusName": name, "Source": "books", "DetailType": "t", "Detail": f'{{"n":{number}}}'}
        for number in range(4)
    ]
    faults = [partial_failure({1: "InternalFailure", 3: "MalformedDetail"}), LOST_ANSWER]
    with FaultProxy(ministack.endpoint_url, script={"PutEvents": faults}) as proxy:
        client = proxy.client("events", attempts=1)
        outcomes = client.put_events(Entries=entries)["Entries"]
        with pytest.raises(ConnectionClosedError):
            client.put_events(Entries=entries[1:2])
    assert [outcome.get("ErrorCode", "taken") for outcome in outcomes] == [
        "taken",
        "InternalFailure",
        "taken",
        "MalformedDetail",
    ]
    bodies: list[str] = []
    while len(bodies) < 3:  # ok: polling
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages")
        assert messages, f"the bus delivered only {bodies}"
        bodies += [message["Body"] for message in messages]
    assert sorted(body.replace(" ", "") for body in bodies) == ['{"n":0}', '{"n":1}', '{"n":2}']
