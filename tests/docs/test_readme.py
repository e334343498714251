"""The README's first use: its code runs as printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dynamo_outbox import parse_event
from dynamo_outbox.aws import clients
from dynamo_outbox.errors import ConditionFailedError
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from ..doubles import FakeClock, fake_dynamodb

README = Path(__file__).resolve().parents[2] / "README.md"


PAGE = README.read_text(encoding="utf-8")
TABLES = {"orders": ["order_id"], "orders-events": ["pk", "sk"], "packing-handled": ["pk"], "stock": ["item"]}


def test_the_first_use_works_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order is placed once, relayed, and packed once though its event is delivered twice."""
    dynamodb = fake_dynamodb(TABLES, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    bus = FakeEventBridge(clock=FakeClock())
    monkeypatch.setattr(clients, "shared_client", {"dynamodb": dynamodb, "events": bus}.__getitem__)
    names: dict[str, Any] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, str(README), "exec"), names)  # noqa: S102  # our own README
    names["place_order"]("7", "teapot", 2)
    with pytest.raises(ConditionFailedError) as caught:
        names["place_order"]("7", "teapot", 2)
    assert caught.value.label == "order"

    batch = records_of(dynamodb)
    assert names["relay"](batch) == {"batchItemFailures": []}
    (event,) = bus.events
    assert parse_event(event).type == "OrderPlaced"
    for _ in range(2):
        names["handler"](json.loads(json.dumps(event)), None)
    (stock,) = dynamodb.scan(TableName="stock")["Items"]
    assert stock == {"item": {"S": "teapot"}, "packed": {"N": "2"}}


def records_of(dynamodb: FakeDynamoDB) -> dict[str, Any]:
    """What Lambda passes of the events table's stream."""
    arn = dynamodb.describe_table(TableName="orders-events")["Table"]["LatestStreamArn"]
    streams = FakeDynamoDBStreams(dynamodb)
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    return {"Records": [wire_record(record, arn) for record in records]}


def test_it_can_be_read_in_one_go() -> None:
    """It is short: what is longer is among the pages."""
    assert len(PAGE.splitlines()) < 150


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", PAGE))))
def test_a_link_leads_to_a_page(link: str) -> None:
    """Each link leads to a file, and to a heading in it where it names one."""
    path, _, anchor = link.partition("#")
    page = README.parent / path
    assert page.exists()
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}
