"""Turn a function of one event into the Lambda handler of a queue, a topic or a Custom Event Bus."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..events.message_shape import is_bus_event
from ..events.messages import message_names, parse_events, payload_records
from ..log_lines import fields, logger, named
from ..writing.callables import refuse_awaitable, refuse_unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.event import Event

__all__ = ["batch_handler", "message_handler"]

log = logger(__name__)


def batch_handler(function: Callable[[Event, Any], object]) -> Callable[[Any, Any], dict[str, Any]]:
    """Let a function of one event handle a batch of SQS or SNS messages, or of a Custom Event Bus.

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

    SNS has no batch response, and what a Custom Event Bus makes of one is not documented: the function's exception is
    raised at the first failure, the whole delivery is repeated, and a duplicate must be harmless. So that an event of a
    Custom Event Bus fails alone, its subscriber has MaxBatchSize 1.
    """
    refuse_unfit(function, "a batch handler")
    return message_handler(function, getattr(function, "__qualname__", type(function).__name__))


def message_handler(function: Callable[[Event, Any], object], consumer: str) -> Callable[[Any, Any], dict[str, Any]]:
    """Return `batch_handler`'s handler; the log names the consumer."""

    @wraps(function)
    def handler(payload: Any, context: Any = None) -> dict[str, Any]:
        failures: list[dict[str, str]] = []
        blocked: dict[str, list[str | None]] = {}
        records = payload_records(payload)
        is_of_bus = any(map(is_bus_event, records))
        for record, message in zip(records, parse_events(payload, on_error="collect"), strict=True):
            identifier, group = message_names(record)
            if group in blocked:
                blocked[group].append(identifier)
            else:
                try:
                    if isinstance(message, DecodeError):
                        raise message
                    refuse_awaitable(function(message.event, context), consumer)
                    continue
                except Exception:
                    if identifier is None or is_of_bus:
                        raise
                    event = None if isinstance(message, DecodeError) else message.event
                    log.exception(
                        "message %s (%s) of %s failed",
                        identifier,
                        named(event),
                        consumer,
                        extra=fields(event, consumer=consumer, message_id=identifier, order_key=group),
                    )
                if group is not None:
                    blocked[group] = []
            failures.append({"itemIdentifier": str(identifier)})
        for group, held_back in blocked.items():
            if held_back:
                log.warning(
                    "messages of group %s of %s are held back behind a failed one: %d, the first %s",
                    group,
                    consumer,
                    len(held_back),
                    held_back[0],
                    extra=fields(
                        None, consumer=consumer, message_id=held_back[0], order_key=group, count=len(held_back)
                    ),
                )
        return {} if is_of_bus else {"batchItemFailures": failures}

    return handler
