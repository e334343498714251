"""A shortened run of commits under lost and late requests."""

from __future__ import annotations

from . import commit_states


def test_what_a_caller_is_told_of_a_commit_is_so_and_stays_so() -> None:
    """A reported outcome stays true, whichever requests are lost or late."""
    (row,) = commit_states.run("short")
    assert row.runs > 100
    outcomes = {"committed", "refused", "void", "unknown", "crashed", "settled later"}
    assert set(commit_states.CommitStates.outcomes) == outcomes, "an outcome was not met"
