"""Each script of this folder prints the lines in the comment at its end.

A comment ``# Prints:`` is followed by the lines; ``# Prints with relay:`` is for a run with the argument ``relay``.
``...`` stands for any text within a line.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SOURCES = FOLDER.parents[1] / "src"
BLOCK = re.compile(r"^# Prints(?: with (?P<argument>\w+))?:\n(?P<lines>(?:#(?! Prints).*\n)*)", re.MULTILINE)
RUNS = [
    pytest.param(
        script,
        [found["argument"]] if found["argument"] else [],
        [line.removeprefix("#").removeprefix(" ") for line in found["lines"].splitlines()],
        id=" ".join(filter(None, (script.stem, found["argument"]))),
    )
    for script in sorted(FOLDER.glob("[a-z][0-9][0-9]_*.py"))
    for found in BLOCK.finditer(script.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("script", "arguments", "expected"), RUNS)
def test_a_case_prints_what_is_right(script: Path, arguments: list[str], expected: list[str]) -> None:
    """An input that once lost, repeated or blocked something has the right outcome."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"PYTHONPATH": str(SOURCES), "PYTHONUTF8": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    run = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=FOLDER,
        env=environment,
        check=False,
    )
    printed = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    assert len(printed) == len(expected) and all(map(_fits, printed, expected)), "\n".join(printed) + run.stderr


def _fits(printed: str, expected: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), printed) is not None


def test_each_script_says_what_it_prints() -> None:
    """No script is left out."""
    assert {run.values[0] for run in RUNS} == set(FOLDER.glob("[a-z][0-9][0-9]_*.py"))
