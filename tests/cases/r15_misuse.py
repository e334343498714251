"""A transaction without `with`, keys of any kind, recursion, and results that can't be stored."""

from common import *
from pydantic import BaseModel

quiet()
clock, db = world()
ob = outbox(db, clock)
tx = ob.transaction()
for name, write in (("put", lambda: tx.put("orders", {"id": "1"})), ("emit", lambda: tx.emit(Event("T", {})))):
    print("a)", name, told(write).split(":")[0])
print("a) orders:", len(db.scan(TableName="orders")["Items"]), "events:", len(db.scan(TableName="ev")["Items"]))
store = IdempotencyStore("seen", client=db, clock=clock)


@idempotent(store, key="id", scope="f")
def f(payload):
    return 1


for key in ("\ud800", "", "x" * 5000, None, 0, True, 1.5, "é" * 900, ["a"], {"secret": "s3cr3t" * 20}):
    result = str(told(f, {"id": key}))
    print("b)", ascii(key)[:20], result.split(":")[0], "short" if len(result) < 300 else len(result))


@Inbox(store).handler(consumer="c")
def h(event, tx):
    return 1


print("c)", told(h, Event("T", {}, id="x" * 3000, source="s")).split(":")[0])


@idempotent(store, key="id", scope="r")
def r(payload):
    return [payload["n"], r({"id": payload["id"], "n": payload["n"]})] if payload["n"] else 0


print("d)", told(r, {"id": "1", "n": 1}).split(":")[0])


class Model(BaseModel):
    text: str


def model(payload) -> Model:
    return Model(text="é" * 230_000)


for result in ("é" * 200_000, object(), (i for i in ()), {1: 2}, {"a": {1, 2}}, "x" * 500_000, model):
    clock, db2 = world()
    runs = [0]

    def function(payload):
        runs[0] += 1
        return result

    if result is model:

        def function(payload) -> Model:
            runs[0] += 1
            return model(payload)

    e = idempotent(IdempotencyStore("seen", client=db2, clock=clock), key="id", scope="e")(function)
    print("e)", type(result).__name__, [told(e, {"id": "1"})[:14] for _ in range(2)], "runs", runs[0])

# Prints:
# a) put !! RuntimeError
# a) emit !! RuntimeError
# a) orders: 0 events: 0
# b) '\ud800' !! InvalidIdempotencyKeyError short
# b) '' !! MissingIdempotencyKeyError short
# b) 'xxxxxxxxxxxxxxxxxxx !! InvalidIdempotencyKeyError short
# b) None !! MissingIdempotencyKeyError short
# b) 0 1 short
# b) True !! InvalidIdempotencyKeyError short
# b) 1.5 1 short
# b) '\xe9\xe9\xe9\xe9\xe 1 short
# b) ['a'] 1 short
# b) {'secret': 's3cr3ts3 !! InvalidIdempotencyKeyError short
# c) !! InvalidIdempotencyKeyError
# d) !! AlreadyInProgressError
# e) str ['!! ResultError', '!! ResultError'] runs 1
# e) object ['!! ResultError', '!! ResultError'] runs 1
# e) generator ['!! ResultError', '!! ResultError'] runs 1
# e) dict ['!! ResultError', '!! ResultError'] runs 1
# e) dict ['!! ResultError', '!! ResultError'] runs 1
# e) str ['!! ResultError', '!! ResultError'] runs 1
# e) function ['!! ResultError', '!! ResultError'] runs 1
