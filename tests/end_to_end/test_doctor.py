"""The installed `doctor` on stacks that the engine deploys: what the engine lacks, planted mistakes, bad input."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.operations.definition import Consumer, Infrastructure
from dynamo_outbox.operations.template import to_template, to_yaml
from dynamo_outbox.testing import FaultProxy, MiniStack, error_response
from local.stack import Stack, deploy

from .test_command import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_outbox.testing import Fault

    from .test_command import Said

pytestmark = pytest.mark.engine

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "books"
STATED = ("--park-after", "12", "--event-ttl", "168", "--dedup-ttl", "8", "--lease", "900")
NOT_IN_THE_ENGINE = {"no-event-count"}
"""MiniStack drops MetricsConfig; its CloudFormation also ignores TTL and recovery, so the fixture sets those."""
NOT_ALARMED = "no alarm on Invocations"
"""MiniStack drops the metrics of an alarm with an expression."""
NOT_READ = {"sqs:GetQueueUrl", "sqs:GetQueueAttributes", "pipes:DescribePipe"}
"""The queues refuse the engine's endpoint, which has no TLS; MiniStack does not return a pipe's parameters."""


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniStack]:
    with MiniStack() as running:
        yield running


@pytest.fixture(scope="module")
def deployed(engine: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stack]:
    """Return a function that deploys a template, or the generated one, as a stack with the functions' code left out."""
    folder = tmp_path_factory.mktemp("doctor")
    package = folder / "code.zip"
    with zipfile.ZipFile(package, "w") as content:
        content.writestr("app.py", "")
    topic = engine.client("sns").create_topic(Name="on-call")["TopicArn"]
    generated = folder / "template.yaml"
    generated.write_text(to_yaml(to_template(Infrastructure(consumers=(Consumer("Billing"),)))))

    def deploy_as(name: str, template: Path | None = None, **parameters: str) -> Stack:
        stack = deploy(engine, name, template or generated, {"AlarmTopic": topic, **parameters}, package)
        dynamodb = engine.client("dynamodb")
        for key, each in stack.resources.items():
            if each["Type"] == "AWS::DynamoDB::Table":
                table, properties = {"TableName": stack.physical_ids[key]}, each["Properties"]
                recovery = {"PointInTimeRecoveryEnabled": True}
                dynamodb.update_continuous_backups(**table, PointInTimeRecoverySpecification=recovery)
                if ttl := properties.get("TimeToLiveSpecification"):
                    dynamodb.update_time_to_live(**table, TimeToLiveSpecification={**ttl, "Enabled": True})
        return stack

    return deploy_as


@pytest.fixture(scope="module")
def shop(deployed: Callable[..., Stack]) -> Stack:
    return deployed("shop")


def findings(said: Said) -> set[str]:
    return {each["check"] for each in said.lines if each["severity"] != "unknown"}


@pytest.mark.parametrize(
    ("name", "template", "parameters"),
    [
        ("books-pipe", "template.yaml", {"Relay": "pipe"}),
        ("books-relay", "template.yaml", {"Relay": "lambda"}),
        ("books-cdc", "template.cdc.yaml", {}),
    ],
)
def test_nothing_is_wrong_with_the_example(
    engine: MiniStack, deployed: Callable[..., Stack], name: str, template: str, parameters: dict[str, str]
) -> None:
    """In the deployed books example, doctor finds only what the engine lacks."""
    deployed(name, EXAMPLE / template, **parameters)
    said = run(engine.endpoint_url, "doctor", name, *STATED, "--check-roles")
    known = [each for each in said.lines if each["severity"] != "unknown" and each["problem"] != NOT_ALARMED]
    assert {each["check"] for each in known} <= NOT_IN_THE_ENGINE, said.lines
    assert said.status == 0
    assert {each["needed"] for each in said.lines if each["severity"] == "unknown"} <= NOT_READ


def test_nothing_is_wrong_with_the_generated_stack(engine: MiniStack, shop: Stack) -> None:
    """In the generated template's stack, doctor finds only what the engine lacks; named resources give the same."""
    by_stack = run(engine.endpoint_url, "doctor", "shop", *STATED)
    by_name = run(engine.endpoint_url, "doctor", "--function", shop.physical_ids["OutboxRelay"], *STATED)
    for said in (by_stack, by_name):
        assert (said.status, findings(said)) == (0, NOT_IN_THE_ENGINE), said.lines
        assert {each["needed"] for each in said.lines if each["severity"] == "unknown"} <= NOT_READ
    assert run(engine.endpoint_url, "doctor", "shop", *STATED, "--strict").status == 1


def test_planted_mistakes_are_found(engine: MiniStack, deployed: Callable[..., Stack]) -> None:
    """A disabled mapping, a stream that is off, a deleted bus, alarm and table are found, each with what to do."""
    stack = deployed("planted")
    ids, dynamodb = stack.physical_ids, engine.client("dynamodb")
    [mapping] = engine.client("lambda").list_event_source_mappings(FunctionName=ids["OutboxRelay"])[
        "EventSourceMappings"
    ]
    engine.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    dynamodb.update_table(TableName=ids["EventsTable"], StreamSpecification={"StreamEnabled": False})
    dynamodb.update_table(TableName=ids["ParkingTable"], DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=ids["ParkingTable"])
    engine.client("events").remove_targets(
        Rule=ids["BillingRule"].split("|")[-1], EventBusName=ids["Bus"], Ids=["consumer"]
    )
    engine.client("cloudwatch").delete_alarms(AlarmNames=[ids["OutboxRelayBehind"]])
    said = run(engine.endpoint_url, "doctor", "planted", *STATED)
    assert said.status == 1
    planted = {"reader-stopped", "stream-off", "missing", "rule-without-target", "alarm-missing"}
    assert planted <= findings(said)
    assert all(each["cost"] and each["fix"] for each in said.lines if each["severity"] != "unknown")


def test_a_missing_permission_is_named(engine: MiniStack, shop: Stack) -> None:
    """Without a permission, doctor names the action, and reports nothing that it can't know."""

    def script(operation: str, _count: int) -> Fault | None:
        return error_response("AccessDeniedException") if operation == "DescribeTimeToLive" else None

    with FaultProxy(engine.endpoint_url, script=script) as proxy:
        said = run(proxy.endpoint_url, "doctor", "--table", shop.physical_ids["EventsTable"], *STATED)
    assert "ttl-off" not in findings(said)
    assert "dynamodb:DescribeTimeToLive" in {each.get("needed") for each in said.lines}


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ([], 2, "name a stack, or at least one --table, --function, --pipe, --bus or --queue"),
        (["shop", "--lease", "0"], 2, "must be a whole number of at least 1"),
        (["shop", "--region", "no region"], 2, "region"),
        (["no-such-stack"], 1, "does not exist"),
        (["--bus", "nowhere"], 1, "errors: 1"),
    ],
)
def test_bad_input(engine: MiniStack, arguments: list[str], status: int, problem: str) -> None:
    """Wrong arguments exit with 2, and a stack or bus that does not exist with 1; each is named."""
    said = run(engine.endpoint_url, "doctor", *arguments)
    assert said.status == status
    assert problem in said.err


def test_missing_credentials_are_explained() -> None:
    """Without credentials, doctor says how to name them."""
    identity: dict[str, Any] = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    said = run("http://127.0.0.1:9", "doctor", "shop", **identity)
    assert (said.status, said.lines) == (1, [])
    assert "Name a profile by --profile" in said.err
