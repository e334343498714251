"""A result nested deeper than Python recurses is stored, or counts as done: the function never runs again."""

from datetime import timedelta

from common import *

for depth in (100, 300, 400, 480, 600, 900, 990):
    clock, db = world()
    store = IdempotencyStore("seen", client=db, clock=clock)
    runs = [0]

    @idempotent(store, key="id", scope="f")
    def f(payload):
        runs[0] += 1
        result = []
        for _ in range(depth):
            result = [result]
        return result

    outcomes = set()
    for _ in range(2):
        try:
            f({"id": "1"})
            outcomes.add("ok")
        except BaseException as error:
            outcomes.add(type(error).__name__)
        clock.advance(timedelta(minutes=20))
    status = db.scan(TableName="seen")["Items"][0]["status"]["S"]
    print(depth, outcomes <= {"ok"} or outcomes <= {"ResultError"}, "runs", runs[0], status)

# Prints:
# 100 True runs 1 COMPLETED
# 300 True runs 1 COMPLETED
# 400 True runs 1 COMPLETED
# 480 True runs 1 COMPLETED
# 600 True runs 1 COMPLETED
# 900 True runs 1 COMPLETED
# 990 True runs 1 COMPLETED
