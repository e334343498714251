"""The books' API: request validation and the responses to invalid requests."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from books.api import BadRequestError, answer, answers, body_as
from books.book import Book, Named

BOOK = {"name": "Team Topologies", "authors": ["Manuel Pais", "Matthew Skelton"], "year": 2019}


def request_with(body: object) -> dict[str, Any]:
    return {"version": "2.0", "body": json.dumps(body), "isBase64Encoded": False}


def test_a_book_is_read_from_the_body() -> None:
    """A complete JSON body becomes a book."""
    assert body_as(Book, request_with(BOOK)).model_dump() == BOOK


def test_a_base64_body_is_decoded() -> None:
    """A body that the HTTP API encoded as base64 is decoded."""
    event = {"body": b64encode(json.dumps(BOOK).encode()).decode(), "isBase64Encoded": True}
    assert body_as(Book, event).name == "Team Topologies"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 501}, "name"),
        ({"authors": []}, "authors"),
        ({"authors": "Manuel Pais"}, "authors"),
        ({"authors": ["Manuel Pais", ""]}, "authors.1"),
        ({"authors": [1]}, "authors.0"),
        ({"year": "2019"}, "year"),
        ({"year": 2019.5}, "year"),
        ({"year": True}, "year"),
        ({"year": 10**40}, "year"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    """An empty field or one of the wrong type is rejected, and the error names it."""
    with pytest.raises(BadRequestError, match=rf"^{field}: "):
        body_as(Book, request_with({**BOOK, **change}))


@pytest.mark.parametrize("field", ["name", "authors", "year"])
def test_a_missing_field_is_named(field: str) -> None:
    """A missing field is rejected, and the error names it."""
    with pytest.raises(BadRequestError, match=rf"^{field}: Field required"):
        body_as(Book, request_with({name: value for name, value in BOOK.items() if name != field}))


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({}, "no body"),
        ({"body": ""}, "no body"),
        ({"body": None}, "no body"),
        ({"body": "name=x"}, "not JSON"),
        ({"body": "[1]"}, "not an object"),
        ({"body": "[" * 100_000}, "nested too deeply"),
        ({"body": "%%%", "isBase64Encoded": True}, "not JSON"),
        ({"body": b64encode(b"\xff\xfe{").decode(), "isBase64Encoded": True}, "not JSON"),
        ({"body": '{"name": "\\ud800"}'}, "name"),
    ],
)
def test_what_is_no_json_object_is_refused(event: dict[str, Any], problem: str) -> None:
    """A missing body, invalid JSON, a value that is not an object, and a bad encoding are rejected with the reason."""
    with pytest.raises(BadRequestError, match=problem):
        body_as(Named, event)


def test_a_bad_request_is_answered_with_400() -> None:
    """A handler's BadRequestError becomes a 400 response with the error's message."""

    @answers
    def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
        raise BadRequestError("name: is missing")

    answered = handler({}, None)
    assert (answered["statusCode"], json.loads(answered["body"])) == (400, {"message": "name: is missing"})


def test_an_answer_without_a_body_has_none() -> None:
    """A 204 response has no body."""
    assert answer(204) == {"statusCode": 204}
