"""Each place in which a record or an event can be found: it is read, or the error says what it is and what to do."""

import copy
from base64 import b64encode

from kit import *

from dynamo_outbox import *

inner = {
    "awsRegion": "eu-west-1",
    "eventID": "5ae0",
    "eventName": "INSERT",
    "recordFormat": "application/json",
    "tableName": "orders",
    "userIdentity": None,
    "dynamodb": {
        "ApproximateCreationDateTime": 1627046330199,
        "Keys": {"id": {"S": "42"}},
        "NewImage": {"id": {"S": "42"}},
        "SizeBytes": 45,
    },
    "eventSource": "aws:dynamodb",
}


def record(*args):
    """Return a decoded record's table, key and time, or the error."""
    found = told(decode_records, *args)
    return found if isinstance(found, str) else [(each.table, each.keys, str(each.time)) for each in found]


def events(*args):
    """Return parsed events' ids and message ids, or the error."""
    found = told(parse_events, *args)
    return found if isinstance(found, str) else [(each.event.id, each.message_id) for each in found]


firehose = {"invocationId": "i", "records": [{"recordId": "r", "data": b64encode(json.dumps(inner).encode()).decode()}]}
print("Firehose event        :", record(firehose))
print("what is in it, bare   :", record(inner))
pointer = {"shardId": "shard-1", "startSequenceNumber": "7", "endSequenceNumber": "9"}
s3 = {"requestContext": {"condition": "RetryAttemptsExhausted"}, "version": "1.0", "DDBStreamBatchInfo": pointer}
print("failed batch in S3    :", record({**s3, "payload": json.dumps({"Records": [RECORD]})}))
print("  as an object        :", record({**s3, "payload": {"Records": [RECORD]}}))
print("  only a pointer      :", record(s3))
cli = copy.deepcopy(RECORD)
cli["dynamodb"]["ApproximateCreationDateTime"] = "2026-11-23T09:30:00+00:00"
print("AWS CLI's get-records :", record({"Records": [cli]}))
print("InputPath $.detail    :", told(parse_event, bus_event()["detail"]))
print("pipe from SQS, array  :", events([sqs(bus_event())]))


@Inbox(store()).handler(consumer="c")
def inbox(event, tx):
    return 1


print("  the same, inbox     :", told(inbox, [sqs(bus_event())]))
print("pipe to SQS, record   :", events({"Records": [sqs(RECORD)]}))
outbox_item = TransactionalOutbox("events", source="Shop").transact_item(Event("OrderPlaced", {}, id="i1"))
inserted = {**RECORD, "dynamodb": {"NewImage": outbox_item["Put"]["Item"]}}
print("  of an outbox item   :", events({"Records": [sqs(inserted)]}))
destination = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": bus_event()}
print("async failure in SQS  :", events({"Records": [sqs(destination)]}))
print("  itself              :", told(parse_event, destination).id)
print("receive_message       :", events({"Messages": [{"MessageId": "m", "Body": json.dumps(bus_event())}]}))

# Prints:
# Firehose event        : [('orders', {'id': '42'}, '2021-07-23 13:18:50.199000+00:00')]
# what is in it, bare   : [('orders', {'id': '42'}, '2021-07-23 13:18:50.199000+00:00')]
# failed batch in S3    : [('orders', {'id': '7'}, '2023-11-14 22:13:20+00:00')]
#   as an object        : [('orders', {'id': '7'}, '2023-11-14 22:13:20+00:00')]
#   only a pointer      : !! DecodeError: payload: is a failure destination's record that only points to a ...
# AWS CLI's get-records : [('orders', {'id': '7'}, '2026-11-23 09:30:00+00:00')]
# InputPath $.detail    : !! DecodeError: payload: is the detail of an event without its envelope, and so without ...
# pipe from SQS, array  : [('i1', 'm1')]
#   the same, inbox     : {'batchItemFailures': []}
# pipe to SQS, record   : !! DecodeError: record 0: body: is a stream record, but not of an inserted outbox item; ...
#   of an outbox item   : [('i1', 'm1')]
# async failure in SQS  : [('i1', 'm1')]
#   itself              : i1
# receive_message       : [('i1', 'm')]
