"""The site has every page, the reference every public name, and the command prints what its page shows."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamo_outbox import errors
from tests.docs.offline import remote_parts
from tests.unit.test_cli import COMMANDS

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
MODULES = ["dynamo_outbox", *(f"dynamo_outbox.{name}" for name in ("errors", "pipes", "testing", "typing"))]
COMMAND = (DOCS / "reference" / "command.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_index() -> None:
    """Every page is in the table of contents of index.md; the decisions are in their own."""
    listed = re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    not_listed = {page for page in pages if page.startswith("decisions/0")} | {"index"}
    assert sorted(listed) == sorted(pages - not_listed)


def load_generator() -> Any:
    """Return docs/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    generator: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    return generator


def test_the_reference_is_generated_from_the_docstrings() -> None:
    """Each page of the reference is the one that `make reference` writes."""
    generator = load_generator()
    pages = generator.read()
    stale = [name for name, text in generator.generated(pages).items() if text != pages[name]]
    assert stale == [], "run `make reference` and commit the pages"


def test_every_public_name_is_in_the_reference() -> None:
    """Each public name has one place in the reference, and a docstring unless it is a constant."""
    generator = load_generator()
    pages = generator.read()
    listed = [
        name
        for text in pages.values()
        for block in generator.BLOCK.finditer(text)
        for name in block["names"].split(", ")
    ]
    public = {
        name: getattr(module, name) for module in map(importlib.import_module, MODULES) for name in module.__all__
    }
    assert sorted(listed) == sorted(public), "list each public name once after an `api` marker in docs/reference"
    documented = {name: each.docstring for name, each in generator.Reference(pages).public.items()}
    assert [name for name, found in public.items() if callable(found) and not documented[name]] == []


def test_a_page_that_loads_from_another_host_is_found() -> None:
    """The check of the built site finds scripts, styles, fonts and images of another host, but no links."""
    assert (
        remote_parts('<a href="https://x.org">x</a><img src="_images/a.svg"><svg xmlns="http://www.w3.org/2000/svg"/>')
        == []
    )
    loading = (
        '<script src="https://x.org/a.js"></script>',
        '<script type="module">import a from "https://x.org/a.mjs"</script>',
        '<link rel="stylesheet" href="//x.org/a.css">',
        "<style>@font-face { src: url(https://x.org/a.woff2) }</style>",
        '<img src="http://x.org/a.png">',
    )
    assert [len(remote_parts(html)) for html in loading] == [1] * len(loading)


def test_every_error_has_a_cause_and_an_action() -> None:
    """Each error has a row: when it is raised, its cause, and what to do."""
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == {name for name in errors.__all__ if issubclass(getattr(errors, name), Exception)}
    assert {name: row.count(" | ") for name, row in rows.items()} == dict.fromkeys(rows, 2)


@pytest.mark.parametrize(("line", "printed"), re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", COMMAND, re.DOTALL))
def test_the_command_prints_what_the_page_shows(line: str, printed: str) -> None:
    """In the folder of the sample events, the command prints the block below it."""
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


def test_each_command_is_a_function() -> None:
    """The page names existing functions for each command."""
    section = COMMAND.partition("\n## From Python\n")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))
    assert rows.keys() == {name.split()[0] for name in COMMANDS}
    for row in rows.values():
        for module, name in re.findall(r"`(?:dynamo_outbox\.)?(\w+)\.(\w+)`", row):
            home = "dynamo_outbox.pipes" if module == "pipes" else f"dynamo_outbox.operations.{module}"
            assert name in importlib.import_module(home).__all__
