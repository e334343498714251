"""No event; the process is frozen for 11 minutes between a lost response and the resend: `add` is not applied twice."""

from datetime import timedelta

from botocore.exceptions import ReadTimeoutError
from common import *

calls = []


class Frozen(FakeClock):
    def sleep(self, seconds):
        self.advance(timedelta(minutes=11))


def lost(real, request):
    calls.append(request)
    response = real(**request)
    if len(calls) == 1:
        raise ReadTimeoutError(endpoint_url="x")
    return response


clock, db = world(Frozen(START, random=0.5))
ob = outbox(Wrap(db, transact_write_items=lost), clock)
try:
    with ob.transaction() as tx:
        tx.update("stock", {"item": "a"}, add={"n": 1})
    print("committed")
except Exception as error:
    print(type(error).__name__)
print(db.get_item(TableName="stock", Key={"item": {"S": "a"}})["Item"], "after", len(calls), "call")

# Prints:
# CommitUnknownError
# {'item': {'S': 'a'}, 'n': {'N': '1'}} after 1 call
