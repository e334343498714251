"""The templates: held to the library's definitions and to each other, so that they can't drift apart."""

from __future__ import annotations

import ast
from datetime import timedelta
from inspect import signature
from typing import Any

import pytest
import yaml

from dynamo_outbox import TransactionalOutbox
from dynamo_outbox.pipes import PipeDefinition, outbox_pipe
from dynamo_outbox.relaying.processors import DEFAULT_PARK_AFTER
from dynamo_outbox.writing.commit import DOUBT_WAITS
from local.packaging import EXAMPLE
from local.stack import _TemplateLoader

TEMPLATES = ["template.yaml", "template.cdc.yaml"]


def resources_of(template: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    return {name: {"Properties": {}, **resource} for name, resource in document["Resources"].items()}


def of_type(kind: str, template: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, resource) for name, resource in resources_of(template).items() if resource["Type"] == kind]


def statements_of(role: dict[str, Any]) -> list[dict[str, list[str]]]:
    """A role's statements, with actions and resources as lists."""
    return [
        {key: each if isinstance(each, list) else [each] for key, each in statement.items()}
        for policy in role["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def test_the_pipe_is_the_librarys() -> None:
    """What template.yaml deploys as its pipe is what `outbox_pipe` defines and the tests render."""
    pipe = resources_of("template.yaml")["EventsPipe"]["Properties"]
    definition = outbox_pipe()
    assert PipeDefinition.from_parameters(pipe["SourceParameters"], pipe["TargetParameters"]) == definition
    assert pipe["SourceParameters"] == definition.source_parameters("RelayDeadLetters.Arn")
    assert pipe["TargetParameters"] == definition.target_parameters()


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_function_has_a_handler(template: str) -> None:
    """Every handler that a template names is defined in the code that is packaged, in at most 20 lines."""
    for name, resource in resources_of(template).items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        module, _, handler = resource["Properties"]["Handler"].rpartition(".")
        tree = ast.parse((EXAMPLE / "src" / f"{module.replace('.', '/')}.py").read_text())
        defined = {
            target: node
            for node in tree.body
            for target in (
                [node.name]
                if isinstance(node, ast.FunctionDef)
                else [each.id for each in node.targets if isinstance(each, ast.Name)]
                if isinstance(node, ast.Assign)
                else []
            )
        }
        assert handler in defined, name
        node = defined[handler]
        assert (node.end_lineno or 0) - node.lineno < 20, name


@pytest.mark.parametrize("template", TEMPLATES)
def test_streams_are_read_from_their_beginning_and_fail_somewhere(template: str) -> None:
    """Whatever reads a stream starts at its oldest record and has a place for what it can't handle."""
    for resource in resources_of(template).values():
        for event in resource["Properties"].get("Events", {}).values():
            if event["Type"] != "DynamoDB":
                continue
            mapping = event["Properties"]
            assert mapping["StartingPosition"] == "TRIM_HORIZON"
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert mapping["BisectBatchOnFunctionError"] is True
            assert mapping["MaximumRetryAttempts"] == -1  # what can't be published is parked, and no attempt too few
            assert timedelta(seconds=mapping["MaximumRecordAgeInSeconds"]) > DEFAULT_PARK_AFTER
            assert mapping["DestinationConfig"]["OnFailure"]["Type"] == "S3"


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_role_may_do_everything(template: str) -> None:
    """No statement allows every action; none allows every resource but for ListStreams, which takes none; and no role
    has a managed policy, which would."""
    roles = dict(of_type("AWS::IAM::Role", template))
    assert roles
    for name, role in roles.items():
        assert "ManagedPolicyArns" not in role["Properties"], name
        for statement in statements_of(role):
            assert not any("*" in action for action in statement["Action"]), name
            assert statement["Resource"] != ["*"] or statement["Action"] == ["dynamodb:ListStreams"], name


def test_the_pipe_may_do_what_aws_says_it_needs() -> None:
    """The pipe's role is what the page on pipes' permissions lists, for this stream, bus and queue.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-permissions.html
    """
    assert statements_of(resources_of("template.yaml")["PipeRole"]) == [
        {
            "Effect": ["Allow"],
            "Action": ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
            "Resource": ["EventsTable.StreamArn"],
        },
        {"Effect": ["Allow"], "Action": ["dynamodb:ListStreams"], "Resource": ["*"]},
        {"Effect": ["Allow"], "Action": ["events:PutEvents"], "Resource": ["Bus.Arn"]},
        {"Effect": ["Allow"], "Action": ["sqs:SendMessage"], "Resource": ["RelayDeadLetters.Arn"]},
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_in_doubt_can_be_settled_in_time(template: str) -> None:
    """Functions have longer than an outbox asks again, and puts a void marker, by default."""
    document = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    asking = signature(TransactionalOutbox).parameters["retry"].default.timeout
    assert timedelta(seconds=document["Globals"]["Function"]["Timeout"]) >= 2 * asking + timedelta(
        seconds=sum(DOUBT_WAITS)
    )
    for name, function in of_type("AWS::Serverless::Function", template):
        assert function["Properties"].get("Timeout", 30) >= 30, name


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_function_writes_to_its_own_log_which_forgets(template: str) -> None:
    """Each function has a role and a log group of its own, may write to no other, and the lines go after a while."""
    resources = resources_of(template)
    for name, function in of_type("AWS::Serverless::Function", template):
        properties = function["Properties"]
        assert (properties["Role"], properties["LoggingConfig"]) == (f"{name}Role.Arn", {"LogGroup": f"{name}Log"})
        assert "Policies" not in properties, name
        assert resources[f"{name}Log"]["Properties"]["RetentionInDays"] <= 90
        assert [
            each["Resource"] for each in statements_of(resources[f"{name}Role"]) if "logs:" in each["Action"][0]
        ] == [[f"{name}Log.Arn"]]


@pytest.mark.parametrize("template", TEMPLATES)
def test_data_is_encrypted_and_outlives_mistakes(template: str) -> None:
    """Tables, queues and buckets are encrypted, tables can be taken back in time, and no replacement loses data."""
    for name, table in of_type("AWS::DynamoDB::Table", template):
        properties = table["Properties"]
        assert properties["SSESpecification"] == {"SSEEnabled": True}, name
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
    for name, queue in of_type("AWS::SQS::Queue", template):
        assert queue["Properties"] == {"MessageRetentionPeriod": 14 * 86400, "SqsManagedSseEnabled": True}, name
    for name, bucket in of_type("AWS::S3::Bucket", template):
        assert "BucketEncryption" in bucket["Properties"], name
        assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}, name
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for name, resource in of_type(kind, template):
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Delete", "Retain"), name


def test_the_consumers_are_the_same_in_both_modes() -> None:
    """Which mode an event comes from makes no difference to who consumes it and how."""
    outbox, cdc = (resources_of(template) for template in TEMPLATES)
    shared = [name for name in outbox if name.startswith(("Presentation", "BookAdded", "BookRemoved", "Consumer"))]
    assert len(shared) == 16
    for name in shared:
        assert outbox[name] == cdc[name]
