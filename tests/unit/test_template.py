"""The template of an outbox's infrastructure: what a security reviewer asks, and what CloudFormation accepts."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.cli import main
from dynamo_outbox.operations.definition import NUMBERS, Consumer, Infrastructure
from dynamo_outbox.operations.replay import DEDUP_TTL
from dynamo_outbox.operations.template import RUNTIME, to_template, to_yaml
from dynamo_outbox.pipes import PipeDefinition, outbox_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026-11-01T08:00:00.123"
CONSUMERS = (
    Consumer("Direct", event_types=("OrderPlaced",), sources=("shop",)),
    Consumer("Standard", delivery="queue", dedup="idempotent"),
    Consumer("Fifo", delivery="fifo", dedup="none"),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "pipe": to_template(Infrastructure("pipe", consumers=CONSUMERS)),
    "relay": to_template(
        Infrastructure(consumers=CONSUMERS), alarm_topic="arn:aws:sns:eu-central-1:123456789012:on-call"
    ),
    "cdc": to_template(Infrastructure("cdc", "books", consumers=CONSUMERS), keep=False),
    "without parking and consumers": to_template(Infrastructure(redrive="")),
    "without a schedule": to_template(Infrastructure(redrive_rate="")),
    "CloudFormation": to_template(Infrastructure(consumers=CONSUMERS), sam=False),
    "existing table and bus": to_template(Infrastructure("pipe", stream_arn=STREAM, bus="orders", consumers=CONSUMERS)),
    "existing bus by ARN": to_template(
        Infrastructure(
            "cdc",
            stream_arn=STREAM,
            bus="arn:aws:events:eu-central-1:123456789012:event-bus/orders",
            consumers=CONSUMERS,
        )
    ),
    "new Custom Event Bus": to_template(Infrastructure(name="books", custom_bus=True, consumers=CONSUMERS)),
    "new Custom Event Bus in CDC mode": to_template(
        Infrastructure("cdc", custom_bus=True, consumers=CONSUMERS), sam=False
    ),
    "Custom Event Bus": to_template(
        Infrastructure(bus="arn:aws:events:eu-central-1:123456789012:event-busv2/orders/EX1")
    ),
}
every = pytest.mark.parametrize("variant", VARIANTS)


def of_type(variant: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of a variant's resources of a type, by logical id."""
    resources = VARIANTS[variant]["Resources"]
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == f"AWS::{kind}"}


def functions(variant: str) -> dict[str, dict[str, Any]]:
    return of_type(variant, "Serverless::Function") | of_type(variant, "Lambda::Function")


def statements(variant: str) -> Iterator[dict[str, Any]]:
    """Yield the statements of all roles, with actions and resources as lists."""
    for role in of_type(variant, "IAM::Role").values():
        assert "ManagedPolicyArns" not in role
        for policy in role["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]


@every
def test_cloudformation_accepts_the_template(variant: str) -> None:
    """cfn-lint has nothing to say about any variant."""
    from cfnlint.api import lint  # not among the packages of the wheel's tests

    assert [str(each) for each in lint(to_yaml(VARIANTS[variant]))] == []


@every
def test_roles_allow_named_actions_on_named_resources(variant: str) -> None:
    """No role allows a wildcard action, or every resource; ListStreams is for one table's streams."""
    found = [*statements(variant)]
    for statement in found:
        assert not [action for action in statement["Action"] if "*" in action]
        assert statement["Resource"] != "*"
    (listing,) = (each["Resource"] for each in found if each["Action"] == ["dynamodb:ListStreams"])
    assert json.dumps(listing).count("/stream/*") == 1


@every
def test_each_function_has_a_role_and_a_log_of_its_own(variant: str) -> None:
    """A function's role writes to its own log group only, and log lines expire."""
    logs = of_type(variant, "Logs::LogGroup")
    assert logs.keys() == {f"{name}Log" for name in functions(variant)}
    assert {each["RetentionInDays"] for each in logs.values()} <= {NUMBERS.log_days}
    for name, function in functions(variant).items():
        assert function["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert function["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Log"}}
        (policy,) = of_type(variant, "IAM::Role")[f"{name}Role"]["Policies"]
        writing = [each for each in policy["PolicyDocument"]["Statement"] if "logs:PutLogEvents" in each["Action"]]
        assert [each["Resource"] for each in writing] == [{"Fn::GetAtt": [f"{name}Log", "Arn"]}]


@every
def test_queues_take_messages_from_their_rules_only(variant: str) -> None:
    """A queue's policy names the rules that may send to it; queues and buckets refuse requests without TLS."""
    policies = of_type(variant, "SQS::QueuePolicy") | of_type(variant, "S3::BucketPolicy")
    assert policies.keys() == {
        f"{name}Policy" for kind in ("SQS::Queue", "S3::Bucket") for name in of_type(variant, kind)
    }
    for policy in policies.values():
        deny, *allows = policy["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for allow in allows:
            ((operator, condition),) = allow["Condition"].items()
            assert (operator, allow["Action"]) == ("ArnEquals", "sqs:SendMessage")
            assert {arn["Fn::GetAtt"][0] for arn in condition["aws:SourceArn"]} <= of_type(
                variant, "Events::Rule"
            ).keys()
    for permission in of_type(variant, "Lambda::Permission").values():
        assert permission["SourceArn"]["Fn::GetAtt"][0] in of_type(variant, "Events::Rule")


@every
def test_each_rule_keeps_what_it_can_not_deliver(variant: str) -> None:
    """Each consumer's rule has a standard dead-letter queue that accepts it, with the longest retention."""
    for name, rule in of_type(variant, "Events::Rule").items():
        if "ScheduleExpression" in rule:
            continue
        (target,) = rule["Targets"]
        queue = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        assert of_type(variant, "SQS::Queue")[queue] == {
            "MessageRetentionPeriod": 1_209_600,
            "SqsManagedSseEnabled": True,
        }
        allow = of_type(variant, "SQS::QueuePolicy")[f"{queue}Policy"]["PolicyDocument"]["Statement"][1]
        assert {"Fn::GetAtt": [name, "Arn"]} in allow["Condition"]["ArnEquals"]["aws:SourceArn"]


@every
def test_encryption_costs_nothing(variant: str) -> None:
    """Queues and buckets have their services' keys, tables AWS's own: no request to KMS is billed."""
    assert all(each["SqsManagedSseEnabled"] for each in of_type(variant, "SQS::Queue").values())
    assert not any("SSESpecification" in each for each in of_type(variant, "DynamoDB::Table").values())
    for bucket in of_type(variant, "S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert "kms" not in json.dumps(VARIANTS[variant]).lower()


@every
def test_stored_data_expires_or_can_be_recovered(variant: str) -> None:
    """Buckets have a lifecycle rule and no public access; tables have recovery, and TTL if their items expire."""
    for bucket in of_type(variant, "S3::Bucket").values():
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", NUMBERS.failure_days)
        assert [*bucket["PublicAccessBlockConfiguration"].values()] == [True] * 4
    for name, table in of_type(variant, "DynamoDB::Table").items():
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        assert table.get("DeletionProtectionEnabled", False) == (variant != "cdc")
        expires = {"AttributeName": "expiresAt", "Enabled": True} if name in ("EventsTable", "DedupTable") else None
        assert table.get("TimeToLiveSpecification") == expires
    for each in VARIANTS[variant]["Resources"].values():
        if each["Type"] in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
            kept = "Delete" if variant == "cdc" else "Retain"
            assert (each["DeletionPolicy"], each["UpdateReplacePolicy"]) == (kept, "Retain")


@every
def test_functions_run_on_a_runtime_with_years_of_support(variant: str) -> None:
    """Functions run on arm64, on a runtime that Lambda supports for two more years."""
    ends = {"python3.13": date(2029, 6, 30)}  # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
    assert (ends[RUNTIME] - date(2026, 11, 29)).days > 2 * 365
    for function in functions(variant).values():
        assert (function["Runtime"], function["Architectures"]) == (RUNTIME, ["arm64"])


@every
def test_streams_are_read_to_the_end_and_in_order(variant: str) -> None:
    """A stream's reader starts at the oldest record, keeps the order, and stores what it gives up."""
    for mapping in of_type(variant, "Lambda::EventSourceMapping").values():
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        if "StartingPosition" in mapping:
            assert (mapping["StartingPosition"], mapping["ParallelizationFactor"]) == ("TRIM_HORIZON", 1)
            assert mapping["MaximumRetryAttempts"] == -1
            assert NUMBERS.park_after < mapping["MaximumRecordAgeInSeconds"] < 86_400
            assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["RelayFailures", "Arn"]}
            assert mapping["MetricsConfig"] == {"Metrics": ["EventCount"]}
    for pipe in of_type(variant, "Pipes::Pipe").values():
        parameters = (pipe["SourceParameters"], pipe["TargetParameters"])
        assert PipeDefinition.from_parameters(*parameters) == outbox_pipe()


@every
def test_queues_fit_their_functions(variant: str) -> None:
    """A message is invisible for six times the function's timeout, and its dead letter lives longer than it does."""
    for queue in of_type(variant, "SQS::Queue").values():
        if "RedrivePolicy" in queue:
            assert queue["VisibilityTimeout"] == 6 * NUMBERS.function_timeout
            dead_letters = of_type(variant, "SQS::Queue")[
                queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            ]
            assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
            assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
            assert dead_letters.get("FifoQueue") == queue.get("FifoQueue")


@pytest.mark.parametrize("variant", ["existing table and bus", "existing bus by ARN"])
def test_what_exists_is_used(variant: str) -> None:
    """An existing table and bus are not created; rules, roles and alarms name them as AWS does."""
    assert not {"EventsTable", "EntityTable", "Bus"} & VARIANTS[variant]["Resources"].keys()
    for alarm in of_type(variant, "CloudWatch::Alarm").values():
        named = {each["Name"]: each["Value"] for each in alarm.get("Dimensions", ())}
        assert named.get("EventBusName", "orders") == "orders"  # the name, also of a bus that is given by its ARN
    sources = {each["Source"] for each in of_type(variant, "Pipes::Pipe").values()} | {
        each["EventSourceArn"]
        for each in of_type(variant, "Lambda::EventSourceMapping").values()
        if "StartingPosition" in each
    }
    assert sources == {STREAM}
    assert any(each["Resource"] == STREAM.partition("/stream")[0] + "/stream/*" for each in statements(variant))


@every
def test_the_dashboard_shows_all_alarms(variant: str) -> None:
    """The dashboard has the state of each alarm, and a graph of each alarm's metric."""
    (dashboard,) = of_type(variant, "CloudWatch::Dashboard").values()
    states, *graphs = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    arns = [f"${{{name}.Arn}}" for name in of_type(variant, "CloudWatch::Alarm")]
    assert states["properties"]["alarms"] == arns
    assert [arn for each in graphs for arn in each["properties"]["annotations"]["alarms"]] == arns


def test_parked_records_are_redriven_on_a_schedule() -> None:
    """A schedule calls the redrive, unless the user wants none; without parking there is nothing to call."""
    schedule = VARIANTS["relay"]["Resources"]["RedriveRule"]["Properties"]
    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    assert schedule["Targets"] == [{"Id": "redrive", "Arn": {"Fn::GetAtt": ["Redrive", "Arn"]}}]
    assert "RedriveRule" not in VARIANTS["without a schedule"]["Resources"]
    assert not [name for name in VARIANTS["without parking and consumers"]["Resources"] if "Redrive" in name]


def test_names_can_be_given() -> None:
    """Physical names have the prefix, and logical ids can be replaced, wherever they are used."""
    template = to_template(Infrastructure("cdc", "books"), names={"EntityTable": "BooksTable"})
    assert template["Resources"]["BooksTable"]["Properties"]["TableName"] == "books-entities"
    assert template["Resources"]["Bus"]["Properties"]["Name"] == "books"
    assert "EntityTable" not in json.dumps(template)


def test_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without PyYAML the command says what to install, or to choose JSON; a wrong name is refused."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SystemExit) as caught:
        main(["template"])
    assert caught.value.code == 2
    assert "pip install 'dynamo-outbox[cli]', or add --format json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["template", "--consumer", "bil-ling"])
    assert "not 'bil-ling'" in capsys.readouterr().err


def test_subscribers_keep_order_and_fit_what_they_call() -> None:
    """Each consumer has a subscriber that waits for it, one event a call, with dead letters that keep the order."""
    variant = "new Custom Event Bus"
    subscribers = of_type(variant, "EventsV2::Subscriber")
    assert [each["Type"] for each in subscribers.values()] == ["FIFO", "UNORDERED", "FIFO"]
    direct, standard, fifo = (each["InvokeConfiguration"] for each in subscribers.values())
    assert direct["LambdaParameters"] == {"InvocationType": "REQUEST_RESPONSE", "InvocationTimeoutSeconds": "30"}
    assert functions(variant)["Direct"]["Timeout"] < 30
    assert "SqsParameters" not in standard
    assert fifo["SqsParameters"]["MessageGroupId"] == "{% $events.SystemMetadata.EventGroupId %}"
    queues = of_type(variant, "SQS::Queue")
    (bus,) = of_type(variant, "EventsV2::EventBus").values()
    days = bus["StorageConfiguration"]["RetentionPeriodInDays"]
    for name, each in subscribers.items():
        queue = queues[each["OnFailureConfiguration"]["Arn"]["Fn::GetAtt"][0]]
        assert queue.get("FifoQueue", False) == (each["Type"] == "FIFO")
        assert queue["MessageRetentionPeriod"] == days * 86_400 < DEDUP_TTL.total_seconds()
        assert each["BatchConfiguration"]["MaxBatchSize"] == 1
        after = VARIANTS[variant]["Resources"][name].get("DependsOn")
        assert after == {"StandardSubscriber": "DirectSubscriber", "FifoSubscriber": "StandardSubscriber"}.get(name)
    assert not of_type(variant, "Events::Rule").keys() - {"RedriveRule"}
