"""dynamodb-onetable#275, aws-sdk-js#2464 and #3602, PynamoDB#1143 (which action, and why?); aws-sdk-go#3792."""

from kit import *

from dynamo_outbox import Condition, Event, TransactionalOutbox, Version

db = database()
table(db, "events", "pk", "sk")
table(db, "orders", "id")
table(db, "lines", "id", "no")
outbox = TransactionalOutbox("events", source="S", client=db, keys={"orders": "id", "lines": ("id", "no")})


def attempt(what, *steps):
    def run():
        with outbox.transaction() as tx:
            for step in steps:
                step(tx)
            tx.emit(Event("T", {}))

    print(f"{what}:", told(run))


attempt("a number as a text key", lambda t: t.put("orders", {"id": 5}, label="the order"))
attempt(
    "a list as key, twice",
    lambda t: t.put("lines", {"id": ["x"], "no": "1"}, label="a"),
    lambda t: t.put("lines", {"id": ["y"], "no": "1"}, label="b"),
)
attempt("a list as key of an update", lambda t: t.update("orders", {"id": ["x"]}, set={"a": 1}))
version = Version("version", expected=0)
attempt(
    "lock and add= of one attribute", lambda t: t.update("orders", {"id": "1"}, add={"version": 1}, version=version)
)
attempt("set= and add= of one attribute", lambda t: t.update("orders", {"id": "1"}, set={"n": 1}, add={"n": 1}))
attempt("remove= twice", lambda t: t.update("orders", {"id": "1"}, remove=["n", "n"]))
attempt("a path and its parent", lambda t: t.update("orders", {"id": "1"}, set={"a.b": 1, "a": {}}))
attempt("a value without a type", lambda t: t.update("orders", {"id": "1"}, set={"at": object}))
reserved = Condition("attribute_not_exists(#outbox_0) OR #outbox_0 = :outbox_0", {"#outbox_0": "zz"}, {":outbox_0": 7})
attempt("reserved placeholders", lambda t: t.update("orders", {"id": "1"}, set={"a": 1}, condition=reserved))

# Prints:
# a number as a text key: !! TransactionCanceledError: ...action 0 'the order' on orders ...ValidationError: ...
# a list as key, twice: !! TransactionCanceledError: ...action 0 'a' on lines ...
# a list as key of an update: !! EncodeError: id: a key is text, a number or binary, not ['x']
# lock and add= of one attribute: !! ValueError: add= of 'version' overlaps the version lock of 'version'; ...
# set= and add= of one attribute: !! ValueError: add= of 'n' overlaps set= of 'n'; DynamoDB changes a path once...
# remove= twice: !! ValueError: remove= of 'n' overlaps remove= of 'n'; DynamoDB changes a path once in an update
# a path and its parent: !! ValueError: set= of 'a' overlaps set= of 'a.b'; DynamoDB changes a path once in an update
# a value without a type: !! EncodeError: set.at: DynamoDB has no type for type; convert <class 'object'> first
# reserved placeholders: !! ValueError: the placeholder '#outbox_0' is reserved: use one that doesn't begin with outbox_
