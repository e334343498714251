"""Requests and responses of the HTTP API, in Lambda's payload version 2.0.

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
    """The request is invalid; the message says why."""


def answer(status: int, body: object = None) -> Answer:
    """Return a response with a JSON body, or without a body."""
    if body is None:
        return {"statusCode": status}
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def answers(handler: Handler) -> Handler:
    """Respond with 400 if the handler raises `BadRequestError`."""

    @wraps(handler)
    def answering(event: dict[str, Any], context: object) -> Answer:
        try:
            return handler(event, context)
        except BadRequestError as error:
            return answer(400, {"message": str(error)})

    return answering


def body_as(model: type[Model], event: dict[str, Any]) -> Model:
    """Return the request's body as a model.

    Raises:
        BadRequestError: The body is missing or not a JSON object, or a field is missing or invalid; the message names
            the field.
    """
    text = event.get("body")
    if not text:
        raise BadRequestError("the request has no body; send a JSON object")
    try:
        document = json.loads(b64decode(text, validate=True) if event.get("isBase64Encoded") else text)
    except ValueError as error:  # invalid base64, UTF-8 or JSON
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
