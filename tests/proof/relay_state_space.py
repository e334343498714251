"""The relay's state space: a random sequence of reads, faults, kills, shard splits and redrives.

A run creates a stream of some twenty records, a few of them poison. It reads the stream while calls fail before and
after their work, functions are killed in any call, time passes, the shard splits, and redrives run between and within
batches. After every step:

- each record before the checkpoint is published or parked;
- the events of an order key were first published in the shard's order, each under one id;
- the heads' counts agree with the parked records.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    ParkingQueue,
    ParkingTable,
    Retry,
    StreamRecord,
    TableKeys,
)
from dynamo_outbox.events.outbox_item import FORMAT, encode_event
from dynamo_outbox.relaying.parked_record import ParkingLayout, records_in_items

from ..doubles import FakeClock, client_error, fake_dynamodb
from .report import Row
from .shard import Stream, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .report import Scale

__all__ = ["World", "explore", "run"]

Mode = Literal["relay", "cdc", "cdc by partition"]
Place = Literal["table", "table without order", "queue"]
MODES: tuple[Mode, ...] = ("relay", "cdc", "cdc by partition")
PLACES: tuple[Place, ...] = ("table", "table without order", "queue")
RUNS: Mapping[Scale, int] = {"short": 12, "full": 500}
LAYOUT = ParkingLayout("parking", TableKeys())


class Killed(BaseException):
    """The process is killed: the library must not catch this."""


class PassingError(Exception):
    """Temporary failure in a mapper."""


class WaitlessClock(FakeClock):
    """Clock with random jitter; a sleep does not move it."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def random(self) -> float:
        return self._chance.random()


class Faults:
    """Random faults, up to a budget.

    Attributes:
        met: The number of faults so far, by kind.
    """

    def __init__(self, chance: Random, budget: int, likely: float) -> None:
        self._chance = chance
        self.budget = budget
        self._likely = likely
        self.met: dict[str, int] = {}

    def draw(self, *kinds: str) -> str | None:
        """Return one of these faults, or more often None."""
        if self.budget <= 0 or self._chance.random() >= self._likely:
            return None
        self.budget -= 1
        kind = self._chance.choice(kinds)
        self.met[kind] = self.met.get(kind, 0) + 1
        return kind

    @property
    def count(self) -> int:
        return sum(self.met.values())


class Faulty:
    """Client whose calls fail or are killed before or after their work.

    Args:
        client: The client that does the work.
        faults: The faults to draw from.
        meanwhile: Called before each call, for concurrent work.
    """

    def __init__(self, client: Any, faults: Faults, meanwhile: Callable[[], None]) -> None:
        self._client = client
        self._faults = faults
        self._meanwhile = meanwhile

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self._meanwhile()
            fault = self._faults.draw("call refused", "response lost", "killed before", "killed after")
            if fault == "call refused":
                raise client_error("InternalServerError")
            if fault == "killed before":
                raise Killed
            answer = getattr(self._client, operation)(**request)
            if fault == "response lost":
                raise client_error("RequestTimeout")
            if fault == "killed after":
                raise Killed
            return answer

        return call


class Bus:
    """Bus that refuses poison events until they are repaired, and throttles at random or in an outage.

    Attributes:
        taken: Detail type and id of each accepted event, in order.
    """

    def __init__(self, faults: Faults) -> None:
        self.taken: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self.is_out = False
        self._faults = faults

    def put_events(self, **request: Any) -> dict[str, Any]:
        if self.is_out:
            raise client_error("ThrottlingException")
        if self._faults.draw("access denied"):
            raise client_error("AccessDeniedException")
        return {"Entries": [self._outcome(entry) for entry in request["Entries"]]}

    def _outcome(self, entry: Mapping[str, Any]) -> dict[str, str]:
        detail_type = entry["DetailType"]
        if detail_type in self.refused:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "poison"}
        if self._faults.draw("entry throttled"):
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "throttled"}
        self.taken.append((detail_type, json.loads(entry["Detail"])["metadata"]["id"]))
        return {"EventId": "taken"}


class Queue:
    """SQS in memory; its visibility timeout lasts as long as a redrive."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        self._sent = 0

    def send_message(self, **request: Any) -> dict[str, Any]:
        self._sent += 1
        self.messages[str(self._sent)] = request["MessageBody"]
        return {}

    def receive_message(self, **request: Any) -> dict[str, Any]:
        found = list(self.messages.items())[: request["MaxNumberOfMessages"]]
        self.messages = {name: body for name, body in self.messages.items() if name not in dict(found)} | dict(found)
        return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in found]}

    def delete_message(self, **request: Any) -> dict[str, Any]:
        self.messages.pop(request["ReceiptHandle"], None)
        return {}


class Context:
    """Lambda context with a constant remaining time."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class RepairedRelay(OutboxRelay):
    """The relay's next version, which also reads format 2."""

    def __init__(self, publisher: EventBridgePublisher) -> None:
        super().__init__(publisher)
        events_of = self._events_of

        def events_of_any_format(record: StreamRecord) -> Sequence[Event]:
            raw = {**record.raw, "dynamodb": {**record.raw["dynamodb"]}}
            image = raw["dynamodb"].get("NewImage", {})
            if "outboxFormat" in image:
                raw["dynamodb"]["NewImage"] = {**image, "outboxFormat": {"N": str(FORMAT)}}
            return events_of(StreamRecord(raw))

        self._events_of = events_of_any_format


RepairedRelay.__name__ = "OutboxRelay"  # parked records name the class that may redrive them


class World:
    """A stream, its reader, its parking place, and their invariants.

    Args:
        chance: The source of every random decision.
        mode: The kind of records.
        place: The kind of parking place.
    """

    def __init__(self, chance: Random, mode: Mode, place: Place) -> None:
        self.chance = chance
        self.mode = mode
        self.keeps_order = place == "table"
        self.clock = WaitlessClock(chance)
        self.faults = Faults(chance, chance.randint(0, 20), chance.choice((0.02, 0.1, 0.3)))
        self.table = fake_dynamodb({"parking": ["pk", "sk"]}, self.clock)
        self.queue = Queue()
        self.bus = Bus(self.faults)
        self.repaired = mode == "relay" and chance.random() < 0.5  # the redriver may run newer code than the reader
        self.poison: dict[str, str] = {}
        self._poisonous = chance.choice((0.1, 0.3))
        self.wanted: dict[str, list[str]] = {}  # events in stream order, by order key
        self.events: dict[str, list[str]] = {}  # by sequence number
        self.records: dict[str, dict[str, Any]] = {}
        self.stream = self._stream()
        self._busy: set[str] = set()
        meanwhile = self._meanwhile
        publisher = EventBridgePublisher(
            "books",
            source="Proof",
            client=Faulty(self.bus, self.faults, meanwhile),
            retry=Retry(attempts=chance.randint(1, 2), timeout=timedelta(seconds=10)),
            clock=self.clock,
        )
        self.parking: ParkingTable | ParkingQueue
        if place == "queue":
            self.parking = ParkingQueue("url", client=Faulty(self.queue, self.faults, meanwhile), clock=self.clock)
        else:
            self.parking = ParkingTable(
                "parking",
                client=Faulty(self.table, self.faults, meanwhile),
                in_order=self.keeps_order,
                clock=self.clock,
            )
        self.reader, self.redriver = self._processors(publisher)
        self.deliveries = 0

    def _processors(self, publisher: EventBridgePublisher) -> tuple[Any, Any]:
        if self.mode == "relay":
            return OutboxRelay(publisher, parking=self.parking), RepairedRelay(publisher)
        order_by = "shelf" if self.mode == "cdc by partition" else None
        processor = ChangeProcessor(
            publisher, self._changes, parking=self.parking, retry_on=(PassingError,), order_by=order_by
        )
        return processor, processor

    def _changes(self, record: StreamRecord) -> list[Event]:
        number = str(record.sequence_number)
        if self.poison.get(number) == "unmappable" and not self.repaired:
            raise ZeroDivisionError
        if self.faults.draw("mapper failed"):
            raise PassingError
        return [Event(name, {}) for name in self.events.get(number, ())]

    # --- The stream -------------------------------------------------------------------------------------------------

    def _stream(self) -> Stream:
        """Return the records of some transactions, interleaved with neighbours, in order for each item."""
        chance = self.chance
        drafts = []  # (transaction, item) of each record
        items = chance.choice(("a", "ac", "abcd"))
        for transaction in range(chance.randint(1, 9)):
            drafts += [(transaction, chance.choice(items)) for _ in range(chance.randint(1, 3))]
        for _ in range(chance.randint(0, 3) * len(drafts)):
            at = chance.randrange(len(drafts))
            (before, first), (after, second) = drafts[at - 1], drafts[at]
            if at and first != second and abs(before - after) <= 1:
                drafts[at - 1 : at + 1] = [drafts[at], drafts[at - 1]]
        number = 10 ** chance.choice((20, 21, 39)) - chance.randint(1, 20)  # may gain a digit
        records = []
        for _, item in drafts:
            number += chance.randint(1, 9)
            records.append(self._record(str(number), item))
        split_at = chance.choice((None, chance.randrange(len(records) + 1)))
        return Stream(records, split_at, lambda record: self._shelf_of(record) == "2")

    def _record(self, number: str, item: str) -> dict[str, Any]:
        """Return a record, which may be poison, and note its expected events."""
        shelf = "1" if item in "ab" else "2"
        names = [f"E{number}"] + ([f"E{number}b"] if self.mode != "relay" and self.chance.random() < 0.2 else [])
        key = shelf if self.mode == "cdc by partition" else item
        kinds = {"relay": ["unreadable", "refused", "broken"]}.get(self.mode, ["unmappable", "refused", "broken"])
        is_event = self.chance.random() < 0.9
        if self.mode == "relay":
            record = self._outbox_record(number, item, names[0], is_event=is_event)
        else:
            record = _record(number, {"shelf": {"S": shelf}, "name": {"S": item}}, ("shelf", "name"), self.clock)
        if is_event:
            self.events[number] = names
            self.wanted.setdefault(key, []).extend(names)
            if self.chance.random() < self._poisonous:
                self._poison(record, number, self.chance.choice(kinds))
        self.records[number] = record
        return record

    def _outbox_record(self, number: str, item: str, name: str, *, is_event: bool) -> dict[str, Any]:
        event = Event(
            name, {}, id=f"id {number}", time=self.clock.now(), source="Proof", aggregate_type="Book", aggregate_id=item
        )
        image = encode_event(event, expires_at=0, keys=TableKeys())
        return _record(number, image, ("pk", "sk"), self.clock, "INSERT" if is_event else "MODIFY")

    def _poison(self, record: dict[str, Any], number: str, kind: str) -> None:
        self.poison[number] = kind
        if kind == "unreadable":
            record["dynamodb"]["NewImage"]["outboxFormat"] = {"N": "2"}
        elif kind == "broken":
            del record["eventID"]
        elif kind == "refused":
            self.bus.refused.add(self.chance.choice(self.events[number]))

    def _shelf_of(self, record: dict[str, Any]) -> str:
        image = record["dynamodb"]["NewImage"]
        item = image.get("aggregateId") or image["name"]
        return "1" if item["S"] in "ab" else "2"

    # --- Steps ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one random step and check the invariants."""
        what = self.chance.choices(("deliver", "redrive", "time", "repair", "outage"), (12, 4, 2, 0.3, 0.4))[0]
        if what == "deliver":
            self.deliver()
        elif what == "redrive":
            self.redrive()
        elif what == "time":
            self.clock.advance(timedelta(minutes=self.chance.choice((1, 10, 30))))
        elif what == "repair":
            self.repair()
        else:
            self.outage()
        self.check()

    def deliver(self) -> None:
        """Invoke the reader; if nothing failed, no record of its batch is delivered again."""
        shard = self.stream.open_shard(self.chance)
        if shard is None or "reader" in self._busy:
            return
        self._busy.add("reader")
        self.deliveries += 1
        faults = self.faults.count
        hurry = self.faults.draw("little time left")
        context = Context(self.chance.choice((200, 900, 1200)) if hurry else 60_000)
        try:
            asked, moved = shard.deliver(lambda batch: self.reader(batch, context), self.chance.randint(1, 12))
        finally:
            self._busy.discard("reader")
        if self.faults.count == faults and not self.bus.is_out:
            least = asked if self.keeps_order else 1  # without order, records held back are redelivered once
            assert moved >= least, "a batch was redelivered although nothing failed"
        for each in self.stream.shards:
            each.drop_old(self.clock.now())

    def redrive(self) -> None:
        """Run the redrive, which may be killed."""
        if "redriver" in self._busy:
            return
        self._busy.add("redriver")
        redriver = self.redriver if self.repaired or self.mode != "relay" else self.reader
        limit = self.chance.choice((None, None, 1, 3))
        try:
            self.parking.redrive(redriver, limit=limit, context=Context(60_000))
        except AssertionError:
            raise
        except (Killed, Exception):  # noqa: S110  # a later run continues
            pass
        finally:
            self._busy.discard("redriver")

    def repair(self) -> None:
        """Repair code and events; records that cannot be decoded stay broken."""
        self.repaired = True
        self.bus.refused.clear()

    def outage(self) -> None:
        """Make the bus refuse everything for a while, sometimes longer than the stream keeps a record."""
        self.bus.is_out = True
        for _ in range(self.chance.choice((3, 10, 80))):
            self.clock.advance(timedelta(minutes=20))
            self.deliver()
            self.check()
        self.bus.is_out = False

    def _meanwhile(self) -> None:
        """Sometimes redrive within a delivery, or deliver within a redrive."""
        if self.chance.random() < 0.03:
            self.chance.choice((self.redrive, self.deliver))()

    def settle(self) -> None:
        """End all faults, drain the stream, redrive everything and check that it was sent."""
        self.faults.budget = 0
        self.bus.is_out = False
        left = sum(len(shard.pending) for shard in self.stream.shards)
        started = self.deliveries
        while not self.stream.is_drained:
            self.deliver()
            self.check()
            assert self.deliveries - started <= left, "a healthy shard was not drained in as many batches as records"
        self.repair()
        assert self.parking.redrive(self.redriver).finished
        self.check()
        for key, names in self.wanted.items():
            unsendable = next((at for at, name in enumerate(names) if self._is_broken(name)), len(names))
            sent = {name for name, _ in self.bus.taken}
            wanted = names[:unsendable] if self.keeps_order else [name for name in names if not self._is_broken(name)]
            assert sent.issuperset(wanted), f"{key}: not all of {wanted} were sent by the end"

    # --- Invariants -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check all invariants."""
        published = list(dict.fromkeys(name for name, _ in self.bus.taken))
        parked = self._parked()
        for record in self.stream.passed:
            number = number_of(record)
            whole = set(self.events.get(number, ())) <= set(published)
            assert whole or parked.get(number) == self.records[number], f"{number} is neither published nor parked"
        ids: dict[str, str] = {}
        for name, event_id in self.bus.taken:
            assert ids.setdefault(name, event_id) == event_id, f"{name} has two ids"
        if self.keeps_order:
            for key, names in self.wanted.items():
                first = [name for name in published if name in set(names)]
                assert first == names[: len(first)], f"{key}: published {first}, but the shard's order is {names}"

    def _parked(self) -> dict[str, Any]:
        """Return the parked records by sequence number, after checking that the heads agree."""
        messages = [json.loads(body) for body in self.queue.messages.values()]
        items = self.table.scan(TableName="parking")["Items"]
        heads = {item["orderKey"]["S"]: int(item["parked"]["N"]) for item in items if "parked" in item}
        records = list(records_in_items((item for item in items if "parked" not in item), LAYOUT))
        counted: dict[str, int] = {}
        for record in records:
            counted[record.order_key] = counted.get(record.order_key, 0) + 1
        assert counted == {key: count for key, count in heads.items() if count}, "heads and records differ"
        return {message["sequenceNumber"]: message["record"] for message in messages} | {
            str(record.sequence_number): record.raw for record in records
        }

    def _is_broken(self, name: str) -> bool:
        return self.poison.get(name.removeprefix("E").removesuffix("b")) == "broken"


def _record(
    number: str, image: Mapping[str, Any], key: tuple[str, ...], clock: FakeClock, event_name: str = "INSERT"
) -> dict[str, Any]:
    return {
        "eventID": f"change {number}",
        "eventName": event_name,
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": clock.now().timestamp(),
            "Keys": {name: image[name] for name in key},
            "NewImage": dict(image),
            "SequenceNumber": number,
        },
    }


def explore(chance: Random, mode: Mode, place: Place) -> World:
    """Do one whole run.

    Raises:
        AssertionError: An invariant was broken.
    """
    world = World(chance, mode, place)
    for _ in range(40):
        world.step()
    world.settle()
    return world


def _runs(scale: Scale) -> Iterator[tuple[int, Mode, Place]]:
    for seed in range(RUNS[scale]):
        for mode in MODES:
            for place in PLACES:
                yield seed, mode, place


def run(scale: Scale) -> list[Row]:
    """Run all modes and places with many seeds; the outcome names a seed that failed."""
    met: dict[tuple[Place, str], int] = {}
    broken: dict[Place, list[str]] = {place: [] for place in PLACES}
    logging.disable(logging.CRITICAL)  # the failures are intended
    try:
        for seed, mode, place in _runs(scale):
            try:
                world = explore(Random(seed), mode, place)  # noqa: S311  # not for secrets
            except AssertionError as error:
                broken[place].append(f"seed {seed}, {mode}: {error}")
                continue
            for fault, count in {**world.faults.met, "poison record": len(world.poison)}.items():
                met[place, fault] = met.get((place, fault), 0) + count
    finally:
        logging.disable(logging.NOTSET)
    rows = []
    for place in PLACES:
        order = ", in order for each key" if place == "table" else ""
        claim = f"each record is published or parked{order} ({place})"
        outcome = broken[place][0] if broken[place] else "held"
        rows += [
            Row(claim, fault, count, outcome, lost=len(broken[place]))
            for (where, fault), count in sorted(met.items())
            if where == place
        ]
    return rows
