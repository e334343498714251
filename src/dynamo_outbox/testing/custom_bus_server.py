"""A Custom Event Bus on a loopback port, which speaks the service's wire protocol to real boto3 clients.

It proves how this library and a consumer handle what AWS documents; it does not prove how AWS behaves.
Wire: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from __future__ import annotations

import re
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event as Signal
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError, ParamValidationError

from .cbor import CborError, dumps, loads
from .clients import loopback_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .fakes.custom_bus import FakeCustomBus

__all__ = ["CustomBusServer"]

SERVICE, TARGET = "eventbridgev2", "AWSEventsV2"
CBOR = "application/cbor"
_PATH = re.compile(rf"/service/{TARGET}/operation/([A-Za-z]+)")
_SIGNATURE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/events/aws4_request, ")
_OPERATIONS = {"PutEvents": "put_events", "DescribeEventBus": "describe_event_bus"}
RETRY_SECONDS = 0.1
"""Time between two attempts of failed deliveries; AWS's backoff is not documented."""


class CustomBusServer:
    """A server for a `FakeCustomBus`, as a context manager; it delivers to the bus's subscribers.

    Args:
        bus: The bus; its scripted faults arrive on the wire as errors with the status of botocore's model. A
            `FaultProxy` in front of the server loses and cuts responses.
        port: The port; by default a free one.

    Attributes:
        url: The server's URL.

    The server checks method, path, headers and the signature's scope, but not the signature. Its threads end when it
    closes or with the process.
    """

    def __init__(self, bus: FakeCustomBus, *, port: int = 0) -> None:
        self.bus = bus
        self._port = port
        self.url = ""
        self._work, self._closed = Signal(), Signal()
        self._server: ThreadingHTTPServer | None = None
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"serve": self._serve})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._threads = [
            Thread(target=self._server.serve_forever, args=(0.05,), daemon=True),
            Thread(target=self._deliver, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._work.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for thread in self._threads:
            thread.join()

    def client(self, **config: Any) -> Any:
        """Return a low-level boto3 client of the bus; `config` is for botocore's ``Config``."""
        return loopback_client(SERVICE, self.url, region=self.bus.region, **config)

    def _deliver(self) -> None:
        while not self._closed.is_set():
            self._work.wait()
            self._work.clear()
            while not self._closed.is_set() and self.bus.deliver_once():
                self._closed.wait(RETRY_SECONDS)

    def _serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        if self._closed.is_set():
            return None
        try:
            answer = getattr(self.bus, _operation(method, path, headers, self.bus.region))(**_request(body))
        except _RefusedError as refused:
            return 400, _error(refused.code, str(refused))
        except ParamValidationError as invalid:
            return 400, _error("InvalidInputException", str(invalid))
        except ClientError as error:
            known = error.response["Error"]
            return error.response["ResponseMetadata"]["HTTPStatusCode"], _error(known["Code"], known["Message"])
        except NotImplementedError as missing:
            return 501, _error("NotImplementedException", str(missing))
        self._work.set()
        del answer["ResponseMetadata"]
        return 200, dumps(answer)


class _RefusedError(Exception):
    """A request that is not one of the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _operation(method: str, path: str, headers: dict[str, str], region: str) -> str:
    """Return the method of the fake that a request calls."""
    found = _PATH.fullmatch(path)
    if method != "POST" or found is None or found[1] not in _OPERATIONS:
        raise _RefusedError("UnknownOperationException", f"{method} {path}")
    if headers.get("smithy-protocol") != "rpc-v2-cbor":
        raise _RefusedError("SerializationException", "the header smithy-protocol must be rpc-v2-cbor")
    if not headers.get("content-type") == headers.get("accept") == CBOR:
        raise _RefusedError("SerializationException", f"the headers content-type and accept must be {CBOR}")
    signed = _SIGNATURE.match(headers.get("authorization", ""))
    if signed is None or signed[1] != region:
        raise _RefusedError("IncompleteSignatureException", f"the scope must be <date>/{region}/events/aws4_request")
    return _OPERATIONS[found[1]]


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = loads(body)
    except CborError as error:
        raise _RefusedError("SerializationException", str(error)) from None
    if not isinstance(request, dict):
        raise _RefusedError("SerializationException", "the body must be a map")
    return request


def _error(code: str, message: str) -> bytes:
    return dumps({"__type": f"com.amazonaws.{SERVICE}#{code}", "Message": message})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    serve: Callable[[str, str, dict[str, str], bytes], tuple[int, bytes] | None]

    def do_POST(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        served = self.serve(self.command, self.path, headers, body)
        if served is None:
            self.close_connection = True
            return
        status, answer = served
        self.send_response(status)
        self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.send_header("content-type", CBOR)
        self.send_header("x-amzn-requestid", str(uuid.uuid4()))
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log nothing."""
