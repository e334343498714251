"""The templates match the library's definitions and each other."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from inspect import signature
from typing import Any

import pytest
import yaml

from dynamo_outbox import EventBridgePublisher, TransactionalOutbox
from dynamo_outbox.aws.clients import CONNECT_TIMEOUT, READ_TIMEOUT
from dynamo_outbox.operations.definition import Infrastructure
from dynamo_outbox.operations.template import RUNTIME, to_template
from dynamo_outbox.pipes import PipeDefinition, outbox_pipe
from dynamo_outbox.relaying.processors import DEFAULT_PARK_AFTER
from dynamo_outbox.writing.commit import DOUBT_WAITS
from generate import CONSUMERS, NAMES, templates
from local.packaging import EXAMPLE
from local.stack import _TemplateLoader

TEMPLATES = ["template.yaml", "template.custom-bus.yaml", "template.cdc.yaml"]


def resources_of(template: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    return {name: {"Properties": {}, **resource} for name, resource in document["Resources"].items()}


def of_type(kind: str, template: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, resource) for name, resource in resources_of(template).items() if resource["Type"] == kind]


def statements_of(role: dict[str, Any]) -> list[dict[str, list[str]]]:
    """Return a role's statements, with actions and resources as lists."""
    return [
        {key: each if isinstance(each, list) else [each] for key, each in statement.items()}
        for policy in role["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def test_the_pipe_is_the_librarys() -> None:
    """The pipe in template.yaml is the one that `outbox_pipe` defines and the tests render."""
    pipe = resources_of("template.yaml")["EventsPipe"]["Properties"]
    definition = outbox_pipe()
    assert PipeDefinition.from_parameters(pipe["SourceParameters"], pipe["TargetParameters"]) == definition
    assert pipe["SourceParameters"] == definition.source_parameters("RelayDeadLetters.Arn")
    assert pipe["TargetParameters"] == definition.target_parameters()


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_function_has_a_handler(template: str) -> None:
    """Every handler that a template names is defined in the packaged code, in at most 20 lines."""
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
    """Every stream reader starts at the oldest record and has a failure destination."""
    ((_, mapping),) = of_type("AWS::Lambda::EventSourceMapping", template)
    properties = mapping["Properties"]
    assert properties["StartingPosition"] == "TRIM_HORIZON"
    assert properties["MaximumRetryAttempts"] == -1  # the function parks failures; retries must not run out first
    assert timedelta(seconds=properties["MaximumRecordAgeInSeconds"]) > DEFAULT_PARK_AFTER
    assert properties["DestinationConfig"]["OnFailure"]["Destination"] == "RelayFailures.Arn"


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_role_may_do_everything(template: str) -> None:
    """No statement allows every action, or every resource. No role has a managed policy."""
    roles = dict(of_type("AWS::IAM::Role", template))
    assert roles
    for name, role in roles.items():
        assert "ManagedPolicyArns" not in role["Properties"], name
        for statement in statements_of(role):
            assert not any("*" in action for action in statement["Action"]), name
            assert statement["Resource"] != ["*"], name


def test_the_pipe_may_do_what_aws_says_it_needs() -> None:
    """The pipe's role has the permissions that AWS lists for pipes, for this stream, bus and queue.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-permissions.html
    """
    assert statements_of(resources_of("template.yaml")["PipeRole"]) == [
        {
            "Effect": ["Allow"],
            "Action": ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
            "Resource": ["EventsTable.StreamArn"],
        },
        {"Effect": ["Allow"], "Action": ["dynamodb:ListStreams"], "Resource": ["${EventsTable.Arn}/stream/*"]},
        {"Effect": ["Allow"], "Action": ["events:PutEvents"], "Resource": ["Bus.Arn"]},
        {"Effect": ["Allow"], "Action": ["sqs:SendMessage"], "Resource": ["RelayDeadLetters.Arn"]},
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_in_doubt_can_be_settled_in_time(template: str) -> None:
    """The functions' timeout covers an outbox's default retries and its void marker."""
    document = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    asking = signature(TransactionalOutbox).parameters["retry"].default.timeout
    longest = 2 * asking + timedelta(seconds=sum(DOUBT_WAITS))
    default = document["Globals"]["Function"]["Timeout"]
    for name, function in of_type("AWS::Serverless::Function", template):
        assert timedelta(seconds=function["Properties"].get("Timeout", default)) >= longest, name


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_silent_bus_leaves_time_to_park(template: str) -> None:
    """The functions' timeout covers a publisher's default retries, its last call to a silent server, and parking."""
    document = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    retrying = signature(EventBridgePublisher).parameters["retry"].default.timeout
    last_call = timedelta(seconds=CONNECT_TIMEOUT + READ_TIMEOUT)
    assert timedelta(seconds=document["Globals"]["Function"]["Timeout"]) >= retrying + 2 * last_call


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_function_writes_to_its_own_log_which_forgets(template: str) -> None:
    """Each function has its own role and log group, may not write to other log groups, and its log lines expire."""
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
def test_a_mistake_does_not_cost_the_data(template: str) -> None:
    """Tables have point-in-time recovery and AWS's own key; a replacement retains the data, a teardown does not."""
    for name, table in of_type("AWS::DynamoDB::Table", template):
        assert "SSESpecification" not in table["Properties"], name
        assert table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], name
    for kind in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
        for name, resource in of_type(kind, template):
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Delete", "Retain"), name


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_api_is_throttled(template: str) -> None:
    """A caller can't run up a bill through the open API: its requests a second are limited."""
    ((_, api),) = of_type("AWS::Serverless::HttpApi", template)
    assert 0 < api["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"] <= 10
    assert 0 < api["Properties"]["DefaultRouteSettings"]["ThrottlingBurstLimit"] <= 20


@pytest.mark.parametrize("template", TEMPLATES)
def test_all_functions_run_on_the_definitions_runtime(template: str) -> None:
    """The example's own functions run on the runtime and architecture of the generated ones."""
    document = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    default = document["Globals"]["Function"]
    for name, function in of_type("AWS::Serverless::Function", template):
        properties = default | function["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == (RUNTIME, ["arm64"]), name


def test_the_consumers_are_the_same_in_both_modes() -> None:
    """The consumers' resources are identical in both modes."""
    outbox, cdc = (resources_of(template) for template in ("template.yaml", "template.cdc.yaml"))
    shared = [name for name in outbox if name.startswith(("Presentation", "BookAdded", "BookRemoved", "Consumer"))]
    assert len(shared) == 28
    for name in shared:
        assert outbox[name] == cdc[name]


def test_the_templates_are_generated() -> None:
    """Each template is what `make templates` makes of the hand-written files and the library's definition."""
    for name, text in templates().items():
        assert (EXAMPLE / name).read_text(encoding="utf-8") == text, "run `make templates` and commit the templates"
    assert sum(len(path.read_text().splitlines()) for path in EXAMPLE.glob("own*.yaml")) <= 450


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_infrastructure_is_the_commands(template: str) -> None:
    """The generated part is the output of `dynamo-outbox template` for the same options, but for its names."""
    own = {
        name for path in EXAMPLE.glob("own*.yaml") for name in re.findall(r"^  (\w+):$", path.read_text(), re.MULTILINE)
    }
    infrastructures = {
        "template.yaml": [Infrastructure("pipe", consumers=CONSUMERS), Infrastructure("relay", consumers=CONSUMERS)],
        "template.custom-bus.yaml": [Infrastructure("relay", consumers=CONSUMERS, custom_bus=True)],
        "template.cdc.yaml": [Infrastructure("cdc", consumers=CONSUMERS)],
    }[template]
    printed = {NAMES.get(name, name) for each in infrastructures for name in to_template(each)["Resources"]}
    assert resources_of(template).keys() - own == printed - own
