"""Commands for what is stored: backlogs, an event's records, uncertain commits, unknown outcomes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..events.event import Event
from ..operations.decode import decoded_or_error, json_line
from .frame import (
    FAILED,
    UsageError,
    add_command,
    aws,
    confirm,
    explained,
    print_line,
    print_rows,
    refusing,
    whole_number,
)
from .parking import TABLE_HELP, about
from .payloads import documents_in

if TYPE_CHECKING:
    import argparse

__all__ = ["add_commands"]


def add_commands(commands: Any) -> None:
    """Add ``stats``, ``show``, ``settle`` and ``resolve``."""
    stats = add_command(
        commands,
        "stats",
        "print backlogs: records parked, messages in queues, the relay's lag",
        "Prints a row for each place: what is left, and the age of the oldest. How many events are unpublished is not "
        "stored; a relay's row has the age of its last record (IteratorAge). Exits with 1 if a place can't be read.",
        "dynamo-outbox stats --relay books-relay --parking books-parking --queue https://sqs.…/relay-failures",
        _stats,
    )
    stats.add_argument("--relay", action="append", default=[], metavar="FUNCTION", help="a stream's function")
    stats.add_argument("--parking", action="append", default=[], metavar="TABLE", help=TABLE_HELP)
    stats.add_argument("--queue", action="append", default=[], metavar="URL", help="a parking or dead-letter queue")

    show = add_command(
        commands,
        "show",
        "print what is stored of an event or an aggregate",
        "Prints a JSON line for each event or void marker in the events table, for each parked record and each dedup "
        "record. Whether an event was published is not stored; a dedup record proves that it was delivered. An "
        "aggregate's event is stored under it: name it, or --scan the table. Exits with 1 if nothing is found.",
        "dynamo-outbox show 01a207bd-aa3b-774b-9ac1-f03e77d21b9c --aggregate Book#Mort --table books-events",
        _show,
    )
    show.add_argument("event_id", nargs="?", help="default: all events of the aggregate")
    show.add_argument("--aggregate", metavar="TYPE#ID", help="the event's aggregate")
    show.add_argument("--scan", action="store_true", help="read the whole events table, which costs its read units")
    show.add_argument("--table", required=True, help=f"the events table: {TABLE_HELP}")
    show.add_argument("--parking", metavar="TABLE", help="the parking table; all of it is read")
    show.add_argument("--dedup", metavar="TABLE", help="the table of an IdempotencyStore")
    show.add_argument("--consumer", action="append", default=[], help="an inbox's consumer, or a scope without key=")

    settle = add_command(
        commands,
        "settle",
        "determine whether a transaction was committed; if not, make it void",
        "Reads the text of CommitUnknownError.to_json(), or the event in any form that decode reads. Puts a void "
        "marker in the event's place if the event is not there. Exits with 1 if the outcome can't be determined. A log "
        "line does not have the event: look for its event_id with show.",
        "dynamo-outbox settle books-events unknown.json --yes",
        _settle,
    )
    settle.add_argument("table", help=f"the events table: {TABLE_HELP}")
    settle.add_argument("file", nargs="?", default="-", help="the document's path; default: - (standard input)")
    settle.add_argument("--ttl-hours", type=partial(whole_number, 25), default=168, help="the outbox's; default: 168")

    resolve = add_command(
        commands,
        "resolve",
        "end a call whose outcome is unknown (UnknownOutcomeError)",
        "Takes key and token of the error, after you have checked the effect. Prints the record, asks, and stores the "
        "result for duplicates or, with --forget, lets the next call run. Exits with 1 if the call is over.",
        "dynamo-outbox resolve payments-dedup 'call#charge#Shop#4711' 5f0c… --result '{\"charged\": true}'",
        _resolve,
    )
    resolve.add_argument("table", help=f"the store's table: {TABLE_HELP}")
    resolve.add_argument("key", help="the error's key")
    resolve.add_argument("token", help="the error's token")
    how = resolve.add_mutually_exclusive_group(required=True)
    how.add_argument("--result", metavar="JSON", type=json.loads, help="the effect took place; duplicates get this")
    how.add_argument("--forget", action="store_true", help="the effect did not take place")
    for each in (settle, resolve):
        each.add_argument("--yes", action="store_true", help="don't ask")


@refusing
def _stats(known: argparse.Namespace) -> int:
    from ..operations.stored import parking_backlog, queue_backlog, relay_backlog

    kinds: Any = ((relay_backlog, known.relay), (parking_backlog, known.parking), (queue_backlog, known.queue))
    asked = [(backlog, name) for backlog, names in kinds for name in names]
    if not asked:
        raise UsageError("name at least one --relay, --parking or --queue")
    rows = []
    for backlog, name in asked:
        try:
            rows.append(backlog(name, datetime.now(UTC), clients=aws()))
        except Exception as error:
            if (text := explained(error)) is None:
                raise
            print(f"dynamo-outbox: {name}: {text}", file=sys.stderr)
    print_rows(rows)
    return 0 if len(rows) == len(asked) else FAILED


@refusing
def _show(known: argparse.Namespace) -> int:
    from ..codec.values import decode_item
    from ..operations.stored import dedup_records, event_items, parked_records

    if known.event_id is None and known.aggregate is None:
        raise UsageError("name an event's id, an --aggregate, or both")
    if bool(known.dedup) != bool(known.consumer):
        raise UsageError("--dedup and --consumer need each other")
    partition = None if known.scan else known.aggregate or known.event_id
    found = 0
    for found, item in enumerate(event_items(known.table, partition, known.event_id, clients=aws()), 1):  # noqa: B007
        if "outboxFormat" not in item:
            print_line(void=decode_item(item))
            continue
        for content in decoded_or_error(item):
            print(json_line(content), flush=True)
            if isinstance(content, Event):
                for consumer in known.consumer:
                    for record in dedup_records(known.dedup, consumer, content, clients=aws()):
                        print_line(dedup={"consumer": consumer, **decode_item(record)})
    if known.parking:
        for parked in parked_records(known.parking, known.event_id, known.aggregate, clients=aws()):
            print_line(parked={"order_key": parked.order_key, **about(parked)})
            found += 1
    if not found:
        print("dynamo-outbox: nothing found; name the event's --aggregate, or --scan the table", file=sys.stderr)
    return 0 if found else FAILED


@refusing
def _settle(known: argparse.Namespace) -> int:
    from ..operations.settling import settle

    [document, *others] = documents_in(known.file)
    is_error = isinstance(document, dict) and "proof" in document
    [uncertain, *more] = [json.dumps(document)] if is_error else decoded_or_error(document)
    if others or more or not isinstance(uncertain, (str, Event)):
        problem = uncertain if isinstance(uncertain, DecodeError) else "give one event, or one text of to_json()"
        raise UsageError(f"{known.file}: {problem}")
    question = f"If the event is not in {known.table}, a void marker takes its place for good. Go on?"
    if not confirm(question, yes=known.yes):
        return FAILED
    ttl = timedelta(hours=known.ttl_hours)
    print_line(committed=settle(known.table, uncertain, ttl=ttl, clients=aws()))
    return 0


@refusing
def _resolve(known: argparse.Namespace) -> int:
    from ..operations.settling import call_record, forget, resolve

    record = call_record(known.table, known.key, clients=aws())
    print(f"dynamo-outbox: the record is {json.dumps(record, default=str)}", file=sys.stderr)
    if not confirm("Release it, so that the next call runs?" if known.forget else "Store the result?", yes=known.yes):
        return FAILED
    call = (known.table, known.key, known.token)
    resolved = forget(*call, clients=aws()) if known.forget else resolve(*call, known.result, clients=aws())
    print_line(resolved=resolved)
    return 0 if resolved else FAILED
