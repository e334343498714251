"""Tests of the code blocks on the how-to pages and on the pages about commits, inboxes, idempotency and leases."""

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
    AtMostOnce,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    OutboxRelay,
    TransactionalOutbox,
    decode_item,
    encode_item,
    fence_number,
    idempotent,
    parse_event,
)
from dynamo_outbox.aws import clients
from dynamo_outbox.errors import AlreadyInProgressError, ConditionFailedError, UnknownOutcomeError
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
    """The pages' tables, in a fake that replaces the library's own clients; the outbox's clock does not wait."""
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
    """Run a page's Python blocks as one module and return its names."""
    names: dict[str, Any] = {"__name__": page}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)  # noqa: S102  # the project's own page
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
    """Each write has one event with the order's version as its sequence, and neither write can be repeated."""
    names = run("how-to/existing-service.md")
    names["place"]("7", "24.95")
    with pytest.raises(ConditionFailedError) as caught:
        names["place"]("7", "24.95")
    assert caught.value.label == "order"
    names["pay"]("7")
    with pytest.raises(ValueError, match="not open for payment"):
        names["pay"]("7")
    first = int(FakeClock().now().timestamp() * 1000)
    written = sorted((item["sk"]["S"][:20], item["eventType"]["S"]) for item in items(dynamodb, "orders-events"))
    assert written == [(f"{first:020d}", "OrderPlaced"), (f"{first + 1:020d}", "OrderPaid")]


def test_an_existing_service_ships_an_order(dynamodb: FakeDynamoDB) -> None:
    """The page's update changes nested values, appends to a list and keeps a value that is there."""
    names = run("how-to/existing-service.md")
    order = {"order_id": "7", "address": {"city": "Bern", "zip": "3000"}}
    dynamodb.put_item(TableName="orders", Item=encode_item(order))
    names["ship"]("7", "Genf")
    names["ship"]("7", "Basel")
    (item,) = items(dynamodb, "orders")
    assert decode_item(item) == {
        "order_id": "7",
        "address": {"city": "Basel", "zip": "3000"},
        "history": ["shipped to Genf", "shipped to Basel"],
        "priority": 0,
        "parcels": 2,
    }
    with pytest.raises(ConditionFailedError):
        names["ship"]("8", "Basel")


def test_one_table_holds_entities_events_and_dedup_records(dynamodb: FakeDynamoDB, bus: FakeEventBridge) -> None:
    """The relay publishes only the event, the inbox handles it once, and each kind of item has its prefix."""
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


def test_the_single_table_filter_passes_only_events(dynamodb: FakeDynamoDB) -> None:
    """The page's filter equals the pipe's filter."""
    names = run("how-to/single-table.md")
    names["open_account"]("7")
    (pattern,) = blocks("how-to/single-table.md", "json")
    assert json.loads(pattern) == outbox_pipe().patterns[0]
    passed = [matches(json.loads(pattern), record) for record in stream_of(dynamodb, "shop")["Records"]]
    assert sorted(passed) == [False, True]


def test_an_uncertain_commit_is_settled_later(dynamodb: FakeDynamoDB) -> None:
    """The stored text of the error is settled from the event in the table, at the second attempt."""
    names = run("how-to/uncertain-commits.md")
    assert names["place"]("6") == {"status": 201}
    for _ in range(10):
        dynamodb.fail_next("transact_write_items", ConnectionError("lost"), after_commit=True)
        dynamodb.fail_next("put_item", ConnectionError("lost"))
    unknown = names["place"]("7")
    assert unknown["status"] == 202
    assert names["settle_later"](unknown["ask_for"]) == unknown
    assert names["settle_later"](unknown["ask_for"]) == {"status": 201}
    assert names["unsettled"] == {}


def test_an_uncertain_commit_may_turn_out_void(dynamodb: FakeDynamoDB) -> None:
    """If the request never arrived, the stored text is settled as void, and the order can be placed again."""
    names = run("how-to/uncertain-commits.md")
    for operation, times in (("transact_write_items", 4), ("put_item", 4)):
        for _ in range(times):
            dynamodb.fail_next(operation, ConnectionError("no network"))
    unknown = names["place"]("7")
    assert unknown["status"] == 202
    assert dynamodb.pending_faults == []
    assert names["settle_later"](unknown["ask_for"]) == {"status": 503}
    assert names["place"]("7") == {"status": 201}


def post_withdrawals(dynamodb: FakeDynamoDB) -> Callable[..., Any]:
    """Return the page's function; the account has 10."""
    dynamodb.put_item(TableName="accounts", Item={"account": {"S": "a"}, "balance": {"N": "10"}})
    post: Callable[..., Any] = run("how-to/run-a-command-once.md")["post_withdrawal"]
    return lambda key, amount=7, caller="ann": post(caller, key, {"account": "a", "amount": amount})


def test_a_repeated_command_gets_the_first_answer(dynamodb: FakeDynamoDB) -> None:
    """Answers and refusals are repeated; a key with other data is refused, and another caller's key is another key."""
    post = post_withdrawals(dynamodb)
    assert [post("k") for _ in range(2)] == [{"status": 201, "left": 3}] * 2
    assert [post("k2")["status"] for _ in range(2)] == [409, 409]
    dynamodb.put_item(TableName="accounts", Item={"account": {"S": "a"}, "balance": {"N": "100"}})
    assert post("k2")["status"] == 409
    assert post("k", 8)["status"] == 422
    assert post('"k"')["status"] == 400
    assert post("k" * 3000)["status"] == 400
    assert post("k", caller="bob") == {"status": 201, "left": 93}
    assert len(items(dynamodb, "accounts-events")) == 2


@pytest.mark.parametrize("committed", [True, False])
def test_a_command_is_repeated_after_a_crash(
    dynamodb: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """If the process dies around the commit, a repetition gets the answer, and there is one effect."""
    post = post_withdrawals(dynamodb)
    commit = dynamodb.transact_write_items

    class KilledError(BaseException):
        pass

    def die(**request: Any) -> None:
        if committed:
            commit(**request)
        raise KilledError

    monkeypatch.setattr(dynamodb, "transact_write_items", die)
    with pytest.raises(KilledError):
        post("k")
    monkeypatch.setattr(dynamodb, "transact_write_items", commit)
    assert [post("k") for _ in range(2)] == [{"status": 201, "left": 3}] * 2
    assert len(items(dynamodb, "accounts-events")) == 1


def test_a_command_is_repeated_while_it_runs(dynamodb: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two simultaneous requests with one key, one transaction is committed, and both get its answer."""
    post = post_withdrawals(dynamodb)
    commit, answers = dynamodb.transact_write_items, []

    def commit_second(**request: Any) -> Any:
        monkeypatch.setattr(dynamodb, "transact_write_items", commit)
        answers.append(post("k"))
        return commit(**request)

    monkeypatch.setattr(dynamodb, "transact_write_items", commit_second)
    answers.append(post("k"))
    assert answers == [{"status": 201, "left": 3}] * 2
    assert len(items(dynamodb, "accounts-events")) == 1


def test_a_command_whose_outcome_is_unknown_can_be_repeated(
    dynamodb: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 503, the same request gets the answer of the transaction that was committed."""
    post = post_withdrawals(dynamodb)
    commit = dynamodb.transact_write_items

    def lose(**request: Any) -> None:
        if not items(dynamodb, "accounts-events"):
            commit(**request)
            for _ in range(20):
                dynamodb.fail_next("get_item", ConnectionError("no network"))
        raise ConnectionError("no network")

    with monkeypatch.context() as outage:
        outage.setattr(dynamodb, "transact_write_items", lose)
        assert post("k")["status"] == 503
    while dynamodb.pending_faults:
        with pytest.raises(ConnectionError):
            dynamodb.get_item(TableName="accounts", Key={"account": {"S": "a"}})
    assert post("k") == {"status": 201, "left": 3}


def test_each_region_publishes_its_own_writes(bus: FakeEventBridge) -> None:
    """The page's pattern passes what was written in its Region, and no delete; the handler publishes it."""
    names = run("how-to/publish-from-one-region.md")
    pattern = json.loads(names["PATTERN"])

    def record(region: str) -> dict[str, Any]:
        image = {"profile": {"S": "p"}, "writtenIn": {"S": region}}
        change = {"Keys": {"profile": {"S": "p"}}, "NewImage": image, "SequenceNumber": "1" * 21}
        return {"eventID": region, "eventName": "INSERT", "awsRegion": "eu-west-1", "dynamodb": change}

    own, replicated = record(names["REGION"]), record("us-east-9")
    deleted = {**own, "eventName": "REMOVE", "dynamodb": {"Keys": own["dynamodb"]["Keys"], "SequenceNumber": "1" * 21}}
    assert [matches(pattern, each) for each in (own, replicated, deleted)] == [True, False, False]
    assert names["handler"]({"Records": [own]}, None) == {"batchItemFailures": []}
    assert [parse_event(event).data["profile"] for event in bus.events] == ["p"]


def test_the_commits_page_reports_the_outcome(dynamodb: FakeDynamoDB) -> None:
    """The page's function returns whether the transaction was committed."""
    names = run("commits.md")
    assert names["place"]("6") == "committed"
    for _ in range(4):
        dynamodb.fail_next("transact_write_items", ConnectionError("no network"))
    assert names["place"]("7").startswith("nothing was written")
    assert dynamodb.pending_faults == []


def test_the_inbox_page_withdraws_once(dynamodb: FakeDynamoDB) -> None:
    """A redelivered event does not withdraw twice, and a balance that is too low is an error."""
    names = run("inbox.md")
    dynamodb.put_item(TableName="accounts", Item={"account": {"S": "a"}, "balance": {"N": "10"}})
    event = Event("WithdrawalAsked", {"account": "a", "amount": 7}, source="Bank")
    assert [names["handler"](event) for _ in range(2)] == [3, 3]
    with pytest.raises(ValueError, match="balance too low"):
        names["handler"](Event("WithdrawalAsked", {"account": "a", "amount": 7}, source="Bank"))


class Parcels:
    """The page's boto3 Table resource, backed by the fake."""

    def __init__(self, dynamodb: FakeDynamoDB) -> None:
        self._dynamodb = dynamodb

    def update_item(self, **request: Any) -> None:
        for part in ("Key", "ExpressionAttributeValues"):
            request[part] = encode_item(request[part])
        self._dynamodb.update_item(TableName="parcels", **request)


class CardDeclinedError(Exception):
    pass


def test_the_idempotency_page_runs(dynamodb: FakeDynamoDB) -> None:
    """The order is charged, and the parcel gets the fence number of its call."""
    store = IdempotencyStore("calls", clock=FakeClock())
    charge, ship = blocks("idempotency.md")
    names: dict[str, Any] = {"idempotent": idempotent, "fence_number": fence_number, "store": store}
    names |= {"parcels": Parcels(dynamodb), "CardDeclined": CardDeclinedError}
    for block in (charge, ship):
        exec(compile(block, "idempotency.md", "exec"), names)  # noqa: S102  # the project's own page
    names["charge"](Event("OrderPlaced", {"order": "7"}, source="Shop"))
    names["ship"](Event("OrderPacked", {"parcel": "1"}, source="Shop"))
    (parcel,) = items(dynamodb, "parcels")
    (record,) = [item for item in items(dynamodb, "calls") if item["pk"]["S"].startswith("call#ship#")]
    assert parcel["fence"] == record["fence"]


def test_the_leases_page_resolves_an_unknown_outcome(dynamodb: FakeDynamoDB) -> None:
    """Each of the page's two lines takes the error's key and token and returns whether it changed the record."""
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
        assert eval(line.partition("#")[0], {"store": store, "error": caught.value}) is True  # noqa: S307  # own page
    assert charge(event) == {"charge": "ch_7"}
    assert dynamodb.pending_faults == []


def test_the_leases_page_lists_what_is_safe_to_retry(dynamodb: FakeDynamoDB) -> None:
    """With the page's policy, a listed exception frees the key, and any other keeps it."""
    clock = FakeClock()

    class InvalidOrder(Exception):  # noqa: N818  # the page's name
        pass

    def charge_of(error: Exception) -> Any:
        names: dict[str, Any] = {"idempotent": idempotent, "AtMostOnce": AtMostOnce, "InvalidOrder": InvalidOrder}
        names |= {"CardDeclined": CardDeclinedError, "store": IdempotencyStore("calls", clock=clock)}
        decorator, found, _ = blocks("leases.md")[1].partition("def charge(order): ...")
        assert found

        def charge(order: Event) -> None:  # noqa: ARG001  # its id is the key
            raise error

        names["charge"] = charge
        exec(compile(f"decorate = {decorator.strip().removeprefix('@')}", "leases.md", "exec"), names)  # noqa: S102  # own page
        return names["decorate"](charge)

    for error, then in (
        (InvalidOrder(), InvalidOrder),
        (ConnectionRefusedError(), AlreadyInProgressError),
        (CardDeclinedError(), CardDeclinedError),
        (ValueError(), AlreadyInProgressError),
    ):
        event, charge = Event("OrderPlaced", {"order": "7"}, source="Shop"), charge_of(error)
        with pytest.raises(type(error)):
            charge(event)
        with pytest.raises(then):
            charge(event)
    assert dynamodb.pending_faults == []


def test_a_window_does_not_show_stale_events(dynamodb: FakeDynamoDB, bus: FakeEventBridge) -> None:
    """Events have the item's version as their sequence, and a stale event is skipped."""
    names = run("how-to/order.md")
    assert [names["count"]("teapot", change) for change in (12, -3)] == [12, 9]
    OutboxRelay(EventBridgePublisher("shop"))(stream_of(dynamodb, "stock-events"))
    first, second = sorted(map(parse_event, bus.events), key=lambda event: event.sequence or 0)
    assert [names["show"](second), names["show"](first)] == ["shown", "too late"]
    (shown,) = items(dynamodb, "window")
    assert shown["left"] == {"N": "9"}


def test_events_of_one_write_have_consecutive_sequences(dynamodb: FakeDynamoDB) -> None:
    """The item's version is the last event's sequence, and the next write continues above it."""
    names = run("how-to/order.md")
    names["count"]("teapot", 12)
    names["sell_out"]("teapot")
    (stock,) = items(dynamodb, "stock")
    names["count"]("teapot", 1)
    sequences = [int(item["sk"]["S"][:20]) for item in items(dynamodb, "stock-events")]
    first = min(sequences)
    assert sorted(sequences) == [first, first + 1, first + 2, first + 3]
    assert stock["version"] == {"N": str(first + 2)}


class OneMessage:
    """A queue with one message."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.deleted: list[str] = []
        self.asked: dict[str, Any] = {}

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {"Messages": [{"MessageId": "1", "Body": self.body, "ReceiptHandle": "receipt"}]}

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> None:  # noqa: N803  # AWS's name
        self.deleted.append(ReceiptHandle)


def test_each_kind_of_consumer_acts_once(dynamodb: FakeDynamoDB, capsys: pytest.CaptureFixture[str]) -> None:
    """The inbox and mail handlers act once, in a worker and in Lambda; a message without an event is not deleted."""
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
    assert capsys.readouterr().out == "mail about Team Topologies\n"
    assert "SequenceNumber" in queue.asked["MessageSystemAttributeNames"]
    broken = OneMessage("{}")
    assert names["work"](broken, "url") == 0
    assert broken.deleted == []


@pytest.mark.parametrize("is_fifo", [True, False])
def test_a_worker_keeps_a_fifo_queues_order(dynamodb: FakeDynamoDB, is_fifo: bool) -> None:
    """A worker that polls a FIFO queue leaves a group's later messages in it; a fair queue's groups have no order."""
    work = run("how-to/consumers.md")["work"]
    known = {"specversion": "1.0", "id": "1", "source": "s", "type": "BookAdded", "time": "2026-11-24T12:00:00Z"}
    good = json.dumps({**known, "data": {"author": "Pais"}})

    class Queue(OneMessage):
        def receive_message(self, **_: Any) -> dict[str, Any]:
            messages = []
            for number, (group, body) in enumerate([("a", "{}"), ("a", self.body), ("b", self.body)]):
                attributes = {"MessageGroupId": group, **({"SequenceNumber": str(number)} if is_fifo else {})}
                told = {"MessageId": str(number), "Body": body, "ReceiptHandle": str(number), "Attributes": attributes}
                messages.append(told)
            return {"Messages": messages}

    queue = Queue(good)
    assert work(queue, "url") == (1 if is_fifo else 2)
    assert queue.deleted == (["2"] if is_fifo else ["1", "2"])
    assert dynamodb.pending_faults == []


def test_pipe_and_relay_publish_the_same_event(
    load_event: Load, bus: FakeEventBridge, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page prints a pipe definition, and the pipe and the relay publish the same event for a record."""
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


def test_the_events_table_template_passes_the_linter(tmp_path: Path) -> None:
    """The template on the page about existing services passes cfn-lint."""
    (template,) = blocks("how-to/existing-service.md", "yaml")
    path = tmp_path / "template.yaml"
    path.write_text(template)
    linted = subprocess.run(  # noqa: S603  # the project's own page
        [Path(sys.executable).with_name("cfn-lint"), path], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def run_kit_blocks(folder: Path, *, with_engine: bool) -> str:
    """Write the testing page's blocks as modules, run them with pytest and return its output.

    A block is a module of its own; a first line such as ``# orders.py`` names it.
    """
    for number, block in enumerate(blocks("how-to/testing.md")):
        if ("MiniStack" in block) == with_engine:
            named = re.match(r"# (\w+\.py)\n", block)
            (folder / (named[1] if named else f"test_kit_{number}.py")).write_text(block)
    engine = os.environ.get(COMMAND_VARIABLE, str(DOCS.parent / ".venv-ministack" / "bin" / "ministack"))
    ran = subprocess.run(  # noqa: S603  # the project's own page
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        env=os.environ | {COMMAND_VARIABLE: engine},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_the_kits_examples_pass(tmp_path: Path) -> None:
    """The testing page's examples with the fakes, with moto and with Hypothesis pass."""
    assert "8 passed" in run_kit_blocks(tmp_path, with_engine=False)


@pytest.mark.engine
def test_the_kits_examples_with_an_engine_pass(tmp_path: Path) -> None:
    """The testing page's examples with MiniStack pass."""
    assert "2 passed" in run_kit_blocks(tmp_path, with_engine=True)
