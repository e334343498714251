"""Each mechanism taken out of a copy of the library in turn: a test fails, or the claim rests on nothing."""

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
    """A row for each mechanism, behind one for the library as it is."""
    chosen = [patch for name, patch in patches().items() if scale == "full" or name in IN_SHORT]
    tests = dict.fromkeys(test for patch in chosen for test in patch.fails)
    failed = failures_of(tests, {})
    outcome = "all pass" if not failed else f"fail: {', '.join(sorted(failed))}"
    whole = Row("a test fails where a mechanism is taken out", "nothing taken out", len(tests), outcome, len(failed))
    with ThreadPoolExecutor(2) as two:
        return [whole, *two.map(_row, chosen)]


def _row(patch: Patch) -> Row:
    unnoticed = verdict(patch)
    outcome = "its tests fail" if not unnoticed else f"unnoticed by {', '.join(sorted(unnoticed))}"
    return Row(patch.claim, f"without {patch.takes_out}", len(patch.fails), outcome, lost=len(unnoticed))
