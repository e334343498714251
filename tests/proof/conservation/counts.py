"""Counts at the end of a run, from the tables, the bus and the processes' reports, and their comparison."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamo_outbox import decode_item

from ..report import Row
from .world import CHANGED, COUNTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_outbox.testing import MiniStack

    from .buses import Bus
    from .world import World

__all__ = ["Counts", "Told", "changes_so_far", "count", "has_published", "rows"]

DONE = frozenset({"committed", "settled as committed"})


@dataclass
class Told:
    """Reports of the processes.

    Attributes:
        intents: The outcome of each intended change, as its writer reported it.
        outcomes: How often each outcome was reported.
    """

    intents: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def take(self, facts: Mapping[str, str]) -> None:
        """Add a report."""
        if "intent" in facts:
            self.intents[facts["intent"]] = facts["outcome"]
        self.outcomes[facts["outcome"]] += 1


@dataclass(frozen=True)
class Counts:
    """Contents of the tables and the bus.

    Attributes:
        versions: Each entity's versions: as many as it counts changes, up to its current one.
        sequences: The sequences of each entity's events in the outbox.
        intents: How often each intended change is in the outbox.
        events: The ids of the outbox's `CHANGED` events.
        followed: The number of `COUNTED` follow-ups in the outbox, by event id.
        followers: The ids of the outbox's `COUNTED` events.
        voids: The number of void markers in the outbox.
        delivered: The number of deliveries on the bus, by event id.
        handled: The ids of the events with an inbox record.
        applied: Each entity's counter.
    """

    versions: Mapping[str, range]
    sequences: Mapping[str, Counter[int]]
    intents: Counter[str]
    events: frozenset[str]
    followed: Counter[str]
    followers: frozenset[str]
    voids: int
    delivered: Counter[str]
    handled: frozenset[str]
    applied: Mapping[str, int]

    @property
    def changes(self) -> int:
        """The number of changes of all entities."""
        return sum(map(len, self.versions.values()))

    def report(self, told: Told) -> str:
        """Return the numbers that must agree, and the reported outcomes, as text."""
        numbers = {
            "changes of entities": self.changes,
            "events in the outbox": len(self.events),
            "events on the bus": len(self.events & set(self.delivered)),
            "events in the inbox": len(self.handled),
            "effects applied": sum(self.applied.values()),
            "follow-up events in the outbox": len(self.followers),
            "follow-up events on the bus": len(self.followers & set(self.delivered)),
        }
        return "\n".join(
            [
                "counted:",
                *(f"  {number:5,}  {name}" for name, number in numbers.items()),
                f"{self.delivered.total():,} deliveries of {len(self.delivered):,} events; {self.voids} void markers",
                "reported outcomes:",
                *(f"  {number:5,}  {outcome}" for outcome, number in told.outcomes.most_common(20)),
            ]
        )


def rows(counts: Counts, told: Told, *, fault: str) -> list[Row]:
    """Return the number of losses and repetitions for each claim."""
    changes = {name: set(versions) for name, versions in counts.versions.items()}
    names = changes.keys() | counts.sequences.keys()
    without_event = sum(len(changes.get(name, set()) - set(counts.sequences.get(name, ()))) for name in names)
    without_change = sum(
        sum((counts.sequences.get(name, Counter()) - Counter(changes.get(name, ()))).values()) for name in names
    )
    acknowledged = {intent for intent, outcome in told.intents.items() if outcome in DONE}
    denied = told.intents.keys() - acknowledged
    false_denials = sum(intent in counts.intents for intent in denied)
    repeated = sum(number - 1 for number in counts.intents.values())
    entities = counts.versions.keys() | counts.applied.keys()
    surplus = {name: counts.applied.get(name, 0) - len(counts.versions.get(name, ())) for name in entities}
    everything = counts.events | counts.followers
    return [
        Row(
            "a change and its event are written together or not at all",
            fault,
            counts.changes,
            f"{counts.changes:,} changes, {len(counts.events):,} events",
            lost=without_event,
            twice=without_change,
        ),
        Row(
            "the outcome reported to a writer is true",
            fault,
            len(told.intents),
            f"{len(acknowledged):,} committed, {len(denied):,} not",
            lost=len(acknowledged - counts.intents.keys()),
            twice=false_denials + repeated,
        ),
        Row(
            "every event reaches the bus",
            fault,
            len(everything),
            f"{len(everything):,} events, {counts.delivered.total():,} deliveries",
            lost=len(everything - counts.delivered.keys()),
        ),
        Row(
            "each event has its effect once",
            fault,
            counts.changes,
            f"{sum(counts.applied.values()):,} effects",
            lost=sum(max(0, -number) for number in surplus.values()),
            twice=sum(max(0, number) for number in surplus.values()),
        ),
        Row(
            "each event has its follow-up event once",
            fault,
            len(counts.events),
            f"{len(counts.handled):,} inbox records, {len(counts.followers):,} follow-ups",
            lost=len(counts.events - counts.followed.keys()) + len(counts.events - counts.handled),
            twice=sum(number - 1 for number in counts.followed.values()) + len(counts.handled - counts.events),
        ),
    ]


def count(engine: MiniStack, world: World, bus: Bus) -> Counts:
    """Count the contents of the tables and the bus."""
    dynamodb = engine.client("dynamodb")
    outbox = list(_items(dynamodb, world.events))
    items = [item for item in outbox if "outboxFormat" in item]
    data = {item["eventId"]: json.loads(item["eventData"]) for item in items}
    changed = [item for item in items if item["eventType"] == CHANGED]
    counted = [item for item in items if item["eventType"] == COUNTED]
    sequences: dict[str, Counter[int]] = {}
    for item in changed:
        sequence = json.loads(item["eventContext"])["sequence"]
        sequences.setdefault(item["aggregateId"], Counter())[sequence] += 1
    handled = (item["pk"].rpartition("#")[2] for item in _items(dynamodb, world.handled))
    return Counts(
        versions={item["pk"]: _versions(item) for item in _items(dynamodb, world.entities)},
        sequences=sequences,
        intents=Counter(data[item["eventId"]]["intent"] for item in changed),
        events=frozenset(item["eventId"] for item in changed),
        followed=Counter(data[item["eventId"]]["of"] for item in counted),
        followers=frozenset(item["eventId"] for item in counted),
        voids=sum("voidToken" in item for item in outbox),
        delivered=Counter(event.id for event in bus.delivered()),
        handled=frozenset(handled),
        applied={item["pk"]: int(item["applied"]) for item in _items(dynamodb, world.effects)},
    )


def changes_so_far(dynamodb: Any, world: World) -> int:
    """Return the number of committed changes."""
    return sum(len(_versions(item)) for item in _items(dynamodb, world.entities))


def _versions(entity: Mapping[str, Any]) -> range:
    """Return an entity's versions, from the last one and its own count of changes: the first is a time."""
    last = int(entity["version"])
    return range(last - int(entity["changes"]) + 1, last + 1)


def has_published(streams: Any, world: World, folder: Path) -> bool:
    """Return whether the relay has read its stream to the end."""
    done = [number for file in folder.glob("relay-*.json") for number in json.loads(file.read_text()).items()]
    for shard, number in done:
        iterator = streams.get_shard_iterator(
            StreamArn=world.stream_arn,
            ShardId=shard,
            ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            SequenceNumber=number,
        )
        if streams.get_records(ShardIterator=iterator["ShardIterator"], Limit=1)["Records"]:
            return False
    return bool(done)


def _items(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from map(decode_item, page["Items"])
