"""Events onto an EventBridge bus: batched, in order, and with each one's fate known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from .clients import LazyClient
from .core.batches import MAX_REQUEST_BYTES, Delivery, entry_size, is_final
from .core.envelope import DETAIL_FORMS
from .domain_event import DomainEvent
from .errors import InvalidEventError, PublishError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .event import Event
    from .typing import EventBridgeClient

__all__ = ["EventBridgePublisher", "FailedEvent", "PublishResult", "PublishedEvent"]


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event that the bus took. `position` is its place in the call's input, `event_id` EventBridge's id for it."""

    position: int
    event: Event
    event_id: str


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that the bus did not take.

    `code` is EventBridge's, or ``EntryTooLarge``, ``HeldBack`` (an earlier event of the same aggregate failed) or
    ``NotAttempted`` (a whole call failed before it). `retryable`: whether sending it again may help.
    """

    position: int
    event: Event
    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Each event's fate, by its position in the input."""

    published: tuple[PublishedEvent, ...]
    failed: tuple[FailedEvent, ...]


class EventBridgePublisher:
    """Publishes events to one bus.

    Args:
        bus: The bus's name or ARN.
        source: The source of events that name none.
        client: A low-level EventBridge client; by default one is made on first use.
        detail: The form of the detail: ``envelope`` (what `parse_event` reads whole), ``data`` (bare; a consumer can't
            tell duplicates), ``cloudevents``.

    An event is on the bus at least once when `publish` says so, and its consumers may get it twice. Nothing is
    published twice by one call, except where botocore repeats a request whose answer was lost.
    """

    def __init__(
        self,
        bus: str,
        *,
        source: str | None = None,
        client: EventBridgeClient | None = None,
        detail: Literal["envelope", "data", "cloudevents"] = "envelope",
    ) -> None:
        if not bus:
            raise ValueError("bus needs the name or the ARN of an event bus")
        if detail not in DETAIL_FORMS:
            raise ValueError(f"detail is one of {', '.join(DETAIL_FORMS)}, not {detail!r}")
        self.bus = bus
        self.source = source
        self._client: LazyClient[EventBridgeClient] = LazyClient("events", client)
        self._detail = DETAIL_FORMS[detail]

    def publish(
        self, events: Iterable[Event | DomainEvent], *, on_failure: Literal["raise", "return"] = "raise"
    ) -> PublishResult:
        """Send events, in the input's order, in calls of at most 10 entries and below 1 MB.

        Args:
            events: What to publish.
            on_failure: ``raise`` a `PublishError` if any failed, or ``return`` the result anyway.

        Raises:
            PublishError: Some events failed; its result says which, and which were published all the same.
            InvalidEventError: An event has no source; nothing was sent.
        """
        chosen = [event.to_event() if isinstance(event, DomainEvent) else event for event in events]
        result = self.publish_in_order(chosen, [None] * len(chosen))
        if result.failed and on_failure == "raise":
            raise PublishError(result)
        return result

    def publish_in_order(self, events: Sequence[Event], order_keys: Sequence[str | None]) -> PublishResult:
        """Send events so that none overtakes an earlier one with its key: once one fails, its followers are held back.

        Args:
            events: What to publish.
            order_keys: By position; None where an event follows nothing.
        """
        entries = [self.entry(event) for event in events]
        delivery = Delivery([entry_size(entry) for entry in entries], order_keys)
        published: list[PublishedEvent] = []
        failed: list[FailedEvent] = []

        def fail(position: int, code: str, message: str) -> None:
            failed.append(FailedEvent(position, events[position], code, message, retryable=not is_final(code)))

        while batch := delivery.next_batch():
            try:
                answer = self._client().put_events(Entries=[entries[position] for position in batch])
            except (BotoCoreError, ClientError) as error:
                code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
                for position in batch:
                    fail(position, code, str(error))
                for position in delivery.abandon():
                    fail(position, "NotAttempted", f"the call before it failed: {error}")
                break
            for position, outcome in zip(batch, answer["Entries"], strict=True):
                if "EventId" in outcome:
                    published.append(PublishedEvent(position, events[position], outcome["EventId"]))
                else:
                    delivery.block(position)
                    fail(position, outcome.get("ErrorCode", "Unknown"), outcome.get("ErrorMessage", ""))
        for position in delivery.held_back:
            fail(position, "HeldBack", "an earlier event of its aggregate failed")
        for position in delivery.too_large:
            fail(position, "EntryTooLarge", f"an entry is smaller than {MAX_REQUEST_BYTES:,} bytes")
        failed.sort(key=lambda failure: failure.position)
        return PublishResult(tuple(published), tuple(failed))

    def entry(self, event: Event) -> dict[str, Any]:
        """The PutEvents entry of an event, as it is sent.

        Raises:
            InvalidEventError: Neither the event nor the publisher names a source.
        """
        if event.source is None:
            if self.source is None:
                raise InvalidEventError("source", "is missing; give the publisher or the event one")
            event = event.replace(source=self.source)
        return {
            "EventBusName": self.bus,
            "Source": event.source,
            "DetailType": event.type,
            "Detail": self._detail(event),
            "Time": event.time,
        }
