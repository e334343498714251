"""Publish each change in the table's stream as an event."""

import os
from dataclasses import asdict
from typing import Any

from books.cdc_mode.changes import event_of
from books.events import SOURCE
from dynamo_outbox import ChangeProcessor, EventBridgePublisher, ParkingTable

parking = ParkingTable(os.environ["PARKING_TABLE"])
publisher = EventBridgePublisher(os.environ["EVENT_BUS"], source=SOURCE)
handler = ChangeProcessor(publisher, event_of, parking=parking)


def redrive(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Publish the parked records after the cause is fixed."""
    return asdict(parking.redrive(handler, context=context))
