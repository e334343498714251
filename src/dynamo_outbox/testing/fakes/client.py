"""Base class of the fakes: botocore's parameter validation and error classes, scripted faults, and a lock."""

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

__all__ = ["Call", "FakeClient", "RefusedError", "invalid", "no_json", "refuse_unknown", "service_model"]

REGION = "eu-west-1"
ACCOUNT = "123456789012"


class RefusedError(Exception):
    """A refused request; becomes botocore's ClientError. `more` is the rest of the error response, such as ``Item``."""

    def __init__(self, code: str, message: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.more = dict(more or {})


def invalid(message: str) -> RefusedError:
    """Return the refusal of an invalid request."""
    return RefusedError("ValidationException", message)


class Call(NamedTuple):
    """A call of a fake, successful or not."""

    operation: str
    request: Mapping[str, Any]


class _Fault(NamedTuple):
    error: BaseException
    after_commit: bool


@cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service."""
    return ServiceModel(_description(service), service)


@cache
def _description(service: str) -> Any:
    return Loader().load_service_model(service, "service-2")


@cache
def _operations(service: str) -> dict[str, str]:
    """Return the service's operations: AWS's names by boto3's method names."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in service_model(service).operation_names}


def _status(service: str, code: str) -> int:
    """Return the HTTP status of an error in botocore's model; 400 if the model has none."""
    found = _description(service)["shapes"].get(code, {})
    status: int = found.get("error", {}).get("httpStatusCode", 500 if found.get("fault") else 400)
    return status


@cache
def _exceptions(service: str) -> Any:
    return ClientExceptionsFactory().create_client_exceptions(service_model(service))


class FakeClient:
    """Base class of the fake low-level clients.

    Attributes:
        calls: Every call so far, in order.
        exceptions: botocore's error classes of the service, as on a real client.

    Calls are atomic and thread-safe. botocore's validator checks the parameters, so a misspelt or missing one raises
    ``ParamValidationError`` as with a real client. The fake does not retry: a scripted fault is the final error, after
    botocore's retries.
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
        """The operations whose scripted faults have not occurred yet; should be empty at the end of a test."""
        return [operation for operation, faults in self._faults.items() for _ in faults]

    def fail_next(self, operation: str, error: BaseException | str, *, after_commit: bool = False) -> None:
        """Make the next call of an operation fail; further calls of this method queue faults for the calls after it.

        Args:
            operation: The method's name: ``put_item``, ``put_events``.
            error: The error to raise; an AWS error code becomes botocore's error of that code.
            after_commit: Execute the call first and then lose its response. If the call itself is refused, the refusal
                is raised and the fault is used up.

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
        """Return the error that botocore raises for an AWS error code; `more` is the rest of the error response."""
        self._answered += 1
        response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": self._metadata(_status(self.SERVICE, code)),
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
        shape = service_model(self.SERVICE).operation_model(_operations(self.SERVICE)[operation]).input_shape
        assert shape is not None  # noqa: S101  # each of these operations takes parameters
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())

    def _metadata(self, status: int) -> dict[str, Any]:
        return {"RequestId": f"{self._answered:032d}", "HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}


def no_json(constant: str) -> None:
    """Raise for a constant that Python's JSON reads and AWS's does not: pass it as ``parse_constant``."""
    raise ValueError(f"{constant} is not JSON")


def refuse_unknown(request: Mapping[str, Any], known: set[str]) -> None:
    """Raise for a parameter that the fake does not support; ignoring the parameter would give wrong results."""
    unknown = sorted(request.keys() - known)
    if unknown:
        raise NotImplementedError(f"the fake does not support {', '.join(unknown)}")
