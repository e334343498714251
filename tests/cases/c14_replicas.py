"""A replica of a global table has the write again in its own stream, with an eventID of its own.

A function or pipe in each Region publishes a change twice, in CDC mode under two ids that no consumer can match. The
record's awsRegion is that of the stream, so it does not tell where the write was made: an attribute of the item does.
"""

import copy

from kit import *

from dynamo_outbox import *
from dynamo_outbox.pipes import matches
from dynamo_outbox.testing import FakeEventBridge

bus = FakeEventBridge(clock=Clock())
process = ChangeProcessor(
    EventBridgePublisher("bus", source="S", client=bus), lambda record: Event("Changed", record.new_image)
)
here = copy.deepcopy(RECORD)
here["dynamodb"]["NewImage"]["writtenIn"] = {"S": "eu-west-1"}
there = copy.deepcopy(here)
there |= {
    "eventID": "2",
    "awsRegion": "us-east-1",
    "eventSourceARN": RECORD["eventSourceARN"].replace("eu-west-1", "us-east-1"),
}
process({"Records": [here]})
process({"Records": [there]})
print("a function in each Region:", len({parse_event(event).id for event in bus.events}), "ids for one write")

bus.events.clear()
for region, record in (("eu-west-1", here), ("us-east-1", there)):
    pattern = {"dynamodb": {"NewImage": {"writtenIn": {"S": [region]}}}}
    process({"Records": [each for each in [record] if matches(pattern, each)]})
print("with a filter by the item's Region:", [parse_event(event).data["writtenIn"] for event in bus.events])

# Prints:
# a function in each Region: 2 ids for one write
# with a filter by the item's Region: ['eu-west-1']
