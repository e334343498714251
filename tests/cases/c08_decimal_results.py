"""Numbers that the library itself returns (decode_item, tx.get) are Decimals, which results may hold unannotated.

Powertools 3.37 stores them as text.
"""

from decimal import Decimal
from typing import Any

from kit import *

from dynamo_outbox import *

s = store()


@idempotent(s, key="id", scope="a")
def plain(p):
    return {"total": Decimal("1.10")}


@idempotent(s, key="id", scope="b")
def annotated(p) -> dict[str, Any]:
    return {"total": Decimal("1.10")}


@idempotent(s, key="id", scope="c")
def exactly(p) -> dict[str, Decimal]:
    return {"total": Decimal("1.10")}


for f in (plain, annotated, exactly):
    print(f"{f.__name__:10}", told(f, {"id": "1"}), "| again:", told(f, {"id": "1"}))
db = database()
table(db, "accounts", "id")
db.put_item(TableName="accounts", Item={"id": {"S": "1"}, "balance": {"N": "10"}, "version": {"N": "1"}})


@Inbox(IdempotencyStore("handled", client=db)).handler(consumer="c")
def handler(event, tx) -> dict[str, Any]:
    account = tx.get("accounts", {"id": "1"}, version="version")
    tx.update("accounts", {"id": "1"}, set={"balance": account["balance"] + 1})
    return account


event = Event("X", {}, id="e")
for name in ("inbox", "again"):
    balance = db.get_item(TableName="accounts", Key={"id": {"S": "1"}})["Item"]["balance"]
    print(f"{name:10} balance", balance["N"], told(handler, event))
print("           balance", db.get_item(TableName="accounts", Key={"id": {"S": "1"}})["Item"]["balance"]["N"])

# Prints:
# plain      {'total': Decimal('1.10')} | again: {'total': Decimal('1.10')}
# annotated  {'total': Decimal('1.10')} | again: {'total': Decimal('1.10')}
# exactly    {'total': Decimal('1.10')} | again: {'total': Decimal('1.10')}
# inbox      balance 10 {'id': '1', 'balance': Decimal('10'), 'version': Decimal('1')}
# again      balance 11 {'id': '1', 'balance': Decimal('10'), 'version': Decimal('1')}
#            balance 11
