"""The counts detect losses and repetitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from .counts import Counts, Told, rows

CLAIMS = ("change and event", "answer", "bus", "effect", "follow-up")
WHOLE = Counts(
    versions={"x": range(1001, 1003)},
    sequences={"x": Counter([1001, 1002])},
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
    """Return losses and repetitions of the claims that do not hold."""
    told = Told()
    told.take({"intent": "i1", "outcome": "committed"})
    told.take({"intent": "i2", "outcome": outcome})
    told.take({"intent": "i3", "outcome": "void"})
    told.take({"outcome": "poll failed"})
    found = rows(counts, told, fault="none")
    return {claim: (row.lost, row.twice) for claim, row in zip(CLAIMS, found, strict=True) if row.lost or row.twice}


def test_numbers_that_agree() -> None:
    """Repeated deliveries and void markers are allowed, and a settled outcome counts as reported."""
    assert wrong(WHOLE) == {}
    assert wrong(WHOLE, "settled as committed") == {}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"versions": {"x": range(1001, 1004)}, "applied": {"x": 3}}, {"change and event": (1, 0)}),
        ({"versions": {"x": range(1001, 1002)}, "applied": {"x": 1}}, {"change and event": (0, 1)}),
        ({"versions": {}, "applied": {}}, {"change and event": (0, 2)}),
        ({"sequences": {"x": Counter([1001, 1001, 1002])}}, {"change and event": (0, 1)}),
        ({"sequences": {"x": Counter([1001, 1003])}}, {"change and event": (1, 1)}),
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
    """Each loss and each repetition is found under the claim that it breaks."""
    assert wrong(replace(WHOLE, **changed)) == found


def test_a_change_reported_as_void_but_written() -> None:
    """A change that is reported as void but is in the outbox breaks the claim."""
    assert wrong(WHOLE, "settled as void") == {"answer": (0, 1)}
