"""The page doctor.md shows what the command prints, and its code runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import cli
from dynamo_outbox.cli import doctor as command
from dynamo_outbox.operations import deployment
from dynamo_outbox.operations.definition import Consumer, Infrastructure
from dynamo_outbox.operations.doctor import with_rights
from dynamo_outbox.operations.template import to_template

from ..unit import deployed

if TYPE_CHECKING:
    from dynamo_outbox.operations.doctor import Finding

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "operations" / "doctor.md").read_text(encoding="utf-8")


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> deployed.Aws:
    """Return what the page's stack deploys: a relay whose mapping gives up after three retries."""
    monkeypatch.setattr(deployed, "STACK", "books")
    aws = deployed.Aws(to_template(Infrastructure(name="books"), sam=False))
    aws.mappings[0]["MaximumRetryAttempts"] = 3
    return aws


def test_the_command_prints_what_the_page_shows(
    books: deployed.Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's example is the command's output for a stack with this mistake."""
    monkeypatch.setattr(command, "aws", lambda: books)
    [shown] = re.findall(r"```console\n\$ dynamo-outbox (.*?)\n(.*?)```", PAGE, re.DOTALL)
    assert cli.main(shown[0].split()) == 1
    printed = capsys.readouterr()
    assert sorted((printed.out + printed.err).splitlines()) == sorted(shown[1].splitlines())


def test_the_pages_code_runs(books: deployed.Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code returns the same finding."""
    monkeypatch.setattr(deployment, "clients_of", lambda: books)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # the page's own code
    findings: list[Finding] = names["findings"]
    assert [each.check for each in findings] == ["gives-up-early"]


def test_the_permissions_page_lists_what_doctor_calls() -> None:
    """The page's actions are those that doctor calls, for stacks and names, relays, pipes and rules."""
    page = (PROJECT / "docs" / "permissions.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| `doctor` |")]
    called: set[str] = set()
    for mode in ("relay", "pipe"):
        consumers = (Consumer("Direct"), Consumer("Queued", delivery="queue"))
        aws = deployed.Aws(to_template(Infrastructure(mode, consumers=consumers), sam=False))
        aws.resources.append(
            {"ResourceType": "AWS::Lambda::EventSourceMapping", "PhysicalResourceId": "gone", "ResourceStatus": "X"}
        )
        with_rights(deployment.read(deployment.Names([deployed.STACK]), clients=aws), aws)
        called |= aws.called
    assert set(re.findall(r"`(\w+:\w+)`", row)) == called
