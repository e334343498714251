"""Resources on the engine: the tables, the stream, and the bus with its two queues."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynamo_outbox.testing import MiniStack

__all__ = ["CHANGED", "COUNTED", "VISIBILITY", "World"]

CHANGED, COUNTED = "EntityChanged", "EntityCounted"
"""The event types of a writer's and of a consumer's transaction."""
SOURCE = "proof"
VISIBILITY = 3
"""Seconds until the queue redelivers a message that was not deleted."""


@dataclass(frozen=True)
class World:
    """Names of the created resources.

    Attributes:
        entities, events, handled, effects: Tables: the writers' entities, the outbox, the inbox's records, and the
            consumers' counters, one per entity.
        bus: The bus.
        queue: The URL of the queue from which consumers take `CHANGED` events.
        tap: The URL of the queue that receives every event of the bus.
        stream_arn: The outbox's stream.
    """

    entities: str
    events: str
    handled: str
    effects: str
    bus: str
    queue: str
    tap: str
    stream_arn: str

    @classmethod
    def build(cls, engine: MiniStack) -> World:
        """Create the resources on an engine."""
        dynamodb, events, sqs = (engine.client(service) for service in ("dynamodb", "events", "sqs"))
        for table in ("entities", "handled", "effects"):
            dynamodb.create_table(TableName=table, **_table("pk"))
        outbox = dynamodb.create_table(
            TableName="events",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            **_table("pk", "sk"),
        )
        events.create_event_bus(Name="bus")
        urls = {}
        for queue, pattern in (("queue", {"detail-type": [CHANGED]}), ("tap", {"source": [SOURCE]})):
            made = sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": str(VISIBILITY)})
            urls[queue] = made["QueueUrl"]
            attributes = sqs.get_queue_attributes(QueueUrl=urls[queue], AttributeNames=["QueueArn"])["Attributes"]
            events.put_rule(Name=queue, EventBusName="bus", EventPattern=json.dumps(pattern))
            targets = [{"Id": queue, "Arn": attributes["QueueArn"]}]
            events.put_targets(Rule=queue, EventBusName="bus", Targets=targets)
        arn = outbox["TableDescription"]["LatestStreamArn"]
        return cls("entities", "events", "handled", "effects", "bus", urls["queue"], urls["tap"], arn)


def _table(*key: str) -> dict[str, object]:
    return {
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in key],
        "BillingMode": "PAY_PER_REQUEST",
    }
