"""The comparison's table agrees with the current counts."""

from __future__ import annotations

import pytest

from . import cells, committed, run, table
from .faults import FAULTS
from .world import World

OBSERVED = cells(("hand_made", "ours"))
COMMITTED = [[cell.strip() for cell in line.split("|")[1:-1]] for line in committed().splitlines()[2:]]


def test_the_page_has_a_row_for_every_fault() -> None:
    """The page lists exactly the faults that are tried."""
    assert [row[0] for row in COMMITTED] == [fault.name for fault in FAULTS]


@pytest.mark.parametrize("row", COMMITTED, ids=lambda row: row[0])
def test_the_page_says_what_is_counted(row: list[str]) -> None:
    """The page's columns for the outbox by hand and for this library agree with the counts."""
    name, by_hand, powertools, ours = row
    assert OBSERVED[name] == {"hand_made": by_hand, "ours": ours}
    assert powertools[0] in "✓✗—"


def test_this_library_withstands_every_fault() -> None:
    """This library loses and repeats nothing in any row of the comparison."""
    assert [row.fault for row in run("short") if row.lost] == []


def test_the_observer_tells_right_from_wrong() -> None:
    """An extra sale and a missing announcement are reported as wrong."""
    world = World()
    world.sell()
    assert str(world.sales(events=None)) == "✓ 1 of 1 sold"
    assert str(world.sales()) == "✗ 1 of 1 sold, 0 of 1 announced"
    world.sell()
    assert str(world.sales(events=None)) == "✗ 2 of 1 sold"


def test_the_table_is_markdown() -> None:
    """The table has a heading and a line for each fault."""
    lines = table({"a fault": {"hand_made": "—", "powertools": "✗ b", "ours": "✓ c"}}).splitlines()
    assert lines[-1] == "| a fault | — | ✗ b | ✓ c |"
