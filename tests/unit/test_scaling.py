"""The simulation loses no event and keeps the order of each aggregate, and the page shows what it computes."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from benchmarks import scaling, scaling_picture
from benchmarks.report import markdown
from benchmarks.simulation import (
    SECOND,
    Bus,
    Chance,
    Lambda,
    Load,
    Outcome,
    Shard,
    Timing,
    Written,
    simulate,
    split,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCS = Path(__file__).resolve().parents[2] / "docs"
TIMING = Timing(batch=0.001, record=0.0001, call=0.001)


def disturbed(
    seed: int,
    *,
    rate: float = 20.0,
    poison: float = 0.02,
    crashes: float = 0.1,
    quota: float = 40.0,
    mapping: Lambda | None = None,
) -> Outcome:
    """Return the outcome of three shards, one of which is split, with everything that can go wrong."""
    chance = Chance(seed)
    load = Load(rate=rate, hot=0.3, others=20, poison=poison)
    written = [write(load, chance, seconds=10, name=str(number)) for number in range(3)]
    shards = [split(written[0], at=5), Shard(written[1]), Shard(written[2])]
    used = mapping or Lambda(crashes=crashes, stops=(3, 6))
    return simulate(shards, timing=TIMING, mapping=used, chance=chance, quota=quota)


def by_aggregate(events: Iterable[Written]) -> dict[str, list[Written]]:
    """Return the events of each aggregate in the order in which they were written."""
    found: dict[str, list[Written]] = {}
    for event in sorted(events, key=lambda each: each.time):
        found.setdefault(event.key, []).append(event)
    return found


SEEDS = st.integers(0, 10_000)
SHARES = st.sampled_from([0.0, 0.02, 0.1, 0.3])
QUOTAS = st.sampled_from([5.0, 20.0, 100.0, inf])


@settings(max_examples=12, deadline=None)
@given(SEEDS, SHARES, SHARES, QUOTAS)
def test_every_event_is_published_or_parked(seed: int, poison: float, crashes: float, quota: float) -> None:
    """No crash, throttling, stop, split or poison record loses an event; a poison event is parked, not published."""
    for event in disturbed(seed, poison=poison, crashes=crashes, quota=quota).events():
        assert event.published or event.parked
        if event.poison:
            assert event.parked
            assert not event.published


@settings(max_examples=12, deadline=None)
@given(SEEDS, SHARES, SHARES, QUOTAS)
def test_each_aggregate_is_in_order(seed: int, poison: float, crashes: float, quota: float) -> None:
    """An event is first published after all earlier ones of its aggregate; none follows one that is only parked."""
    outcome = disturbed(seed, poison=poison, crashes=crashes, quota=quota)
    for events in by_aggregate(outcome.events()).values():
        published = [event.published[0] if event.published else inf for event in events]
        assert published == sorted(published)
        times = [time for time in published if time < inf]
        assert len(set(times)) == len(times), "two events of an aggregate in one call"


def test_no_event_is_published_before_it_is_written() -> None:
    """A publication is later than the write."""
    outcome = disturbed(1)
    assert all(time > event.time for event in outcome.events() for time in event.published)


def test_the_same_seed_gives_the_same_result() -> None:
    """The outcome depends on the seed only."""
    one, same, other = ([(event.published, event.parked) for event in disturbed(seed).events()] for seed in (7, 7, 8))
    assert one == same
    assert one != other


def test_a_stopped_relay_publishes_nothing() -> None:
    """During a stop only calls of invocations that started before it reach the bus; the backlog follows."""
    mapping = Lambda(stops=(3, 6))
    outcome = disturbed(3, poison=0, quota=inf, mapping=mapping)
    times = [time / SECOND for event in outcome.events() for time in event.published]
    assert not [time for time in times if 4 < time < 6]
    assert outcome.duplicates() == 0
    assert 0 < outcome.recovery() < 5
    assert max(outcome.lags()) > 2.5


def test_a_crash_repeats_events_and_throttling_delays_them() -> None:
    """Duplicates come from crashes and from throttled calls; without them, each event is published once."""
    calm = disturbed(5, poison=0, crashes=0, quota=inf)
    assert (calm.duplicates(), calm.bus.throttled) == (0, 0)
    assert disturbed(5, poison=0, crashes=0.3, quota=inf).duplicates() > 0
    slow = disturbed(5, poison=0, crashes=0, quota=5)
    assert slow.bus.throttled > 0
    assert max(slow.lags()) > max(calm.lags())


def test_the_bus_admits_its_quota() -> None:
    """In any period the bus accepts its quota, and at most one second's calls more."""
    bus = Bus(10)
    accepted = sum(bus.admits(now) for now in range(0, 5 * SECOND, 1_000))
    assert accepted == bus.calls
    assert 59 <= accepted <= 60
    assert bus.throttled == 5_000 - accepted


def test_a_window_fills_calls() -> None:
    """With a batching window of 2 seconds the relay is invoked less often, and the median event waits a second more."""
    calm = disturbed(5, poison=0, quota=inf, mapping=Lambda())
    filled = disturbed(5, poison=0, quota=inf, mapping=Lambda(window=2))
    assert filled.invocations < calm.invocations / 2
    waited = [scaling.percentile(outcome.lags(), 0.5) for outcome in (calm, filled)]
    assert 0.5 < waited[1] - waited[0] < 1.5


def table(name: str) -> str:
    """Return a generated table of the page."""
    page = (DOCS / "how-far-it-scales.md").read_text(encoding="utf-8")
    return page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def test_the_page_shows_the_limits() -> None:
    """The tables of quotas are those of the script."""
    timing = scaling.TIMING
    limits = scaling.limits(timing.latency + timing.tail)
    assert table("limits") == markdown(("what", "a second", "source"), limits)
    for each in scaling.regions():
        assert row(*each) in table("regions")


def test_the_page_shows_what_the_simulation_computes() -> None:
    """Rows that are quick to compute are on the page; `make scaling ARGS=--write` updates all of them."""
    timing = scaling.TIMING
    for cells in scaling.relays(timing):
        assert row(*cells)[:-2] in table("relays")
    for mix in scaling.MIXES:
        load = scaling.LOADS[1]
        assert row(*scaling.lag_cells(mix, load, scaling.lag(mix, load, timing))) in table("lag")
    mix, rate = scaling.STOPS[-2]
    assert row(*scaling.stop_cells(mix, rate, scaling.stop(mix, rate, timing))) in table("stops")
    fleet = scaling.FLEETS[2]
    assert row(*scaling.fleet_cells(fleet, scaling.fleet(fleet, timing))) in table("fleets")


@pytest.mark.parametrize("number", [2, 4])
def test_the_simulation_agrees_with_the_relay(number: int) -> None:
    """The library's relay on the fakes publishes the same events at the same microsecond, as the page says."""
    cells = scaling.compared(scaling.COMPARISONS[number], scaling.TIMING)
    assert cells[-1] == "0 µs"
    for pair in cells[2:-1]:
        real, simulated = pair.split(" / ")
        assert real == simulated
    assert row(*cells) in table("compared")


def test_the_picture_has_a_title_and_its_curves() -> None:
    """The picture is XML with a title for screen readers, a style for dark mode and a line for each curve."""
    curves = [("one", [(10.0, 0.3), (500.0, 20.0)]), ("two & more", [(10.0, 0.2), (20.0, 0.1)])]
    svg = scaling_picture.picture(curves, curves[:1])
    tree = ElementTree.fromstring(svg)  # noqa: S314  # made above
    kinds = [element.tag.rpartition("}")[2] for element in tree.iter()]
    assert kinds.count("polyline") == 3
    assert "title" in kinds
    assert "prefers-color-scheme:dark" in svg
    shown = (DOCS / "how-far-it-scales.svg").read_text(encoding="utf-8")
    assert shown.count("<polyline") == len(scaling.MIXES) + len(scaling.STOPS)
