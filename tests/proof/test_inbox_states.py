"""The inbox under interleaved, lost and late deliveries, in a size that every test run can afford."""

from __future__ import annotations

from . import inbox_states


def test_an_inbox_handlers_effect_is_applied_once() -> None:
    """Whoever handles an event, how often and with whatever fate, its effect is there once, and no stale one after."""
    plain, refusing = inbox_states.run("short")
    assert plain.runs > 100
    for outcome in ("handled", "answered again", "crashed", "interleaved", "failed", "refused by the handler"):
        assert outcome in plain.outcome, f"no delivery was {outcome}"
    assert "stale" in refusing.outcome
