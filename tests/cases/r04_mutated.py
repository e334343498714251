"""An inbox handler that changes event.data; contention makes it run again, with the event as it arrived."""

from botocore.exceptions import ClientError
from common import *

clock, db = world()
calls = [0]


def contended_once(real, request):
    calls[0] += 1
    if calls[0] == 1:
        reasons = [{"Code": "TransactionConflict"}] * len(request["TransactItems"])
        refusal = {"Error": {"Code": "TransactionCanceledException", "Message": "x"}, "CancellationReasons": reasons}
        raise ClientError(refusal, "TransactWriteItems")
    return real(**request)


store = IdempotencyStore("seen", client=Wrap(db, transact_write_items=contended_once), clock=clock)


@Inbox(store).handler(consumer="packing")
def pack(event, tx):
    lines = event.data["lines"]
    first = lines.pop(0)  # or: data.setdefault, data["total"] *= 2, lines.sort()
    tx.put("stock", {"item": first, "rest": lines})
    return first


print("returned", pack(Event("OrderPlaced", {"lines": ["a", "b", "c"]})), "after", calls[0], "transactions")
print([item["item"]["S"] for item in db.scan(TableName="stock")["Items"]])

# Prints:
# returned a after 2 transactions
# ['a']
