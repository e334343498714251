"""A repeated API request gets the first answer, also if the process died after the commit.

The FastAPI page once used `idempotent` for this: its record is completed by a second write, after the commit. If the
process dies in between, the record stays in progress, and later the function runs again and meets its own order. As an
inbox handler, the order, its event and the answer are one transaction.
"""

from datetime import UTC, datetime, timedelta

from common import quiet, table, told

from dynamo_outbox import *
from dynamo_outbox.testing import *

quiet()
clock = FakeClock(datetime(2026, 11, 28, 12, tzinfo=UTC))
db = FakeDynamoDB(clock=clock)
table(db, "orders", "order_id")
table(db, "orders-events", "pk", "sk")
table(db, "orders-requests", "pk")


class OrderPlaced(DomainEvent, type="OrderPlaced", version=1, aggregate="Order", key="order_id"):
    order_id: str
    total: str


class Killed(BaseException):
    """The process dies."""


class Process:
    """A client of a process that dies once its transaction is committed: from then on it sends nothing."""

    is_dead = False

    def __init__(self, db, dies=False):
        self.db, self.dies = db, dies

    def __getattr__(self, name):
        def call(**request):
            if self.is_dead:
                raise Killed
            response = getattr(self.db, name)(**request)
            if self.dies and name == "transact_write_items":
                self.is_dead = True
                raise Killed
            return response

        return call


def functions(client):
    """Return the same command in both forms, as a process with this client has them."""
    outbox = TransactionalOutbox(
        "orders-events", source="Shop.Orders", client=client, keys={"orders": "order_id"}, clock=clock
    )
    store = IdempotencyStore("orders-requests", client=client, clock=clock)

    @idempotent(store, scope="place", key=lambda request, order: request)
    def place(request: str, order: dict[str, str]) -> dict[str, str]:
        with outbox.transaction() as tx:
            tx.put("orders", order, must_not_exist=True, label="order")
            tx.emit(OrderPlaced(**order))
        return {"placed": order["order_id"]}

    @Inbox(store, outbox).handler(consumer="place")
    def handle(command: Event, tx: InboxTransaction) -> dict[str, str]:
        tx.put("orders", command.data, must_not_exist=True, label="order")
        tx.emit(OrderPlaced(**command.data))
        return {"placed": command.data["order_id"]}

    def by_inbox(request, order):
        return handle(Event("PlaceOrder", order, id=request, source="Shop.Api"))

    return {"idempotent": place, "Inbox": by_inbox}


for form, order in (("idempotent", {"order_id": "7", "total": "10"}), ("Inbox", {"order_id": "8", "total": "10"})):
    started = clock.now()
    try:
        functions(Process(db, dies=True))[form]("key-" + order["order_id"], order)
    except Killed:
        count = [db.scan(TableName=name)["Count"] for name in ("orders", "orders-events")]
        print(form, "killed after the commit; orders and events:", count)
    place = functions(Process(db))[form]
    for later in (timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=16)):
        clock.set(started + later)
        print(later, told(place, "key-" + order["order_id"], order))

print("another total:", told(place, "key-8", {"order_id": "8", "total": "11"}))
print("a taken order id:", told(place, "key-9", {"order_id": "8", "total": "10"}))

# Prints:
# idempotent killed after the commit; orders and events: [1, 1]
# 0:00:05 !! AlreadyInProgressError: ...
# 0:05:00 !! AlreadyInProgressError: ...
# 0:16:00 !! ConditionFailedError: ...
# Inbox killed after the commit; orders and events: [2, 2]
# 0:00:05 {'placed': '8'}
# 0:05:00 {'placed': '8'}
# 0:16:00 {'placed': '8'}
# another total: !! PayloadMismatchError: ...was used before with another payload...
# a taken order id: !! ConditionFailedError: ...'order' on orders {'order_id': '8'}...
