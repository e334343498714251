"""What this library asks of what it is given: the few client calls it makes, and the callables it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Clock", "DynamoDBClient", "EventBridgeClient", "LambdaContext"]


class Clock(Protocol):
    """Tells the time, aware."""

    def __call__(self) -> datetime: ...


class DynamoDBClient(Protocol):
    """The calls that the writer and the idempotency store make of a low-level DynamoDB client."""

    def transact_write_items(self, **kwargs: Any) -> Mapping[str, Any]: ...

    def put_item(self, **kwargs: Any) -> Mapping[str, Any]: ...

    def update_item(self, **kwargs: Any) -> Mapping[str, Any]: ...

    def delete_item(self, **kwargs: Any) -> Mapping[str, Any]: ...

    def describe_table(self, **kwargs: Any) -> Mapping[str, Any]: ...


class EventBridgeClient(Protocol):
    """The calls that the publisher makes of a low-level EventBridge client."""

    def put_events(self, **kwargs: Any) -> Mapping[str, Any]: ...


class LambdaContext(Protocol):
    """What is read of the context that Lambda passes to a handler."""

    def get_remaining_time_in_millis(self) -> int: ...
