"""From the table's stream to the bus: each change as the event that it is."""

import os

from books.cdc_mode.changes import event_of
from books.events import SOURCE
from dynamo_outbox import ChangeProcessor, EventBridgePublisher

handler = ChangeProcessor(EventBridgePublisher(os.environ["EVENT_BUS"], source=SOURCE), event_of)
