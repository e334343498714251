"""A replay of 10,000 events whose process is killed again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .replay_kills import replay_and_kill

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

EVENTS, KILLS = 10_000, 6


@pytest.mark.parametrize("after_whole_waves", [True, False])
def test_a_killed_replay_loses_nothing_and_counts_its_doubles(tmp_path: Path, *, after_whole_waves: bool) -> None:
    """Each event arrives; so many as the command reports arrived twice if all in flight did, and otherwise fewer."""
    outcome = replay_and_kill(EVENTS, KILLS, tmp_path, after_whole_waves=after_whole_waves)
    report = outcome.report
    assert outcome.kills == KILLS
    assert set(outcome.arrived) == outcome.written
    assert report["sent"] + report["sent_before"] == EVENTS
    assert 0 < outcome.twice <= report["maybe_twice"]
    if after_whole_waves:
        assert outcome.twice == report["maybe_twice"]
