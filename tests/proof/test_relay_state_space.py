"""A shortened run of the relay's state space, and tests of its shard."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..doubles import FakeClock
from .relay_state_space import MODES, PLACES, Mode, Place, explore, run
from .report import holds
from .shard import Shard, Stream

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_everything_is_published_or_parked_and_in_order(mode: Mode, place: Place, seed: int) -> None:
    """With any faults and kills, nothing is lost, order is kept, and poison blocks no other aggregate."""
    explore(Random(seed), mode, place)  # noqa: S311  # not for secrets


def test_the_short_run_meets_every_fault() -> None:
    """The short run meets each kind of fault and loses nothing."""
    rows = run("short")
    assert holds(rows)
    assert {row.fault for row in rows} >= {
        "access denied",
        "call refused",
        "entry throttled",
        "killed after",
        "killed before",
        "little time left",
        "mapper failed",
        "poison record",
        "response lost",
    }


def record(number: str) -> dict[str, Any]:
    return {"dynamodb": {"SequenceNumber": number, "ApproximateCreationDateTime": FakeClock().now().timestamp()}}


def answering(*failed: str) -> Callable[[Any], Any]:
    return lambda _: {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def raising(_: Any) -> Any:
    raise ZeroDivisionError


def test_a_shard_moves_to_the_lowest_failed_number() -> None:
    """The lowest reported record and all later ones are redelivered; an unknown number fails the batch."""
    shard = Shard([record(number) for number in ("9", "10", "11", "12")])
    assert shard.deliver(answering("12", "10"), 4) == (4, 1)
    assert shard.deliver(answering("7"), 1) == (1, 0)
    assert [each["dynamodb"]["SequenceNumber"] for each in shard.pending] == ["10", "11", "12"]


def test_a_shard_halves_a_batch_that_fails() -> None:
    """After an exception half the batch is delivered; after a success, the full batch size returns."""
    shard = Shard([record(str(number)) for number in range(8)])
    assert [shard.deliver(raising, 8) for _ in range(3)] == [(8, 0), (4, 0), (2, 0)]
    assert [shard.deliver(answering(), 8) for _ in range(2)] == [(1, 1), (7, 7)]


def test_a_stream_shows_a_child_when_its_parent_is_drained() -> None:
    """Records after the split are readable only when those before it are done."""
    records = [record(str(number)) for number in range(4)]
    stream = Stream(records, 1, lambda each: int(each["dynamodb"]["SequenceNumber"]) % 2)
    parent, *children = stream.shards
    assert stream.open_shard(Random(1)) is parent  # noqa: S311  # not for secrets
    parent.deliver(answering(), 1)
    assert [[each["dynamodb"]["SequenceNumber"] for each in child.pending] for child in children] == [["2"], ["1", "3"]]
    assert all(child.is_open for child in children)


def test_a_shard_gives_up_by_age() -> None:
    """After 24 hours a record is dropped, read or not."""
    clock = FakeClock()
    shard = Shard([record("1")])
    shard.drop_old(clock.now())
    assert shard.pending
    clock.advance(timedelta(days=1))
    shard.drop_old(clock.now())
    assert not shard.pending
