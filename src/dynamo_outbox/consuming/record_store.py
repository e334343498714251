"""The idempotency records in DynamoDB: claim a key, end a call, read a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..aws.errors import item_of_refusal
from .claims import Claimed, fence_of, has_ended_so, peek, resolve_refused_claim

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from ..aws.service import Service
    from ..options import Clock
    from .claims import Claim, OnExpiredLease, RecordRequests, Replay

__all__ = ["RecordStore"]


@dataclass(frozen=True, slots=True)
class RecordStore:
    """A store's table of records.

    Attributes:
        dynamodb: DynamoDB's operations.
        requests: Builds the requests.
        lease: How long a call may run if no Lambda context says so.
        clock: The time, waiting and jitter.
    """

    dynamodb: Service
    requests: RecordRequests
    lease: timedelta
    clock: Clock

    def now(self) -> int:
        """Return the time in milliseconds."""
        return int(self.clock.now().timestamp() * 1000)

    def claim(
        self, claim: Claim, lease: timedelta | None = None, *, on_expired_lease: OnExpiredLease = "rerun"
    ) -> Claimed | Replay:
        """Take the key: one conditional update.

        Returns:
            `Claimed` if this call holds the key now, or the `Replay` of an earlier call.

        Raises:
            AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError, ResultError: The call must not run.
        """
        now = self.now()
        request = self.requests.claim(claim, now, self.lease if lease is None else lease, on_expired_lease)
        try:
            record: Mapping[str, Any] = self.dynamodb.call("update_item", **request)["Attributes"]
        except ClientError as error:
            record = _refusing_record(error)
        else:
            return Claimed(fence_of(record))
        replay = resolve_refused_claim(claim, record, self.requests, now, on_expired_lease)
        return Claimed(fence_of(record)) if replay is None else replay

    def peek(self, claim: Claim, *, on_expired_lease: OnExpiredLease = "rerun") -> Replay | None:
        """Read the key's record: one consistent read.

        Returns:
            The `Replay` of an earlier call, or None if the key may be claimed.

        Raises:
            AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError, ResultError: It may not.
        """
        return peek(claim, self.read(claim), self.requests, self.now(), on_expired_lease)

    def read(self, claim: Claim) -> Mapping[str, Any]:
        """Return a key's record, typed; empty if there is none."""
        record: Mapping[str, Any] = self.dynamodb.call("get_item", **self.requests.read(claim)).get("Item", {})
        return record

    def complete(self, claim: Claim, result: tuple[str, str] | None) -> bool:
        """Store the result: its text and form; None if it can't be stored.

        Returns:
            False if this call no longer holds the key; then nothing was changed.
        """
        return self._end(self.requests.complete(claim, self.now(), result))

    def fail(self, claim: Claim, failure: str) -> bool:
        """Store a permanent failure; return False if this call no longer holds the key, and nothing was changed."""
        return self._end(self.requests.fail(claim, self.now(), failure))

    def release(self, claim: Claim) -> bool:
        """Release the key; return False if this call no longer holds it, and nothing was changed."""
        return self._end(self.requests.release(claim))

    def _end(self, request: dict[str, Any]) -> bool:
        try:
            self.dynamodb.call("update_item", **request)
        except ClientError as error:
            return has_ended_so(_refusing_record(error), request)
        return True


def _refusing_record(error: ClientError) -> Mapping[str, Any]:
    """Return the record that a failed condition met; raise any other error."""
    record = item_of_refusal(error)
    if record is None:
        raise error
    return record
