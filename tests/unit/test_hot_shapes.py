"""Readers that are written for shapes met again and again: the same as the reader for any, and a bounded number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo_outbox import decode_item
from dynamo_outbox.core import hot_shapes, shape_code, values
from dynamo_outbox.core.fast_values import read_map
from dynamo_outbox.core.hot_shapes import MOST_NAMES, MOST_READERS, SAMPLED, SAMPLES, WINDOW, HotShapes
from dynamo_outbox.core.shape_code import MOST_LOOPS, bounded, merged, reader_of, shape_of, weight
from dynamo_outbox.core.values import decode_plainly, encode_plainly
from dynamo_outbox.errors import DecodeError
from tests.strategies import damaged, dynamodb_items
from tests.unit.test_fast_values import outcome, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGHTINGS = SAMPLED * SAMPLES
NAMES = ["pk", "it's", '"}', "\\", "\n", "é", "\ud800", "{0}", "read", "x1"]
typed_values = dynamodb_items.filter(bool).map(lambda item: next(iter(encode_plainly(item).values())))
items_of_like_names = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, typed_values)), min_size=2, max_size=3)
)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> HotShapes:
    """Those that `decode_item` learns, none as yet."""
    fresh = HotShapes()
    monkeypatch.setattr(values, "_shapes", fresh)
    return fresh


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape is hot when it is met for the first time."""
    monkeypatch.setattr(hot_shapes, "SAMPLED", 1)
    monkeypatch.setattr(hot_shapes, "SAMPLES", 1)


def plain(item: dict[str, Any]) -> bool:
    """Whether the reader for any takes it; a number with an exponent it doesn't."""
    try:
        read_map(item, 0)
    except Exception:
        return False
    return True


@given(items_of_like_names)
def test_a_reader_reads_its_shape_and_no_other(items: list[dict[str, Any]]) -> None:
    """What a reader lets through is what the reader for any gives; and it reads all the items that made its shape."""
    items = [item for item in items if plain(item)]
    if not items:
        return
    alone = reader_of(shape_of({"M": items[0]}))
    assert shown(alone(items[0])) == shown(read_map(items[0], 0))
    shape = shape_of({"M": items[0]})
    for item in items:
        assert read_or_raise(alone, item) in (None, shown(read_map(item, 0)))
        shape = merged(shape, shape_of({"M": item}))
    common = reader_of(shape)
    for item in items:
        assert shown(common(item)) == shown(read_map(item, 0))


def read_or_raise(reader: Callable[[Any], Any], item: Any) -> object:
    """What a reader gives, or None where it raises."""
    try:
        return shown(reader(item))
    except Exception:
        return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items_of_like_names, st.data())
@pytest.mark.usefixtures("eager")
def test_what_a_shape_taught_changes_nothing(items: list[dict[str, Any]], data: st.DataObject) -> None:
    """Items, well formed and not, come out of the decoder as its plain path has them, whatever it has learnt."""
    before, values._shapes = values._shapes, HotShapes()
    try:
        for item in items * 2:
            assert outcome(decode_item, item) == outcome(decode_plainly, item)
            broken = data.draw(damaged(item))
            assert outcome(decode_item, broken) == outcome(decode_plainly, broken)
    finally:
        values._shapes = before


def every_typed_value(typed: Any) -> Iterator[dict[str, Any]]:
    """A typed value, and those in it."""
    yield typed
    ((tag, value),) = list(typed.items())[:1]
    for member in value if tag == "L" else value.values() if tag == "M" else ():
        yield from every_typed_value(member)


def test_a_second_tag_is_seen_wherever_it_is(shapes: HotShapes) -> None:
    """An item of a hot shape with one more tag on any of its values is refused as by the plain path."""
    typed = item(
        year=1965, open=True, none=None, tags={"a"}, ratings={1}, cover=b"x", prices=[1, 2], people=[{"name": "Frank"}]
    )
    for _ in range(SIGHTINGS):
        decode_item(typed)
    assert reader_for(shapes, typed)
    for value in every_typed_value({"M": typed}):
        if value == {"M": typed}:
            continue
        value["X"] = "another"
        assert outcome(decode_item, typed) == outcome(decode_plainly, typed)
        assert outcome(decode_item, typed)[0] is DecodeError
        del value["X"]
    assert decode_item(typed) == read_map(typed, 0)


def item(**attributes: object) -> dict[str, Any]:
    return encode_plainly({"pk": "Book#1", **attributes})


def reader_for(shapes: HotShapes, typed: dict[str, Any]) -> object:
    """The reader that this item's shape has of its own."""
    return shapes._by_names.get(tuple(typed))


def test_a_shape_is_hot_after_some_64_sightings(shapes: HotShapes) -> None:
    """A reader is written for a shape once it has been met that often, and not before."""
    typed = item(name="Dune", year=1965)
    for _ in range(SIGHTINGS - 1):
        decode_item(typed)
    assert reader_for(shapes, typed) is None
    decode_item(typed)
    assert reader_for(shapes, typed) is shapes.readers[3]
    assert decode_item(typed) == read_map(typed, 0)


def test_keys_and_images_in_turn_are_both_found_hot(shapes: HotShapes) -> None:
    """The count isn't misled by shapes that come in turn."""
    key, image = item(), item(name="Dune")
    for _ in range(2 * SIGHTINGS):
        decode_item(key)
        decode_item(image)
    assert reader_for(shapes, key)
    assert reader_for(shapes, image)


def test_a_rare_shape_stays_cold(shapes: HotShapes) -> None:
    """A shape of less than a fiftieth of all items gets no reader, however long it is met."""
    rare = item(rare=True)
    for number in range(100 * SAMPLED * 20):
        decode_item(rare if number % (100 * SAMPLED) == SAMPLED - 1 else item(**{f"other{number % 1000}": 1}))
    assert reader_for(shapes, rare) is None


def test_shapes_of_as_many_attributes_are_told_apart(shapes: HotShapes) -> None:
    """Where a reader meets another shape, each finds its own from then on."""
    books, authors = item(title="Dune", pages=412), item(name="Frank Herbert", born=1920)
    for _ in range(SIGHTINGS):
        decode_item(books)
    for _ in range(1 + SIGHTINGS):
        assert decode_item(authors) == read_map(authors, 0)
    assert reader_for(shapes, books) is not reader_for(shapes, authors) is not None
    assert shapes.readers[3] not in (reader_for(shapes, books), reader_for(shapes, authors))
    assert decode_item(books) == read_map(books, 0)


@pytest.mark.usefixtures("shapes")
def test_a_reader_learns_what_it_gave_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item of a known shape that differs in kind somewhere makes the reader take its like, the earlier ones too."""
    first, second = item(note=None, lines=[]), item(note="new", lines=[{"sku": "a"}])
    for _ in range(SIGHTINGS):
        decode_item(first)
    decode_item(second)
    monkeypatch.setattr(values, "read_map", None)  # so that only a reader can read
    assert decode_item(second) == read_map(second, 0)
    assert decode_item(first) == read_map(first, 0)


@pytest.mark.usefixtures("eager")
def test_items_that_vary_too_much_lose_their_reader(shapes: HotShapes) -> None:
    """A shape whose items go on differing is left to the reader for any: writing ends."""
    names = [f"attribute{number}" for number in range(12)]
    for number in range(12):
        typed = item(**{name: "text" if position >= number else number for position, name in enumerate(names)})
        assert decode_item(typed) == read_map(typed, 0)
        decode_item(item(**dict.fromkeys(names, "text")))
    assert reader_for(shapes, typed) is None
    times = shapes._written[tuple(typed)][0]
    decode_item(typed)
    assert shapes._written[tuple(typed)][0] == times == hot_shapes.MOST_WRITINGS + 1


@pytest.mark.usefixtures("eager")
def test_what_is_remembered_is_bounded(shapes: HotShapes) -> None:
    """However many shapes there are, a bounded number of names and readers is kept."""
    for number in range(MOST_READERS * 2 + WINDOW):
        decode_item({f"attribute{number}": {"S": "text"}})
    assert len(shapes._by_names) == len(shapes._written) == MOST_READERS
    assert len(shapes._counted) <= WINDOW


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "wide", [{f"a{number}": {"S": "x"} for number in range(MOST_NAMES + 1)}, {"n" * 3000: {"S": "x"}}]
)
def test_an_item_with_too_much_to_remember_gets_no_reader(shapes: HotShapes, wide: dict[str, Any]) -> None:
    """Many attributes, or long names, are read by the reader for any."""
    assert decode_item(wide) == decode_item(wide) == read_map(wide, 0)
    assert not shapes._written


def test_what_lies_deep_in_a_heavy_shape_is_left_out() -> None:
    """A shape with more in it than a reader may hold keeps its attributes only."""
    heavy = item(name="Dune", index={f"word{number}": [number] for number in range(500)})
    shape = bounded(shape_of({"M": heavy}))
    assert weight(shape) < 200
    assert shown(reader_of(shape)(heavy)) == shown(read_map(heavy, 0))


@pytest.mark.parametrize("levels", [MOST_LOOPS, MOST_LOOPS + 1, 25, 31])
def test_lists_in_lists_are_read_at_any_depth(levels: int) -> None:
    """More lists in one another than Python nests loops are read all the same."""
    value: Any = {"N": "1"}
    for _ in range(levels):
        value = {"L": [value]}
    typed = {"attribute": value}
    assert reader_of(shape_of({"M": typed}))(typed) == read_map(typed, 0)


def test_an_endless_value_where_a_list_belongs_is_refused() -> None:
    """What is no list is refused before it is walked through."""

    def endless() -> Iterator[dict[str, str]]:
        while True:
            yield {"S": "text"}

    reader = reader_of(shape_of({"M": item(tags=["a"])}))
    with pytest.raises(Exception, match=r"^$"):
        reader({"pk": {"S": "1"}, "tags": {"L": endless()}})


class Tag(StrEnum):
    S = "S"


@pytest.mark.usefixtures("eager", "shapes")
def test_a_tag_of_a_subclass_of_text_is_not_written_into_code() -> None:
    """A tag that equals one, but isn't plain text, is left to the reader for any."""
    typed: dict[str, Any] = {"a": {Tag.S: "x"}, "b": {"S": "y"}}
    assert decode_item(typed) == decode_item(typed) == {"a": "x", "b": "y"}


@pytest.mark.usefixtures("eager")
def test_an_item_in_another_order_makes_the_reader_more_general(shapes: HotShapes) -> None:
    """What is met in another order and differs in kind widens the shape; its reader stays."""
    first, second = item(name="Dune", note="new"), item(note=None, name="Dune")
    decode_item(first)
    decode_item(second)
    assert reader_for(shapes, first) is shapes.readers[3]
    assert shapes._written[tuple(first)][0] == 2
    assert decode_item(second) == read_map(second, 0)


@pytest.mark.usefixtures("eager")
def test_of_two_orders_each_has_its_reader_widened(shapes: HotShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both orders of the same names have readers, an item widens that of its own order."""
    one, other, third = item(name="Dune", note="new"), item(note="new", name="Dune"), item(title="Dune", pages=412)
    for typed in (one, third, third, other):  # of as many attributes, so that all are told apart by their names
        decode_item(typed)
    assert len(shapes._by_names) == 3
    changed = item(note=None, name="Dune")
    decode_item(changed)
    assert shapes._written[tuple(other)][0] == 2
    assert shapes._written[tuple(one)][0] == 1
    monkeypatch.setattr(values, "read_map", None)  # so that only a reader can read
    assert decode_item(changed) == read_map(changed, 0)


@pytest.mark.usefixtures("eager")
def test_one_thread_writes_at_a_time(shapes: HotShapes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader is written, no other thread puts another one in its place."""
    held: list[bool] = []

    def written(shape: Any) -> Any:
        held.append(shapes._writing.locked())
        return reader_of(shape)

    monkeypatch.setattr(shape_code, "reader_of", written)
    decode_item(item(name="Dune"))
    decode_item(item(name=None))
    assert held == [True, True]


@pytest.mark.parametrize("method", ["sample", "gave_up"])
def test_learning_never_fails_a_read(shapes: HotShapes, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item is read although what learns from it raises."""
    typed = item(name="Dune")
    if method == "gave_up":
        for _ in range(SIGHTINGS):
            decode_item(typed)
        typed = item(name=None)

    def fail(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(HotShapes, method, fail)
    shapes.unsampled = 1
    assert decode_item(typed) == read_map(typed, 0)


def test_threads_learn_together(shapes: HotShapes) -> None:
    """Threads that read the same shapes at once, while readers are written and widened, all read what is there."""
    kinds = [item(name="Dune"), item(name=None), item(year=1965), item(name=["a", "b"])]
    expected = [read_map(each, 0) for each in kinds]

    def read(_: int) -> bool:
        return all([decode_item(each) for each in kinds] == expected for _ in range(SIGHTINGS))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert reader_for(shapes, kinds[0])
