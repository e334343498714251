"""The page at ``/`` beside the API: its files, its live events, and its actions.

Only a page of this server may use it: every request's Host must be this server's, and its Origin too, if it has one.
"""

import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .failure import HopFailedError
from .http_api import HttpApi, json_answer
from .packaging import PROJECT
from .trouble import ACTIONS, Trouble, UnavailableError
from .watch import Watch, diagram

FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
}
FOLDER = Path(__file__).parent / "page"
LIVE = "/page/live"
ACTION = re.compile(r"/page/break/(\w+)")
DOCS = re.compile(r"/docs/([\w-]+\.md)")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HEARTBEAT = 5.0
"""Seconds after which a comment is sent on a quiet connection, which shows whether it is still open."""

Answer = tuple[int, dict[str, str], bytes]


class Site(HttpApi):
    """The API and the page, on a loopback port.

    Args:
        port: The port; 0 for a free one.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._trouble: Trouble | None = None

    def show(self, trouble: Trouble) -> None:
        """Serve the page for a deployed mode; its API's functions are invoked as the page watches them."""
        self._trouble = trouble
        self.serve(trouble.stage.routes(), trouble.watch.watched(trouble.stage.invoke))

    def call(self, method: str, body: Mapping[str, Any]) -> int:
        """Send a request to ``/book`` of the API; return the response's status."""
        headers = {"content-type": "application/json"}
        return super().respond(method, "/book", headers, json.dumps(body).encode())[0]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Send the response to a request; the live events until the client disconnects."""
        live = urlsplit(request.path).path == LIVE and request.command == "GET"
        if live and self._trouble is not None and self._refusal(dict(request.headers)) is None:
            self._send_live(request, self._trouble.watch)
        else:
            super().handle(request)

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the response to a request: 403 if it comes from another page, else the page's or the API's."""
        if (problem := self._refusal(headers)) is not None:
            return json_answer(403, {"message": problem})
        path = urlsplit(target).path
        if self._trouble is None or not (path in FILES or path.startswith(("/page/", "/docs/"))):
            return super().respond(method, target, headers, body)
        status, own, content = self._page(method, path, body, self._trouble)
        return status, {**own, **HEADERS}, content

    def _refusal(self, headers: Mapping[str, str]) -> str | None:
        """Return why a request is refused; None if it is not."""
        port = urlsplit(self.url).port
        hosts = {f"{name}:{port}" for name in ("localhost", "127.0.0.1")}
        given = {name.lower(): value for name, value in headers.items()}
        if given.get("host") not in hosts:
            return f"the Host must be one of {', '.join(sorted(hosts))}"
        if given.get("origin", self.url) not in {f"http://{host}" for host in hosts}:
            return "requests from pages of another origin are refused"
        return None

    def _page(self, method: str, path: str, body: bytes, trouble: Trouble) -> Answer:
        action = ACTION.fullmatch(path)
        allowed = "POST" if action else "GET"
        if method != allowed:
            status, headers, content = json_answer(405, {"message": f"only {allowed} is allowed here"})
            return status, {**headers, "Allow": allowed}, content
        if action is not None and action[1] in ACTIONS:
            return _do(trouble, action[1], body)
        if path == "/page/way":
            return json_answer(200, _way(trouble))
        page = DOCS.fullmatch(path)
        if page is not None and (file := PROJECT / "docs" / page[1]).is_file():
            return 200, {"content-type": "text/plain; charset=utf-8"}, file.read_bytes()
        if path in FILES:
            name, kind = FILES[path]
            return 200, {"content-type": f"{kind}; charset=utf-8"}, (FOLDER / name).read_bytes()
        return json_answer(404, {"message": "Not Found"})

    def _send_live(self, request: BaseHTTPRequestHandler, watch: Watch) -> None:
        """Send each event as a server-sent event whenever it changes; all of them first."""
        request.close_connection = True
        request.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **HEADERS}.items():
            request.send_header(name, value)
        request.end_headers()
        version = 0
        try:
            request.wfile.write(b": connected\n\n")
            while True:
                version, traces = watch.changes(version, HEARTBEAT)
                request.wfile.write("".join(f"data: {trace}\n\n" for trace in traces).encode() or b": waiting\n\n")
        except OSError:  # the client has disconnected
            return


def _way(trouble: Trouble) -> dict[str, Any]:
    """Return what the page shows of a mode before anything has happened."""
    mode = trouble.stage.mode
    return {
        "title": mode.title,
        "nodes": [node._asdict() for node in diagram(mode)],
        "actions": [{**vars(action), "unavailable": trouble.unavailable(action)} for action in ACTIONS.values()],
    }


def _do(trouble: Trouble, name: str, body: bytes) -> Answer:
    try:
        trace = json.loads(body or b"{}").get("trace")
    except (ValueError, AttributeError):
        return json_answer(400, {"message": "the body must be a JSON object"})
    try:
        return json_answer(200, vars(trouble.do(name, trace)))
    except UnavailableError as error:
        return json_answer(409, {"message": str(error)})
    except HopFailedError as error:
        return json_answer(504, {"message": str(error)})
