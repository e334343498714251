"""The library's exceptions. Each has its facts as attributes; its message says what is wrong and what to do."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers read it as True; avoids importing `typing` on the decoder's import path
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from .typing import CommitProof, PublishOutcome

__all__ = [
    "OutboxError",
    "InvalidEventError",
    "EncodeError",
    "DecodeError",
    "InvalidPatternError",
    "RenderError",
    "CancellationReason",
    "TransactionLimitError",
    "TransactionCanceledError",
    "ConditionFailedError",
    "TransactionConflictError",
    "TransactionVoidedError",
    "CommitUnknownError",
    "PublishError",
    "ParkingError",
    "IdempotencyError",
    "AlreadyInProgressError",
    "PayloadMismatchError",
    "LeaseLostError",
    "MissingIdempotencyKeyError",
    "InvalidIdempotencyKeyError",
    "UnknownOutcomeError",
    "PermanentFailureError",
    "ResultError",
]


class OutboxError(Exception):
    """Base class of all errors that this library raises itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[OutboxError], args: tuple[Any, ...], attributes: dict[str, Any]) -> OutboxError:
    """Unpickle an error without its constructor, which takes the facts and not the message."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InvalidEventError(OutboxError):
    """The caller created or emitted an event that can't be written, sent or read back.

    Attributes:
        field: Path of the invalid part of the event: ``type``, ``data.authors[2]``.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"event {field}: {problem}")
        self.field = field
        self.problem = problem


class EncodeError(OutboxError, TypeError):
    """The caller passed a value that DynamoDB has no type for.

    Attributes:
        path: Path of the value in the item: ``book.authors[2]``.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'item'}: {problem}")
        self.path = path
        self.problem = problem


class DecodeError(OutboxError):
    """The input does not have the documented form, or a newer version of this library wrote it.

    Attributes:
        path: Path of the fault in the record or event: ``dynamodb.NewImage.year.N``.
        index: The record's position in its batch; None if there is no batch.
        sequence_number: The record's sequence number; None if it could not be read.
        raw: The record as delivered, if a stream record could not be decoded; else None.
    """

    def __init__(
        self,
        path: str,
        problem: str,
        *,
        index: int | None = None,
        sequence_number: str | None = None,
        raw: object = None,
    ) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem
        self.index = index
        self.sequence_number = sequence_number
        self.raw = raw

    def __str__(self) -> str:
        where = "" if self.index is None else f"record {self.index}: "
        number = "" if self.sequence_number is None else f" (sequence number {self.sequence_number})"
        return f"{where}{self.path or 'payload'}: {self.problem}{number}"

    def within(self, prefix: str) -> DecodeError:
        """Return the error with its path prefixed by the path of the enclosing value."""
        joint = "" if not self.path or self.path.startswith("[") else "."
        return DecodeError(
            f"{prefix}{joint}{self.path}",
            self.problem,
            index=self.index,
            sequence_number=self.sequence_number,
            raw=self.raw,
        )


class InvalidPatternError(OutboxError):
    """An event pattern or input template is one that AWS would refuse, or that this library can't evaluate."""


class RenderError(OutboxError):
    """A pipe's template or dynamic parameters render a stream record into an entry that PutEvents would refuse."""


class CancellationReason:
    """DynamoDB's verdict on one action of a cancelled transaction.

    Attributes:
        position: The action's position in the transaction, from 0, in the caller's order.
        label: The caller's name for the action, or None.
        code: DynamoDB's code: ``ConditionalCheckFailed``, ``TransactionConflict``, …, or the text ``None`` if this
            action was not refused.
        message: DynamoDB's message, or None.
        item: The existing item that failed the condition, decoded; None if there was none or it was not requested.
        table: The action's table.
        key: The key of the action's item, decoded, as far as it is known.
    """

    __slots__ = ("code", "item", "key", "label", "message", "position", "table")

    def __init__(  # made by the library only
        self,
        position: int,
        label: str | None,
        code: str,
        message: str | None,
        item: Mapping[str, Any] | None,
        table: str = "",
        key: Mapping[str, Any] = {},  # never changed
    ) -> None:
        self.position = position
        self.label = label
        self.code = code
        self.message = message
        self.item = item
        self.table = table
        self.key = key

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        name = f" {self.label!r}" if self.label else ""
        where = f" on {self.table}" if self.table else ""
        key = f" {self.key}" if self.key else ""
        why = f": {self.message}" if self.message else ""
        return f"action {self.position}{name}{where}{key}: {self.code}{why}"


class TransactionLimitError(OutboxError):
    """The transaction exceeds a limit of DynamoDB; nothing was sent.

    Attributes:
        limit: The limit's name.
        offender: The label or position of the first action beyond the limit.
    """

    def __init__(self, limit: str, offender: str, problem: str) -> None:
        super().__init__(f"{offender}: {problem}")
        self.limit = limit
        self.offender = offender


class TransactionCanceledError(OutboxError):
    """DynamoDB cancelled the transaction; nothing was written.

    Attributes:
        reasons: One `CancellationReason` per action, in the caller's order.
    """

    def __init__(self, reasons: Sequence[CancellationReason]) -> None:
        self.reasons = tuple(reasons)
        blamed = [reason for reason in self.reasons if reason.code != "None"]
        super().__init__("transaction cancelled, nothing was written: " + "; ".join(map(str, blamed)))


class ConditionFailedError(TransactionCanceledError):
    """A condition of the transaction did not hold.

    Attributes:
        failed: The reasons whose code is ``ConditionalCheckFailed``.
        label: The label of the first failed action.
        item: The existing item that failed the first condition.
        is_stale: True if only actions with a version lock failed: another writer was faster, the data read are stale.
    """

    def __init__(self, reasons: Sequence[CancellationReason], *, is_stale: bool = False) -> None:
        super().__init__(reasons)
        self.is_stale = is_stale
        self.failed = tuple(reason for reason in self.reasons if reason.code == "ConditionalCheckFailed")
        self.label = self.failed[0].label
        self.item = self.failed[0].item


class TransactionConflictError(TransactionCanceledError):
    """The transaction was cancelled only because of contention with other writers; it may succeed if it runs again."""


class TransactionVoidedError(TransactionCanceledError):
    """No response came in time, so the transaction was voided: nothing was or will be written."""

    def __init__(self) -> None:
        super().__init__(())
        self.args = ("no response came, so the transaction was voided: nothing was or will be written; run it again",)


class CommitUnknownError(OutboxError):
    """The transaction's outcome is unknown: no response came, and the outcome could not be determined afterwards.

    Call `TransactionalOutbox.settle` later, with this error or, in another process, with the text of `to_json`.

    Attributes:
        token: The transaction's ``ClientRequestToken``.
        proof: The event's item, which `TransactionalOutbox.settle` looks up. None if the transaction has no event (only
            the caller's own items show the outcome), or is an inbox handler's (handling the event again settles it).
        sent_at: The time of the first request.
    """

    def __init__(self, token: str, proof: CommitProof | None = None, sent_at: datetime | None = None) -> None:
        what_to_do = (
            "no event proves it: read the items that it writes or, in an inbox handler, let the event be redelivered"
            if proof is None
            else "call outbox.settle(error)"
        )
        super().__init__(f"the outcome of the transaction {token} is unknown; {what_to_do}")
        self.token = token
        self.proof = proof
        self.sent_at = sent_at

    def to_json(self) -> str:
        """Return the error as JSON text, which `TransactionalOutbox.settle` takes in place of the error.

        The text holds the token, the time and the event's item with all its data. Store it unchanged; its members may
        differ in another version of this library. Limit: the text is not signed. A caller who can change it can
        have another event settled, so keep it on the server and give a caller an id.
        """
        from json import dumps

        sent_at = None if self.sent_at is None else self.sent_at.isoformat()
        proof = None if self.proof is None else self.proof.to_json()
        return dumps({"format": 1, "token": self.token, "sent_at": sent_at, "proof": proof})


class PublishError(OutboxError):
    """Some events did not reach the bus.

    Attributes:
        result: The outcome of each event.
    """

    def __init__(self, result: PublishOutcome) -> None:
        first = result.failed[0]
        super().__init__(
            f"{len(result.failed)} of {len(result.failed) + len(result.published)} events were not published; "
            f"the first: {first.event.type} {first.event.id}: {first.code}: {first.message}"
        )
        self.result = result


class ParkingError(OutboxError):
    """A stream record can't be parked, or a parked record can't be read. The record stays where it is.

    Attributes:
        sequence_number: The record's sequence number; None if it has none.
        problem: What is wrong with the record.
    """

    def __init__(self, sequence_number: str | None, problem: str) -> None:
        super().__init__(f"the record with the sequence number {sequence_number} {problem}")
        self.sequence_number = sequence_number
        self.problem = problem


class IdempotencyError(OutboxError):
    """Base class of the errors of `idempotent`.

    Attributes:
        key: The idempotency key, with its scope, as stored.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class AlreadyInProgressError(IdempotencyError):
    """Another call with this key holds the lease. The function did not run; the sender may retry."""


class PayloadMismatchError(IdempotencyError):
    """The sender reused the key with another payload. The function did not run."""


class LeaseLostError(IdempotencyError):
    """The function ran past its lease, and meanwhile another call took over its key or an operator resolved it.

    Attributes:
        result: The return value of this run, which was not stored.
    """

    def __init__(self, key: str, result: object) -> None:
        super().__init__(
            key,
            "ran past its lease: another call took over the key or an operator resolved it; the result was not stored",
        )
        self.result = result


class MissingIdempotencyKeyError(IdempotencyError):
    """The payload contains no idempotency key. The function did not run."""


class InvalidIdempotencyKeyError(IdempotencyError):
    """The payload's idempotency key is present but unusable. The function did not run."""


class UnknownOutcomeError(IdempotencyError):
    """An earlier call's lease expired, and it is unknown whether its effect took place. The function did not run.

    Check the effect, then call `IdempotencyStore.forget`, so that the next call runs, or `IdempotencyStore.resolve`, so
    that duplicates get the result that the earlier call should have stored.

    Attributes:
        token: The earlier call's token, an argument of both methods.
        since: The time at which the earlier call's lease ended.
        fence: The earlier call's `fence_number`.
    """

    def __init__(self, key: str, *, token: str, since: datetime, fence: int) -> None:
        super().__init__(
            key,
            f"the outcome of an earlier call (token {token}, fence {fence}) is unknown: its lease ended at "
            f"{since.isoformat()}; check whether its effect took place, then forget or resolve it by key and token",
        )
        self.token = token
        self.since = since
        self.fence = fence


class PermanentFailureError(IdempotencyError):
    """An earlier call failed permanently, and its exception can't be rebuilt. The function did not run again.

    Attributes:
        kind: The exception's type: module and qualified name.
        message: The exception's message.
    """

    def __init__(self, key: str, kind: str, message: str) -> None:
        super().__init__(key, f"an earlier call failed permanently, with {kind}: {message}")
        self.kind = kind
        self.message = message


class ResultError(IdempotencyError):
    """The function ran and its effect stands, but its result can't be stored, so it can't be replayed."""
