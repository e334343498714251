"""A proxy between boto3 and an engine that loses answers, delays requests and fails calls as AWS does."""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, parse_headers
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

from .clients import loopback_client
from .faults import error_body, error_response, merged_entries, remaining_entries, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from .faults import Fault, Script

__all__ = ["Exchange", "FaultProxy", "Phase"]

Phase: TypeAlias = Literal["received", "forwarded", "engine answered", "answered"]
"""How far a request has come: read from the client, sent to the engine, its answer read from the engine, and that
written to the client, whole or in part."""
NO_LINGER = struct.pack("ii", 1, 0)
"""Closing such a socket resets its connection."""
SETTLING = 2.0
"""Seconds that requests under way have to end when the proxy closes."""
NOT_PASSED_ON = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"})
"""Headers that are about one connection, or that are made anew."""
MISUSED = error_response(
    "FaultProxyScriptError", message="the script gives this request a fault that only others can have"
)


@dataclass(slots=True)
class Exchange:
    """A request that came, and how far it got.

    Attributes:
        operation: AWS's name of the operation; empty for what is no request of AWS's JSON protocol.
        count: Its number among those of its operation, from 0.
        number: Its number among all, from 0.
        fault: What the script does to it.
        body: The request's body.
        phases: The phases that it has passed, in their order.
        status: The HTTP status with which the engine answered; None where it has not.
    """

    operation: str
    count: int
    number: int
    fault: Fault | None
    body: bytes
    phases: list[Phase] = field(default_factory=list)
    status: int | None = None

    @property
    def request(self) -> dict[str, Any]:
        """The parameters of an AWS request."""
        parameters: dict[str, Any] = json.loads(self.body)
        return parameters


class HttpRequest(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class HttpAnswer(NamedTuple):
    """An answer as the engine gave it, or as a fault makes it."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class FaultProxy:
    """A proxy on a free loopback port, as a context manager.

    Args:
        upstream: The engine's URL.
        script: The faults: a function of a request's operation and its number among those of that operation, such as
            `random_faults` gives; or each operation's faults in the order of its requests: ``{"PutItem":
            [LOST_ANSWER]}``. Requests of other protocols than AWS's JSON one pass as they are.
        on_phase: Called at each `Phase` of each request, before it goes on, from whatever thread serves it.
        region: The Region that its clients name.

    Attributes:
        endpoint_url: Where it listens.
        exchanges: The requests that came, in order.

    The proxy never sends a request to the engine twice by itself. What a fault forwards is executed whatever becomes of
    the client; an engine that does not answer is a closed connection to the client. Its threads end with it, and with
    the process. Limits: one host's HTTP, not HTTPS; requests with a Content-Length; an entry taken out of a PutEvents
    request makes its signature wrong, so the engine must not check it.
    """

    def __init__(
        self,
        upstream: str,
        *,
        script: Script | Mapping[str, Sequence[Fault | None]] | None = None,
        on_phase: Callable[[Phase, Exchange], None] | None = None,
        region: str = "eu-central-1",
    ) -> None:
        address = urlsplit(upstream)
        if address.scheme != "http" or address.hostname is None:
            raise ValueError(f"upstream={upstream!r} is no http:// URL of a local engine")
        self._upstream = (address.hostname, address.port or 80)
        self._script = scripted(script)
        self._on_phase = on_phase
        self.region = region
        self.endpoint_url = ""
        self.exchanges: list[Exchange] = []
        self._counts: Counter[str] = Counter()
        self._late: list[tuple[Exchange, HttpRequest]] = []
        self._lock = Lock()
        self._listener: socket.socket | None = None
        self._threads: set[Thread] = set()
        self._clients: set[socket.socket] = set()
        self._engines: set[HTTPConnection] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint_url = "http://{}:{}".format(*self._listener.getsockname())
        self._start(self._accept, self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and end every thread; requests that are still held are never sent on."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with suppress(OSError), socket.create_connection(listener.getsockname()):
            pass  # wakes the thread that accepts
        self._shut(self._clients)
        for thread in self._copy(self._threads):
            thread.join(SETTLING)
        for connection in self._copy(self._engines):
            if connection.sock is not None:
                self._shut([connection.sock])
        for thread in self._copy(self._threads):
            thread.join(SETTLING)
        listener.close()

    def client(self, service: str, *, timeout: timedelta | None = None, attempts: int | None = None) -> Any:
        """A low-level boto3 client of a service, at this proxy.

        Args:
            service: boto3's name of it.
            timeout: How long it waits for an answer; by default botocore's minute.
            attempts: How often botocore sends a request, the first time included; by default as botocore does.
        """
        config: dict[str, Any] = {}
        if timeout is not None:
            config["read_timeout"] = timeout.total_seconds()
        if attempts is not None:
            config["retries"] = {"total_max_attempts": attempts, "mode": "standard"}
        return loopback_client(service, self.endpoint_url, region=self.region, **config)

    def deliver_late(self) -> list[Exchange]:
        """Send the requests on that were held; what the engine answers is in their `Exchange`, and nobody else's.

        Returns:
            Those that were sent on, in the order in which they had come.
        """
        with self._lock:
            held, self._late = self._late, []
        for exchange, request in held:
            self._forward(exchange, request)
        return [exchange for exchange, _ in held]

    @property
    def faults_met(self) -> Counter[str]:
        """How many requests met each fault, by its name."""
        with self._lock:
            return Counter(exchange.fault.name for exchange in self.exchanges if exchange.fault is not None)

    def _start(self, work: Callable[..., None], *given: Any) -> None:
        def run() -> None:
            try:
                work(*given)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = Thread(target=run, name=f"fault proxy {self.endpoint_url}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                if self._listener is None:  # closing, and this is the connection that wakes us
                    client.close()
                    return
                with self._lock:
                    self._clients.add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rb") as reader, suppress(OSError):  # the client may go at any time
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := _read_request(reader)) is not None and self._handle(client, request):
                    pass
        finally:
            with self._lock:
                self._clients.discard(client)

    def _handle(self, client: socket.socket, request: HttpRequest) -> bool:
        """Let the script's fault happen to a request; whether the connection stays open."""
        exchange = self._received(request)
        fault = exchange.fault
        if fault is not None and (
            (fault.failed_entries and exchange.operation != "PutEvents")
            or (fault.error and fault.error.reason and exchange.operation != "TransactWriteItems")
        ):
            exchange.fault = fault = MISUSED
        if fault is not None and fault.to_engine == "late":
            with self._lock:
                self._late.append((exchange, request))
        answer = None
        if fault is None or fault.to_engine == "now":
            answer = self._forward(exchange, request)
            if answer is None:
                return False
        if fault is not None and fault.error is not None:
            answer = _json_answer(request, fault.error.status, error_body(fault.error, _parameters(fault, exchange)))
        return self._answer(client, exchange, answer)

    def _received(self, request: HttpRequest) -> Exchange:
        operation = _operation(request)
        with self._lock:
            count = self._counts[operation]
            self._counts[operation] += 1
            fault = self._script(operation, count) if operation else None
            exchange = Exchange(operation, count, len(self.exchanges), fault, request.body)
            self.exchanges.append(exchange)
        self._reached(exchange, "received")
        return exchange

    def _reached(self, exchange: Exchange, phase: Phase) -> None:
        exchange.phases.append(phase)
        if self._on_phase is not None:
            self._on_phase(phase, exchange)

    def _forward(self, exchange: Exchange, request: HttpRequest) -> HttpAnswer | None:
        """Send a request to the engine once; its answer, or None where it gives none."""
        fault = exchange.fault
        if fault is None or not fault.failed_entries:
            return self._asked(exchange, request)
        remaining = remaining_entries(fault, request.body)
        if remaining is None:
            return _json_answer(request, 200, merged_entries(fault, exchange.request, {"Entries": []}))
        answer = self._asked(exchange, request._replace(body=remaining))
        if answer is None or answer.status != HTTPStatus.OK:
            return answer
        return _json_answer(request, 200, merged_entries(fault, exchange.request, json.loads(answer.body)))

    def _asked(self, exchange: Exchange, request: HttpRequest) -> HttpAnswer | None:
        connection = HTTPConnection(*self._upstream)
        with self._lock:
            self._engines.add(connection)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in _passed_on(request.headers):
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            self._reached(exchange, "forwarded")
            response = connection.getresponse()
            answer = HttpAnswer(response.status, response.getheaders(), response.read())
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
            with self._lock:
                self._engines.discard(connection)
        exchange.status = answer.status
        self._reached(exchange, "engine answered")
        return answer

    def _answer(self, client: socket.socket, exchange: Exchange, answer: HttpAnswer | None) -> bool:
        to_client = "answer" if exchange.fault is None else exchange.fault.to_client
        if to_client == "silence":
            while client.recv(65536):  # until the client gives up, or this proxy closes
                pass
            return False
        if to_client in ("reset", "half, reset"):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        if answer is None or to_client in ("reset", "closed"):
            return False
        written = _written(answer)
        if to_client != "answer":
            written = written[: -(len(answer.body) + 2) // 2]  # at least a byte is missing
        client.sendall(written)
        self._reached(exchange, "answered")
        return to_client == "answer"

    def _copy(self, several: set[Any]) -> list[Any]:
        with self._lock:
            return list(several)

    def _shut(self, several: Sequence[socket.socket] | set[socket.socket]) -> None:
        with self._lock:
            for each in list(several):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def _operation(request: HttpRequest) -> str:
    """``TransactWriteItems`` of ``X-Amz-Target: DynamoDB_20120810.TransactWriteItems``."""
    targets = [value for name, value in request.headers if name.lower() == "x-amz-target"]
    return targets[0].rpartition(".")[2] if targets else ""


def _parameters(fault: Fault, exchange: Exchange) -> dict[str, Any]:
    return exchange.request if fault.error is not None and fault.error.reason else {}


def _read_request(reader: BinaryIO) -> HttpRequest | None:
    """The next request of a connection; None where it ends, also in the middle of one."""
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = parse_headers(reader)
    length = int(headers.get("Content-Length", 0))
    body = reader.read(length)
    return None if len(body) < length else HttpRequest(line[0], line[1], headers.items(), body)


def _passed_on(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in NOT_PASSED_ON]


def _json_answer(request: HttpRequest, status: int, body: Mapping[str, Any]) -> HttpAnswer:
    kinds = [value for name, value in request.headers if name.lower() == "content-type"]
    return HttpAnswer(
        status, [("Content-Type", kinds[0] if kinds else "application/x-amz-json-1.0")], json.dumps(body).encode()
    )


def _written(answer: HttpAnswer) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    headers = [*_passed_on(answer.headers), ("Content-Length", str(len(answer.body)))]
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
