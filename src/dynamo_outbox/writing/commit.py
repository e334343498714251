"""Sending a transaction, and determining whether it was committed if no response comes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import (
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)

from ..aws.backoff import full_jitter
from ..aws.clients import Prevalidated
from ..aws.errors import NO_RESPONSE, error_code, is_throttled, is_unreadable, item_of_refusal
from ..aws.service import ATTEMPTS, NoResponseTypeError
from ..errors import CommitUnknownError, TransactionConflictError, TransactionVoidedError
from ..log_lines import EventNames, fields, logger, named
from .actions import cancellation
from .commit_rules import Answer, Proof, Step, is_marker, next_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .actions import Action
    from .settings import WriterSettings

__all__ = ["TOKEN_LIFE", "commit", "settle"]

log = logger(__name__)

TOKEN_LIFE = timedelta(minutes=9)
"""The time for which a transaction's token keeps a repeated request from writing twice: ten minutes, less a margin.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
RESPONSE_TIME = 2.0
"""Seconds to wait for a response at least, if the library's own client is used."""
DOUBT_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait before the next request if there was no response or the transaction is in progress: it may be our
own, whose response botocore lost. AWS advises waits that start at half a second, with an attempt later than five
seconds after the first."""


def commit(
    settings: WriterSettings, actions: Sequence[Action], *, attempts: int, proof: Proof | None, token: str | None = None
) -> None:
    """Send a transaction; repeat it with the same token while contention, or the lack of a response, may end.

    Args:
        settings: The outbox's.
        actions: The transaction's.
        attempts: How often it is sent if others contend for its items.
        proof: The item of its first event, if it has events.
        token: Its ``ClientRequestToken``; by default a new one.

    Raises:
        TransactionCanceledError: It was refused or made void: nothing was or will be written.
        ClientError: DynamoDB refused the request as a whole.
        CommitUnknownError: There was no response, and it could not be settled.
    """
    items = [action.request for action in actions]
    if all(action.is_prevalidated for action in actions):
        items = Prevalidated(items)
    token = token or secrets.token_hex(16)
    waits = _Waits(settings, attempts)
    in_doubt = False
    while True:
        error = _send(settings, items, token, seconds=waits.response_time(), in_doubt=in_doubt)
        if error is None:
            if in_doubt:
                _log_committed(proof, token)
            return
        answer, refusal = _read(settings, error, actions, proof)
        if answer is Answer.NONE:
            log.info(
                "transaction %s (%s) on %s has no response: %s",
                token,
                named(_event_in(proof)),
                _tables(actions),
                error_code(error),
                extra=fields(_event_in(proof), token=token, table=_tables(actions), code=error_code(error)),
            )
        in_doubt = in_doubt or answer in (Answer.NONE, Answer.IN_PROGRESS) or _was_repeated(error)
        wait = waits.after(answer)
        step = next_step(answer, in_doubt=in_doubt, in_time=wait is not None)
        if step is Step.RESEND:
            log.debug(
                "transaction %s (%s) on %s is sent again: %s",
                token,
                named(_event_in(proof)),
                _tables(actions),
                error_code(error),
                extra=fields(_event_in(proof), token=token, table=_tables(actions), code=error_code(error)),
            )
            settings.clock.sleep(wait or 0.0)
            if not in_doubt or waits.is_token_known():
                continue
            step = Step.SETTLE  # the process was paused for so long that a repeated request would write again
        if step is Step.REFUSE:
            assert refusal is not None  # noqa: S101  # for the type checker
            raise refusal from error
        if step is Step.SETTLE:
            unknown = CommitUnknownError(token, proof, waits.started)
            unknown.__cause__ = error
            if not settle(settings, unknown):
                raise (refusal or TransactionVoidedError()) from error
        else:
            _log_committed(proof, token)
        return


def settle(settings: WriterSettings, unknown: CommitUnknownError) -> bool:
    """Find the transaction's event, or put a void marker in its place.

    Returns:
        Whether the transaction was committed; if not, it never will be.

    Raises:
        CommitUnknownError: The same error: the transaction has no event, DynamoDB did not respond, or the event's item
            may have expired.
    """
    proof = unknown.proof if isinstance(unknown.proof, Proof) else None
    try:
        is_committed = _settle(settings, unknown, proof)
    except CommitUnknownError:
        log.warning(
            "the outcome of transaction %s (%s) is unknown",
            unknown.token,
            named(_event_in(proof)),
            extra=fields(_event_in(proof), token=unknown.token, table=proof and proof.table),
        )
        raise
    if is_committed:
        _log_committed(proof, unknown.token)
    else:
        log.warning(
            "transaction %s (%s) is void: a marker, or another event, has its event's key",
            unknown.token,
            named(_event_in(proof)),
            extra=fields(_event_in(proof), token=unknown.token, table=proof and proof.table),
        )
    return is_committed


def _log_committed(proof: Proof | None, token: str) -> None:
    log.info(
        "transaction %s (%s) was committed, though a response was lost",
        token,
        named(_event_in(proof)),
        extra=fields(_event_in(proof), token=token, table=proof and proof.table),
    )


def _event_in(proof: Proof | None) -> EventNames | None:
    if proof is None:
        return None
    event_id, event_type, kind, name = (
        proof.item[each]["S"] for each in ("eventId", "eventType", "aggregateType", "aggregateId")
    )
    return EventNames(event_id, event_type, f"{kind}#{name}" if kind else None)


def _settle(settings: WriterSettings, unknown: CommitUnknownError, proof: Proof | None) -> bool:
    if proof is None:
        raise unknown
    clock = settings.clock
    if not proof.is_lasting(clock.now()):
        return _find(settings, unknown, proof)
    request = proof.marker_request(unknown.token, expires_at=settings.expires_at())
    until = clock.now() + settings.retry.timeout
    for wait in (*DOUBT_WAITS, None):
        try:
            settings.dynamodb.send("put_item", seconds=RESPONSE_TIME, **request)
            return False
        except Exception as error:  # a client may raise anything if it has no response
            found = item_of_refusal(error)
            if found:
                return not is_marker(found) and proof.is_item(found)
            responded = isinstance(error, ClientError) and not is_unreadable(error)
            is_late = not responded and wait is not None and clock.now() + timedelta(seconds=wait) > until
            if wait is None or is_late or not _may_pass(error):
                raise unknown from error
        clock.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _find(settings: WriterSettings, unknown: CommitUnknownError, proof: Proof) -> bool:
    """Look for an event that may have been deleted: if it is not there, nothing is known."""
    try:
        found = settings.dynamodb.call("get_item", **proof.read_request()).get("Item")
    except Exception as error:
        raise unknown from error
    if not found:
        raise unknown
    return not is_marker(found) and proof.is_item(found)


class _Waits:
    """The time to wait before a transaction is sent again, and for each response."""

    def __init__(self, settings: WriterSettings, attempts: int) -> None:
        self.started = settings.clock.now()
        self._clock = settings.clock
        self._timeout = settings.retry.timeout
        self._refusals = {Answer.CONTENTION: attempts, Answer.THROTTLED: ATTEMPTS}
        """Attempts left after each kind of refusal."""
        self._refused = 0
        self._doubt_waits = iter(DOUBT_WAITS)

    def response_time(self) -> float:
        """Return the seconds to wait for a response: half of the time that is left, so that another attempt follows."""
        return max(RESPONSE_TIME, (self.started + self._timeout - self._clock.now()).total_seconds() / 2)

    def is_token_known(self) -> bool:
        """Return whether DynamoDB still recognises the first request's token."""
        return self._clock.now() < self.started + TOKEN_LIFE

    def after(self, answer: Answer) -> float | None:
        """Return the seconds to wait after a response; None if there is no time or attempt left."""
        wait: float | None = None
        timeout = self._timeout
        if answer in self._refusals:
            self._refusals[answer] -= 1
            self._refused += 1
            if self._refusals[answer] > 0:
                wait = full_jitter(self._refused - 1, draw=self._clock.random())
        else:
            wait = next(self._doubt_waits, None)
            timeout = min(timeout, TOKEN_LIFE) if answer is Answer.NONE else TOKEN_LIFE
        if wait is None or self._clock.now() + timedelta(seconds=wait) > self.started + timeout:
            return None
        return wait


def _send(
    settings: WriterSettings, items: list[Any], token: str, *, seconds: float, in_doubt: bool
) -> Exception | None:
    """Send the transaction; return the error. Anything but DynamoDB's own refusal may come after it was carried out."""
    try:
        settings.dynamodb.send("transact_write_items", seconds=seconds, TransactItems=items, ClientRequestToken=token)
    except _NOT_SENT:
        raise
    except _NOT_SENT_AT_FIRST as error:
        if not in_doubt:
            raise
        return error
    except Exception as error:
        return error
    return None


def _read(
    settings: WriterSettings, error: Exception, actions: Sequence[Action], proof: Proof | None
) -> tuple[Answer, Exception | None]:
    """Return the meaning of a failed request, and the error to raise if it is a refusal."""
    if not isinstance(error, ClientError) or is_unreadable(error):
        return Answer.NONE, None
    code = error_code(error)
    if code == "TransactionInProgressException":
        return Answer.IN_PROGRESS, None
    if is_throttled(error):
        return Answer.THROTTLED, error
    reasons = cast("Sequence[Mapping[str, Any]] | None", error.response.get("CancellationReasons"))
    if code != "TransactionCanceledException" or reasons is None:
        _name_tables(error, actions)
        return Answer.REFUSED, error
    refusal = cancellation(actions, reasons, settings.key_names)
    if proof is not None and any(proof.is_item(reason.get("Item") or {}) for reason in reasons):
        return Answer.OWN_EVENT, refusal
    return (Answer.CONTENTION if isinstance(refusal, TransactionConflictError) else Answer.REFUSED), refusal


def _name_tables(error: ClientError, actions: Sequence[Action]) -> None:
    """Add to the text of a whole request's refusal which tables and actions the request has."""
    labels = ", ".join(repr(action.label) for action in actions if action.label)
    error.args = (f"{error} (tables: {_tables(actions)}; actions: {labels or len(actions)})",)


def _tables(actions: Sequence[Action]) -> str:
    return ", ".join(dict.fromkeys(parts["TableName"] for action in actions for parts in action.request.values()))


def _was_repeated(error: Exception) -> bool:
    """Return whether botocore sent the request more than once, so that an earlier one may have had no response."""
    return isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0


_NOT_SENT = (NoResponseTypeError, NotImplementedError)
"""The client can't send any request."""
_NOT_SENT_AT_FIRST = (ParamValidationError, NoCredentialsError, PartialCredentialsError, NoRegionError)
"""Raised before the first request is sent, and never by a repetition of it: credentials that can't be *refreshed* are
not among them, because botocore refreshes them for its own repetitions."""
_PASSING = frozenset(
    {
        "ConditionalCheckFailedException",  # the item that it met was gone before it could be returned
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def _may_pass(error: Exception) -> bool:
    """Return whether a marker's put that failed with this error is worth another attempt."""
    if not isinstance(error, ClientError):
        return isinstance(error, NO_RESPONSE)
    return is_unreadable(error) or is_throttled(error) or error_code(error) in _PASSING
