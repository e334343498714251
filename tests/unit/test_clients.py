"""The clients that the library makes where it is given none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.clients import forget_shared_clients, shared_client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
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
