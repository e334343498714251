"""A server that takes connections and never answers: DynamoDB at a commit, EventBridge at a relay's PutEvents.

The argument is ``relay`` or ``commit``; with a second one, ``unscaled``, the library's own timeouts hold: the relay
answers within the 30 s of its function with the old record parked, and the commit ends after some ten seconds.
"""

import socket
import sys
import threading
import time

from common import *
from common import rec, table

from dynamo_outbox.aws import clients

quiet()
scale = 1 if "unscaled" in sys.argv else 0.05
clients.READ_TIMEOUT *= scale
clients.CONNECT_TIMEOUT *= scale
if scale < 1:
    from dynamo_outbox.aws import service
    from dynamo_outbox.writing import commit

    service.SHORTEST_RESPONSE_TIME *= scale
    commit.RESPONSE_TIME *= scale
    commit.DOUBT_WAITS = tuple(wait * scale for wait in commit.DOUBT_WAITS)


class Hole:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.kept = []
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            self.kept.append(self.socket.accept()[0])


class Context:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


def seconds(start, limit):
    took = time.monotonic() - start
    return f"{took:.1f} s" if scale == 1 else "in time" if took < limit * scale else f"too late: {took / scale:.1f} s"


hole = Hole()
os.environ["AWS_ENDPOINT_URL"] = hole.url
from datetime import timedelta

if sys.argv[1] == "commit":
    ob = TransactionalOutbox("ev", source="s", keys={"o": "id"}, retry=Retry(timeout=timedelta(seconds=5 * scale)))
    start = time.monotonic()
    try:
        with ob.transaction() as tx:
            tx.put("o", {"id": "1"})
            tx.emit(Event("T", {}))
    except Exception as error:
        print(type(error).__name__, seconds(start, 16), "more than one connection:", len(hole.kept) > 1)
else:
    now = Clock().now()
    db = FakeDynamoDB(clock=Clock())
    for name in ("ev", "park"):
        table(db, name, "pk", "sk")
    parking = ParkingTable("park", client=db)
    retry = Retry(timeout=timedelta(seconds=10 * scale))
    relay = OutboxRelay(EventBridgePublisher("bus", source="s", retry=retry), parking=parking)
    ob = TransactionalOutbox("ev", source="s", client=db)
    item = ob.transact_item(Event("T", {}, aggregate_type="A", aggregate_id="1"))["Put"]["Item"]
    start = time.monotonic()
    limit = 30 if scale == 1 else 1 + 30 * scale  # the publisher keeps a second of it
    answer = relay({"Records": [rec(item, when=now - timedelta(hours=13))]}, Context(limit))
    print(answer, seconds(start, 30), "parked", [head.order_key for head in parking.heads()])

# Prints with relay:
# {'batchItemFailures': []} in time parked ['A#1']
# Prints with commit:
# CommitUnknownError in time more than one connection: True
