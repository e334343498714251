"""Two Lambda functions, each with an app.py of its own as SAM's and CDK's templates make them, share a table."""

import importlib.util
import os
import sys
import types
from pathlib import Path

from dynamo_outbox import IdempotencyStore
from dynamo_outbox.testing import FakeClock, FakeDynamoDB

db = FakeDynamoDB(clock=FakeClock())
db.create_table(
    TableName="h",
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    BillingMode="PAY_PER_REQUEST",
)
shared = types.ModuleType("shared")
shared.store = IdempotencyStore("h", client=db, clock=FakeClock())
shared.ran = []
sys.modules["shared"] = shared


def load(folder, name):
    os.environ["AWS_LAMBDA_FUNCTION_NAME"] = name
    spec = importlib.util.spec_from_file_location("app", Path(__file__).parent / folder / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EVENT = {
    "id": "e1",
    "detail-type": "OrderPlaced",
    "source": "Shop",
    "detail": {
        "metadata": {"id": "i1", "type": "OrderPlaced", "version": 1, "time": "2026-01-01T00:00:00.000000Z"},
        "data": {"n": 1},
    },
}
billing, mail = load("billing", "billing-fn"), load("mail", "mail-fn")
print("billing:", billing.handler(EVENT, None))
print("mail   :", mail.handler(EVENT, None))
print("ran:", shared.ran, "keys:", sorted(item["pk"]["S"] for item in db.scan(TableName="h")["Items"]))
