"""The commit proof under lost and late requests, in a size that every test run can afford."""

from __future__ import annotations

from . import commit_states


def test_what_a_caller_is_told_of_a_commit_is_so_and_stays_so() -> None:
    """Committed, refused, void or settled later: whatever requests are lost or late, what was told holds for ever."""
    (row,) = commit_states.run("short")
    assert row.runs > 100
    outcomes = {"committed", "refused", "void", "unknown", "crashed", "settled later"}
    assert set(commit_states.CommitStates.outcomes) == outcomes, "some outcome was never met"
