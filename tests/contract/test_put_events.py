"""PutEvents: refused requests, failed entries, and the order of the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import answered, outcome

if TYPE_CHECKING:
    from .engine import Engine

MAX_REQUEST_BYTES = 1_048_576


def entry(**changes: Any) -> dict[str, Any]:
    """Return a valid entry with changes; None omits a field."""
    sound = {"Source": "contract", "DetailType": "Told", "Detail": "{}"}
    return {name: value for name, value in {**sound, **changes}.items() if value is not None}


def sized(total: int) -> dict[str, Any]:
    """Return an entry of the given size, by AWS's formula."""
    rest = len("contract") + len("Told") + len('{"x": ""}')
    return entry(Detail='{"x": "' + "x" * (total - rest) + '"}')


@pytest.mark.parametrize(("count", "truth"), [(10, "ok"), (11, "invalid")])
def test_a_request_has_at_most_ten_entries(engine: Engine, count: int, truth: str) -> None:
    """The 11th entry makes the server refuse the request."""
    engine.holds(outcome(engine.events.put_events, Entries=[entry()] * count), truth)


@pytest.mark.parametrize(
    ("sizes", "truth"),
    [
        pytest.param([MAX_REQUEST_BYTES - 1], "ok", id="one below"),
        pytest.param([MAX_REQUEST_BYTES], "invalid", id="one at the limit"),
        pytest.param([MAX_REQUEST_BYTES // 2, MAX_REQUEST_BYTES // 2 - 1], "ok", id="two below"),
        pytest.param([MAX_REQUEST_BYTES // 2] * 2, "invalid", id="two at the limit"),
    ],
)
def test_a_request_is_smaller_than_1_mb(engine: Engine, sizes: list[int], truth: str) -> None:
    """A request is refused if the sum of the entries' sizes is 1 MB or more."""
    engine.holds(outcome(engine.events.put_events, Entries=[sized(size) for size in sizes]), truth)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"Time": "2026-11-23T09:30:00Z"}, id="Time"),
        pytest.param({"Resources": ["x" * 14]}, id="Resources"),
    ],
)
def test_time_and_resources_count_too(engine: Engine, more: dict[str, Any]) -> None:
    """Time counts as 14 bytes, and each resource counts with its size."""
    largest = sized(MAX_REQUEST_BYTES - 14)
    happened = [outcome(engine.events.put_events, Entries=[each]) for each in (largest, {**largest, **more})]
    engine.holds(happened, ["ok", "invalid"])


@pytest.mark.parametrize(
    ("changes", "truth"),
    [
        pytest.param({}, None, id="sound"),
        pytest.param({"Detail": "not JSON"}, "MalformedDetail", id="text"),
        pytest.param({"Detail": "[]"}, "MalformedDetail", id="list"),
        pytest.param({"Detail": "7"}, "MalformedDetail", id="number"),
        pytest.param({"Detail": "null"}, "MalformedDetail", id="null"),
        pytest.param({"Detail": '{"x": NaN}'}, "MalformedDetail", id="NaN"),
        pytest.param({"Detail": None}, "InvalidArgument", id="no Detail"),
        pytest.param({"Source": None}, "InvalidArgument", id="no Source"),
        pytest.param({"DetailType": None}, "InvalidArgument", id="no DetailType"),
        pytest.param({"Source": "aws.ec2"}, "NotAuthorizedForSourceException", id="aws"),
        pytest.param({"Source": "awsome"}, None, id="awsome"),
        pytest.param({"DetailType": "x" * 128}, None, id="128 characters"),
    ],
)
def test_one_bad_entry_fails_alone(engine: Engine, changes: dict[str, Any], truth: str | None) -> None:
    """Results are in the order of the entries: a bad entry has an error code, and the entries around it succeed."""
    happened, answer = answered(engine.events.put_events, Entries=[entry(), entry(**changes), entry()])
    observed = [result.get("ErrorCode") or ("EventId" in result) for result in answer.get("Entries", [])]
    engine.holds((happened, observed), ("ok", [True, truth or True, True]))
    assert answer.get("FailedEntryCount", 0) == sum(result is not True for result in observed)


def test_each_event_has_an_id_of_its_own(engine: Engine) -> None:
    """Equal entries are different events."""
    answer = engine.events.put_events(Entries=[entry()] * 3)
    engine.holds(len({result["EventId"] for result in answer["Entries"]}), 3)


def test_a_bus_that_is_not_there_takes_its_events_and_drops_them(engine: Engine) -> None:
    """The response for an unknown bus reports success."""
    happened, answer = answered(engine.events.put_events, Entries=[entry(EventBusName="contract-no-such-bus")])
    engine.holds((happened, ["EventId" in result for result in answer.get("Entries", [])]), ("ok", [True]))
