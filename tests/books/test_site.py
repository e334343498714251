"""The page's server: who may use it, what changes state, and what it serves."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import pytest

from local.hops import About, Hop
from local.http_api import Route
from local.packaging import PROJECT
from local.site import Site
from local.stage import MODES, Stage
from local.trouble import ACTIONS, Faults, Trouble
from local.watch import Watch, diagram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_outbox.testing import FaultProxy
    from local.hops import HopReader


class StubReader:
    """A reader of hops that the test sets."""

    def __init__(self) -> None:
        self.parts = ["stream", "bus", "consumer"]
        self.hops: dict[str, list[Hop]] = {part: [] for part in self.parts}

    def read(self, part: str) -> list[Hop]:
        return self.hops[part]


class StubStage:
    """A deployed mode without an engine: every function returns 201."""

    mode = MODES["outbox-pipe"]
    custom_bus = None

    def routes(self) -> list[Route]:
        return [Route("POST", "/book", "AddBook"), Route("DELETE", "/book", "RemoveBook")]

    def invoke(self, _function: str, _event: dict[str, Any]) -> dict[str, Any]:
        return {"statusCode": 201}


@pytest.fixture
def reader() -> StubReader:
    return StubReader()


@pytest.fixture
def watch(reader: StubReader) -> Watch:
    return Watch(cast("HopReader", reader), now=lambda: 1000.0)


@pytest.fixture
def site(watch: Watch) -> Iterator[Site]:
    with Site() as site:
        site.show(Trouble(cast("Stage", StubStage()), watch, cast("FaultProxy", None), Faults(), site.call))
        yield site


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def connect(site: Site, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPConnection:
    """Send a request with these headers, Host among them."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(site.url).port, timeout=10)
    own = {"Host": urlsplit(site.url).netloc, "Content-Type": "application/json"}
    connection.request(method, path, body, {**own, **headers})
    return connection


def ask(site: Site, method: str, path: str, body: str = "", **headers: str) -> Answer:
    """Send a request and return the response, without the content if that has no length, as the live events."""
    with closing(connect(site, method, path, body, **headers)) as connection:
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read(answer.length or 0).decode())


@pytest.mark.parametrize(
    "headers",
    [{"Host": "books.example"}, {"Host": "localhost"}, {"Origin": "http://books.example"}, {"Origin": "null"}],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/page/live"), ("GET", "/book"), ("POST", "/book"), ("POST", "/page/break/again")],
)
def test_another_page_is_refused(site: Site, watch: Watch, method: str, path: str, headers: dict[str, str]) -> None:
    """A request with another Host or Origin gets a 403 response, and no function is invoked."""
    assert ask(site, method, path, '{"name": "A"}', **headers).status == 403
    assert watch.traces == []


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_page_itself_is_served(site: Site, name: str) -> None:
    """The server's own Host and Origin are accepted, under both names of the loopback address."""
    host = f"{name}:{urlsplit(site.url).port}"
    assert ask(site, "POST", "/book", '{"name": "A"}', Host=host, Origin=f"http://{host}").status == 201


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_action_takes_post_only(site: Site, action: str, method: str) -> None:
    """A request for an action with another method than POST gets a 405 response that names POST."""
    answer = ask(site, method, f"/page/break/{action}")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(("path", "kind"), [("/", "html"), ("/page/page.css", "css"), ("/page/page.js", "javascript")])
def test_the_files_come_with_a_policy_that_allows_no_other_host(site: Site, path: str, kind: str) -> None:
    """The page's files load nothing from another host and run no inline script."""
    answer = ask(site, "GET", path)
    assert kind in answer.headers["Content-Type"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "innerHTML" not in answer.text
    assert "//" not in answer.text.replace("// ", "")


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.name)
def test_an_action_links_to_its_guarantee(site: Site, action: Any) -> None:
    """The link of each action opens a page of the docs that has a heading with the link's text."""
    answer = ask(site, "GET", f"/docs/{action.page}")
    assert (answer.status, f"# {action.link}" in answer.text) == (200, True)


@pytest.mark.parametrize("path", ["/docs/../pyproject.toml", "/docs/%2e%2e/pyproject.toml", "/docs/no-such-page.md"])
def test_only_pages_of_the_docs_are_served(site: Site, path: str) -> None:
    """A path that leaves the docs, or has no page there, is not found."""
    assert (PROJECT / "pyproject.toml").is_file()
    assert ask(site, "GET", path).status == 404


def test_what_a_mode_lacks_is_said(site: Site) -> None:
    """Redriving with a pipe, which doesn't park, gets a 409 response that says how to try it."""
    answer = ask(site, "POST", "/page/break/redrive", "{}")
    assert (answer.status, "RELAY=lambda" in json.loads(answer.text)["message"]) == (409, True)


def test_an_event_is_sent_when_it_changes(site: Site) -> None:
    """The live connection first sends the events so far, and then each change."""
    ask(site, "POST", "/book", '{"name": "<b>A</b>"}')
    with closing(connect(site, "GET", "/page/live")) as connection, connection.getresponse() as live:
        assert live.headers["Content-Type"] == "text/event-stream"

        def next_event() -> dict[str, Any]:
            line = b""
            while not line.startswith(b"data: "):
                line = live.readline()
            event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return event

        assert (first := next_event())["book"] == "<b>A</b>"
        assert [hop["node"] for hop in first["hops"]] == ["api", "function"]
        ask(site, "DELETE", "/book", '{"name": "A"}')
        assert next_event()["event_type"] == "BookRemoved"


def test_hops_find_their_event(site: Site, watch: Watch, reader: StubReader) -> None:
    """A hop goes to its event by the id, else by its type and book, and a line by the book's name."""
    for name in ("A", "A B"):
        site.call("POST", {"name": name})
    reader.hops["stream"] = [Hop("stream", "", {}, About("e2", "BookAdded", "A B"), 0.0)]
    events = [About("e2", "BookAdded", None), About("e1", "BookAdded", "A")]
    reader.hops["bus"] = [Hop("bus", "", {}, about, 0.0) for about in events]
    reader.hops["consumer"] = [Hop("consumer", "", {"line": "A B was added!"}, About(None, "BookAdded"), 0.0)]
    watch.look()
    watch.look()  # nothing is new
    nodes = {trace.book: [hop.node for hop in trace.hops[2:]] for trace in watch.traces}
    assert nodes == {"A": ["bus"], "A B": ["stream", "bus", "consumer"]}
    assert [trace.event_id for trace in watch.traces] == ["e1", "e2"]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"name": 1}'])
def test_a_request_without_a_name_is_not_an_event(site: Site, watch: Watch, body: str) -> None:
    """A request whose body names no book reaches the API and is not shown as an event."""
    assert ask(site, "POST", "/book", body).status == 201
    assert watch.traces == []


@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_each_mode_has_a_diagram(mode: Any) -> None:
    """A mode's diagram has its carrier, and a branch where records are parked."""
    nodes = {node.name: node for node in diagram(mode)}
    assert (mode.carrier or "pipe") in nodes
    assert all(node.beside in ("", mode.carrier) for node in nodes.values())
    assert ("parking" in nodes) is (mode.carrier is not None)
