"""How a transaction is sent, and how it is found out whether it was committed when no answer comes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.clients import LOST_ANSWER, Whole
from .actions import cancellation
from ..aws.backoff import full_jitter
from .commit_rules import Answer, Step, is_event_of, is_marker, marker_request, next_step
from ..errors import CommitUnknownError, TransactionConflictError, TransactionVoidedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..aws.clients import LazyClient
    from .actions import Action
    from .commit_rules import Proof
    from ..typing import Clock, DynamoDBClient

__all__ = ["Committer"]

TOKEN_LIFE = timedelta(minutes=9)
"""How long after the first request its token keeps a later one from writing twice: ten minutes, less a margin.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
DOUBT_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before asking again where no answer came or the transaction is in progress: our own, perhaps, whose
answer to botocore was lost. AWS advises waits that begin at half a second and leave room for an attempt later than five
seconds after the first."""


@dataclass(frozen=True, slots=True)
class Committer:
    """Sends an outbox's transactions and settles those in doubt; the attributes are the outbox's."""

    client: LazyClient[DynamoDBClient]
    ttl: timedelta
    retry_for: timedelta
    clock: Clock
    sleep: Callable[[float], None]
    draw: Callable[[], float]

    def commit(self, actions: Sequence[Action], *, retries: int, proof: Proof | None) -> None:
        """Send a transaction; again, with the same token and body, while contention or silence may pass.

        Args:
            actions: What it does.
            retries: How often it is sent again for contention.
            proof: Its event; None where it has none.

        Raises:
            TransactionCanceledError: It was refused or made void, and nothing was or will be written.
            CommitUnknownError: No answer came, and it could not be settled.
        """
        items = [action.request for action in actions]
        if all(action.is_whole for action in actions):
            items = Whole(items)
        token = secrets.token_hex(16)
        sent_at = self.clock()
        in_doubt = False
        contended = 0
        doubt_waits = list(DOUBT_WAITS)
        wait, in_time = 0.0, False
        while True:
            error: Exception | None = None
            try:
                self.client().transact_write_items(TransactItems=items, ClientRequestToken=token)
            except (ClientError, *LOST_ANSWER) as raised:
                error = raised
            except BotoCoreError as raised:  # from before it was sent, as for credentials that can't be renewed
                if not in_doubt:
                    raise
                error = raised
            answer, refusal = _read(error, actions, proof)
            in_doubt = in_doubt or answer is Answer.NONE or answer is Answer.IN_PROGRESS or _was_repeated(error)
            if answer is Answer.CONTENTION:
                wait = full_jitter(contended, draw=self.draw())
                in_time = contended < retries and self._is_in_time(sent_at, wait, self.retry_for)
                contended += 1
            elif answer is not Answer.COMMITTED:
                wait = doubt_waits.pop(0) if doubt_waits else 0.0
                patience = self.retry_for if answer is Answer.NONE else TOKEN_LIFE
                in_time = wait > 0 and self._is_in_time(sent_at, wait, min(patience, TOKEN_LIFE))
            match next_step(answer, in_doubt=in_doubt, in_time=in_time):
                case Step.DONE:
                    return
                case Step.RESEND:
                    self.sleep(wait)
                case Step.REFUSE:
                    assert refusal is not None  # noqa: S101  # for the type checker
                    raise refusal from error
                case Step.SETTLE:
                    unknown = CommitUnknownError(token, proof, sent_at)
                    unknown.__cause__ = error
                    if not self.settle(unknown):
                        raise (TransactionVoidedError() if refusal is None else refusal) from error
                    return

    def settle(self, unknown: CommitUnknownError) -> bool:
        """Find the transaction's event, or put a void marker in its place.

        Returns:
            Whether it was committed; where not, it never will be.

        Raises:
            CommitUnknownError: The same: it has no event, DynamoDB did not answer, or so much time went by that the
                event's item may have been deleted.
        """
        proof = unknown.proof
        if proof is None or self.clock().timestamp() >= int(proof.item[proof.layout.ttl_attribute]["N"]):
            raise unknown
        expires_at = int((self.clock() + self.ttl).timestamp())
        request = marker_request(proof, unknown.token, expires_at=expires_at)
        for wait in (*DOUBT_WAITS, None):
            try:
                self.client().put_item(**request)
                return False
            except (ClientError, BotoCoreError, *LOST_ANSWER) as error:
                found = _found(error)
                if found is not None:
                    return not is_marker(found) and is_event_of(proof, found)
                if wait is None or not _may_pass(error):
                    raise unknown from error
            self.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _is_in_time(self, since: datetime, wait: float, patience: timedelta) -> bool:
        return self.clock() + timedelta(seconds=wait) <= since + patience


def _read(error: Exception | None, actions: Sequence[Action], proof: Proof | None) -> tuple[Answer, Exception | None]:
    """What an answer says, and the error to raise where it is a refusal."""
    if error is None:
        return Answer.COMMITTED, None
    if not isinstance(error, ClientError) or _is_unread(error):
        return Answer.NONE, None
    code = error.response["Error"]["Code"]
    if code == "TransactionInProgressException":
        return Answer.IN_PROGRESS, None
    reasons = cast("Sequence[Mapping[str, Any]] | None", error.response.get("CancellationReasons"))
    if code != "TransactionCanceledException" or reasons is None:
        return Answer.REFUSED, error
    refusal = cancellation(actions, reasons)
    if proof is not None and any(is_event_of(proof, reason.get("Item") or {}) for reason in reasons):
        return Answer.OWN_EVENT, refusal
    return (Answer.CONTENTION if isinstance(refusal, TransactionConflictError) else Answer.REFUSED), refusal


def _is_unread(error: ClientError) -> bool:
    """Whether an error is no refusal of DynamoDB's: a status of 500, or any that no code came with that can be read."""
    code = error.response["Error"]["Code"]
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500 or code.isdigit()


def _was_repeated(error: Exception | None) -> bool:
    """Whether botocore sent the request more than once, so that an earlier one may have got no answer."""
    return isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


def _found(error: Exception) -> Mapping[str, Any] | None:
    """The item that a conditional put met."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ConditionalCheckFailedException":
        return cast("Mapping[str, Any] | None", error.response.get("Item"))
    return None


_PASSING = frozenset(
    {
        "ConditionalCheckFailedException",  # the item that it met was gone when it was to be shown
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def _may_pass(error: Exception) -> bool:
    """Whether a marker's put that failed so is worth another try."""
    if not isinstance(error, ClientError):
        return isinstance(error, LOST_ANSWER)
    return _is_unread(error) or error.response["Error"]["Code"] in _PASSING
