"""boto3#3411, opensnowcat-enrich#282, aws-health-aware#70: PutEvents answers HTTP 413 with an empty body.

botocore then names the error by its status: Code "413", Message "". One entry is the cause; here the server refuses any
body over 600 kB (a real boto3 client against a loopback server). The other events go out in the first call of the
relay, and the big one is refused alone, as for RequestEntityTooLargeException.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from kit import *

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, ParkingTable, TransactionalOutbox
from dynamo_outbox.testing import FakeClock, FakeDynamoDBStreams, wire_record

bodies = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        entries = json.loads(body)["Entries"]
        bodies.append(len(entries))
        is_large = len(body) > 600_000
        response = json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in entries]}).encode()
        response = b"" if is_large else response
        self.send_response(413 if is_large else 200)
        self.send_header("content-length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "events",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="us-east-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
    config=Config(retries={"mode": "standard"}, proxies={}),
)

# 400,002 bytes of UTF-8 by AWS's formula, 1,200,000 on the wire: botocore escapes
texts = ["small", "small", "é" * 200_000, "small"]
events = [
    Event("T", {"text": text}, source="S", aggregate_type="A", aggregate_id=str(i)) for i, text in enumerate(texts)
]
clock = FakeClock()
result = EventBridgePublisher("bus", client=client, clock=clock).publish(events, on_failure="return")
print("published", [each.position for each in result.published])
print("failed   ", [(each.position, each.code, each.retryable, each.event_refused) for each in result.failed])
print("calls    ", bodies)

db = database(clock)
table(db, "events", "pk", "sk", stream="NEW_IMAGE")
table(db, "parking", "pk", "sk")
outbox = TransactionalOutbox("events", client=db, clock=clock)
big = Event("T", {"text": "é" * 150_000}, source="S", aggregate_type="A", aggregate_id="big")
for event in [*events[:2], big, *events[3:]]:
    with outbox.transaction() as tx:
        tx.emit(event)
streams = FakeDynamoDBStreams(db)
arn = db.describe_table(TableName="events")["Table"]["LatestStreamArn"]
shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
batch = {"Records": [wire_record(each, arn) for each in streams.get_records(ShardIterator=at)["Records"]]}
parking = ParkingTable("parking", client=db, clock=clock)
relay = OutboxRelay(EventBridgePublisher("bus", client=client, clock=clock), parking=parking)
print("relay:", relay(batch), "parked", [head.order_key for head in parking.heads()])


class Named:
    """The same refusal under a name."""

    def __init__(self, code, status):
        self.code, self.status = code, status

    def put_events(self, Entries):
        if any(len(entry["Detail"]) > 100_000 for entry in Entries):
            response = {
                "Error": {"Code": self.code, "Message": ""},
                "ResponseMetadata": {"HTTPStatusCode": self.status},
            }
            raise ClientError(response, "PutEvents")
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"} for _ in Entries]}


for code, status in (
    ("RequestEntityTooLargeException", 413),
    ("400", 400),
    ("SerializationException", 400),
    ("PayloadTooLarge", 413),
):
    result = EventBridgePublisher("bus", client=Named(code, status), clock=clock).publish(events, on_failure="return")
    refused = [each.position for each in result.failed if each.event_refused]
    print(f"as {code}: published", [each.position for each in result.published], "refused", refused)

# Prints:
# published [0, 1, 3]
# failed    [(2, '413', False, True)]
# calls     [4, 1, 1, 1, 1]
# relay: {'batchItemFailures': []} parked ['A#big']
# as RequestEntityTooLargeException: published [0, 1, 3] refused [2]
# as 400: published [0, 1, 3] refused [2]
# as SerializationException: published [0, 1, 3] refused [2]
# as PayloadTooLarge: published [0, 1, 3] refused [2]
