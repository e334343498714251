"""The README's first use: its code runs as printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dynamo_outbox import EventBridgePublisher, OutboxRelay, clients, parse_event
from dynamo_outbox.errors import ConditionFailedError
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from ..doubles import FixedClock, fake_dynamodb

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> FakeDynamoDB:
    """The tables of which the README speaks, behind the clients that the library makes by itself."""
    fake = fake_dynamodb(
        {"orders": ["order_id"], "orders-events": ["pk", "sk"], "shop-handled": ["pk"]},
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    monkeypatch.setattr(clients, "shared_client", lambda service: {"dynamodb": fake}[service])
    return fake


def test_the_first_use_works_as_printed(dynamodb: FakeDynamoDB, capsys: pytest.CaptureFixture[str]) -> None:
    """An order is placed once, relayed, and handled once though it is delivered twice."""
    names: dict[str, Any] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(compile(block, str(README), "exec"), names)  # noqa: S102  # our own README
    names["place_order"]("7", "24.95")
    with pytest.raises(ConditionFailedError) as caught:
        names["place_order"]("7", "24.95")
    assert caught.value.label == "order"

    (arn,) = [dynamodb.describe_table(TableName="orders-events")["Table"]["LatestStreamArn"]]
    streams = FakeDynamoDBStreams(dynamodb)
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    bus = FakeEventBridge(clock=FixedClock())
    relay = OutboxRelay(EventBridgePublisher("shop", client=bus))
    assert relay({"Records": [wire_record(record, arn) for record in records]}) == {"batchItemFailures": []}
    (event,) = bus.events
    assert parse_event(event).type == "OrderPlaced"
    for _ in range(2):
        names["handler"](json.loads(json.dumps(event)), None)
    assert capsys.readouterr().out == "7 over 24.95 is being packed\n"
