"""Discrete-event simulation of relays on the shards of a stream, with a virtual clock and seeded random numbers.

The library decides: `BatchPlan` fills the calls, `decide` chooses what is parked and what is reported as failed, and
`batch_response` names the checkpoint. The simulation replaces only what is outside the library: DynamoDB's stream,
Lambda's poller, EventBridge and time. `_Invocation` follows the handler and the publisher step by step;
`benchmarks.real_relay` compares both. All times are whole microseconds.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil, inf
from typing import TYPE_CHECKING, cast

from dynamo_outbox.aws.backoff import full_jitter
from dynamo_outbox.publishing.batches import BatchPlan, is_final, thread_count
from dynamo_outbox.publishing.classic_bus import MAX_ENTRIES, ClassicBus
from dynamo_outbox.publishing.results import FailedEvent
from dynamo_outbox.relaying.processors import DEFAULT_PARK_AFTER
from dynamo_outbox.relaying.rules import ReadRecord, Reason, decide
from dynamo_outbox.streams.batch_response import batch_response

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from typing import Literal

    from dynamo_outbox import Event, StreamRecord

__all__ = [
    "SECOND",
    "Bus",
    "Chance",
    "Lambda",
    "Load",
    "Outcome",
    "Shard",
    "Timing",
    "Written",
    "micros",
    "next_poll",
    "poll_offset",
    "simulate",
    "split",
    "write",
]

SECOND = 1_000_000
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
FIRST_NUMBER = 10**21
ENTRY_BYTES = 600
"""Size of an entry. 100 of them are far below the limit of a call."""
CLASSIC = ClassicBus("books", None)
THROTTLED, REFUSED = "ThrottlingException", "MalformedDetail"
FAULT = Reason("DecodeError", "the record can't be decoded")
CAUGHT_UP = 2 * SECOND
"""A shard has recovered from a stop when it publishes an event that is younger than this."""


def _is_final(code: str) -> bool:
    return is_final(code, None, CLASSIC.final_entry_codes)


def micros(seconds: float) -> int:
    """Return seconds as microseconds, rounded as `timedelta` rounds them."""
    return round(seconds * SECOND)


def next_poll(after: int, offset: int, poll: int) -> int:
    """Return the first poll that is not before a time."""
    return offset - (offset - after) // poll * poll


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The time that a handler takes, in seconds.

    Attributes:
        batch, record, call: CPU time for each invocation, record and PutEvents call.
        latency, tail: Response time of PutEvents: the shortest, and the mean of an exponential part on top.
    """

    batch: float
    record: float
    call: float
    latency: float = 0.010
    tail: float = 0.010


@dataclass(frozen=True, kw_only=True)
class Lambda:
    """Event source mapping and publisher.

    Attributes:
        batch_size, window: ``BatchSize``, and ``MaximumBatchingWindowInSeconds``.
        poll, page: Seconds between two polls of a shard, and records in one poll.
        again: Seconds until a failed batch is delivered again.
        concurrency, attempts, retry_for: The publisher's options.
        crashes: The share of invocations that end without a response, so that Lambda delivers the batch again.
        stops: When no invocation starts, as begin and end in seconds.
    """

    batch_size: int = 100
    window: float = 0.0
    poll: float = 0.25
    page: int = 1_000
    again: float = 1.0
    concurrency: int = 8
    attempts: int = 4
    retry_for: float = 10.0
    crashes: float = 0.0
    stops: tuple[float, float] = (inf, inf)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load of one shard: the events that a service writes.

    Attributes:
        rate: Events a second, at random times.
        hot: The share of the events that belong to one aggregate.
        others: The number of the other aggregates.
        poison: The share of events that can never be published. Half of them can't be decoded, and the bus refuses the
            others.
    """

    rate: float
    hot: float = 0.0
    others: int = 1_000
    poison: float = 0.0


class Chance:
    """Random numbers from a seed, with a stream for each purpose."""

    def __init__(self, seed: int | str) -> None:
        self.jitter, self.latency, self.crash, self.load = (
            random.Random(f"{seed} {purpose}")  # noqa: S311  # not for secrets
            for purpose in ("jitter", "latency", "crash", "load")
        )

    def response_time(self, timing: Timing) -> int:
        """Return the microseconds that a PutEvents call takes."""
        return micros(timing.latency + self.latency.expovariate(1 / timing.tail))

    def calls_before_crash(self, records: int, share: float) -> int | None:
        """Return how many calls an invocation makes before it ends without a response; None if it responds."""
        if not share or self.crash.random() >= share:
            return None
        return self.crash.randrange(ceil(records / MAX_ENTRIES) + 1)


@dataclass(slots=True, eq=False)
class Written:
    """A written event and its outcome.

    Attributes:
        time, key: When it was written, and its aggregate.
        number: Its position in its shard.
        poison: Why it can't be published: ``fault``, ``refused``, or empty.
        published: When the bus accepted it, once for each time.
        parked: Whether its record is parked.
    """

    time: int
    key: str
    number: int = 0
    poison: Literal["", "fault", "refused"] = ""
    published: list[int] = field(default_factory=list)
    parked: bool = False


class _Record:
    """As much of a `StreamRecord` as the decision needs."""

    __slots__ = ("index", "written")

    def __init__(self, written: Written, index: int) -> None:
        self.written = written
        self.index = index

    @property
    def time(self) -> datetime:
        return START + timedelta(microseconds=self.written.time)

    @property
    def sequence_number(self) -> str:
        return str(FIRST_NUMBER + self.written.number)


@dataclass(slots=True, eq=False)
class Shard:
    """A shard of the stream: its events in order, and the shards that it was split into."""

    events: list[Written]
    children: tuple[Shard, ...] = ()

    def __post_init__(self) -> None:
        for number, event in enumerate(self.events):
            event.number = number

    def all(self) -> Iterable[Shard]:
        """Return the shard and those that it was split into."""
        yield self
        for child in self.children:
            yield from child.all()


def write(load: Load, chance: Chance, *, seconds: float, name: str) -> list[Written]:
    """Return what a service writes to a shard; `name` tells its aggregates from those of other shards."""
    draw = chance.load
    keys = [f"{name}#{number}" for number in range(load.others)]
    events: list[Written] = []
    time = draw.expovariate(load.rate)
    while time < seconds:
        key = f"{name}#hot" if draw.random() < load.hot else draw.choice(keys)
        event = Written(micros(time), key)
        if load.poison and draw.random() < load.poison:
            event.poison = draw.choice(("fault", "refused"))
        events.append(event)
        time += draw.expovariate(load.rate)
    return events


def split(events: Sequence[Written], *, at: float) -> Shard:
    """Return a shard that is split in two at a time; each aggregate continues in one of them."""
    before = [event for event in events if event.time < at * SECOND]
    after = events[len(before) :]
    halves = [[event for event in after if sum(event.key.encode()) % 2 == half] for half in range(2)]
    return Shard(before, tuple(Shard(half) for half in halves))


def poll_offset(shard: int, mapping: Lambda) -> int:
    """Return when a shard's first poll is."""
    return shard * 61_803 % micros(mapping.poll)


class Bus:
    """EventBridge: PutEvents calls up to a quota, as a token bucket that holds one second's calls.

    Attributes:
        calls, throttled: The numbers of accepted and throttled calls.
    """

    def __init__(self, quota: float = inf) -> None:
        self._quota = quota
        self._tokens = quota
        self._filled = 0
        self.calls = 0
        self.throttled = 0

    def admits(self, now: int) -> bool:
        """Return whether the bus accepts a call; calls must be in order of time."""
        if self._quota < inf:
            self._tokens = min(self._quota, self._tokens + (now - self._filled) / SECOND * self._quota)
            self._filled = now
            if self._tokens < 1:
                self.throttled += 1
                return False
            self._tokens -= 1
        self.calls += 1
        return True


@dataclass(frozen=True)
class Outcome:
    """The result of a simulation.

    Attributes:
        shards: The shards, with each event's outcome.
        bus: The bus, with its counts.
        invocations: The number of invocations.
        restart: When the relays started again after a stop, in microseconds.
    """

    shards: Sequence[Shard]
    bus: Bus
    invocations: int
    restart: int | None

    def events(self) -> list[Written]:
        """Return all events, in the order of each shard."""
        return [event for shard in self.shards for each in shard.all() for event in each.events]

    def lags(self) -> list[float]:
        """Return the seconds from each event's write to its first publication, sorted."""
        return sorted((event.published[0] - event.time) / SECOND for event in self.events() if event.published)

    def duplicates(self) -> int:
        """Return how often an event was published that the bus already had."""
        return sum(len(event.published) - 1 for event in self.events() if event.published)

    def recovery(self) -> float:
        """Return the seconds from the restart until the last shard published a young event."""
        if self.restart is None:
            return 0.0
        ends = [self.restart]
        for shard in self.shards:
            young = (
                event.published[0]
                for each in shard.all()
                for event in each.events
                if event.published and event.published[0] > (self.restart or 0)
                if event.published[0] - event.time < CAUGHT_UP
            )
            ends.append(next(young, self.restart))
        return (max(ends) - self.restart) / SECOND


def simulate(
    shards: Sequence[Shard], *, timing: Timing, mapping: Lambda, chance: Chance, quota: float = inf
) -> Outcome:
    """Relay all events of the shards, and return the outcome.

    Args:
        shards: What was written.
        timing: The time that a handler takes.
        mapping: The event source mapping.
        chance: Random numbers.
        quota: PutEvents calls a second.
    """
    world = _World(timing, mapping, chance, Bus(quota))
    for shard in shards:
        world.start(shard, 0)
    world.run()
    restart = None if mapping.stops[1] == inf else micros(mapping.stops[1])
    return Outcome(shards, world.bus, world.invocations, restart)


class _World:
    """The virtual clock, and what the relays share."""

    def __init__(self, timing: Timing, mapping: Lambda, chance: Chance, bus: Bus) -> None:
        self.timing = timing
        self.mapping = mapping
        self.chance = chance
        self.bus = bus
        self.parked: set[str] = set()
        self.invocations = 0
        self._stop, self._restart = (inf if each == inf else micros(each) for each in mapping.stops)
        self._due: list[tuple[int, int, Generator[int, None, None]]] = []
        self._started = 0

    def start(self, shard: Shard, now: int) -> None:
        """Start to poll a shard; each shard's polls have their own offset, so that they spread over time."""
        offset = poll_offset(self._started, self.mapping)
        self._started += 1
        heapq.heappush(self._due, (now, self._started, self._relay(shard, now, offset)))

    def run(self) -> None:
        """Advance all relays in order of time until they have nothing left."""
        due = self._due
        while due:
            _, number, relay = due[0]
            heapq.heappop(due)
            wake = next(relay, None)
            if wake is not None:
                heapq.heappush(due, (wake, number, relay))

    def _relay(self, shard: Shard, now: int, offset: int) -> Generator[int, None, None]:
        """Poll a shard and invoke the relay until its events are done; each `yield` waits until that time."""
        mapping, events = self.mapping, shard.events
        poll, window = micros(mapping.poll), micros(mapping.window)
        times = [event.time for event in events]
        position = 0
        while position < len(events):
            after = max(now, times[position])
            now = self._running(next_poll(after, offset, poll))
            yield now
            end = min(bisect_right(times, now), position + mapping.page)
            if window and end - position < mapping.batch_size:
                now = self._running(now + window)
                yield now
                end = min(bisect_right(times, now), position + mapping.page)
            polled = now
            while position < end and self._running(now) == now:
                batch = events[position : min(end, position + mapping.batch_size)]
                self.invocations += 1
                invocation = _Invocation(self, batch, now)
                yield from invocation.run()
                now = invocation.now
                position += invocation.done
                if invocation.done < len(batch):
                    now += micros(mapping.again)
                    yield now
            now = max(now, polled + 1)
        for child in shard.children:
            self.start(child, now)  # Lambda reads a shard to its end before it reads the shards that follow

    def _running(self, now: int) -> int:
        """Return the time, or that of the restart if the relays are stopped."""
        return int(self._restart) if self._stop <= now < self._restart else now


class _Invocation:
    """One invocation of the relay.

    Attributes:
        now: The time.
        done: The number of records that Lambda does not deliver again.
    """

    def __init__(self, world: _World, batch: Sequence[Written], now: int) -> None:
        self.now = now
        self.done = 0
        self._world = world
        self._batch = batch
        self._failures: dict[int, list[FailedEvent]] = {}
        self._failed_calls = 0
        self._retry_until = 0

    def run(self) -> Generator[int, None, None]:
        """Publish the batch, park what can't be published, and set the checkpoint."""
        world, batch, timing = self._world, self._batch, self._world.timing
        crash = world.chance.calls_before_crash(len(batch), world.mapping.crashes)
        waiting = world.parked & {event.key for event in batch}
        reads = self._read(waiting)
        outgoing = [at for at, read in enumerate(reads) if read.fault is None and not read.is_behind]
        self.now += micros(timing.batch) + micros(timing.record) * len(batch)
        yield self.now
        self._retry_until = self.now + micros(world.mapping.retry_for)
        yield from self._publish(outgoing, crash)
        if crash is not None:
            return
        park_before = START + timedelta(microseconds=self.now) - DEFAULT_PARK_AFTER
        decision = decide(reads, self._failures, waiting, park_before=park_before, in_order=True)
        for at, _ in decision.parked:
            batch[at].parked = True
            world.parked.add(batch[at].key)
        response = batch_response({"Records": []}, [reads[at].record for at in decision.failed])
        items = response["batchItemFailures"]
        first = int(items[0]["itemIdentifier"]) - FIRST_NUMBER - batch[0].number if items else len(batch)
        self.done = first

    def _read(self, waiting: set[str]) -> list[ReadRecord]:
        blocked = set(waiting)
        reads: list[ReadRecord] = []
        for index, event in enumerate(self._batch):
            record = cast("StreamRecord", _Record(event, index))
            if event.key in blocked:
                reads.append(ReadRecord(record, event.key, is_behind=True))
            elif event.poison == "fault":
                reads.append(ReadRecord(record, event.key, fault=FAULT))
                blocked.add(event.key)
            else:
                reads.append(ReadRecord(record, event.key))
        return reads

    def _publish(self, outgoing: Sequence[int], crash: int | None) -> Generator[int, None, None]:
        """Make the calls of the plan, several at a time, as the publisher's threads do."""
        world, timing = self._world, self._world.timing
        sizes = [ENTRY_BYTES] * len(outgoing)
        keys = [self._batch[at].key for at in outgoing]
        plan = BatchPlan(sizes, keys, CLASSIC, attempts=world.mapping.attempts)
        threads = thread_count(world.mapping.concurrency, sizes, CLASSIC)
        in_flight: list[tuple[int, int, list[int], bool]] = []
        number, processor = 0, self.now
        while True:
            while len(in_flight) < threads and (batch := plan.next_batch([call[2] for call in in_flight])):
                if number == crash:
                    self._lose(outgoing, in_flight)
                    return
                processor = max(processor, self.now) + micros(timing.call)  # threads share one processor
                yield processor
                admitted = world.bus.admits(processor)
                end = processor + world.chance.response_time(timing)
                heapq.heappush(in_flight, (end, number, batch, admitted))
                number += 1
            if not in_flight:
                break
            end, _, batch, admitted = heapq.heappop(in_flight)
            if end > self.now:
                self.now = end
                yield end
            yield from self._settle(plan, outgoing, batch, admitted=admitted)
        for position in plan.held_back:
            self._fail(plan, outgoing, position, "HeldBack", refused=False)

    def _lose(self, outgoing: Sequence[int], in_flight: Iterable[tuple[int, int, list[int], bool]]) -> None:
        """Let the bus finish the calls in flight, whose responses the relay no longer gets."""
        for end, _, batch, admitted in in_flight:
            for position in batch:
                event = self._batch[outgoing[position]]
                if admitted and event.poison != "refused":
                    event.published.append(end)

    def _settle(
        self, plan: BatchPlan, outgoing: Sequence[int], batch: list[int], *, admitted: bool
    ) -> Generator[int, None, None]:
        """Record a call's outcome, and wait before a retry, as the publisher does."""
        codes: dict[int, str] = {}
        for position in batch:
            event = self._batch[outgoing[position]]
            if not admitted:
                codes[position] = THROTTLED
            elif event.poison == "refused":
                codes[position] = REFUSED
            else:
                event.published.append(self.now)
        if not codes:
            self._failed_calls = 0
            return
        wait = micros(full_jitter(self._failed_calls, draw=self._world.chance.jitter.random()))
        in_time = self.now + wait < self._retry_until
        passing = [position for position, code in codes.items() if not _is_final(code)]
        again, given_up = plan.retry(passing) if in_time else ([], passing)
        plan.put_back(again)
        for position, code in codes.items():
            if position in given_up or position not in passing:
                self._fail(plan, outgoing, position, code, refused=_is_final(code))
        if passing and not in_time:  # only throttling passes, and that is of a whole call
            for position in plan.abandon():
                self._fail(plan, outgoing, position, "NotAttempted", refused=False)
        if again:
            self._failed_calls += 1
            self.now += wait
            yield self.now
        else:
            self._failed_calls = 0

    def _fail(self, plan: BatchPlan, outgoing: Sequence[int], position: int, code: str, *, refused: bool) -> None:
        plan.block(position)
        event = cast("Event", self._batch[outgoing[position]])
        failed = FailedEvent(position, event, code, "", retryable=not refused, event_refused=refused)
        self._failures.setdefault(outgoing[position], []).append(failed)
