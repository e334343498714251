"""Each line: what a new user did, and the error that came. It names the input, the operation, and what to do."""

from kit import *

from dynamo_outbox import (
    Condition,
    DomainEvent,
    Event,
    IdempotencyStore,
    TransactionalOutbox,
    Version,
    batch_handler,
    idempotent,
)

db = database()
table(db, "t", "pk", "sk")
table(db, "events", "pk", "sk")
table(db, "seen", "pk")
outbox = TransactionalOutbox("events", source="S", client=db)
seen = IdempotencyStore("seen", client=db)


def attempt(what, *steps):
    def run():
        with outbox.transaction() as tx:
            for step in steps:
                step(tx)
            tx.emit(Event("T", {}, id="1"))

    print(f"{what}:", told(run))


class E1(DomainEvent, type="E1", version=1, aggregate="A", key="a"):
    a: str


item = {"pk": "V", "sk": "1"}
attempt("the sort key is missing", lambda tx: tx.put("t", {"pk": "1"}))
condition = Condition("#s = :s", {"#s": "state"}, {":s": 1})
attempt("a condition fails", lambda tx: tx.update("t", item, set={"x": 1}, condition=condition))
attempt("a stale version", lambda tx: tx.update("t", item, set={"x": 1}, version=Version("version", expected=2)))
attempt("a table that isn't there", lambda tx: tx.put("nope", {"pk": "1"}))
attempt("emit({})", lambda tx: tx.emit({}))
print("keys=[...]:", told(TransactionalOutbox, "events", keys=["t"]))
print("a bare decorator:", told(idempotent, lambda e, c: 1, scope="s"))
no_sort_key = idempotent(IdempotencyStore("t", client=db), scope="s")(lambda e: 1)
print("a store without sort_key on a pk/sk table:", told(no_sort_key, Event("T", {}, id="1")))
print("a batch handler given one event:", told(batch_handler(lambda e, c: 1), bus_event(), None))
db.put_item(TableName="t", Item={"pk": {"S": "L"}, "sk": {"S": "1"}, "v": {"N": "7"}})
with outbox.transaction() as tx:
    tx.put("t", {"pk": "L", "sk": "1"}, version=Version("v", expected=7))
    first, second = tx.emit(E1(a="1")), tx.emit(E1(a="1"))
stored = db.get_item(TableName="t", Key={"pk": {"S": "L"}, "sk": {"S": "1"}})["Item"]["v"]["N"]
print("two events after one lock:", first.sequence, second.sequence, "the item's version:", stored)

# Prints:
# the sort key is missing: !! TransactionCanceledError: ...action 0 on t: ValidationError: ...
# a condition fails: !! ConditionFailedError: ...action 0 on t {'pk': 'V', 'sk': '1'}: ConditionalCheckFailed: ...
# a stale version: !! ConditionFailedError: ...stale: version=2 was read, and there is no item now
# a table that isn't there: !! ...ResourceNotFoundException...(tables: nope, events; ...
# emit({}): !! TypeError: emit() takes an Event or a DomainEvent, not {}
# keys=[...]: !! TypeError: keys=['t'] must be a map of tables to their key attributes: {'books': 'name'}
# a bare decorator: !! TypeError: idempotent takes a store first: @idempotent(store, scope=...), not ...
# a store without sort_key on a pk/sk table: !! ...(table t: compare its key attributes with table_keys=)
# a batch handler given one event: {}
# two events after one lock: 8 9 the item's version: 9
