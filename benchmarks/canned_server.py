"""Server in a separate process that answers every DynamoDB and EventBridge call with a canned success.

Its CPU time does not count as the client's. It counts requests, so that a benchmark can check the number of round
trips, and can delay its responses. A benchmark can set the response of an operation.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["VARIABLES", "CannedServer", "canned_server", "server_of_process"]

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Settings of the clients that use a server."""
DELAY, COUNTS, ANSWER, RESET = b"/delay/", b"/counts", b"/answer/", b"/reset"
"""Paths that control the server."""
RPC = b"/service/"
"""Start of the paths of Smithy RPC v2, the Custom Event Bus's protocol."""


class CannedServer:
    """A benchmark's handle of its server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def delay(self, milliseconds: float) -> None:
        """Delay each further response."""
        self._ask(DELAY.decode() + str(milliseconds))

    def round_trips(self) -> int:
        """Return the number of requests since the previous call of this method."""
        return int(self._ask(COUNTS.decode()))

    def answer(self, operation: str, body: object, status: int = 200) -> None:
        """Set the response of an operation."""
        self._ask(f"{ANSWER.decode()}{operation}/{status}", json.dumps(body).encode())

    def reset(self) -> None:
        """Answer each operation with its success again, at once."""
        self._ask(RESET.decode())

    def _ask(self, path: str, body: bytes = b"") -> bytes:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            head = f"POST {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2]


@contextmanager
def canned_server() -> Iterator[CannedServer]:
    """Run a server until the block ends."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE)  # noqa: S603  # this file
    try:
        yield CannedServer(int(process.stdout.readline() if process.stdout else 0))
    finally:
        process.terminate()
        process.wait()


@cache
def server_of_process() -> CannedServer:
    """Return the one server of this process's clients, and set the variables that make them use it.

    All rows share it, because the library's own clients are shared. It ends with the process.
    """
    stack = ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(canned_server())
    os.environ.update(VARIABLES, AWS_ENDPOINT_URL=server.url)
    return server


class _State:
    def __init__(self) -> None:
        self.delay = 0.0
        self.requests = 0
        self.lock = Lock()
        self.answers: dict[bytes, tuple[int, bytes]] = {}

    def answer(self, path: bytes, target: bytes, body: bytes) -> tuple[int, bytes]:
        if path.startswith(DELAY):
            self.delay = float(path.removeprefix(DELAY)) / 1000
            return 200, b""
        if path == RESET:
            self.delay = 0.0
            self.answers.clear()
            return 200, b""
        if path.startswith(ANSWER):
            operation, _, status = path.removeprefix(ANSWER).partition(b"/")
            self.answers[operation] = int(status), body
            return 200, b""
        if path == COUNTS:
            with self.lock:
                counted, self.requests = self.requests, 0
            return 200, str(counted).encode()
        with self.lock:
            self.requests += 1
        if self.delay:
            time.sleep(self.delay)
        if path.startswith(RPC):
            return 200, _custom_bus_answer(body)
        if target.endswith(b"PutEvents"):
            count = len(json.loads(body)["Entries"])
            entries = ",".join(f'{{"EventId":"{number:036d}"}}' for number in range(count))
            return 200, f'{{"FailedEntryCount":0,"Entries":[{entries}]}}'.encode()
        return self.answers.get(target.rpartition(b".")[2], (200, b"{}"))


def _custom_bus_answer(body: bytes) -> bytes:
    """Return PutEvents' success of a Custom Event Bus, which speaks CBOR."""
    from dynamo_outbox.testing.cbor import dumps, loads

    result = {"EventId": "0" * 36, "SequenceNumber": "10000000000000001000", "SuccessCode": "PUBLISHED"}
    return dumps({"FailedEntryCount": 0, "Entries": [result] * len(loads(body)["Entries"])})


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
            path = first.split()[1]
            kind = b"cbor\r\nsmithy-protocol: rpc-v2-cbor" if path.startswith(RPC) else b"x-amz-json-1.1"
            status, answer = state.answer(path, headers.get(b"x-amz-target", b""), body)
            connection.sendall(
                b"HTTP/1.1 %d OK\r\ncontent-type: application/%b\r\n"
                b"x-amzn-requestid: 0\r\ncontent-length: %d\r\n\r\n%b" % (status, kind, len(answer), answer)
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
