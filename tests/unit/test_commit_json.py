"""The JSON form of `CommitUnknownError`: written, stored, and settled by another process."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import example, given
from hypothesis import strategies as st

from dynamo_outbox import Event, Retry, TableKeys, TransactionalOutbox
from dynamo_outbox.errors import CommitUnknownError, DecodeError, InvalidEventError
from dynamo_outbox.writing.commit_rules import Proof, unknown_from_json
from dynamo_outbox.writing.transaction import event_proof

from ..doubles import FakeClock, StubDynamoDB, fake_dynamodb
from ..strategies import damaged, events

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

TIMEOUT = ReadTimeoutError(endpoint_url="http://dynamodb")
TABLE_KEYS = TableKeys(partition_key="PK", sort_key="SK", prefix="OUTBOX#", ttl_attribute="ttl")


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"orders": ("id",), "events": ("pk", "sk"), "others": ("pk", "sk")}, clock)


def outbox_of(fake: object, clock: FakeClock, table: str = "events", **options: Any) -> TransactionalOutbox:
    return TransactionalOutbox(table, source="Shop", client=fake, keys={"orders": "id"}, clock=clock, **options)  # type: ignore[arg-type]  # a fake


def unsettled(fake: FakeDynamoDB, clock: FakeClock, *, committed: bool, emits: bool = True) -> CommitUnknownError:
    """Return the error of a transaction whose own request and void marker both got no response."""
    fake.fail_next("transact_write_items", TIMEOUT, after_commit=committed)
    if emits:
        fake.fail_next("put_item", TIMEOUT)
    with (
        pytest.raises(CommitUnknownError) as caught,
        outbox_of(fake, clock, retry=Retry(timeout=timedelta(0))).transaction() as tx,
    ):
        tx.put("orders", {"id": "7"}, must_not_exist=True)
        if emits:
            tx.emit(
                Event("OrderPlaced", {"id": "7", "note": 'é "\\ \u2028 😀'}, aggregate_type="Order", aggregate_id="7")
            )
    return caught.value


@pytest.mark.parametrize("committed", [True, False])
def test_the_text_is_settled_like_the_error(fake: FakeDynamoDB, clock: FakeClock, committed: bool) -> None:
    """Another outbox settles the text, any number of times, with the outcome of the transaction."""
    text = unsettled(fake, clock, committed=committed).to_json()
    there = outbox_of(fake, clock)
    assert [there.settle(text) for _ in range(3)] == [committed] * 3
    assert ("Item" in fake.get_item(TableName="orders", Key={"id": {"S": "7"}})) is committed


def test_another_process_gets_the_same_error(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A process that only has the text reads the same token, time and proof from it."""
    error = unsettled(fake, clock, committed=True)
    script = (
        "import sys; from dynamo_outbox.writing.commit_rules import unknown_from_json as read; "
        "error = read(sys.stdin.buffer.read().decode('ascii')); "
        "print(error.token, error.sent_at.isoformat(), error.proof.table, error.proof.item['eventId']['S'])"
    )
    ran = subprocess.run(  # noqa: S603  # this test's own script
        [sys.executable, "-c", script], input=error.to_json(), capture_output=True, text=True, check=True
    )
    assert isinstance(error.proof, Proof)
    assert error.sent_at is not None
    expected = [error.token, error.sent_at.isoformat(), "events", error.proof.item["eventId"]["S"]]
    assert ran.stdout.split() == expected


def test_a_text_that_stays_unsettled_is_raised_with_the_same_facts(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If DynamoDB does not respond to `settle`, the error that it raises has the same text."""
    text = unsettled(fake, clock, committed=True).to_json()
    for _ in range(5):
        fake.fail_next("put_item", TIMEOUT)
    with pytest.raises(CommitUnknownError) as caught:
        outbox_of(fake, clock).settle(text)
    assert caught.value.to_json() == text


def test_a_transaction_without_an_event_has_a_text_without_a_proof(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """The text of an error without a proof is read, and `settle` raises the error."""
    text = unsettled(fake, clock, committed=True, emits=False).to_json()
    assert json.loads(text)["proof"] is None
    with pytest.raises(CommitUnknownError, match="no event proves it"):
        outbox_of(fake, clock).settle(text)


def test_an_expired_event_is_only_looked_for(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """After the outbox's ttl, the text is settled by a read: nothing is written in the event's place."""
    text = unsettled(fake, clock, committed=False).to_json()
    clock.advance(timedelta(days=8))
    with pytest.raises(CommitUnknownError):
        outbox_of(fake, clock).settle(text)
    assert fake.scan(TableName="events")["Count"] == 0


def test_a_text_about_another_table_is_refused(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """An outbox settles a text only in its own events table, and the error names both."""
    text = unsettled(fake, clock, committed=False).to_json()
    with pytest.raises(ValueError, match="the events table 'events', and this outbox's is 'others'"):
        outbox_of(fake, clock, "others").settle(text)
    assert fake.scan(TableName="others")["Count"] == 0


@pytest.mark.parametrize("given", [b"{}", {"token": "t"}, None, 7])
def test_what_is_neither_error_text_nor_event_is_a_type_error(given: Any, clock: FakeClock) -> None:
    """`settle` names the three types that it takes, and the type that it got."""
    with pytest.raises(TypeError, match=rf"its to_json\(\) text or the Event .* not a {type(given).__name__}"):
        outbox_of(StubDynamoDB(), clock).settle(given)


def errors() -> st.SearchStrategy[CommitUnknownError]:
    """Errors as the writer raises them, of any event that can be written."""

    def error_of(event: Event, keys: TableKeys, token: str, is_dated: bool, sent_at: datetime) -> CommitUnknownError:
        settings = outbox_of(StubDynamoDB(), FakeClock(), table_keys=keys).settings
        try:
            return CommitUnknownError(token, event_proof(event, settings, is_dated=is_dated), sent_at)
        except InvalidEventError:  # too large, or numbers that DynamoDB can't hold
            return CommitUnknownError(token, None, sent_at)

    tokens = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=36)
    times = st.datetimes(timezones=st.just(UTC))
    return st.builds(error_of, events(), st.sampled_from([TableKeys(), TABLE_KEYS]), tokens, st.booleans(), times)


def facts(error: CommitUnknownError) -> tuple[object, ...]:
    return error.token, error.sent_at, error.proof


@given(errors())
@example(CommitUnknownError("t"))
def test_the_text_gives_the_same_error_back(error: CommitUnknownError) -> None:
    """Every error is read from its text as it was, and its text is ASCII."""
    text = error.to_json()
    assert text.isascii()
    again = unknown_from_json(text)
    assert facts(again) == facts(error)
    assert str(again) == str(error)


def sample() -> dict[str, Any]:
    settings = outbox_of(StubDynamoDB(), FakeClock()).settings
    event = Event("OrderPlaced", {"id": "7"}, source="Shop", aggregate_type="Order", aggregate_id="7", sequence=3)
    read: dict[str, Any] = json.loads(
        CommitUnknownError("t", event_proof(event, settings), datetime(2026, 1, 1, tzinfo=UTC)).to_json()
    )
    return read


def changed(*path: str, to: Any = None, without: bool = False) -> str:
    """Return the sample's text with one member set or left out."""
    text = sample()
    holder: Any = text
    for name in path[:-1]:
        holder = holder[name]
    if without:
        del holder[path[-1]]
    else:
        holder[path[-1]] = to
    return json.dumps(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"text: is not JSON text: .*; settle\(\) takes the text of CommitUnknownError\.to_json\(\)"),
        ("01939b2e-0000-7000-8000-000000000000", "text: is not JSON text"),
        ("[]", "text: holds a JSON list instead of an object"),
        ('{"a": NaN}', "text: holds NaN"),
        ("{}", "format: is None, and only 1 is known"),
        (changed("format", to=2), "format: is 2, and only 1 is known"),
        (changed("format", to=True), "format: is True"),
        (changed("format", to="1"), "format: is '1'"),
        (changed("token", without=True), "token: is missing"),
        (changed("token", to=""), "token: is empty"),
        (changed("token", to=7), "token: 7 is of the wrong type"),
        (changed("token", to="\ud800"), "text.token: .*surrogate"),
        (changed("sent_at", to="yesterday"), "sent_at: 'yesterday' is not an ISO 8601 time"),
        (changed("sent_at", to="2026-01-01T00:00:00"), "sent_at: .* has no offset"),
        (changed("order", to="7"), "order: is unknown; the members are format, token, sent_at, proof"),
        (changed("proof", to="events"), "proof: 'events' is of the wrong type"),
        (changed("proof", to={}), "proof.table: is missing"),
        (changed("proof", "table", to=""), "proof.table: is empty"),
        (changed("proof", "is_dated", to=1), "proof.is_dated: 1 is of the wrong type"),
        (changed("proof", "is_dated", without=True), "proof.is_dated: is missing"),
        (changed("proof", "condition", to="x"), "proof.condition: is unknown"),
        (changed("proof", "keys", "ttl_attribute", without=True), "proof.keys.ttl_attribute: is missing"),
        (changed("proof", "keys", "sort_key", to=None), "proof.keys.sort_key: None is of the wrong type"),
        (changed("proof", "keys", "sort_key", to="pk"), "proof.keys: .* different name for each"),
        (changed("proof", "keys", "sort_key", to="eventId"), "proof.keys: .* names other than"),
        (changed("proof", "keys", "partition_key", to="id"), "proof.item.id: is missing"),
        (changed("proof", "keys", "prefix", to="x"), "proof.item.pk: is .*'Order#7'.* and the event has .*'xOrder#7'"),
        (changed("proof", "item", to={}), "proof.item.expiresAt: None is not a time"),
        (changed("proof", "item", "expiresAt", to={"N": "-1"}), "proof.item.expiresAt: .* is not a time"),
        (changed("proof", "item", "expiresAt", to={"N": 1}), "proof.item.expiresAt: .* is not a time"),
        (changed("proof", "item", "expiresAt", to={"N": "01"}), "proof.item.expiresAt: is "),
        (changed("proof", "item", "eventData", without=True), "proof.item.eventData: is missing"),
        (changed("proof", "item", "eventId", to={"S": ""}), "proof.item.id: "),
        (changed("proof", "item", "eventId", to={"S": "another"}), "proof.item.sk: is .* and the event has "),
        (changed("proof", "item", "source", to={"N": "1"}), "proof.item.source: is not of DynamoDB's type S"),
        (changed("proof", "item", "outboxFormat", to={"N": "2"}), "proof.item.outboxFormat.N: outbox format '2'"),
        (changed("proof", "item", "eventContext", to={"S": "{"}), "proof.item.eventContext"),
        (changed("proof", "item", "voidToken", to={"S": "t"}), "proof.item.voidToken: is unknown"),
        (changed("proof", "item", "pk", to={"S": "Order#8"}), "proof.item.pk: is .*Order#8"),
    ],
)
def test_a_malformed_text_is_refused_by_the_part(text: str, said: str, clock: FakeClock) -> None:
    """A text that `to_json` did not give is a DecodeError that names the part, and nothing is sent."""
    stub = StubDynamoDB()
    with pytest.raises(DecodeError, match=f"^{said}"):
        outbox_of(stub, clock).settle(text)
    assert stub.calls == []


@given(damaged(sample()))
def test_a_damaged_text_is_read_or_refused(text: Any) -> None:
    """Any damage to the text is a DecodeError, or leaves a text that gives itself back."""
    try:
        error = unknown_from_json(json.dumps(text))
    except DecodeError:
        return
    assert facts(unknown_from_json(error.to_json())) == facts(error)


def test_the_text_has_nothing_but_the_event_and_its_place() -> None:
    """The text has the members that `settle` needs; neither credentials nor the other items are in it."""
    read = sample()
    assert sorted(read) == ["format", "proof", "sent_at", "token"]
    assert sorted(read["proof"]) == ["is_dated", "item", "keys", "table"]


def test_an_error_of_settle_with_an_event_has_a_text_too(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """The error of `settle(event)`, whose token is the event's id, can be stored and settled as text."""
    event = Event("OrderPlaced", {}, id="x" * 80, time=clock.now())  # neither tells when it was created
    outbox = outbox_of(fake, clock)
    with pytest.raises(CommitUnknownError) as caught:
        outbox.settle(event)
    text = caught.value.to_json()
    fake.transact_write_items(TransactItems=[outbox.transact_item(event)])
    assert outbox.settle(text) is True
