"""The site: each page is in it, each public name is in the reference, and the command does as shown."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_outbox import errors

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
MODULES = ["dynamo_outbox", *(f"dynamo_outbox.{name}" for name in ("errors", "pipes", "testing", "typing"))]
COMMAND = (DOCS / "reference" / "command.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_index() -> None:
    """A page that is in no table of contents is found by nobody; the decisions have one of their own."""
    listed = re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    of_their_own = {page for page in pages if page.startswith("decisions/0")} | {"index"}
    assert sorted(listed) == sorted(pages - of_their_own)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """Each name is documented by itself, or with its whole module, and then has a docstring that is shown."""
    if f".. automodule:: {module}\n" in REFERENCE:
        found = importlib.import_module(module)
        assert [name for name in found.__all__ if not getattr(found, name).__doc__] == []
        return
    shown = re.findall(rf"^\.\. auto(?!module)\w+:: {re.escape(module)}\.(\w+)$", REFERENCE, re.MULTILINE)
    assert sorted(shown) == sorted(importlib.import_module(module).__all__)


def test_every_error_says_whose_fault_it_is() -> None:
    """Each error has a row: when it comes, whose fault it is, and what to do."""
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == {name for name in errors.__all__ if issubclass(getattr(errors, name), Exception)}
    assert {name: row.count(" | ") for name, row in rows.items()} == dict.fromkeys(rows, 2)


@pytest.mark.parametrize(("line", "printed"), re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", COMMAND, re.DOTALL))
def test_the_command_prints_what_the_page_shows(line: str, printed: str) -> None:
    """Run among the sample events, the command prints what stands below it."""
    name, *arguments = shlex.split(line)
    assert name == "dynamo-outbox"
    ran = subprocess.run(  # noqa: S603  # our own page
        [sys.executable, "-m", "dynamo_outbox", *arguments],
        cwd=PROJECT / "tests" / "events",
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, printed, "")
