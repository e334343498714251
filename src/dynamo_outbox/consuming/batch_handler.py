"""A function that handles one event, as the Lambda handler of a queue or a topic."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..events.messages import names_of, parse_events, payload_records
from ..errors import DecodeError
from ..aws.functions import refuse_awaitable, refuse_unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.event import Event

__all__ = ["each_message"]

log = logging.getLogger(__name__)


def each_message(function: Callable[[Event, Any], object]) -> Callable[[Any, Any], dict[str, Any]]:
    """Let a function of one event handle a batch of SQS or SNS messages.

    Args:
        function: Called with each message's `Event` and Lambda's context; make it `idempotent`, for a message may come
            twice.

    Returns:
        A Lambda handler that answers with the batch response of ``ReportBatchItemFailures``: the messages whose
        function raised, or that hold no event. In a FIFO queue, what follows a failed message of its group fails with
        it, so that their order is kept. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html

    Raises:
        TypeError: When decorating an ``async`` or generator function: its messages would count as done before it ran.
        DecodeError: When called: the payload is no such batch.

    SNS knows no batch response: there, what the function raises is raised, and SNS sends the message again.
    """

    refuse_unfit(function, "each_message")

    @wraps(function)
    def handler(payload: Any, context: Any = None) -> dict[str, Any]:
        failures: list[dict[str, str]] = []
        blocked: set[str] = set()
        for record, message in zip(payload_records(payload), parse_events(payload, on_error="collect"), strict=True):
            identifier, group = names_of(record)
            if group not in blocked:
                try:
                    if isinstance(message, DecodeError):
                        raise message
                    refuse_awaitable(function(message.event, context), function.__qualname__)
                    continue
                except Exception:
                    if identifier is None:
                        raise
                    log.exception("message %s failed", identifier)
                if group is not None:
                    blocked.add(group)
            failures.append({"itemIdentifier": str(identifier)})
        return {"batchItemFailures": failures}

    return handler
