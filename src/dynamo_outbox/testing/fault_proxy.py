"""A proxy between boto3 and a local engine that loses responses, delays requests and fails calls as AWS does."""

from __future__ import annotations

import json
import re
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

from . import cbor
from .clients import loopback_client
from .faults import error_body, error_response, merged_entries, remaining_entries, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from .faults import ErrorAnswer, Fault, Script

__all__ = ["Exchange", "FaultProxy", "Phase"]

Phase: TypeAlias = Literal["received", "forwarded", "engine answered", "answered"]
"""The progress of a request: read from the client, sent to the engine, response read from the engine, response written
to the client (completely or in part)."""
NO_LINGER = struct.pack("ii", 1, 0)
"""Closing a socket with this option resets its connection."""
SETTLING = 2.0
"""Seconds that requests in flight have to end when the proxy closes."""
NOT_PASSED_ON = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"})
"""Headers of one connection, or that the proxy sets itself."""
MISUSED = error_response("FaultProxyScriptError", message="the script's fault does not fit this request's operation")


class _Codec(NamedTuple):
    """Codec of a protocol for the members of a request or a response."""

    read: Callable[[bytes], Any]
    write: Callable[[Mapping[str, Any]], bytes]


_JSON = _Codec(json.loads, lambda body: json.dumps(body).encode())
_RPC_V2 = _Codec(cbor.loads, cbor.dumps)


@dataclass(slots=True)
class Exchange:
    """A request to the proxy, and its progress.

    Attributes:
        operation: The AWS operation; empty if the request uses neither AWS's JSON protocol nor RPC v2.
        count: The request's number among those of its operation, from 0.
        number: The request's number among all, from 0.
        fault: The fault that the script gives the request, or None.
        body: The request's body.
        phases: The phases that the request has reached, in order.
        status: The HTTP status of the engine's response; None if there is none yet.
    """

    operation: str
    count: int
    number: int
    fault: Fault | None
    body: bytes
    phases: list[Phase] = field(default_factory=list)
    status: int | None = None
    _codec: _Codec = field(default=_JSON, init=False, repr=False)

    @property
    def request(self) -> dict[str, Any]:
        """The parameters of an AWS request."""
        parameters: dict[str, Any] = self._codec.read(self.body)
        return parameters


class HttpRequest(NamedTuple):
    """A request as received."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes


class HttpAnswer(NamedTuple):
    """A response from the engine, or made by a fault."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class FaultProxy:
    """A fault-injecting proxy on a free loopback port, as a context manager.

    Args:
        upstream: The engine's URL.
        script: The faults: each operation's faults in the order of its requests, ``{"PutItem": [LOST_ANSWER]}``; or a
            function of a request's operation and its number in that operation, such as `random_faults` returns.
            Requests that use neither AWS's JSON protocol nor RPC v2 pass unchanged.
        on_phase: Called at each `Phase` of each request, before the request proceeds, in the thread that serves it.
        region: The Region of the proxy's clients.

    Attributes:
        endpoint_url: The proxy's URL.
        exchanges: The requests received, in order.

    The proxy sends each request to the engine at most once. The engine executes a forwarded request even if the client
    disconnects. If the engine does not respond, the proxy closes the connection to the client. The proxy's threads end
    when it closes. Limits: one host, HTTP only, requests with a Content-Length. `partial_failure` removes entries and
    so invalidates the request's signature; the engine must not check it.
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
            raise ValueError(f"upstream={upstream!r} must be the http:// URL of a local engine")
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
        """Close every connection and end every thread; requests that are still held are never sent."""
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
        """Return a low-level boto3 client of a service that uses this proxy.

        Args:
            service: boto3's name of the service.
            timeout: Read timeout; by default botocore's, one minute.
            attempts: Number of times that botocore sends a request, the first included; by default botocore's.
        """
        config: dict[str, Any] = {}
        if timeout is not None:
            config["read_timeout"] = timeout.total_seconds()
        if attempts is not None:
            config["retries"] = {"total_max_attempts": attempts, "mode": "standard"}
        return loopback_client(service, self.endpoint_url, region=self.region, **config)

    def deliver_late(self) -> list[Exchange]:
        """Send the held requests to the engine; return them, in the order received. No client gets the responses."""
        with self._lock:
            held, self._late = self._late, []
        for exchange, request in held:
            self._forward(exchange, request)
        return [exchange for exchange, _ in held]

    @property
    def faults_met(self) -> Counter[str]:
        """The number of requests per fault, by the fault's name."""
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
                if self._listener is None:  # closing; this connection only wakes the thread
                    client.close()
                    return
                with self._lock:
                    self._clients.add(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rb") as reader, suppress(OSError):  # the client may disconnect at any time
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := _read_request(reader)) is not None and self._handle(client, request):
                    pass
        finally:
            with self._lock:
                self._clients.discard(client)

    def _handle(self, client: socket.socket, request: HttpRequest) -> bool:
        """Apply the script's fault to a request; return whether the connection stays open."""
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
            answer = _error(request, exchange, fault.error)
        return self._answer(client, exchange, answer)

    def _received(self, request: HttpRequest) -> Exchange:
        operation = _operation(request)
        with self._lock:
            count = self._counts[operation]
            self._counts[operation] += 1
            fault = self._script(operation, count) if operation else None
            exchange = Exchange(operation, count, len(self.exchanges), fault, request.body)
            if _RPC.fullmatch(request.path):
                exchange._codec = _RPC_V2
            self.exchanges.append(exchange)
        self._reached(exchange, "received")
        return exchange

    def _reached(self, exchange: Exchange, phase: Phase) -> None:
        exchange.phases.append(phase)
        if self._on_phase is not None:
            self._on_phase(phase, exchange)

    def _forward(self, exchange: Exchange, request: HttpRequest) -> HttpAnswer | None:
        """Send a request to the engine once; return its response, or None if there is none."""
        fault = exchange.fault
        if fault is None or not fault.failed_entries:
            return self._asked(exchange, request)
        parameters, codec = exchange.request, exchange._codec
        results: Any = {"Entries": []}
        remaining = remaining_entries(fault, parameters)
        if remaining["Entries"]:
            answer = self._asked(exchange, request._replace(body=codec.write(remaining)))
            if answer is None or answer.status != HTTPStatus.OK:
                return answer
            results = codec.read(answer.body)
        return _made(request, 200, codec.write(merged_entries(fault, parameters, results)))

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
            while client.recv(65536):  # until the client disconnects or the proxy closes
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
    """Return ``TransactWriteItems`` for ``X-Amz-Target: DynamoDB_20120810.TransactWriteItems``, or that of RPC v2."""
    rpc = _RPC.fullmatch(request.path)
    targets = [value for name, value in request.headers if name.lower() == "x-amz-target"]
    return rpc[1] if rpc else targets[0].rpartition(".")[2] if targets else ""


_RPC = re.compile("/service/[^/]+/operation/([A-Za-z]+)")
"""The path of Smithy RPC v2, which the Custom Event Bus speaks."""


def _read_request(reader: BinaryIO) -> HttpRequest | None:
    """Return the connection's next request; None if the connection ends, also within a request."""
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = parse_headers(reader)
    length = int(headers.get("Content-Length", 0))
    body = reader.read(length)
    return None if len(body) < length else HttpRequest(line[0], line[1], headers.items(), body)


def _passed_on(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in NOT_PASSED_ON]


def _error(request: HttpRequest, exchange: Exchange, error: ErrorAnswer) -> HttpAnswer:
    if not error.code:
        return HttpAnswer(error.status, [("Content-Type", "text/html")], error.message.encode())
    body = error_body(error, exchange.request if error.reason else {})
    return _made(request, error.status, exchange._codec.write(body))


def _made(request: HttpRequest, status: int, body: bytes) -> HttpAnswer:
    """Return a response in the protocol of a request."""
    same = [(name, value) for name, value in request.headers if name.lower() in ("content-type", "smithy-protocol")]
    return HttpAnswer(status, same, body)


def _written(answer: HttpAnswer) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    headers = [*_passed_on(answer.headers), ("Content-Length", str(len(answer.body)))]
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
