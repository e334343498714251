"""Requests and answers of the HTTP API, in Lambda's payload version 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import json
from base64 import b64decode
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Answer = dict[str, Any]
Handler = Callable[[dict[str, Any], object], Answer]


class BadRequestError(Exception):
    """The request is wrong, and the message says what about it."""


def answer(status: int, body: object = None) -> Answer:
    """An answer with a JSON body, or without one."""
    if body is None:
        return {"statusCode": status}
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def answers(handler: Handler) -> Handler:
    """Let a handler raise `BadRequestError` for what is answered with 400."""

    @wraps(handler)
    def answering(event: dict[str, Any], context: object) -> Answer:
        try:
            return handler(event, context)
        except BadRequestError as error:
            return answer(400, {"message": str(error)})

    return answering


def body_as(model: type[Model], event: dict[str, Any]) -> Model:
    """The request's body, checked.

    Raises:
        BadRequestError: No body, no JSON, or a field that is missing, empty or of the wrong type; the message names it.
    """
    text = event.get("body")
    if not text:
        raise BadRequestError("the request has no body; send a JSON object")
    try:
        document = json.loads(b64decode(text, validate=True) if event.get("isBase64Encoded") else text)
    except ValueError as error:  # neither base64, nor UTF-8, nor JSON
        raise BadRequestError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply") from None
    if not isinstance(document, dict):
        raise BadRequestError("the body is JSON, but not an object")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise BadRequestError("; ".join(problems)) from None
