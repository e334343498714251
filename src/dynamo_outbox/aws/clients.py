"""boto3's clients, made on first use and shared by what this library makes."""

from __future__ import annotations

import sys
from functools import lru_cache
from http.client import HTTPException
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ChecksumError, HTTPClientError, ParamValidationError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session
from botocore.validate import ParamValidator
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOST_ANSWER", "LazyClient", "Whole", "forget_shared_clients", "shared_client"]

LOST_ANSWER = (
    HTTPClientError,
    BotocoreConnectionError,
    ChecksumError,
    ResponseParserError,
    HTTPError,
    HTTPException,
    OSError,
    UnicodeDecodeError,
)
"""What botocore raises, or lets through, where no answer arrived or none that can be read: whether the request was
carried out is open."""

ClientT = TypeVar("ClientT")

CONNECT_TIMEOUT, READ_TIMEOUT = 3, 10
"""Seconds to wait for a connection and for an answer: boto3's 60 would use up a Lambda function's time before what got
no answer could be settled."""


SERVICES = ["dynamodb", "events", "sqs"]
"""Those that this library calls."""


class LazyClient(Generic[ClientT]):
    """The client that the user gave, or else the shared one of its service."""

    def __init__(self, service: str, given: ClientT | None) -> None:
        if given is not None and _encodes_by_itself(given):
            raise TypeError(
                "this client belongs to a boto3 resource (it is its meta.client) and would encode typed values again; "
                f"give a low-level one: boto3.client({service!r})"
            )
        self._service = service
        self._given = given

    def __call__(self) -> ClientT:
        given: ClientT = shared_client(self._service) if self._given is None else self._given
        return given


class Whole(list[Any]):
    """A list for a request, built here, whole and of checked values: botocore need not check it again."""


_clients: dict[str, Any] = {}
_making = Lock()
_sessions: list[Any] = []
"""The session of ours, where boto3 has no default one."""


def shared_client(service: str) -> Any:
    """One low-level client per service and process, from the default configuration but for its timeouts.

    Of boto3's default session where the program made one, or else of botocore's, which is the same without the import
    of boto3. Made under a lock, because a session is not safe to use from several threads at once.
    """
    with _making:
        if service not in _clients:
            _clients[service] = _made(service)
        return _clients[service]


def _made(service: str) -> Any:
    """A client that checks every request as botocore does, but those of a `Whole`, and makes its User-Agent once."""
    patience = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, parameter_validation=False)
    client = _maker()(service, config=patience)
    client.meta.events.register_last("before-parameter-build", _validate)
    _remember_user_agent(client)
    return client


def _maker() -> Callable[..., Any]:
    """What makes clients: boto3's default session, or else one of ours, whose loader doesn't search for services."""
    default: Any = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)
    if default is not None:
        return cast("Callable[..., Any]", default.client)
    if not _sessions:
        session = get_session()
        paths = create_loader(session.get_config_variable("data_path")).search_paths
        session.register_component("data_loader", _KnowingLoader(paths, include_default_search_paths=False))
        _sessions.append(session)
    return cast("Callable[..., Any]", _sessions[0].create_client)


class _KnowingLoader(Loader):
    """botocore's loader, which looks into each of some 400 services' folders to list them, for no more than a check."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # botocore's signature
        return SERVICES


def _remember_user_agent(client: Any) -> None:
    """Have the text of the User-Agent header made once for each set of features that requests use.

    botocore makes it twice for every request, character by character: a tenth of a call's CPU time. It does so inside
    of the client, which this reaches into; where a version of botocore has nothing there, it goes on as it does.
    """
    try:
        from botocore.context import get_context

        agent = client._user_agent_creator
        make: Callable[[], str] = agent.to_string
    except (ImportError, AttributeError):
        return

    @lru_cache(maxsize=64)
    def made(_features: frozenset[str]) -> str:
        return make()

    def to_string() -> str:
        features = getattr(get_context(), "features", None)
        return made(frozenset(features)) if isinstance(features, set) else make()

    agent.to_string = to_string


def _validate(params: dict[str, Any], model: Any, **_: Any) -> None:
    """botocore's own check of a request, for those that the caller had a hand in."""
    for value in params.values():
        if type(value) is Whole:
            return
    shape = model.input_shape
    if shape is not None:
        report = ParamValidator().validate(params, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())


def forget_shared_clients() -> None:
    """Make new clients on next use: for tests that change the environment or begin to mock it."""
    with _making:
        _clients.clear()
        _sessions.clear()


def _encodes_by_itself(client: Any) -> bool:
    """Whether a client turns Python values into typed ones, as a DynamoDB resource's does: asked by letting it try."""
    if not isinstance(client, BaseClient) or client.meta.service_model.service_name != "dynamodb":
        return False
    probe = {"TableName": "probe", "Key": {"probe": "probe"}}
    operation = client.meta.service_model.operation_model("GetItem")
    client.meta.events.emit("before-parameter-build.dynamodb.GetItem", params=probe, model=operation, context={})
    return probe["Key"] != {"probe": "probe"}
