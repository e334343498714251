"""A shortened run of the inbox under interleaved, lost and late deliveries."""

from __future__ import annotations

from . import inbox_states


def test_an_inbox_handlers_effect_is_applied_once() -> None:
    """With any deliveries and faults, an effect is applied once, and a stale event is not handled after a later one."""
    plain, refusing = inbox_states.run("short")
    assert plain.runs > 100
    for outcome in ("handled", "answered as duplicate", "crashed", "interleaved", "failed", "refused by the handler"):
        assert outcome in plain.outcome, f"outcome not met: {outcome}"
    assert "stale" in refusing.outcome
