"""The table of the proof, and what its command's exit status says."""

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
    """Makes a part that hands in these rows; returns the scales at which it will have been run."""
    scales: list[Scale] = []

    def run(scale: Scale) -> list[Row]:
        scales.append(scale)
        return list(rows)

    module = ModuleType("tests.proof.scripted")
    setattr(module, "run", run)  # noqa: B010  # a module's names are not known to the type checker
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return scales


def test_the_table_lines_up_in_columns() -> None:
    """Text stands to the left and numbers to the right, as wide as the widest."""
    rows = [Row("events", "answer lost", 1200, "settled"), Row("effects once", "kill", 3, "ran again", 0, 12)]
    assert table(rows).splitlines() == [
        "claim         fault         runs  outcome    lost  twice",
        "events        answer lost  1,200  settled       0      0",
        "effects once  kill             3  ran again     0     12",
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
    """The exit status is 1 when something was lost or applied twice, or nothing was tried; the table is printed."""
    part(monkeypatch, *rows)
    assert main(["scripted"]) == status
    assert capsys.readouterr().out == f"{table(rows)}\n"


@pytest.mark.parametrize(("arguments", "scale"), [([], "full"), (["--scale", "short"], "short")])
def test_the_scale_is_full_unless_told(monkeypatch: pytest.MonkeyPatch, arguments: list[str], scale: str) -> None:
    """Each part is told the scale, which is the full one by default."""
    scales = part(monkeypatch, Row("a", "b", 1, "c"))
    main([*arguments, "scripted"])
    assert scales == [scale]


def test_the_rows_are_written_between_their_markers() -> None:
    """A page keeps what stands around the table, and an older table goes."""
    page = "before\n<!-- proved -->\nold\n<!-- /proved -->\nafter\n"
    new = written(page, [Row("once", "kills", 1234, "all well")])
    assert new.startswith("before\n<!-- proved -->\n| claim |")
    assert new.endswith("| once | kills | 1,234 | all well | 0 | 0 |\n<!-- /proved -->\nafter\n")
    assert written(new, [Row("once", "kills", 1234, "all well")]) == new
