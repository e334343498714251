"""The same service with this library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    OutboxRelay,
    ParkingTable,
    TransactionalOutbox,
)

from .world import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from .world import World

__all__ = ["Ours"]


class Ours:
    """Outbox, relay, inbox and idempotent functions that use the world's clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        client, clock = world.dynamodb, world.clock
        self.outbox = TransactionalOutbox("events", source="Shop", client=client, clock=clock)
        self.store = IdempotencyStore("handled", client=client, clock=clock, ttl=8 * DAY)
        self.inbox = Inbox(self.store, self.outbox)
        publisher = EventBridgePublisher("bus", client=world.bus, clock=clock)
        parking = ParkingTable("parking", client=client, clock=clock)
        self.relay = OutboxRelay(publisher, parking=parking)

    def place_order(self, between: Callable[[], None] = lambda: None) -> Any:
        """Return a handler of a command's event that sells a copy and emits an event, once per command."""

        @self.inbox.handler(consumer="shop")
        def place(_command: Event, tx: Any) -> None:
            tx.update("books", {"name": "a"}, set={"sold": self._world.sold + 1})
            tx.emit(Event("BookSold", {"name": "a"}))
            between()

        return place

    def emit(self, event: Event) -> None:
        """Write an event."""
        with self.outbox.transaction() as tx:
            tx.emit(event)
