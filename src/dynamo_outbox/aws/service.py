"""Calls of an AWS service: by the user's client, or by the library's own with retries and a time limit."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from ..log_lines import fields, logger
from . import clients
from .backoff import full_jitter
from .errors import NO_RESPONSE, error_code, is_throttled, is_unreadable
from .lambda_context import time_for_response

if TYPE_CHECKING:
    from ..options import Clock

__all__ = ["ATTEMPTS", "NoResponseTypeError", "Service"]

log = logger(__name__)

ATTEMPTS = 4
"""Attempts of a call by the library's own client, the first included: botocore's number in its standard mode."""
SHORTEST_RESPONSE_TIME = 0.5
"""Seconds that each call gets, however little time is left."""


class NoResponseTypeError(TypeError):
    """A client returned a coroutine: the request was not sent."""


class Service:
    """The operations of one AWS service.

    Args:
        name: botocore's name of the service.
        given: The user's client; it keeps its own timeouts and retries. None for the library's own.
        clock: Waits between attempts.
        region: The only Region that can carry out the calls; by default the client's.

    Raises:
        ValueError: `given` is a client in another Region.
        TypeError: `given` is an async client, a resource, a table, a client of another service, or not a client.
    """

    def __init__(self, name: str, given: object, clock: Clock, region: str | None = None) -> None:
        if given is not None:
            _refuse_unfit(given, name)
        if region is not None and isinstance(given, BaseClient) and given.meta.region_name != region:
            raise ValueError(f"client={given!r} calls {given.meta.region_name}; give one with region_name={region!r}")
        self._name = name
        self._region = () if region is None else (region,)
        self._given = given
        self._clock = clock

    @property
    def is_thread_safe(self) -> bool:
        """Return whether the client is known to be usable from several threads, as boto3's clients are."""
        return self._given is None or isinstance(self._given, BaseClient)

    def send(self, operation: str, /, *, seconds: float | None = None, **request: Any) -> Any:
        """Call an operation once.

        Args:
            operation: The method's name: ``put_events``.
            seconds: How long to wait for the response at most; the user's client keeps its own timeout.
            request: The operation's parameters.

        Raises:
            NoResponseTypeError: The client returned a coroutine.
        """
        if self._given is None:
            limits = [clients.READ_TIMEOUT, seconds, time_for_response()]
            limit = min(each for each in limits if each is not None)
            token = clients.response_time.set(max(SHORTEST_RESPONSE_TIME, limit))
            try:
                return _named(getattr(clients.shared_client(self._name, *self._region), operation), request)
            finally:
                clients.response_time.reset(token)
        response = _named(getattr(self._given, operation), request)
        if hasattr(response, "__await__"):
            (response.close if inspect.iscoroutine(response) else getattr(response, "cancel", bool))()
            raise NoResponseTypeError(f"{operation} returned an awaitable: {_ASYNC}")
        return response

    def call(self, operation: str, /, **request: Any) -> Any:
        """Call an operation that may be repeated, as `send`.

        The library's own client tries again after throttling, an error of the service, or no response, while Lambda's
        time lasts; the user's client retries by itself.
        """
        if self._given is not None:
            return self.send(operation, **request)
        for attempt in range(ATTEMPTS):
            try:
                return self.send(operation, **request)
            except (ClientError, *NO_RESPONSE) as error:
                if isinstance(error, ClientError) and not (is_unreadable(error) or is_throttled(error)):
                    raise
                wait = full_jitter(attempt, draw=self._clock.random())
                left = time_for_response()
                if attempt == ATTEMPTS - 1 or (left is not None and left <= wait):
                    raise
                code = error_code(error)
                log.debug(
                    "request %s is sent again: %s",
                    operation,
                    code,
                    extra=fields(None, table=request.get("TableName"), code=code),
                )
            self._clock.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _named(operation: Any, request: dict[str, Any]) -> Any:
    """Call an operation; AWS's refusal names the table, which DynamoDB's own text rarely does."""
    try:
        return operation(**request)
    except ClientError as error:
        if "TableName" in request and error_code(error) in _OF_A_TABLE:
            error.args = (f"{error} (table {request['TableName']}: compare its key attributes with table_keys=)",)
        raise


_OF_A_TABLE = frozenset({"ResourceNotFoundException", "ValidationException"})
_ASYNC = "async clients are not supported; give a client of boto3.client, and call the library in a thread"
_OPERATIONS = {
    "dynamodb": ("transact_write_items", "put_item", "update_item", "get_item", "query"),
    "events": ("put_events",),
    "eventbridgev2": ("put_events",),
    "sqs": ("send_message", "receive_message"),
}


def _refuse_unfit(client: Any, service: str) -> None:
    """Refuse what is recognised as no low-level client of the service; the message says what it is."""
    wanted = f"give boto3.client({service!r}), or an object with its methods"
    kind = type(client)
    bases = _base_names(client)
    if inspect.isclass(client) or inspect.ismodule(client) or inspect.isroutine(client):
        raise TypeError(f"client={client!r} is a {kind.__name__}, not a client; {wanted}")
    if any(base.endswith("ServiceResource") for base in bases):
        raise TypeError(f"client={client!r} is a boto3 resource, which encodes values by itself; {wanted}")
    methods = [getattr(client, name, None) for name in (*_OPERATIONS[service], "_make_api_call")]
    has_methods = any(map(callable, methods))
    is_async = any(base.startswith(("aiobotocore.", "aioboto3.")) for base in bases) or (
        hasattr(kind, "__aenter__") and not has_methods  # to be opened by `async with`
    )
    if is_async or any(map(_is_coroutine_function, methods)):
        raise TypeError(f"client={client!r} is an async client: {_ASYNC}")
    if issubclass(kind, BaseClient):  # not a mock of one
        found = client.meta.service_model.service_name
        if found != service:
            raise TypeError(f"client={client!r} is a client of {found}; {wanted}")
        if service == "dynamodb" and _encodes_by_itself(client):
            raise TypeError(
                f"client={client!r} belongs to a boto3 resource (it is its meta.client), which encodes values "
                f"by itself; {wanted}"
            )
    elif not has_methods:
        raise TypeError(f"client={client!r} is a {kind.__name__} without {_OPERATIONS[service][0]}(); {wanted}")


def _base_names(value: object) -> set[str]:
    return {f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__}


def _is_coroutine_function(method: object) -> bool:
    """Return whether a method is async; `inspect` takes each mock that has the specification of a function for one."""
    bases = _base_names(method)
    if "unittest.mock.Base" in bases:
        return "unittest.mock.AsyncMockMixin" in bases
    return inspect.iscoroutinefunction(method)


def _encodes_by_itself(client: BaseClient) -> bool:
    """Return whether a client encodes Python values itself, as a DynamoDB resource's does: determined by an attempt."""
    probe = {"TableName": "probe", "Key": {"probe": "probe"}}
    operation = client.meta.service_model.operation_model("GetItem")
    client.meta.events.emit("before-parameter-build.dynamodb.GetItem", params=probe, model=operation, context={})
    return probe["Key"] != {"probe": "probe"}
