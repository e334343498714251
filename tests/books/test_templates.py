"""The templates: held to the library's definitions and to each other, so that they can't drift apart."""

from __future__ import annotations

import ast
from datetime import timedelta
from typing import Any

import pytest
import yaml

from dynamo_outbox.pipes import PipeDefinition, outbox_pipe
from dynamo_outbox.processors import DEFAULT_PARK_AFTER
from local.packaging import EXAMPLE
from local.stack import _TemplateLoader

TEMPLATES = ["template.yaml", "template.cdc.yaml"]


def resources_of(template: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load((EXAMPLE / template).read_text(), _TemplateLoader)  # noqa: S506
    return {name: {"Properties": {}, **resource} for name, resource in document["Resources"].items()}


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
    """No statement allows every action; none allows every resource but for ListStreams, which takes none."""
    for name, resource in resources_of(template).items():
        properties = resource["Properties"]
        documents = [policy for policy in properties.get("Policies", []) if "Statement" in policy]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", []) if "PolicyName" in policy]
        for statement in (each for document in documents for each in document["Statement"]):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), name
            assert statement["Resource"] != "*" or actions == ["dynamodb:ListStreams"], name


def test_the_consumers_are_the_same_in_both_modes() -> None:
    """Which mode an event comes from makes no difference to who consumes it and how."""
    outbox, cdc = (resources_of(template) for template in TEMPLATES)
    for name in ("PresentationTable", "BookAdded", "BookRemoved", "ConsumerDeadLetters", "ConsumerDeadLettersPolicy"):
        assert outbox[name] == cdc[name]
