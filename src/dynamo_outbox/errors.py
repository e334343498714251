"""What can go wrong, by name: each error carries its facts as attributes, and says whose fault it is and what to do."""

from __future__ import annotations

TYPE_CHECKING = False  # read by type checkers as true; spares the decoder's import path `typing`
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
    "UnknownOutcomeError",
    "PermanentFailureError",
    "ResultError",
]


class OutboxError(Exception):
    """The base of every error that this library raises by itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[OutboxError], args: tuple[Any, ...], attributes: dict[str, Any]) -> OutboxError:
    """An error out of a pickle, without its constructor, which takes facts rather than the message made of them."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InvalidEventError(OutboxError):
    """The caller built or emitted an event that could never be written, sent or read back.

    Attributes:
        field: The part of the event that is wrong, as a path: ``type``, ``data.authors[2]``.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"event {field}: {problem}")
        self.field = field
        self.problem = problem


class EncodeError(OutboxError, TypeError):
    """The caller gave a value that DynamoDB has no type for.

    Attributes:
        path: Where in the item: ``book.authors[2]``.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'item'}: {problem}")
        self.path = path
        self.problem = problem


class DecodeError(OutboxError):
    """What arrived is not what the sender is documented to send, or not what this version can read.

    Attributes:
        path: Where in the record or event: ``dynamodb.NewImage.year.N``.
        index: The record's position in its batch, or None where there is no batch.
        sequence_number: The record's sequence number, if it could be read.
        raw: The record as it was delivered, if a record could not be decoded.
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
        """Return the same error as seen from the enclosing value."""
        joint = "" if not self.path or self.path.startswith("[") else "."
        return DecodeError(
            f"{prefix}{joint}{self.path}",
            self.problem,
            index=self.index,
            sequence_number=self.sequence_number,
            raw=self.raw,
        )


class InvalidPatternError(OutboxError):
    """An event pattern or an input template that AWS would refuse, or that this library does not evaluate."""


class RenderError(OutboxError):
    """A stream record for which a pipe's template or dynamic parameters give nothing that PutEvents would take."""


class CancellationReason:
    """Why one action of a cancelled transaction was refused, or that it was not.

    Attributes:
        position: The action's place in the transaction, from 0, in the caller's order.
        label: The caller's name for the action, or None.
        code: DynamoDB's code: ``ConditionalCheckFailed``, ``TransactionConflict``, …, or ``None`` as text where
            this action was fine.
        message: DynamoDB's message, or None.
        item: The item that the condition met, decoded; None where there was none or it was not asked for.
    """

    __slots__ = ("code", "item", "label", "message", "position")

    def __init__(
        self, position: int, label: str | None, code: str, message: str | None, item: Mapping[str, Any] | None
    ) -> None:
        self.position = position
        self.label = label
        self.code = code
        self.message = message
        self.item = item

    def __repr__(self) -> str:
        name = f" {self.label!r}" if self.label else ""
        return f"<action {self.position}{name}: {self.code}>"


class TransactionLimitError(OutboxError):
    """A transaction that DynamoDB would refuse whatever its tables hold; nothing was sent.

    Attributes:
        limit: The limit's name.
        offender: The label or the position of the first action beyond it.
    """

    def __init__(self, limit: str, offender: str, problem: str) -> None:
        super().__init__(f"{offender}: {problem}")
        self.limit = limit
        self.offender = offender


class TransactionCanceledError(OutboxError):
    """DynamoDB refused the transaction as a whole; nothing of it was written.

    Attributes:
        reasons: One per action, in the caller's order.
    """

    def __init__(self, reasons: Sequence[CancellationReason]) -> None:
        self.reasons = tuple(reasons)
        blamed = [reason for reason in self.reasons if reason.code != "None"]
        super().__init__("transaction cancelled, nothing was written: " + ", ".join(map(repr, blamed)))


class ConditionFailedError(TransactionCanceledError):
    """A condition of the transaction did not hold.

    Attributes:
        failed: The reasons whose code is ``ConditionalCheckFailed``.
        label: The label of the first of them.
        item: The item that the first of them met.
        is_stale: Whether only actions with a version lock were refused: somebody was faster, and what was
            read is stale.
    """

    def __init__(self, reasons: Sequence[CancellationReason], *, is_stale: bool = False) -> None:
        super().__init__(reasons)
        self.is_stale = is_stale
        self.failed = tuple(reason for reason in self.reasons if reason.code == "ConditionalCheckFailed")
        self.label = self.failed[0].label
        self.item = self.failed[0].item


class TransactionConflictError(TransactionCanceledError):
    """Every reason is contention with other writers: the same transaction may well go through if it runs again."""


class TransactionVoidedError(TransactionCanceledError):
    """No answer came in time, so the transaction was made void: nothing of it was or will be written."""

    def __init__(self) -> None:
        super().__init__(())
        self.args = ("no answer came, so the transaction was made void: nothing was or will be written; run it again",)


class CommitUnknownError(OutboxError):
    """Whether the transaction was committed is open: no answer came, and DynamoDB could not be asked either.

    Ask again with `TransactionalOutbox.settle`, in this process or in another: the error can be pickled.

    Attributes:
        token: Its ``ClientRequestToken``.
        proof: Its event's item, which is what `TransactionalOutbox.settle` asks for. None for a transaction without an
            event, of which only the caller's own items can tell, and for an inbox handler's: the event again tells.
        sent_at: When it was first sent.
    """

    def __init__(self, token: str, proof: CommitProof | None = None, sent_at: datetime | None = None) -> None:
        what_to_do = (
            "no event proves it: read what it writes, or hand an inbox the same event again"
            if proof is None
            else "ask again with outbox.settle(error)"
        )
        super().__init__(f"whether the transaction {token} was committed is not known; {what_to_do}")
        self.token = token
        self.proof = proof
        self.sent_at = sent_at


class PublishError(OutboxError):
    """Some events did not reach the bus.

    Attributes:
        result: What was published and what failed, by position.
    """

    def __init__(self, result: PublishOutcome) -> None:
        first = result.failed[0]
        super().__init__(
            f"{len(result.failed)} of {len(result.failed) + len(result.published)} events were not published; "
            f"the first: {first.event.type} {first.event.id}: {first.code}: {first.message}"
        )
        self.result = result


class ParkingError(OutboxError):
    """A stream record can't be parked, or what is parked can't be read. It stays where it is.

    Attributes:
        sequence_number: The record's, or None where it has none.
        problem: What is wrong with it.
    """

    def __init__(self, sequence_number: str | None, problem: str) -> None:
        super().__init__(f"the record with the sequence number {sequence_number} {problem}")
        self.sequence_number = sequence_number
        self.problem = problem


class IdempotencyError(OutboxError):
    """The base of the errors of `idempotent`.

    Attributes:
        key: The idempotency key, with its scope, as it is stored.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class AlreadyInProgressError(IdempotencyError):
    """Another call with this key holds the lease. Let the sender try again; the function did not run."""


class PayloadMismatchError(IdempotencyError):
    """The key was used before with another payload: the sender's mistake. The function did not run."""


class LeaseLostError(IdempotencyError):
    """The function ran, but longer than its lease, and meanwhile its key was taken over, or settled by hand.

    Attributes:
        result: What this run returned; it is not what is stored.
    """

    def __init__(self, key: str, result: object) -> None:
        super().__init__(
            key,
            "ran past its lease, and meanwhile its key was taken over or settled by hand; its result was not stored",
        )
        self.result = result


class MissingIdempotencyKeyError(IdempotencyError):
    """The payload holds no idempotency key. The function did not run."""


class UnknownOutcomeError(IdempotencyError):
    """An earlier call's lease ran out, and whether its effect took place is not known. The function did not run.

    Look at what that call does, and then tell the store: `IdempotencyStore.forget`, and the next call runs, or
    `IdempotencyStore.resolve`, and duplicates get the result that it should have stored.

    Attributes:
        token: The earlier call's token, which both of them take.
        since: When its lease ended.
        fence: The number that `fence_number` gave it.
    """

    def __init__(self, key: str, *, token: str, since: datetime, fence: int) -> None:
        super().__init__(
            key,
            f"a call took it (token {token}, fence {fence}), and its lease ended at {since.isoformat()} without a word "
            f"of how the call did; look whether its effect took place, then forget or resolve it by its key and token",
        )
        self.token = token
        self.since = since
        self.fence = fence


class PermanentFailureError(IdempotencyError):
    """An earlier call failed for good with an exception that can't be raised again as it was. It did not run again.

    Attributes:
        kind: The exception's type, by its module and qualified name.
        message: What it said.
    """

    def __init__(self, key: str, kind: str, message: str) -> None:
        super().__init__(key, f"failed for good before, with {kind}: {message}")
        self.kind = kind
        self.message = message


class ResultError(IdempotencyError):
    """The function ran and its effect stands, but what it returned can't be stored and so can't be replayed."""
