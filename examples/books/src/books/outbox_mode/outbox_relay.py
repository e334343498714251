"""From the events table's stream to the bus, where a function is to do it rather than a pipe."""

import os

from dynamo_outbox import EventBridgePublisher, OutboxRelay

handler = OutboxRelay(EventBridgePublisher(os.environ["EVENT_BUS"]))
