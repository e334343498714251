"""The Custom Event Bus (boto3's ``eventbridgev2``): PutEvents entries with groups and ids, limits, results and codes.

https://docs.aws.amazon.com/eventbridgev2/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-ordering.html
"""

from __future__ import annotations

import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import botocore

from ..errors import InvalidEventError
from ..events.ids import joined
from .classic_bus import entry_size
from .results import Accepted, EntryFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..events.event import Event
    from .results import Outcome

__all__ = ["CustomBus", "deduplication_id", "event_group"]

MAX_SOURCE = 256
"""Characters of an entry's Source."""
MAX_ID = 128
"""Characters of a group and of a deduplication id; AWS does not say how it counts, so only ASCII is sent."""
MAX_REQUEST_BYTES = 1_048_576 - 1024
"""AWS's limit of a call, less room for the ARN and the frame: its formula for PutEvents is not documented."""
_FRAME_BYTES = 128
"""More than an entry's member names take on the wire, so that no formula of AWS's can count more."""
FIRST_BOTOCORE = (1, 43, 102)
"""The first botocore with a model of the service."""
_ARN = re.compile(r"arn:aws[a-z0-9-]*:events:[a-z0-9-]+:[0-9]{12}:event-busv2/[.\-_A-Za-z0-9]+/[a-z0-9]+")
"""The ARN's form by API_PutEvents, but for the length of the id, which AWS may change."""
_PLAIN = re.compile(r"[!-~]+")
"""The characters of an SQS FIFO queue's ids: ASCII letters, digits and punctuation, no space.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""


class CustomBus:
    """A Custom Event Bus, as the publisher sees it.

    Args:
        arn: The bus's ARN.
        has_client: Whether the user gave a client.
        endpoint_id: Not supported.

    Raises:
        ValueError: `arn` is not the ARN of such a bus: AWS would refuse each call as if its entries were at fault. Or a
            global endpoint was given.
        ImportError: The library has to create a client, and botocore is too old.
    """

    service: ClassVar[str] = "eventbridgev2"
    max_entries: ClassVar[int] = 100
    max_bytes: ClassVar[int] = MAX_REQUEST_BYTES
    entry_denials: ClassVar[frozenset[str]] = frozenset({"AccessDeniedException"})
    final_call_codes: ClassVar[frozenset[str]] = frozenset(
        {"AccessDeniedException", "InvalidInputException", "SerializationException", "ValidationException"}
    )
    final_entry_codes: ClassVar[frozenset[str]] = frozenset({"VALIDATION_ERROR"})
    unreadable: ClassVar[tuple[type[Exception], ...]] = (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
    )
    has_groups: ClassVar[bool] = True

    def __init__(self, arn: str, endpoint_id: str | None, *, has_client: bool) -> None:
        if _ARN.fullmatch(arn) is None:
            form = "arn:aws:events:REGION:ACCOUNT:event-busv2/NAME/ID"
            raise ValueError(f"bus={arn!r} is not the ARN of a Custom Event Bus; give all of {form}")
        if endpoint_id is not None:
            raise ValueError(f"endpoint_id={endpoint_id!r}: global endpoints are for Classic buses, not for {arn}")
        if not has_client and _version(botocore.__version__) < FIRST_BOTOCORE:
            first = ".".join(map(str, FIRST_BOTOCORE))
            raise ImportError(
                f"the Custom Event Bus {arn} needs botocore {first} or later, and {botocore.__version__} is imported; "
                f"package boto3>={first} with the function"
            )
        self._arn = arn
        self.region = arn.split(":")[3]

    def entry(self, event: Event, source: str, detail: str, _trace: str | None) -> dict[str, Any]:
        if len(source) > MAX_SOURCE:
            raise InvalidEventError("source", f"{len(source)} characters, and the Custom Event Bus takes {MAX_SOURCE}")
        return {
            "Source": source,
            "DetailType": event.type,
            "Detail": detail,
            "Time": event.time,
            "SystemMetadata": {
                "EventGroupId": event_group(event.aggregate, event.id),
                "DeduplicationId": deduplication_id(source, event.id),
            },
        }

    def size(self, entry: Mapping[str, Any]) -> int:
        ids = entry["SystemMetadata"]
        return entry_size(entry) + len(ids["EventGroupId"]) + len(ids["DeduplicationId"]) + _FRAME_BYTES

    def request(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"EventBusArn": self._arn, "Entries": entries}

    def outcome(self, result: Mapping[str, Any]) -> Outcome:
        code, success = result.get("ErrorCode"), result.get("SuccessCode")
        if code or success not in ("PUBLISHED", "DEDUPLICATED"):
            problem = "" if code else f"its SuccessCode is {success!r}, which confirms nothing"
            return EntryFailure(str(code or "Unknown"), str(result.get("ErrorMessage") or problem))
        event_id, sequence_number = result.get("EventId"), result.get("SequenceNumber")
        return Accepted(
            event_id if isinstance(event_id, str) else "",
            sequence_number if isinstance(sequence_number, str) else None,
            success == "DEDUPLICATED",
        )


def event_group(aggregate: str | None, event_id: str) -> str:
    """Return an event's EventGroupId. Never change the rule: events of one aggregate would be in two groups.

    Args:
        aggregate: ``{type}#{id}``, sent as it is if an SQS FIFO queue takes it; else ``sha256-`` and its digest. None
            for an event without one: it gets one of 16 groups by its id, ``any-0`` to ``any-f``.
        event_id: The event's id.

    A group takes some 750 events of 1 KB a second: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html

    No two aggregates share a group, because only an aggregate that is sent as it is holds a ``#``.
    """
    if aggregate is None:
        return f"any-{sha256(event_id.encode()).hexdigest()[-1]}"
    return _fitting(aggregate)


def deduplication_id(source: str, event_id: str) -> str:
    """Return an event's DeduplicationId: ``{source}#{id}``, with ``%25`` and ``%23`` for their % and #, or its digest.

    A digest replaces what an SQS FIFO queue would refuse, as in `event_group`.
    """
    return _fitting(joined(source, event_id))


def _fitting(text: str) -> str:
    if len(text) <= MAX_ID and _PLAIN.fullmatch(text):
        return text
    return f"sha256-{sha256(text.encode()).hexdigest()}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
