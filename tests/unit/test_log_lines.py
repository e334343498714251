"""Log lines: text from outside forges none."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import ChangeProcessor, EventBridgePublisher, OutboxRelay, Retry, batch_handler
from dynamo_outbox.log_lines import FIELDS, MAX_TEXT, EventNames, fields, logger

from ..doubles import StubBus
from .test_messages import named, sqs
from .test_parking import UNREADABLE, Lot, batch
from .test_processors import book_record, outbox_record

if TYPE_CHECKING:
    from collections.abc import Iterator

FORGED = "CRITICAL forged: all is well"
LINE_ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"]
"""Characters at which `str.splitlines`, terminals or log viewers begin a line."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The library's log, each line with its level."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    library = logging.getLogger("dynamo_outbox")
    library.addHandler(handler)
    yield text
    library.removeHandler(handler)


def forged(log: io.StringIO) -> list[str]:
    assert log.getvalue()
    return [line for line in log.getvalue().splitlines() if line.startswith("CRITICAL")]


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
def test_an_id_forges_no_line(log: io.StringIO, end: str) -> None:
    """An aggregate's id with a line break stays within the lines of its record's errors."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(
        batch(outbox_record("A", "1", f"x{end}{FORGED}"), outbox_record("B", "2", f"y{end}{FORGED}", **UNREADABLE))
    )
    assert forged(log) == []
    assert FORGED in log.getvalue()


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
def test_an_exception_forges_no_line(log: io.StringIO, end: str) -> None:
    """A traceback is indented, so that an exception's message begins no line of the log."""

    def fail(*_: Any) -> Any:
        raise ValueError(f"bad name: {end}{FORGED}") from KeyError(f"{end}{FORGED}")

    publisher = EventBridgePublisher("books", source="Books", client=StubBus())
    ChangeProcessor(publisher, fail)({"Records": [book_record("a", "1")]})
    batch_handler(fail)({"Records": [sqs(named("A"), f"m{end}{FORGED}")]}, None)
    assert forged(log) == []
    assert "  ValueError: bad name: " in log.getvalue()


def test_a_buses_message_forges_no_line(log: io.StringIO) -> None:
    """Text from a response of EventBridge is escaped like any other."""

    class Bus(StubBus):
        def put_events(self, **_: Any) -> Any:
            return {"Entries": [{"ErrorCode": f"A\n{FORGED}", "ErrorMessage": f"\x1b[2J\n{FORGED}"}]}

    relay = OutboxRelay(EventBridgePublisher("books", client=Bus(), retry=Retry(attempts=1)))
    relay({"Records": [outbox_record("A", "1", "a")]})
    assert forged(log) == []
    assert "\x1b" not in log.getvalue()
    assert "\\x1b[2J\\n" in log.getvalue()


def test_half_a_surrogate_pair_loses_no_line(log: io.StringIO) -> None:
    """Text that is not Unicode is escaped, so that a handler can write its line in UTF-8."""
    logger("dynamo_outbox.a_test").error("%s is bad", "\ud800")
    assert log.getvalue().encode() == b"ERROR \\ud800 is bad\n"


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
def test_a_field_forges_no_line(log: io.StringIO, end: str) -> None:
    """A formatter that shows fields shows them escaped."""
    (handler,) = logging.getLogger("dynamo_outbox").handlers
    handler.setFormatter(logging.Formatter(" ".join(f"%({name})s" for name in FIELDS)))
    text = f"a{end}{FORGED}"
    more = {name: text for name in FIELDS if name not in ("event_id", "event_type", "aggregate", "count")}
    logger("dynamo_outbox.a_test").error("a", extra=fields(EventNames(text, text, text), **more, count=3))
    assert forged(log) == []
    assert log.getvalue().count(FORGED) == len(FIELDS) - 1
    assert log.getvalue().endswith(" 3\n")


def test_a_long_text_is_cut(log: io.StringIO) -> None:
    """A message and a field are cut after as many characters as they may have, and no earlier."""
    (handler,) = logging.getLogger("dynamo_outbox").handlers
    handler.setFormatter(logging.Formatter("%(message)s %(event_id)s"))
    for more in (0, 1):
        text = "x" * (MAX_TEXT + more)
        logger("dynamo_outbox.a_test").error(text, extra=fields(EventNames(text)))
    fits, cut = log.getvalue().splitlines()
    assert fits == " ".join(["x" * MAX_TEXT] * 2)
    assert cut == " ".join([f"{'x' * MAX_TEXT}…"] * 2)


def test_other_text_is_logged_as_it_is(log: io.StringIO) -> None:
    """Letters of any script and the arguments of a message without control characters stay the same."""
    lines = logger("dynamo_outbox.a_test")
    lines.error("%s costs %d €", "größer", 3)
    assert log.getvalue() == "ERROR größer costs 3 €\n"
    assert logger("dynamo_outbox.a_test").filters == lines.filters
    assert len(lines.filters) == 1


def test_a_message_that_cannot_be_made_is_loggings_matter() -> None:
    """An argument whose text can't be made raises nothing in the code that logs."""

    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError

    lines = logger("dynamo_outbox.a_test")
    record = lines.makeRecord(lines.name, logging.ERROR, "a.py", 1, "%s", (Broken(),), None)
    assert lines.filter(record)
