"""The hops of an event: what the engine shows of them, as plain data, for the demo and the page."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dynamo_outbox.pipes import render

from .stage import Stage

CONSUMERS = ("BookAdded", "BookRemoved")
"""The consumers' functions; each is named as the event that it handles."""


class About(NamedTuple):
    """The event that a hop belongs to, as far as the hop tells: its id, or its type and the book's name."""

    event_id: str | None = None
    event_type: str | None = None
    book: str | None = None


@dataclass(frozen=True)
class Hop:
    """A step of an event, as read from the engine.

    Attributes:
        name: The hop's name.
        text: One line about it.
        found: What was there, in JSON's types.
        about: The event.
        at: When it was read, in seconds since the epoch.
    """

    name: str
    text: str
    found: Any
    about: About
    at: float

    @property
    def node(self) -> str:
        """The diagram's node: ``pipe`` for ``pipe filter``."""
        return self.name.partition(" ")[0]


Seen = tuple[object, str, str, Any, About]
"""A key that no other sight of this hop has, and the hop's name, text, content and event."""


class HopReader:
    """Reads from a stage what has happened since it was last asked.

    Args:
        stage: The deployed mode.
        now: Returns the time in seconds since the epoch.
    """

    def __init__(self, stage: Stage, now: Callable[[], float] = time.time) -> None:
        self.stage = stage
        self._now = now
        self._hops: dict[str, dict[object, Hop]] = {}
        self._looks: dict[str, Callable[[], Iterator[Seen]]] = {
            "tables": self._outbox if stage.mode.source_table == "EventsTable" else self._books,
            "stream": self._stream,
            "pipe": self._pipe,
            "carrier": self._runs,
            "bus": self._bus,
            "consumer": self._consumers,
            "dedup": self._dedup,
            "parking": self._parking,
        }
        self._shelf: dict[str, Any] = {}
        self._changes = 0
        self._carried: dict[str, About] = {}

    @property
    def parts(self) -> list[str]:
        """The arguments of `read`, in an event's order."""
        return list(self._looks)

    def read(self, part: str) -> list[Hop]:
        """Look at one part of the stage; return all its hops so far, in the order in which they were first seen.

        Raises:
            InvalidPatternError, RenderError: The pipe's filter or template is broken, or the bus refused the event.
        """
        hops = self._hops.setdefault(part, {})
        for key, name, text, found, about in self._looks[part]():
            if key not in hops:
                hops[key] = Hop(name, text, found, about, self._now())
        return list(hops.values())

    def _outbox(self) -> Iterator[Seen]:
        books = {item["name"]["S"]: item for item in self.stage.items("BooksTable")}
        for item in sorted(self.stage.items("EventsTable"), key=lambda item: item["eventTime"]["S"]):
            about = _of_outbox_item(item)
            text = f"the book and its {about.event_type} in one transaction; event id {about.event_id}"
            change = (
                {"delete": about.book} if about.event_type == "BookRemoved" else {"put": books.get(about.book or "")}
            )
            key = (item["eventId"]["S"], item["outboxFormat"]["N"])
            yield key, "tables", text, {"books": change, "events": {"put": item}}, about

    def _books(self) -> Iterator[Seen]:
        shelf, before = {item["name"]["S"]: item for item in self.stage.items("BooksTable")}, self._shelf
        self._shelf = shelf
        for name in shelf.keys() ^ before.keys():
            self._changes += 1
            added = name in shelf
            text = f"the book was {'put' if added else 'deleted'}; no event is written in this mode"
            found = {"books": {"put": shelf[name]} if added else {"delete": name}}
            yield self._changes, "tables", text, found, About(None, CONSUMERS[0 if added else 1], name)

    def _stream(self) -> Iterator[Seen]:
        for record in self.stage.stream_records():
            number = record["dynamodb"]["SequenceNumber"]
            text = f"{record['eventName']}, sequence number {number}, eventID {record['eventID']}"
            self._carried[number] = self._about(record)
            yield number, "stream", text, record, self._carried[number]

    def _about(self, record: Mapping[str, Any]) -> About:
        """Return the event of a stream record; an empty one if the change is not an event."""
        change = record["dynamodb"]
        if self.stage.mode.source_table == "EventsTable":
            image = change.get("NewImage", {})
            return _of_outbox_item(image) if record["eventName"] == "INSERT" and "outboxFormat" in image else About()
        event_type = {"INSERT": "BookAdded", "REMOVE": "BookRemoved"}.get(record["eventName"])
        return About(None, event_type, change["Keys"]["name"]["S"]) if event_type else About()

    def _pipe(self) -> Iterator[Seen]:
        for record, event_id in self.stage.run_pipe():
            assert self.stage.pipe is not None  # noqa: S101  # for the type checker: only a pipe passes records
            definition, change = self.stage.pipe.definition, record["eventName"]
            about = self._about(record)
            found: dict[str, Any] = {"patterns": definition.patterns, "record": record}
            passed = "dropped" if event_id is None else "passed"
            text = f"{passed} the {change} (a stand-in runs the deployed pipe)"
            yield (record["eventID"], "filter"), "pipe filter", text, found, about
            if event_id is not None:
                found = {"template": definition.input_template, "entry": render(record, definition)}
                text = f"rendered, and accepted by the bus as {event_id}"
                yield (record["eventID"], event_id), "pipe template", text, found, about

    def _runs(self) -> Iterator[Seen]:
        if (name := self.stage.mode.carrier) is not None:
            for run in range(1, self.stage.invocations(name) + 1):
                found = {"function": name, "run": run, "log": self.stage.printed(name)}
                yield run, name, f"run {run} has finished", found, About()

    def _bus(self) -> Iterator[Seen]:
        for event in self.stage.bus_events():
            event_id = event["detail"].get("metadata", {}).get("id")
            text = f"{event['detail-type']} from {event['source']}, event id {event_id}"
            book = event["detail"].get("data", {}).get("name")
            yield event["id"], "bus", text, event, About(event_id, event["detail-type"], book)

    def _consumers(self) -> Iterator[Seen]:
        for function in CONSUMERS:
            for number, line in enumerate(self.stage.printed(function)):
                found = {"function": function, "line": line}
                yield (function, number), "consumer", f"{function} printed: {line}", found, About(None, function)

    def _dedup(self) -> Iterator[Seen]:
        for item in self.stage.items("PresentationTable"):
            if "status" in item:
                key, status = item["pk"]["S"], item["status"]["S"]
                about = About(key.rpartition("#")[2], key.split("#")[1])
                yield (key, status), "dedup", f"{status}: {key}", item, about

    def _parking(self) -> Iterator[Seen]:
        if "ParkingTable" in self.stage.stack.resources:
            for item in self.stage.items("ParkingTable"):
                if "reasonCode" in item:
                    text = f"{item['orderKey']['S']}: {item['reasonMessage']['S']}"
                    if (number := item["sequenceNumber"]["S"]) not in self._carried:
                        self.read("stream")
                    about = self._carried.get(number, About())
                    yield (item["pk"]["S"], item["sk"]["S"]), "parking", text, _readable(item), about


def _of_outbox_item(item: Mapping[str, Any]) -> About:
    return About(item["eventId"]["S"], item["eventType"]["S"], item["aggregateId"]["S"])


def _readable(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item without its binary attributes, which JSON has no form for."""
    return {name: {"B": f"{len(value['B'])} bytes"} if "B" in value else value for name, value in item.items()}
