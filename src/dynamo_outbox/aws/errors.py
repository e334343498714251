"""Reading botocore's exceptions: what DynamoDB refused, and what has no response."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ChecksumError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from .throttling import THROTTLED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["NO_RESPONSE", "error_code", "http_status", "is_throttled", "is_unreadable", "item_of_refusal"]

NO_RESPONSE = (
    HTTPClientError,
    BotocoreConnectionError,
    ChecksumError,
    ResponseParserError,
    HTTPError,
    HTTPException,
    OSError,
    UnicodeDecodeError,
)
"""Exceptions of botocore, or passed through by it, if no readable response arrived: the request may have been carried
out."""


def error_code(error: Exception) -> str:
    """Return AWS's error code, or the exception's name."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__


def http_status(error: Exception) -> int | None:
    """Return the HTTP status of AWS's response, or None."""
    status = (
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(error, ClientError) else None
    )
    return status if isinstance(status, int) else None


def is_unreadable(error: ClientError) -> bool:
    """Return whether an error is not AWS's own refusal: a status of 500 or above, or a response without a code."""
    return (http_status(error) or 400) >= 500 or error_code(error).isdigit()


def is_throttled(error: ClientError) -> bool:
    """Return whether AWS refused a request because of its rate, so that it was not carried out."""
    return error_code(error) in THROTTLED or http_status(error) == 429


def item_of_refusal(error: Exception) -> Mapping[str, Any] | None:
    """Return the item that a failed condition met, empty if there was none; None for any other error."""
    if isinstance(error, ClientError) and error_code(error) == "ConditionalCheckFailedException":
        return cast("Mapping[str, Any]", error.response.get("Item", {}))
    return None
