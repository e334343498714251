"""Turn a function of one event into the Lambda handler of a queue or a topic."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..events.messages import message_names, parse_events, payload_records
from ..writing.callables import refuse_awaitable, refuse_unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.event import Event

__all__ = ["batch_handler"]

log = logging.getLogger(__name__)


def batch_handler(function: Callable[[Event, Any], object]) -> Callable[[Any, Any], dict[str, Any]]:
    """Let a function of one event handle a batch of SQS or SNS messages.

    Args:
        function: Called with each message's `Event` and Lambda's context; make it `idempotent`, because a message may
            be delivered twice.

    Returns:
        A Lambda handler that returns the batch response of ``ReportBatchItemFailures``: the messages whose function
        raised, or that contain no event. In a FIFO queue, the messages after a failed one of its group fail with it, so
        that their order is kept. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html

    Raises:
        TypeError: The decorated function is ``async`` or a generator: its messages would count as done before it ran.
        DecodeError: When called: the payload is not such a batch.

    SNS has no batch response: the function's exception is raised, and SNS delivers the message again.
    """
    refuse_unfit(function, "a batch handler")

    @wraps(function)
    def handler(payload: Any, context: Any = None) -> dict[str, Any]:
        failures: list[dict[str, str]] = []
        blocked: set[str] = set()
        for record, message in zip(payload_records(payload), parse_events(payload, on_error="collect"), strict=True):
            identifier, group = message_names(record)
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
