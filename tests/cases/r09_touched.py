"""settle() after another process changed the event's item: a sweeper set an attribute on it."""

from common import *

clock, db = world(FakeClock(Clock().now()))
ob = outbox(db, clock)
event = Event("T", {})
action = ob.transact_item(event)
db.transact_write_items(TransactItems=[{"Put": {"TableName": "orders", "Item": {"id": {"S": "1"}}}}, action])
db.update_item(
    TableName="ev",
    Key={key: action["Put"]["Item"][key] for key in ("pk", "sk")},
    UpdateExpression="SET seenBy = :x, expiresAt = :later",
    ExpressionAttributeValues={":x": {"S": "audit"}, ":later": {"N": "2000000000"}},
)
print("committed, and the item has one more attribute and another time to live; settle says", ob.settle(event))

# Prints:
# committed, and the item has one more attribute and another time to live; settle says True
