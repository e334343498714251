"""``make verify-aws``: check the library against real services in your own account.

Shows what it creates and what that costs, asks, deploys two stacks, observes, prints a table of what AWS documents,
what the library assumes and what was observed, and deletes everything, also after Ctrl-C or a failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamo_outbox.cli.frame import FAILED, INTERRUPTED, UsageError, aws, confirm, explained, print_rows, start_session
from dynamo_outbox.operations.cost import AS_OF, PRICES

from .custom_bus import BUS_FACTS, start_bus, why_no_bus
from .custom_bus_stack import bus_template
from .probes import FACTS, Row, Site, conserve, start
from .stack import StackError, bus_stack, create, created, delete, stack_template, upload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

UNITS = {"write": 16, "read": 8, "bus": 2, "invocation": 3, "duration": 2, "queue": 6}
"""Billed units for each counted event, rounded up; durations in GB-seconds."""
CUSTOM_BUS_GB = 0.03
"""Data sent by the probes of the Custom Event Bus, rounded up; most of it is for the largest request."""
START, END = "<!-- verified -->\n", "<!-- /verified -->"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="make verify-aws ARGS=…", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--region")
    parser.add_argument("--profile")
    parser.add_argument("--endpoint-url", help="a local engine")
    parser.add_argument("--events", type=int, default=1000, help="events that are counted; default: 1000")
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait for an answer; default: 300")
    parser.add_argument("--no-alarms", action="store_true", help="don't wait for the alarm of a stopped relay")
    parser.add_argument("--delete", metavar="STACK", help="only delete what an earlier run left")
    parser.add_argument("--write", metavar="PAGE", type=Path, help="update the table in this page")
    known = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a background job begins with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        start_session(known)
        if known.delete:
            delete(known.delete, aws())
            return 0
        return _verify(known)
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        text = str(error) if isinstance(error, StackError) else explained(error)
        if text is None:
            raise
        _say(text)
        return FAILED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _verify(known: argparse.Namespace) -> int:
    name = f"dynamo-outbox-verify-{os.urandom(4).hex()}"
    identity = aws()("sts").get_caller_identity()
    place = f"account {identity['Account']}, {aws()('sts').meta.region_name}"
    no_bus = why_no_bus(aws(), is_local=bool(known.endpoint_url))
    templates = {name: stack_template(), **({} if no_bus else {bus_stack(name): bus_template()})}
    _say(f"creates the stack {' and the stack '.join(templates)} and a bucket named {name} in {place}:")
    resources = [each for template in templates.values() for each in template["Resources"].values()]
    kinds = Counter(each["Type"].removeprefix("AWS::") for each in resources)
    _say(", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))
    _say(
        f"costs about {_dollars(known.events):.2f} dollars (list prices of us-east-1, {AS_OF}), and deletes everything"
    )
    if not confirm("Go on?", yes=known.yes):
        return FAILED
    try:
        ids, no_bus = _deploy(name, no_bus)
        options: Any = {"alarms": not known.no_alarms, "is_local": bool(known.endpoint_url), "no_bus": no_bus}
        site = Site(aws(), name, ids, known.patience, **options)
        _say("deployed; observing")
        start(site)
        rows = conserve(site, known.events)
        start_bus(site)
        rows += [fact.row(site) for fact in (*FACTS, *BUS_FACTS)]
    finally:
        _say(f"deleting; if this is interrupted, run `make verify-aws ARGS='--delete {name}'`")
        delete(name, aws())
        _say("deleted")
    print_rows(row._asdict() for row in rows)
    if known.write:
        before, _, rest = known.write.read_text(encoding="utf-8").partition(START)
        where = "a local engine, **not AWS**" if known.endpoint_url else f"AWS, {aws()('sts').meta.region_name}"
        text = before + START + page_block(rows, where, time.strftime("%Y-%m-%d")) + END + rest.partition(END)[2]
        known.write.write_text(text, encoding="utf-8")
    return 0 if all(row.holds for row in rows) else FAILED


def _deploy(name: str, no_bus: str) -> tuple[dict[str, str], str]:
    """Create both stacks; return the physical ids by logical id, and why the Custom Event Bus is missing, if so."""
    upload(name, aws())
    create(name, stack_template(), name, aws())
    if not no_bus:
        try:
            create(bus_stack(name), bus_template(), name, aws())
        except ClientError as error:  # the other facts don't depend on this stack
            no_bus = str(error)
    ids = created(name, aws())
    if not no_bus:
        try:
            ids |= created(bus_stack(name), aws())
        except StackError as error:
            no_bus = str(error)
    return ids, no_bus


def page_block(rows: Sequence[Row], where: str, day: str) -> str:
    """Return the page's part: where and when, and the table."""
    lines = [
        f"Run on {day} against {where}.",
        "",
        "| question | documented | assumed | observed |",
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row[:4]]
        cells[3] += "" if row.holds else " **Not as assumed.**"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _dollars(events: int) -> float:
    """Return an upper limit: the events, each fact's calls, and a month of each alarm and custom metric."""
    alarms = sum(each["Type"] == "AWS::CloudWatch::Alarm" for each in stack_template()["Resources"].values())
    per_event = sum(PRICES[name].each * units for name, units in UNITS.items())
    total: float = per_event * (events + 1000) + alarms * PRICES["alarm"].each / 30 + 6 * PRICES["metric"].each / 30
    return total + CUSTOM_BUS_GB * PRICES["custom in"].each


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be closed; what was deployed is deleted nevertheless
        print(f"verify-aws: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
