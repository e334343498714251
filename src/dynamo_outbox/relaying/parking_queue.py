"""`ParkingQueue`: dead-letter storage in SQS, without ordering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..aws.lambda_context import PARKING_MARGIN, REDRIVE_MARGIN, invocation, is_nearly_over
from ..aws.service import Service
from ..errors import ParkingError
from ..log_lines import EventNames, fields, logger, named
from ..options import Clock
from ..streams.outbox_records import event_names
from .parked_record import message_of, record_in_message
from .parking import PARKING_FAULTS, RedriveFailure, RedriveResult, check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..typing import QueueClient
    from .parked_record import ParkedRecord
    from .parking import Redriver

__all__ = ["ParkingQueue"]

log = logger(__name__)

MAX_MESSAGE_BYTES = 1024 * 1024
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
MAX_MESSAGES = 10


class ParkingQueue:
    """Dead-letter storage in an SQS queue. It does not keep order, because a queue can't be searched for an aggregate.

    Args:
        queue_url: The URL of a standard queue, with a retention of 14 days.
        client: A low-level SQS client; by default one is created on first use.
        clock: Time source.

    Limits: A record whose compressed message exceeds SQS's 1 MiB can't be parked and is reported as failed. A
    redelivered record may be in the queue twice; its events have the same ids.
    """

    in_order = False

    def __init__(self, queue_url: str, *, client: QueueClient | None = None, clock: Clock = Clock()) -> None:
        if not queue_url or queue_url.endswith(".fifo"):
            raise ValueError(f"queue_url={queue_url!r} must be the URL of a standard queue, not of a FIFO queue")
        self.queue_url = queue_url
        self.clock = clock
        self._sqs = Service("sqs", client, clock)

    def waiting(self, order_keys: Iterable[str]) -> set[str]:  # noqa: ARG002  # a queue can't be searched
        """Return an empty set: a queue does not keep order."""
        return set()

    def park(self, records: Sequence[ParkedRecord], context: object = None) -> int:
        """Send records to the queue; arguments and result are those of `ParkingTable.park`."""
        stored = 0
        for record in records:
            if stored and is_nearly_over(context, PARKING_MARGIN):
                break
            try:
                self._sqs.call(
                    "send_message", QueueUrl=self.queue_url, MessageBody=message_of(record, MAX_MESSAGE_BYTES)
                )
            except PARKING_FAULTS:
                names = event_names(record.raw) or EventNames(id=next(iter(record.event_ids), None))
                log.exception(
                    "records can't be parked in %s: %d, the first %s of %s (%s)",
                    self.queue_url,
                    len(records) - stored,
                    record.sequence_number,
                    record.order_key,
                    named(names, record.order_key),
                    extra=fields(
                        names,
                        order_key=record.order_key,
                        sequence_number=record.sequence_number,
                        count=len(records) - stored,
                    ),
                )
                break
            stored += 1
        return stored

    def redrive(self, processor: Redriver, *, context: object = None, limit: int | None = None) -> RedriveResult:
        """Publish the parked records with the same event ids, and remove them; arguments as for `ParkingTable.redrive`.

        A failed record stays in the queue and becomes visible again after the visibility timeout. The run ends when the
        queue returns no message, or only messages that this run has already tried.

        Raises:
            ValueError: `limit` is negative.
            ClientError, BotoCoreError: The queue can't be read or written.
        """
        check_limit(limit)
        with invocation(context):
            return self._redrive(processor, context, limit)

    def _redrive(self, processor: Redriver, context: object, limit: int | None) -> RedriveResult:
        seen: set[str] = set()
        failures: list[RedriveFailure] = []
        sent = 0
        while sent != limit and not is_nearly_over(context, REDRIVE_MARGIN):
            most = MAX_MESSAGES if limit is None else min(MAX_MESSAGES, limit - sent)
            response = self._sqs.call(
                "receive_message", QueueUrl=self.queue_url, MaxNumberOfMessages=most, WaitTimeSeconds=1
            )
            messages = [message for message in response.get("Messages", ()) if message["MessageId"] not in seen]
            if not messages:
                return RedriveResult(sent, tuple(failures), finished=True)
            seen.update(message["MessageId"] for message in messages)
            for message in messages:
                failure = self._redrive_message(message["Body"], processor, context)
                if failure is None:
                    self._sqs.call("delete_message", QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                    sent += 1
                else:
                    failures.append(failure)
        return RedriveResult(sent, tuple(failures), finished=False)

    def _redrive_message(self, body: str, processor: Redriver, context: object) -> RedriveFailure | None:
        try:
            record = record_in_message(body)
        except ParkingError as error:
            return RedriveFailure.of_unreadable("", error)
        (reason,) = processor.republish([record], context)
        return None if reason is None else RedriveFailure.of(record, reason)
