"""Commands for parked records."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import OutboxError
from ..events.outbox_item import time_text
from ..operations.decode import decoded_or_error, json_line
from .frame import FAILED, UsageError, add_command, aws, confirm, print_line, refusing, whole_number

if TYPE_CHECKING:
    import argparse

    from ..relaying.parked_record import ParkedRecord
    from ..relaying.parking_table import ParkingTable
    from ..relaying.processors import ChangeProcessor, OutboxRelay

__all__ = ["TABLE_HELP", "about", "add_commands", "processor_named"]

TABLE_HELP = "the table's name; NAME:PREFIX if its partition keys have a prefix (table_keys)"


def add_commands(commands: Any) -> None:
    """Add ``parked list``, ``parked show``, ``parked redrive`` and ``parked drop``."""
    parser = commands.add_parser("parked", help="list, show, publish or drop parked records")
    parked = parser.add_subparsers(required=True, metavar="command")

    listed = add_command(
        parked,
        "list",
        "list the records parked in a table, with the reason",
        "Prints a JSON line for each order key: the number of its parked records, and the first one with its reason. "
        "A ParkingQueue can't be listed, because each receive counts; stats prints its depth.",
        "dynamo-outbox parked list books-parking",
        _list,
    )
    shown = add_command(
        parked,
        "show",
        "print the parked records of an order key, decoded",
        "Prints a JSON line for each record, in order, and below it its event or change, as decode does. A record that "
        "can't be decoded is printed as it was delivered.",
        "dynamo-outbox parked show books-parking 'Book#Team Topologies'",
        _show,
    )
    drop = add_command(
        parked,
        "drop",
        "remove parked records without publishing them",
        "Prints the records, asks, and removes them: their events are never published. A record that can't be read is "
        "not removed.",
        "dynamo-outbox parked drop books-parking 'Book#Team Topologies' --sequence-number 20232860000171238596",
        _drop,
    )
    for each in (listed, shown, drop):
        each.add_argument("table", help=TABLE_HELP)
    for each in (shown, drop):
        each.add_argument("order_key", help="as parked list prints it")
        each.add_argument("--sequence-number", help="only this record; default: all of the order key")

    redrive = add_command(
        parked,
        "redrive",
        "publish a processor's parked records again and remove them",
        "Imports the OutboxRelay or ChangeProcessor, with the working folder on the path, asks, and redrives its "
        "records. Prints the number of records sent and a JSON line for each failure. Exits with 1 unless every one "
        "was sent. A Custom Event Bus takes an event again after 300 s, for every subscriber.",
        "dynamo-outbox parked redrive books.outbox_relay:relay --limit 100",
        _redrive,
    )
    redrive.add_argument("processor", metavar="module:attribute", help="for example books.outbox_relay:relay")
    redrive.add_argument("--limit", type=partial(whole_number, 1), help="the maximum number of records to publish")
    for each in (drop, redrive):
        each.add_argument("--yes", action="store_true", help="don't ask")


def _parking(known: argparse.Namespace) -> ParkingTable:
    from ..operations.stored import parking_table

    return parking_table(known.table, clients=aws())


@refusing
def _list(known: argparse.Namespace) -> int:
    readable = True
    for head in _parking(known).heads():
        readable &= not isinstance(head.first, OutboxError)
        first = str(head.first) if isinstance(head.first, OutboxError) else head.first and about(head.first)
        name = "error" if isinstance(first, str) else "first"
        print_line(order_key=head.order_key, parked=head.parked, **({name: first} if first else {}))
    return 0 if readable else FAILED


def about(record: ParkedRecord) -> dict[str, Any]:
    """Return what is known of a parked record, for a JSON line."""
    return {
        "sequence_number": record.sequence_number,
        "event_ids": record.event_ids,
        **dict(zip(("code", "message", "path"), record.reason, strict=True)),
        "parked_at": time_text(record.parked_at),
        "parked_by": record.parked_by,
    }


@refusing
def _show(known: argparse.Namespace) -> int:
    return 0 if _shown(_parking(known), known) else FAILED


def _shown(parking: ParkingTable, known: argparse.Namespace) -> list[ParkedRecord]:
    """Print the records that the arguments name; return them."""
    wanted = known.sequence_number
    records = [each for each in parking.records(known.order_key) if wanted in (None, each.sequence_number)]
    for record in records:
        print_line(parked=about(record))
        for content in decoded_or_error(record.raw):
            print(json_line(content))
            if isinstance(content, OutboxError):
                print_line(record=record.raw)
    if not records:
        print(f"dynamo-outbox: no such record is parked under {known.order_key!r}", file=sys.stderr)
    return records


@refusing
def _drop(known: argparse.Namespace) -> int:
    parking = _parking(known)
    records = _shown(parking, known)
    question = f"Drop {len(records)} records of {known.order_key!r}? Their events are never published."
    if not records or not confirm(question, yes=known.yes):
        return FAILED
    parking.drop(records)
    print_line(dropped=len(records))
    return 0


def _redrive(known: argparse.Namespace) -> int:
    processor = processor_named(known.processor)
    parking: Any = processor.parking
    if parking is None:
        raise UsageError(f"{known.processor} has no parking, so there is nothing to redrive")
    question = f"Publish the records parked by {known.processor} to the bus {processor.publisher.bus}?"
    if not confirm(question, yes=known.yes):
        return FAILED
    result = parking.redrive(processor, limit=known.limit)
    print_line(sent=result.sent, failed=len(result.failures), finished=result.finished)
    for failure in result.failures:
        print_line(**{name: getattr(failure, name) for name in failure.__slots__})
    return 0 if result.finished and not result.failures else FAILED


def processor_named(name: str) -> OutboxRelay | ChangeProcessor:
    """Return the processor that ``module:attribute`` names."""
    from ..relaying.processors import ChangeProcessor, OutboxRelay

    processor = _imported(name)
    if not isinstance(processor, (OutboxRelay, ChangeProcessor)):
        raise UsageError(f"{name} is a {type(processor).__name__}, not an OutboxRelay or a ChangeProcessor")
    return processor


def _imported(name: str) -> object:
    """Import the object that ``module:attribute`` names; the working folder comes first on the path."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"{name!r} is not of the form module:attribute")
    sys.path.insert(0, os.getcwd())
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"no module {module_name} found in {os.getcwd()} or on Python's path") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"the module {module_name} has no attribute {attribute}") from None
    return found
