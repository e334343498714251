"""Mutations: each mechanism in turn is removed from a copy of the library, and its tests must fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..report import Row
from .harness import failures_of, patches, verdict

if TYPE_CHECKING:
    from ..report import Scale
    from .harness import Patch

__all__ = ["run"]

IN_SHORT = ("completion-condition", "outbox-condition", "publisher-failed-entries")


def run(scale: Scale) -> list[Row]:
    """Return a row for the unchanged library, and one for each mechanism."""
    chosen = [patch for name, patch in patches().items() if scale == "full" or name in IN_SHORT]
    tests = dict.fromkeys(test for patch in chosen for test in patch.fails)
    failed = failures_of(tests, {})
    outcome = "all pass" if not failed else f"fail: {', '.join(sorted(failed))}"
    whole = Row("the tests of all mechanisms pass", "nothing removed", len(tests), outcome, len(failed))
    with ThreadPoolExecutor(2) as two:
        return [whole, *two.map(_row, chosen)]


def _row(patch: Patch) -> Row:
    unnoticed = verdict(patch)
    outcome = "its tests fail" if not unnoticed else f"{patch.claim}: not tested by {', '.join(sorted(unnoticed))}"
    claim = "tests fail when a mechanism is removed"
    return Row(claim, f"without {patch.takes_out}", len(patch.fails), outcome, lost=len(unnoticed))
