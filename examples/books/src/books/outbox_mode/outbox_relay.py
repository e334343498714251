"""From the events table's stream to the bus, where a function is to do it rather than a pipe."""

import os
from dataclasses import asdict
from typing import Any

from dynamo_outbox import EventBridgePublisher, OutboxRelay, ParkingTable

parking = ParkingTable(os.environ["PARKING_TABLE"])
handler = OutboxRelay(EventBridgePublisher(os.environ["EVENT_BUS"]), parking=parking)


def redrive(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Publish what is parked, when what kept it from the bus is mended."""
    return asdict(parking.redrive(handler, context=context))
