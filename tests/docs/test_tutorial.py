"""Follow the tutorial in an empty folder and compare what its commands print.

If `DYNAMO_OUTBOX_TUTORIAL_WHEEL` names a wheel, as in `make tutorial`, every command runs as printed, those that create
environments included. Otherwise these are skipped, and the project's environments are used.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TUTORIAL = PROJECT / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"^(?:[^\n]*`(?P<name>\w+\.py)`[^`]*:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
SET_UP = re.compile(r"-m (venv|pip) ")


class Step(NamedTuple):
    """A file to write, or a command and its expected output."""

    file: str
    text: str
    printed: str = ""


def steps(page: str) -> list[Step]:
    """Return the page's files and commands in order."""
    found: list[Step] = []
    for block in BLOCK.finditer(page):
        if block["kind"] == "python":
            found.append(Step(block["name"], block["text"]))
            continue
        assert block["kind"] == "console", block["kind"]
        for command in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            line, _, printed = command.partition("\n")
            found.append(Step("", line, printed))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder; without a wheel, the project's environments are linked under the names in the tutorial."""
    if "DYNAMO_OUTBOX_TUTORIAL_WHEEL" not in os.environ:
        (tmp_path / ".venv").symlink_to(sys.prefix)
        engine = os.environ.get("DYNAMO_OUTBOX_MINISTACK", str(PROJECT / ".venv-ministack" / "bin" / "ministack"))
        (tmp_path / ".venv-ministack").symlink_to(Path(engine).parents[1])
    return tmp_path


@pytest.mark.engine
def test_the_tutorial_works_as_printed(folder: Path) -> None:
    """Each command prints the output below it, after the files above it are written."""
    wheel = os.environ.get("DYNAMO_OUTBOX_TUTORIAL_WHEEL")
    exports = ""
    names = ("AWS_", "DYNAMO_OUTBOX_", *(("PYTHON",) if wheel else ()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    for step in steps(TUTORIAL.read_text(encoding="utf-8")):
        if step.file:
            (folder / step.file).write_text(step.text, encoding="utf-8")
        elif step.text.startswith("export "):
            exports += f"{step.text}; "
        elif wheel is not None or not SET_UP.search(step.text):
            command = step.text.replace("install --quiet dynamo-outbox", f"install --quiet {wheel}")
            pins = "ministack.txt" if "ministack" in command else "dev.txt"
            run = subprocess.run(  # noqa: S603  # a command of our own page
                ["/bin/sh", "-c", exports + command],
                cwd=folder,
                env=environment | {"PIP_CONSTRAINT": str(PROJECT / "constraints" / pins)},
                capture_output=True,
                text=True,
                check=False,
            )
            warnings = "" if SET_UP.search(step.text) else run.stderr  # pip prints warnings
            assert (step.text, run.returncode, run.stdout, warnings) == (step.text, 0, step.printed, ""), run.stderr


def test_the_tutorial_reaches_the_library_on_its_first_screen() -> None:
    """The first import of the library is within the first 25 lines."""
    lines = TUTORIAL.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("from dynamo_outbox import") for line in lines[:25])


def test_all_steps_are_found() -> None:
    """All seven files are found, and the last command prints the consumer's effect."""
    found = steps(TUTORIAL.read_text(encoding="utf-8"))
    assert [step.file for step in found if step.file] == [
        "shop.py",
        "local.py",
        "write.py",
        "relay.py",
        "packing.py",
        "lambdas.py",
        "deliver.py",
    ]
    assert found[-1].printed.endswith("stock: {'item': 'teapot', 'packed': Decimal('2')}\n")
