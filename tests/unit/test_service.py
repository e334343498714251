"""Calls of AWS services: which clients are accepted, and how the library's own client retries and ends in time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import boto3
import botocore.httpsession
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    ParkingQueue,
    ParkingTable,
    TransactionalOutbox,
)
from dynamo_outbox.aws import clients
from dynamo_outbox.aws.lambda_context import invocation
from dynamo_outbox.aws.service import ATTEMPTS, NoResponseTypeError, Service
from dynamo_outbox.testing import FakeDynamoDB, FakeEventBridge

from ..doubles import FakeClock, StubBus, StubDynamoDB, client_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SESSION = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
OPERATIONS = ("transact_write_items", "put_item", "put_events", "send_message")


class AsyncClient:
    """A client whose methods are coroutine functions."""

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        return request

    async def put_item(self, **request: Any) -> dict[str, Any]:
        return request

    async def put_events(self, **request: Any) -> dict[str, Any]:
        return request

    async def send_message(self, **request: Any) -> dict[str, Any]:
        return request


class AioClient:
    """aiobotocore's client, as it is built: its operations are plain functions that return coroutines."""

    async def _make_api_call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        return {name: request}

    def _call(self, **request: Any) -> Any:
        return self._make_api_call("PutEvents", request)

    transact_write_items = put_item = put_events = send_message = _call


class Unopened:
    """Result of aioboto3's ``session.client()``, to be opened with ``async with``."""

    async def __aenter__(self) -> AsyncClient:
        return AsyncClient()

    async def __aexit__(self, *_: object) -> None:
        pass


class Partial:
    """A client whose methods are partial objects of coroutine functions."""

    def __init__(self) -> None:
        for name in OPERATIONS:
            setattr(self, name, functools.partial(getattr(AsyncClient(), name)))


def autospec() -> object:
    """Return a mock of an async client."""
    return create_autospec(AsyncClient, instance=True)


class AioSubclass(type("AioBaseClient", (), {"__module__": "aiobotocore.client"})):  # type: ignore[misc]
    """A subclass of aiobotocore's client."""


MAKERS: list[Callable[[Any], object]] = [
    lambda client: TransactionalOutbox("events", client=client),
    lambda client: IdempotencyStore("handled", client=client),
    lambda client: ParkingTable("parking", client=client),
    lambda client: EventBridgePublisher("bus", client=client),
    lambda client: ParkingQueue("https://sqs/parking", client=client),
]
MAKER_IDS = ["outbox", "store", "parking table", "publisher", "parking queue"]


@pytest.mark.parametrize("make", MAKERS, ids=MAKER_IDS)
@pytest.mark.parametrize("kind", [AsyncClient, AioClient, Unopened, Partial, AioSubclass, AsyncMock, autospec])
def test_an_async_client_is_refused(make: Callable[[Any], object], kind: Any) -> None:
    """An async client is a TypeError at construction: its calls would send nothing."""
    with pytest.raises(TypeError, match="is an async client: async clients are not supported"):
        make(kind())


@pytest.mark.parametrize("make", MAKERS, ids=MAKER_IDS)
@pytest.mark.parametrize(
    ("client", "problem"),
    [
        (SESSION.resource("dynamodb"), "is a boto3 resource"),
        (SESSION.resource("dynamodb").Table("books"), "is a boto3 resource"),
        (SESSION.resource("sqs").Queue("https://sqs/parking"), "is a boto3 resource"),
        (SESSION.client("s3"), "is a client of s3; give boto3.client"),
        (SESSION.client("dynamodbstreams"), "is a client of dynamodbstreams"),
        (SESSION, "is a Session without"),
        (boto3, "is a module, not a client"),
        (boto3.client, "is a function, not a client"),
        (FakeDynamoDB, "is a type, not a client"),
        ("dynamodb", "is a str without"),
        (False, "is a bool without"),
        ({}, "is a dict without"),
    ],
)
def test_what_is_not_the_services_client_is_refused(
    make: Callable[[Any], object], client: object, problem: str
) -> None:
    """A resource, a table, a client of another service and anything else without the methods is a TypeError."""
    with pytest.raises(TypeError, match=problem):
        make(client)


@pytest.mark.parametrize("make", MAKERS[:3], ids=MAKER_IDS[:3])
def test_the_client_of_a_resource_is_refused(make: Callable[[Any], object]) -> None:
    """A resource's `meta.client` looks like a low-level client, but would encode typed values again."""
    client = SESSION.resource("dynamodb").meta.client
    with pytest.raises(TypeError, match=r"belongs to a boto3 resource \(it is its meta.client\)"):
        make(client)


def test_a_client_of_another_service_is_refused_by_each() -> None:
    """EventBridge's client is not DynamoDB's, nor the other way round."""
    with pytest.raises(TypeError, match=r"is a client of events; give boto3.client\('dynamodb'\)"):
        TransactionalOutbox("events", client=SESSION.client("events"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"is a client of dynamodb; give boto3.client\('events'\)"):
        EventBridgePublisher("bus", client=SESSION.client("dynamodb"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "client"),
    [
        *((make, SESSION.client("dynamodb")) for make in MAKERS[:3]),
        (MAKERS[3], SESSION.client("events")),
        (MAKERS[4], SESSION.client("sqs")),
        *((make, MagicMock()) for make in MAKERS),
        *((make, create_autospec(StubDynamoDB, instance=True)) for make in MAKERS[:3]),
        (MAKERS[0], create_autospec(SESSION.client("dynamodb"))),
        (MAKERS[0], FakeDynamoDB(clock=FakeClock())),
        (MAKERS[3], FakeEventBridge(clock=FakeClock())),
        (MAKERS[3], StubBus()),
        *((make, None) for make in MAKERS),
    ],
)
def test_a_client_with_the_methods_is_accepted(make: Callable[[Any], object], client: Any) -> None:
    """A low-level client, a fake, a mock and an object with the methods are clients."""
    make(client)


class Hidden:
    """A wrapper that doesn't show that its client is async."""

    def __getattr__(self, name: str) -> Any:
        return lambda **request: getattr(AsyncClient(), name)(**request)


def test_a_coroutine_is_not_a_response() -> None:
    """A client that returns a coroutine commits and publishes nothing, so the call raises an error."""
    outbox = TransactionalOutbox("events", source="Books", client=Hidden())
    with pytest.raises(NoResponseTypeError, match="transact_write_items returned an awaitable"):
        with outbox.transaction() as tx:
            tx.emit(Event("BookAdded", {}))
    with pytest.raises(NoResponseTypeError, match="put_events returned an awaitable"):
        EventBridgePublisher("bus", client=Hidden()).publish([Event("A", {}, source="Books")])


def test_a_task_in_place_of_a_response_is_cancelled() -> None:
    """If a client returns a task, the call raises an error, and the task does not send the request afterwards."""
    sent: list[object] = []

    async def send(**request: Any) -> None:
        sent.append(request)

    class Client:
        def put_events(self, **request: Any) -> Any:
            return asyncio.ensure_future(send(**request))

    async def publish() -> None:
        with pytest.raises(NoResponseTypeError):
            EventBridgePublisher("bus", client=Client()).publish([Event("A", {}, source="Books")])
        await asyncio.sleep(0)

    asyncio.run(publish())
    assert sent == []


class OwnClient:
    """The library's own client, with its errors in order; it records how long each call waits for a response."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.waits: list[float | None] = []

    def put_item(self, **_: Any) -> dict[str, Any]:
        self.waits.append(clients.response_time.get())
        if self._errors:
            raise self._errors.pop(0)
        return {}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OwnClient]]:
    """Return a function that replaces the library's own client."""

    def replace(*errors: Exception) -> OwnClient:
        client = OwnClient(*errors)
        monkeypatch.setattr(clients, "shared_client", lambda _: client)
        return client

    yield replace
    assert clients.response_time.get() is None


class Context:
    """A Lambda context whose time goes by with a clock."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.now().timestamp() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - self._clock.now().timestamp()) * 1000)


PASSING = [
    client_error("ThrottlingException"),
    client_error("ProvisionedThroughputExceededException"),
    client_error("RequestLimitExceeded"),
    client_error("SomethingNew", ResponseMetadata={"HTTPStatusCode": 429}),
    client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500}),
    client_error("503", ResponseMetadata={"HTTPStatusCode": 503}),
    ReadTimeoutError(endpoint_url="http://dynamodb"),
    ConnectTimeoutError(endpoint_url="http://dynamodb"),
    ConnectionResetError(),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_our_own_client_is_called_again(own: Callable[..., OwnClient], error: Exception) -> None:
    """Throttling, an error of the service and no response are retried, with waits between the attempts."""
    clock = FakeClock()
    client = own(*[error] * (ATTEMPTS - 1))
    assert Service("dynamodb", None, clock).call("put_item") == {}
    assert client.waits == [clients.READ_TIMEOUT] * ATTEMPTS
    assert clock.slept == [0.05, 0.1, 0.2]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_our_own_client_gives_up(own: Callable[..., OwnClient], error: Exception) -> None:
    """The error of the last attempt is raised."""
    client = own(*[error] * ATTEMPTS)
    with pytest.raises(type(error)):
        Service("dynamodb", None, FakeClock()).call("put_item")
    assert len(client.waits) == ATTEMPTS


@pytest.mark.parametrize(
    "error", [client_error("ValidationException"), client_error("ConditionalCheckFailedException"), TypeError()]
)
def test_a_refusal_is_not_retried(own: Callable[..., OwnClient], error: Exception) -> None:
    """A refusal for a reason other than throttling, or a bug, is raised without a retry."""
    client = own(error)
    with pytest.raises(type(error)):
        Service("dynamodb", None, FakeClock()).call("put_item")
    assert len(client.waits) == 1


@pytest.mark.parametrize("error", [PASSING[0], PASSING[6]], ids=repr)
def test_a_users_client_is_called_once(error: Exception) -> None:
    """A user's client has its own retries, so the library adds none."""
    client = OwnClient(error)
    with pytest.raises(type(error)):
        Service("dynamodb", client, FakeClock()).call("put_item")
    assert client.waits == [None]


@pytest.mark.parametrize(
    ("left", "seconds", "expected"),
    [
        (None, None, clients.READ_TIMEOUT),
        (None, 2.0, 2.0),
        (None, 60.0, clients.READ_TIMEOUT),
        (None, -1.0, 0.5),
        (60, None, clients.READ_TIMEOUT),
        (3, None, 2.8),
        (3, 2.0, 2.0),
        (1.2, 2.0, 1.0),
        (0.1, None, 0.5),
    ],
)
def test_a_response_is_waited_for_as_long_as_there_is_time(
    own: Callable[..., OwnClient], left: float | None, seconds: float | None, expected: float
) -> None:
    """A call's read timeout fits the caller's limit and what is left of Lambda's time, with a rest for the response."""
    clock = FakeClock()
    client = own()
    with invocation(None if left is None else Context(clock, left)):
        Service("dynamodb", None, clock).send("put_item", seconds=seconds)
    assert client.waits == [pytest.approx(expected, abs=0.01)]


def test_a_call_is_not_repeated_after_lambdas_time(own: Callable[..., OwnClient]) -> None:
    """The library stops retrying when the invocation's time is over, so that the function can respond."""
    clock = FakeClock()
    client = own(*[PASSING[6]] * ATTEMPTS)
    with pytest.raises(ReadTimeoutError), invocation(Context(clock, 0.3)):
        Service("dynamodb", None, clock).call("put_item")
    assert len(client.waits) == 2


def test_an_invocation_ends_with_its_block(own: Callable[..., OwnClient]) -> None:
    """A context that tells no time limits nothing, and no limit outlives its invocation."""
    clock = FakeClock()
    client = own()
    service = Service("dynamodb", None, clock)
    with invocation(Context(clock, 2)), invocation(object()):
        service.send("put_item")
    with invocation(object()):
        service.send("put_item")
    service.send("put_item")
    assert client.waits == [pytest.approx(1.8, abs=0.01), clients.READ_TIMEOUT, clients.READ_TIMEOUT]


@pytest.fixture
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Direct the library's own clients to a server that accepts connections and never responds."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        clients.forget_shared_clients()
        yield
        clients.forget_shared_clients()


@pytest.mark.usefixtures("silent_server")
def test_botocore_waits_no_longer_than_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent server costs one HTTP attempt of the call's own read timeout."""
    if "context.get('read_timeout')" not in inspect.getsource(botocore.httpsession):
        pytest.skip("this botocore has no read timeout per call")
    monkeypatch.setattr("dynamo_outbox.aws.service.SHORTEST_RESPONSE_TIME", 0.01)
    attempts: list[object] = []
    clients.shared_client("events").meta.events.register("before-send.events.*", lambda **_: attempts.append(1))
    with pytest.raises(ReadTimeoutError) as caught:
        Service("events", None, FakeClock()).send("put_events", seconds=0.05, Entries=[{"Detail": "{}"}])
    assert "read timeout=0.05" in str(caught.value.kwargs["error"])
    assert len(attempts) == 1
