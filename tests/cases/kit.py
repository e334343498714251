"""Helpers of the scripts c…, n… and p…: a store in a fake DynamoDB, and payloads as AWS delivers them."""

import json
import logging

from dynamo_outbox import Clock, IdempotencyStore
from dynamo_outbox.testing import FakeDynamoDB

logging.disable(logging.CRITICAL)


def database(clock=None):
    """Return a DynamoDB with the table handled."""
    db = FakeDynamoDB(clock=clock or Clock())
    table(db, "handled", "pk")
    return db


def table(db, name, *keys, stream=None):
    """Create a table whose key attributes are text."""
    more = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": stream}} if stream else {}
    db.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def store():
    """Return a store in a database of its own."""
    return IdempotencyStore("handled", client=database())


def told(function, *args, **options):
    """Return a call's result, or its error as text."""
    try:
        return function(*args, **options)
    except Exception as error:
        return f"!! {type(error).__name__}: {error}"


def bus_event(id="i1", **data):
    """Return an event as a rule of EventBridge delivers it."""
    metadata = {"id": id, "type": "OrderPlaced", "version": 1, "time": "2026-01-01T00:00:00.000000Z"}
    return {
        "version": "0",
        "id": "e-" + id,
        "detail-type": "OrderPlaced",
        "source": "Shop",
        "time": "2026-01-01T00:00:00Z",
        "detail": {"metadata": metadata, "data": data},
    }


def sqs(body, id="m1", count=1, group=None, arn="arn:aws:sqs:eu-west-1:123456789012:orders"):
    """Return an SQS message as Lambda delivers it."""
    attributes = {
        "ApproximateReceiveCount": str(count),
        "SentTimestamp": "1545082649183",
        "SenderId": "A",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    }
    if group:
        attributes["MessageGroupId"] = group
    return {
        "messageId": id,
        "receiptHandle": f"handle-{count}",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": "x",
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "eu-west-1",
    }


RECORD = {
    "eventID": "1",
    "eventName": "INSERT",
    "eventVersion": "1.1",
    "eventSource": "aws:dynamodb",
    "awsRegion": "eu-west-1",
    "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000",
    "dynamodb": {
        "ApproximateCreationDateTime": 1700000000,
        "Keys": {"id": {"S": "7"}},
        "NewImage": {"id": {"S": "7"}},
        "SequenceNumber": "100000000000000000001",
        "SizeBytes": 5,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
}
