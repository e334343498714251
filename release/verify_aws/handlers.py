"""The code of the deployed functions: relay, redrive, consumer, and three that fail on purpose."""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
import botocore

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    OutboxRelay,
    ParkingTable,
    parse_events,
)


def _named(variable: str) -> str:
    return os.environ.get(variable, "not-of-this-function")


parking = ParkingTable(_named("PARKING_TABLE"))
relay = OutboxRelay(EventBridgePublisher(_named("EVENT_BUS")), parking=parking)


def redrive(_event: dict[str, Any], context: object) -> dict[str, int]:
    """Publish the parked records."""
    return {"sent": parking.redrive(relay, context=context).sent}


@Inbox(IdempotencyStore(_named("DEDUP_TABLE"))).handler(consumer="effects")
def effects(event: Event, tx: InboxTransaction) -> None:
    """Count the event: a repeated effect gives 2."""
    tx.update(_named("STATE_TABLE"), {"pk": event.id}, add={"applied": 1})


def raises(_event: dict[str, Any], _context: object) -> None:
    """Fail."""
    raise ValueError("on purpose")


def reports(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Report each record as failed."""
    return {"batchItemFailures": [{"itemIdentifier": each["dynamodb"]["SequenceNumber"]} for each in event["Records"]]}


def records(payload: Any, context: Any) -> dict[str, Any]:
    """Record a delivery of the Custom Event Bus in a queue, and fail as its events ask."""
    body = json.dumps({"botocore": botocore.__version__, "payload": payload})
    ids = {"MessageGroupId": "calls", "MessageDeduplicationId": context.aws_request_id}
    boto3.client("sqs").send_message(QueueUrl=_named("CALLS_QUEUE"), MessageBody=body, **ids)
    failures = []
    for at, message in enumerate(parse_events(payload)):
        answer = message.event.data.get("answer")
        if answer == "raise":
            raise ValueError("on purpose")
        if answer is not None:
            identifier = payload[at]["SystemMetadata"]["aws:EventId"] if answer == "its id" else answer
            failures.append({"itemIdentifier": identifier})
    return {"batchItemFailures": failures}
