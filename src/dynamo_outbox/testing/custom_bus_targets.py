"""Targets for the subscribers of a `FakeCustomBus`: Lambda functions and SQS queues of a local engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from .fakes.client import RefusedError
from .fakes.subscriber import BusEvent, MessageTarget, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lambda_target", "queue_target"]

_FIFO_GROUP = re.compile(r"[!-~]{1,128}")
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""


def lambda_target(client: Any, function: str) -> Callable[[Any], None]:
    """Return a subscriber's target that calls a Lambda function and waits for it (REQUEST_RESPONSE).

    Args:
        client: A low-level Lambda client, such as MiniStack's.
        function: The function's name or ARN.
    """

    def deliver(payload: Any) -> None:
        response = client.invoke(FunctionName=function, Payload=json_text(payload).encode())
        if "FunctionError" in response:
            raise RuntimeError(response["Payload"].read().decode(errors="replace"))

    return deliver


def queue_target(client: Any, queue_url: str) -> MessageTarget:
    """Return a subscriber's target that sends each event to an SQS queue, as one message.

    A FIFO queue gets the group and ``aws:EventId``, as our template says. An event without a group, or with one that
    such a queue does not take, is a failed delivery, and so is what the queue refuses: more than 1 MB.

    Args:
        client: A low-level SQS client.
        queue_url: The queue's URL.
    """
    return _Queue(client, queue_url)


class _Queue(MessageTarget):
    def __init__(self, client: Any, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, event: BusEvent, body: Mapping[str, Any]) -> None:
        fifo: dict[str, str] = {}
        if self._queue_url.endswith(".fifo"):
            if not _FIFO_GROUP.fullmatch(event.group or ""):
                raise _refused(
                    f"EventGroupId {event.group!r} can't be a MessageGroupId: 1 to 128 characters from ! to ~."
                )
            fifo = {"MessageGroupId": event.group or "", "MessageDeduplicationId": event.event_id}
        try:
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=json_text(body), **fifo)
        except ClientError as error:
            raise _refused(error.response["Error"]["Message"]) from None


def _refused(message: str) -> RefusedError:
    return RefusedError("CUSTOMER_VALIDATION", message)
