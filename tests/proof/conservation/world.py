"""Resources on the engine: the tables and the stream."""

from __future__ import annotations

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
        bus: The bus's name or ARN.
        queue: The URL of the queue from which consumers take `CHANGED` events; empty if they are called.
        stream_arn: The outbox's stream.
    """

    entities: str
    events: str
    handled: str
    effects: str
    bus: str
    queue: str
    stream_arn: str

    @classmethod
    def build(cls, engine: MiniStack, *, bus: str, queue: str) -> World:
        """Create the resources on an engine."""
        dynamodb = engine.client("dynamodb")
        for table in ("entities", "handled", "effects"):
            dynamodb.create_table(TableName=table, **_table("pk"))
        outbox = dynamodb.create_table(
            TableName="events",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            **_table("pk", "sk"),
        )
        arn = outbox["TableDescription"]["LatestStreamArn"]
        return cls("entities", "events", "handled", "effects", bus, queue, arn)


def _table(*key: str) -> dict[str, object]:
    return {
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in key],
        "BillingMode": "PAY_PER_REQUEST",
    }
