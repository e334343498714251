import shared

from dynamo_outbox import idempotent


@idempotent(shared.store, scope="billing")
def handler(event, context):
    shared.ran.append("billing charged")
    return "charged"
