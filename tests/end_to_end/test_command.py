"""The installed command against the local engine: output, exit status, and messages for what is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest

from dynamo_outbox import Event, IdempotencyStore, Inbox, ParkingTable, TableKeys, TransactionalOutbox, idempotent
from dynamo_outbox.errors import CommitUnknownError, UnknownOutcomeError
from dynamo_outbox.relaying.parked_record import ParkedRecord
from dynamo_outbox.relaying.rules import Reason
from dynamo_outbox.testing import FakeClock, FaultProxy, MiniStack, error_response

from .conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_outbox.testing import Exchange

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).resolve().parents[2]
KEYS = TableKeys("outbox_pk", "outbox_sk", "outbox#")
EVENTS, PARKING, DEDUP = "orders-events:outbox#", "orders-parking", "orders-dedup"
SOURCE = "Shop.Orders"


class Said(NamedTuple):
    """What the command printed, and its exit status."""

    status: int
    lines: list[Any]
    err: str


def run(url: str, *arguments: str, given: str = "", **environment: str) -> Said:
    """Run the installed command with the engine's endpoint; without one if the URL is empty."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    identity = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
    files = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(  # noqa: S603  # our own command
        [COMMAND, *arguments, *(["--endpoint-url", url] if url else [])],
        env={**inherited, **files, **identity, **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    lines = [done.stdout] if "\n  " in done.stdout else done.stdout.splitlines()
    return Said(done.returncode, [json.loads(line) for line in lines], done.stderr)


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniStack]:
    command = os.environ.get("DYNAMO_OUTBOX_MINISTACK") or str(PROJECT / ".venv-ministack" / "bin" / "ministack")
    with MiniStack(command) as started:
        dynamodb = started.client("dynamodb")
        create(dynamodb, "orders-events", "outbox_pk", "outbox_sk")
        create(dynamodb, PARKING, "pk", "sk")
        create(dynamodb, DEDUP, "id")
        yield started


def create(dynamodb: Any, table: str, *keys: str) -> None:
    dynamodb.create_table(
        TableName=table,
        KeySchema=[
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def command(engine: MiniStack) -> Callable[..., Said]:
    return lambda *arguments, **options: run(engine.endpoint_url, *arguments, **options)


@pytest.fixture
def outbox(engine: MiniStack) -> TransactionalOutbox:
    return TransactionalOutbox("orders-events", source=SOURCE, client=engine.client("dynamodb"), table_keys=KEYS)


@pytest.fixture
def parking(engine: MiniStack) -> ParkingTable:
    """Return a parking table of the test's own."""
    dynamodb, name = engine.client("dynamodb"), f"parking-{uuid4().hex}"
    create(dynamodb, name, "pk", "sk")
    return ParkingTable(name, client=dynamodb)


def placed(order: str | None = None, sequence: int | None = None) -> Event:
    kind = None if order is None else "Order"
    return Event(
        "OrderPlaced", {"total": 12}, source=SOURCE, aggregate_type=kind, aggregate_id=order, sequence=sequence
    )


def record_of(outbox: TransactionalOutbox, event: Event, number: str) -> dict[str, Any]:
    """Return the stream record of an event's insertion."""
    item = outbox.transact_item(event)["Put"]["Item"]
    keys = {name: item[name] for name in ("outbox_pk", "outbox_sk")}
    change = {"Keys": keys, "NewImage": item, "SequenceNumber": number, "ApproximateCreationDateTime": 1764000000}
    return {"eventID": number, "eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": change}


def park(parking: ParkingTable, raw: Any, order_key: str, number: str, event: Event, age: timedelta) -> None:
    parked = ParkedRecord.of(
        raw,
        order_key,
        sequence_number=number,
        event_ids=[event.id],
        reason=Reason("MalformedDetail", "so it is", "detail"),
        now=datetime.now(UTC) - age,
        parked_by="OutboxRelay",
    )
    assert parking.park([parked]) == 1


# --- show ----------------------------------------------------------------------------------------------------------


def test_an_event_is_shown_with_all_that_is_stored_of_it(
    engine: MiniStack, command: Callable[..., Said], outbox: TransactionalOutbox, parking: ParkingTable
) -> None:
    """`show` prints the item, the dedup records of an inbox and of `idempotent`, and the parked record."""
    event, dynamodb = placed("shown", 7), engine.client("dynamodb")
    with outbox.transaction() as tx:
        tx.emit(event)
    store = IdempotencyStore(DEDUP, client=dynamodb, table_keys=TableKeys("id", None))
    Inbox(store, outbox).handler(consumer="catalogue")(lambda event, tx: [event.id, tx.emit(placed())][0])(event)
    idempotent(store, scope="mail")(lambda event: event.id)(event)
    park(parking, record_of(outbox, event, "5"), "Order#shown", "5", event, timedelta())

    said = command(
        *("show", event.id, "--aggregate", "Order#shown", "--table", EVENTS, "--parking", parking.table),
        *("--dedup", DEDUP, "--consumer", "catalogue", "--consumer", "mail", "--consumer", "other"),
    )
    assert (said.status, said.err) == (0, "")
    assert [next(iter(line)) for line in said.lines] == ["event", "dedup", "dedup", "parked"]
    assert (said.lines[0]["event"]["id"], said.lines[0]["event"]["data"]) == (event.id, {"total": 12})
    assert [(line["dedup"]["consumer"], line["dedup"]["status"]) for line in said.lines[1:3]] == [
        ("catalogue", "COMPLETED"),
        ("mail", "COMPLETED"),
    ]
    assert (said.lines[3]["parked"]["order_key"], said.lines[3]["parked"]["code"]) == ("Order#shown", "MalformedDetail")


def test_an_aggregates_events_are_shown_in_order(command: Callable[..., Said], outbox: TransactionalOutbox) -> None:
    """`show --aggregate` prints an aggregate's events; an id alone finds an event without one, or by a scan."""
    first, second, single = placed("many", 1), placed("many", 2), placed()
    with outbox.transaction() as tx:
        for event in (second, first, single):
            tx.emit(event)
    said = command("show", "--aggregate", "Order#many", "--table", EVENTS)
    assert [line["event"]["id"] for line in said.lines] == [first.id, second.id]
    for arguments, found in (
        ((second.id, "--aggregate", "Order#many"), [second.id]),
        ((second.id,), []),
        ((second.id, "--scan"), [second.id]),
        ((single.id,), [single.id]),
    ):
        said = command("show", *arguments, "--table", EVENTS)
        assert (said.status, [line["event"]["id"] for line in said.lines]) == (0 if found else 1, found)
        assert found or "nothing found; name the event's --aggregate, or --scan the table" in said.err


# --- stats ---------------------------------------------------------------------------------------------------------


def test_backlogs_are_printed(
    engine: MiniStack, command: Callable[..., Said], outbox: TransactionalOutbox, parking: ParkingTable
) -> None:
    """`stats` prints parked records, messages and the relay's lag; what can't be known is null, with the reason."""
    event = placed("late")
    for number, hours in (("1", 1), ("2", 2), ("3", 1)):
        park(parking, record_of(outbox, event, number), f"Order#{number}", number, event, timedelta(hours=hours))
    sqs, cloudwatch = engine.client("sqs"), engine.client("cloudwatch")
    url = sqs.create_queue(QueueName="relay-failures")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    ages = (
        ("AWS/Lambda", "IteratorAge", "FunctionName", "relay"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "relay-failures"),
    )
    for namespace, metric, dimension, name in ages:
        for minutes, value in ((9, 99_000.0), (2, 42_000.0)):
            measured = {
                "MetricName": metric,
                "Dimensions": [{"Name": dimension, "Value": name}],
                "Timestamp": datetime.now(UTC) - timedelta(minutes=minutes),
                "Value": value,
            }
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[measured])
    said = command("stats", "--relay", "relay", "--relay", "idle", "--parking", parking.table, "--queue", url)
    assert (said.status, said.err) == (0, "")
    relay, idle, parked, queue = said.lines
    assert (relay["left"], relay["oldest_seconds"]) == (None, 42)
    assert (idle["oldest_seconds"], idle["note"]) == (None, "no batch in 15 minutes: nothing to publish, or stopped")
    assert (parked["left"], parked["oldest_seconds"] // 60) == (3, 120)
    assert (queue["left"], queue["oldest_seconds"]) == (1, 42_000)


def test_a_place_that_cannot_be_read_does_not_hide_the_others(command: Callable[..., Said]) -> None:
    """A place that does not exist is named on standard error, the others are printed, and the exit status is 1."""
    said = command("stats", "--parking", "nowhere", "--parking", PARKING)
    assert (said.status, [line["name"] for line in said.lines]) == (1, [PARKING])
    assert "nowhere: " in said.err
    assert "Check the name, the Region and the account" in said.err


# --- parked --------------------------------------------------------------------------------------------------------


def test_parked_records_are_shown_and_dropped(
    command: Callable[..., Said], outbox: TransactionalOutbox, parking: ParkingTable
) -> None:
    """`parked show` decodes each record; `parked drop` removes one or all, after --yes, and the count stays right."""
    events = [placed("bad", number) for number in (1, 2, 3)]
    broken = record_of(outbox, events[1], "102")
    broken["dynamodb"]["NewImage"]["outboxFormat"] = {"N": "9"}
    raws = [record_of(outbox, events[0], "101"), broken, record_of(outbox, events[2], "103")]
    for event, raw in zip(events, raws, strict=True):
        park(parking, raw, "Order#bad", raw["eventID"], event, timedelta())
    said = command("parked", "show", parking.table, "Order#bad")
    assert said.status == 0
    assert [next(iter(line)) for line in said.lines] == [
        *("parked", "event", "parked", "error", "record", "parked", "event"),
    ]
    assert (said.lines[0]["parked"]["sequence_number"], said.lines[1]["event"]["id"]) == ("101", events[0].id)
    assert said.lines[4]["record"] == broken

    refused = command("parked", "drop", parking.table, "Order#bad")
    assert refused.status == 2
    assert "Drop 3 records of 'Order#bad'? Their events are never published. Add --yes" in refused.err
    assert heads(parking) == {"Order#bad": 3}

    one = command("parked", "drop", parking.table, "Order#bad", "--sequence-number", "102", "--yes")
    assert (one.status, one.lines[-1]) == (0, {"dropped": 1})
    assert heads(parking) == {"Order#bad": 2}
    assert [each.sequence_number for each in parking.records("Order#bad")] == ["101", "103"]

    rest = command("parked", "drop", parking.table, "Order#bad", "--yes")
    assert (rest.status, rest.lines[-1], heads(parking)) == (0, {"dropped": 2}, {})
    none = command("parked", "drop", parking.table, "Order#bad", "--yes")
    assert (none.status, none.lines) == (1, [])
    assert "no such record is parked under 'Order#bad'" in none.err


def heads(parking: ParkingTable) -> dict[str, int]:
    return {head.order_key: head.parked for head in parking.heads()}


def test_parked_records_are_listed_and_published(
    engine: MiniStack, command: Callable[..., Said], outbox: TransactionalOutbox, parking: ParkingTable, tmp_path: Path
) -> None:
    """`parked list` prints each order key with its reason; `parked redrive` publishes and removes the records."""
    event, records = placed("again", 1), [("Order#again", "7"), ("Order#more", "8")]
    for order_key, number in records:
        park(parking, record_of(outbox, event, number), order_key, number, event, timedelta())
    said = command("parked", "list", parking.table)
    assert (said.status, sorted((line["order_key"], line["parked"]) for line in said.lines)) == (
        0,
        [("Order#again", 1), ("Order#more", 1)],
    )
    assert {line["first"]["code"] for line in said.lines} == {"MalformedDetail"}

    engine.client("events").create_event_bus(Name="shop")
    (tmp_path / "shop_relay.py").write_text(RELAY.replace("PARKING", parking.table))
    redrive = ("parked", "redrive", "shop_relay:relay")
    refused = command(*redrive, PYTHONPATH=python_path(tmp_path))
    assert (refused.status, heads(parking)) == (2, dict.fromkeys(["Order#again", "Order#more"], 1))
    assert "Publish the records parked by shop_relay:relay to the bus shop? Add --yes" in refused.err
    with FaultProxy(engine.endpoint_url, script=lambda name, _: denied_put(name)) as proxy:
        denied = run(proxy.endpoint_url, *redrive, "--yes", PYTHONPATH=python_path(tmp_path))
    assert (denied.status, denied.lines[0]["sent"]) == (1, 0)
    assert "AccessDeniedException" in denied.lines[1]["code"]
    done = command(*redrive, "--yes", PYTHONPATH=python_path(tmp_path))
    assert (done.status, done.lines, heads(parking)) == (0, [{"sent": 2, "failed": 0, "finished": True}], {})


RELAY = """
from dynamo_outbox import EventBridgePublisher, OutboxRelay, ParkingTable

relay = OutboxRelay(EventBridgePublisher("shop"), parking=ParkingTable("PARKING"))
"""


def python_path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


def denied_put(operation: str) -> Any:
    return error_response("AccessDeniedException") if operation == "PutEvents" else None


# --- decode, pipe, template, cost ----------------------------------------------------------------------------------


def test_stored_items_are_decoded(engine: MiniStack, outbox: TransactionalOutbox) -> None:
    """`decode` prints the event of what DynamoDB's GetItem returns."""
    event = placed("decoded", 1)
    with outbox.transaction() as tx:
        tx.emit(event)
    item = outbox.transact_item(event)["Put"]["Item"]
    key = {name: item[name] for name in ("outbox_pk", "outbox_sk")}
    stored = engine.client("dynamodb").get_item(TableName="orders-events", Key=key)["Item"]
    said = run("", "decode", given=json.dumps(stored))
    assert (said.status, said.err) == (0, "")
    assert said.lines[0]["event"]["id"] == event.id
    unreadable = run("", "decode", given=json.dumps({**stored, "outboxFormat": {"N": "9"}}))
    assert (unreadable.status, "outboxFormat" in unreadable.err + json.dumps(unreadable.lines)) == (1, True)


def test_the_printed_pipe_can_be_created(engine: MiniStack) -> None:
    """`pipe --name` prints what CreatePipe takes; an end that is not an ARN exits with 2."""
    arn = "arn:aws:{}:eu-central-1:000000000000:{}"
    ends = {
        "role": "arn:aws:iam::000000000000:role/pipe",
        "source": engine.client("dynamodb").describe_table(TableName="orders-events")["Table"]["TableArn"]
        + "/stream/x",
        "target": arn.format("events", "event-bus/shop"),
        "dead-letter": arn.format("sqs", "dead"),
    }
    arguments = [part for name, value in ends.items() for part in (f"--{name}", value)]
    said = run("", "pipe", "--name", "orders", *arguments)
    assert (said.status, said.err) == (0, "")
    assert engine.client("pipes").create_pipe(**said.lines[0])["Name"] == "orders"
    wrong = run("", "pipe", "--name", "orders", *arguments, "--target", "Bus.Arn")
    assert (wrong.status, wrong.lines) == (2, [])
    assert "not an ARN: Bus.Arn" in wrong.err


def test_the_printed_template_can_be_deployed(engine: MiniStack) -> None:
    """CloudFormation creates every resource of the printed template; a consumer's impossible name exits with 2."""
    options = ("--cloudformation", "--format", "json", "--name", "printed", "--delivery", "queue", "--delete-data")
    said = run("", "template", *options, "--consumer", "Billing:OrderPlaced")
    assert (said.status, said.err) == (0, "")
    (template,) = said.lines
    s3, formation = engine.client("s3"), engine.client("cloudformation")
    s3.create_bucket(Bucket="printed-code", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr("relay.py", "def handler(event, context): ...")
    s3.put_object(Bucket="printed-code", Key="code.zip", Body=code.getvalue())
    parameters = {"CodeBucket": "printed-code", "CodeKey": "code.zip"}
    formation.create_stack(
        StackName="printed",
        TemplateBody=json.dumps(template, separators=(",", ":")),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    formation.get_waiter("stack_create_complete").wait(StackName="printed", WaiterConfig={"Delay": 1})
    created = formation.describe_stack_resources(StackName="printed")["StackResources"]
    assert {each["LogicalResourceId"] for each in created} == template["Resources"].keys()
    assert {each["ResourceStatus"] for each in created} == {"CREATE_COMPLETE"}
    wrong = run("", "template", "--consumer", "bil-ling")
    assert (wrong.status, wrong.lines) == (2, [])
    assert "not 'bil-ling'" in wrong.err


def test_costs_are_printed() -> None:
    """`cost` prints a row for each part and the total; a missing number of events exits with 2."""
    said = run("", "cost", "--events-per-month", "1000000")
    assert (said.status, said.lines[-1]["part"], said.err) == (0, "total", "")
    assert run("", "cost").status == 2


# --- settle, resolve -----------------------------------------------------------------------------------------------


def uncertain(engine: MiniStack) -> tuple[str, Event]:
    """Return the text of an error whose transaction was not committed, and its event."""
    event = placed("uncertain")
    with FaultProxy(engine.endpoint_url, script=lambda _operation, _count: error_response("X", status=500)) as proxy:
        through = TransactionalOutbox(
            "orders-events",
            source=SOURCE,
            client=proxy.client("dynamodb", attempts=1),
            table_keys=KEYS,
            clock=FakeClock(),
        )
        with pytest.raises(CommitUnknownError) as caught, through.transaction() as tx:
            tx.emit(event)
    return caught.value.to_json(), event


def test_an_uncertain_commit_is_settled(engine: MiniStack, command: Callable[..., Said], tmp_path: Path) -> None:
    """`settle` takes the error's text: it asks first, and then makes the transaction void, for good."""
    text, event = uncertain(engine)
    file = tmp_path / "unknown.json"
    file.write_text(text)
    asked = command("settle", EVENTS, str(file))
    assert (asked.status, asked.lines) == (2, [])
    assert "a void marker takes its place" in asked.err
    for _ in range(2):
        settled = command("settle", EVENTS, str(file), "--yes")
        assert (settled.status, settled.lines) == (0, [{"committed": False}])
    shown = command("show", event.id, "--aggregate", "Order#uncertain", "--table", EVENTS)
    assert [next(iter(line)) for line in shown.lines] == ["void"]


def test_an_events_item_is_settled(command: Callable[..., Said], outbox: TransactionalOutbox) -> None:
    """`settle` takes an item, also from standard input, and finds that it was committed."""
    event = placed("sure")
    action = outbox.transact_item(event)
    outbox.settings.dynamodb.call("put_item", **action["Put"])
    settled = command("settle", EVENTS, "--yes", given=json.dumps(action["Put"]["Item"]))
    assert (settled.status, settled.lines) == (0, [{"committed": True}])


@pytest.mark.parametrize(
    ("how", "other", "status"),
    [
        (["--result", '{"charged": true}'], ["--forget"], "COMPLETED"),
        (["--forget"], ["--result", "1"], "RELEASED"),
    ],
)
def test_an_unknown_outcome_is_resolved(
    engine: MiniStack, command: Callable[..., Said], how: list[str], other: list[str], status: str
) -> None:
    """`resolve` stores the result, or releases the record; after that the other way has exit status 1."""
    clock = FakeClock()
    clock.set(datetime.now(UTC))
    dynamodb = engine.client("dynamodb")
    store = IdempotencyStore(DEDUP, client=dynamodb, table_keys=TableKeys("id", None), clock=clock)

    @idempotent(store, scope=f"charge{how[0]}", on_expired_lease="raise")
    def charge(event: Event) -> None:
        raise ValueError(event.id)

    event = placed()
    with pytest.raises(ValueError, match=event.id):
        charge(event)
    clock.advance(timedelta(hours=1))
    with pytest.raises(UnknownOutcomeError) as caught:
        charge(event)
    call = ("resolve", DEDUP, caught.value.key, caught.value.token)
    assert "Add --yes" in command(*call, *how).err
    said = command(*call, *how, "--yes")
    assert (said.status, said.lines) == (0, [{"resolved": True}])
    assert '"status": "IN_PROGRESS"' in said.err
    late = command(*call, *other, "--yes")
    assert (late.status, late.lines) == (1, [{"resolved": False}])
    assert f'"status": "{status}"' in late.err


# --- mistakes ------------------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, ...]] = {
    "stats": ("stats", "--parking", "{}"),
    "show": ("show", "id", "--table", "{}"),
    "parked list": ("parked", "list", "{}"),
    "parked show": ("parked", "show", "{}", "Order#1"),
    "parked drop": ("parked", "drop", "{}", "Order#1", "--yes"),
    "settle": ("settle", "{}", "--yes"),
    "resolve": ("resolve", "{}", "key", "token", "--forget", "--yes"),
}
"""A call of each command that takes a table."""
REPLAYS: dict[str, tuple[str, ...]] = {
    f"replay {place}": ("replay", place, "s3://{}" if place == "bucket" else "{}", "--bus", "shop", "--yes")
    for place in ("table", "stream", "parking", "bucket", "queue")
}
ITEM = TransactionalOutbox("t", source=SOURCE).transact_item(placed())["Put"]["Item"]


def call_of(name: str, table: str) -> list[str]:
    return [part.format(table) for part in (CALLS | REPLAYS)[name]]


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_table_is_named(command: Callable[..., Said], name: str) -> None:
    """Each command names the table that does not exist, and says what to check."""
    said = command(*call_of(name, "nowhere"), given=json.dumps(ITEM))
    assert (said.status, said.lines) == (1, [])
    assert "ResourceNotFoundException" in said.err
    assert "Check the name, the Region and the account" in said.err


@pytest.mark.parametrize("name", CALLS | REPLAYS)
def test_missing_credentials_are_named(command: Callable[..., Said], name: str) -> None:
    """Each command says how to give credentials."""
    said = command(*call_of(name, PARKING), given=json.dumps(ITEM), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (said.status, said.lines) == (1, [])
    assert "Name a profile by --profile" in said.err


@pytest.mark.parametrize("refused", ["DescribeTable", None])
@pytest.mark.parametrize("name", CALLS)
def test_a_missing_permission_is_named(engine: MiniStack, name: str, refused: str | None) -> None:
    """Each command names the action that the credentials lack, for DescribeTable and for what follows it."""
    denied = error_response("AccessDeniedException")

    def script(operation: str, _count: int) -> Any:
        return denied if (operation == refused if refused else operation != "DescribeTable") else None

    with FaultProxy(engine.endpoint_url, script=script) as proxy:
        table = {"settle": "orders-events", "resolve": DEDUP, "show": "orders-events"}.get(name, PARKING)
        said = run(proxy.endpoint_url, *call_of(name, table), given=json.dumps(ITEM))
        met = [each.operation for each in proxy.exchanges if each.fault]
    assert (said.status, said.lines, len(met)) == (1, [], 1)
    assert f"lack the permission for {met[0]}" in said.err


ONLY_SOMETIMES = {"show": {"Scan"}, "settle": {"GetItem"}}
"""Actions of the page that the calls below need not make."""


@pytest.mark.parametrize("name", CALLS)
def test_the_permissions_page_has_each_commands_actions(
    engine: MiniStack, outbox: TransactionalOutbox, parking: ParkingTable, name: str
) -> None:
    """A command calls the actions that docs/permissions.md lists for it, and no others."""
    event = placed("1")
    with outbox.transaction() as tx:
        tx.emit(event)
    park(parking, record_of(outbox, event, "1"), "Order#1", "1", event, timedelta())
    table = {"settle": EVENTS, "resolve": DEDUP, "show": EVENTS}.get(name, parking.table)
    call = call_of(name, table)
    if name == "stats":
        url = engine.client("sqs").create_queue(QueueName="permissions")["QueueUrl"]
        call += ["--relay", "relay", "--queue", url]
    if name == "show":
        call[1] = event.id
        call += ["--aggregate", "Order#1", "--parking", parking.table, "--dedup", DEDUP, "--consumer", "c"]
    with FaultProxy(engine.endpoint_url) as proxy:
        said = run(proxy.endpoint_url, *call, given=json.dumps(ITEM))
        called = {action for each in proxy.exchanges for action in actions_of(each)}
    assert said.status == (1 if name == "resolve" else 0), said.err  # there is no such record
    page = (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8")
    between = page[page.index("<!-- command -->") : page.index("<!-- /command -->")]
    [row] = [line for line in between.splitlines() if line.startswith(f"| `{name}` |")]
    listed = set(re.findall(r"`\w+:(\w+)`", row)) | {"DescribeTable"}
    assert called <= listed
    assert listed - called <= ONLY_SOMETIMES.get(name, set())


def actions_of(exchange: Exchange) -> Iterator[str]:
    """Yield the IAM actions of a request; a transaction needs those of its parts."""
    if exchange.operation == "TransactWriteItems":
        yield from (f"{kind}Item" for each in exchange.request["TransactItems"] for kind in each)
    else:
        yield exchange.operation


@pytest.mark.parametrize(
    ("arguments", "given", "problem"),
    [
        (["stats"], "", "name at least one --relay, --parking or --queue"),
        (["show", "--table", EVENTS], "", "name an event's id, an --aggregate, or both"),
        (["show", "id", "--table", EVENTS, "--dedup", DEDUP], "", "--dedup and --consumer need each other"),
        (["parked", "list", DEDUP], "", "a parking table needs a sort key"),
        (["settle", DEDUP, "--yes"], json.dumps(ITEM), "an events table needs a sort key"),
        (["settle", EVENTS, "--yes"], '{"books": 1}', "is an object with 'books'"),
        (["settle", EVENTS, "--yes"], json.dumps(ITEM) * 2, "give one event, or one text of to_json()"),
        (["settle", EVENTS, "--ttl-hours", "1"], "", "must be a whole number of at least 25"),
        (["resolve", DEDUP, "k", "t"], "", "one of the arguments --result --forget is required"),
        (["resolve", DEDUP, "k", "t", "--result", "{"], "", "argument --result"),
        (["parked", "list", PARKING, "--region", "no region"], "", "region"),
    ],
)
def test_bad_input_exits_with_two(command: Callable[..., Said], arguments: list[str], given: str, problem: str) -> None:
    """A mistake in the call names the argument and exits with 2."""
    said = command(*arguments, given=given)
    assert (said.status, said.lines) == (2, [])
    assert problem in said.err


def test_a_text_of_another_table_is_refused(engine: MiniStack, command: Callable[..., Said]) -> None:
    """`settle` refuses an error's text about another events table."""
    text, _ = uncertain(engine)
    said = command("settle", PARKING, "--yes", given=text)
    assert said.status == 2
    assert "the text is about the events table 'orders-events'" in said.err
