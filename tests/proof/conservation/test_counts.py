"""Whether the counts see what they are there to see."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from .counts import Counts, Told, rows

CLAIMS = ("change and event", "answer", "bus", "effect", "follow-up")
WHOLE = Counts(
    versions={"x": 2},
    sequences={"x": Counter([1, 2])},
    intents=Counter(["i1", "i2"]),
    events=frozenset({"e1", "e2"}),
    followed=Counter(["e1", "e2"]),
    followers=frozenset({"f1", "f2"}),
    voids=1,
    delivered=Counter(["e1", "e1", "e2", "f1", "f2"]),
    handled=frozenset({"e1", "e2"}),
    applied={"x": 2},
)


def wrong(counts: Counts, outcome: str = "committed") -> dict[str, tuple[int, int]]:
    """What is lost and what is there twice, of the claims that do not hold."""
    told = Told()
    told.take({"intent": "i1", "outcome": "committed"})
    told.take({"intent": "i2", "outcome": outcome})
    told.take({"intent": "i3", "outcome": "void"})
    told.take({"outcome": "poll failed"})
    found = rows(counts, told, fault="none")
    return {claim: (row.lost, row.twice) for claim, row in zip(CLAIMS, found, strict=True) if row.lost or row.twice}


def test_numbers_that_agree() -> None:
    """Deliveries may repeat, void markers are no events, and an outcome that was settled counts as one."""
    assert wrong(WHOLE) == {}
    assert wrong(WHOLE, "settled as committed") == {}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"versions": {"x": 3}, "applied": {"x": 3}}, {"change and event": (1, 0)}),
        ({"versions": {"x": 1}, "applied": {"x": 1}}, {"change and event": (0, 1)}),
        ({"versions": {}, "applied": {}}, {"change and event": (0, 2)}),
        ({"sequences": {"x": Counter([1, 1, 2])}}, {"change and event": (0, 1)}),
        ({"sequences": {"x": Counter([1, 3])}}, {"change and event": (1, 1)}),
        ({"intents": Counter(["i1"])}, {"answer": (1, 0)}),
        ({"intents": Counter(["i1", "i2", "i2"])}, {"answer": (0, 1)}),
        ({"intents": Counter(["i1", "i2", "i3"])}, {"answer": (0, 1)}),
        ({"delivered": Counter(["e1", "e2", "f1"])}, {"bus": (1, 0)}),
        ({"applied": {"x": 1}}, {"effect": (1, 0)}),
        ({"applied": {"x": 3}}, {"effect": (0, 1)}),
        ({"applied": {"x": 2, "y": 1}}, {"effect": (0, 1)}),
        ({"followed": Counter(["e1"])}, {"follow-up": (1, 0)}),
        ({"followed": Counter(["e1", "e2", "e2"])}, {"follow-up": (0, 1)}),
        ({"handled": frozenset({"e1"})}, {"follow-up": (1, 0)}),
        ({"handled": frozenset({"e1", "e2", "e3"})}, {"follow-up": (0, 1)}),
    ],
)
def test_numbers_that_do_not_agree(changed: dict[str, Any], found: dict[str, tuple[int, int]]) -> None:
    """Each loss and each repetition is found, and under the claim that it breaks."""
    assert wrong(replace(WHOLE, **changed)) == found


def test_a_writer_that_was_told_nothing_was_written_and_was_lied_to() -> None:
    """A change that a writer was told is void, and that is there, breaks the claim."""
    assert wrong(WHOLE, "settled as void") == {"answer": (0, 1)}
