"""SQS fair queues (since July 2025): a standard queue's message may carry MessageGroupId, a tenant's name, no order.

AWS: sqs-fair-queues.html; kombu#2440, shoryuken#857, Rebus.AmazonSQS#51. Only m1 is reported; m2 and m3 run.
"""

from kit import *

from dynamo_outbox import Inbox, batch_handler

ran = []


@batch_handler
def handler(event, context):
    ran.append(event.id)
    if event.id == "bad":
        raise ValueError


def batch(**more):
    return {"Records": [sqs(bus_event(i), m, **more) for m, i in (("m1", "bad"), ("m2", "ok1"), ("m3", "ok2"))]}


@Inbox(store()).handler(consumer="c")
def inbox(event, tx):
    handler.__wrapped__(event, None)


print("batch_handler:", handler(batch(group="tenant-A")), "ran", ran)
ran.clear()
print("inbox        :", inbox(batch(group="tenant-A")), "ran", ran)
ran.clear()
fifo = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo"
reported = handler(batch(group="tenant-A", arn=fifo))["batchItemFailures"]
print("FIFO queue   :", [each["itemIdentifier"] for each in reported], "ran", ran)

# Prints:
# batch_handler: {'batchItemFailures': [{'itemIdentifier': 'm1'}]} ran ['bad', 'ok1', 'ok2']
# inbox        : {'batchItemFailures': [{'itemIdentifier': 'm1'}]} ran ['bad', 'ok1', 'ok2']
# FIFO queue   : ['m1', 'm2', 'm3'] ran ['bad']
