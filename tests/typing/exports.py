"""The package's names, which are loaded on first use: a type checker knows these and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import dynamo_outbox
from dynamo_outbox import errors, events, pipes, testing, typing

if TYPE_CHECKING:
    from collections.abc import Callable


def by_attribute() -> None:
    assert_type(dynamo_outbox.Event, type[dynamo_outbox.Event])
    assert_type(dynamo_outbox.parse_event({}), dynamo_outbox.Event)
    classes: list[type] = [
        dynamo_outbox.Event,
        dynamo_outbox.DomainEvent,
        dynamo_outbox.Message,
        dynamo_outbox.TransactionalOutbox,
        dynamo_outbox.StreamRecord,
        dynamo_outbox.SequenceNumber,
        dynamo_outbox.Change,
        dynamo_outbox.EventBridgePublisher,
        dynamo_outbox.PublishResult,
        dynamo_outbox.ChangeProcessor,
        dynamo_outbox.OutboxRelay,
        dynamo_outbox.AtMostOnce,
        dynamo_outbox.IdempotencyStore,
        dynamo_outbox.Key,
        dynamo_outbox.Inbox,
        dynamo_outbox.InboxTransaction,
        dynamo_outbox.ParkingTable,
        dynamo_outbox.ParkingQueue,
        dynamo_outbox.ParkedHead,
        dynamo_outbox.RedriveResult,
        dynamo_outbox.RedriveFailure,
        dynamo_outbox.Condition,
        dynamo_outbox.Version,
        dynamo_outbox.TableKeys,
        dynamo_outbox.Retry,
        dynamo_outbox.Clock,
    ]
    functions: list[Callable[..., object]] = [
        dynamo_outbox.parse_event,
        dynamo_outbox.parse_events,
        dynamo_outbox.decode_records,
        dynamo_outbox.decode_record,
        dynamo_outbox.decode_item,
        dynamo_outbox.encode_item,
        dynamo_outbox.idempotent,
        dynamo_outbox.fence_number,
        dynamo_outbox.batch_handler,
    ]
    assert_type(len(classes) + len(functions), int)
    assert_type(bool(dynamo_outbox.ABSENT), bool)
    results = [dynamo_outbox.PublishedEvent, dynamo_outbox.FailedEvent, dynamo_outbox.TransactionResult]
    assert_type(len(results), int)
    assert_type(dynamo_outbox.__all__, list[str])
    assert_type([each.__name__ for each in (events, errors, pipes, testing, typing)], list[str])


def in_a_transaction(tx: dynamo_outbox.Transaction) -> dynamo_outbox.TransactionResult:
    return tx.result


def no_others() -> None:
    # A misspelt name is a type error.
    dynamo_outbox.Evnt  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
