"""The definition of an outbox's infrastructure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dynamo_outbox.operations.definition import MEANINGS, NUMBERS, Consumer, Infrastructure
from dynamo_outbox.pipes import outbox_pipe

STREAM = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026-11-01T08:00:00.123"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"name": "1st"}, "name='1st' must have 1 to 40 letters, digits and hyphens"),
        ({"stream_arn": "orders"}, "stream_arn='orders' is not the ARN of a table's stream"),
        ({"consumers": (Consumer("A"), Consumer("A"))}, "consumers need different names"),
        (
            {"mode": "pipe", "bus": "arn:aws:events:eu-central-1:1:event-busv2/books/EX1"},
            "a pipe can't publish to a Custom Event Bus",
        ),
        ({"custom_bus": True, "bus": "books"}, "bus='books' is not the ARN of a Custom Event Bus"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(wrong: dict[str, Any], text: str) -> None:
    """An impossible infrastructure is refused with an error that names the value."""
    with pytest.raises(ValueError, match=text):
        Infrastructure(**wrong)
    with pytest.raises(ValueError, match=r"not 'a-b'$"):
        Consumer("a-b")


def test_numbers_fit_together() -> None:
    """Records are parked before Lambda gives them up, before the stream forgets them; the pipe gives up then, too."""
    assert timedelta(seconds=NUMBERS.park_after) < timedelta(seconds=NUMBERS.record_age) < timedelta(hours=24)
    assert outbox_pipe().maximum_record_age == timedelta(seconds=NUMBERS.record_age)
    assert NUMBERS.queue_retention < NUMBERS.dead_letter_retention


def test_an_existing_table_is_known_by_its_stream() -> None:
    """The ARN of an existing table comes from the ARN of its stream."""
    assert Infrastructure(stream_arn=STREAM).table_arn == STREAM.partition("/stream")[0]
    assert Infrastructure().table_arn == ""


def test_each_alarm_has_a_meaning_and_a_name_of_its_own() -> None:
    """Alarms have different logical ids, and each kind has a sentence."""
    for mode in ("pipe", "relay", "cdc"):
        consumers = (Consumer("A"), Consumer("B", delivery="queue"), Consumer("C", delivery="fifo"))
        alarms = Infrastructure(mode, consumers=consumers).alarms()
        assert len({each.name for each in alarms}) == len(alarms)
        assert all(each.kind in MEANINGS and each.meaning.endswith(".") for each in alarms)


def test_parking_is_optional() -> None:
    """Without a redrive function nothing is parked: no rights on a parking table and no alarm."""
    without = replace(Infrastructure(), redrive="")
    assert [each.name for each in without.functions()] == ["OutboxRelay"]
    assert not any("Parking" in right.on for right in without.reader_rights())
    assert "ParkedRecords" not in {each.name for each in without.alarms()}
