"""`dynamo-outbox replay` against the local engine: each place, each target, missing permissions, invalid calls."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest

import dynamo_outbox
from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, ParkingTable, TransactionalOutbox, parse_events
from dynamo_outbox.testing import MiniStack, wire_record

from ..contract.engine import key_schema
from ..doubles import StubBus
from .conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Load = Callable[[str], dict[str, Any]]

pytestmark = pytest.mark.engine

SOURCE = Path(dynamo_outbox.__file__).parents[1]
FUNCTION = """
def handler(event, context):
    if event["detail"]["data"]["n"] == 1:
        raise ValueError("no such shelf")
    return {"batchItemFailures": []}
"""
PROCESSOR = """
from dynamo_outbox import ChangeProcessor, Event, EventBridgePublisher

def to_events(record):
    return Event("Changed", {"n": int(record.new_image["pk"])})

processor = ChangeProcessor(EventBridgePublisher("BUS", source="Books"), to_events)
"""


class Ran(NamedTuple):
    """Exit status, JSON lines and standard error of a command."""

    status: int
    lines: list[dict[str, Any]]
    err: str

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of events sent and of failures."""
        return self.lines[-1]["sent"], self.lines[-1]["failures"]


class Site:
    """An events table with three events, a bus, and a queue that gets all events of the bus."""

    def __init__(self, engine: MiniStack, folder: Path, name: str = "") -> None:
        self.engine, self.folder, self.name = engine, folder, name or f"books-{uuid4().hex[:12]}"
        self.credentials = ("test", "test")
        self.dynamodb, self.sqs, self.s3 = (engine.client(service) for service in ("dynamodb", "sqs", "s3"))
        events = engine.client("events")
        self.dynamodb.create_table(TableName=self.name, **key_schema("pk", "sk", stream="NEW_IMAGE"))
        self.arrivals = self.sqs.create_queue(QueueName=f"{self.name}-arrivals")["QueueUrl"]
        events.create_event_bus(Name=self.name)
        pattern = json.dumps({"source": [{"prefix": ""}]})
        events.put_rule(Name=self.name, EventBusName=self.name, EventPattern=pattern)
        arn = f"arn:aws:sqs:{engine.region}:000000000000:{self.name}-arrivals"
        events.put_targets(Rule=self.name, EventBusName=self.name, Targets=[{"Id": "all", "Arn": arn}])
        outbox = TransactionalOutbox(self.name, source="Books", client=self.dynamodb)
        self.events = [
            Event("Added", {"n": number}, source="Books", aggregate_type="Book", aggregate_id=str(number), sequence=1)
            for number in range(3)
        ]
        for event in self.events:
            self.dynamodb.put_item(TableName=self.name, Item=outbox.transact_item(event)["Put"]["Item"])

    def records(self) -> list[dict[str, Any]]:
        """The stream's records, as Lambda delivers them."""
        arn = self.dynamodb.describe_table(TableName=self.name)["Table"]["LatestStreamArn"]
        streams = self.engine.client("dynamodbstreams")
        self.shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        start = {"StreamArn": arn, "ShardId": self.shard, "ShardIteratorType": "TRIM_HORIZON"}
        found = streams.get_records(ShardIterator=streams.get_shard_iterator(**start)["ShardIterator"])["Records"]
        return [wire_record(record, arn) for record in found]

    def failure(self, first: int, last: int, **more: Any) -> str:
        """A failure record of Lambda's that points to records by their positions."""
        records = self.records()[first : last + 1]
        ends = [records[at]["dynamodb"]["SequenceNumber"] for at in (0, -1)]
        info = {"shardId": self.shard, "startSequenceNumber": ends[0], "endSequenceNumber": ends[1]}
        return json.dumps({"DDBStreamBatchInfo": {**info, "streamArn": records[0]["eventSourceARN"]}, **more})

    def park(self, name: str = "") -> str:
        """Park the events of the table; return the parking table's name."""
        name = name or f"{self.name}-parking"
        self.dynamodb.create_table(TableName=name, **key_schema("pk", "sk"))
        parking = ParkingTable(name, client=self.dynamodb)
        bus = StubBus({"Added": "MalformedDetail"})
        OutboxRelay(EventBridgePublisher("x", client=bus), parking=parking)({"Records": self.records()})
        return name

    def fill_bucket(self, name: str = "") -> str:
        """Put a failed batch into a bucket; return its URL."""
        name = name or self.name
        place: Any = {"LocationConstraint": self.engine.region}
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
        body = self.failure(0, 2, payload=json.dumps({"Records": self.records()}))
        self.s3.put_object(Bucket=name, Key="aws/lambda/1", Body=body)
        return f"s3://{name}/aws/lambda"

    def fill_queue(self, *bodies: str, name: str = "") -> str:
        """Send messages to a queue; return its name."""
        name = name or f"{self.name}-dead"
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        for body in bodies or (self.failure(0, 2),):
            self.sqs.send_message(QueueUrl=url, MessageBody=body)
        return name

    def arrived(self, url: str | None = None) -> list[Event]:
        """Receive and delete what is in a queue, by default that of the bus."""
        url, found = url or self.arrivals, list[Event]()
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += [each.event for each in parse_events({"Messages": messages})]
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found, key=lambda event: str(event.data.get("n")))

    def replay(self, *arguments: str) -> Ran:
        """Run the command; a bus is the target unless there is another."""
        key, secret = self.credentials
        user = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        environment = {**os.environ, **user, "PYTHONPATH": str(SOURCE)}
        options = ["--endpoint-url", self.engine.endpoint_url, "--region", self.engine.region] if arguments else []
        command = [COMMAND, "replay", *arguments, *options]
        ran = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)  # noqa: S603  # our own
        return Ran(ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr)

    def become(self, *actions: str) -> None:
        """Run later commands as a user who may do only this."""
        iam, name = self.engine.client("iam"), f"user-{uuid4().hex[:12]}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="replay", PolicyDocument=policy)
        self.credentials = key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniStack]:
    with MiniStack() as running:
        yield running


@pytest.fixture
def site(engine: MiniStack, tmp_path: Path) -> Site:
    return Site(engine, tmp_path)


PLACES: dict[str, Callable[[Site], list[str]]] = {
    "table": lambda site: ["table", site.name],
    "stream": lambda site: ["stream", site.name],
    "parking": lambda site: ["parking", site.park()],
    "bucket": lambda site: ["bucket", site.fill_bucket(), "--delete"],
    "queue": lambda site: ["queue", site.fill_queue()],
}
EMPTIED = {"parking", "bucket", "queue"}


@pytest.mark.parametrize("place", PLACES)
def test_each_place_is_replayed(site: Site, place: str) -> None:
    """A dry run prints count and cost only; the replay delivers the same events, and empties queues and the like."""
    arguments = [*PLACES[place](site), "--bus", site.name]
    dry = site.replay(*arguments, "--dry-run")
    messages = 1 if place == "queue" else 3
    assert (dry.status, dry.lines[0]["events"], dry.lines[0]["dollars"]) == (
        0,
        messages,
        pytest.approx(messages * 1e-6),
    )
    assert "2026-11-28, https://aws.amazon.com/eventbridge/pricing/" in dry.lines[0]["price"]
    assert site.arrived() == []
    ran = site.replay(*arguments, "--yes")
    assert (ran.status, ran.counts, ran.err) == (0, (3, 0), "")
    assert site.arrived() == site.events
    again = site.replay(*arguments, "--yes")
    assert (again.status, again.counts) == (0, (0 if place in EMPTIED else 3, 0))


def test_a_tables_events_are_chosen(site: Site) -> None:
    """Events are chosen by aggregate, by type and by time."""
    base = ["table", site.name, "--bus", site.name, "--yes"]
    assert site.replay(*base, "--aggregate", "Book#1", "--type", "Added").counts == (1, 0)
    assert [event.id for event in site.arrived()] == [site.events[1].id]
    assert site.replay(*base, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00+01:00").counts == (0, 0)


def test_a_checkpoint_is_kept(site: Site) -> None:
    """A second run with the same checkpoint sends nothing."""
    arguments = ["stream", site.name, "--bus", site.name, "--checkpoint", "progress", "--rate", "1000", "--yes"]
    assert site.replay(*arguments).counts == (3, 0)
    second = site.replay(*arguments)
    assert (second.counts, second.lines[-1]["sent_before"], len(site.arrived())) == ((0, 0), 3, 3)


def test_a_function_is_called(site: Site) -> None:
    """What a function handled is deleted; what it raised for is reported, stays, and is visible again."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("app.py", FUNCTION)
    role = site.engine.client("iam").create_role(RoleName=site.name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = {"FunctionName": site.name, "Runtime": "python3.11", "Handler": "app.handler", "Role": role}
    site.engine.client("lambda").create_function(**code, Code={"ZipFile": archive.getvalue()})
    queue = site.fill_queue(*(site.failure(at, at) for at in range(3)))
    ran = site.replay("queue", queue, "--function", site.name, "--yes")
    assert (ran.status, ran.counts) == (1, (2, 1))
    assert (ran.lines[0]["event_id"], ran.lines[0]["code"]) == (site.events[1].id, "FunctionError")
    assert "no such shelf" in ran.lines[0]["message"]
    url = site.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    assert len(site.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 1


def test_what_cannot_be_read_stays(site: Site, load_event: Load) -> None:
    """Events in dead letters are sent; a message without one, and a pointer that is too late, are reported and stay."""
    samples = [
        load_event(f"failures/{name}")["Body"] for name in ("rule_dlq_sqs", "async_destination_sqs", "pipe_dlq_sqs")
    ]
    ran = site.replay("queue", site.fill_queue(*samples, "no JSON"), "--bus", site.name, "--yes", "--dedup-ttl", "30")
    assert (ran.status, ran.counts) == (1, (2, 2))
    texts = sorted(line["message"] for line in ran.lines[:-1])
    assert "the stream no longer has these records" in texts[0]
    assert "JSONDecodeError" in texts[1]
    assert site.replay("queue", f"{site.name}-dead", "--bus", site.name, "--yes").counts == (0, 2)


def test_changes_need_the_processor(site: Site) -> None:
    """Without the processor a CDC table's changes are reported; with it they go to its own bus."""
    books = f"{site.name}-cdc"
    site.dynamodb.create_table(TableName=books, **key_schema("pk", stream="NEW_IMAGE"))
    site.dynamodb.put_item(TableName=books, Item={"pk": {"S": "7"}})
    without = site.replay("stream", books, "--bus", site.name, "--yes")
    assert (without.status, without.counts) == (1, (0, 1))
    assert "name the processor" in without.lines[0]["message"]
    (site.folder / "shop.py").write_text(PROCESSOR.replace("BUS", site.name))
    assert site.replay("stream", books, "--processor", "shop:processor", "--yes").counts == (1, 0)
    assert [event.data for event in site.arrived()] == [{"n": 7}]


def test_old_events_are_announced(site: Site) -> None:
    """An event older than the dedup records is named on standard error; --yes agrees to send it."""
    old = Event("Added", {"n": 0}, source="Books", time=datetime(2026, 1, 1, tzinfo=UTC))
    item = TransactionalOutbox(site.name, source="Books", client=site.dynamodb).transact_item(old)["Put"]["Item"]
    site.dynamodb.put_item(TableName=site.name, Item=item)
    ran = site.replay("table", site.name, "--bus", site.name, "--yes")
    assert (ran.status, ran.counts) == (0, (4, 0))
    assert (
        f"event {old.id} of 2026-01-01 00:00:00+00:00 is older than the consumers' dedup records of 8 days" in ran.err
    )


ACTIONS = {
    "table": ["dynamodb:DescribeTable", "dynamodb:Scan"],
    "table --aggregate Book#1": ["dynamodb:DescribeTable", "dynamodb:Query"],
    "stream": ["dynamodb:DescribeTable", "dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords"],
    "parking": ["dynamodb:DescribeTable", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
    "bucket": ["s3:ListBucket", "s3:GetObject", "s3:DeleteObject"],
    "queue": [
        *("sqs:GetQueueUrl", "sqs:ReceiveMessage", "dynamodb:GetShardIterator", "dynamodb:GetRecords"),
        *("sqs:DeleteMessage", "sqs:ChangeMessageVisibility"),
    ],
}
"""The permissions in docs/permissions.md, without that for the target."""


def test_the_permissions_page_has_these_actions() -> None:
    """The page's row of each place has exactly the actions that are tested here, and the one for counting."""
    page = (SOURCE.parent / "docs" / "permissions.md").read_text(encoding="utf-8")
    for place in PLACES:
        (row,) = re.findall(rf"^\| `replay {place}` \|(.*)$", page, re.MULTILINE)
        needed = {each for name, actions in ACTIONS.items() if name.split()[0] == place for each in actions}
        counting = {"sqs:GetQueueAttributes"} if place == "queue" else set()
        assert set(re.findall(r"`(\w+:\w+)`", row)) == (needed | counting) - {"dynamodb:DescribeTable"}


@pytest.mark.parametrize("place", ACTIONS)
def test_each_permission_is_needed_and_named(site: Site, place: str) -> None:
    """The documented permissions are enough, and without any of them the command says which one is missing."""
    name, *more = place.split()
    arguments = [*PLACES[name](site), "--bus", site.name, "--yes", *more]
    actions = [*ACTIONS[place], "events:PutEvents"]
    for missing in actions:
        is_for_kept = missing == "sqs:ChangeMessageVisibility"  # called only if a message stays, as here
        site.become(*({*actions} - {missing, "events:PutEvents" if is_for_kept else missing}))
        ran = site.replay(*arguments)
        if is_for_kept:
            site.fill_queue()  # the message that stayed is hidden for some time
        told = ran.err + json.dumps(ran.lines)
        assert ran.status == 1, (missing, ran)
        assert missing in told, (missing, ran)
        assert "Traceback" not in ran.err
    site.become(*actions)
    assert site.replay(*arguments).status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["table", "nowhere", "--bus", "b", "--yes"], 1, "ResourceNotFoundException"),
        (["stream", "nowhere", "--bus", "b", "--yes"], 1, "ResourceNotFoundException"),
        (["parking", "nowhere", "--bus", "b", "--yes"], 1, "ResourceNotFoundException"),
        (["queue", "nowhere", "--bus", "b", "--yes"], 1, "NonExistentQueue"),
        (["bucket", "s3://nowhere", "--bus", "b", "--yes"], 1, "NoSuchBucket"),
        (["table", "SITE", "--function", "nowhere", "--yes"], 1, "Function not found"),
        (["table", "SITE", "--bus", "b"], 2, "from table SITE to bus b? Add --yes"),
        (["table", "SITE"], 2, "name the target: --bus, --function, or --processor"),
        (["table", "SITE", "--bus", "b", "--function", "f"], 2, "not allowed with argument --bus"),
        (["table", "SITE", "--bus", "b", "--aggregate", "Book"], 2, "--aggregate Book must be TYPE#ID"),
        (["table", "SITE", "--bus", "b", "--from", "2026-11-28"], 2, "has no offset from UTC; write 2026-11-28T09"),
        (["table", "SITE", "--bus", "b", "--rate", "0"], 2, "must be a whole number of at least 1"),
        (["table", "SITE", "--bus", "", "--yes"], 2, "bus needs the name or the ARN"),
        (["bucket", "failures", "--bus", "b", "--yes"], 2, "failures must be s3://bucket/prefix"),
        (["stream", "SITE", "--bus", "b", "--processor", "shop"], 2, "is not of the form module:attribute"),
        (["table", "SITE", "--bus", "b", "--yes", "--checkpoint", "/"], 1, "IsADirectoryError"),
        (["elsewhere"], 2, "invalid choice"),
        ([], 2, "required: place"),
    ],
)
def test_a_wrong_call_is_explained(site: Site, arguments: list[str], status: int, problem: str) -> None:
    """A mistake is named, without a traceback, and nothing is sent."""
    ran = site.replay(*(each.replace("SITE", site.name) for each in arguments))
    assert ran.status == status
    assert problem.replace("SITE", site.name) in ran.err
    assert "Traceback" not in ran.err
    assert site.arrived() == []
