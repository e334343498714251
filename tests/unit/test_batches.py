"""Splitting events into PutEvents calls."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.publishing.batches import BatchPlan, is_final
from dynamo_outbox.publishing.classic_bus import MAX_ENTRIES, MAX_REQUEST_BYTES, ClassicBus, entry_size

CLASSIC = ClassicBus("books", None)


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[int, str | None, bool]]:
    """Return entries as size, order key, and whether the bus rejects them."""
    sizes = st.integers(0, 100) | st.integers(0, MAX_REQUEST_BYTES + 1) | st.sampled_from([MAX_REQUEST_BYTES - 1])
    return draw(st.lists(st.tuples(sizes, st.none() | st.sampled_from("abc"), st.booleans()), max_size=60))


@given(plan=plans())
def test_batches_are_the_input_minus_what_is_held_back_or_too_large(plan: list[tuple[int, str | None, bool]]) -> None:
    """Each entry has one outcome, batches keep order and limits, and no entry follows a failed one of its key."""
    sizes, keys = [size for size, _, _ in plan], [key for _, key, _ in plan]
    batches = BatchPlan(sizes, keys, CLASSIC)
    sent: list[int] = []
    failed: Counter[str | None] = Counter()
    while batch := batches.next_batch():
        assert len(batch) <= MAX_ENTRIES
        assert sum(sizes[position] for position in batch) < MAX_REQUEST_BYTES
        of_keys = [keys[position] for position in batch if keys[position] is not None]
        assert len(of_keys) == len(set(of_keys))
        assert not any(failed[key] for key in of_keys)
        sent += batch
        for position in batch:
            if plan[position][2]:
                batches.block(position)
                failed[keys[position]] += 1
    for key in set(keys):
        of_key = [position for position in sent if keys[position] == key]
        assert of_key == sorted(of_key)
    assert sorted(sent + batches.held_back + batches.too_large) == list(range(len(plan)))
    assert batches.too_large == [each for each in batches.too_large if sizes[each] >= MAX_REQUEST_BYTES]
    for position in batches.held_back:
        earlier = [each for each in range(position) if keys[each] == keys[position]]
        assert any(plan[each][2] or sizes[each] >= MAX_REQUEST_BYTES for each in earlier)


@pytest.mark.parametrize(
    ("sizes", "keys", "expected"),
    [
        ([], [], []),
        ([1] * 11, [None] * 11, [list(range(10)), [10]]),
        ([MAX_REQUEST_BYTES - 1, 0, 1], [None] * 3, [[0, 1], [2]]),
        ([MAX_REQUEST_BYTES - 2, 1, 1], [None] * 3, [[0, 1], [2]]),
        ([MAX_REQUEST_BYTES, 1], [None] * 2, [[1]]),
        ([1, 1, 1], ["a", "b", "a"], [[0, 1], [2]]),
        ([1, 1, 1], ["a", "a", "b"], [[0, 2], [1]]),
        ([1] * 20, [str(n // 2) for n in range(20)], [list(range(0, 20, 2)), list(range(1, 20, 2))]),
        ([1] * 302, ["a"] * 301 + ["b"], [[0, 301], *([n] for n in range(1, 301))]),
    ],
)
def test_a_batch_is_as_full_as_the_limits_allow(
    sizes: list[int], keys: list[str | None], expected: list[list[int]]
) -> None:
    """A call has at most 10 entries, less than 1 MB, and one entry per order key."""
    batches = BatchPlan(sizes, keys, CLASSIC)
    assert list(iter(batches.next_batch, [])) == expected


MIXES = {
    "one aggregate of 50 events, fifty of one": ([500] * 100, ["a"] * 50 + [str(n) for n in range(50)], 50),
    "fifty aggregates of one event, one of 50": ([500] * 100, [str(n) for n in range(50)] + ["a"] * 50, 50),
    "around 100 KB": ([95_000 + n % 7 * 2_000 for n in range(100)], [str(n) for n in range(100)], 10),
    "large and small in turn": ([700_000 if n % 2 else 300_000 for n in range(100)], [str(n) for n in range(100)], 50),
    "600 KB and 500 KB in turn": (
        [600_000 if n % 2 else 500_000 for n in range(100)],
        [str(n) for n in range(100)],
        75,
    ),
    "ten aggregates of ten": ([500] * 100, [str(n // 10) for n in range(100)], 10),
    "ten aggregates of a thousand": ([50] * 10_000, [str(n // 1000) for n in range(10_000)], 1000),
}
"""Sizes, ordering keys, and the number of calls that the limits allow at best."""


@pytest.mark.parametrize("mix", MIXES)
def test_calls_are_at_most_a_tenth_more_than_the_limits_require(mix: str) -> None:
    """Adversarial mixes of aggregates and sizes take nearly as few calls as any order could."""
    sizes, keys, best = MIXES[mix]
    plan = BatchPlan(sizes, keys, CLASSIC)
    calls = list(iter(plan.next_batch, []))
    assert best <= len(calls) <= 1.1 * best
    assert sorted(position for call in calls for position in call) == list(range(len(sizes)))


def test_a_failed_entry_holds_back_its_followers_and_no_others() -> None:
    """A failed entry holds back later entries of its order key only."""
    batches = BatchPlan([1] * 5, ["a", None, "a", "b", None], CLASSIC)
    assert batches.next_batch() == [0, 1, 3, 4]
    batches.block(0)
    batches.block(1)
    assert batches.next_batch() == []
    assert batches.held_back == [2]


def test_an_entry_that_is_too_large_holds_back_its_followers() -> None:
    """An oversized entry counts as failed and holds back later entries of its order key."""
    batches = BatchPlan([MAX_REQUEST_BYTES, 1], ["a", "a"], CLASSIC)
    assert batches.next_batch() == []
    assert (batches.too_large, batches.held_back) == ([0], [1])


def test_giving_up_leaves_what_had_no_turn() -> None:
    """`abandon` returns the entries not attempted, and there are no more batches."""
    batches = BatchPlan([1] * 12, [None] * 12, CLASSIC)
    batches.next_batch()
    assert batches.abandon() == [10, 11]
    assert batches.next_batch() == []


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ({}, 0),
        ({"Source": "abc", "DetailType": "de", "Detail": "{}"}, 7),
        ({"Detail": "é"}, 2),
        ({"Time": datetime(2026, 11, 23, tzinfo=UTC)}, 14),
        ({"Time": None}, 0),
        ({"Resources": ["ab", "ü"]}, 4),
        ({"EventBusName": "books"}, 0),
    ],
)
def test_an_entry_counts_as_aws_says(entry: dict[str, Any], size: int) -> None:
    """An entry's size is 14 bytes for Time plus the UTF-8 bytes of source, detail type, detail and resources."""
    assert entry_size(entry) == size


@pytest.mark.parametrize(
    ("code", "final"),
    [
        *((code, True) for code in ("AccessDeniedException", "InvalidAccountIdException", "InvalidArgument")),
        *((code, True) for code in ("MalformedDetail", "RedactionFailure", "NotAuthorizedForSourceException")),
        *((code, True) for code in ("NotAuthorizedForDetailTypeException", "EntryTooLarge")),
        *((code, False) for code in ("InternalFailure", "ThrottlingException", "SomethingNew")),
    ],
)
def test_what_is_not_known_to_be_final_is_worth_a_retry(code: str, *, final: bool) -> None:
    """Only documented error codes count as permanent."""
    assert is_final(code, None, CLASSIC.final_entry_codes) is final


@pytest.mark.parametrize("apart", [[0, 1], [1, 2], [1]])
def test_what_is_sent_apart_shares_no_call_with_what_is_before_or_behind(apart: list[int]) -> None:
    """An entry from a refused call is resent in its own call."""
    batches = BatchPlan([1, 1, 1], [None] * 3, CLASSIC, attempts=2)
    assert batches.next_batch() == [0, 1, 2]
    batches.separate(apart)
    others = [position for position in range(3) if position not in apart]
    assert batches.retry(others) == (others, [])
    batches.put_back(others)
    assert [batches.next_batch() for _ in range(3)] == [[0], [1], [2]]
