"""DynamoDB trims zeros, so 40 digits that end in zeros are a valid number: it is readable and writable.

boto3#4693/#2500, powertools-lambda-python#4845.
"""

from decimal import Decimal

from kit import *

from dynamo_outbox import TransactionalOutbox, decode_item, encode_item

text = "1234567895171680000000000000000000000000"
print("read       ", decode_item({"n": {"N": text}}))
for value in (
    int(text),
    Decimal(text),
    10**100,
    Decimal("0.1000000000000000000000000000000000000000"),
    {Decimal(text)},
):
    print("write      ", told(encode_item, {"n": value}))
print("int of read", told(encode_item, {"n": int(decode_item({"n": {"N": text}})["n"])}))

db = database()
table(db, "accounts", "id")
table(db, "events", "pk", "sk")
with TransactionalOutbox("events", source="S", client=db).transaction() as tx:
    tx.update("accounts", {"id": "1"}, set={"wei": int(text)})
print("tx.update  ", db.get_item(TableName="accounts", Key={"id": {"S": "1"}})["Item"])

# Prints:
# read        {'n': Decimal('1.2345678951716800000000000000000000000E+39')}
# write       {'n': {'N': '1.2345678951716800000000000000000000000E+39'}}
# write       {'n': {'N': '1.2345678951716800000000000000000000000E+39'}}
# write       {'n': {'N': '1.0000000000000000000000000000000000000E+100'}}
# write       {'n': {'N': '0.10000000000000000000000000000000000000'}}
# write       {'n': {'NS': ['1.2345678951716800000000000000000000000E+39']}}
# int of read {'n': {'N': '1.2345678951716800000000000000000000000E+39'}}
# tx.update   {'id': {'S': '1'}, 'wei': {'N': '1234567895171680000000000000000000000000'}}
