"""A stand-in for the HTTP API, because the engine does not serve its routes.

It serves the routes of the template and passes each request to the engine's Lambda, as payload version 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import json
import re
import threading
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Invoke = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Invokes a function, named by its logical id, with an event and returns its result."""

_TEXT_TYPES = re.compile(r"text/.*|application/(json|javascript|xml)|.*\+(json|xml)")
"""Content types of bodies that are passed on as text; all other bodies are base64-encoded."""


class Route(NamedTuple):
    """A route of the template."""

    method: str
    path: str
    function: str

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the path's parameters if the request matches the route, else None."""
        pattern = "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{[^}]+\})", self.path)
        )
        found = re.fullmatch(pattern, path) if method == self.method else None
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def routes_of(api: Mapping[str, Any]) -> list[Route]:
    """Return the routes of an ``AWS::ApiGatewayV2::Api`` that SAM generated; those without parameters come first."""
    routes = []
    for path, operations in api["Body"]["paths"].items():
        for method, operation in operations.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            (function,) = re.findall(r"\$\{(\w+)\.Arn\}", uri)
            routes.append(Route(method.upper(), path, function))
    return sorted(routes, key=lambda route: "{" in route.path)


class HttpApi:
    """HTTP server on a loopback port, which it binds at construction. `serve` sets its routes.

    Args:
        port: The port; 0 for a free one.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._routes: list[Route] = []
        self._invoke: Invoke = _nothing_deployed
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_request(self) -> None:
                api.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_request  # noqa: N815  # http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def serve(self, routes: list[Route], invoke: Invoke) -> None:
        """Serve these routes.

        Args:
            routes: The routes.
            invoke: Invokes a function.
        """
        self._routes, self._invoke = routes, invoke

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Read a request's body and send the response."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        status, headers, content = self.respond(request.command, request.path, dict(request.headers), body)
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    def respond(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the response to a request: status, headers and content."""
        for route in self._routes:
            parameters = route.match(method, urlsplit(target).path)
            if parameters is not None:
                event = payload(route, method, target, headers, body, parameters)
                return _http_answer(self._invoke(route.function, event))
        return json_answer(404, {"message": "Not Found"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _nothing_deployed(function: str, _event: dict[str, Any]) -> dict[str, Any]:
    raise LookupError(f"{function} is not deployed")


def payload(
    route: Route, method: str, target: str, headers: Mapping[str, str], body: bytes, parameters: dict[str, str]
) -> dict[str, Any]:
    """Return the event that Lambda receives for a request."""
    url, now = urlsplit(target), datetime.now(UTC)
    lowered = {name.lower(): value for name, value in headers.items()}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{route.method} {route.path}",
        "rawPath": unquote(url.path),
        "rawQueryString": url.query,
        "headers": lowered,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": method,
                "path": unquote(url.path),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": lowered.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex,
            "routeKey": f"{route.method} {route.path}",
            "stage": "$default",
            "time": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if parameters:
        event["pathParameters"] = parameters
    if url.query:
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(url.query, keep_blank_values=True):
            query.setdefault(name, []).append(value)
        event["queryStringParameters"] = {name: ",".join(values) for name, values in query.items()}
    if body:
        kind = lowered.get("content-type", "").partition(";")[0].strip().lower()
        try:
            text = body.decode() if _TEXT_TYPES.fullmatch(kind) else None
        except UnicodeDecodeError:
            text = None
        event["body"] = b64encode(body).decode() if text is None else text
        event["isBase64Encoded"] = text is None
    return event


def _http_answer(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    if "errorType" in answer:
        return json_answer(500, {"message": "Internal Server Error"})
    if "statusCode" not in answer:
        return json_answer(200, answer)
    content = answer.get("body") or ""
    encoded = b64decode(content) if answer.get("isBase64Encoded") else content.encode()
    return answer["statusCode"], dict(answer.get("headers") or {}), encoded


def json_answer(status: int, document: object) -> tuple[int, dict[str, str], bytes]:
    """Return a response with a JSON body."""
    return status, {"content-type": "application/json"}, json.dumps(document).encode()
