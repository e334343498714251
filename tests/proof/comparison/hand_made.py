"""Outbox and consumers written by hand with boto3, as common tutorials show them.

- `place_order`: entity and event in one TransactWriteItems, the event under a fresh id: AWS Prescriptive Guidance,
  "Transactional outbox pattern".
  https://docs.aws.amazon.com/prescriptive-guidance/latest/cloud-design-patterns/transactional-outbox.html
- `place_order_in_two_calls`: the dual write that the same page warns about, and with which most services begin.
- `relay`: sends the stream's records with PutEvents and ignores the response, as in four public publishers.
- `consume`: looks up the message's id, acts, writes the id.
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
    """Service written by hand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ids = count(1)

    def place_order(self) -> None:
        """Sell a copy and write its event."""
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
        """Sell a copy, then publish the event."""
        self._world.sell()
        between()
        self._world.bus.put_events(Entries=[_entry("BookSold", '{"name":"a"}')])

    def relay(self, event: Mapping[str, Any], _context: object = None) -> dict[str, Any]:
        """Publish a batch of the events table's stream, ten events per call."""
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
