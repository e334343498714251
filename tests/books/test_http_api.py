"""The stand-in for the HTTP API: the events that Lambda receives and the responses that the client receives."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from local.demo import request
from local.http_api import HttpApi, Route, payload, routes_of

ROUTES = [Route("POST", "/book", "AddBook"), Route("GET", "/book/{name}", "GetBooks")]


def integration(function: str) -> dict[str, Any]:
    uri = f"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/functions/${{{function}.Arn}}/invocations"
    return {"x-amazon-apigateway-integration": {"uri": {"Fn::Sub": uri}}}


def test_routes_are_the_templates_own() -> None:
    """Each path and method of the processed template is a route to its function; routes with parameters come last."""
    paths = {
        "/book/{name}": {"get": integration("GetBooks")},
        "/book": {"post": integration("AddBook"), "delete": integration("RemoveBook")},
    }
    assert routes_of({"Body": {"paths": paths}}) == [
        Route("POST", "/book", "AddBook"),
        Route("DELETE", "/book", "RemoveBook"),
        Route("GET", "/book/{name}", "GetBooks"),
    ]


@pytest.mark.parametrize(
    ("content_type", "encoded"),
    [
        ("application/json", False),
        ("application/json; charset=utf-8", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", True),
        ("application/octet-stream", True),
        (None, True),
    ],
)
def test_a_body_that_is_no_text_type_is_base64_encoded(content_type: str | None, encoded: bool) -> None:
    """Only a body with a text content type is passed on as text, as the HTTP API does."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    event = payload(ROUTES[0], "POST", "/book", headers, b'{"name": 1}', {})
    assert event["isBase64Encoded"] is encoded
    assert event["body"] == (b64encode(b'{"name": 1}').decode() if encoded else '{"name": 1}')


def test_a_request_is_passed_on_whole() -> None:
    """Path parameters are decoded, header names are in lower case, and a query's repeated names are joined."""
    event = payload(ROUTES[1], "GET", "/book/a%20b?x=1&x=2", {"X-One": "1"}, b"", {"name": "a b"})
    assert event["routeKey"] == "GET /book/{name}"
    assert event["rawPath"] == "/book/a b"
    assert event["pathParameters"] == {"name": "a b"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert event["headers"] == {"x-one": "1"}
    assert "body" not in event


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ({"statusCode": 201, "headers": {"content-type": "application/json"}, "body": "{}"}, 201, "{}"),
        ({"statusCode": 204}, 204, ""),
        ({"statusCode": 200, "body": b64encode(b"text").decode(), "isBase64Encoded": True}, 200, "text"),
        ({"errorType": "KeyError", "errorMessage": "x"}, 500, '{"message": "Internal Server Error"}'),
        ({"name": "no status"}, 200, '{"name": "no status"}'),
    ],
)
def test_an_answer_reaches_the_client(answer: dict[str, Any], status: int, text: str) -> None:
    """The function's result becomes the HTTP response; a failed function becomes a 500 response."""
    called = []

    def invoke(function: str, event: dict[str, Any]) -> dict[str, Any]:
        called.append((function, event["body"]))
        return answer

    with HttpApi() as api:
        api.serve(ROUTES, invoke)
        assert request("POST", f"{api.url}/book", b"{}") == (status, text)
    assert called == [("AddBook", "{}")]


def test_a_path_parameter_is_decoded() -> None:
    """The function receives a name in the path decoded, here with a space."""
    names = []

    def invoke(_function: str, event: dict[str, Any]) -> dict[str, Any]:
        names.append(event["pathParameters"]["name"])
        return {"statusCode": 204}

    with HttpApi() as api:
        api.serve(ROUTES, invoke)
        assert request("GET", f"{api.url}/book/Team%20Topologies", b"") == (204, "")
    assert names == ["Team Topologies"]


def test_what_has_no_route_is_not_found() -> None:
    """A path or method that the template does not name gets a 404 response, and no function is invoked."""
    with HttpApi() as api:
        api.serve(ROUTES, lambda *_: pytest.fail("called"))
        assert request("POST", f"{api.url}/books", b"{}")[0] == 404
        assert request("DELETE", f"{api.url}/book", b"{}")[0] == 404
