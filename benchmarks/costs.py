"""Cost per million events as tables and a picture: ``python -m benchmarks.costs [--write]``.

Nothing is measured or requested here; the same prices always give the same page.
"""

from __future__ import annotations

import argparse
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from dynamo_outbox.operations.cost import (
    AS_OF,
    CALL_ENTRIES,
    CHUNK_KB,
    DEDUP_KB,
    DELETION_DAYS,
    EVENTBRIDGE_PRICES,
    FULL_CORE_MB,
    IDEMPOTENT,
    INBOX,
    LATENCY_MS,
    LOG_KB,
    MEMORY_MB,
    MONTH_DAYS,
    OUTBOX_DAYS,
    OUTBOX_RELAY,
    PARTS,
    PIPE,
    PRICES,
    PROCESSOR,
    RECORD_DAYS,
    RECORD_KB,
    bus_cost,
    consumer_units,
    custom_bus_cost,
    kept_cost,
    list_cost,
    relay_cost,
)

from .cost_model import (
    ALARMS,
    BATCHES,
    CONSUMERS,
    LOOP,
    MAPPING_METRICS,
    POLLS_PER_SECOND,
    POWERTOOLS,
    POWERTOOLS_DAYS,
    RELAYS,
    SETUPS,
    SIZES,
    Setup,
    conflict_cost,
    duplicate_cost,
    idle_month,
    parked_cost,
    parts,
    total,
)
from .report import columns, escaped, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["main", "page_with", "picture", "tables"]

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE_WIDTH = 158
PAGE, PICTURE = DOCS / "what-it-costs.md", DOCS / "what-it-costs.svg"

# --- Page ----------------------------------------------------------------------------------------------------------

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def money(dollars: float) -> str:
    """Return an amount in dollars and cents, with a third decimal below 10 cents."""
    if dollars == 0:
        return "$0"
    digits = 2 if dollars >= 0.0995 else 3
    return f"${Decimal(repr(dollars)).quantize(Decimal(10) ** -digits, ROUND_HALF_UP)}"


def _by_size(costs: Iterable[float]) -> tuple[str, ...]:
    return tuple(money(cost) for cost in costs)


_SIZED = tuple(f"{size} KB" for size in SIZES)


def _totals() -> Table:
    rows = [
        (
            setup.name,
            *(f"{money(total(setup, size))} ({total(setup, size) / total(setup.peer, size):.2f})" for size in SIZES),
        )
        for setup in SETUPS
    ]
    return ("setup", *_SIZED), rows


def _parts() -> Table:
    rows = [(setup.name, *_by_size(parts(setup, SIZES[0]).values())) for setup in DRAWN]
    return ("setup", *PARTS), rows


def _relays() -> Table:
    rows = [
        (
            relay.name,
            f"{size} KB",
            *(money(relay_cost(relay, size, batch)) if batch <= relay.most else "—" for batch in BATCHES),
        )
        for relay in RELAYS
        for size in SIZES
    ]
    return ("relay", "item", *(f"batch of {batch}" for batch in BATCHES)), rows


def _extras() -> Table:
    rows = [
        ("an event is published twice: the bus", *_by_size(bus_cost(size) for size in SIZES)),
        *(
            (f"a duplicate at {consumer.name}", *_by_size(duplicate_cost(consumer, size) for size in SIZES))
            for consumer in CONSUMERS
        ),
        (
            "a conflict: the cancelled transaction of entity and event",
            *_by_size(conflict_cost(OUTBOX_RELAY, size) for size in SIZES),
        ),
        (
            "a conflict in CDC mode: the refused write of the entity",
            *_by_size(conflict_cost(PROCESSOR, size) for size in SIZES),
        ),
        (
            "a conflict in an Inbox handler: the cancelled transaction of effect and dedup record",
            *_by_size(list_cost("write", consumer_units(INBOX, size)) for size in SIZES),
        ),
        *(
            (f"a record in {place}, and its redrive", *_by_size(parked_cost(place, size) for size in SIZES))
            for place in ("ParkingTable", "ParkingQueue")
        ),
        (
            "a pointer in a pipe's dead-letter queue, and the read of its item",
            *_by_size(parked_cost("pipe", size) for size in SIZES),
        ),
    ]
    return ("a million of these", *_SIZED), rows


def _idle() -> Table:
    months = [[idle_month(stack, are_pipe_reads_billed=billed) for billed in (False, True)] for stack in ALARMS]
    rows = [(name, *(_range(*(each[name] for each in month)) for month in months)) for name in months[0][0]]
    rows.append(("total", *(_range(*(sum(each.values()) for each in month)) for month in months)))
    return ("resource", *ALARMS), rows


def _range(least: float, most: float) -> str:
    return money(least) if least == most else f"{money(least)} to {money(most)}"


def _buses() -> Table:
    rows = [
        ("Classic, any number of rules", *_by_size(bus_cost(size) for size in SIZES)),
        *(
            (
                f"Custom, {count} subscriber{'s' * (count > 1)}",
                *_by_size(custom_bus_cost(size, count) for size in SIZES),
            )
            for count in (1, 3)
        ),
    ]
    return ("bus", *_SIZED), rows


def _prices() -> Table:
    rows: list[tuple[str, ...]] = []
    for price in PRICES.values():
        dollars = f"{price.dollars:.10f}".rstrip("0")
        dollars = dollars + "0" * max(0, 2 - len(dollars.partition(".")[2]))
        amount = price.unit if price.amount == 1 else f"{price.amount:,} {price.unit}"
        rows.append((price.what, f"${dollars}", amount, price.standing, AS_OF, f"[page]({price.source})"))
    return ("what", "price", "per", "standing", "as known on", "source"), rows


def _assumptions() -> Table:
    check = "assumption: check"
    measured = f"measured on {AS_OF} (medians, one core)"
    transactions = "[AWS](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html)"
    memory = "[AWS](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)"
    classic = f"[AWS]({EVENTBRIDGE_PRICES})"
    cpu = ", ".join(f"{relay.name} {relay.call_ms:g} + {relay.kb_ms:g}" for relay in RELAYS if relay.call_ms)
    consumers = ", ".join(f"{each.name} {each.cpu_ms:g}" for each in CONSUMERS)
    calls = ", ".join(f"{each.name} {each.calls}" for each in CONSUMERS)
    rows: list[tuple[str, ...]] = [
        ("entity, event item, event on the bus, effect", "one of each per event, all of the size in the table", check),
        ("write units in a transaction", "2 per started KB and item, also if it is cancelled", transactions),
        ("other write units", "1 per started KB, also if the condition fails", check),
        ("read units, consistent", "1 per started 4 KB", check),
        ("Lambda's reads of the stream, TTL deletions", "free", check),
        ("a pipe's reads of the stream", "not included; see the idle month", check),
        ("pipe request", f"a batch, per started {CHUNK_KB} KB; at most {PIPE.most} records", check),
        ("an event that a pipe puts on the bus", "billed as any other", check),
        ("functions, pipes, buses, queues and Lambda's polling without traffic", "free", check),
        ("Classic bus", f"per started {CHUNK_KB} KB; targets in the same account are free", classic),
        ("stream record, and an event made by a pipe", f"{RECORD_KB} KB larger than the item", check),
        ("functions' memory", f"{MEMORY_MB} MB, {MEMORY_MB / FULL_CORE_MB:.0%} of a core", memory),
        ("CPU ms on a full core, per batch + per KB", cpu, measured),
        ("CPU ms on a full core, first call of a consumer", consumers, measured),
        ("each AWS call", f"{LATENCY_MS} ms, one after another", check),
        ("calls of a relay", f"PutEvents by {CALL_ENTRIES}; with a parking table one more per batch", "the code"),
        ("calls of a consumer", calls, "the code"),
        ("parking table while nothing is parked", "1 read unit per record: each of its own aggregate", "the code"),
        ("log lines of Lambda", f"{LOG_KB:g} KB per invocation", check),
        ("outbox items are kept", f"{OUTBOX_DAYS} days, then {DELETION_DAYS} until TTL deletes them", check),
        (
            "dedup records are kept",
            f"{RECORD_DAYS} days, Powertools' 1 hour, then {DELETION_DAYS} days; {DEDUP_KB:g} KB",
            check,
        ),
        ("parked records", "not compressed, each of its own aggregate and in its own request", check),
        ("idle month", f"{MONTH_DAYS} days; a pipe reads a shard {POLLS_PER_SECOND} times a second", check),
        ("metrics of an event source mapping", f"{MAPPING_METRICS} custom metrics", check),
    ]
    return ("what", "value", "basis"), rows


def _findings() -> list[str]:
    small, large = SIZES[0], SIZES[-1]
    added = total(Setup(OUTBOX_RELAY), small) - total(Setup(LOOP), small)
    inbox = [total(Setup(OUTBOX_RELAY, INBOX), size) - total(Setup(OUTBOX_RELAY, IDEMPOTENT), size) for size in SIZES]
    saved = [total(Setup(OUTBOX_RELAY), size) - total(Setup(PROCESSOR), size) for size in SIZES]
    alone, full = (relay_cost(OUTBOX_RELAY, small, batch) for batch in (1, 100))
    share = parts(Setup(OUTBOX_RELAY), small)["bus"] / total(Setup(OUTBOX_RELAY), small)
    big = parts(Setup(OUTBOX_RELAY), large)
    writes = (big["entity"] + big["event item"]) / sum(big.values())
    reads = idle_month("outbox mode, pipe", are_pipe_reads_billed=True)["reads of the stream"]
    pipe = total(Setup(PIPE), small) - total(Setup(OUTBOX_RELAY), small)
    ttl = kept_cost(DEDUP_KB, RECORD_DAYS) - kept_cost(DEDUP_KB, POWERTOOLS_DAYS)
    return [
        f"At {small} KB, outbox mode with the relay costs {_difference(added)} than the hand-made outbox, for the "
        "read of the parking table. `ParkingQueue` does not need this read.",
        f"`idempotent` costs {_difference(ttl)} than Powertools, because its records are kept for {RECORD_DAYS} "
        "days by default.",
        f"`Inbox` costs {_listed([_difference(each) for each in inbox])} than `idempotent` at {_listed(_SIZED)}. "
        "A transaction doubles the effect's write units, but the handler makes one call instead of three.",
        f"At {small} KB, a pipe (batches of {PIPE.most}) costs {_difference(pipe)} than the relay "
        f"(batches of {max(BATCHES)}).",
        f"CDC mode needs neither an event item nor a transaction. It costs {_difference(-saved[0])} than outbox mode "
        f"at {small} KB, and {_difference(-saved[-1])} at {large} KB.",
        f"At {small} KB, the relay costs {money(alone)} with batches of 1 and {money(full)} with batches of 100.",
        f"Without a consumer, the bus is {share:.0%} of the cost at {small} KB. At {large} KB, the write units of "
        f"entity and event are {writes:.0%}.",
        f"If AWS bills a pipe's reads of the stream, each shard costs up to {money(reads)} a month more, idle or not.",
    ]


def _difference(dollars: float) -> str:
    return f"{money(abs(dollars))} {'less' if dollars < 0 else 'more'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tables() -> dict[str, Table]:
    """Return the tables of the page by the names of their markers."""
    return {
        "totals": _totals(),
        "parts": _parts(),
        "relays": _relays(),
        "extras": _extras(),
        "idle": _idle(),
        "buses": _buses(),
        "prices": _prices(),
        "assumptions": _assumptions(),
    }


def page_with(page: str) -> str:
    """Return the page with its marked tables and findings computed again."""
    for name, (headings, rows) in tables().items():
        page = written(page, name, _markdown(headings, rows))
    page = written(page, "picture", f"![{_alternative()}]({PICTURE.name})\n")
    return written(page, "findings", "".join(map(_bullet, _findings())))


def _alternative() -> str:
    """Return the picture in a sentence for each size."""
    said = []
    for size in SIZES:
        cost = parts(DRAWN[0], size)
        whole = sum(cost.values())
        writes = (cost["entity"] + cost["event item"] + cost["effect and dedup record"]) / whole
        said.append(f"At {size} KB, write units are {writes:.0%} and the bus is {cost['bus'] / whole:.0%}.")
    return fill(f"Shares of the cost with {DRAWN[0].name}, and four other setups. {' '.join(said)}", PAGE_WIDTH)


def _bullet(text: str) -> str:
    return fill(text, PAGE_WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns that hold only amounts are aligned right."""
    cells = list(zip(*rows, strict=True))
    rules = ["--:" if all(cell[:1] in "$—" for cell in column) else "---" for column in cells]
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, rules, *rows))


# --- Picture -------------------------------------------------------------------------------------------------------

DRAWN = (
    Setup(OUTBOX_RELAY, INBOX),
    Setup(OUTBOX_RELAY, IDEMPOTENT),
    Setup(PIPE, INBOX),
    Setup(PROCESSOR, INBOX),
    Setup(LOOP, POWERTOOLS),
)
"""The setups in the picture."""
COLOURS = ("#7fb3e6", "#3f8fd9", "#f2a93b", "#e2725b", "#b58be0", "#5fb878", "#a8b0b8")
"""One for each part: readable with dark text, on light and dark pages."""
STYLE = (
    "text{font:13px sans-serif;fill:#57606a}.head{font-weight:bold}.in{font-size:11px;fill:#0d1117}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.in{fill:#0d1117}}"
)
LEFT, WIDTH, RIGHT, BAR, STEP = 250, 480, 80, 20, 26
LABELLED = 0.07
"""Smallest share that is labelled in its bar."""


def picture() -> str:
    """Return an SVG of the parts' shares, a group of bars for each size, with the same in words."""
    lines, y = _legend()
    words = []
    for size in SIZES:
        lines.append(f'<text class="head" x="0" y="{y + 16}">{size} KB</text>')
        y += STEP
        for setup in DRAWN:
            shares = parts(setup, size)
            whole = sum(shares.values())
            lines += _bar(setup.name, {name: cost / whole for name, cost in shares.items()}, whole, y)
            said = ", ".join(f"{name} {cost / whole:.0%}" for name, cost in shares.items() if cost)
            words.append(f"{size} KB, {setup.name}, {money(whole)}: {said}.")
            y += STEP
        y += 8
    across = LEFT + WIDTH + RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across}" height="{y}" viewBox="0 0 {across} {y}" '
        'role="img" aria-labelledby="title desc"><title id="title">Shares of the cost per million events</title>'
        f'<desc id="desc">{escaped(" ".join(words))}</desc><style>{STYLE}</style>'
    )
    return "\n".join([head, *lines, "</svg>\n"])


def _legend() -> tuple[list[str], int]:
    """Return the legend in two rows, and the height below it."""
    lines = []
    for position, (name, colour) in enumerate(zip(PARTS, COLOURS, strict=True)):
        x, y = position % 4 * 195, position // 4 * 22
        lines += [
            f'<rect x="{x}" y="{y + 2}" width="14" height="14" fill="{colour}"/>',
            f'<text x="{x + 20}" y="{y + 14}">{escaped(name)}</text>',
        ]
    return lines, 52


def _bar(name: str, shares: Mapping[str, float], whole: float, y: int) -> list[str]:
    lines = [f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escaped(name)}</text>']
    x = float(LEFT)
    for share, colour in zip(shares.values(), COLOURS, strict=True):
        width = share * WIDTH
        if width > 0:
            shown = max(width - 1, 0.5)
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{shown:.1f}" height="{BAR}" fill="{colour}"/>')
        if share >= LABELLED:
            middle = x + width / 2
            lines.append(f'<text class="in" x="{middle:.1f}" y="{y + 14}" text-anchor="middle">{share:.0%}</text>')
        x += width
    lines.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + 15}">{money(whole)}</text>')
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; with ``--write``, also write them and the picture to the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="also write the tables and the picture to docs")
    given = parser.parse_args(arguments)
    print("\n\n".join(f"{name}\n{columns(*table)}" for name, table in tables().items()), end="\n\n")
    print("\n".join(_findings()))
    if given.write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
