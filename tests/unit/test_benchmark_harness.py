"""The benchmarks' arithmetic. Costs are passed in; nothing is timed."""

from __future__ import annotations

import gc
from itertools import cycle
from math import comb, log2
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from benchmarks import growth_report, report
from benchmarks.__main__ import TURNS, run
from benchmarks.growth import Grown, Growth, by_size, grow, power
from benchmarks.harness import Benchmark, Measure, Result, alternate, collector_off, measure, spread_of, timed, timed_on

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1, 10, 100, 1_000, 10_000)


def costing(*costs: float) -> Measure:
    """Return a measure that yields these costs in turn, repeatedly."""
    following = cycle(costs)
    return lambda: next(following)


def noting(name: str, order: list[str]) -> Measure:
    """Return a measure that appends its name to `order` when it is taken."""

    def once() -> float:
        order.append(name)
        return 1.0

    return once


def benchmark(sense: Any = "≥", target: float = 2.0, **measures: Measure) -> Benchmark:
    """Return a benchmark of these measures."""
    return Benchmark(
        what="reading",
        against="a peer",
        target=target,
        sense=sense,
        measures=measures,
        check=lambda: None,
        lacks="nothing",
    )


def growth(cost: Callable[[int], float], claim: Any = 1) -> Grown:
    """Return the measured growth of a cost that depends on the size."""
    series = [{size: noise * cost(size) for size in SIZES} for noise in (1.0, 1.02, 0.98)]
    return grow(Growth(what="reading", per="records", claim=claim, check=lambda: None, series=lambda: series))


@pytest.mark.parametrize(("count", "low", "high"), [(6, 0, 5), (15, 3, 11), (21, 5, 15)])
def test_the_interval_is_of_the_ranks_that_hold_the_median(count: int, low: int, high: int) -> None:
    """The interval's ranks are those of the binomial tables, whatever the order of the values."""
    values = [float(value) for value in range(count)]
    assert spread_of([*values[::2], *values[1::2]]) == ((count - 1) / 2, low, high)


@pytest.mark.parametrize("count", range(6, 40))
def test_the_interval_is_the_narrowest_that_holds_the_median_with_95_percent(count: int) -> None:
    """At most 2.5 % lie outside on each side; with the next narrower rank it would be more."""
    _, low, high = spread_of([float(value) for value in range(count)])
    outside = [sum(comb(count, below) for below in range(rank + 1)) / 2**count for rank in range(count)]
    assert outside[int(low)] <= 0.025 < outside[int(low) + 1]
    assert high == count - 1 - low


def test_few_values_have_all_of_them_for_an_interval() -> None:
    """If there are too few values for a 95 % interval, it spans all of them."""
    assert spread_of([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_at_least_is_how_many_times_faster() -> None:
    """With ≥ the ratio is the peer's cost divided by ours."""
    assert measure(benchmark("≥", ours=costing(1), peer=costing(3))).got == 3


def test_at_most_is_a_part_of_the_peers_cost() -> None:
    """With ≤ the ratio is our cost divided by the peer's."""
    assert measure(benchmark("≤", ours=costing(1), peer=costing(4))).got == 0.25


def test_the_ratio_is_of_each_round() -> None:
    """The ratio is computed per round, so a machine that slows down does not change it."""
    slower = [float(round_) for round_ in range(1, 23)]
    result = measure(benchmark(ours=costing(*slower), peer=costing(*(2 * cost for cost in slower))))
    assert (result.got, result.low, result.high) == (2, 2, 2)


def test_a_ratio_of_its_own_takes_the_place_of_the_plain_one() -> None:
    """A benchmark's own `ratio` replaces the default one, for the floor too."""
    less_hand = Benchmark(
        what="deciding",
        against="a peer",
        target=0.1,
        sense="≤",
        measures={"ours": costing(12), "hand": costing(10), "peer": costing(18), "floor": costing(11)},
        check=lambda: None,
        ratio=lambda costs: (costs["ours"] - costs["hand"]) / (costs["peer"] - costs["hand"]),
    )
    result = measure(less_hand)
    assert (result.got, result.floor, result.above_floor) == (0.25, 0.125, 2)


@pytest.mark.parametrize(
    ("sense", "target", "ours", "floor", "met"),
    [
        ("≥", 2.0, 5.0, None, "yes"),
        ("≥", 2.1, 5.0, None, "no"),
        ("≥", 2.1, 5.0, 4.8, "floor"),
        ("≥", 2.1, 5.0, 4.7, "no"),
        ("≥", 2.0, 5.0, 1.0, "yes"),
        ("≤", 0.5, 5.0, None, "yes"),
        ("≤", 0.4, 5.0, None, "no"),
        ("≤", 0.4, 5.0, 4.8, "floor"),
        ("≤", 0.4, 5.0, 4.7, "no"),
    ],
)
def test_a_row_is_met_or_has_its_floor_or_neither(
    sense: str, target: float, ours: float, floor: float | None, met: str
) -> None:
    """A missed target counts as explained only within 5 % of the floor (the peer costs 10)."""
    measures = {"ours": costing(ours), "peer": costing(10)} | ({} if floor is None else {"floor": costing(floor)})
    assert measure(benchmark(sense, target, **measures)).met == met


def test_nothing_is_measured_where_the_contenders_do_different_work() -> None:
    """The check runs before the first measurement, and its exception is raised."""
    order: list[str] = []

    def check() -> None:
        raise AssertionError("different")

    row = Benchmark(what="", against="", target=1, sense="≥", measures={"ours": noting("ours", order)}, check=check)
    with pytest.raises(AssertionError, match="different"):
        measure(row)
    assert order == []


def orders(names: str, rounds: int) -> list[str]:
    """Return the orders in which the contenders run, after the warm-up round."""
    order: list[str] = []
    alternate({name: noting(name, order) for name in names}, rounds)
    text = "".join(order)
    assert text.startswith(names)
    return [text[at : at + len(names)] for at in range(len(names), len(text), len(names))]


def test_few_contenders_run_in_each_of_their_orders() -> None:
    """Two or three contenders run in all their orders, so that none is always first or always after the same one."""
    assert orders("ab", 4) == ["ab", "ba", "ab", "ba"]
    assert sorted(orders("abc", 6)) == ["abc", "acb", "bac", "bca", "cab", "cba"]


def test_of_many_contenders_each_is_the_first_in_turn() -> None:
    """With many contenders the order rotates."""
    assert orders("abcde", 3) == ["abcde", "bcdea", "cdeab"]


@pytest.mark.parametrize("measured", [timed, lambda work: timed_on(lambda: None, lambda _: work())])
def test_the_collector_is_off_while_timing_and_on_again(measured: Callable[[Any], Measure]) -> None:
    """The garbage collector is off during the timed region and on again after it."""
    seen: list[bool] = []
    measured(lambda: seen.append(gc.isenabled()))()
    assert seen == [False]
    assert gc.isenabled()


def test_the_collector_is_on_again_after_an_error() -> None:
    """The garbage collector is on again after the timed work raised."""

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        timed(fail)()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    """A garbage collector that was off before stays off."""
    gc.disable()
    try:
        with collector_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_there_is_when_the_rounds_begin_is_given_back_to_the_collector() -> None:
    """No object stays frozen for the garbage collector, also if a measurement raises."""
    costs = iter([1.0])  # enough for the warm-up round
    with pytest.raises(StopIteration):
        alternate({"ours": lambda: next(costs)}, 1)
    assert gc.get_freeze_count() == 0


def test_each_run_has_an_input_of_its_own_whose_making_is_not_timed() -> None:
    """Each run gets its own input, and creating the input is not timed."""
    now = [0.0]
    made: list[int] = []

    def make() -> int:
        now[0] += 100
        made.append(len(made))
        return made[-1]

    def work(subject: int) -> None:
        now[0] += 1 + subject

    assert timed_on(make, work, repeat=3, clock=lambda: now[0])() == (1 + 2 + 3) / 3
    assert made == [0, 1, 2]


def test_the_cost_is_of_one_run() -> None:
    """The cost is that of one run, however often the run is repeated."""
    now = [0.0]

    def work() -> None:
        now[0] += 2

    assert timed(work, repeat=5, clock=lambda: now[0])() == 2


@pytest.mark.parametrize(
    ("cost", "met"),
    [
        (lambda size: 3.0 * size, "yes"),
        (lambda size: 1_000 + 3.0 * size, "yes"),
        (lambda size: 3.0 * size + 0.00001 * size * size, "yes"),
        (lambda size: 3.0 * size + 0.001 * size * size, "no"),
        (lambda size: size * (1 + log2(size)), "no"),
        (lambda size: float(size * size), "no"),
    ],
    ids=["linear", "with a fixed part", "hardly bent", "bent at the end", "n log n", "quadratic"],
)
def test_linear_is_told_from_what_grows_faster(cost: Callable[[int], float], met: str) -> None:
    """A cost is linear if, at the end, ten times the size costs at most 12.6 times as much."""
    assert growth(cost).met == met


@pytest.mark.parametrize(("cost", "met"), [(lambda _: 5.0, "yes"), (lambda size: 1_000.0 + size, "no")])
def test_what_must_not_grow_is_held_to_that(cost: Callable[[int], float], met: str) -> None:
    """If a cost must not grow, ten times the size costs at most 1.26 times as much."""
    assert growth(cost, claim=0).met == met


def test_the_power_is_the_exponent() -> None:
    """The power is the exponent of the growth, measured from a tenth of the largest size on."""
    assert power({1: 77.0, 10: 100.0, 30: 5.0, 100: 10_000.0}) == pytest.approx(2)


def test_sizes_that_span_too_little_are_refused() -> None:
    """Sizes from 50 to 100 are refused: over so small a range, noise would dominate the exponent."""
    with pytest.raises(ValueError, match="empty"):
        power({50: 1.0, 100: 2.0})


def test_points_are_what_one_costs_as_a_multiple_of_the_smallest_sizes() -> None:
    """Points are the cost per unit relative to the smallest size; absolute times are not shown."""
    assert growth(lambda size: 4.0 + size).points == pytest.approx(
        {1: 1.0, 10: 0.28, 100: 0.208, 1_000: 0.2008, 10_000: 0.20008}
    )


def test_sizes_alternate_like_contenders() -> None:
    """A series by size holds each round's costs, without the warm-up round."""
    assert by_size({1: costing(1, 2, 3), 10: costing(10, 20, 30)}, rounds=2) == [{1: 2, 10: 20}, {1: 3, 10: 30}]


def test_a_table_goes_between_its_markers_and_nothing_else_changes() -> None:
    """A table replaces the text between its own markers and leaves other markers alone."""
    page = "before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nold\n<!-- /b -->\nafter\n"
    written = report.written(page, "b", "new\n")
    assert written == page.replace("<!-- b -->\nold", "<!-- b -->\nnew")
    assert report.written(written, "b", "new\n") == written


def test_a_page_without_the_markers_is_refused() -> None:
    """A page without the table's markers raises an error."""
    with pytest.raises(ValueError, match="no marker"):
        report.written("a page", "measured", "table")


def test_tables_have_a_row_for_each_result() -> None:
    """Each result has a row: numbers are right-aligned in Markdown, columns are aligned in the terminal."""
    result = Result(benchmark(), 2.5, 2.25, 2.75, floor=2.6, above_floor=1.04)
    row = ("reading", "a peer", "nothing", "≥ 2.00", "2.50 [2.25, 2.75]", "2.60 (+4%)", "yes")
    assert report.cells(result) == row
    lines = report.markdown(report.HEADINGS, [row]).splitlines()
    assert lines[1:] == ["| --- | --- | --- | --: | --: | --: | --- |", f"| {' | '.join(row)} |"]
    heading, line = report.columns(report.HEADINGS, [row]).splitlines()
    assert heading.index("target") == line.index("≥")


def test_growth_has_a_table_of_its_own() -> None:
    """A row of the growth table has the sizes, the allowed power and the measured one."""
    assert growth_report.cells(growth(lambda size: float(size))) == (
        "reading",
        "1 to 10,000 records",
        "1.10",
        "1.00 [1.00, 1.00]",
        "yes",
    )


@pytest.mark.parametrize("costs", [(1.0, 1.0), (1.0, 1e5), (1e5, 1.0), (0.001, 0.001)])
def test_the_pictures_are_well_formed_and_hold_all_within_them(costs: tuple[float, float]) -> None:
    """Text is escaped, and all marks are inside the picture, whatever the numbers are."""
    ours, peer = costs
    row = Benchmark(what="<&>", against="a & b", target=2, sense="≥", measures={}, check=lambda: None)
    result = Result(row, peer / ours, peer / ours / 2, peer / ours * 2)
    steep = growth(lambda size: float(size) ** 3)
    for picture in (report.plot([result]), growth_report.panels([growth(lambda size: float(size)), steep])):
        root = ElementTree.fromstring(picture)  # noqa: S314  # made by the report
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for element in root.iter():
            assert all(0 <= float(element.get(name, 0)) <= width for name in ("x", "x1", "x2", "cx"))
            assert all(0 <= float(element.get(name, 0)) <= height for name in ("y", "y1", "y2", "cy"))


def test_what_is_not_met_is_measured_again_and_all_its_rounds_count() -> None:
    """A missed target is measured again and all its rounds count; a reached target is measured once."""
    rounds, turns = 21, 0

    def ours() -> float:
        nonlocal turns
        turns += 1
        return 2.0 if turns <= rounds + 1 else 1.0

    unlucky, lucky = benchmark(ours=ours, peer=costing(2)), benchmark(ours=costing(1), peer=costing(2))
    results, _ = run([unlucky, lucky])
    assert [(each.met, len(each.rounds)) for each in results] == [("yes", 3 * rounds), ("yes", rounds)]


def test_what_is_never_met_ends() -> None:
    """Measuring stops after the last turn, for comparisons and for growth."""
    series = [{size: float(size**2) for size in SIZES}] * 4
    quadratic = Growth(what="reading", per="records", check=lambda: None, series=lambda: series)
    results, all_grown = run([benchmark(ours=costing(1), peer=costing(1)), quadratic])
    assert [(each.met, len(each.rounds)) for each in results] == [("no", TURNS * 21)]
    assert [(each.met, len(each.series)) for each in all_grown] == [("no", TURNS * 4)]
