"""A server in a process of its own that answers every DynamoDB and EventBridge call with a canned success.

What it costs to answer is not the client's: benchmarks take the client's CPU time, or name the delay that they set. It
counts the requests, so that a benchmark can hold what it timed to its number of round trips.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CannedServer", "canned_server"]

DELAY, COUNTS = b"/delay/", b"/counts"
"""Paths that are for the server itself."""


class CannedServer:
    """What a benchmark knows of its server: where it listens, and what it is told and asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def delay(self, milliseconds: float) -> None:
        """Let each answer come so much later from now on."""
        self._ask(DELAY.decode() + str(milliseconds))

    def round_trips(self) -> int:
        """The requests since this was last asked."""
        return int(self._ask(COUNTS.decode()))

    def _ask(self, path: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2]


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    """A server, gone when the block ends."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE)  # noqa: S603  # this file
    try:
        yield CannedServer(int(process.stdout.readline() if process.stdout else 0))
    finally:
        process.terminate()
        process.wait()


class _State:
    def __init__(self) -> None:
        self.delay = 0.0
        self.requests = 0
        self.lock = Lock()

    def answer(self, path: bytes, target: bytes, body: bytes) -> bytes:
        if path.startswith(DELAY):
            self.delay = float(path.removeprefix(DELAY)) / 1000
            return b""
        if path == COUNTS:
            with self.lock:
                counted, self.requests = self.requests, 0
            return str(counted).encode()
        with self.lock:
            self.requests += 1
        if self.delay:
            time.sleep(self.delay)
        if target.endswith(b"PutEvents"):
            count = len(json.loads(body)["Entries"])
            entries = ",".join(f'{{"EventId":"{number:036d}"}}' for number in range(count))
            return f'{{"FailedEntryCount":0,"Entries":[{entries}]}}'.encode()
        return b"{}"


def _serve(connection: socket.socket, state: _State) -> None:
    """Answer the requests of one connection until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffered = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in buffered:
                received = connection.recv(65536)
                if not received:
                    return
                buffered += received
            head, _, buffered = buffered.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            length = int(headers.get(b"content-length", b"0"))
            while len(buffered) < length:
                buffered += connection.recv(65536)
            body, buffered = buffered[:length], buffered[length:]
            answer = state.answer(first.split()[1], headers.get(b"x-amz-target", b""), body)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\n"
                b"x-amzn-requestid: 0\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
            )
            if headers.get(b"connection") == b"close":
                return


def _main() -> None:
    state = _State()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            Thread(target=_serve, args=(connection, state), daemon=True).start()


if __name__ == "__main__":
    _main()
