"""Facts that an account can settle: each as documented, as the library assumes it, and as observed."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from dynamo_outbox import Event, EventBridgePublisher, TransactionalOutbox, decode_records, parse_events
from dynamo_outbox.errors import OutboxError
from dynamo_outbox.operations.deployment import Names, read
from dynamo_outbox.operations.doctor import examine
from dynamo_outbox.operations.stored import relay_backlog
from dynamo_outbox.operations.stream_reader import stream_pages
from dynamo_outbox.options import Clock

from .stack import PROBE, SOURCE, outbox_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamo_outbox.operations.clients import Clients

__all__ = ["FACTS", "Fact", "NotObservedError", "Row", "Site", "conserve", "start"]

Found = TypeVar("Found")
QUOTED = 'a "quoted" text \\ with a backslash'
PAIRED = "VerifyAws.Pairs"
"""The source of events that no rule matches."""
PAIRS, WRITERS, DUPLICATES = 100, 8, 20
COUNT_SECONDS, ALARM_SECONDS = 900, 1800
"""Longest waits for what has to arrive, and for a state of the alarm."""


class NotObservedError(Exception):
    """A fact that this run can't settle; the text says why."""


class Row(NamedTuple):
    """A line of the table; `holds` is False if the library relies on something else."""

    question: str
    documented: str
    assumed: str
    observed: str
    holds: bool = True


@dataclass
class Site:
    """The deployed stack.

    Attributes:
        clients: AWS's clients.
        stack: The stack's name.
        ids: Physical ids by logical id.
        patience: Seconds to wait for something that may never arrive, from the start of the probes.
        alarms: Whether to stop the relay and wait for its alarm, which takes up to 25 minutes.
        is_local: Whether a local engine stands in for AWS.
        no_bus: Why the Custom Event Bus is missing; empty if it is there.
        sent: What the bus's probes published, by probe.
        received: The messages received from the bus's queues so far, by queue.
    """

    clients: Clients
    stack: str
    ids: Mapping[str, str]
    patience: float
    alarms: bool
    is_local: bool
    no_bus: str = ""
    sent: dict[str, Any] = field(default_factory=dict)
    received: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Let `patience` begin now."""
        self.deadline = time.monotonic() + self.patience

    def wait(self, look: Callable[[], Found | None], *, seconds: float | None = None) -> Found:
        """Return what `look` finds; raise NotObservedError if it finds nothing in time."""
        deadline = self.deadline if seconds is None else time.monotonic() + seconds
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise NotObservedError("nothing arrived in time")
            time.sleep(0.5)
        return found

    def accepted(self) -> tuple[str, bool]:
        """Return the observation for a request that AWS's pages say is refused."""
        if self.is_local:
            raise NotObservedError("the engine accepts it")
        return "accepted", False

    def message(self, queue: str, part: str = "") -> Mapping[str, Any]:
        """Return a message whose body contains a text."""

        def look() -> Mapping[str, Any] | None:
            return next((each for each in self.receive(queue) if part in each["Body"]), None)

        return self.wait(look)

    def receive(self, queue: str) -> list[dict[str, Any]]:
        """Receive messages, which stay in the queue."""
        options: Any = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "VisibilityTimeout": 0}
        found: list[dict[str, Any]] = (
            self.clients("sqs").receive_message(QueueUrl=self.ids[queue], **options).get("Messages", [])
        )
        return found


class Fact(NamedTuple):
    """A fact and its observation.

    Attributes:
        question: What is open.
        documented: What AWS's pages say.
        assumed: What the library relies on.
        observe: Returns the observation, and whether the library's assumption holds.
    """

    question: str
    documented: str
    assumed: str
    observe: Callable[[Site], tuple[str, bool]]

    def row(self, site: Site) -> Row:
        """Observe the fact."""
        try:
            observed, holds = self.observe(site)
        except NotObservedError as error:
            observed, holds = f"not observed: {error}", True
        except ClientError as error:
            observed, holds = f"not observed: {error}", True
        except (KeyError, TypeError, ValueError) as error:
            observed, holds = f"another shape than expected: {type(error).__name__}: {error}", False
        return Row(*self[:3], observed, holds)


def start(site: Site) -> None:
    """Trigger what the facts observe, so that all of it runs at the same time."""
    dynamodb = site.clients("dynamodb")
    items: tuple[dict[str, str], ...] = ({"pk": "both", "quoted": QUOTED, "absent": "there"}, {"pk": "missing"})
    for item in items:
        attributes = {name: {"S": value} for name, value in {"quoted": "text", **item}.items()}
        dynamodb.put_item(TableName=site.ids["ProbesTable"], Item=attributes)
    for name in ("raises", "reports"):
        dynamodb.put_item(TableName=site.ids["StateTable"], Item={"pk": {"S": name}})
    payload = b'{"detail": "an asynchronous call"}'
    site.clients("lambda").invoke(FunctionName=site.ids["Raises"], InvocationType="Event", Payload=payload)
    put_event(site, '{"there": "text"}')


def put_event(site: Site, detail: str, bus: str | None = None) -> Mapping[str, Any]:
    entry = {"Source": PROBE, "DetailType": "Probe", "Detail": detail, "EventBusName": bus or site.ids["Bus"]}
    found: Mapping[str, Any] = site.clients("events").put_events(Entries=[entry])
    return found


def conserve(site: Site, number: int) -> list[Row]:
    """Write events in transactions, and count them at the bus and in the consumer's effects."""
    dynamodb, state = site.clients("dynamodb"), site.ids["StateTable"]
    outbox = TransactionalOutbox(site.ids["EventsTable"], source=SOURCE, client=dynamodb)
    committed: dict[str, Event] = {}
    for at in range(number):
        about: Any = {"aggregate_type": "Book", "aggregate_id": str(at % 50), "sequence": at}
        event = Event("Added", {"n": at, "text": f"{QUOTED} \u2028 ü"}, source=SOURCE, **about)
        with outbox.transaction() as tx:
            tx.put(state, {"pk": f"entity#{at}"})
            tx.emit(event)
        committed[event.id] = event
    arrived: Counter[str] = Counter()
    equal: set[str] = set()

    def everything(wanted: set[str]) -> Callable[[], bool | None]:
        def look() -> bool | None:
            while messages := receive_all(site, "Tap"):
                for event in (each.event for each in messages):
                    arrived[event.id] += 1
                    equal.update({event.id} if event == committed.get(event.id) else ())
            return True if wanted <= arrived.keys() else None

        return look

    def applied() -> dict[str, int]:
        pages = dynamodb.get_paginator("scan").paginate(TableName=state, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        return {item["pk"]["S"]: int(item["applied"]["N"]) for item in items if "applied" in item}

    def handled(wanted: set[str]) -> Callable[[], bool | None]:
        return lambda: True if wanted <= applied().keys() else None

    again = [*committed.values()][:DUPLICATES]
    last = Event("Added", {"n": -1}, source=SOURCE)
    waited = ""
    try:
        site.wait(everything({*committed}), seconds=COUNT_SECONDS)
        site.wait(handled({*committed}), seconds=COUNT_SECONDS)
        EventBridgePublisher(site.ids["Bus"], client=site.clients("events")).publish([*again, last])
        site.wait(handled({last.id}), seconds=COUNT_SECONDS)
    except NotObservedError:
        waited = f", after {COUNT_SECONDS} s"
    counts = applied()
    once = sum(counts.get(each) == 1 for each in committed)
    more = sum(counts.get(each, 0) > 1 for each in committed)
    return [
        Row(
            "Does every committed event arrive at the bus, equal to what was written?",
            "at least once, by stream and mapping",
            "yes, through the relay",
            f"{len(equal)} of {number} committed events arrived equal{waited}",
            len(equal) == number,
        ),
        Row(
            "Does every committed event take effect exactly once?",
            "a rule delivers at least once",
            f"yes, by the inbox; {len(again)} events are sent again on purpose",
            f"{once} of {number} effects were applied once, {more} more often{waited}",
            once == number,
        ),
    ]


def receive_all(site: Site, queue: str) -> list[Any]:
    """Receive and delete messages of a queue; return what `parse_events` makes of them."""
    sqs, url = site.clients("sqs"), site.ids[queue]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    found = [*parse_events({"Messages": messages})] if messages else []
    for each in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return found


def pipe_quotes(site: Site) -> tuple[str, bool]:
    body = site.message("PipeAnswers", "both")["Body"]
    try:
        same = json.loads(body)["quoted"] == QUOTED
    except ValueError:
        return f"not escaped: the result is not JSON: {body}", True
    return "escaped" if same else f"changed: {body}", True


def pipe_missing_path(site: Site) -> tuple[str, bool]:
    return site.message("PipeAnswers", "missing")["Body"], True


def rule_missing_path(site: Site) -> tuple[str, bool]:
    body = site.message("RuleAnswers")["Body"]
    return body, True


def rule_dead_letter(site: Site) -> tuple[str, bool]:
    message = site.message("RuleDeadLetters")
    body = json.loads(message["Body"])
    what = "the event" if "detail-type" in body else "the transformed input"
    attributes = ", ".join(
        f"{name} ({each['DataType']})" for name, each in sorted(message["MessageAttributes"].items())
    )
    return f"{what}; attributes {attributes}", what == "the event"


def pipe_dead_letter(site: Site) -> tuple[str, bool]:
    body = json.loads(site.message("PipeDeadLetters")["Body"])
    shape = f"members {', '.join(sorted(body))}; condition {body.get('context', {}).get('condition')}"
    return shape, "DDBStreamBatchInfo" in body


def bucket_record(site: Site) -> tuple[str, bool]:
    s3, bucket = site.clients("s3"), site.ids["RelayFailures"]

    def look() -> str | None:
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return str(found[0]["Key"]) if found else None

    record = json.loads(s3.get_object(Bucket=bucket, Key=site.wait(look))["Body"].read())
    kind = "text" if isinstance(record.get("payload"), str) else "an object"
    try:
        read = f"decode_records reads {len(decode_records(record))} record"
    except OutboxError as error:
        return f"{kind}; {error}", False
    return f"{kind}; {read}", True


def queue_record(site: Site) -> tuple[str, bool]:
    record = json.loads(site.message("StreamFailures")["Body"])
    error = json.dumps(record.get("responseContext", {}).get("functionError"))
    shape = (
        f"members {', '.join(sorted(record))}; condition {record['requestContext']['condition']}; functionError {error}"
    )
    return shape, "DDBStreamBatchInfo" in record


def async_record(site: Site) -> tuple[str, bool]:
    record = json.loads(site.message("AsyncFailures")["Body"])
    qualified = "with" if record["requestContext"]["functionArn"].endswith(":$LATEST") else "without"
    condition = record["requestContext"]["condition"]
    shape = f"members {', '.join(sorted(record))}; condition {condition}; ARN {qualified} qualifier"
    return shape, isinstance(record.get("requestPayload"), dict)


def order_of_two_puts(site: Site) -> tuple[str, bool]:
    """Put pairs of events in one transaction each; look for pairs that the stream has in the other order."""
    dynamodb, table = site.clients("dynamodb"), site.ids["EventsTable"]
    outbox = TransactionalOutbox(table, source=PAIRED, client=dynamodb)
    for at in range(PAIRS):
        with outbox.transaction() as tx:
            for sequence in (1, 2):
                about: Any = {"aggregate_type": "Pair", "aggregate_id": str(at), "sequence": sequence}
                tx.emit(Event("Paired", {}, source=PAIRED, **about))
    arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]

    def look() -> list[list[str]] | None:
        seen: dict[str, list[str]] = {}
        for page in stream_pages(site.clients("dynamodbstreams"), arn, Clock().now()):
            for key in (record["dynamodb"]["Keys"] for record in page):
                if key["pk"]["S"].startswith("Pair#"):
                    seen.setdefault(key["pk"]["S"], []).append(key["sk"]["S"])
        return [*seen.values()] if sum(map(len, seen.values())) >= 2 * PAIRS else None

    pairs = site.wait(look, seconds=COUNT_SECONDS)
    return f"{sum(pair != sorted(pair) for pair in pairs)} of {len(pairs)} pairs reversed", True


def too_large(site: Site) -> tuple[str, bool]:
    try:
        put_event(site, json.dumps({"text": "x" * 1_200_000}))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"HTTP {status}, error code {error.response['Error']['Code']}", True
    return site.accepted()


def malformed(site: Site) -> tuple[str, bool]:
    code = put_event(site, "[]")["Entries"][0].get("ErrorCode")
    return (code, code == "MalformedDetail") if code else site.accepted()


def missing_bus(site: Site) -> tuple[str, bool]:
    answer = put_event(site, "{}", bus="no-bus-of-this-name")
    code = answer["Entries"][0].get("ErrorCode")
    return f"HTTP 200, {code or 'accepted and dropped'}", True


def conflicts(site: Site) -> tuple[str, bool]:
    """Change one item from several threads; return the reasons of cancelled transactions."""
    key = {"pk": {"S": "contended"}}
    update: Any = {"Key": key, "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    dynamodb = site.clients("dynamodb")

    def write(_: int) -> set[str]:
        try:
            dynamodb.transact_write_items(TransactItems=[{"Update": {"TableName": site.ids["StateTable"], **update}}])
        except dynamodb.exceptions.TransactionCanceledException as error:
            return {each["Code"] for each in error.response["CancellationReasons"]}
        return set()

    with ThreadPoolExecutor(WRITERS) as pool:
        codes = set[str]().union(*pool.map(write, range(WRITERS * 25)))
    if not codes:
        raise NotObservedError(f"{WRITERS * 25} writes from {WRITERS} threads met no conflict")
    return ", ".join(sorted(codes)), codes <= {"TransactionConflict", "ThrottlingError"}


def mapping_result(site: Site) -> tuple[str, bool]:
    found = site.clients("lambda").get_event_source_mapping(UUID=site.ids["RaisesStream"])
    text = found.get("LastProcessingResult", "")
    if not text:
        raise NotObservedError("the mapping has no result")
    return text, True


def doctors_errors(site: Site) -> tuple[str, bool]:
    """Let doctor examine the stack; the probes are wrong on purpose, so only errors of the outbox count."""
    findings, _ = examine(read(Names([site.stack]), clients=site.clients))
    own = {site.ids[name] for name in outbox_template()["Resources"] if name in site.ids} - {site.stack}
    errors = [each for each in findings if each.severity == "error" and any(name in each.subject for name in own)]
    if errors and site.is_local:
        raise NotObservedError(f"of this engine doctor says: {'; '.join(each.problem for each in errors)}")
    return "; ".join(f"{each.subject} {each.problem}" for each in errors) or "none", not errors


def stopped_relay(site: Site) -> tuple[str, bool]:
    """Disable the relay's mapping and wait for the alarm."""
    if not site.alarms:
        raise NotObservedError("left out by --no-alarms")
    name = site.ids["OutboxRelayStopped"]

    def state(wanted: str) -> Callable[[], float | None]:
        def look() -> float | None:
            [alarm] = site.clients("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
            return time.monotonic() if alarm["StateValue"] == wanted else None

        return look

    try:
        began = site.wait(state("OK"), seconds=ALARM_SECONDS)
        site.clients("lambda").update_event_source_mapping(UUID=site.ids["OutboxRelayStream"], Enabled=False)
        fired = site.wait(state("ALARM"), seconds=ALARM_SECONDS)
    except NotObservedError:
        return f"the alarm did not follow the relay within {ALARM_SECONDS // 60} minutes", False
    age = relay_backlog(site.ids["OutboxRelay"], Clock().now(), clients=site.clients)["oldest_seconds"]
    silent = "has no data" if age is None else f"says {age} s"
    return f"off while the relay ran; on {(fired - began) / 60:.0f} minutes after its stop; IteratorAge {silent}", True


FACTS = (
    Fact(
        "Does a pipe escape quotes and backslashes in an inserted string?",
        "strings are quoted; values are not escaped",
        "nothing: templates insert objects only",
        pipe_quotes,
    ),
    Fact("What does a pipe insert for a missing path?", "nothing found", "nothing", pipe_missing_path),
    Fact("What does a rule insert for a missing path?", "an empty text, by a recording", "nothing", rule_missing_path),
    Fact(
        "What is in a rule's dead letter, with an input transformer?",
        "not said",
        "the event; anything else is reported and stays",
        rule_dead_letter,
    ),
    Fact("What does a pipe's dead letter look like?", "a pointer", "it has DDBStreamBatchInfo", pipe_dead_letter),
    Fact("Is the payload in a failure bucket text or an object?", "escaped JSON text", "both are read", bucket_record),
    Fact(
        "What is a pointer after batchItemFailures?",
        "functionError is null, by a recording",
        "it has DDBStreamBatchInfo",
        queue_record,
    ),
    Fact("What is a failed asynchronous call's record?", "the event in requestPayload", "the same", async_record),
    Fact(
        "In which order does the stream have two puts of one transaction?",
        "no promise between two items",
        "none",
        order_of_two_puts,
    ),
    Fact(
        "How does PutEvents refuse an entry of 1.2 MB?",
        "at most 1 MB",
        "HTTP 413 without a code, or a ValidationException",
        too_large,
    ),
    Fact("How does PutEvents refuse a detail that is a list?", "MalformedDetail", "the same", malformed),
    Fact("What does PutEvents do with a bus that does not exist?", "it drops the event", "the same", missing_bus),
    Fact(
        "Why is a transaction cancelled under contention?",
        "TransactionConflict",
        "TransactionConflict is retried",
        conflicts,
    ),
    Fact("What does a mapping say after a failure?", "free text", "nothing", mapping_result),
    Fact("Which errors does doctor find in what template makes?", "nothing to find", "none", doctors_errors),
    Fact(
        "Does the alarm of a stopped relay fire?",
        "a disabled mapping sends no PolledEventCount, an idle one sends 0",
        "the alarm is on when PolledEventCount is missing for 15 minutes",
        stopped_relay,
    ),
)
