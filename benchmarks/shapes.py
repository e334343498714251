"""A million shapes of items, none of which was met before: what one costs stays, and so does what is remembered.

Inside the timed region: `decode_item` of items of ten attributes, each with one of four names and types, so that no two
have the same. It is a fresh interpreter that meets them, 5,000 at a time, which are made just before and outside of the
timed region. What they cost is divided by what it cost to make them: a machine that gets slower meanwhile is no growth.
A round is one such lot of each 100,000. Memory is the most that the process has had so far, all of it: were the shapes
kept, a few bytes for each would show.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from functools import cache
from itertools import islice, product
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from dynamo_outbox import decode_item

from .growth import Growth, Series
from .harness import SOURCE, collector_off

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["items", "rows"]

SHAPES, STEP, LOT = 1_000_000, 100_000, 5_000
ATTRIBUTES = 10
TYPED: tuple[dict[str, Any], ...] = ({"S": "text"}, {"N": "12.5"}, {"BOOL": True}, {"M": {"inner": {"S": "text"}}})


def items() -> Iterator[dict[str, Any]]:
    """Some more than a million typed items."""
    choices = [[(f"{'abcd'[kind]}{place}", typed) for kind, typed in enumerate(TYPED)] for place in range(ATTRIBUTES)]
    return map(dict, product(*choices))


class Lot(NamedTuple):
    """What 5,000 cost, as a multiple of making them, and the most memory that there has been."""

    cost: float
    memory: float


def lots() -> Iterator[Lot]:
    """Meet them all."""
    source = items()
    with collector_off():
        for _ in range(SHAPES // LOT):
            begin = process_time()
            lot = list(islice(source, LOT))
            made = process_time()
            for item in lot:
                decode_item(item)
            done = process_time()
            yield Lot((done - made) / (made - begin), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@cache
def measured() -> list[Lot]:
    """The lots that a fresh interpreter has met."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", __name__]
    ran = subprocess.run(command, env=environment, cwd=SOURCE.parent, capture_output=True, text=True, check=True)  # noqa: S603  # this module
    return [Lot(*lot) for lot in json.loads(ran.stdout)]


def costs() -> Series:
    """What so many would cost at the pace of then: by round, a lot of each 100,000."""
    steps = [measured()[at : at + STEP // LOT] for at in range(0, SHAPES // LOT, STEP // LOT)]
    return [
        {STEP * number: STEP * number * lot.cost for number, lot in enumerate(of_round, start=1)}
        for of_round in zip(*steps, strict=True)
    ]


def memory() -> Series:
    """What the process needs after so many: one round."""
    ends = measured()[STEP // LOT - 1 :: STEP // LOT]
    return [{STEP * number: lot.memory for number, lot in enumerate(ends, start=1)}]


def check() -> None:
    """Raises unless the items are as they are said to be."""
    first = list(islice(items(), LOT))
    if len({(*item, *(tag for typed in item.values() for tag in typed)) for item in first}) < LOT:
        raise AssertionError("two items have the same shape")
    if len(decode_item(first[-1])) != ATTRIBUTES:
        raise AssertionError("an item lacks an attribute")
    if len(TYPED) ** ATTRIBUTES < SHAPES:
        raise AssertionError("there are too few shapes")


def rows() -> list[Growth]:
    """Time and memory, of one run."""
    return [
        Growth(what="decode_item, each shape new", per="shapes met", check=check, series=costs),
        Growth(what="memory, each shape new", per="shapes met", claim=0, check=check, series=memory),
    ]


if __name__ == "__main__":
    print(json.dumps(list(lots())))
