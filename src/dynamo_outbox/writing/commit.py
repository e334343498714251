"""Sending a transaction, and determining whether it was committed if no response comes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.backoff import full_jitter
from ..aws.clients import Prevalidated
from ..aws.errors import NO_RESPONSE, error_code, is_unreadable, item_of_refusal
from ..errors import CommitUnknownError, TransactionConflictError, TransactionVoidedError
from .actions import cancellation
from .commit_rules import Answer, Proof, Step, is_marker, next_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .actions import Action
    from .settings import WriterSettings

__all__ = ["TOKEN_LIFE", "commit", "settle"]

TOKEN_LIFE = timedelta(minutes=9)
"""The time for which a transaction's token keeps a repeated request from writing twice: ten minutes, less a margin.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
DOUBT_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before the next request if there was no response or the transaction is in progress: it may be our
own, whose response botocore lost. AWS advises waits that start at half a second, with an attempt later than five
seconds after the first."""


def commit(settings: WriterSettings, actions: Sequence[Action], *, attempts: int, proof: Proof | None) -> None:
    """Send a transaction; repeat it with the same token while contention, or the lack of a response, may end.

    Args:
        settings: The outbox's.
        actions: The transaction's.
        attempts: How often it is sent if others contend for its items.
        proof: The item of its first event, if it has events.

    Raises:
        TransactionCanceledError: It was refused or made void: nothing was or will be written.
        CommitUnknownError: There was no response, and it could not be settled.
    """
    items = [action.request for action in actions]
    if all(action.is_prevalidated for action in actions):
        items = Prevalidated(items)
    token = secrets.token_hex(16)
    waits = _Waits(settings, attempts)
    in_doubt = False
    while True:
        error = _send(settings, items, token, in_doubt=in_doubt)
        if error is None:
            return
        answer, refusal = _read(error, actions, proof)
        in_doubt = in_doubt or answer in (Answer.NONE, Answer.IN_PROGRESS) or _was_repeated(error)
        wait = waits.after(answer)
        match next_step(answer, in_doubt=in_doubt, in_time=wait is not None):
            case Step.DONE:
                return
            case Step.RESEND:
                settings.clock.sleep(wait or 0.0)
            case Step.REFUSE:
                assert refusal is not None  # noqa: S101  # for the type checker
                raise refusal from error
            case Step.SETTLE:
                unknown = CommitUnknownError(token, proof, waits.started)
                unknown.__cause__ = error
                if not settle(settings, unknown):
                    raise (refusal or TransactionVoidedError()) from error
                return


def settle(settings: WriterSettings, unknown: CommitUnknownError) -> bool:
    """Find the transaction's event, or put a void marker in its place.

    Returns:
        Whether the transaction was committed; if not, it never will be.

    Raises:
        CommitUnknownError: The same error: the transaction has no event, DynamoDB did not respond, or the event's item
            may have expired.
    """
    proof, clock = unknown.proof, settings.clock
    if not isinstance(proof, Proof) or clock.now().timestamp() >= proof.expires_at:
        raise unknown
    request = proof.marker_request(unknown.token, expires_at=settings.expires_at())
    for wait in (*DOUBT_WAITS, None):
        try:
            settings.client().put_item(**request)
            return False
        except (ClientError, BotoCoreError, *NO_RESPONSE) as error:
            found = item_of_refusal(error)
            if found:
                return not is_marker(found) and proof.is_item(found)
            if wait is None or not _may_pass(error):
                raise unknown from error
        clock.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


class _Waits:
    """The time to wait before a transaction is sent again."""

    def __init__(self, settings: WriterSettings, attempts: int) -> None:
        self.started = settings.clock.now()
        self._clock = settings.clock
        self._timeout = settings.retry.timeout
        self._attempts = attempts
        self._contended = 0
        self._doubt_waits = iter(DOUBT_WAITS)

    def after(self, answer: Answer) -> float | None:
        """Return the seconds to wait after a response; None if there is no time or attempt left."""
        wait: float | None = None
        timeout = self._timeout
        if answer is Answer.CONTENTION:
            self._contended += 1
            if self._contended < self._attempts:
                wait = full_jitter(self._contended - 1, draw=self._clock.random())
        else:
            wait = next(self._doubt_waits, None)
            timeout = min(timeout, TOKEN_LIFE) if answer is Answer.NONE else TOKEN_LIFE
        if wait is None or self._clock.now() + timedelta(seconds=wait) > self.started + timeout:
            return None
        return wait


def _send(settings: WriterSettings, items: list[Any], token: str, *, in_doubt: bool) -> Exception | None:
    try:
        settings.client().transact_write_items(TransactItems=items, ClientRequestToken=token)
    except (ClientError, *NO_RESPONSE) as error:
        return error
    except BotoCoreError as error:  # before it was sent: credentials that can't be refreshed, for instance
        if not in_doubt:
            raise
        return error
    return None


def _read(error: Exception, actions: Sequence[Action], proof: Proof | None) -> tuple[Answer, Exception | None]:
    """Return what a failed request means, and the error to raise if it is a refusal."""
    if not isinstance(error, ClientError) or is_unreadable(error):
        return Answer.NONE, None
    code = error_code(error)
    if code == "TransactionInProgressException":
        return Answer.IN_PROGRESS, None
    reasons = cast("Sequence[Mapping[str, Any]] | None", error.response.get("CancellationReasons"))
    if code != "TransactionCanceledException" or reasons is None:
        return Answer.REFUSED, error
    refusal = cancellation(actions, reasons)
    if proof is not None and any(proof.is_item(reason.get("Item") or {}) for reason in reasons):
        return Answer.OWN_EVENT, refusal
    return (Answer.CONTENTION if isinstance(refusal, TransactionConflictError) else Answer.REFUSED), refusal


def _was_repeated(error: Exception) -> bool:
    """Return whether botocore sent the request more than once, so that an earlier one may have had no response."""
    return isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


_PASSING = frozenset(
    {
        "ConditionalCheckFailedException",  # the item that it met was gone before it could be returned
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def _may_pass(error: Exception) -> bool:
    """Return whether a marker's put that failed with this error is worth another attempt."""
    if not isinstance(error, ClientError):
        return isinstance(error, NO_RESPONSE)
    return is_unreadable(error) or error_code(error) in _PASSING
