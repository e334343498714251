"""key="messageId" on an SQS record, as AWS's knowledge centre and Powertools' docs for batches do it.

The redelivery has another receiptHandle and receive count; it gets the stored result. Archives, AppSync and VPC Lattice
add members of their own.
"""

import copy

from kit import *

from dynamo_outbox import idempotent


def twice(name, key, one, two):
    @idempotent(store(), key=key, scope="s")
    def f(payload, context=None):
        return "done"

    f(one)
    print(f"{name:32}", told(f, two))


r = sqs("hello")
twice("SQS record", "messageId", r, sqs("hello", count=2))
twice("SQS batch of one", "Records[0].messageId", {"Records": [r]}, {"Records": [sqs("hello", count=2)]})
message = {"MessageId": "m", "ReceiptHandle": "1", "Body": "x"}
twice("boto3's receive_message", "MessageId", message, {**message, "ReceiptHandle": "2"})
s3 = {
    "id": "17",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2026-01-01T00:00:00Z",
    "detail": {"object": {"key": "k"}},
}
twice("EventBridge (S3), archive replay", "id", s3, {**s3, "replay-name": "again"})
own = {**s3, "source": "Shop", "detail": {"n": 1}}
twice("detail='data', archive replay", "id", own, {**own, "replay-name": "again"})
appsync = {
    "arguments": {"requestId": "k"},
    "request": {"headers": {"x-amzn-trace-id": "Root=1"}},
    "info": {"fieldName": "place"},
}
again = copy.deepcopy(appsync)
again["request"]["headers"]["x-amzn-trace-id"] = "Root=2"
twice("AppSync resolver, client's retry", "arguments.requestId", appsync, again)
lattice = {
    "raw_path": "/o",
    "method": "POST",
    "headers": {"idempotency-key": "k", "x-forwarded-for": "1.1.1.1"},
    "body": "{}",
}
retried = {**lattice, "headers": {"idempotency-key": "k", "x-forwarded-for": "2.2.2.2"}}
twice("VPC Lattice v1, client's retry", 'headers."idempotency-key"', lattice, retried)
twice("another body is another payload", "messageId", r, sqs("other", count=2))

# Prints:
# SQS record                       done
# SQS batch of one                 done
# boto3's receive_message          done
# EventBridge (S3), archive replay done
# detail='data', archive replay    done
# AppSync resolver, client's retry done
# VPC Lattice v1, client's retry   done
# another body is another payload  !! PayloadMismatchError: ...
