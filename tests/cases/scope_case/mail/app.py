import shared

from dynamo_outbox import idempotent


@idempotent(shared.store, scope="mail")
def handler(event, context):
    shared.ran.append("mail sent")
    return "mailed"
