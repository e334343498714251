"""`make verify-aws` against the local engine: its table, its page, its question, and that nothing is left."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from verify_aws.__main__ import page_block
from verify_aws.custom_bus import BUS_FACTS
from verify_aws.probes import FACTS, Row

from dynamo_outbox.testing import MiniStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

from verify_aws.probes import Site

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "verified.md"
LISTS = (
    ("cloudformation", "list_stacks", "StackSummaries"),
    ("dynamodb", "list_tables", "TableNames"),
    ("lambda", "list_functions", "Functions"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings"),
    ("sqs", "list_queues", "QueueUrls"),
    ("s3", "list_buckets", "Buckets"),
    ("events", "list_event_buses", "EventBuses"),
    ("pipes", "list_pipes", "Pipes"),
    ("iam", "list_roles", "Roles"),
    ("cloudwatch", "describe_alarms", "MetricAlarms"),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniStack]:
    with MiniStack() as running:
        yield running


RUN = "import sys, verify_aws.__main__ as command\n{}\nsys.exit(command.main(sys.argv[1:]))"
"""Runs the command after a change of it."""
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"


@pytest.fixture
def start(engine: MiniStack) -> Iterator[Start]:
    """Return a function that starts the command, with few events and little patience; what still runs is ended."""
    options = ["--endpoint-url", engine.endpoint_url, "--events", "50", "--patience", "20", "--no-alarms"]
    paths = os.pathsep.join([str(PROJECT / "src"), str(PROJECT / "release")])
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, key: tuple[str, str] = ("test", "test"), first: str = "") -> subprocess.Popen[str]:
        user = {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1], "AWS_DEFAULT_REGION": engine.region}
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, *(["-c", RUN.format(first)] if first else ["-m", "verify_aws"]), *options, *arguments],
            env={**os.environ, **user, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def left(engine: MiniStack) -> list[object]:
    """Return what is in the account, apart from the default bus and deleted stacks.

    Log groups are left out: this engine creates one again for a function that is still running, which on AWS the
    function's role does not allow.
    """
    found = [each for service, call, name in LISTS for each in getattr(engine.client(service), call)().get(name, [])]
    kept = [each for each in found if isinstance(each, str) or each.get("StackStatus") != "DELETE_COMPLETE"]
    return [each for each in kept if isinstance(each, str) or each.get("Name") != "default"]


def test_the_page_is_what_the_command_observes(engine: MiniStack, start: Start, tmp_path: Path) -> None:
    """Every event is counted; the page has the observations of a run; everything is deleted."""
    copy = tmp_path / "verified.md"
    page = PAGE.read_text(encoding="utf-8")
    copy.write_text(page, encoding="utf-8")
    process = start("--yes", "--write", str(copy))
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert re.search(r"creates the stack dynamo-outbox-verify-\w+ .* in account 000000000000, eu-central-1", err)
    assert re.search(r"costs about 0\.\d\d dollars", err)
    without_day = [re.sub(r"Run on \S+ ", "", text) for text in (page, copy.read_text(encoding="utf-8"))]
    assert without_day[0] == without_day[1], "record it: python -m verify_aws --write docs/verified.md"
    assert "| 50 of 50 committed events arrived equal |" in page
    assert "| 50 of 50 effects were applied once, 0 more often |" in page
    assert left(engine) == []


def test_an_interrupted_run_deletes_everything(engine: MiniStack, start: Start) -> None:
    """After Ctrl-C the stack and its bucket are deleted."""
    process = start("--yes")
    assert process.stderr is not None
    for line in process.stderr:
        if "deployed" in line:
            assert left(engine) != []
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=120)
    assert (process.returncode, "verify-aws: deleted" in err, left(engine)) == (130, True, [])


def test_a_failed_run_deletes_everything(engine: MiniStack, start: Start) -> None:
    """A missing permission is named, and what was created is deleted; --delete of a stack that is gone does nothing."""
    iam = engine.client("iam")
    iam.create_user(UserName="verifier")
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "lambda:InvokeFunction", "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="verifier", PolicyName="most", PolicyDocument=policy)
    made = iam.create_access_key(UserName="verifier")["AccessKey"]
    process = start("--yes", key=(made["AccessKeyId"], made["SecretAccessKey"]))
    _, err = process.communicate(timeout=120)
    assert (process.returncode, left(engine)) == (1, []), err
    assert "lack the permission for InvokeFunction" in err
    again = start("--delete", re.findall(r"creates the stack (\S+)", err)[0])
    assert (again.communicate(timeout=60), again.returncode) == (("", ""), 0)


WITH_BUS = "command.why_no_bus = lambda *_, **__: ''"
WRONG = {"Bad": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "not.a.fifo.name", "FifoQueue": True}}}


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (WITH_BUS, "(ValidationError) when calling the CreateStack operation: Template format error"),
        (f"{WITH_BUS}\ncommand.bus_template = lambda: {{'Resources': {WRONG}}}", "-bus: CREATE_FAILED: "),
    ],
    ids=["refused", "failed"],
)
def test_the_bus_may_fail(engine: MiniStack, start: Start, first: str, reason: str) -> None:
    """If the Custom Event Bus can't be created, the other facts are observed, and both stacks are deleted."""
    process = start("--yes", "--patience", "1", first=first)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, left(engine)) == (0, []), err
    assert re.search(r"creates the stack (\S+) and the stack \1-bus and a bucket named \1 in", err)
    observed = {row["question"]: row["observed"] for row in map(json.loads, out.splitlines())}
    of_the_bus = {each.question for each in BUS_FACTS}
    assert [text for question, text in observed.items() if question in of_the_bus and reason not in text] == []
    assert observed["Does every committed event take effect exactly once?"].startswith("50 of 50 effects were applied")


class Recorded:
    """A site whose queues and bucket have what AWS stored elsewhere."""

    def __init__(self, load_event: Callable[[str], dict[str, Any]], name: str) -> None:
        self.sample, self.ids, self.is_local = load_event(f"failures/{name}"), {"RelayFailures": "failures"}, False

    def message(self, _queue: str) -> dict[str, Any]:
        return self.sample

    def wait(self, look: Callable[[], str | None]) -> str | None:
        return look()

    def clients(self, _service: str) -> Recorded:
        return self

    def list_objects_v2(self, **_: str) -> dict[str, Any]:
        return {"Contents": [{"Key": "1"}]}

    def get_object(self, **_: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(json.dumps(self.sample).encode())}


POINTER = "members DDBStreamBatchInfo, requestContext, responseContext, timestamp, version"


@pytest.mark.parametrize(
    ("question", "sample", "observed", "holds"),
    [
        ("rule's dead letter", "rule_dlq_sqs", "the event; attributes ", True),
        ("pipe's dead letter", "pipe_dlq_sqs", "condition RetryAttemptsExhausted", True),
        ("failure bucket", "esm_s3_payload_text", "text; decode_records reads 2 record", True),
        ("failure bucket", "esm_s3_payload_object", "an object; decode_records reads 2 record", True),
        ("after batchItemFailures", "esm_sqs_partial_failure_functionError_null", POINTER, True),
        ("after batchItemFailures", "pipe_dlq_sqs", "another shape than expected: KeyError", False),
        ("asynchronous call", "async_destination_sqs", "condition RetriesExhausted; ARN with qualifier", True),
    ],
)
def test_a_recorded_shape_is_observed(
    load_event: Callable[[str], dict[str, Any]], question: str, sample: str, observed: str, *, holds: bool
) -> None:
    """Data stored elsewhere are described; a shape that the probe does not know contradicts the assumption."""
    (fact,) = [each for each in FACTS if question in each.question]
    row = fact.row(cast("Site", Recorded(load_event, sample)))
    assert (row.holds, observed in row.observed) == (holds, True), row


def test_a_contradiction_is_marked() -> None:
    """The page marks what is not as assumed, and a cell can't end early."""
    block = page_block([Row("q", "d", "a", "x | y", holds=False)], "AWS", "2026-11-29")
    assert block.splitlines()[-1] == "| q | d | a | x \\| y **Not as assumed.** |"


def test_it_asks_first(engine: MiniStack, start: Start) -> None:
    """Without a terminal and without --yes nothing is created."""
    process = start()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, left(engine)) == (2, [])
    assert "Go on? Add --yes: there is no terminal to answer in" in err
