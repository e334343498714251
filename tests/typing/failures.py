"""Exceptions: their attributes and base classes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_type

from dynamo_outbox.errors import (
    AlreadyInProgressError,
    CancellationReason,
    ConditionFailedError,
    DecodeError,
    EncodeError,
    IdempotencyError,
    InvalidEventError,
    InvalidIdempotencyKeyError,
    InvalidPatternError,
    LeaseLostError,
    MissingIdempotencyKeyError,
    OutboxError,
    PayloadMismatchError,
    PermanentFailureError,
    PublishError,
    RenderError,
    ResultError,
    TransactionCanceledError,
    TransactionConflictError,
    TransactionLimitError,
    UnknownOutcomeError,
)
from dynamo_outbox.typing import PublishOutcome

if TYPE_CHECKING:
    from dynamo_outbox import EventBridgePublisher, PublishResult, TransactionalOutbox


def kinds(
    invalid: InvalidEventError,
    encode: EncodeError,
    conflict: TransactionConflictError,
    condition: ConditionFailedError,
    lost: LeaseLostError,
    reason: CancellationReason,
) -> None:
    one_by_one: list[OutboxError] = [
        invalid,
        encode,
        conflict,
        condition,
        lost,
        DecodeError("data", "is missing"),
        InvalidPatternError("no pattern"),
        RenderError("no JSON"),
        TransactionLimitError("actions", "100", "too many"),
        TransactionCanceledError([reason]),
        AlreadyInProgressError("key", "is held"),
        PayloadMismatchError("key", "had another payload"),
        MissingIdempotencyKeyError("key", "is missing"),
        InvalidIdempotencyKeyError("key", "is a list"),
        ResultError("key", "can't be stored"),
    ]
    exceptions: list[Exception] = [*one_by_one]
    of_transactions: list[TransactionCanceledError] = [conflict, condition]
    of_calls: list[IdempotencyError] = [lost]
    of_types: list[TypeError] = [encode]
    assert_type((exceptions, of_transactions, of_calls, of_types)[3], list[TypeError])
    # A limit error is not a cancellation by DynamoDB.
    _: TransactionCanceledError = TransactionLimitError("actions", "100", "too many")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    # A reason is not an exception.
    raise reason  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def of_values(invalid: InvalidEventError, encode: EncodeError, decode: DecodeError) -> None:
    assert_type(invalid.field, str)
    assert_type(invalid.problem, str)
    assert_type(InvalidEventError("type", "is empty"), InvalidEventError)
    assert_type(encode.path, str)
    assert_type(encode.problem, str)
    assert_type(EncodeError("year", "has no type"), EncodeError)
    assert_type(decode.path, str)
    assert_type(decode.problem, str)
    assert_type(decode.index, int | None)
    assert_type(decode.sequence_number, str | None)
    assert_type(decode.within("dynamodb.NewImage"), DecodeError)
    assert_type(DecodeError("year", "has no type", index=1, sequence_number="111"), DecodeError)
    # The index is a keyword argument.
    DecodeError("year", "has no type", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def of_transactions(outbox: TransactionalOutbox) -> None:
    try:
        with outbox.transaction() as tx:
            tx.delete("books", {"name": "x"}, condition="must_exist", label="book")
    except ConditionFailedError as error:
        assert_type(error.failed, tuple[CancellationReason, ...])
        assert_type(error.reasons, tuple[CancellationReason, ...])
        assert_type(error.label, str | None)
        assert_type(error.item, Mapping[str, Any] | None)
        assert_type(error.is_stale, bool)
        # The item can be None.
        error.item["year"]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]
    except TransactionConflictError as error:
        assert_type(error.reasons, tuple[CancellationReason, ...])
        # A conflict has no is_stale.
        error.is_stale  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    except TransactionLimitError as error:
        assert_type(error.limit, str)
        assert_type(error.offender, str)


def of_reasons(reason: CancellationReason) -> None:
    assert_type(reason.position, int)
    assert_type(reason.label, str | None)
    assert_type(reason.code, str)
    assert_type(reason.message, str | None)
    assert_type(reason.item, Mapping[str, Any] | None)
    assert_type(CancellationReason(0, "book", "ConditionalCheckFailed", None, {"year": 2019}), CancellationReason)
    assert_type(ConditionFailedError([reason], is_stale=True), ConditionFailedError)
    assert_type(TransactionConflictError((reason,)), TransactionConflictError)


def of_publishing(publisher: EventBridgePublisher, result: PublishResult) -> None:
    try:
        publisher.publish([])
    except PublishError as error:
        assert_type(error.result, PublishOutcome)
        assert_type(error.result.failed[0].retryable, Any)
    assert_type(PublishError(result), PublishError)


def of_calls(error: IdempotencyError, lost: LeaseLostError) -> None:
    assert_type(error.key, str)
    assert_type(lost.key, str)
    assert_type(lost.result, object)
    assert_type(LeaseLostError("key", {"charged": True}), LeaseLostError)


def of_calls_without_a_word(unknown: UnknownOutcomeError, failed: PermanentFailureError) -> None:
    of_calls: list[IdempotencyError] = [unknown, failed]
    assert_type(of_calls[0].key, str)
    assert_type(unknown.token, str)
    assert_type(unknown.since, datetime)
    assert_type(unknown.fence, int)
    assert_type(failed.kind, str)
    assert_type(failed.message, str)
    since = datetime.now(UTC)
    assert_type(UnknownOutcomeError("key", token="token", since=since, fence=7), UnknownOutcomeError)
    assert_type(PermanentFailureError("key", "shop.CardDeclined", "no"), PermanentFailureError)
