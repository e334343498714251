"""boto3 clients: created on first use and shared within the library."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader, create_loader
from botocore.session import get_session
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READ_TIMEOUT", "Prevalidated", "forget_shared_clients", "response_time", "shared_client"]

CONNECT_TIMEOUT, READ_TIMEOUT = 2, 5
"""Seconds to wait for a connection and for a response, at most: boto3's 60 would use up a Lambda function's time."""
SERVICES = ["dynamodb", "events", "eventbridgev2", "sqs"]
"""The services that the library calls."""

response_time: ContextVar[float | None] = ContextVar("response_time", default=None)
"""Seconds to wait for the response of the call that is being made by a client of the library's own."""


class Prevalidated(list[Any]):
    """A list for a request that was built here of checked values: botocore need not validate the request."""


_clients: dict[str, Any] = {}
_making = Lock()
_sessions: list[Any] = []
"""The library's own session, if boto3 has no default one."""


def shared_client(service: str, region: str | None = None) -> Any:
    """Return the process's low-level client of a service: it makes one attempt, with short timeouts.

    Args:
        service: botocore's name of the service.
        region: Its Region, if not the session's.

    Retries are up to the caller, who knows how much time is left. The client comes from boto3's default session if the
    program created one, and otherwise from botocore's, which is the same without the import of boto3. A lock protects
    the session, which is not thread-safe.
    """
    with _making:
        name = service if region is None else f"{service} in {region}"
        if name not in _clients:
            _clients[name] = _new_client(service, region)
        return _clients[name]


def _new_client(service: str, region: str | None) -> Any:
    """Create a client that validates requests as botocore does, apart from `Prevalidated` ones."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 1, "mode": "standard"},
        parameter_validation=False,
    )
    client = _client_factory()(service, config=config, region_name=region)
    client.meta.events.register_last("before-parameter-build", _validate)
    client.meta.events.register("before-call", _limit_response_time)
    _cache_user_agent(client)
    return client


def _client_factory() -> Callable[..., Any]:
    """Return the method that creates clients: of boto3's default session, or of our own with a faster loader."""
    default: Any = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)
    if default is not None:
        return cast("Callable[..., Any]", default.client)
    if not _sessions:
        session = get_session()
        paths = create_loader(session.get_config_variable("data_path")).search_paths
        session.register_component("data_loader", _Loader(paths, include_default_search_paths=False))
        _sessions.append(session)
    return cast("Callable[..., Any]", _sessions[0].create_client)


class _Loader(Loader):
    """botocore's loader, without its listing of some 400 services' folders, which only serves a check."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # botocore's signature
        return SERVICES


def _cache_user_agent(client: Any) -> None:
    """Create the User-Agent header's text once for each set of features that requests use.

    botocore creates it twice for each request, which takes a tenth of a call's CPU time. It has no public hook for
    this: if a version of botocore lacks the attributes used here, nothing is changed.
    """
    agent = getattr(client, "_user_agent_creator", None)
    create: Callable[[], str] | None = getattr(agent, "to_string", None)
    try:
        from botocore.context import get_context
    except ImportError:
        return
    if create is None:
        return

    @lru_cache(maxsize=64)
    def cached(_features: frozenset[str]) -> str:
        return create()

    def to_string() -> str:
        features = getattr(get_context(), "features", None)
        return cached(frozenset(features)) if isinstance(features, set) else create()

    agent.to_string = to_string  # type: ignore[union-attr]  # it has the method


def _validate(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Validate a request as botocore does, unless all of it was built here."""
    for value in params.values():
        if type(value) is Prevalidated:
            return
    shape = model.input_shape
    if shape is not None:
        report = ParamValidator().validate(params, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())


def _limit_response_time(context: dict[str, Any], **_: Any) -> None:
    """Set a call's read timeout; versions of botocore that don't know it use the client's."""
    seconds = response_time.get()
    if seconds is not None:
        context["read_timeout"] = seconds


def forget_shared_clients() -> None:
    """Create new clients on next use: for tests that change the environment or start to mock it."""
    with _making:
        _clients.clear()
        _sessions.clear()
