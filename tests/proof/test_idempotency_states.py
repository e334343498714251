"""A shortened run of calls with one key, in any order of steps."""

from __future__ import annotations

from hypothesis import settings

from .idempotency_states import EXAMPLES, IdempotencyStates, run, settings_for
from .report import holds

TestIdempotencyStates = IdempotencyStates.TestCase
TestIdempotencyStates.settings = settings(settings_for("short"), max_examples=EXAMPLES["short"], derandomize=False)


def test_every_fault_is_met() -> None:
    """The shortened run meets each fault of the proof."""
    rows = run("short")
    assert holds(rows)
    assert {row.fault for row in rows} == {
        "holder died",
        "late copy of a request",
        "late ending",
        "response to a claim comes late",
        "response to a claim never comes",
        "response to an ending comes late",
        "response to an ending never comes",
        "settled by hand",
        "takeover",
        "time to live ended",
    }
