"""A shortened run of the conservation proof."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from . import run
from .driver import PROJECT
from .settings import Settings
from .world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.engine
def test_nothing_is_lost_and_nothing_is_applied_twice() -> None:
    """With faulty requests and killed processes, the counts agree at the end."""
    rows = run("short")
    assert [(row.claim, row.lost, row.twice) for row in rows if row.lost or row.twice] == []
    assert all(row.runs for row in rows)


@pytest.mark.parametrize("role", ["writer", "relay", "consumer", "function"])
def test_a_process_ends_with_its_driver(role: str, tmp_path: Path) -> None:
    """A process ends when the pipe from its driver closes, which also happens when the driver is killed."""
    nowhere = "http://127.0.0.1:9"
    world = World("entities", "events", "handled", "effects", "bus", f"{nowhere}/queue", "arn")
    settings = Settings(role, role, 1, nowhere, nowhere, "eu-central-1", str(tmp_path), 1, 1, 0.0, world)
    command = [sys.executable, "-m", "tests.proof.conservation.worker", settings.to_json()]
    with subprocess.Popen(  # noqa: S603  # this interpreter, and this package
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"number": 1, "payload": {}}\n')
        process.stdin.flush()
        told = process.stdout.readline()  # the process has started
        process.stdin.close()
        try:
            assert process.wait(10) == 1
        finally:
            process.kill()
    assert "outcome" in told
