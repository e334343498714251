"""An error says what the input is and which function reads it: powertools-lambda#32, -python#1763."""

from kit import *

from dynamo_outbox import *


@idempotent(store(), scope="handler")
def handler(event, context): ...


print("idempotent on an SQS batch:", told(handler, {"Records": [sqs(bus_event())]}, None))
print('idempotent on {"order": 7}:', told(handler, {"order": 7}, None))
print("parse_event of an API call:", told(parse_event, {"httpMethod": "POST", "body": "{}", "requestContext": {}}))
of_s3 = {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}
print("parse_event of S3's event :", told(parse_event, of_s3))
print("parse_events of one event :", told(parse_events, bus_event()))
confirmation = {"Type": "SubscriptionConfirmation", "Message": "You have chosen"}
print("topic's confirmation      :", told(parse_events, {"Records": [sqs(confirmation)]}))


@idempotent(store(), key="powertools_json(body).order", scope="s")
def api(event, context): ...


print("JSON inside the body      :", told(api, {"body": "{}"}, None))


def undecorated(*args):
    return "ran"


print("f(*args)                  :", told(idempotent(store(), scope="t")(undecorated), bus_event(), None))

# Prints:
# idempotent on an SQS batch: !! DecodeError: payload: is an SQS batch; parse_events reads its events, and ...
# idempotent on {"order": 7}: !! DecodeError: payload: is an object with 'order'; parse_event reads events from ...
# parse_event of an API call: !! DecodeError: payload: is an API Gateway request; parse_event reads events from ...
# parse_event of S3's event : !! DecodeError: payload: is EventBridge's event 'Object Created' of aws.s3; ...
# parse_events of one event : [Message(event=Event(...
# topic's confirmation      : !! DecodeError: record 0: body: is a topic's SubscriptionConfirmation, not an ...
# JSON inside the body      : !! InvalidIdempotencyKeyError: s: 'powertools_json(body).order' can't be evaluated: ...
# f(*args)                  : ran
