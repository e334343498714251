"""Runs MiniStack, a local AWS, as a process that ends with the one that started it.

MiniStack pins an exact botocore version, so install it into a separate environment; only its command is needed here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .clients import loopback_client

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EngineError", "MiniStack"]

COMMAND_VARIABLE = "DYNAMO_OUTBOX_MINISTACK"


class EngineError(Exception):
    """The local engine was not found or did not start."""


class MiniStack:
    """A MiniStack on a free loopback port, as a context manager.

    Args:
        command: The ``ministack`` command; by default the environment variable ``DYNAMO_OUTBOX_MINISTACK``, or else
            ``ministack`` on the path.
        region: The Region of its clients.
        start_timeout: Seconds to wait for the engine to respond.

    A supervisor process runs MiniStack: when this process ends, even if it is killed, the supervisor ends MiniStack
    with all its workers and removes its temporary folder.

    Raises:
        EngineError: The command does not exist, or the engine does not respond in time.
    """

    def __init__(
        self, command: str | None = None, *, region: str = "eu-central-1", start_timeout: float = 30.0
    ) -> None:
        wanted = command or os.environ.get(COMMAND_VARIABLE) or "ministack"
        found = shutil.which(wanted)
        if found is None:
            raise EngineError(
                f"command {wanted!r} not found; install ministack into an environment of its own and set the "
                f"environment variable {COMMAND_VARIABLE} to its command"
            )
        self.region = region
        self.endpoint_url = ""
        self._command = found
        self._start_timeout = start_timeout
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._supervisor = subprocess.Popen(  # noqa: S603  # a command that the caller chose
            [sys.executable, "-I", str(Path(__file__).with_name("supervisor.py")), self._command, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C must reach only this process; the supervisor notices when it ends
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> str:
        """Stop MiniStack and return its output."""
        if self._supervisor is None:
            return ""
        supervisor, self._supervisor = self._supervisor, None
        printed, _ = supervisor.communicate()  # closes its standard input, on which it ends
        return printed.decode(errors="replace")

    def client(self, service: str) -> Any:
        """Return a low-level boto3 client of a service at this engine."""
        return loopback_client(service, self.endpoint_url, region=self.region)

    def _wait_until_it_answers(self) -> None:
        assert self._supervisor is not None  # noqa: S101  # for the type checker
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if self._supervisor.poll() is not None:
                raise EngineError(f"{self._command} ended during startup: {self.stop()}")
            try:
                with direct.open(f"{self.endpoint_url}/_ministack/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise EngineError(f"{self._command} did not respond within {self._start_timeout} seconds: {self.stop()}")


def free_port() -> int:
    """Return a loopback port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
