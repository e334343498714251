"""The costs: units as DynamoDB bills them, totals that behave, and a page that shows what the script computes."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from benchmarks import cost_model, costs
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.operations import cost
from dynamo_outbox.pipes import outbox_pipe
from local.packaging import EXAMPLE
from local.stack import _TemplateLoader

SETUPS = st.sampled_from(cost_model.SETUPS)
KILOBYTES = st.floats(0.1, 390)
BATCHES = st.integers(1, 100)
CONDITIONS = {"outbox mode, pipe": "RelayIsPipe", "outbox mode, OutboxRelay": "RelayIsLambda", "CDC mode": None}
CLOSE = 1 + 1e-9
"""Tolerance for sums of floats."""


def template_of(stack: str) -> Any:
    name = "template.cdc.yaml" if stack == "CDC mode" else "template.yaml"
    return yaml.load((EXAMPLE / name).read_text(), _TemplateLoader)  # noqa: S506


def test_the_page_shows_what_the_script_computes() -> None:
    """Tables, findings and picture are those that the script writes."""
    page = costs.PAGE.read_text(encoding="utf-8")
    assert costs.page_with(page) == page, "run `make costs ARGS=--write` and commit the page"
    assert costs.PICTURE.read_text(encoding="utf-8") == costs.picture()


def test_the_command_prints_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --write the command prints each table and changes no file."""
    before = costs.PAGE.stat().st_mtime_ns
    assert costs.main([]) == 0
    printed = capsys.readouterr().out
    assert [name for name in costs.tables() if f"{name}\n" not in printed] == []
    assert costs.PAGE.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("kilobytes", "alone", "in_transaction"), [(0.2, 1, 2), (1, 1, 2), (1.01, 2, 4), (4, 4, 8), (30, 30, 60)]
)
def test_a_write_costs_a_unit_per_started_kb(kilobytes: float, alone: int, in_transaction: int) -> None:
    """An item costs one write unit per started KB, and two in a transaction."""
    assert cost.write_units(kilobytes, in_transaction=False) == alone
    assert cost.write_units(kilobytes, in_transaction=True) == in_transaction


@pytest.mark.parametrize(("kilobytes", "units"), [(0, 1), (4, 1), (4.1, 2), (30, 8)])
def test_a_consistent_read_costs_a_unit_per_started_4_kb(kilobytes: float, units: int) -> None:
    """A read costs at least one unit, even if the item does not exist."""
    assert cost_model.read_units(kilobytes) == units


def test_an_event_of_1_kb_costs_what_can_be_added_up_by_hand() -> None:
    """Entity and event cost four write units; the batch's read, requests, duration and log lines are added."""
    parts = cost_model.parts(cost_model.Setup(cost.OUTBOX_RELAY), 1, 100)
    assert parts["entity"] == parts["event item"] == pytest.approx(2 * 0.625)
    assert parts["bus"] == pytest.approx(1.00)
    milliseconds = 234  # 21 ms of CPU at 256 of 1,769 MB, and eleven calls of 8 ms, rounded up
    batch = 0.20 + 0.25 * milliseconds / 1000 * 16.6667 + 0.5 * 0.4
    assert parts["relay"] == pytest.approx(batch / 100 + 0.125)
    assert parts["storage"] == pytest.approx((0.25 + 0.20) * 9 / 30)
    assert parts["consumer's function"] == parts["effect and dedup record"] == 0


def test_cdc_mode_writes_the_entity_alone() -> None:
    """In CDC mode there is no event item, and the entity's write needs no transaction."""
    parts = cost_model.parts(cost_model.Setup(cost.PROCESSOR), 4)
    assert parts["entity"] == pytest.approx(4 * 0.625)
    assert parts["event item"] == parts["storage"] == 0


@pytest.mark.parametrize(("consumer", "units"), [(cost.INBOX, 4), (cost.IDEMPOTENT, 3), (cost_model.POWERTOOLS, 3)])
def test_a_consumers_first_call_costs_its_effect_and_two_units(consumer: cost.Consumer, units: int) -> None:
    """An inbox writes effect and record in a transaction; the others write the effect alone, and the record twice."""
    parts = cost_model.parts(cost_model.Setup(cost.OUTBOX_RELAY, consumer), 1)
    assert parts["effect and dedup record"] == pytest.approx(units * 0.625)


def test_a_conflict_costs_its_write_units() -> None:
    """A cancelled transaction of entity and event costs as much as one that succeeds."""
    parts = cost_model.parts(cost_model.Setup(cost.OUTBOX_RELAY), 4)
    assert cost_model.conflict_cost(cost.OUTBOX_RELAY, 4) == parts["entity"] + parts["event item"] > 0


def test_a_duplicate_costs_an_inbox_its_write_units_again() -> None:
    """A duplicate at an inbox is a cancelled transaction; at a decorator it is one refused update of any size."""
    inbox = [cost_model.duplicate_cost(cost.INBOX, size) for size in cost_model.SIZES]
    assert inbox == sorted(set(inbox))
    assert len({cost_model.duplicate_cost(cost.IDEMPOTENT, size) for size in cost_model.SIZES}) == 1


def test_a_pipe_bills_each_started_64_kb_of_a_batch() -> None:
    """Ten records of 1 KB fit into one request; ten of 30 KB need five."""
    assert cost.relay_cost(cost.PIPE, 1, 10) == pytest.approx(0.40 / 10)
    assert cost.relay_cost(cost.PIPE, 30, 10) == pytest.approx(0.40 * 5 / 10)
    assert cost.relay_cost(cost.PIPE, 1, 1) == pytest.approx(0.40)


def test_the_difference_to_the_hand_made_outbox_is_the_parking_table() -> None:
    """The library makes the same requests as the hand-made outbox, except for the parking table's read."""
    ours, by_hand = (cost_model.total(cost_model.Setup(relay), 1) for relay in (cost.OUTBOX_RELAY, cost_model.LOOP))
    assert ours - by_hand == pytest.approx(0.125, rel=0.05)


@given(setup=SETUPS, kilobytes=KILOBYTES, batch=BATCHES)
def test_no_cost_is_negative(setup: cost_model.Setup, kilobytes: float, batch: int) -> None:
    """Each part costs nothing or more, and the whole costs something."""
    assert min(cost_model.parts(setup, kilobytes, batch).values()) >= 0
    assert cost_model.total(setup, kilobytes, batch) > 0
    assert all(cost_model.duplicate_cost(consumer, kilobytes) > 0 for consumer in cost_model.CONSUMERS)
    assert all(cost_model.conflict_cost(relay, kilobytes) > 0 for relay in cost_model.RELAYS)
    assert all(cost_model.parked_cost(place, kilobytes) > 0 for place in ("ParkingTable", "ParkingQueue", "pipe"))


@given(setup=SETUPS, kilobytes=KILOBYTES, more=KILOBYTES, batch=BATCHES)
def test_cost_grows_with_size(setup: cost_model.Setup, kilobytes: float, more: float, batch: int) -> None:
    """A larger item never costs less, and an item that is at least a KB larger costs more."""
    small, large = cost_model.total(setup, kilobytes, batch), cost_model.total(setup, kilobytes + more, batch)
    assert small <= large * CLOSE
    assert more < 1 or small < large


@given(
    relay=st.sampled_from(cost_model.RELAYS), kilobytes=KILOBYTES, batch=st.integers(1, 10), times=st.integers(1, 10)
)
def test_cost_falls_with_batch_size(relay: cost.Relay, kilobytes: float, batch: int, times: int) -> None:
    """Several batches in one never cost more than apart."""
    together = min(batch * times, relay.most) // batch * batch or batch
    assert cost.relay_cost(relay, kilobytes, together) <= cost.relay_cost(relay, kilobytes, batch) * CLOSE


@pytest.mark.parametrize("relay", cost_model.RELAYS, ids=lambda relay: relay.name)
def test_batches_of_one_cost_the_most(relay: cost.Relay) -> None:
    """For each relay and size, ten records per batch cost less than one."""
    for size in cost_model.SIZES:
        assert cost.relay_cost(relay, size, 10) < cost.relay_cost(relay, size, 1)


def test_a_pipe_relays_batches_up_to_its_limit() -> None:
    """The pipe's largest batch is that of the library's definition; a larger one costs the same."""
    assert cost.PIPE.most == outbox_pipe().batch_size
    assert cost.relay_cost(cost.PIPE, 1, 100) == cost.relay_cost(cost.PIPE, 1, cost.PIPE.most)


def test_every_price_has_a_source_and_a_standing() -> None:
    """The table of prices shows a link, a date and a standing for each price."""
    headings, rows = costs.tables()["prices"]
    assert headings[-3:] == ("standing", "as known on", "source")
    assert len(rows) == len(cost.PRICES)
    assert all(standing and date and "](https://" in link for *_, standing, date, link in rows)


@pytest.mark.parametrize("stack", cost_model.ALARMS)
def test_an_idle_month_counts_the_templates_alarms(stack: str) -> None:
    """The number of alarms is that of the books example's template."""
    alarms = [each for each in template_of(stack)["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert cost_model.ALARMS[stack] == sum(each.get("Condition") in (None, CONDITIONS[stack]) for each in alarms)


@pytest.mark.parametrize("stack", cost_model.ALARMS)
def test_the_functions_memory_is_the_templates(stack: str) -> None:
    """The functions have as much memory as in the books example."""
    assert template_of(stack)["Globals"]["Function"]["MemorySize"] == cost.MEMORY_MB


def test_an_idle_pipe_costs_only_what_reads_the_stream() -> None:
    """A pipe is free while idle, unless AWS bills its reads: four a second for 30 days."""
    free, billed = (cost_model.idle_month("outbox mode, pipe", are_pipe_reads_billed=each) for each in (False, True))
    assert sum(free.values()) == pytest.approx(1.90)
    assert billed["reads of the stream"] == pytest.approx(4 * 86_400 * 30 * 0.02 / 100_000)


@pytest.mark.parametrize(
    ("size", "is_custom_bus", "millionth"),
    [(1, False, 1.0), (65_536, False, 1.0), (65_537, False, 2.0), (1, True, 0.18), (1_025, True, 0.36)],
)
def test_publishing_an_event_costs_its_started_chunks(size: int, millionth: float, *, is_custom_bus: bool) -> None:
    """A Classic bus bills each started 64 KB of an event, a Custom Event Bus each started KB."""
    price = cost.put_events_price(size, is_custom_bus=is_custom_bus)
    assert price == pytest.approx(millionth / 1_000_000)


def test_the_custom_bus_bills_each_kb() -> None:
    """Ingestion is billed once and delivery for each subscriber, per started KB."""
    assert cost.custom_bus_cost(0.5, 1) == cost.custom_bus_cost(1, 1) == pytest.approx(0.23)
    assert cost.custom_bus_cost(4, 3) == pytest.approx(1.32)


def test_the_picture_is_well_formed_and_says_its_numbers() -> None:
    """The picture has a title and a description with each bar's total, and a style for dark mode."""
    picture = costs.picture()
    root = ElementTree.fromstring(picture)  # noqa: S314  # our own picture
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    described = root.findtext(f"{space}desc") or ""
    assert described.count(" KB, ") == len(cost_model.SIZES) * 5
    assert "prefers-color-scheme:dark" in picture
