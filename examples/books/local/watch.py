"""Events that the page shows: each request to the API, and the hops of its event so far."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .hops import About, Hop, HopReader
from .http_api import Invoke
from .stage import Mode

KEPT = 50
"""Number of events that are kept."""
EVENT_TYPES = {"POST": "BookAdded", "DELETE": "BookRemoved"}
REFUSED = 400


class Node(NamedTuple):
    """A part of the service in the diagram.

    Attributes:
        name: The name of its hops; see `Hop.node`.
        title, detail: Its texts.
        stand_in: What runs instead of the AWS service; empty if the engine has it.
        beside: The node from which it branches off; empty if it follows the node before it.
    """

    name: str
    title: str
    detail: str
    stand_in: str = ""
    beside: str = ""


def diagram(mode: Mode) -> list[Node]:
    """Return the parts of a mode that an event passes, in order; each is connected to the one before or beside it."""
    outbox = mode.source_table == "EventsTable"
    carrier = mode.carrier or "pipe"
    nodes = [
        Node("api", "HTTP API", "POST, DELETE /book", "routes of the template, served by http_api.py"),
        Node("function", "AddBook, RemoveBook", "Lambda functions"),
        Node("tables", "books + events" if outbox else "books", "one transaction" if outbox else "DynamoDB table"),
        Node("stream", "Stream", f"of the {'events' if outbox else 'books'} table"),
        Node(carrier, carrier, "Lambda function")
        if mode.carrier
        else Node("pipe", "EventBridge Pipe", "filter and template", "the deployed pipe, run by PipeRunner"),
        Node("bus", "Custom Event Bus", "in groups, deduplicated", "the kit's CustomBusServer")
        if mode.has_custom_bus
        else Node("bus", "Event bus", "EventBridge"),
        Node("consumer", "BookAdded, BookRemoved", "consumers"),
        Node("dedup", "Dedup record", "makes a duplicate harmless"),
    ]
    if mode.carrier is None:
        return nodes
    parking = Node("parking", "Parking table", "can't be published", "", carrier)
    after = next(n for n, node in enumerate(nodes, start=1) if node.name == carrier)
    return [*nodes[:after], parking, *nodes[after:]]


@dataclass
class Trace:
    """A request that changes a book, and the hops of its event.

    Attributes:
        number: The request's number.
        event_type, book: The event.
        started: When the request arrived, in seconds since the epoch.
        status: The response's HTTP status; None until it is known.
        event_id: The event's id; None until a hop tells it.
        hops: The hops so far, in the order in which they were read.
    """

    number: int
    event_type: str
    book: str
    started: float
    status: int | None = None
    event_id: str | None = None
    hops: list[Hop] = field(default_factory=list)

    def at(self, node: str) -> list[Hop]:
        """Return the hops at a node of the diagram."""
        return [hop for hop in self.hops if hop.node == node]

    def as_json(self) -> str:
        """Return what the page shows of it."""
        hops = [
            {"node": hop.node, "name": hop.name, "text": hop.text, "found": hop.found, "after": hop.at - self.started}
            for hop in self.hops
        ]
        return json.dumps({**vars(self), "hops": hops}, default=str)


class Watch:
    """Collects the hops of each event. Safe to use from several threads.

    Args:
        reader: Reads the hops.
        now: Returns the time in seconds since the epoch.
    """

    def __init__(self, reader: HopReader, now: Callable[[], float] = time.time) -> None:
        self.reader = reader
        self.traces: list[Trace] = []
        self._now = now
        self._changed = threading.Condition(threading.RLock())
        self._versions: dict[int, int] = {}
        self._version = 0
        self._requests = 0
        self._read: dict[str, int] = {}

    def watched(self, invoke: Invoke) -> Invoke:
        """Return a function that invokes a function of the API and records the request and the response."""

        def watching(function: str, event: dict[str, Any]) -> dict[str, Any]:
            trace = self._begin(event)
            answer = invoke(function, event)
            if trace is not None:
                status = answer.get("statusCode", 500)
                with self._changed:
                    trace.status = status
                    self.add(trace, "function", f"{function} returned {status}", answer)
            return answer

        return watching

    def _begin(self, event: dict[str, Any]) -> Trace | None:
        http = event["requestContext"]["http"]
        try:
            book = json.loads(event.get("body") or "")["name"].strip()
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        if http["method"] not in EVENT_TYPES:
            return None
        with self._changed:
            self._requests += 1
            trace = Trace(self._requests, EVENT_TYPES[http["method"]], book, self._now())
            self.traces = [*self.traces, trace][-KEPT:]
            self.add(trace, "api", f"{http['method']} {http['path']}", event)
        return trace

    def add(self, trace: Trace, name: str, text: str, found: object) -> None:
        """Add a hop that the engine doesn't show."""
        self._add(trace, Hop(name, text, found, About(), self._now()))

    def _add(self, trace: Trace, hop: Hop) -> None:
        with self._changed:
            trace.event_id = trace.event_id or hop.about.event_id
            trace.hops.append(hop)
            self._version += 1
            self._versions[trace.number] = self._version
            self._changed.notify_all()

    def look(self) -> list[Hop]:
        """Read what is new in the engine, add it to the events, and return it.

        Raises:
            InvalidPatternError, RenderError: See `HopReader.read`.
        """
        # Read against the direction of an event, so that no hop is found without the one before it.
        hops = {part: self.reader.read(part) for part in reversed(self.reader.parts)}
        found, now = [], self._now()
        for part in self.reader.parts:
            new, self._read[part] = hops[part][self._read.get(part, 0) :], len(hops[part])
            for hop in new:
                for trace in self._run(hop) if part == "carrier" else self._traces_of(hop):
                    self._add(trace, replace(hop, at=now))
            found += new
        for run in hops.get("carrier", ())[-1:]:  # if it was found before the stream's record
            for trace in self.traces:
                if trace.at("bus") and not trace.at(run.node) and run.at >= trace.started:
                    self._add(trace, replace(run, at=now))
        return found

    def _run(self, run: Hop) -> list[Trace]:
        """Return the events that a run of the stream's function had in its batch: a run does not tell."""
        return [trace for trace in self.traces if trace.at("stream") and not trace.at(run.node)]

    def _traces_of(self, hop: Hop) -> list[Trace]:
        event_id, event_type, book = hop.about
        known = [trace for trace in self.traces if event_id is not None and trace.event_id == event_id]
        if known or event_type is None:
            return known[-1:]
        if hop.node == "consumer":  # a line begins with the book's name
            line = hop.found["line"]
            several = [each for each in self.traces if each.event_type == event_type and line.startswith(each.book)]
            waiting = [each for each in several if len(each.at("consumer")) < len(each.at("bus"))] or several[-1:]
            return sorted(waiting, key=lambda each: -len(each.book))[:1]
        several = [
            trace
            for trace in self.traces
            if (trace.event_type, trace.book, trace.event_id) == (event_type, book, None) and not trace.at(hop.node)
        ]
        return sorted(several, key=lambda trace: (trace.status or 0) >= REFUSED)[:1]

    def changes(self, version: int, timeout: float) -> tuple[int, list[str]]:
        """Wait for events that changed after a version; return the newest version and these events as JSON."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout)
            changed = [trace for trace in self.traces if self._versions[trace.number] > version]
            return self._version, [trace.as_json() for trace in changed]

    @property
    def busy(self) -> bool:
        """True if a hop was added or a request began in the last five seconds."""
        return bool(self.traces) and self._now() - max(trace.hops[-1].at for trace in self.traces) < 5
