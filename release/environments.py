"""Empty environments, into which the wheel is installed as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PROJECT", "Environment", "empty_environment"]

PROJECT = Path(__file__).resolve().parents[1]
POINTS_ELSEWHERE = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}


class Environment:
    """A virtual environment in a folder of its own, and a place beside it to work in.

    Attributes:
        python: Its interpreter.
        home: The folder that its processes start in; nothing of the project is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "environment" / "bin" / "python"
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, arguments: Sequence[str], *, log: Path | None = None, **variables: str) -> None:
        """Run its interpreter with nothing pointing elsewhere.

        Args:
            arguments: The interpreter's.
            log: The file for what it says; by default it is said on the terminal.
            variables: Environment variables beside this process's own.

        Raises:
            CalledProcessError: It failed.
        """
        kept = {name: value for name, value in os.environ.items() if name not in POINTS_ELSEWHERE}
        with nullcontext() if log is None else log.open("w") as output:
            command = [str(self.python), *arguments]
            subprocess.run(command, cwd=self.home, env=kept | variables, stdout=output, check=True)

    def install(self, *arguments: str) -> None:
        """Have pip install, with its arguments."""
        self.run(["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", *arguments])


@contextmanager
def empty_environment(python: str = sys.executable) -> Iterator[Environment]:
    """An environment with pip alone, gone afterwards.

    Args:
        python: The interpreter that it is made of.
    """
    with TemporaryDirectory(prefix="dynamo-outbox-wheel-") as temporary:
        folder = Path(temporary).resolve()
        subprocess.run([python, "-m", "venv", str(folder / "environment")], check=True)
        yield Environment(folder)
