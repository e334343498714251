"""A key that is present but unusable is an error, also with on_missing_key="run"; a usable one protects the call.

Pydantic payloads, UUIDs, floats and lists are usable, as in Powertools 3.37.
"""

import uuid

from kit import *
from pydantic import BaseModel

from dynamo_outbox import idempotent


class Order(BaseModel):
    order: str = "1"
    payment: uuid.UUID = uuid.UUID(int=7)


for name, key, payload in [
    ("pydantic payload, expression", "order", Order()),
    ("UUID", lambda p: p.payment, Order()),
    ("float", "id", {"id": 1.5}),
    ("list of two fields", "[a,b]", {"a": 1, "b": 2}),
    ("bool", "id", {"id": True}),
    ("object", "id", {"id": {"n": 1}}),
    ("too long", "id", {"id": "x" * 3000}),
    ("null in a list", "[a,b]", {"a": 1}),
    ("missing", "id", {}),
]:
    ran = []

    @idempotent(store(), key=key, scope="s", on_missing_key="run")
    def f(p):
        ran.append(1)

    last = [told(f, payload) for _ in range(3)][-1]
    print(f"{name:30} ran {len(ran)} times of 3:", "None" if last is None else last.split(":")[0])

# Prints:
# pydantic payload, expression   ran 1 times of 3: None
# UUID                           ran 1 times of 3: None
# float                          ran 1 times of 3: None
# list of two fields             ran 1 times of 3: None
# bool                           ran 0 times of 3: !! InvalidIdempotencyKeyError
# object                         ran 0 times of 3: !! InvalidIdempotencyKeyError
# too long                       ran 0 times of 3: !! InvalidIdempotencyKeyError
# null in a list                 ran 0 times of 3: !! InvalidIdempotencyKeyError
# missing                        ran 3 times of 3: None
