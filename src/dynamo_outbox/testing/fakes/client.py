"""What the fakes share: botocore's own check of parameters, its error classes, scripted faults, and a lock."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Call", "FakeClient", "RefusedError", "invalid", "refuse_unknown"]

REGION = "eu-west-1"
ACCOUNT = "123456789012"


class RefusedError(Exception):
    """A service's refusal, before it is known which operation it answers; becomes botocore's ClientError.

    Args:
        code: AWS's error code.
        message: The gist of AWS's message.
        more: What else the error response holds: ``CancellationReasons``, ``Item``.
    """

    def __init__(self, code: str, message: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.more = dict(more or {})


def invalid(message: str) -> RefusedError:
    """The refusal of a request that is wrong whatever the service holds."""
    return RefusedError("ValidationException", message)


class Call(NamedTuple):
    """A call that a fake was asked, whether or not it was granted."""

    operation: str
    request: Mapping[str, Any]


class _Fault(NamedTuple):
    error: Exception
    after_commit: bool


@cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def _operations(service: str) -> dict[str, str]:
    """The service's operations: the methods' names of boto3, and AWS's."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in _model(service).operation_names}


@cache
def _exceptions(service: str) -> Any:
    return ClientExceptionsFactory().create_client_exceptions(_model(service))


class FakeClient:
    """The part of a low-level client that is the same for every service.

    Attributes:
        calls: Every call so far, in order.
        exceptions: botocore's error classes of the service, as on a real client.

    Each call is atomic, from whatever thread it comes. Parameters pass botocore's own validator, so a misspelt or
    missing one is a ``ParamValidationError`` as with a real client. There are no retries: what is scripted is what the
    caller sees after botocore has done its own.
    """

    SERVICE: str

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._lock = RLock()
        self._faults: dict[str, list[_Fault]] = {}
        self._answered = 0

    @property
    def exceptions(self) -> Any:
        return _exceptions(self.SERVICE)

    @property
    def pending_faults(self) -> list[str]:
        """The operations for which a scripted fault has not been met yet: empty at the end of a good test."""
        return [operation for operation, faults in self._faults.items() for _ in faults]

    def fail_next(self, operation: str, error: Exception | str, *, after_commit: bool = False) -> None:
        """Let the next call of an operation fail; told several times, the calls after it fail too, in that order.

        Args:
            operation: The method's name: ``put_item``.
            error: What is raised; text is AWS's code and becomes botocore's error of that code.
            after_commit: The call does its work first, and its answer gets lost. Where the work itself is refused, that
                refusal is what is raised and the fault is used up.

        Raises:
            ValueError: The fake has no such operation.
        """
        if operation not in _operations(self.SERVICE) or not hasattr(self, operation):
            raise ValueError(f"{type(self).__name__} has no operation {operation!r}")
        if isinstance(error, str):
            error = self.error(operation, error)
        with self._lock:
            self._faults.setdefault(operation, []).append(_Fault(error, after_commit))

    def error(self, operation: str, code: str, message: str = "scripted", **more: Any) -> Exception:
        """The error that botocore raises for an error response: its class for that code, or ``ClientError``.

        Args:
            operation: The method's name.
            code: AWS's error code.
            message: AWS's message.
            more: What else the response holds.
        """
        self._answered += 1
        response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": self._metadata(400),
            "message": message,
            **more,
        }
        error: Exception = self.exceptions.from_code(code)(response, _operations(self.SERVICE)[operation])
        return error

    def _call(
        self, operation: str, request: dict[str, Any], work: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        self._check_parameters(operation, request)
        with self._lock:
            self.calls.append(Call(operation, deepcopy(request)))
            fault = self._faults[operation].pop(0) if self._faults.get(operation) else None
            if fault is not None and not fault.after_commit:
                raise fault.error
            try:
                answer = work(deepcopy(request))
            except RefusedError as refused:
                raise self.error(operation, refused.code, refused.message, **refused.more) from None
            if fault is not None:
                raise fault.error
            self._answered += 1
            return {**deepcopy(answer), "ResponseMetadata": self._metadata(200)}

    def _check_parameters(self, operation: str, request: dict[str, Any]) -> None:
        shape = _model(self.SERVICE).operation_model(_operations(self.SERVICE)[operation]).input_shape
        assert shape is not None  # noqa: S101  # each of these operations takes parameters
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())

    def _metadata(self, status: int) -> dict[str, Any]:
        return {"RequestId": f"{self._answered:032d}", "HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}


def refuse_unknown(request: Mapping[str, Any], known: set[str]) -> None:
    """Raises for a parameter that AWS has and the fake has not: silence would be a wrong answer."""
    unknown = sorted(request.keys() - known)
    if unknown:
        raise NotImplementedError(f"the fake does not know {', '.join(unknown)}")
