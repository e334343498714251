"""Calls with one key in every order of steps, in the shortened run."""

from __future__ import annotations

from hypothesis import settings

from .idempotency_states import EXAMPLES, IdempotencyStates, run, settings_for
from .report import holds

TestIdempotencyStates = IdempotencyStates.TestCase
TestIdempotencyStates.settings = settings(settings_for("short"), max_examples=EXAMPLES["short"], derandomize=False)


def test_every_fault_is_met() -> None:
    """The shortened run comes past each fault that the proof speaks of."""
    rows = run("short")
    assert holds(rows)
    assert {row.fault for row in rows} == {
        "claim whose answer comes late",
        "claim whose answer never comes",
        "ending whose answer comes late",
        "ending whose answer never comes",
        "late copy of a request",
        "late ending",
        "settled by hand",
        "takeover",
        "time to live over",
        "vanished holder",
    }
