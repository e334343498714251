"""The text of a template, as YAML and as JSON, read by the loader of the example's generator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import yaml

from dynamo_outbox.cli import main
from dynamo_outbox.operations.definition import Consumer, Infrastructure
from dynamo_outbox.operations.template import to_template, to_yaml
from generate import LongForms

from ..unit.test_template import VARIANTS, every

if TYPE_CHECKING:
    import pytest


@every
def test_yaml_and_json_are_the_same_template(variant: str) -> None:
    """Read with CloudFormation's tags, the YAML is the JSON."""
    document = yaml.load(to_yaml(VARIANTS[variant]), LongForms)  # noqa: S506  # a SafeLoader, with CloudFormation's tags
    assert document == json.loads(json.dumps(VARIANTS[variant]))


def test_the_command_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    """The command's options make the template: YAML by default, JSON on request."""
    options = [
        "--mode",
        "pipe",
        "--name",
        "books",
        "--consumer",
        "Billing:OrderPlaced,OrderPaid",
        *("--delivery", "queue", "--dedup", "idempotent"),
    ]
    assert main(["template", *options]) == 0
    printed = yaml.load(capsys.readouterr().out, LongForms)  # noqa: S506  # a SafeLoader, with CloudFormation's tags
    consumer = Consumer("Billing", "billing.handler", ("OrderPlaced", "OrderPaid"), (), "queue", "idempotent")
    assert printed == json.loads(json.dumps(to_template(Infrastructure("pipe", "books", consumers=(consumer,)))))
    assert main(["template", "--no-parking", "--cloudformation", "--delete-data", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == to_template(Infrastructure(redrive=""), sam=False, keep=False)
