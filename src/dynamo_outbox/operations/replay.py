"""Send events again, under the same ids, from a place where they were left to a bus or to one function."""

from __future__ import annotations

import json
import os
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..aws.buses import is_custom_bus
from ..codec.json_text import dumps
from ..errors import OutboxError
from ..events.bus_event import DETAIL_FORMS
from ..options import Clock
from ..publishing.batches import is_refused_for_the_caller
from ..publishing.classic_bus import entry_size
from ..publishing.results import FailedEvent
from .cost import put_events_price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..events.event import Event
    from ..publishing.publisher import EventBridgePublisher
    from .clients import Clients
    from .places import Piece, Place

__all__ = ["ReplayFailure", "ReplayResult", "Survey", "Target", "replay", "survey", "to_bus", "to_function"]

WAVE = 100
"""Events that are in flight together; after a kill, so many may be sent twice."""
DEDUP_TTL = timedelta(days=8)
"""How long `IdempotencyStore` keeps its records by default."""
EVER = datetime.min.replace(tzinfo=UTC)


class Target(NamedTuple):
    """Where events are sent.

    Attributes:
        name: Its name.
        send: Sends events in the order of their ordering keys; returns those that were not accepted.
        wave: The maximum number of events in one `send`.
        is_custom_bus: Whether it is a Custom Event Bus, which has other prices.
    """

    name: str
    send: Callable[[Sequence[Event], Sequence[str | None]], Sequence[FailedEvent]]
    wave: int = WAVE
    is_custom_bus: bool = False


def to_bus(publisher: EventBridgePublisher) -> Target:
    """Return a publisher's bus as target."""

    def send(events: Sequence[Event], keys: Sequence[str | None]) -> Sequence[FailedEvent]:
        return publisher.publish_by_key(events, keys).failed

    return Target(f"bus {publisher.bus}", send, is_custom_bus=is_custom_bus(publisher.bus))


def to_function(name: str, clients: Clients) -> Target:
    """Return a Lambda function as target: called once for each event, as by a rule, and waited for.

    An event failed if the function raised or timed out, or if its batch response has failures.
    https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    """

    def send(events: Sequence[Event], _: Sequence[str | None]) -> list[FailedEvent]:
        (event,) = events
        about = {"version": "0", "id": event.id, "detail-type": event.type, "source": event.source, "account": ""}
        about |= {"time": f"{event.time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "region": ""}
        payload = f'{dumps(about)[:-1]},"resources":[],"detail":{DETAIL_FORMS["envelope"](event, event.source)}}}'
        response = clients("lambda").invoke(FunctionName=name, Payload=payload.encode())
        answer = json.loads(response["Payload"].read() or "null")
        if not response.get("FunctionError") and not (isinstance(answer, dict) and answer.get("batchItemFailures")):
            return []
        return [FailedEvent(0, event, "FunctionError", dumps(answer)[:500], retryable=True, event_refused=True)]

    return Target(f"function {name}", send, wave=1)


@dataclass
class Survey:
    """What a place holds.

    Attributes:
        events: Its events; of a parking table or a queue, the records or messages.
        dollars: The list price of PutEvents for them.
        unreadable: The records that can't be read.
        oldest: The time of the oldest event, if the events were read.
    """

    events: int = 0
    dollars: float = 0.0
    unreadable: int = 0
    oldest: datetime | None = None


def survey(place: Place, *, for_custom_bus: bool = False) -> Survey:
    """Count what a place holds, without sending or removing anything; nothing is received from a queue."""
    if place.count is not None:
        return Survey(number := place.count(), number * put_events_price(1, is_custom_bus=for_custom_bus))
    found = Survey()

    def add(pieces: list[Piece]) -> list[bool]:
        found.unreadable += sum(bool(piece.faults) for piece in pieces)
        for event in (event for piece in pieces for event, _ in piece.events):
            entry = {"Source": event.source, "DetailType": event.type, "Detail": DETAIL_FORMS["envelope"](event, None)}
            found.events += 1
            size = entry_size({**entry, "Time": event.time})
            found.dollars += put_events_price(size, is_custom_bus=for_custom_bus)
            found.oldest = min(found.oldest or event.time, event.time)
        return [False] * len(pieces)

    place.drain(add)
    return found


@dataclass(frozen=True)
class ReplayFailure:
    """A record that can't be read, without an event's id, or an event that was not accepted."""

    name: str
    event_id: str | None
    code: str
    message: str


@dataclass
class ReplayResult:
    """What a replay has done so far.

    Attributes:
        sent: Events that the target accepted.
        sent_before: Events that were not sent, because by the checkpoint the target has accepted them.
        maybe_twice: At most so many events were sent twice, in all runs with the checkpoint: they were in flight when a
            run ended.
        failures: What is still in its place, apart from what was not tried.
        stopped: Why the replay ended before everything was tried; empty if it did not.
    """

    sent: int = 0
    sent_before: int = 0
    maybe_twice: int = 0
    failures: list[ReplayFailure] = field(default_factory=list)
    stopped: str = ""


def replay(
    place: Place,
    target: Target,
    *,
    rate: int | None = None,
    checkpoint: str | None = None,
    allows_old: Callable[[Event], bool] = lambda _: False,
    dedup_ttl: timedelta = DEDUP_TTL,
    on_progress: Callable[[ReplayResult], object] = bool,
    clock: Clock = Clock(),
) -> ReplayResult:
    """Send a place's events to a target, under the same ids; the place removes what was accepted, if it does.

    Arguments:
        place, target: From where, and to where.
        rate: The maximum number of events a second.
        checkpoint: The path of a file that records what is sent. A replay with the same file skips what was accepted;
            it needs some 200 bytes of memory for each event.
        allows_old: Asked at the first event older than `dedup_ttl`, whose effects consumers would repeat. The replay
            stops if it returns False.
        dedup_ttl: How long the consumers keep their dedup records.
        on_progress: Called after each wave with the result so far.
        clock: The time, and waiting.

    Guarantee: an event leaves its place only after the target accepted it, however the replay ends. Limits: an event
    may be sent twice, with the same id. Order is kept within an aggregate and a run, but not in a queue, nor behind a
    record that can't be read.

    Raises:
        OutboxError: `checkpoint` is not of a replay between these two.
        ClientError, BotoCoreError: The place can't be read or written, or the function can't be called.
    """
    record = _Checkpoint(checkpoint, f"{place.name} to {target.name}")
    result = ReplayResult(maybe_twice=record.twice)
    run = _Run(place, target, record, rate, clock, allows_old, on_progress, clock.now() - dedup_ttl, result)
    with closing(record), suppress(_StoppedError):
        place.drain(run.send)
    return result


class _StoppedError(Exception):
    """A place passed more to a replay that has stopped."""


@dataclass
class _Run:
    place: Place
    target: Target
    checkpoint: _Checkpoint
    rate: int | None
    clock: Clock
    allows_old: Callable[[Event], bool]
    on_progress: Callable[[ReplayResult], object]
    old_before: datetime
    result: ReplayResult
    held: set[str] = field(default_factory=set)
    """The ordering keys of events that failed."""
    free_at: datetime = EVER

    def send(self, pieces: list[Piece]) -> list[bool]:
        if self.result.stopped:
            raise _StoppedError
        if not self.place.in_order:
            self.held.clear()
        unsent = set[int]()

        def fail(at: int, event_id: str | None, code: str, message: str) -> None:
            unsent.add(at)
            if not _ends(code):
                self.result.failures.append(ReplayFailure(pieces[at].name, event_id, code, message))

        for at, fault in [(at, fault) for at, piece in enumerate(pieces) for fault in piece.faults]:
            fail(at, None, "Unreadable", fault)
        events = [(at, *keyed) for at, piece in enumerate(pieces) for keyed in piece.events]
        size = min(self.target.wave, self.rate or WAVE)
        for start in range(0, len(events), size):
            self._wave(events[start : start + size], fail)
            self.on_progress(self.result)
        return [at not in unsent for at in range(len(pieces))]

    def _wave(self, wave: list[tuple[int, Event, str | None]], fail: Callable[..., None]) -> None:
        """Send events; call `fail` for those that were not accepted."""
        sending: list[tuple[int, Event, str | None]] = []
        for at, event, key in wave:
            if _identity(event) in self.checkpoint.sent:
                self.result.sent_before += 1
            elif key in self.held:
                fail(at, event.id, "HeldBack", "an earlier event with its ordering key failed")
            elif self._may_send(event):
                sending.append((at, event, key))
            else:
                fail(at, event.id, "NotAttempted", "")
        if not sending:
            return
        self._wait_for(len(sending))
        ids = [_identity(event) for _, event, _ in sending]
        before = self.checkpoint.unsure.intersection(ids)
        self.checkpoint.note(sending=ids)
        failures = self.target.send([event for _, event, _ in sending], [key for _, _, key in sending])
        sent = set(ids).difference(ids[each.position] for each in failures)
        passing = [each for each in failures if not each.event_refused and each.code != "HeldBack"]
        unknown = {ids[each.position] for each in passing if not _ends(each.code)}
        self.checkpoint.note(sent=sorted(sent), refused=sorted(set(ids) - sent - unknown - before))
        self.result.sent += len(ids) - len(failures)
        self.result.maybe_twice = self.checkpoint.twice
        for each in failures:
            at, event, key = sending[each.position]
            fail(at, event.id, each.code, each.message)
            if key is not None:
                self.held.add(key)
            if each in passing and not self.result.stopped and (_ends(each.code) or len(passing) == len(ids)):
                self.result.stopped = f"{each.code}: {each.message}"

    def _may_send(self, event: Event) -> bool:
        if event.time < self.old_before and not self.result.stopped:
            self.old_before = EVER
            if not self.allows_old(event):
                self.result.stopped = f"event {event.id} of {event.time} is older than the consumers' dedup records"
        return not self.result.stopped

    def _wait_for(self, events: int) -> None:
        now = self.clock.now()
        if self.rate is not None:
            self.clock.sleep(max(0.0, (self.free_at - now).total_seconds()))
            self.free_at = max(now, self.free_at) + timedelta(seconds=events / self.rate)


def _ends(code: str) -> bool:
    """Return whether a failure ends the replay: its event was not sent, and the next ones won't be."""
    return code == "NotAttempted" or is_refused_for_the_caller(code)


def _identity(event: Event) -> str:
    return f"{event.source} {event.id}"


class _Checkpoint:
    """A file with a JSON line before events are sent, and one after; a line that a kill cut off doesn't count.

    Attributes:
        sent: The events that were accepted.
        unsure: The events that were in flight when a run ended.
        twice: How many unsure events were sent again.
    """

    def __init__(self, path: str | None, replay_name: str) -> None:
        self.sent, self.unsure, self.twice = set[str](), set[str](), 0
        self._file: BinaryIO | None = None
        if path is None:
            return
        content, heading = b"", json.dumps({"replay": replay_name}).encode()
        with suppress(FileNotFoundError):
            content = Path(path).read_bytes()
        *lines, cut = content.split(b"\n")
        if lines[:1] not in ([], [heading]) or not (lines or heading.startswith(cut)):
            raise OutboxError(f"{path} is not the checkpoint of a replay from {replay_name}: {content[:200]!r}")
        for line in lines:
            self._apply(**json.loads(line))
        self._file = open(path, "ab")  # noqa: SIM115  # until close()
        self._file.truncate(len(content) - len(cut))
        if not lines:
            self.note(replay=replay_name)

    def note(self, **line: Sequence[str]) -> None:
        """Record events that are ``sending``, and then ``sent`` or ``refused``."""
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._apply(**line)

    def _apply(self, **line: Sequence[str]) -> None:
        self.twice += len(self.unsure.intersection(line.get("sending", ())))
        self.unsure.update(line.get("sending", ()))
        self.unsure.difference_update(line.get("sent", ()), line.get("refused", ()))
        self.sent.update(line.get("sent", ()))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
