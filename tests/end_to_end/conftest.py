"""Fixtures that run the example's commands with a temporary folder, which must be empty afterwards."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
COMMAND = str(Path(sys.executable).with_name("dynamo-outbox"))
"""The installed entry point."""


class Running:
    """A started command of the example."""

    def __init__(self, project: Path, temporary: Path, arguments: tuple[str, ...]) -> None:
        engine = os.environ.get("DYNAMO_OUTBOX_MINISTACK", str(PROJECT / ".venv-ministack" / "bin" / "ministack"))
        self.temporary = temporary
        self.process = subprocess.Popen(  # noqa: S603  # the example's own command
            [sys.executable, "-m", "local", *arguments],
            env=os.environ
            | {
                "DYNAMO_OUTBOX_MINISTACK": engine,
                "PYTHONPATH": os.pathsep.join([str(project / "src"), str(project / "examples" / "books")]),
                "TMPDIR": str(temporary),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.printed = ""

    def read_until(self, text: str) -> str:
        """Read until `text` is printed; return all output so far."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while text not in self.printed:
            readable, _, _ = select.select([self.process.stdout], [], [], 1)
            piece = os.read(self.process.stdout.fileno(), 65536).decode() if readable else ""
            self.printed += piece
            assert piece or not readable, f"the command ended without printing {text!r}:\n{self.printed}"
            assert time.monotonic() < deadline, f"the command did not print {text!r} in time:\n{self.printed}"
        return self.printed

    def finish(self) -> int:
        """Wait until the command ends; return its exit code."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        self.printed += output.decode()
        return self.process.returncode

    def leftovers(self) -> list[str]:
        """Return the files in the temporary folder and the processes with that folder in their command line."""
        processes = [
            command
            for folder in Path("/proc").glob("[0-9]*")
            if str(self.temporary) in (command := _command_line(folder)) and folder.name != str(os.getpid())
        ]
        return [*map(str, self.temporary.iterdir()), *processes]


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # the process has ended
        return ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts commands of the example; those still running are stopped after the test."""
    started: list[Running] = []

    def start(*arguments: str, project: Path = PROJECT) -> Running:
        temporary = tmp_path / f"tmp{len(started)}"
        temporary.mkdir()
        started.append(Running(project, temporary, arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.communicate(timeout=PATIENCE)
        for stream in (running.process.stdout,):
            if stream is not None:
                stream.close()
