"""The library's default clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.session import get_session

from dynamo_outbox.aws.clients import SERVICES, forget_shared_clients, shared_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "the-shop")
    forget_shared_clients()
    yield shared_client("dynamodb")
    forget_shared_clients()


def test_a_client_of_ours_gives_up_before_lambda_does(client: Any) -> None:
    """A default client times out within seconds, which leaves time to settle the commit."""
    assert client.meta.config.connect_timeout <= 5
    assert client.meta.config.read_timeout <= 10


@pytest.mark.parametrize("service", [each for each in SERVICES if each in get_session().get_available_services()])
@pytest.mark.usefixtures("client")
def test_a_client_of_ours_makes_one_attempt(service: str) -> None:
    """A default client makes one HTTP attempt, because only the library knows how much time is left for another."""
    retries = shared_client(service).meta.config.retries
    assert (retries["total_max_attempts"], retries["mode"]) == (1, "standard")
    assert shared_client(service).meta.config.connect_timeout == 2
    assert shared_client(service).meta.config.read_timeout == 5


@pytest.mark.usefixtures("client")
def test_a_setting_of_the_environment_adds_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_MAX_ATTEMPTS and AWS_RETRY_MODE are for clients that retry by themselves."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    forget_shared_clients()
    client = shared_client("dynamodb")
    sent: list[object] = []

    def fail(**_: Any) -> None:
        sent.append(1)
        raise ConnectionResetError

    client.meta.events.register("before-send", fail)
    with pytest.raises(ConnectionResetError):
        client.list_tables()
    assert len(sent) == 1


def test_a_client_is_made_once(client: Any) -> None:
    """A service's client is shared until the clients are forgotten."""
    assert shared_client("dynamodb") is client
    forget_shared_clients()
    assert shared_client("dynamodb") is not client


class NoTables:
    """The body of a response to ListTables."""

    def stream(self) -> Iterator[bytes]:
        yield b'{"TableNames": []}'


def agents(client: Any, *requests: Callable[[Any], object]) -> list[list[set[str]]]:
    """Return the words of each request's User-Agent header, and the words' parts, in any order."""
    named: list[str] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        agent = request.headers["User-Agent"]
        named.append(agent if isinstance(agent, str) else agent.decode())
        return AWSResponse(request.url, 200, HTTPHeaders(), NoTables())

    client.meta.events.register("before-send", answer)
    for request in requests:
        request(client)
    client.meta.events.unregister("before-send", answer)
    return [[set(word.split(",")) for word in each.replace("/", ",").split(" ")] for each in named]


def list_tables(client: Any) -> None:
    client.list_tables()


def list_tables_by_pages(client: Any) -> None:
    list(client.get_paginator("list_tables").paginate())


@pytest.mark.parametrize("has_default_session", [False, True])
@pytest.mark.usefixtures("client")
def test_a_client_of_ours_names_itself_as_its_sessions_others_do(
    monkeypatch: pytest.MonkeyPatch, *, has_default_session: bool
) -> None:
    """The User-Agent header is the same as that of the session's other clients."""
    forget_shared_clients()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session() if has_default_session else None)
    make: Any = boto3.Session().client if has_default_session else get_session().create_client
    requests = [list_tables, list_tables_by_pages, list_tables, list_tables_by_pages]
    ours = agents(shared_client("dynamodb"), *requests)
    same = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1, "mode": "standard"})
    assert ours == agents(make("dynamodb", config=same), *requests)
    assert len(ours) == 4


def test_how_a_client_names_itself_is_made_once_for_each_use(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The User-Agent header is cached; botocore would build it twice for each request."""
    useragent = pytest.importorskip("botocore.useragent")
    pytest.importorskip("botocore.context")  # an older botocore is not changed
    agents(client, list_tables, list_tables_by_pages)
    monkeypatch.delattr(useragent.UserAgentString, "_build_sdk_metadata")  # building it again would fail
    assert len(agents(client, list_tables, list_tables_by_pages, list_tables)) == 3
