"""Commands for parked records: list them, publish them again."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import OutboxError
from ..events.outbox_item import time_text
from .frame import FAILED, UsageError, add_command, print_line, whole_number

if TYPE_CHECKING:
    import argparse

    from ..relaying.parking_table import ParkedHead
    from ..relaying.processors import ChangeProcessor, OutboxRelay

__all__ = ["add_commands", "processor_named"]


def add_commands(commands: Any) -> None:
    """Add ``parked list`` and ``parked redrive``."""
    parser = commands.add_parser("parked", help="list parked records, and publish them again")
    parked = parser.add_subparsers(required=True, metavar="command")

    listed = add_command(
        parked,
        "list",
        "list the records parked in a table, with the reason",
        "Prints a JSON line for each order key: the number of its parked records, and the first one with its reason.",
        "dynamo-outbox parked list books-parking",
        _list,
    )
    listed.add_argument("table", help="the parking table's name")
    listed.add_argument("--partition-key", default="pk", help="the partition key attribute; default: %(default)s")
    listed.add_argument("--sort-key", default="sk", help="the sort key attribute; default: %(default)s")
    listed.add_argument("--key-prefix", default="", help="the prefix in the table_keys of the processor's ParkingTable")

    redrive = add_command(
        parked,
        "redrive",
        "publish a processor's parked records again and remove them",
        "Imports the OutboxRelay or ChangeProcessor, with the working folder on the path, and redrives its records. "
        "Prints the number of records sent and a JSON line for each failure. Exits with 1 unless every one was sent.",
        "dynamo-outbox parked redrive books.outbox_relay:relay --limit 100",
        _redrive,
    )
    redrive.add_argument("processor", metavar="module:attribute", help="for example books.outbox_relay:relay")
    redrive.add_argument("--limit", type=partial(whole_number, 1), help="the maximum number of records to publish")


def _list(known: argparse.Namespace) -> int:
    from ..aws.clients import shared_client
    from ..options import TableKeys
    from ..relaying.parking_table import ParkingTable

    try:
        parking = ParkingTable(known.table, table_keys=TableKeys(known.partition_key, known.sort_key, known.key_prefix))
        shared_client("dynamodb")
    except ValueError as error:  # also botocore's, for an invalid Region or endpoint
        raise UsageError(str(error)) from None
    readable = True
    for head in parking.heads():
        readable &= not isinstance(head.first, OutboxError)
        print_line(order_key=head.order_key, parked=head.parked, **_first(head))
    return 0 if readable else FAILED


def _first(head: ParkedHead) -> dict[str, Any]:
    if head.first is None:
        return {}
    if isinstance(head.first, OutboxError):
        return {"error": str(head.first)}
    first = head.first
    about = {
        "sequence_number": first.sequence_number,
        "event_ids": first.event_ids,
        "code": first.reason.code,
        "message": first.reason.message,
        "path": first.reason.path,
        "parked_at": time_text(first.parked_at),
        "parked_by": first.parked_by,
    }
    return {"first": about}


def _redrive(known: argparse.Namespace) -> int:
    processor = processor_named(known.processor)
    parking: Any = processor.parking
    if parking is None:
        raise UsageError(f"{known.processor} has no parking, so there is nothing to redrive")
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
