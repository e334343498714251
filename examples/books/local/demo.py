"""The demo: send a book through each mode, and read, show and check the result of each hop."""

import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dynamo_outbox.errors import InvalidPatternError, RenderError
from dynamo_outbox.testing import EngineError, MiniStack

from .failure import HopFailedError, hop
from .hops import Hop, HopReader
from .http_api import HttpApi
from .packaging import EXAMPLE, build_zip, check_imports
from .stack import functions_in
from .stage import Mode, Stage, eventually, standing

SOURCE = "OutboxDemo.Books"
"""The events' source: an event is known by its source and id."""
INPUT = EXAMPLE / "input.json"


class Journey:
    """Run of one mode: posts the book, posts it again, delivers its record twice and removes the book.

    Args:
        stage: The deployed mode.
        show: Called with a hop's name and its result.
    """

    def __init__(self, stage: Stage, show: Callable[[str, str], None]) -> None:
        self.stage = stage
        self.show = show
        self.carrier = "pipe" if stage.mode.carrier is None else stage.mode.carrier
        self.source_is_outbox = stage.mode.source_table == "EventsTable"
        self.body = INPUT.read_bytes()
        self.book = json.loads(self.body)
        self.reader = HopReader(stage)
        self.piped: list[Hop] = []
        self.runs = 0

    def run(self) -> None:
        """Run all hops.

        Raises:
            HopFailedError: A hop failed; the error names it.
        """
        added = f"{self.book['name']} ({self.book['year']}) by {', '.join(self.book['authors'])} was added!"
        self.api("POST", self.body, 201)
        self.transaction(books=[self.book["name"]], events=["BookAdded"])
        record = self.stream(1, "INSERT")
        event_id = self.bus(1, "BookAdded")
        self.consumer("BookAdded", [added])
        self.dedup([f"inbox#BookAdded#{SOURCE}#{event_id}"])
        self.count(1)

        self.api("POST", self.body, 409)
        self.transaction(books=[self.book["name"]], events=["BookAdded"], unchanged=True)

        self.runs += 0 if self.stage.mode.carrier is None else 1  # carry_again invokes the function once more
        self.carry_again(record)
        on_bus = 1
        if self.stage.custom_bus is None:
            on_bus = 2
            self.bus(on_bus, "BookAdded", again=event_id)
            self.consumer("BookAdded", [added, f"{self.book['name']} has already been presented."])
        else:
            self.dropped(on_bus)
            self.consumer("BookAdded", [added])
        self.dedup([f"inbox#BookAdded#{SOURCE}#{event_id}"])
        self.count(1)

        self.noise(on_bus)
        records = 2

        self.api("DELETE", json.dumps({"name": self.book["name"]}).encode(), 204)
        self.transaction(books=[], events=["BookRemoved"])
        self.stream(records + 1, "INSERT" if self.source_is_outbox else "REMOVE")
        removed_id = self.bus(on_bus + 1, "BookRemoved")
        self.consumer("BookRemoved", [f"{self.book['name']} was removed!"])
        self.dedup([f"inbox#BookAdded#{SOURCE}#{event_id}", f"call#BookRemoved#{SOURCE}#{removed_id}"])
        if "ParkingTable" in self.stage.stack.resources and self.source_is_outbox:
            self.parking()

    @hop("parking")
    def parking(self) -> None:
        """Check that an unreadable record is parked and that a redrive reports why it still can't be published."""
        aggregate = self.stage.write_unreadable_item()

        parked = self.await_hops("parking", 1, "parking", "the unreadable outbox item")[0]
        item = parked.found
        found = (item["orderKey"]["S"], item["reasonPath"]["S"])
        if found != (aggregate, "dynamodb.NewImage.outboxFormat.N"):
            raise HopFailedError("parking", f"unexpected order key and reason path of the parked record: {found}")
        self.show("parking", parked.text)
        answer = self.stage.invoke("Redrive", {})
        if (answer.get("sent"), [each["order_key"] for each in answer.get("failures", ())]) != (0, [aggregate]):
            raise HopFailedError("parking", f"unexpected result of Redrive: {answer}")
        self.show("parking", "Redrive tried the record again; it stays parked until the function is updated")

    @hop("stream")
    def noise(self, on_bus: int) -> None:
        """Make a change that is not an event and check that the bus still has this number of events."""
        if self.source_is_outbox:
            self.stage.remove_outbox_item()
            self.show("stream", "an outbox item is removed, as by its time to live")
        else:
            self.stage.change_book(self.book["name"])
            self.show("stream", "a book is changed, which is not an event in this example")
        self.stream(2, "REMOVE" if self.source_is_outbox else "MODIFY")
        self.no_event(on_bus)

    @hop("api")
    def api(self, method: str, body: bytes, expected: int) -> None:
        """Send a request to the API and check the status of the response."""
        status, answer = request(method, f"{self.stage.url}/book", body)
        if status != expected:
            function = next(
                route.function for route in self.stage.routes() if (route.method, route.path) == (method, "/book")
            )
            log = "; ".join(self.stage.printed(function)[-3:])
            raise HopFailedError("api", f"{method} /book → {status} {answer}, expected {expected}. {function}: {log}")
        self.show("api", f"{method} /book → {status} {answer}".rstrip())

    @hop("transaction")
    def transaction(self, books: list[str], events: list[str], *, unchanged: bool = False) -> None:
        """Check that the tables contain these books and these events, and nothing else."""
        found = sorted(item["name"]["S"] for item in self.stage.items("BooksTable"))
        told = f"books: {found or 'none'}"
        if found != sorted(books):
            raise HopFailedError("transaction", f"the books table contains {found}, expected {books}")
        if self.source_is_outbox:
            items = sorted(self.stage.items("EventsTable"), key=lambda item: item["eventTime"]["S"])
            types = [item["eventType"]["S"] for item in items]
            told += f"; events: {', '.join(types)} (pk {items[-1]['pk']['S']}, id {items[-1]['eventId']['S']})"
            if types != events:
                raise HopFailedError("transaction", f"the events table contains {types}, expected {events}")
        self.show("transaction", f"nothing written; {told}" if unchanged else told)

    @hop("stream")
    def stream(self, count: int, event_name: str) -> dict[str, Any]:
        """Wait until the stream has this number of records; return the newest one."""

        hops = self.await_hops("stream", count, "stream", f"record {count}")
        names = [hop.found["eventName"] for hop in hops]
        if len(hops) != count or names[-1] != event_name:
            raise HopFailedError("stream", f"the stream contains {names}, expected {count}, the last {event_name}")
        self.show("stream", hops[-1].text)
        record: dict[str, Any] = hops[-1].found
        return record

    @hop(lambda self, *_: self.carrier)
    def carry_again(self, record: dict[str, Any]) -> None:
        """Send the same stream record through the pipe or the function again."""
        self.stage.carry_again(record)
        self.show(self.carrier, f"the same stream record, eventID {record['eventID']}, delivered again")

    @hop("bus")
    def bus(self, count: int, event_type: str, *, again: str | None = None) -> str:
        """Wait until the bus has received this number of events; return the newest event's id."""
        if again is None:
            self.carried(is_event=True)

        hops = self.await_hops("bus", count, "bus", f"event {count} from the {self.carrier}")
        event = hops[-1].found
        metadata = event["detail"].get("metadata", {})
        if len(hops) != count or event["detail-type"] != event_type or "id" not in metadata:
            raise HopFailedError("bus", f"{len(hops)} events, expected {count}; the last: {json.dumps(event)}")
        if again is not None and metadata["id"] != again:
            raise HopFailedError("bus", f"the redelivered record became event {metadata['id']}, not {again}")
        self.show("bus", hops[-1].text)
        return str(metadata["id"])

    def await_hops(self, part: str, count: int, name: str, what: str) -> list[Hop]:
        """Wait until a part of the stage has shown this number of hops; return all of them."""

        def arrived() -> list[Hop] | None:
            hops = self.reader.read(part)
            return hops if len(hops) >= count else None

        return eventually(name, what, arrived)

    def carried(self, *, is_event: bool) -> None:
        """Wait until the pipe or the function has processed the newest record of the stream."""
        if self.stage.mode.carrier is None:
            self.pipe(is_event=is_event)
        else:
            self.function()

    @hop(lambda self, *_: self.carrier)
    def function(self) -> None:
        """Wait until the function that reads the stream has run again; check that it logged nothing."""
        name = self.carrier
        self.runs += 1
        hop = self.await_hops("carrier", self.runs, name, f"run {self.runs}")[self.runs - 1]
        if complaints := hop.found["log"]:
            raise HopFailedError(name, f"unexpected log line: {complaints[-1]}")
        self.show(name, f"{hop.text} and logged nothing")

    @hop("bus")
    def no_event(self, count: int) -> None:
        """Check that the pipe or the function publishes nothing for a change that is not an event."""
        self.carried(is_event=False)
        events = self.reader.read("bus")
        if len(events) != count:
            raise HopFailedError(self.carrier, f"a change that is not an event became {json.dumps(events[-1].found)}")
        self.show("bus", f"no new event: still {count} event{'s' * (count > 1)}")

    @hop("bus")
    def dropped(self, count: int) -> None:
        """Check that the Custom Event Bus has dropped the duplicate."""
        events = self.reader.read("bus")
        if len(events) != count:
            raise HopFailedError("bus", f"the redelivered record became {json.dumps(events[-1].found)}")
        self.show("bus", f"the duplicate is dropped by its deduplication id: still {count} event")

    @hop("pipe")
    def pipe(self, *, is_event: bool) -> None:
        """Run the pipe on the newest record; a broken filter or template fails here."""
        try:
            hops = self.await_hops("pipe", len(self.piped) + 1, "stream", "the record for the pipe")
        except InvalidPatternError as error:
            raise HopFailedError("pipe filter", str(error)) from error
        except RenderError as error:
            raise HopFailedError("pipe template" if is_event else "pipe filter", str(error)) from error
        new, self.piped = hops[len(self.piped) :], hops
        record = new[0].found["record"]
        if (len(new) > 1) is not is_event:
            verb = "dropped" if is_event else "passed"
            raise HopFailedError("pipe filter", f"the filter {verb} the {record['eventName']} {record['eventID']}")
        for each in new:
            self.show(each.name, each.text)

    @hop("consumer")
    def consumer(self, function: str, lines: list[str]) -> None:
        """Check all lines that the function has printed so far."""

        def arrived() -> list[Hop] | None:
            hops = [hop for hop in self.reader.read("consumer") if hop.found["function"] == function]
            return hops if len(hops) >= len(lines) else None

        hops = eventually("consumer", f"{function}'s line {lines[-1]!r}", arrived)
        printed = [hop.found["line"] for hop in hops]
        if len(printed) > 1 and printed[-1] == printed[0]:
            raise HopFailedError("dedup", f"{function} acted on one event twice: {printed}")
        if printed != lines:
            found = "\n".join(printed)
            raise HopFailedError("consumer", f"{function} should have printed {lines}, but printed:\n{found}")
        self.show("consumer", hops[-1].text)

    @hop("dedup")
    def dedup(self, keys: list[str]) -> None:
        """Check that the presentation table has one completed record per handled event."""

        def settled() -> dict[str, Hop] | None:
            newest = {hop.found["pk"]["S"]: hop for hop in self.reader.read("dedup")}
            done = all(hop.found["status"] == {"S": "COMPLETED"} for hop in newest.values())
            return newest if done and len(newest) >= len(keys) else None

        found = eventually("dedup", f"the record {keys[-1]}", settled)
        if found.keys() != set(keys):
            raise HopFailedError("dedup", f"the presentation table contains {sorted(found)}, expected {sorted(keys)}")
        self.show("dedup", f"{found[keys[-1]].text}; {len(found)} in all")

    @hop("effect")
    def count(self, books: int) -> None:
        """Check the presentation table's count, which the consumer increments in one transaction with its record."""
        (count,) = [item for item in self.stage.items("PresentationTable") if item["pk"] == {"S": "presented"}] or [{}]
        if count.get("books") != {"N": str(books)}:
            raise HopFailedError("effect", f"{books} book was presented, but the count is {count.get('books')}")
        self.show("effect", f"books presented: {books}, committed in one transaction with the dedup record")


def request(method: str, url: str, body: bytes) -> tuple[int, str]:
    """Send an HTTP request with a JSON body; return the status and the text of the response."""
    call = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "application/json"})  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(call, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def run(modes: Sequence[Mode]) -> int:
    """Send a book through each mode and print a summary; return 0, or 1 if a hop failed."""
    started = time.monotonic()
    hops: dict[str, int] = {}
    where = "set-up"

    def show(hop: str, read: str) -> None:
        hops[where] = hops.get(where, 0) + 1
        print(f"  {hop:<16} {read}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="books-demo-") as folder:
            where = "set-up"
            print(where)
            package = build_zip(Path(folder) / "books.zip")
            handlers = {each.name: each for mode in modes for each in functions_in(EXAMPLE / mode.template)}
            check_imports(package, handlers.values())
            size = package.stat().st_size / 1e6
            show("package", f"{size:.1f} MB; handlers imported from it and boto3: {', '.join(sorted(handlers))}")
            with MiniStack() as engine:
                show("engine", f"MiniStack at {engine.endpoint_url}")
                for mode in modes:
                    where = mode.title
                    print(f"\n{where}")
                    chosen = "".join(f", {name}={value}" for name, value in mode.parameters.items())
                    with HttpApi() as api, ExitStack() as running:
                        stage = standing(engine, mode, package, api, running=running)
                        show(
                            "deploy",
                            f"{mode.template}{chosen}: {len(stage.stack.resources)} resources, by CloudFormation",
                        )
                        Journey(stage, show).run()
    except HopFailedError as failure:
        print(f"\nFAILED at the hop '{failure.hop}' of {where}: {failure.problem}", file=sys.stderr)
        return 1
    except EngineError as failure:
        print(f"\nFAILED at the hop 'engine': {failure}", file=sys.stderr)
        return 1
    print("\nAll hops succeeded. Each result was read back from the engine:")
    for mode in modes:
        print(f"  {mode.title:<30} {hops[mode.title]} hops; the event was published twice and applied once")
    print(f"It took {time.monotonic() - started:.0f} seconds. Nothing is left running.")
    return 0
