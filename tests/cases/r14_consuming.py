"""One id from two CloudEvents sources, and scopes with #."""

from common import *

quiet()
clock, db = world()
store = IdempotencyStore("seen", client=db, clock=clock)


@Inbox(store).handler(consumer="c")
def handler(event, tx):
    tx.update("stock", {"item": event.source}, add={"n": 1})
    return event.source


def day_closed(source, id="1"):
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": "DayClosed",
        "time": "2026-01-01T00:00:00Z",
        "data": {"day": "2026-01-01"},
    }


eu, us = day_closed("/shop/eu"), day_closed("/shop/us")
print("1 inbox:", handler(eu), handler(us), sorted(item["item"]["S"] for item in db.scan(TableName="stock")["Items"]))
runs = []


@idempotent(store, scope="g")
def g(event):
    runs.append(event["source"])
    return event["source"]


print("1 idempotent:", g(eu), g(us), g(eu), runs)


@idempotent(store, scope="pay", key="id")
def pay(payload):
    return "paid"


@idempotent(store, scope="pay#refund", key="id")
def refund(payload):
    return "refunded"


print("2:", told(pay, {"id": "refund#1"}), told(refund, {"id": "1"}))


@idempotent(store, scope="inbox", key="id")
def victim(payload):
    return "x"


victim({"id": "c#77"})
victim({"id": ["c", "/shop/eu", "77"]})
print("2b inbox after idempotent(scope='inbox'):", told(handler, day_closed("/shop/eu", id="77")))

# Prints:
# 1 inbox: /shop/eu /shop/us ['/shop/eu', '/shop/us']
# 1 idempotent: /shop/eu /shop/us /shop/eu ['/shop/eu', '/shop/us']
# 2: paid refunded
# 2b inbox after idempotent(scope='inbox'): /shop/eu
