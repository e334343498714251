"""Outbox and consumers as they are written by hand with boto3, and as the usual tutorials show them.

- `place_order`: entity and event in one TransactWriteItems, the event under a fresh id: AWS Prescriptive Guidance,
  "Transactional outbox pattern".
  https://docs.aws.amazon.com/prescriptive-guidance/latest/cloud-design-patterns/transactional-outbox.html
- `place_order_in_two_calls`: the dual write that the same page warns of, and that most services begin with.
- `relay`: the stream's records to PutEvents; the answer is not looked at, as in four public publishers.
- `consume`: reads whether the message's id is there, acts, writes the id.
"""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .world import World

__all__ = ["HandMade"]


class HandMade:
    """One service, written by hand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ids = count(1)

    def place_order(self) -> None:
        """Sell a copy, and write the event that tells of it."""
        event = {"eventType": {"S": "BookSold"}, "data": {"S": '{"name":"a"}'}}
        self._world.dynamodb.transact_write_items(
            TransactItems=[
                {"Update": self._world.sale()},
                {
                    "Put": {
                        "TableName": "events",
                        "Item": {**event, "pk": {"S": f"id-{next(self._ids)}"}, "sk": {"S": "e"}},
                    }
                },
            ]
        )

    def place_order_in_two_calls(self, between: Callable[[], None] = lambda: None) -> None:
        """Sell a copy, then tell of it."""
        self._world.sell()
        between()
        self._world.bus.put_events(Entries=[_entry("BookSold", '{"name":"a"}')])

    def relay(self, event: Mapping[str, Any], _context: object = None) -> dict[str, Any]:
        """Publish a batch of the events table's stream, ten at a time."""
        images = [record["dynamodb"]["NewImage"] for record in event["Records"] if record["eventName"] == "INSERT"]
        entries = [_entry(image["eventType"]["S"], json.dumps(json.loads(image["data"]["S"]))) for image in images]
        for start in range(0, len(entries), 10):
            self._world.bus.put_events(Entries=entries[start : start + 10])
        return {"batchItemFailures": []}

    def consume(self, identifier: str, act: Callable[[], None], between: Callable[[], None] = lambda: None) -> None:
        """Act once per message id."""
        key = {"pk": {"S": identifier}}
        if "Item" in self._world.dynamodb.get_item(TableName="handled", Key=key, ConsistentRead=True):
            return
        act()
        between()
        self._world.dynamodb.put_item(TableName="handled", Item=key)


def _entry(detail_type: str, detail: str) -> dict[str, Any]:
    return {"EventBusName": "bus", "Source": "Shop", "DetailType": detail_type, "Detail": detail}
