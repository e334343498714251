"""The how-to pages and what explains commits and inboxes: their code runs as printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    OutboxRelay,
    TransactionalOutbox,
    encode_item,
    fence_number,
    idempotent,
    parse_event,
)
from dynamo_outbox.aws import clients
from dynamo_outbox.errors import ConditionFailedError, UnknownOutcomeError
from dynamo_outbox.pipes import matches, outbox_pipe
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record
from dynamo_outbox.testing.ministack import COMMAND_VARIABLE

from ..doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], dict[str, Any]]

DOCS = Path(__file__).resolve().parents[2] / "docs"
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
TABLES = {
    "orders": ["order_id"],
    "orders-events": ["pk", "sk"],
    "shop": ["PK", "SK"],
    "stock": ["item"],
    "stock-events": ["pk", "sk"],
    "shop-window-handled": ["pk"],
    "window": ["item"],
    "catalogue-handled": ["pk"],
    "catalogue": ["author"],
    "accounts": ["account"],
    "accounts-events": ["pk", "sk"],
    "accounts-handled": ["pk"],
    "orders-parking": ["pk", "sk"],
    "parcels": ["parcel"],
    "calls": ["pk"],
}


@pytest.fixture
def bus() -> FakeEventBridge:
    return FakeEventBridge(clock=FakeClock())


@pytest.fixture(autouse=True)
def dynamodb(bus: FakeEventBridge, monkeypatch: pytest.MonkeyPatch) -> FakeDynamoDB:
    """The tables of which the pages speak, behind the clients that the library makes by itself, and nobody waits."""
    fake = fake_dynamodb(TABLES, StreamSpecification=STREAM)
    monkeypatch.setattr(clients, "shared_client", {"dynamodb": fake, "events": bus}.__getitem__)
    defaults = TransactionalOutbox.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", FakeClock())
    return fake


def blocks(page: str, language: str = "python") -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    return [block for _, block in found]


def run(page: str) -> dict[str, Any]:
    """A page's blocks of Python, one after the other, as one module; what it defines."""
    names: dict[str, Any] = {"__name__": page}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)  # noqa: S102  # our own page
    return names


def items(dynamodb: FakeDynamoDB, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dynamodb.scan(TableName=table)["Items"]
    return found


def stream_of(dynamodb: FakeDynamoDB, table: str) -> dict[str, Any]:
    arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    streams = FakeDynamoDBStreams(dynamodb)
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    return {"Records": [wire_record(record, arn) for record in records]}


def test_an_existing_service_places_and_pays_an_order(dynamodb: FakeDynamoDB) -> None:
    """Each of the two writes its event, with the order's version as its sequence, and neither happens twice."""
    names = run("how-to/existing-service.md")
    names["place"]("7", "24.95")
    with pytest.raises(ConditionFailedError) as caught:
        names["place"]("7", "24.95")
    assert caught.value.label == "order"
    names["pay"]("7")
    with pytest.raises(ValueError, match="nothing to pay"):
        names["pay"]("7")
    written = sorted((item["sk"]["S"][:20], item["eventType"]["S"]) for item in items(dynamodb, "orders-events"))
    assert written == [(f"{1:020d}", "OrderPlaced"), (f"{2:020d}", "OrderPaid")]


def test_one_table_holds_entities_events_and_what_was_handled(dynamodb: FakeDynamoDB, bus: FakeEventBridge) -> None:
    """The relay publishes the event only, the inbox handles it once, and each kind of item has its prefix."""
    names = run("how-to/single-table.md")
    names["open_account"]("7")
    assert names["relay"](stream_of(dynamodb, "shop")) == {"batchItemFailures": []}
    (event,) = bus.events
    for _ in range(2):
        names["welcome"](event)
    assert sorted(item["PK"]["S"].split("#")[0] for item in items(dynamodb, "shop")) == [
        "ACCOUNT",
        "ACCOUNT",
        "HANDLED",
        "OUTBOX",
    ]


def test_the_single_tables_filter_lets_only_events_pass(dynamodb: FakeDynamoDB) -> None:
    """The page's filter is the pipe's own."""
    names = run("how-to/single-table.md")
    names["open_account"]("7")
    (pattern,) = blocks("how-to/single-table.md", "json")
    assert json.loads(pattern) == outbox_pipe().patterns[0]
    passed = [matches(json.loads(pattern), record) for record in stream_of(dynamodb, "shop")["Records"]]
    assert sorted(passed) == [False, True]


def test_an_uncertain_commit_is_settled_later(dynamodb: FakeDynamoDB) -> None:
    """The question is handed on where no answer came, asked again, and answered by what is in the table."""
    names = run("how-to/uncertain-commits.md")
    assert names["place"]("6") == {"status": 201}
    for _ in range(10):
        dynamodb.fail_next("transact_write_items", ConnectionError("lost"), after_commit=True)
        dynamodb.fail_next("put_item", ConnectionError("lost"))
    asked = names["place"]("7")
    assert asked["status"] == 202
    assert names["ask_again"](asked["ask"]) == asked
    assert names["ask_again"](asked["ask"]) == {"status": 201}


def test_the_commits_page_says_what_became_of_it(dynamodb: FakeDynamoDB) -> None:
    """The page's function answers with what is so: committed where the answer is lost after the commit."""
    names = run("commits.md")
    assert names["place"]("6") == "committed"
    for _ in range(4):
        dynamodb.fail_next("transact_write_items", ConnectionError("no network"))
    assert names["place"]("7").startswith("nothing was written")
    assert dynamodb.pending_faults == []


def test_the_inbox_page_withdraws_once(dynamodb: FakeDynamoDB) -> None:
    """An event that comes twice withdraws once, and a balance that is too low is refused."""
    names = run("inbox.md")
    dynamodb.put_item(TableName="accounts", Item={"account": {"S": "a"}, "balance": {"N": "10"}})
    event = Event("WithdrawalAsked", {"account": "a", "amount": 7}, source="Bank")
    assert [names["handler"](event) for _ in range(2)] == [3, 3]
    with pytest.raises(ValueError, match="balance too low"):
        names["handler"](Event("WithdrawalAsked", {"account": "a", "amount": 7}, source="Bank"))


class Parcels:
    """The page's table, as boto3's resource has it, over the fake."""

    def __init__(self, dynamodb: FakeDynamoDB) -> None:
        self._dynamodb = dynamodb

    def update_item(self, **request: Any) -> None:
        for part in ("Key", "ExpressionAttributeValues"):
            request[part] = encode_item(request[part])
        self._dynamodb.update_item(TableName="parcels", **request)


class CardDeclinedError(Exception):
    pass


def test_the_idempotency_pages_blocks_run(dynamodb: FakeDynamoDB) -> None:
    """The order is charged, and the parcel is sent with the fence of its call."""
    store = IdempotencyStore("calls", clock=FakeClock())
    charge, ship = blocks("idempotency.md")
    names: dict[str, Any] = {"idempotent": idempotent, "fence_number": fence_number, "store": store}
    names |= {"parcels": Parcels(dynamodb), "CardDeclined": CardDeclinedError}
    for block in (charge, ship):
        exec(compile(block, "idempotency.md", "exec"), names)  # noqa: S102  # our own page
    names["charge"](Event("OrderPlaced", {"order": "7"}, source="Shop"))
    names["ship"](Event("OrderPacked", {"parcel": "1"}, source="Shop"))
    (parcel,) = items(dynamodb, "parcels")
    (record,) = [item for item in items(dynamodb, "calls") if item["pk"]["S"].startswith("ship#")]
    assert parcel["fence"] == record["fence"]


def test_the_leases_pages_block_settles_an_unknown_outcome(dynamodb: FakeDynamoDB) -> None:
    """Each of its two lines takes the error's key and token, and says whether it changed the record."""
    clock = FakeClock()
    store = IdempotencyStore("calls", clock=clock)
    forget, resolve = blocks("leases.md")[0].splitlines()

    @idempotent(store, scope="charge", on_expired_lease="raise")
    def charge(event: Event) -> dict[str, str]:  # noqa: ARG001  # its id is the key
        raise TimeoutError

    for line in (forget, resolve):
        event = Event("OrderPlaced", {"order": "7"}, source="Shop")
        with pytest.raises(TimeoutError):
            charge(event)
        clock.advance(timedelta(hours=1))
        with pytest.raises(UnknownOutcomeError) as caught:
            charge(event)
        assert eval(line.partition("#")[0], {"store": store, "error": caught.value}) is True  # noqa: S307  # our page
    assert charge(event) == {"charge": "ch_7"}
    assert dynamodb.pending_faults == []


def test_a_window_never_shows_what_is_older(dynamodb: FakeDynamoDB, bus: FakeEventBridge) -> None:
    """Events carry the item's version as their sequence, and the one that comes late is skipped."""
    names = run("how-to/order.md")
    assert [names["count"]("teapot", change) for change in (12, -3)] == [12, 9]
    OutboxRelay(EventBridgePublisher("shop"))(stream_of(dynamodb, "stock-events"))
    first, second = sorted(map(parse_event, bus.events), key=lambda event: event.sequence or 0)
    assert [names["show"](second), names["show"](first)] == ["shown", "too late"]
    (shown,) = items(dynamodb, "window")
    assert shown["left"] == {"N": "9"}


class OneMessage:
    """A queue with one message in it."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.deleted: list[str] = []

    def receive_message(self, **_: Any) -> dict[str, Any]:
        return {"Messages": [{"MessageId": "1", "Body": self.body, "ReceiptHandle": "receipt"}]}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:  # noqa: N803  # AWS's name
        self.deleted.append(ReceiptHandle)


def test_consumers_of_each_kind_act_once(dynamodb: FakeDynamoDB, capsys: pytest.CaptureFixture[str]) -> None:
    """The inbox's handler and the mail's, by a worker and by Lambda, act once; a message without an event is kept."""
    names = run("how-to/consumers.md")
    event = Event("BookAdded", {"author": "Pais", "name": "Team Topologies"}, source="Shop.Books")
    data = {"specversion": "1.0", "id": event.id, "source": "Shop.Books", "type": "BookAdded"}
    body = json.dumps({**data, "time": "2026-11-24T12:00:00Z", "data": event.data})
    for _ in range(2):
        queue = OneMessage(body)
        assert names["work"](queue, "url") == 1
        assert queue.deleted == ["receipt"]
        names["mail"]({"Records": [{"messageId": "1", "body": body}]}, None)
    (author,) = items(dynamodb, "catalogue")
    assert author["books"] == {"N": "1"}
    assert capsys.readouterr().out == "a mail about Team Topologies\n"
    broken = OneMessage("{}")
    assert names["work"](broken, "url") == 0
    assert broken.deleted == []


def test_pipe_and_relay_make_the_same_event(
    load_event: Load, bus: FakeEventBridge, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page prints a pipe that can be deployed, and what it makes of a record is what the relay publishes."""
    names = run("how-to/pipe-or-relay.md")
    assert json.loads(capsys.readouterr().out)["Resources"]["EventsPipe"]["Type"] == "AWS::Pipes::Pipe"
    batch = load_event("stream_of_events_table")
    assert names["handler"](batch, None) == {"batchItemFailures": []}
    entry = names["entry_of"](batch["Records"][0])
    through_pipe = {
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "detail": json.loads(entry["Detail"]),
    }
    assert parse_event(through_pipe) == parse_event(bus.events[0])


def test_the_existing_services_table_passes_the_linter(tmp_path: Path) -> None:
    """The template's part is what CloudFormation takes."""
    (template,) = blocks("how-to/existing-service.md", "yaml")
    path = tmp_path / "template.yaml"
    path.write_text(template)
    linted = subprocess.run(  # noqa: S603  # our own page
        [Path(sys.executable).with_name("cfn-lint"), path], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


@pytest.mark.engine
def test_the_kits_examples_pass(tmp_path: Path) -> None:
    """Each block of the page about testing is a test module that passes."""
    found = blocks("how-to/testing.md")
    for number, block in enumerate(found):
        (tmp_path / f"test_kit_{number}.py").write_text(block)
    engine = os.environ.get(COMMAND_VARIABLE, str(DOCS.parent / ".venv-ministack" / "bin" / "ministack"))
    ran = subprocess.run(  # noqa: S603  # our own page
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {COMMAND_VARIABLE: engine},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout
    assert "6 passed" in ran.stdout
