"""DynamoDB Streams: one record per change and no others, with the images of the view type."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import decode_record

from .engine import outcome, put, update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .engine import Engine

BOTH = "NEW_AND_OLD_IMAGES"


def told(records: Sequence[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    """Return each record's event name and n before and after; None if the record does not have that image."""
    return [
        (
            record["eventName"],
            *(
                record["dynamodb"][image].get("n", {}).get("N", "no n") if image in record["dynamodb"] else None
                for image in ("OldImage", "NewImage")
            ),
        )
        for record in records
    ]


def item(number: int, name: str = "a") -> dict[str, Any]:
    return {"pk": {"S": name}, "n": {"N": str(number)}}


def test_each_change_of_an_item_is_told_in_order(engine: Engine) -> None:
    """Inserting, changing and removing an item gives records in that order, with the images before and after."""
    table = engine.table(stream=BOTH)
    engine.dynamodb.put_item(TableName=table, Item=item(1))
    engine.dynamodb.put_item(TableName=table, Item=item(2))
    engine.dynamodb.update_item(**update(table)["Update"])
    engine.dynamodb.delete_item(TableName=table, Key={"pk": {"S": "a"}})
    engine.dynamodb.update_item(**update(table)["Update"])
    truth = [("INSERT", None, "1"), ("MODIFY", "1", "2"), ("MODIFY", "2", "3"), ("REMOVE", "3", None)]
    engine.holds(told(engine.records(table)), [*truth, ("INSERT", None, "1")])


@pytest.mark.parametrize(
    ("view_type", "truth"),
    [
        ("KEYS_ONLY", [("INSERT", None, None), ("MODIFY", None, None), ("REMOVE", None, None)]),
        ("NEW_IMAGE", [("INSERT", None, "1"), ("MODIFY", None, "2"), ("REMOVE", None, None)]),
        ("OLD_IMAGE", [("INSERT", None, None), ("MODIFY", "1", None), ("REMOVE", "2", None)]),
        (BOTH, [("INSERT", None, "1"), ("MODIFY", "1", "2"), ("REMOVE", "2", None)]),
    ],
)
def test_a_record_has_the_images_of_its_view_type(engine: Engine, view_type: str, truth: Any) -> None:
    """The view type determines the images of a record; the keys are always present."""
    table = engine.table(stream=view_type)
    engine.dynamodb.put_item(TableName=table, Item=item(1))
    engine.dynamodb.put_item(TableName=table, Item=item(2))
    engine.dynamodb.delete_item(TableName=table, Key={"pk": {"S": "a"}})
    records = engine.records(table)
    keys = [record["dynamodb"]["Keys"] for record in records]
    views = {record["dynamodb"]["StreamViewType"] for record in records}
    engine.holds((told(records), keys, views), (truth, [{"pk": {"S": "a"}}] * 3, {view_type}))


@pytest.mark.parametrize("write", ["an equal item", "a number written otherwise", "a set in another order"])
def test_a_put_that_changes_nothing_is_not_told(engine: Engine, write: str) -> None:
    """Putting an equal item writes no record."""
    table = engine.table(stream=BOTH)
    before = {**item(1), "tags": {"SS": ["x", "y"]}}
    changes: dict[str, dict[str, Any]] = {
        "an equal item": {},
        "a number written otherwise": {"n": {"N": "1.0"}},
        "a set in another order": {"tags": {"SS": ["y", "x"]}},
    }
    engine.dynamodb.put_item(TableName=table, Item=before)
    engine.dynamodb.put_item(TableName=table, Item={**before, **changes[write]})
    engine.holds([record["eventName"] for record in engine.records(table)], ["INSERT"])


@pytest.mark.parametrize("expression", ["SET n = n", "SET n = :same", "REMOVE absent", "DELETE absent :tags"])
def test_an_update_that_changes_nothing_is_not_told(engine: Engine, expression: str) -> None:
    """An update that does not change the item writes no record."""
    table = engine.table(stream=BOTH)
    engine.dynamodb.put_item(TableName=table, Item=item(1))
    values = {":same": {"N": "1"}, ":tags": {"SS": ["x"]}}
    used = {name: value for name, value in values.items() if name in expression}
    more = {"ExpressionAttributeValues": used} if used else {}
    engine.dynamodb.update_item(TableName=table, Key={"pk": {"S": "a"}}, UpdateExpression=expression, **more)
    engine.holds([record["eventName"] for record in engine.records(table)], ["INSERT"])


def test_what_did_not_happen_is_not_told(engine: Engine) -> None:
    """A failed condition, a cancelled transaction, a check and the removal of a missing item write no record."""
    table = engine.table(stream=BOTH)
    engine.dynamodb.put_item(TableName=table, Item=item(1))
    never = {"ConditionExpression": "attribute_not_exists(pk)"}
    exists = {"TableName": table, "Key": {"pk": {"S": "a"}}, "ConditionExpression": "attribute_exists(pk)"}
    happened = [
        outcome(engine.dynamodb.put_item, TableName=table, Item=item(2), **never),
        outcome(engine.dynamodb.transact_write_items, TransactItems=[put(table, "b"), put(table, "a", **never)]),
        outcome(engine.dynamodb.transact_write_items, TransactItems=[{"ConditionCheck": exists}]),
        outcome(engine.dynamodb.delete_item, TableName=table, Key={"pk": {"S": "absent"}}),
    ]
    truth = ["ConditionalCheckFailedException", "cancelled: None, ConditionalCheckFailed", "ok", "ok"]
    engine.holds((happened, told(engine.records(table))), (truth, [("INSERT", None, "1")]))


def test_every_change_of_a_transaction_is_told_once(engine: Engine) -> None:
    """Each change of a transaction has its own record, in no guaranteed order."""
    table = engine.table(stream=BOTH)
    engine.dynamodb.put_item(TableName=table, Item=item(1, "b"))
    engine.dynamodb.transact_write_items(
        TransactItems=[
            put(table, "a", n={"N": "1"}),
            update(table, "b"),
            update(table, "c"),
        ]
    )
    found = sorted(told(engine.records(table)), key=str)
    once = ("INSERT", None, "1")
    engine.holds(found, [once, once, once, ("MODIFY", "1", "2")])


def test_sequence_numbers_grow_as_numbers(engine: Engine) -> None:
    """Sequence numbers have 21 to 40 digits and grow with an item's changes; event ids are unique."""
    table = engine.table(stream="KEYS_ONLY")
    for number in range(5):
        engine.dynamodb.put_item(TableName=table, Item=item(number))
    records = engine.records(table)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    observed = (
        all(number.isdigit() and 21 <= len(number) <= 40 for number in numbers),
        [int(number) for number in numbers] == sorted({int(number) for number in numbers}),
        len({record["eventID"] for record in records}),
    )
    engine.holds(observed, (True, True, 5))


def test_a_record_has_the_shape_that_boto3_gives_it(engine: Engine) -> None:
    """In boto3 a record's time is an aware datetime, binary is bytes, and the record names the service and a Region."""
    table = engine.table(stream=BOTH)
    image = {"pk": {"S": "a"}, "b": {"B": b"\x00\xff"}, "bs": {"BS": [b"\x01"]}, "n": {"N": "1.5"}, "l": {"L": []}}
    engine.dynamodb.put_item(TableName=table, Item=image)
    (record,) = engine.records(table)
    change = record["dynamodb"]
    moment = change["ApproximateCreationDateTime"]
    decoded = {"pk": "a", "b": b"\x00\xff", "bs": {b"\x01"}, "n": 1.5, "l": []}
    facts = {
        "an aware time": isinstance(moment, datetime) and moment.utcoffset() is not None,
        "a time in seconds": moment.microsecond == 0,
        "the image": change["NewImage"] == image,
        "a size": change["SizeBytes"] > 0,
        "its service": record["eventSource"] == "aws:dynamodb",
        "a Region": bool(record["awsRegion"]),
        "no identity": "userIdentity" not in record,
        "the library reads it": decode_record(record).new_image == decoded,
    }
    engine.holds([fact for fact, holds in facts.items() if not holds], [])


def numbers_from(engine: Engine, table: str, **start: Any) -> list[str]:
    """Return the new value of n in each record from an iterator on; the table has one item and one shard."""
    arn = engine.stream_arn(table)
    (shard,) = engine.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    request = {"StreamArn": arn, "ShardId": shard["ShardId"], **start}
    iterator = engine.streams.get_shard_iterator(**request)["ShardIterator"]
    records = engine.streams.get_records(ShardIterator=iterator)["Records"]
    return [record["dynamodb"]["NewImage"]["n"]["N"] for record in records]


@pytest.mark.parametrize(
    ("kind", "truth"), [("AT_SEQUENCE_NUMBER", ["1", "2"]), ("AFTER_SEQUENCE_NUMBER", ["2"]), ("LATEST", [])]
)
def test_an_iterator_begins_where_it_is_told_to(engine: Engine, kind: str, truth: list[str]) -> None:
    """An iterator starts at a record, after it, or after all existing records."""
    if engine.name == "endpoint":
        pytest.skip("another engine may have more shards and report changes late")
    table = engine.table(stream="NEW_IMAGE")
    for number in range(3):
        engine.dynamodb.put_item(TableName=table, Item=item(number))
    arn = engine.stream_arn(table)
    (shard,) = engine.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    first = engine.streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = engine.streams.get_records(ShardIterator=first["ShardIterator"])["Records"]
    place = {} if kind == "LATEST" else {"SequenceNumber": records[1]["dynamodb"]["SequenceNumber"]}
    engine.holds(numbers_from(engine, table, ShardIteratorType=kind, **place), truth)


def test_pages_of_a_stream(engine: Engine) -> None:
    """Limit splits a shard into pages, and NextShardIterator continues after the last page."""
    table = engine.table(stream="NEW_IMAGE")
    for number in range(5):
        engine.dynamodb.put_item(TableName=table, Item=item(number))
    engine.records(table)  # wait for all records
    arn = engine.stream_arn(table)
    (shard, *_) = engine.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    answer = engine.streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    iterator, pages = answer["ShardIterator"], []
    for _ in range(3):
        answer = engine.streams.get_records(ShardIterator=iterator, Limit=2)
        iterator = answer["NextShardIterator"]
        pages.append([record["dynamodb"]["NewImage"].get("n", {}).get("N") for record in answer["Records"]])
    engine.holds(pages, [["0", "1"], ["2", "3"], ["4", None]])
