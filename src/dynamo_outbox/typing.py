"""Protocols: the client methods that the library calls, and the results that its errors carry.

The methods are properties, so that clients with and without typed stubs match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _typeshed import DataclassInstance
    from pydantic import BaseModel

Item: TypeAlias = "Mapping[str, Any] | BaseModel | DataclassInstance"
"""An item to write: a mapping of attributes, or a model whose fields are the attributes."""

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
    """The methods of a low-level DynamoDB client that the writer, the inbox and the idempotency store call."""

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
    """The methods of a low-level EventBridge client that the publisher calls."""

    @property
    def put_events(self) -> Callable[..., Any]: ...


class ParkingClient(Protocol):
    """The methods of a low-level DynamoDB client that a parking table calls."""

    @property
    def batch_get_item(self) -> Callable[..., Any]: ...

    @property
    def query(self) -> Callable[..., Any]: ...

    @property
    def transact_write_items(self) -> Callable[..., Any]: ...

    @property
    def delete_item(self) -> Callable[..., Any]: ...


class QueueClient(Protocol):
    """The methods of a low-level SQS client that a parking queue calls."""

    @property
    def send_message(self) -> Callable[..., Any]: ...

    @property
    def receive_message(self) -> Callable[..., Any]: ...

    @property
    def delete_message(self) -> Callable[..., Any]: ...


class StreamsClient(Protocol):
    """The methods of a low-level DynamoDB Streams client that `dynamo_outbox.testing.PipeRunner` calls."""

    @property
    def describe_stream(self) -> Callable[..., Any]: ...

    @property
    def get_shard_iterator(self) -> Callable[..., Any]: ...

    @property
    def get_records(self) -> Callable[..., Any]: ...


class LambdaContext(Protocol):
    """The method of Lambda's context object that the library calls."""

    def get_remaining_time_in_millis(self) -> int: ...


class CommitProof(Protocol):
    """The outbox item that proves that a transaction was committed."""

    @property
    def table(self) -> str: ...

    @property
    def item(self) -> Mapping[str, Mapping[str, str]]: ...

    def to_json(self) -> dict[str, Any]: ...


class PublishOutcome(Protocol):
    """The outcome of publishing events: `dynamo_outbox.PublishResult`."""

    @property
    def published(self) -> Sequence[Any]: ...

    @property
    def failed(self) -> Sequence[Any]: ...
