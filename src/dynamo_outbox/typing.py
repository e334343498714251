"""Protocols: the client calls that the library makes, and the results that its errors carry.

The calls are properties, so that clients with typed stubs fit as well as those without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _typeshed import DataclassInstance
    from pydantic import BaseModel

Item: TypeAlias = "Mapping[str, Any] | BaseModel | DataclassInstance"
"""An item to write: a map of attributes, or a model whose fields are the attributes."""

__all__ = [
    "CommitProof",
    "DynamoDBClient",
    "EventBridgeClient",
    "Item",
    "LambdaContext",
    "ParkingClient",
    "PublishOutcome",
    "QueueClient",
    "StreamsClient",
]


class DynamoDBClient(Protocol):
    """The calls that the writer, the inbox and the idempotency store make of a low-level DynamoDB client."""

    @property
    def get_item(self) -> Callable[..., Any]: ...

    @property
    def transact_write_items(self) -> Callable[..., Any]: ...

    @property
    def put_item(self) -> Callable[..., Any]: ...

    @property
    def update_item(self) -> Callable[..., Any]: ...

    @property
    def delete_item(self) -> Callable[..., Any]: ...

    @property
    def describe_table(self) -> Callable[..., Any]: ...


class EventBridgeClient(Protocol):
    """The calls that the publisher makes of a low-level EventBridge client."""

    @property
    def put_events(self) -> Callable[..., Any]: ...


class ParkingClient(Protocol):
    """The calls that a parking table makes of a low-level DynamoDB client."""

    @property
    def batch_get_item(self) -> Callable[..., Any]: ...

    @property
    def query(self) -> Callable[..., Any]: ...

    @property
    def transact_write_items(self) -> Callable[..., Any]: ...

    @property
    def delete_item(self) -> Callable[..., Any]: ...


class QueueClient(Protocol):
    """The calls that a parking queue makes of a low-level SQS client."""

    @property
    def send_message(self) -> Callable[..., Any]: ...

    @property
    def receive_message(self) -> Callable[..., Any]: ...

    @property
    def delete_message(self) -> Callable[..., Any]: ...


class StreamsClient(Protocol):
    """The calls that the stand-in for pipes makes of a low-level DynamoDB Streams client."""

    @property
    def describe_stream(self) -> Callable[..., Any]: ...

    @property
    def get_shard_iterator(self) -> Callable[..., Any]: ...

    @property
    def get_records(self) -> Callable[..., Any]: ...


class LambdaContext(Protocol):
    """What is read of the context that Lambda passes to a handler."""

    def get_remaining_time_in_millis(self) -> int: ...


class CommitProof(Protocol):
    """The outbox item that proves that a transaction was committed."""

    @property
    def table(self) -> str: ...

    @property
    def item(self) -> Mapping[str, Mapping[str, str]]: ...


class PublishOutcome(Protocol):
    """The outcome of publishing events: `dynamo_outbox.PublishResult`."""

    @property
    def published(self) -> Sequence[Any]: ...

    @property
    def failed(self) -> Sequence[Any]: ...
