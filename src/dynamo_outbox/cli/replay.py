"""The command that sends events again."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..events.outbox_item import time_of
from .frame import FAILED, UsageError, add_command, aws, confirm, print_line, refusing, whole_number
from .parking import TABLE_HELP, processor_named

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from ..events.event import Event
    from ..operations.places import Place
    from ..operations.replay import ReplayResult, Target

__all__ = ["add_commands"]

PLACES = {
    "table": ("an events table's items", "books-events --aggregate 'Book#Team Topologies' --bus books"),
    "stream": ("a stream, by its ARN or its table's name", "books-events --from 2026-11-28T09:00:00Z --bus books"),
    "parking": ("a parking table; the records are removed", "books-parking --bus books"),
    "bucket": ("a failure destination's objects", "s3://books-failures/aws/lambda --delete --bus books"),
    "queue": ("a failure or dead-letter queue; the messages are deleted", "books-dead-letters --function catalogue"),
}
NAMES = {"stream": "the stream's ARN, or its table's name", "bucket": "s3://bucket/prefix", "queue": "URL, ARN or name"}
DESCRIPTION = (
    "Sends the events under the same ids, asks first, and prints a JSON line for each failure, then one with the "
    "counts. Only what the target accepted is removed. Exits with 1 if anything is left or failed."
)
CUSTOM_BUS_NOTE = (
    "ingestion only: the delivery to each subscriber is billed, too. An event sent more than 300 s after it was "
    "published is a new event to every subscriber. Each record of a queue or a parking table counts as 1 KB."
)
COUNT = partial(whole_number, 1)


def add_commands(commands: Any) -> None:
    """Add ``replay`` with a command for each place."""
    parser = commands.add_parser("replay", help="send events again from where they were left, to a bus or a function")
    places = parser.add_subparsers(required=True, metavar="place")
    for name, (what, example) in PLACES.items():
        about = f"{what[0].upper()}{what[1:]}. {DESCRIPTION}"
        place = add_command(places, name, f"replay {what}", about, f"dynamo-outbox replay {name} {example}", _run)
        place.set_defaults(place=name)
        option = place.add_argument
        option("name", help=NAMES.get(name, TABLE_HELP))
        if name == "table":
            option("--aggregate", metavar="TYPE#ID", help="only this aggregate's events")
        if name in ("table", "stream"):
            option("--type", help="only events of this type")
            option("--from", dest="since", type=_time, help="only events from this time on")
            option("--to", dest="until", type=_time, help="only events before this time")
        if name == "bucket":
            option("--delete", action="store_true", help="delete an object after its events were accepted")
        target = place.add_mutually_exclusive_group()
        again = "a Custom Event Bus takes an event again after 300 s, for every subscriber"
        target.add_argument("--bus", help=f"the bus to send to: a name or an ARN; {again}")
        target.add_argument("--function", help="the Lambda function to call with each event, as a rule does")
        reads = "the code that reads stream records, as in `parked redrive`; its bus is the target if no other is given"
        option("--processor", metavar="module:attribute", help=reads)
        option("--rate", type=COUNT, help="the maximum number of events a second")
        option("--checkpoint", metavar="FILE", help="keep in it what was sent, to resume after an interruption")
        ttl = "how many days the consumers keep their dedup records; default: %(default)s"
        option("--dedup-ttl", metavar="DAYS", type=COUNT, default=8, help=ttl)
        option("--dry-run", action="store_true", help="print the number of events and the cost only")
        option("--yes", action="store_true", help="don't ask")


def _time(text: str) -> datetime:
    try:
        return time_of(text, "")
    except DecodeError as error:
        raise ArgumentTypeError(f"{error.problem}; write 2026-11-28T09:00:00Z") from None


@refusing
def _run(known: argparse.Namespace) -> int:
    from ..operations.cost import AS_OF, PRICES
    from ..operations.replay import replay, survey

    place, target = _ends(known)
    total = None
    if known.dry_run or not known.yes or sys.stderr.isatty():
        found = survey(place, for_custom_bus=target.is_custom_bus)
        total = found.events
        if known.dry_run:
            price = PRICES["custom in" if target.is_custom_bus else "bus"]
            cost = {"dollars": None} if known.function else {"price": f"{price.standing}, {AS_OF}, {price.source}"}
            note = {"note": CUSTOM_BUS_NOTE} if target.is_custom_bus else {}
            print_line(**{**vars(found), **cost, **note})
            return FAILED if found.unreadable else 0
        oldest = f", the oldest of {found.oldest}," if found.oldest else ""
        if not confirm(f"Send {total} events{oldest} from {place.name} to {target.name}?", yes=known.yes):
            return FAILED
    progress = _Progress(total)

    def allows_old(event: Event) -> bool:
        progress.close()
        age = f"older than the consumers' dedup records of {known.dedup_ttl} days: its effects may be repeated"
        print(f"dynamo-outbox: event {event.id} of {event.time} is {age}", file=sys.stderr)
        return confirm("Send old events?", yes=known.yes)

    options: Any = {"rate": known.rate, "checkpoint": known.checkpoint, "dedup_ttl": timedelta(days=known.dedup_ttl)}
    with closing(progress):
        result = replay(place, target, **options, allows_old=allows_old, on_progress=progress)
    for failure in result.failures:
        print_line(**vars(failure))
    print_line(**{**vars(result), "failures": len(result.failures)})
    return FAILED if result.failures or result.stopped else 0


def _ends(known: argparse.Namespace) -> tuple[Place, Target]:
    from ..operations import places
    from ..operations.replay import to_bus, to_function
    from ..publishing.bus import service_of
    from ..publishing.publisher import EventBridgePublisher

    def wants(event: Event) -> bool:
        is_in_time = (known.since or event.time) <= event.time and (known.until is None or event.time < known.until)
        return is_in_time and known.type in (None, event.type)

    if "#" not in (getattr(known, "aggregate", None) or "#"):
        raise UsageError(f"--aggregate {known.aggregate} must be TYPE#ID")
    if known.place == "bucket" and not known.name.startswith("s3://"):
        raise UsageError(f"{known.name} must be s3://bucket/prefix")
    processor = None if known.processor is None else processor_named(known.processor)
    if known.bus is not None:
        target = to_bus(EventBridgePublisher(known.bus, client=aws()(service_of(known.bus))))
    elif known.function is not None:
        target = to_function(known.function, aws())
    elif processor is not None:
        target = to_bus(processor.publisher)
    else:
        raise UsageError("name the target: --bus, --function, or --processor for its own bus")
    reader = places.Reader(aws(), processor, wants if known.place in ("table", "stream") else lambda _: True)
    options = {name: getattr(known, name) for name in ("aggregate", "delete") if hasattr(known, name)}
    return getattr(places, known.place)(known.name, reader, **options), target


class _Progress:
    """Count, rate and time left on a terminal's standard error: Rich's bar if it is installed, or else a line."""

    def __init__(self, total: int | None) -> None:
        self._total, self._start = total, time.monotonic()
        self._bar: Any = None

    def __call__(self, result: ReplayResult) -> None:
        if not sys.stderr.isatty():
            return
        done = result.sent + result.sent_before + len(result.failures)
        rate = done / max(time.monotonic() - self._start, 0.001)
        left = f", {max(self._total - done, 0) / max(rate, 0.001):.0f} s left" if self._total else ""
        text = f"{done} of {self._total or '?'} events, {rate:.0f}/s{left}"
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
        except ImportError:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
            self._bar.add_task("", total=self._total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, description=text)

    def close(self) -> None:
        """End the bar or the line; the next call begins another."""
        if self._bar is not None:
            self._bar.stop()
        elif sys.stderr.isatty():
            print(file=sys.stderr)
        self._bar = None
