"""A record whose reason alone is larger than an item may be: it is parked, with its reason cut."""

import random

from common import *

quiet()
clock, db = world()
ob = outbox(db, clock)
bus = FakeEventBridge(clock=clock)
parking = ParkingTable("park", client=db, clock=clock)
relay = OutboxRelay(EventBridgePublisher("b", source="s", client=bus, clock=clock), parking=parking)
good = ob.transact_item(Event("T", {"i": 1}, aggregate_type="A", aggregate_id="x"))["Put"]["Item"]
letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
name = "".join(random.Random(1).choices(letters, k=300_000))
bad = {**good, "eventData": {"S": '{"' + name + '":"\\ud800"}'}}
for _ in range(2):
    print(relay({"Records": [rec(bad)]}))
print("parked:", [head.parked for head in parking.heads()])

# Prints:
# {'batchItemFailures': []}
# {'batchItemFailures': []}
# parked: [2]
