"""Log records: what each line says and has as fields, what none contains, and the page that lists them."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, OutboxRelay, TableKeys, batch_handler, idempotent
from dynamo_outbox.consuming import idempotency, inbox
from dynamo_outbox.events.outbox_item import encode_event
from dynamo_outbox.log_lines import FIELDS, EventNames, fields, named

from ..doubles import StubBus, client_error
from .log_scenarios import (
    SCENARIOS,
    SECRET,
    World,
    batch,
    committed_after_a_lost_response,
    decline,
    delivered,
    done,
    duplicate_calls,
    event,
    fail,
    failed_events,
    failed_inbox_message,
    failed_inbox_records,
    failed_messages,
    lost_inbox_response,
    parked_records,
    put_book,
    record,
    refused_caller,
    repeated_inbox_events,
    retried_entries,
    unknown_transaction,
    unreadable_records,
    voided_transaction,
)
from .test_architecture import LIBRARY
from .test_messages import sqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "logs.md"


class Collected(logging.Handler):
    """A handler that keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """The library's records from DEBUG on."""
    library, handler = logging.getLogger("dynamo_outbox"), Collected()
    level = library.level
    library.addHandler(handler)
    library.setLevel(logging.DEBUG)
    yield handler.records
    library.setLevel(level)
    library.removeHandler(handler)


def lines(records: list[logging.LogRecord], level: int = logging.DEBUG) -> list[str]:
    return [record.getMessage() for record in records if record.levelno >= level]


def known(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record that are known."""
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


def only(records: list[logging.LogRecord], text: str) -> logging.LogRecord:
    """Return the only record with a text."""
    (found,) = [record for record in records if text in record.getMessage()]
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_no_line_has_a_payloads_values(records: list[logging.LogRecord], scenario: Callable[[World], None]) -> None:
    """A secret in data, items and idempotency keys is in no message, field or traceback."""
    scenario(World())
    assert records
    for each in records:
        texts = [each.getMessage(), each.exc_text or "", *(str(value) for value in known(each).values())]
        assert not [text for text in texts if SECRET in text]


def calls() -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Return the logger, level, message and further fields of each line in the code."""
    found = set()
    for module, tree in LIBRARY.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level), args=[ast.Constant(text), *_]):
                    (extra,) = [each.value for each in node.keywords if each.arg == "extra"]
                    assert isinstance(extra, ast.Call)
                    assert ast.unparse(extra.func) == "fields"
                    names = tuple(str(each.arg) for each in extra.keywords)
                    found.add((module, level, str(text), names))
    return found


def shown(text: str) -> str:
    """Return a message as the page shows it."""
    return re.sub(r"%(?:\.\d)?[sdf]", "…", text)


def test_the_page_has_every_line() -> None:
    """The page's tables list exactly the code's lines, with logger, level and fields, and every field."""
    page = PAGE.read_text(encoding="utf-8")
    listed, module = set(), ""
    for line in page.splitlines():
        if line.startswith("### "):
            module = line.removeprefix("### ").strip("`")
        elif module and (row := re.fullmatch(r"\| ([A-Z]+)(, traceback)? \| (.+) \| (.+) \|", line)):
            level = "exception" if row[2] else row[1].lower()
            listed.add((module, level, row[3], tuple(re.findall(r"`(\w+)`", row[4]))))
    assert listed == {(module, level, shown(text), names) for module, level, text, names in calls()}
    assert tuple(re.findall(r"^\| `(\w+)` \| \w", page, re.MULTILINE)) == FIELDS


def test_every_line_is_tried_by_a_scenario(records: list[logging.LogRecord]) -> None:
    """Each line in the code is produced by a scenario of this module, with its fields."""
    for scenario in SCENARIOS:
        scenario(World())
    seen = {(each.name, each.msg) for each in records}
    assert {(module, text) for module, _, text, _ in calls()} == seen
    for module, _, text, names in calls():
        for each in records:
            if (each.name, each.msg) == (module, text):
                assert {"event_id", "event_type", "aggregate", *names} <= each.__dict__.keys()


def test_the_fields_are_not_logging_s_own() -> None:
    """No field has the name of an attribute of a log record, which logging refuses."""
    made = logging.getLogger("dynamo_outbox").makeRecord("", 0, "", 0, "", (), None, extra=dict.fromkeys(FIELDS))
    assert made.__dict__.keys() >= set(FIELDS)
    assert {name for *_, names in calls() for name in names} <= set(FIELDS)


@pytest.mark.parametrize(
    ("names", "order_key", "text"),
    [
        (None, None, "unknown event"),
        (EventNames(), "Book#a", "unknown event"),
        (EventNames("1"), None, "event 1"),
        (EventNames(type="Paid", aggregate="Book#a"), None, "Paid without a known id of Book#a"),
        (EventNames("1", "Paid", "Book#a"), None, "Paid 1 of Book#a"),
        (EventNames("1", "Paid", "Book#a"), "Book#b", "Paid 1 of Book#a"),
        (event(), "Book#a", "Paid event 1"),
    ],
)
def test_an_event_is_named_as_far_as_it_is_known(names: Any, order_key: str | None, text: str) -> None:
    """A name has type, id and aggregate, without the aggregate that the line has as its order key."""
    assert named(names, order_key) == text
    assert list(fields(names, code=1)) == ["event_id", "event_type", "aggregate", "code"]


def test_a_failed_message_is_named_with_its_event(records: list[logging.LogRecord]) -> None:
    """A failed SQS message has message id, consumer and event in its text and fields; its group has one line."""
    failed_messages(World())
    first, unreadable, held_back = records
    assert first.getMessage() == "message m1 (Paid event 1 of Book#a) of fail failed"
    expected = {"event_id": "event 1", "event_type": "Paid", "aggregate": "Book#a", "consumer": "fail"}
    assert known(first) == expected | {"message_id": "m1", "order_key": "g"}
    assert unreadable.getMessage() == "message m4 (unknown event) of fail failed"
    assert known(unreadable) == {"consumer": "fail", "message_id": "m4"}
    assert held_back.getMessage() == "messages of group g of fail are held back behind a failed one: 2, the first m2"
    assert known(held_back) == {"consumer": "fail", "message_id": "m2", "order_key": "g", "count": 2}


def test_a_failed_message_of_an_inbox_names_the_consumer(records: list[logging.LogRecord]) -> None:
    """A failed message of an inbox handler has the inbox's consumer."""
    failed_inbox_message(World())
    assert lines(records) == ["message m1 (Paid event 1 of Book#a) of billing failed"]
    assert known(records[0])["consumer"] == "billing"


def test_a_partial_handles_a_batch(records: list[logging.LogRecord]) -> None:
    """A callable without a name of its own handles messages, and its failures name its type."""

    class Handler:
        def __call__(self, paid: Event, _: object) -> None:
            if paid.id == "event 2":
                fail()

    response = batch_handler(Handler())(batch(*[sqs(delivered(event(n)), f"m{n}") for n in (1, 2)]), None)
    assert response == {"batchItemFailures": [{"itemIdentifier": "m2"}]}
    assert lines(records) == ["message m2 (Paid event 2 of Book#a) of Handler failed"]


def test_the_inboxs_records_behind_a_failed_one_are_one_line(records: list[logging.LogRecord]) -> None:
    """A stream's failed record is named with its event; those held back by it are counted, by order key."""
    failed_inbox_records(World())
    assert lines(records) == [
        "stream record 1 of Book#a (Paid event 1) failed for billing",
        "stream record 4 of Book#b (Paid event 4) failed for billing",
        "a stream record of Book#a (Paid event 5) can't be decoded for billing, and the 1 after it wait: "
        "record 4: eventName: needs text, got 5 (sequence number 5)",
        "stream records of Book#a are held back behind a failed one for billing: 2, the first 2 (Paid event 2)",
    ]
    assert known(records[0]) == {
        "event_id": "event 1",
        "event_type": "Paid",
        "aggregate": "Book#a",
        "consumer": "billing",
        "order_key": "Book#a",
        "sequence_number": "1",
        "change_id": "change 1",
    }


def test_events_behind_a_failed_one_are_one_line(records: list[logging.LogRecord]) -> None:
    """Events held back by a failed one are counted in one line for each aggregate, at WARNING."""
    failed_events(World())
    assert lines(records) == [
        "Paid event 1 of Book#a was not published: InternalFailure: Paid was refused",
        "Paid event 6 of Book#b was not published: InternalFailure: Paid was refused",
        "events of Book#a are held back behind a failed one: 4, the first Paid event 2",
    ]
    assert [each.levelname for each in records] == ["ERROR", "ERROR", "WARNING"]
    assert known(records[0])["code"] == "InternalFailure"
    assert known(records[2]) == {
        "event_id": "event 2",
        "event_type": "Paid",
        "aggregate": "Book#a",
        "order_key": "Book#a",
        "code": "HeldBack",
        "count": 4,
    }


def test_events_that_are_not_sent_are_one_line(records: list[logging.LogRecord]) -> None:
    """If the caller is refused, the events that were sent have a line each, and all others share one."""
    refused_caller(World())
    assert len(records) == 11
    assert lines(records)[-1].startswith("events were not sent: 20, the first Paid event 11 of Book#a11: ")


def test_records_parked_behind_another_are_one_line(records: list[logging.LogRecord]) -> None:
    """A parked record has its event and reason; those behind it are one line, which alarms find too."""
    parked_records(World())
    parked = [each for each in records if "is parked:" in each.getMessage()]
    assert lines(parked) == [
        "stream record 1 of Book#a (Paid event 1) is parked: MalformedDetail: Paid was refused",
        "stream record 6 of Book#b (Paid event 6) is parked: DecodeError: "
        "is not JSON text: Unterminated string starting at: line 1 column 10 (char 9)",
        "stream record 2 of Book#a (Paid event 2) is parked: it is the first of 4 behind one that is not published",
        "stream record 7 of Book#a (Paid event 7) is parked: it is the first of 2 behind one that is not published",
    ]
    assert {each.levelname for each in parked} == {"ERROR"}
    assert known(parked[2])["count"] == 4


def test_records_that_wait_for_a_failed_one_are_one_line(records: list[logging.LogRecord]) -> None:
    """Records that are not read because an earlier one failed are one line for each order key."""
    unreadable_records(World())
    held_back = [line for line in lines(records) if "held back" in line]
    assert held_back == [
        "stream records of [('name', {'S': 'b'})] are held back behind a failed one: 1, the first 2 (unknown event)",
        "stream records of Book#a are held back behind a failed one: 2, the first 2 (Paid event 2)",
    ]


def test_a_lost_response_is_logged_with_its_outcome(records: list[logging.LogRecord]) -> None:
    """A lost response and the commit that follows are INFO, the repetition DEBUG, each with event and token."""
    committed_after_a_lost_response(World())
    assert [each.levelname for each in records] == ["INFO", "DEBUG", "INFO"]
    (token,) = {known(each)["token"] for each in records}
    assert lines(records) == [
        f"transaction {token} (Paid event 1 of Book#a) on books, events has no response: ReadTimeoutError",
        f"transaction {token} (Paid event 1 of Book#a) on books, events is sent again: ReadTimeoutError",
        f"transaction {token} (Paid event 1 of Book#a) was committed, though a response was lost",
    ]
    assert {known(each)["event_id"] for each in records} == {"event 1"}


def test_a_commit_that_meets_its_own_event_is_logged(records: list[logging.LogRecord]) -> None:
    """A repetition that is refused because the first request was committed is logged as committed."""
    world = World()
    own = {"Code": "ConditionalCheckFailed", "Item": encode_event(event(), expires_at=0, keys=TableKeys())}
    world.lose("transact_write_items", after_commit=True)
    world.dynamodb.fail_next(
        "transact_write_items",
        client_error("TransactionCanceledException", CancellationReasons=[{"Code": "None"}, own]),
    )
    world.add_book()
    assert lines(records)[-1].endswith("(Paid event 1 of Book#a) was committed, though a response was lost")


def test_a_void_marker_is_a_warning(records: list[logging.LogRecord]) -> None:
    """A transaction that is made void, and one whose outcome stays unknown, are WARNINGs with the event."""
    voided_transaction(World())
    unknown_transaction(World())
    void, unknown = [each for each in records if each.levelno == logging.WARNING]
    assert "is void" in void.getMessage()
    assert "is unknown" in unknown.getMessage()
    assert known(void).keys() == known(unknown).keys() == {"event_id", "event_type", "aggregate", "token", "table"}


def test_a_commit_without_trouble_is_silent(records: list[logging.LogRecord]) -> None:
    """Commits, publications and first calls without a failure have no line, whatever the level."""
    world = World()
    world.add_book()
    OutboxRelay(world.publisher(StubBus()), parking=world.parking)(batch(*[record(n) for n in range(100)]))
    idempotent(world.store, scope="charge")(done)(event())
    world.handler(put_book)(event())
    assert records == []


def test_entries_that_are_sent_again_are_counted(records: list[logging.LogRecord]) -> None:
    """A publisher's retry has the codes and the number of entries, and no line for each event."""
    retried_entries(World())
    assert lines(records) == [
        "entries of a call are sent again: 2, ThrottlingException",
        "a call was refused, and each of its entries is sent alone: 2, 400",
    ]
    assert [known(each) for each in records] == [
        {"code": "ThrottlingException", "count": 2},
        {"code": "400", "count": 2},
    ]


def test_a_duplicate_call_is_logged_by_its_event(records: list[logging.LogRecord]) -> None:
    """A duplicate has the event and the key that is made of its identity, but no key made of the payload."""
    duplicate_calls(World())
    by_event, by_payload = [each for each in records if "duplicate" in each.getMessage()]
    assert by_event.getMessage() == "call#by-event#Books#event 1 (Paid event 1 of Book#a) is a duplicate"
    assert known(by_event)["idempotency_key"] == "call#by-event#Books#event 1"
    assert by_payload.getMessage() == "by-card (Paid event 1 of Book#a) is a duplicate"
    assert "idempotency_key" not in known(by_payload)


def test_an_operator_finds_the_token_of_a_held_key(records: list[logging.LogRecord]) -> None:
    """A key that stays held is logged with the token that `forget` needs, and the event."""
    world = World()
    with pytest.raises(ValueError, match="declined"):
        idempotent(world.store, scope="charge", on_expired_lease="raise")(decline)(event())
    held = known(only(records, "stays held"))
    assert world.store.forget(held["idempotency_key"], token=held["token"])
    assert (held["event_id"], held["consumer"]) == ("event 1", "charge")


def test_an_inboxs_duplicates_and_repetitions_are_logged(records: list[logging.LogRecord]) -> None:
    """A repetition has its reason and a duplicate the failure that it replaces; both name event and consumer."""
    repeated_inbox_events(World())
    lost_inbox_response(World())
    ours = [each for each in records if each.name.endswith(".inbox")]
    assert lines(ours) == [
        "billing runs again for Paid event 1 of Book#a: TransactionConflictError; attempts left: 3",
        "Paid event 1 of Book#a is handled by billing already: a duplicate (ConditionFailedError)",
        "billing runs again for Paid event 1 of Book#a: CommitUnknownError; attempts left: 1",
    ]
    assert known(ours[2])["token"] in {known(each).get("token") for each in records if each.name.endswith(".commit")}


@pytest.mark.parametrize("scenario", [duplicate_calls, repeated_inbox_events])
def test_a_level_that_is_off_costs_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scenario: Callable[[World], None]
) -> None:
    """Duplicates and repetitions build no text and no fields while their level is off."""
    for module in (idempotency, inbox):
        monkeypatch.setattr(module, "named", fail)
        monkeypatch.setattr(module, "fields", fail)
    with caplog.at_level(logging.WARNING, logger="dynamo_outbox"):
        scenario(World())
    assert caplog.records == []


def test_the_librarys_errors_are_short(records: list[logging.LogRecord]) -> None:
    """A message and a traceback are cut, however long a path of the data is."""
    relay = OutboxRelay(World().publisher(StubBus()))
    relay(batch(record(1, eventData={"S": json.dumps({"x" * 300_000: "y"}).replace("y", "\\ud800")})))
    assert records
    assert max(len(each.getMessage()) for each in records) < 4_200
    assert max(len(line) for each in records for line in (each.exc_text or "").split("\n")) < 4_200
