"""A stream record without ApproximateCreationDateTime.

aws-lambda-rust-runtime#889/#891, localstack#2780, second record of Powertools' own fixtures (Python, TypeScript).
API_streams_StreamRecord: "Required: No" (botocore's model requires no member). It is decoded, with the time None; the
relay doesn't need it.
"""

import copy

from kit import *

from dynamo_outbox import *
from dynamo_outbox.testing import *

record = copy.deepcopy(RECORD)
del record["dynamodb"]["ApproximateCreationDateTime"]
print("decode_records:", [each.time for each in decode_records({"Records": [record]})])

clock = FakeClock()
db = database(clock)
table(db, "events", "pk", "sk", stream="NEW_IMAGE")
table(db, "parking", "pk", "sk")
with TransactionalOutbox("events", source="Shop", client=db).transaction() as tx:
    tx.emit(Event("OrderPlaced", {"n": 1}))
arn = db.describe_table(TableName="events")["Table"]["LatestStreamArn"]
streams = FakeDynamoDBStreams(db)
shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
(written,) = [wire_record(each, arn) for each in streams.get_records(ShardIterator=at)["Records"]]
del written["dynamodb"]["ApproximateCreationDateTime"]

bus = FakeEventBridge(clock=clock)
relay = OutboxRelay(EventBridgePublisher("bus", client=bus))
print("relay         :", relay({"Records": [written]}), "on the bus", len(bus.events))
parking = ParkingTable("parking", client=db)
relay = OutboxRelay(EventBridgePublisher("bus", client=bus), parking=parking)
print(
    "with parking  :",
    relay({"Records": [written]}),
    "parked",
    len(list(parking.heads())),
    "on the bus",
    len(bus.events),
)
print("bare pipe     :", parse_event({"source": "Pipe x", "detail": written}).type)

# Prints:
# decode_records: [None]
# relay         : {'batchItemFailures': []} on the bus 1
# with parking  : {'batchItemFailures': []} parked 0 on the bus 2
# bare pipe     : OrderPlaced
