"""An aggregate is deleted and made again, and the inbox refuses stale events: the new life's events are not stale."""

from datetime import timedelta

from common import *

clock, db = world()
ob = outbox(db, clock)
store = IdempotencyStore("seen", client=db, clock=clock)


@ob.transactional()
def set_(tx, item, n):
    tx.get("stock", {"item": item}, version="version")
    tx.update("stock", {"item": item}, set={"n": n})
    return tx.emit(Event("StockSet", {"n": n}, aggregate_type="Item", aggregate_id=item))


@ob.transactional()
def remove(tx, item):
    tx.get("stock", {"item": item}, version="version")
    tx.delete("stock", {"item": item})
    return tx.emit(Event("StockRemoved", {}, aggregate_type="Item", aggregate_id=item))


@Inbox(store).handler(consumer="window", on_stale=lambda event: "STALE, skipped")
def window(event, tx):
    tx.put("orders", {"id": "w", "says": event.data.get("n", "gone")})
    return "shown"


def later():
    clock.advance(timedelta(minutes=1))


steps = (lambda: set_("a", 5), lambda: set_("a", 6), lambda: remove("a"), lambda: set_("a", 7), lambda: set_("a", 8))
first = None
for step in steps:
    later()
    event = step()
    first = first or event.sequence
    print(event.type, event.data, "sequence + ", event.sequence - first, "->", window(event))
item = db.get_item(TableName="orders", Key={"id": {"S": "w"}})["Item"]
print(
    "window says", item["says"], "| stock holds", db.get_item(TableName="stock", Key={"item": {"S": "a"}})["Item"]["n"]
)

# Prints:
# StockSet {'n': 5} sequence +  0 -> shown
# StockSet {'n': 6} sequence +  1 -> shown
# StockRemoved {} sequence +  2 -> shown
# StockSet {'n': 7} sequence +  180000 -> shown
# StockSet {'n': 8} sequence +  180001 -> shown
# window says {'N': '8'} | stock holds {'N': '8'}
