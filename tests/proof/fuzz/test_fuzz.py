"""A short run of the fuzzer: the corpus, damaged samples, and Hypothesis' inputs."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.errors import DecodeError

from ...strategies import damaged, dynamodb_items, json_values
from . import executions, growth, targets
from .executions import CORPUS, mutated_samples, replayed_corpus
from .growth import FAMILIES, GROWTH, growth_of, within_a_cpu_budget
from .payloads import payload_of, revived
from .samples import BOMBS, samples
from .targets import TARGETS, exercise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHOLE = samples()


@pytest.fixture(autouse=True)
def _nothing_is_logged() -> Iterator[None]:
    """Disable logging: pytest reports log messages, and pytest-xdist can't transport an unpaired surrogate."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", WHOLE)
def test_every_sample_is_read_by_the_targets_that_it_is_for(name: str) -> None:
    """Each sample passes the first check: at least two targets read it without an error."""
    read = []
    for target in TARGETS.values():
        try:
            target(revived(WHOLE[name]))
        except DecodeError:
            continue
        read.append(target)
    assert len(read) >= 2


@given(data=st.data(), name=st.sampled_from(sorted(WHOLE)))
def test_damaged_samples_end_in_documented_errors(data: st.DataObject, name: str) -> None:
    """A sample with a part removed or replaced is read or raises DecodeError."""
    exercise(revived(data.draw(damaged(WHOLE[name] if isinstance(WHOLE[name], dict) else {"Records": WHOLE[name]}))))


@given(payload=json_values | dynamodb_items)
def test_any_value_ends_in_documented_errors(payload: Any) -> None:
    """A value that is not an event is read or raises DecodeError."""
    exercise(payload)


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: json.dumps(bomb)[:40])
def test_bombs_end_in_documented_errors(bomb: Any) -> None:
    """Nesting, digits, escapes and unpaired surrogates, alone or inside records and events, raise only DecodeError."""
    for payload in (bomb, _in_image(bomb), _in_event(bomb), _in_body(bomb)):
        exercise(revived(payload))


def _in_image(bomb: Any) -> Any:
    record = WHOLE["stream_of_events_table_record"]
    images = {"NewImage": {**record["dynamodb"]["NewImage"], "eventData": {"S": bomb}, "a": bomb}, "Keys": {"a": bomb}}
    return {"Records": [{**record, "dynamodb": {**record["dynamodb"], **images}}, {**record, "eventID": bomb}]}


def _in_event(bomb: Any) -> Any:
    event = WHOLE["eventbridge_from_relay"]
    return {**event, "detail": {"metadata": {**event["detail"]["metadata"], "context": bomb}, "data": {"a": bomb}}}


def _in_body(bomb: Any) -> Any:
    return {"Records": [{"messageId": "1", "body": bomb}, {"messageId": "2", "body": {"$text": bomb}}]}


def test_the_corpus_is_kept_and_small() -> None:
    """The corpus exists, its inputs are distinct and at most 8 KB, and each is read or raises DecodeError."""
    contents = [path.read_bytes() for path in CORPUS.iterdir()]
    assert len(set(contents)) == len(contents) >= 50
    assert max(map(len, contents)) <= 8192
    assert replayed_corpus().runs == len(contents)


def test_samples_are_damaged_without_undocumented_errors() -> None:
    """200 of the full proof's structure-aware mutations raise no undocumented error."""
    row = mutated_samples(200)
    assert (row.runs, row.lost, row.outcome) == (200, 0, "read, or DecodeError")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_steps_grow_as_the_input_does(family: str) -> None:
    """Twice the input takes at most about twice the steps."""
    assert max(growth_of(FAMILIES[family], 1)) <= GROWTH


def test_inputs_of_size_are_read_within_a_limit_of_the_processs_cpu() -> None:
    """C code within a step is not quadratic in the input either; one digit pattern once was."""
    row = within_a_cpu_budget(100_000)
    assert (row.runs, row.lost, row.outcome) == (len(FAMILIES), 0, "read in time")


def test_an_undocumented_error_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception other than DecodeError counts as lost, by its name."""

    def fault(_payload: object) -> None:
        raise KeyError("a")

    monkeypatch.setattr(executions, "exercise", fault)
    row = mutated_samples(3)
    assert (row.lost, row.outcome) == (3, "undocumented: {'KeyError': 3}")


def test_an_undocumented_error_goes_through_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target's exception is not swallowed unless it is a DecodeError."""

    def broken(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr(targets, "decode_item", broken)
    with pytest.raises(RecursionError):
        exercise({})


def once(payload: list[str]) -> int:
    return sum(1 for _ in payload)


def in_nested_loops(payload: list[str]) -> int:
    return sum(1 for _ in payload for _ in payload)


def with_a_text_for_each(payload: list[str]) -> None:
    for index in range(len(payload)):
        str.upper(_same("a" * len(payload) + str(index)))


def _same(text: str) -> str:
    return text


@pytest.mark.parametrize(("work", "is_linear"), [(once, True), (in_nested_loops, False), (with_a_text_for_each, False)])
def test_quadratic_work_is_detected(
    work: Callable[[list[str]], Any], *, is_linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step count distinguishes linear from quadratic work, in loops and in text."""
    monkeypatch.setattr(growth, "exercise", work)
    assert (max(growth_of(lambda n: ["a"] * n, 1)) <= GROWTH) is is_linear


def test_an_input_is_its_json_with_instructions_carried_out() -> None:
    """Instructions become the values that they describe; other text is unchanged."""
    data = b'{"a": {"$bytes": "00"}, "b": {"$deep": ["L", 1]}, "c": {"$text": {"d": 1}}, "e": {"$repeat": ["x", 3]}}'
    assert payload_of(data) == {"a": b"\0", "b": {"L": [[]]}, "c": '{"d": 1}', "e": "xxx"}
    assert (payload_of(b"{"), payload_of(b'"\xed\xa0\x80"'), payload_of(b"\xff")) == ("{", "\ud800", "ff")
    assert revived({"$int": [9, 3]}) == 999
    assert revived({"$bytes": "no"}) == {"$bytes": "no"}
