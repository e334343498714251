"""The tables of the proof, and its command's exit status."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from .__main__ import main
from .report import Row, table, written

if TYPE_CHECKING:
    from .report import Scale


def part(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> list[Scale]:
    """Register a part that returns these rows; return the list of scales with which it is run."""
    scales: list[Scale] = []

    def run(scale: Scale) -> list[Row]:
        scales.append(scale)
        return list(rows)

    module = ModuleType("tests.proof.scripted")
    setattr(module, "run", run)  # noqa: B010  # a module's names are not known to the type checker
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return scales


def test_the_table_lines_up_in_columns() -> None:
    """Text is aligned left and numbers are aligned right."""
    rows = [Row("events", "response lost", 1200, "settled"), Row("effects once", "kill", 3, "ran again", 0, 12)]
    assert table(rows).splitlines() == [
        "claim         fault           runs  outcome    lost  twice",
        "events        response lost  1,200  settled       0      0",
        "effects once  kill               3  ran again     0     12",
    ]


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([Row("a", "b", 1, "c")], 0),
        ([Row("a", "b", 1, "c"), Row("a", "b", 1, "c", lost=1)], 1),
        ([Row("a", "b", 1, "c", twice=1), Row("a", "b", 1, "c")], 1),
        ([Row("a", "b", 0, "c")], 1),
        ([], 1),
    ],
)
def test_the_command_fails_when_a_claim_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: list[Row], status: int
) -> None:
    """The exit status is 1 if something was lost or applied twice, or nothing was tried; the table is printed."""
    part(monkeypatch, *rows)
    assert main(["scripted"]) == status
    assert capsys.readouterr().out == f"{table(rows)}\n"


@pytest.mark.parametrize(("arguments", "scale"), [([], "full"), (["--scale", "short"], "short")])
def test_the_scale_is_full_by_default(monkeypatch: pytest.MonkeyPatch, arguments: list[str], scale: str) -> None:
    """Each part receives the scale, by default the full one."""
    scales = part(monkeypatch, Row("a", "b", 1, "c"))
    main([*arguments, "scripted"])
    assert scales == [scale]


def test_the_rows_are_written_between_their_markers() -> None:
    """The table replaces an older one; the rest of the page is kept."""
    page = "before\n<!-- proved -->\nold\n<!-- /proved -->\nafter\n"
    new = written(page, [Row("once", "kills", 1234, "all well")])
    assert new.startswith("before\n<!-- proved -->\n| claim |")
    assert new.endswith("| once | kills | 1,234 | all well | 0 | 0 |\n<!-- /proved -->\nafter\n")
    assert written(new, [Row("once", "kills", 1234, "all well")]) == new


def test_the_page_has_one_line_for_each_claim() -> None:
    """Runs and failures are summed; up to three faults and outcomes are listed, and more faults are counted."""
    few = [Row("few", "kill", 1000, "held", lost=1), Row("few", "reset", 2, "held", twice=3)]
    many = [Row("many", f"fault {number}", 1, f"outcome {number}") for number in range(4)]
    lines = written("<!-- proved -->\n<!-- /proved -->", [few[0], *many, few[1]]).splitlines()
    assert lines[3:-1] == ["| few | kill; reset | 1,002 | held | 1 | 3 |", "| many | 4 kinds | 4 | — | 0 | 0 |"]
