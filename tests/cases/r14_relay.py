"""Four small ones of the relay: redrive(limit=) starves; a huge reasonPath; half a surrogate; a forged log line.

Parts 3 to 6 of the adversarial review's list; the others are in the scripts about identity.
"""

import io
import random

from common import *

from dynamo_outbox.relaying import processors
from dynamo_outbox.streams.outbox_records import inserted_events

quiet()
clock, db = world()
bus = FakeEventBridge(clock=clock)
ob = outbox(db, clock)
publisher = EventBridgePublisher("b", source="s", client=bus, clock=clock)


def item(aggregate, i, **more):
    event = Event("T", {"i": i}, aggregate_type="A", aggregate_id=aggregate, sequence=i)
    return {**ob.transact_item(event)["Put"]["Item"], **more}


# 3. Eight aggregates are parked, each behind a first record that can't be read; all but one of these are repaired.
parking = ParkingTable("park", client=db, clock=clock)
relay = OutboxRelay(publisher, parking=parking)
bad = {"eventData": {"S": "{"}}
relay({"Records": [rec(item(aggregate, i, **(bad if i == 0 else {}))) for aggregate in "abcdefgh" for i in range(30)]})
first = next(parking.heads()).order_key.split("#")[1]


def repaired(record):
    image = record.raw["dynamodb"]["NewImage"]
    if image["eventData"]["S"] == "{" and image["aggregateId"]["S"] != first:
        return ()
    return inserted_events(record)


processors.inserted_events = repaired
repaired_relay = OutboxRelay(publisher, parking=parking)
sent = [parking.redrive(repaired_relay, limit=20).sent for _ in range(11)]
print("3: redrive(limit=20) sent", sent, "of", 7 * 30, "| keys left:", len(list(parking.heads())))
processors.inserted_events = inserted_events

# 4. A huge reasonPath
clock, db = world()
ob = outbox(db, clock)
parking = ParkingTable("park", client=db, clock=clock)
relay = OutboxRelay(publisher, parking=parking)
name = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=300_000))
record = rec(item("x", 1, eventData={"S": '{"' + name + '":"\\ud800"}'}))
print("4:", relay({"Records": [record]}), "parked:", len(list(parking.heads())))

# 5. Half a surrogate pair in the aggregate's id
record = rec(item("x", 1, aggregateId={"S": "\ud800"}))
print("5: parking", relay({"Records": [record]}), "parked:", len(list(parking.heads())))
answer = OutboxRelay(publisher)({"Records": [record]})
print(
    "5: without",
    [failure["itemIdentifier"] == record["dynamodb"]["SequenceNumber"] for failure in answer["batchItemFailures"]],
)

# 6. Log injection
logging.disable(logging.NOTSET)
lines = io.StringIO()
handler = logging.StreamHandler(lines)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
logging.getLogger("dynamo_outbox").addHandler(handler)
relay({"Records": [rec(item("x\nCRITICAL forged line: all is well", 1, eventData={"S": "{"}))]})
print(
    "6:",
    [line for line in lines.getvalue().splitlines() if line.startswith("CRITICAL")],
    "of a log:",
    bool(lines.getvalue()),
)

# Prints:
# 3: redrive(limit=20) sent [20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 10] of 210 | keys left: 1
# 4: {'batchItemFailures': []} parked: 1
# 5: parking {'batchItemFailures': []} parked: 2
# 5: without [True]
# 6: [] of a log: True
