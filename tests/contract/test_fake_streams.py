"""Behaviour that only the fake's stream can show: another order, delay, TTL, the passing of time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import decode_record
from dynamo_outbox.testing import wire_record
from dynamo_outbox.testing.fakes.streams import FakeDynamoDBStreams, shuffled

from .engine import key_schema, outcome, put, update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynamo_outbox.testing.fakes.dynamodb import FakeDynamoDB

    from ..doubles import FakeClock

TABLE = "events"


@pytest.fixture
def arn(fake: FakeDynamoDB) -> str:
    """Create a table of events and return its stream's ARN."""
    fake.create_table(TableName=TABLE, **key_schema(stream="NEW_AND_OLD_IMAGES"))
    found: str = fake.describe_table(TableName=TABLE)["Table"]["LatestStreamArn"]
    return found


def iterator(streams: FakeDynamoDBStreams, arn: str, kind: str = "TRIM_HORIZON", **place: Any) -> str:
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    request = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": kind, **place}
    found: str = streams.get_shard_iterator(**request)["ShardIterator"]
    return found


def read(streams: FakeDynamoDBStreams, arn: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = streams.get_records(ShardIterator=iterator(streams, arn))["Records"]
    return records


def told(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return each record's item and the new value of n, as ``a1``."""
    return [record["dynamodb"]["Keys"]["pk"]["S"] + record["dynamodb"]["NewImage"]["n"]["N"] for record in records]


def three_transactions(dynamodb: FakeDynamoDB) -> list[str]:
    for _ in range(3):
        dynamodb.transact_write_items(TransactItems=[update(TABLE, name) for name in "abc"])
    return [f"{name}{number}" for number in (1, 2, 3) for name in "abc"]


@pytest.mark.parametrize("seed", range(20))
def test_a_shuffled_stream_keeps_the_order_of_each_item(fake: FakeDynamoDB, arn: str, seed: int) -> None:
    """Every change occurs once and each item's changes are in order; the order between items can change."""
    committed = three_transactions(fake)
    found = told(read(FakeDynamoDBStreams(fake, arrange=shuffled(seed)), arn))
    assert sorted(found) == sorted(committed)
    for name in "abc":
        assert [each for each in found if each.startswith(name)] == [f"{name}{number}" for number in (1, 2, 3)]
    assert found == told(read(FakeDynamoDBStreams(fake, arrange=shuffled(seed)), arn))


def test_seeds_mix_items_and_transactions(fake: FakeDynamoDB, arn: str) -> None:
    """Different seeds give different orders; some mix transactions, and some reverse the items of one transaction."""
    committed = three_transactions(fake)
    orders = [told(read(FakeDynamoDBStreams(fake, arrange=shuffled(seed)), arn)) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 10
    assert any(order.index("a2") < order.index("c1") for order in orders)
    assert any(order.index("c1") < order.index("a1") for order in orders)
    assert told(read(FakeDynamoDBStreams(fake), arn)) == committed


def test_a_delayed_change_comes_later(fake: FakeDynamoDB, arn: str) -> None:
    """`arrange` gets omitted changes again later, so half of a transaction can reach the stream before the rest."""
    late: list[str] = ["a"]
    streams = FakeDynamoDBStreams(
        fake, arrange=lambda pending: [change for change in pending if change.key[0] not in late]
    )
    fake.transact_write_items(TransactItems=[update(TABLE, "a"), update(TABLE, "b")])
    following = iterator(streams, arn)
    first = streams.get_records(ShardIterator=following)
    late.clear()
    second = streams.get_records(ShardIterator=first["NextShardIterator"])
    assert (told(first["Records"]), told(second["Records"])) == (["b1"], ["a1"])


@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(lambda pending: list(reversed(pending)), id="an item's changes reversed"),
        pytest.param(lambda pending: pending[1:], id="a later change of an item first"),
        pytest.param(lambda pending: [*pending, pending[0]], id="a change twice"),
        pytest.param(lambda pending: [pending[0]._replace(commit=99)], id="a change of its own"),
    ],
)
def test_an_order_that_dynamodb_never_shows_is_refused(
    fake: FakeDynamoDB, arn: str, arrange: Callable[..., Any]
) -> None:
    """A hook that breaks DynamoDB's guarantees raises an error."""
    for _ in range(2):
        fake.update_item(**update(TABLE)["Update"])
    with pytest.raises(ValueError, match="arrange"):
        read(FakeDynamoDBStreams(fake, arrange=arrange), arn)


def test_sequence_numbers_are_not_ordered_as_text(fake: FakeDynamoDB, arn: str) -> None:
    """The sequence numbers differ in length, so comparing them as text gives a wrong order."""
    three_transactions(fake)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in read(FakeDynamoDBStreams(fake), arn)]
    assert numbers != sorted(numbers)
    assert numbers == sorted(numbers, key=int)


def test_a_removal_by_ttl_is_told_as_the_services(fake: FakeDynamoDB, arn: str, clock: FakeClock) -> None:
    """The identity's keys are capitalised in boto3 and in lower case for Lambda; the library recognises both."""
    fake.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"})
    fake.put_item(TableName=TABLE, Item={"pk": {"S": "a"}, "expiresAt": {"N": str(int(clock.now().timestamp()))}})
    fake.put_item(TableName=TABLE, Item={"pk": {"S": "b"}})
    clock.advance(timedelta(days=2))
    assert fake.expire() == 1
    fake.delete_item(TableName=TABLE, Key={"pk": {"S": "b"}})
    by_ttl, by_hand = read(FakeDynamoDBStreams(fake), arn)[-2:]
    assert by_ttl["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    assert wire_record(by_ttl, arn)["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert by_ttl["eventName"] == by_hand["eventName"] == "REMOVE"
    assert "userIdentity" not in by_hand
    both = [decode_record(by_ttl), decode_record(wire_record(by_ttl, arn)), decode_record(by_hand)]
    assert [record.is_ttl_delete for record in both] == [True, True, False]


def test_a_repeated_token_leaves_no_record(fake: FakeDynamoDB, arn: str) -> None:
    """A repeated token adds no record, and a held transaction adds none until it commits."""
    streams = FakeDynamoDBStreams(fake)
    with fake.hold_transaction(TransactItems=[put(TABLE, "a", n={"N": "1"})], ClientRequestToken="token"):
        assert read(streams, arn) == []
    fake.transact_write_items(TransactItems=[put(TABLE, "a", n={"N": "1"})], ClientRequestToken="token")
    assert told(read(streams, arn)) == ["a1"]


def test_records_are_kept_for_24_hours(fake: FakeDynamoDB, arn: str, clock: FakeClock) -> None:
    """An older record is removed, and an iterator or a sequence number that points to it is refused."""
    streams = FakeDynamoDBStreams(fake)
    fake.update_item(**update(TABLE)["Update"])
    first = read(streams, arn)[0]["dynamodb"]["SequenceNumber"]
    clock.advance(timedelta(hours=24))
    assert told(read(streams, arn)) == ["a1"]
    stale = iterator(streams, arn)
    clock.advance(timedelta(seconds=1))
    fake.update_item(**update(TABLE)["Update"])
    assert told(read(streams, arn)) == ["a2"]
    assert outcome(streams.get_records, ShardIterator=stale) == "TrimmedDataAccessException"
    with pytest.raises(streams.exceptions.TrimmedDataAccessException):
        iterator(streams, arn, "AT_SEQUENCE_NUMBER", SequenceNumber=first)


def test_an_iterator_lives_for_15_minutes(fake: FakeDynamoDB, arn: str, clock: FakeClock) -> None:
    """An iterator older than 15 minutes is refused as expired."""
    streams = FakeDynamoDBStreams(fake)
    used = iterator(streams, arn)
    clock.advance(timedelta(minutes=15))
    assert outcome(streams.get_records, ShardIterator=used) == "ok"
    clock.advance(timedelta(seconds=1))
    assert outcome(streams.get_records, ShardIterator=used) == "ExpiredIteratorException"


def test_the_shard_of_a_deleted_table_ends(fake: FakeDynamoDB, arn: str) -> None:
    """The records of a deleted table can still be read, and the last page has no next iterator."""
    streams = FakeDynamoDBStreams(fake)
    for _ in range(2):
        fake.update_item(**update(TABLE)["Update"])
    fake.delete_table(TableName=TABLE)
    first = streams.get_records(ShardIterator=iterator(streams, arn), Limit=1)
    second = streams.get_records(ShardIterator=first["NextShardIterator"], Limit=1)
    assert (told(first["Records"] + second["Records"]), "NextShardIterator" in second) == (["a1", "a2"], False)
    assert streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "DISABLED"


@pytest.mark.parametrize(
    ("request_", "truth"),
    [
        pytest.param({"ShardIterator": "none"}, "invalid", id="iterator"),
        pytest.param({"Limit": 1001}, "invalid", id="limit"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(
    fake: FakeDynamoDB, arn: str, request_: dict[str, Any], truth: str
) -> None:
    """An unknown iterator and a limit of more than 1000 records are refused."""
    streams = FakeDynamoDBStreams(fake)
    assert outcome(streams.get_records, **{"ShardIterator": iterator(streams, arn), **request_}) == truth


def test_a_scripted_fault_of_the_stream(fake: FakeDynamoDB, arn: str) -> None:
    """The stream's client supports scripted faults, as the other fakes do."""
    streams = FakeDynamoDBStreams(fake)
    streams.fail_next("get_records", "LimitExceededException")
    used = iterator(streams, arn)
    assert [outcome(streams.get_records, ShardIterator=used) for _ in range(2)] == ["LimitExceededException", "ok"]
    assert outcome(streams.describe_stream, StreamArn=arn + "0") == "ResourceNotFoundException"
