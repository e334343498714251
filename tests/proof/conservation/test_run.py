"""A shortened run of the conservation proof."""

from __future__ import annotations

import pytest

from . import run


@pytest.mark.engine
def test_nothing_is_lost_and_nothing_is_applied_twice() -> None:
    """With faults in every request's way and processes killed in the middle, what is counted agrees in the end."""
    rows = run("short")
    assert [(row.claim, row.lost, row.twice) for row in rows if row.lost or row.twice] == []
    assert all(row.runs for row in rows)
