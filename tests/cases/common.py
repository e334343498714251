"""Helpers of the scripts r…: a world with a fake clock and a fake DynamoDB, an outbox in it, and stream records."""

import logging
import os
from datetime import UTC, datetime

os.environ.update(
    AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", AWS_DEFAULT_REGION="eu-west-1", AWS_EC2_METADATA_DISABLED="true"
)

from dynamo_outbox import *
from dynamo_outbox.errors import *
from dynamo_outbox.testing import *

START = datetime(2026, 1, 1, tzinfo=UTC)


def table(db, name, *keys, stream=False):
    """Create a table whose key attributes are text."""
    more = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}} if stream else {}
    db.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def world(clock=None):
    """Return a clock and a DynamoDB with the tables ev, park, orders, seen and stock."""
    clock = clock or FakeClock(START, random=0.5)
    db = FakeDynamoDB(clock=clock)
    for name in ("ev", "park"):
        table(db, name, "pk", "sk", stream=True)
    table(db, "orders", "id")
    table(db, "seen", "pk")
    table(db, "stock", "item")
    return clock, db


def outbox(client, clock, **options):
    """Return an outbox in the world."""
    return TransactionalOutbox(
        "ev", source="s", client=client, keys={"orders": "id", "stock": "item"}, clock=clock, **options
    )


class Wrap:
    """A client whose operations can be intercepted: hook(real operation, its arguments)."""

    def __init__(self, inner, **hooks):
        self.inner, self.hooks = inner, hooks

    def __getattr__(self, name):
        real = getattr(self.inner, name)
        hook = self.hooks.get(name)
        return real if hook is None else (lambda **request: hook(real, request))


_number = [10**21]


def rec(item, name="INSERT", when=START, **more):
    """Return the stream record of an outbox item, as Lambda delivers it."""
    _number[0] += 1
    return {
        "eventID": f"e{_number[0]}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/ev/stream/x",
        "dynamodb": {
            "ApproximateCreationDateTime": when.timestamp(),
            "Keys": {key: item[key] for key in ("pk", "sk")},
            "NewImage": item,
            "SequenceNumber": str(_number[0]),
            "SizeBytes": 1,
            "StreamViewType": "NEW_IMAGE",
        },
        **more,
    }


def quiet():
    """Show no log lines."""
    logging.disable(logging.CRITICAL)


def told(function, *args, **options):
    """Return a call's result, or its error as text."""
    try:
        return function(*args, **options)
    except Exception as error:
        return f"!! {type(error).__name__}: {error}"
