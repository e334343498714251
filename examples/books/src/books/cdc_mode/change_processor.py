"""From the table's stream to the bus: each change as the event that it is."""

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
    """Publish what is parked, when what kept it from the bus is mended."""
    return asdict(parking.redrive(handler, context=context))
