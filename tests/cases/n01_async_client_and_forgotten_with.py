"""Two silent losses: an aiobotocore client, whose calls return coroutines, and a transaction used without `with`."""

from kit import *

from dynamo_outbox import Event, EventBridgePublisher, TransactionalOutbox


class AsyncClient:
    class meta:
        region_name = "eu-west-1"

    async def transact_write_items(self, **request):
        return {}

    async def put_events(self, **request):
        return {}


print("async client:", told(TransactionalOutbox, "events", source="S", client=AsyncClient()))
print("async publisher:", told(EventBridgePublisher, "bus", client=AsyncClient()))


class Wrapped:
    """Not recognised as async before it is called."""

    def __getattr__(self, name):
        return lambda **request: getattr(AsyncClient(), name)(**request)


def commit():
    with TransactionalOutbox("events", source="S", client=Wrapped()).transaction() as tx:
        tx.emit(Event("T", {}))


print("wrapped:", told(commit))
print("wrapped:", told(EventBridgePublisher("bus", client=Wrapped()).publish, [Event("T", {}, source="S")]))

db = database()
table(db, "events", "pk", "sk")
table(db, "orders", "id")
tx = TransactionalOutbox("events", source="S", client=db, keys={"orders": "id"}).transaction()
print("without with:", told(tx.put, "orders", {"id": "1"}))
print("without with:", told(tx.emit, Event("T", {})), "| orders:", db.scan(TableName="orders")["Count"])

# Prints:
# async client: !! TypeError: client=<__main__.AsyncClient object at ...> is an async client: ...
# async publisher: !! TypeError: client=<__main__.AsyncClient object at ...> is an async client: ...
# wrapped: !! NoResponseTypeError: transact_write_items returned an awaitable: async clients are not supported...
# wrapped: !! NoResponseTypeError: put_events returned an awaitable: async clients are not supported...
# without with: !! RuntimeError: this transaction has not begun: use it in a block, ...
# without with: !! RuntimeError: this transaction has not begun: use it in a block, ... | orders: 0
