"""The clients that the library makes where it is given none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.session import get_session

from dynamo_outbox.aws.clients import forget_shared_clients, shared_client

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
    """A request without an answer is given up after seconds, so that there is time left to settle what became of it."""
    assert client.meta.config.connect_timeout <= 5
    assert client.meta.config.read_timeout <= 10


def test_a_client_is_made_once(client: Any) -> None:
    """Whoever asks for a service's client gets the same one, until they are forgotten."""
    assert shared_client("dynamodb") is client
    forget_shared_clients()
    assert shared_client("dynamodb") is not client


class NoTables:
    """The body of an answer to ListTables."""

    def stream(self) -> Iterator[bytes]:
        yield b'{"TableNames": []}'


def agents(client: Any, *requests: Callable[[Any], object]) -> list[list[set[str]]]:
    """How a client names itself in each request: the words of the header, and the words' parts, in any order."""
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
    """The header tells AWS the same as without us: versions, the application's id, and what a request makes use of."""
    forget_shared_clients()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session() if has_default_session else None)
    make: Any = boto3.Session().client if has_default_session else get_session().create_client
    requests = [list_tables, list_tables_by_pages, list_tables, list_tables_by_pages]
    ours = agents(shared_client("dynamodb"), *requests)
    assert ours == agents(make("dynamodb", config=Config(connect_timeout=3, read_timeout=10)), *requests)
    assert len(ours) == 4


def test_how_a_client_names_itself_is_made_once_for_each_use(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore would make the text anew, twice for every request."""
    useragent = pytest.importorskip("botocore.useragent")
    pytest.importorskip("botocore.context")  # without it, this botocore is left as it is
    agents(client, list_tables, list_tables_by_pages)
    monkeypatch.delattr(useragent.UserAgentString, "_build_sdk_metadata")  # without which there is no making it
    assert len(agents(client, list_tables, list_tables_by_pages, list_tables)) == 3
