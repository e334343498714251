"""The page doctor.md shows what the command prints, and its code runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import cli
from dynamo_outbox.cli import doctor as command
from dynamo_outbox.operations import deployment
from dynamo_outbox.operations.definition import Infrastructure
from dynamo_outbox.operations.template import to_template

from ..unit import deployed

if TYPE_CHECKING:
    from dynamo_outbox.operations.doctor import Finding

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations" / "doctor.md").read_text(encoding="utf-8")


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
    assert printed.out + printed.err == shown[1]


def test_the_pages_code_runs(books: deployed.Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code returns the same finding."""
    monkeypatch.setattr(deployment, "clients_of", lambda: books)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # the page's own code
    findings: list[Finding] = names["findings"]
    assert [each.check for each in findings] == ["gives-up-early"]
