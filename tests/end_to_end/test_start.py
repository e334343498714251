"""`make start` and `make start-cdc`: the service runs and responds as the README says."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from dynamo_outbox.testing.ministack import free_port
from local.demo import request

from .conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Running

pytestmark = pytest.mark.engine

INPUT = (PROJECT / "examples" / "books" / "input.json").read_bytes()


@pytest.mark.parametrize("mode", ["outbox-pipe", "cdc"])
def test_the_service_stays_up(start: Callable[..., Running], mode: str) -> None:
    """POST returns 201 and DELETE 204, the consumers' output appears, and Ctrl-C stops the service and cleans up."""
    port = free_port()
    service = start("start", mode, "--port", str(port))
    service.read_until("Press Ctrl-C to stop")
    url = f"http://localhost:{port}/book"
    assert request("POST", url, INPUT)[0] == 201
    service.read_until("BookAdded: Team Topologies (2019) by Manuel Pais, Matthew Skelton was added!")
    assert request("DELETE", url, b'{"name": "Team Topologies"}') == (204, "")
    service.read_until("BookRemoved: Team Topologies was removed!")
    service.process.send_signal(signal.SIGINT)
    assert service.finish() == 130
    assert service.leftovers() == []


def test_a_taken_port_is_said(start: Callable[..., Running]) -> None:
    """If the port is taken, the command names it, says what to do, and exits with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start("start", "outbox-pipe", "--port", str(port))
        assert service.finish() == 1
    assert f"Can't serve the API at port {port}" in service.printed
