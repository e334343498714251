"""The fault proxy in front of a stub engine: which requests get through, and what the client receives."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from dynamo_outbox.testing import (
    LATE,
    LOST_ANSWER,
    RESET,
    RESET_IN_ANSWER,
    SLOW_ANSWER,
    TRUNCATED,
    Exchange,
    Fault,
    FaultProxy,
    Phase,
    cancelled_transaction,
    error_page,
    error_response,
    partial_failure,
)
from dynamo_outbox.testing.faults import PUT_EVENTS_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENT, SHORT = timedelta(seconds=30), timedelta(milliseconds=200)
"""Timeouts: for a response that arrives, even on a busy machine, and for one that never does."""
PUT = {"TableName": "books", "Item": {"pk": {"S": "a"}}}
DELETE = {"Delete": {"TableName": "books", "Key": {"pk": {"S": "a"}}}}


class StubEngine(ThreadingHTTPServer):
    """Server that answers each request with 200 and each entry of PutEvents with an id, and records the bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[Any] = []
        self.connections: set[Any] = set()
        self.answering = threading.Event()
        self.answering.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StubEngine

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.answering.wait(5)
        entries = [{"EventId": entry["Detail"]} for entry in body.get("Entries", [])]
        answer = {"FailedEntryCount": 0, "Entries": entries} if entries else {"ConsumedCapacity": {"TableName": "b"}}
        self._answer(json.dumps(answer).encode())

    def do_GET(self) -> None:
        self._answer(self.path.encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name in the base class
        pass


@pytest.fixture
def engine() -> Iterator[StubEngine]:
    with StubEngine() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxied(engine: StubEngine) -> Iterator[Callable[..., FaultProxy]]:
    """Return a function that creates the test's proxy; these faults apply to the first requests in turn."""
    made: list[FaultProxy] = []

    def make(*faults: Fault | None, **options: Any) -> FaultProxy:
        proxy = FaultProxy(
            engine.url, script=lambda _, count: faults[count] if count < len(faults) else None, **options
        )
        made.append(proxy)
        return proxy.__enter__()

    yield make
    made[0].close()


def client_of(proxy: FaultProxy, service: str = "dynamodb", *, timeout: timedelta = PATIENT) -> Any:
    """Return a client that makes one attempt."""
    return proxy.client(service, timeout=timeout, attempts=1)


@pytest.mark.parametrize(
    ("fault", "error", "reaches_the_engine"),
    [
        (LOST_ANSWER, ConnectionClosedError, True),
        (RESET, ConnectionClosedError, False),
        (RESET_IN_ANSWER, ConnectionClosedError, True),
        (SLOW_ANSWER, ReadTimeoutError, True),
        (LATE, ReadTimeoutError, False),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_a_broken_connection(
    engine: StubEngine,
    proxied: Callable[..., FaultProxy],
    fault: Fault,
    error: type[Exception],
    reaches_the_engine: bool,
) -> None:
    """The client gets the same error whether or not the request was executed; the next request succeeds."""
    proxy = proxied(fault)
    with pytest.raises(error):
        client_of(proxy, timeout=SHORT if error is ReadTimeoutError else PATIENT).put_item(**PUT)
    assert engine.bodies == ([PUT] if reaches_the_engine else [])
    assert proxy.exchanges[0].status == (200 if reaches_the_engine else None)
    assert client_of(proxy).put_item(**PUT)["ConsumedCapacity"] == {"TableName": "b"}
    assert [exchange.fault for exchange in proxy.exchanges] == [fault, None]
    assert proxy.faults_met == {fault.name: 1}


def test_a_truncated_answer(engine: StubEngine, proxied: Callable[..., FaultProxy]) -> None:
    """botocore reads a truncated response as one without results; the next request uses a new connection."""
    proxy = proxied(TRUNCATED)
    client = client_of(proxy)
    assert "ConsumedCapacity" not in client.put_item(**PUT)
    assert "ConsumedCapacity" in client.put_item(**PUT)
    assert engine.bodies == [PUT, PUT]
    proxy.close()
    assert [exchange.phases[-1] for exchange in proxy.exchanges] == ["answered", "answered"]


def test_a_late_request_arrives_when_told(engine: StubEngine, proxied: Callable[..., FaultProxy]) -> None:
    """A held request reaches the engine once, after the client's timeout, and its response is dropped."""
    proxy = proxied(LATE)
    with pytest.raises(ReadTimeoutError):
        client_of(proxy, timeout=SHORT).put_item(**PUT)
    assert engine.bodies == []
    assert proxy.deliver_late() == proxy.exchanges
    assert engine.bodies == [PUT]
    assert proxy.exchanges[0].phases == ["received", "forwarded", "engine answered"]
    assert proxy.deliver_late() == []


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("TransactionConflictException", 400),
    ],
)
def test_an_error_response(
    engine: StubEngine, proxied: Callable[..., FaultProxy], code: str, status: int, after_commit: bool
) -> None:
    """botocore raises the error with its code; the engine executes the request only with `after_commit`."""
    proxy = proxied(error_response(code, status=status, after_commit=after_commit))
    with pytest.raises(ClientError) as caught:
        client_of(proxy).put_item(**PUT)
    assert caught.value.response["Error"] == {"Code": code, "Message": "scripted"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert engine.bodies == ([PUT] if after_commit else [])


def test_a_page_is_no_answer_of_the_service(engine: StubEngine, proxied: Callable[..., FaultProxy]) -> None:
    """A proxy's HTML page hides what the request would have done; its status is all that the client learns."""
    client = client_of(proxied(error_page(502)))
    with pytest.raises(ClientError) as refused:
        client.put_item(**PUT)
    assert refused.value.response["Error"]["Code"] == "502"
    assert engine.bodies == []


def test_an_error_is_of_the_clients_class_for_it(proxied: Callable[..., FaultProxy]) -> None:
    """A modelled error is raised as the client's exception of that name."""
    client = client_of(proxied(error_response("TransactionInProgressException")))
    with pytest.raises(client.exceptions.TransactionInProgressException):
        client.transact_write_items(TransactItems=[DELETE])


@pytest.mark.parametrize(
    ("at", "codes"), [(None, ["TransactionConflict", "TransactionConflict"]), ([1], ["None", "TransactionConflict"])]
)
def test_a_conflict_has_a_reason_for_each_action(
    engine: StubEngine, proxied: Callable[..., FaultProxy], at: list[int] | None, codes: list[str]
) -> None:
    """The cancellation reasons are in the order of the actions, with the code None for an action that did not fail."""
    proxy = proxied(cancelled_transaction("TransactionConflict", at=at))
    with pytest.raises(ClientError) as caught:
        client_of(proxy).transact_write_items(TransactItems=[DELETE, DELETE])
    assert caught.value.response["Error"]["Code"] == "TransactionCanceledException"
    reasons: Any = caught.value.response.get("CancellationReasons")
    assert [reason["Code"] for reason in reasons] == codes
    assert engine.bodies == []


def entries(*names: str) -> list[dict[str, str]]:
    return [{"Source": "s", "DetailType": "t", "Detail": name} for name in names]


@pytest.mark.parametrize("code", PUT_EVENTS_CODES)
def test_some_entries_fail(engine: StubEngine, proxied: Callable[..., FaultProxy], code: str) -> None:
    """The other entries reach the engine, and the results are in the order of the request."""
    proxy = proxied(partial_failure({0: code, 2: "ThrottlingException", 9: code}))
    answer = client_of(proxy, "events").put_events(Entries=entries("a", "b", "c", "d"))
    assert answer["FailedEntryCount"] == 2
    assert [entry.get("ErrorCode") or entry["EventId"] for entry in answer["Entries"]] == [
        code,
        "b",
        "ThrottlingException",
        "d",
    ]
    assert engine.bodies == [{"Entries": entries("b", "d")}]


def test_all_entries_fail(engine: StubEngine, proxied: Callable[..., FaultProxy]) -> None:
    """If all entries fail, the engine gets no request."""
    answer = client_of(proxied(partial_failure({0: "InternalFailure"})), "events").put_events(Entries=entries("a"))
    assert answer["FailedEntryCount"] == 1
    assert engine.bodies == []


@pytest.mark.parametrize(
    "fault", [partial_failure({0: "InternalFailure"}), cancelled_transaction("TransactionConflict")]
)
def test_a_fault_of_another_operation_is_refused(
    engine: StubEngine, proxied: Callable[..., FaultProxy], fault: Fault
) -> None:
    """A fault that does not fit the operation is an error in the script, and the request is not forwarded."""
    with pytest.raises(ClientError, match="FaultProxyScriptError"):
        client_of(proxied(fault)).put_item(**PUT)
    assert engine.bodies == []


def test_the_phases_of_a_request_are_told_in_order(proxied: Callable[..., FaultProxy]) -> None:
    """The hook is called for each phase in order, with the exchange, before the request continues."""
    told: list[tuple[Phase, str, int]] = []

    def on_phase(phase: Phase, exchange: Exchange) -> None:
        told.append((phase, exchange.operation, exchange.count))

    proxy = proxied(None, LOST_ANSWER, on_phase=on_phase)
    client = client_of(proxy)
    client.put_item(**PUT)
    with pytest.raises(ConnectionClosedError):
        client.put_item(**PUT)
    proxy.close()
    whole: list[Phase] = ["received", "forwarded", "engine answered", "answered"]
    assert told == [(phase, "PutItem", 0) for phase in whole] + [(phase, "PutItem", 1) for phase in whole[:3]]
    assert proxy.exchanges[0].request == PUT


def test_each_operation_has_a_count_of_its_own(engine: StubEngine) -> None:
    """Faults are counted separately for each operation, including botocore's retries."""
    with FaultProxy(engine.url, script={"PutItem": [None, LOST_ANSWER, RESET]}) as proxy:
        client = proxy.client("dynamodb", attempts=3)
        client.put_item(**PUT)
        client.delete_item(TableName="books", Key={"pk": {"S": "a"}})
        client.put_item(**PUT)
    seen = [(exchange.operation, exchange.count, exchange.fault) for exchange in proxy.exchanges]
    assert seen == [
        ("PutItem", 0, None),
        ("DeleteItem", 0, None),
        ("PutItem", 1, LOST_ANSWER),
        ("PutItem", 2, RESET),
        ("PutItem", 3, None),
    ]


def test_a_connection_is_kept_alive(proxied: Callable[..., FaultProxy]) -> None:
    """Consecutive requests share a connection to the proxy."""
    address = urlsplit(proxied().endpoint_url)
    with closing(HTTPConnection(address.netloc)) as connection:
        connection.connect()
        connection.auto_open = 0  # so that a closed connection is an error
        for path in ("/first", "/second"):
            connection.request("GET", path)
            assert connection.getresponse().read() == path.encode()


def test_other_protocols_pass_as_they_are(engine: StubEngine) -> None:
    """A request without a target header gets no fault."""
    with FaultProxy(engine.url, script={"": [RESET]}) as proxy:
        with build_opener(ProxyHandler({})).open(f"{proxy.endpoint_url}/health?now=1") as answer:
            assert answer.read() == b"/health?now=1"
    assert [(exchange.operation, exchange.fault) for exchange in proxy.exchanges] == [("", None)]


def test_an_engine_that_is_gone_is_a_closed_connection(engine: StubEngine) -> None:
    """If the engine does not respond, the proxy closes the connection."""
    with StubEngine() as gone:
        url = gone.url
    with FaultProxy(url) as proxy:
        with pytest.raises(ConnectionClosedError):
            client_of(proxy).put_item(**PUT)
    assert proxy.exchanges[0].phases == ["received"]
    assert engine.bodies == []


def test_closing_leaves_nothing_behind(engine: StubEngine) -> None:
    """A closed proxy leaves no thread and no connection, even if a client has no timeout."""
    before = set(threading.enumerate())
    failures: list[Exception] = []
    received = threading.Event()
    with FaultProxy(engine.url, script={"PutItem": [LATE]}, on_phase=lambda *_: received.set()) as proxy:

        def ask() -> None:
            try:
                proxy.client("dynamodb", attempts=1).put_item(**PUT)
            except ConnectionClosedError as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert received.wait(5)
    asking.join(5)
    proxy.close()
    assert len(failures) == 1
    assert set(threading.enumerate()) - before <= engine_threads()
    assert (proxy._threads, proxy._clients, proxy._engines) == (set(), set(), set())
    assert engine.bodies == []


def engine_threads() -> set[threading.Thread]:
    """Return the stub engine's threads that serve a request."""
    return {thread for thread in threading.enumerate() if "process_request" in thread.name}


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", ""])
def test_only_plain_http_can_be_proxied(url: str) -> None:
    """A URL that does not start with http:// is refused."""
    with pytest.raises(ValueError, match="http:// URL of a local engine"):
        FaultProxy(url)
