"""Faults that the page can cause: each action causes one, waits for its outcome, and says what happened."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dynamo_outbox.testing import LOST_ANSWER, Exchange, FaultProxy, Phase, partial_failure

from .hops import CONSUMERS
from .stage import PATIENCE, Stage, eventually
from .watch import Trace, Watch

REFUSAL = 10.0
"""Seconds for which the bus refuses events."""
RETRY = 60.0
"""Seconds that a refused event may take to be sent again."""
PUBLISHED: dict[str, list[object]] = {"batchItemFailures": []}
"""Result of a function that has published all records."""
SHELF = (
    ("Accelerate", ["Nicole Forsgren", "Jez Humble", "Gene Kim"], 2018),
    ("Release It!", ["Michael T. Nygard"], 2018),
    ("Domain-Driven Design", ["Eric Evans"], 2003),
    ("Designing Data-Intensive Applications", ["Martin Kleppmann"], 2017),
)
"""Books that the actions add."""
PROXY = "A proxy between the function and the local engine or bus makes this fault."


class UnavailableError(Exception):
    """The action can't be done now; the message says why."""


class Faults:
    """The faults of a `FaultProxy`, switched on by the actions.

    Args:
        now: Returns a time in seconds that only grows.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.lose_commit_of: str | None = None
        self.refuse_until = 0.0
        self.malformed: set[str] = set()
        self.refused = 0
        self._now = now

    @property
    def refusing(self) -> bool:
        """True while the bus refuses all events."""
        return self._now() < self.refuse_until

    def on_phase(self, phase: Phase, exchange: Exchange) -> None:
        """Choose the request's fault by its content, which a script doesn't get."""
        if phase != "received":
            return
        if exchange.operation == "PutEvents":
            entries = [json.loads(entry["Detail"]) for entry in exchange.request["Entries"]]
            code = "VALIDATION_ERROR" if "EventBusArn" in exchange.request else "MalformedDetail"
            codes = {n: code for n, detail in enumerate(entries) if _book(detail) in self.malformed}
            if self.refusing:
                self.refused += 1
                codes = dict.fromkeys(range(len(entries)), "ThrottlingException")
            exchange.fault = partial_failure(codes) if codes else None
        elif self.lose_commit_of is not None and _writes(exchange, self.lose_commit_of):
            self.lose_commit_of = None
            exchange.fault = LOST_ANSWER


def _book(detail: dict[str, Any]) -> str | None:
    name: str | None = detail.get("data", {}).get("name")
    return name


def _writes(exchange: Exchange, table: str) -> bool:
    match exchange.operation:
        case "TransactWriteItems":
            actions = [next(iter(action.values())) for action in exchange.request["TransactItems"]]
            return any(action["TableName"] == table for action in actions)
        case "PutItem":
            return bool(exchange.request["TableName"] == table)
    return False


@dataclass
class Outcome:
    """Result of an action.

    Attributes:
        lines: What happened, in order.
        trace: The number of the event to look at.
    """

    lines: list[str]
    trace: int


@dataclass(frozen=True)
class Action:
    """An action of the page.

    Attributes:
        name: Its name in the URL.
        title, detail: Its texts.
        page, link: The page in docs and the link's text.
        stand_in: The part of it that is not as on AWS.
        needs_parking: Whether it needs a parking table.
    """

    name: str
    title: str
    detail: str
    page: str
    link: str
    stand_in: str = ""
    needs_parking: bool = False


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "again",
            "Deliver the record again",
            "The stream delivers the followed event's record a second time, as after a lost checkpoint.",
            *("guarantees.md", "Effects in DynamoDB once"),
        ),
        Action(
            "lose",
            "Lose the commit's response",
            "A book is written, but the response never reaches the function.",
            *("commits.md", "Uncertain commits", PROXY),
        ),
        Action(
            "refuse",
            "Let the bus refuse for ten seconds",
            "A book is added while the bus throttles every event.",
            *("guarantees.md", "At least once on the bus", f"{PROXY} What sends the record again is one, too."),
        ),
        Action(
            "park",
            "Write an event that can't be published",
            "The bus rejects a new book's event as malformed. Then the book is removed.",
            *("parking.md", "Parking", PROXY, True),
        ),
        Action(
            "redrive",
            "Fix the cause and redrive",
            "The bus accepts the events again, and the parked ones are published in order.",
            *("parking.md", "Sending it again", "", True),
        ),
    )
}


@dataclass
class Trouble:
    """Does the actions, one at a time.

    Attributes:
        stage: The deployed mode.
        watch: The events that the page shows.
        proxy: The proxy between the functions and the engine.
        faults: The proxy's faults.
        call: Calls the API with a method and a body, and returns the response's status.
    """

    stage: Stage
    watch: Watch
    proxy: FaultProxy
    faults: Faults
    call: Callable[[str, dict[str, Any]], int]
    _one: threading.Lock = field(default_factory=threading.Lock)

    def unavailable(self, action: Action) -> str:
        """Return why this mode doesn't have an action, or an empty text."""
        if action.needs_parking and self.stage.mode.carrier is None:
            return "A pipe doesn't park; its dead letters are pointers only. Try it with: make start RELAY=lambda"
        return ""

    def do(self, name: str, trace: int | None) -> Outcome:
        """Do an action.

        Args:
            name: The action's name.
            trace: The number of the event that it is about; None for the newest.

        Raises:
            UnavailableError: This mode doesn't have it, or another one is still running.
            HopFailedError: The outcome did not appear in time.
        """
        if why := self.unavailable(ACTIONS[name]):
            raise UnavailableError(why)
        if not self._one.acquire(blocking=False):
            raise UnavailableError("another action is still running")
        try:
            steps: dict[str, Callable[[], Outcome]] = {
                "again": lambda: self._again(trace),
                "lose": self._lose,
                "refuse": self._refuse,
                "park": self._park,
                "redrive": self._redrive,
            }
            return steps[name]()
        finally:
            self._one.release()

    def _again(self, number: int | None) -> Outcome:
        published = [each for each in self.watch.traces if each.at("stream") and each.at("bus")]
        chosen = [each for each in published if number in (None, each.number)][-1:]
        if not chosen:
            raise UnavailableError("this event is not on the bus; add a book or choose another event")
        (trace,) = chosen
        consumer = trace.event_type
        runs, printed = self.stage.invocations(consumer), len(trace.at("consumer"))
        before = self._presented()
        self.watch.add(trace, self._carrier, "the same stream record, delivered again", trace.at("stream")[0].found)
        self.stage.carry_again(trace.at("stream")[0].found)
        if self.stage.custom_bus is not None:
            lines = [
                f"OutboxRelay published event {trace.event_id} again.",
                "The bus dropped it by its deduplication id.",
            ]
            return Outcome([*lines, _once(trace), self._counts(before)], trace.number)
        eventually("consumer", f"{consumer}'s next run", lambda: self.stage.invocations(consumer) > runs or None)
        if consumer == CONSUMERS[0]:
            eventually("consumer", f"{consumer}'s next line", lambda: len(trace.at("consumer")) > printed or None)
        said = [hop.text for hop in trace.at("consumer")[printed:]] or [f"{consumer} ran and did nothing."]
        return Outcome([f"The bus delivered event {trace.event_id} again.", *said, self._counts(before)], trace.number)

    def _lose(self) -> Outcome:
        table = self.stage.stack.physical_ids["BooksTable"]
        first, self.faults.lose_commit_of = len(self.proxy.exchanges), table
        status, trace = self._add_a_book()
        requests = [each for each in self.proxy.exchanges[first:] if _writes(each, table)]
        lines = [
            f"{each.operation}: {'committed, but the response was lost' if each.fault else 'sent again'}"
            + (", with the same token" if not each.fault and "ClientRequestToken" in each.request else "")
            for each in requests
        ]
        self._await(trace, "dedup")
        return Outcome([*lines, f"The API returned {status}.", _once(trace)], trace.number)

    def _refuse(self) -> Outcome:
        carrier = self.stage.mode.carrier
        runs = self.stage.invocations(carrier) if carrier else 0
        self.faults.refused, self.faults.refuse_until = 0, time.monotonic() + REFUSAL
        _, trace = self._add_a_book()
        eventually("bus", "a refused request", lambda: self.faults.refused or None)
        self.watch.add(trace, self._carrier, "PutEvents refused: ThrottlingException", {"refused": "all entries"})
        if carrier:  # the engine takes a failed record for a processed one: send it again, as Lambda would
            eventually(carrier, "the failed run", lambda: self.stage.invocations(carrier) > runs or None, RETRY)
            event = {"Records": [trace.at("stream")[0].found]}
            eventually(carrier, "a run", lambda: self.stage.invoke(carrier, event) == PUBLISHED or None, RETRY)
            self.watch.add(trace, carrier, "the record was sent again, and the bus accepted it", event)
        self._await(trace, "dedup", RETRY)
        after = trace.at("bus")[0].at - trace.started
        lines = [
            f"The bus refused {self.faults.refused} PutEvents requests.",
            f"The event reached the bus {after:.0f} seconds after the request.",
        ]
        return Outcome([*lines, _once(trace)], trace.number)

    def _park(self) -> Outcome:
        name, authors, year = self._next_book()
        self.faults.malformed.add(name)
        self.call("POST", {"name": name, "authors": authors, "year": year})
        added = self._newest(name)
        self._await(added, "parking")
        self.call("DELETE", {"name": name})
        removed = self._newest(name)
        self._await(removed, "parking")
        reasons = [each.at("parking")[0].found["reasonCode"]["S"] for each in (added, removed)]
        lines = [f"{each.event_type} is parked: {why}." for each, why in zip((added, removed), reasons, strict=True)]
        return Outcome([*lines, "Events of other books are still published."], added.number)

    def _redrive(self) -> Outcome:
        parked = [trace for trace in self.watch.traces if trace.at("parking") and not trace.at("bus")]
        if not parked:
            raise UnavailableError("nothing is parked")
        self.faults.malformed.clear()
        answer = self.stage.invoke("Redrive", {})
        lines = [f"Redrive published {answer.get('sent')} records."]
        lines += [f"It stopped at {each['order_key']}: {each}" for each in answer.get("failures", ())]
        for trace in parked if not answer.get("failures") else []:
            self._await(trace, "dedup")
        in_order = sorted((trace for trace in parked if trace.at("bus")), key=lambda trace: trace.at("bus")[0].at)
        lines += [f"On the bus: {trace.event_type} of {trace.book}" for trace in in_order]
        return Outcome(lines, parked[0].number)

    @property
    def _carrier(self) -> str:
        return self.stage.mode.carrier or "pipe"

    def _add_a_book(self) -> tuple[int, Trace]:
        name, authors, year = self._next_book()
        status = self.call("POST", {"name": name, "authors": authors, "year": year})
        return status, self._newest(name)

    def _newest(self, book: str) -> Trace:
        return next(trace for trace in reversed(self.watch.traces) if trace.book == book)

    def _next_book(self) -> tuple[str, list[str], int]:
        """Return a book that was not added since the start, so that its events can't be mistaken."""
        used = {trace.book for trace in self.watch.traces}
        names = (
            (name if part == 1 else f"{name}, part {part}", authors, year)
            for part in range(1, len(used) + 2)
            for name, authors, year in SHELF
        )
        return next(book for book in names if book[0] not in used)

    def _await(self, trace: Trace, node: str, patience: float = PATIENCE) -> None:
        eventually(node, f"{trace.event_type} of {trace.book}", lambda: trace.at(node) or None, patience)

    def _presented(self) -> str:
        """Return the count that the consumer increments in one transaction with its dedup record."""
        items = [item for item in self.stage.items("PresentationTable") if item["pk"] == {"S": "presented"}]
        return str(items[0]["books"]["N"]) if items else "0"

    def _counts(self, before: str) -> str:
        return f"Books presented: {before} before, {self._presented()} after."


def _once(trace: Trace) -> str:
    count, records = len(trace.at("bus")), {hop.found["pk"]["S"] for hop in trace.at("dedup")}
    times = "once" if count == 1 else f"{count} times"
    return f"{trace.event_type} is on the bus {times}, with {'one dedup record' if len(records) == 1 else records}."
