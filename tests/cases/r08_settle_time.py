"""settle(Event) dates the outbox item by the event's creation, not by the event's own time."""

from datetime import timedelta

from common import *

clock, db = world(Clock())
clock = FakeClock(clock.now())
db = world(clock)[1]
ob = outbox(db, clock)
now = clock.now()


def written(event, order):
    item = ob.transact_item(event)
    db.transact_write_items(TransactItems=[{"Put": {"TableName": "orders", "Item": {"id": {"S": order}}}}, item])
    return item["Put"]["Item"]


event = Event("Imported", {}, time=now - timedelta(days=30))
written(event, "1")
print("an event about the past, just committed:", told(ob.settle, event))

event = Event("Booked", {}, time=now + timedelta(days=30))
item = written(event, "2")
clock.advance(timedelta(days=8))
db.delete_item(TableName="ev", Key={key: item[key] for key in ("pk", "sk")})  # what TTL does
print("committed 8 days ago, its item deleted by TTL:", told(ob.settle, event))

event = Event("Booked", {}, id="an id of its own", time=clock.now())
print("not committed, of unknown age:", told(ob.settle, event))
written(event, "3")
print("committed, of unknown age:", told(ob.settle, event))

# Prints:
# an event about the past, just committed: True
# committed 8 days ago, its item deleted by TTL: !! CommitUnknownError: ...
# not committed, of unknown age: !! CommitUnknownError: ...
# committed, of unknown age: True
