"""Empty virtual environments, to install the wheel as a user would."""

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
    """A virtual environment in its own folder, with a working folder beside it.

    Attributes:
        python: The environment's interpreter.
        home: The working folder of its processes; no project files are in it.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "environment" / "bin" / "python"
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, arguments: Sequence[str], *, log: Path | None = None, **variables: str) -> None:
        """Run the environment's interpreter, without environment variables that refer to other environments.

        Args:
            arguments: The interpreter's arguments.
            log: The file for standard output; by default the terminal.
            variables: Environment variables in addition to those of this process.

        Raises:
            CalledProcessError: The interpreter exited with another status than 0.
        """
        kept = {name: value for name, value in os.environ.items() if name not in POINTS_ELSEWHERE}
        with nullcontext() if log is None else log.open("w") as output:
            command = [str(self.python), *arguments]
            subprocess.run(command, cwd=self.home, env=kept | variables, stdout=output, check=True)

    def install(self, *arguments: str) -> None:
        """Run `pip install` with these arguments."""
        self.run(["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", *arguments])


@contextmanager
def empty_environment(python: str = sys.executable) -> Iterator[Environment]:
    """Create an environment that contains only pip, and delete it afterwards.

    Args:
        python: The interpreter to create it from.
    """
    with TemporaryDirectory(prefix="dynamo-outbox-wheel-") as temporary:
        folder = Path(temporary).resolve()
        subprocess.run([python, "-m", "venv", str(folder / "environment")], check=True)
        yield Environment(folder)
