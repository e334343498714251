"""The comparison's table says what is counted today."""

from __future__ import annotations

import pytest

from . import cells, committed, run, table
from .faults import FAULTS
from .world import World

OBSERVED = cells(("hand_made", "ours"))
COMMITTED = [[cell.strip() for cell in line.split("|")[1:-1]] for line in committed().splitlines()[2:]]


def test_the_page_has_a_row_for_every_fault() -> None:
    """No fault is left out of the page, and none stands in it that isn't tried."""
    assert [row[0] for row in COMMITTED] == [fault.name for fault in FAULTS]


@pytest.mark.parametrize("row", COMMITTED, ids=lambda row: row[0])
def test_the_page_says_what_is_counted(row: list[str]) -> None:
    """What the page says of the outbox by hand and of this library is what comes of the fault now."""
    name, by_hand, powertools, ours = row
    assert OBSERVED[name] == {"hand_made": by_hand, "ours": ours}
    assert powertools[0] in "✓✗—"


def test_this_library_stands_every_fault() -> None:
    """Nothing lost, nothing twice, in every row of the comparison."""
    assert [row.fault for row in run("short") if row.lost] == []


def test_the_observer_tells_right_from_wrong() -> None:
    """A sale too many, or an announcement too few, is seen as such."""
    world = World()
    world.sell()
    assert str(world.sales(events=None)) == "✓ 1 of 1 sold"
    assert str(world.sales()) == "✗ 1 of 1 sold, 0 of 1 announced"
    world.sell()
    assert str(world.sales(events=None)) == "✗ 2 of 1 sold"


def test_the_table_is_markdown() -> None:
    """A line for each fault, under a heading."""
    lines = table({"a fault": {"hand_made": "—", "powertools": "✗ b", "ours": "✓ c"}}).splitlines()
    assert lines[-1] == "| a fault | — | ✗ b | ✓ c |"
