"""Publish the events in the events table's stream; used instead of the pipe."""

import os
from dataclasses import asdict
from typing import Any

from dynamo_outbox import EventBridgePublisher, OutboxRelay, ParkingTable

parking = ParkingTable(os.environ["PARKING_TABLE"])
handler = OutboxRelay(EventBridgePublisher(os.environ["EVENT_BUS"]), parking=parking)


def redrive(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Publish the parked records after the cause is fixed."""
    return asdict(parking.redrive(handler, context=context))
