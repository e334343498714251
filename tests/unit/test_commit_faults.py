"""Commits under faults: which errors leave a commit in doubt, how old a token may be, and what `settle` can know."""

from __future__ import annotations

import json
import pickle
import ssl
from datetime import UTC, datetime, timedelta
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from urllib3.exceptions import ProtocolError

from dynamo_outbox import Event, Retry, TransactionalOutbox
from dynamo_outbox.aws import clients
from dynamo_outbox.aws.service import ATTEMPTS
from dynamo_outbox.errors import CommitUnknownError, ConditionFailedError, TransactionVoidedError
from dynamo_outbox.events.ids import uuid7
from dynamo_outbox.testing import FakeClock, FakeDynamoDB

from ..doubles import client_error, fake_dynamodb
from .test_commit_proof import KEYS, TIMEOUT, Network, add_book, asked, copies, items, lose, outbox_of

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = timedelta(days=1)
AT_ONCE = Retry(timeout=timedelta(0))
IN_DOUBT = [
    MetadataRetrievalError(error_msg="the metadata service does not respond"),
    CredentialRetrievalError(provider="sso", error_msg="expired"),
    TokenRetrievalError(provider="sso", error_msg="expired"),
    ssl.SSLError("bad record"),
    IncompleteRead(b""),
    ProtocolError("connection broken"),
    json.JSONDecodeError("no JSON", "", 0),
    RuntimeError("a hook of the user's"),
    ValueError("a hook of the user's"),
    TypeError("a hook of the user's"),
    KeyError("Error"),
    AttributeError("NoneType has no attribute"),
    RecursionError(),
    client_error("SomethingNew", ResponseMetadata={"HTTPStatusCode": 502}),
    client_error("413", ResponseMetadata={"HTTPStatusCode": 413}),
]


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb(KEYS, clock)


@pytest.mark.parametrize("error", IN_DOUBT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("after_commit", [True, False])
def test_only_a_parsed_refusal_says_that_nothing_was_written(
    fake: FakeDynamoDB, clock: FakeClock, error: Exception, after_commit: bool
) -> None:
    """Any other exception may come after the commit: the request is repeated, and takes effect once."""
    fake.fail_next("transact_write_items", error, after_commit=after_commit)
    add_book(outbox_of(fake, clock))
    assert copies(fake) == 1
    assert asked(fake) == ["transact_write_items"] * 2


@pytest.mark.parametrize("error", IN_DOUBT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("after_commit", [True, False])
def test_a_doubt_that_stays_is_told(fake: FakeDynamoDB, clock: FakeClock, error: Exception, after_commit: bool) -> None:
    """If the error persists, the caller gets CommitUnknownError because of it, and can settle it later."""
    outbox = outbox_of(fake, clock, retry=AT_ONCE)
    fake.fail_next("transact_write_items", error, after_commit=after_commit)
    fake.fail_next("put_item", TypeError("the same hook"))
    with pytest.raises(CommitUnknownError) as caught:
        add_book(outbox)
    assert outbox.settle(caught.value) is after_commit


NEVER_SENT = [
    NoCredentialsError(),
    PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    NoRegionError(),
    ParamValidationError(report="TransactItems"),
]


@pytest.mark.parametrize("error", NEVER_SENT, ids=lambda error: type(error).__name__)
def test_what_comes_before_the_first_request_is_raised(fake: FakeDynamoDB, clock: FakeClock, error: Exception) -> None:
    """An error that botocore raises before it sends anything is raised unchanged, without a marker."""
    fake.fail_next("transact_write_items", error)
    with pytest.raises(type(error)):
        add_book(outbox_of(fake, clock))
    assert asked(fake) == ["transact_write_items"]


@pytest.mark.parametrize("error", NEVER_SENT, ids=lambda error: type(error).__name__)
def test_after_a_doubt_nothing_counts_as_never_sent(fake: FakeDynamoDB, clock: FakeClock, error: Exception) -> None:
    """The same error in place of a repetition's response leaves the first request in doubt, which is settled."""
    lose(fake, 1, after_commit=True)
    for _ in range(4):
        fake.fail_next("transact_write_items", error)
    add_book(outbox_of(fake, clock))
    assert copies(fake) == 1
    assert asked(fake)[-1] == "put_item"


def test_a_client_without_transactions_is_not_a_doubt(clock: FakeClock) -> None:
    """A client's NotImplementedError is raised unchanged, not reported as an unknown commit."""

    class Client:
        def transact_write_items(self, **_: Any) -> Any:
            raise NotImplementedError("moto lacks it")

    with pytest.raises(NotImplementedError, match="moto lacks it"):
        add_book(outbox_of(Client(), clock))


THROTTLED = [
    client_error("ThrottlingException"),
    client_error("ProvisionedThroughputExceededException"),
    client_error("RequestLimitExceeded"),
    client_error("SomethingNew", ResponseMetadata={"HTTPStatusCode": 429}),
]


@pytest.mark.parametrize("error", THROTTLED, ids=repr)
def test_a_throttled_transaction_is_sent_again(fake: FakeDynamoDB, clock: FakeClock, error: ClientError) -> None:
    """Throttling of a whole request is retried with the same token, whatever `Retry.attempts` says of contention."""
    for _ in range(ATTEMPTS - 1):
        fake.fail_next("transact_write_items", error)
    add_book(outbox_of(fake, clock, retry=Retry(attempts=1)))
    assert copies(fake) == 1
    assert len({call.request["ClientRequestToken"] for call in fake.calls if "ClientRequestToken" in call.request}) == 1
    assert len(clock.slept) == ATTEMPTS - 1


def test_throttling_that_lasts_is_a_refusal(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """The error of the last attempt is raised, and nothing was written; with a lost response, it is settled first."""
    for _ in range(ATTEMPTS):
        fake.fail_next("transact_write_items", THROTTLED[0])
    with pytest.raises(ClientError, match="ThrottlingException"):
        add_book(outbox_of(fake, clock))
    assert asked(fake) == ["transact_write_items"] * ATTEMPTS
    network = Network(fake)
    network.delays = 1
    for _ in range(ATTEMPTS):
        fake.fail_next("transact_write_items", THROTTLED[0])
    with pytest.raises(ClientError, match="ThrottlingException"):
        add_book(outbox_of(network, clock))
    assert network.arrive() == ["cancelled"]


@pytest.mark.parametrize("error", THROTTLED, ids=repr)
def test_a_throttled_marker_is_put_again(fake: FakeDynamoDB, clock: FakeClock, error: ClientError) -> None:
    """The void marker's put is retried after throttling, and finds the event."""
    lose(fake, 1, after_commit=True)
    fake.fail_next("put_item", error)
    add_book(outbox_of(fake, clock, retry=AT_ONCE))
    assert asked(fake) == ["transact_write_items", "put_item", "put_item"]


class Freezing(FakeClock):
    """A clock whose process is frozen for a time at each sleep."""

    def __init__(self, pause: timedelta) -> None:
        super().__init__()
        self.pause = pause

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.advance(self.pause)


@pytest.mark.parametrize(("minutes", "resent"), [(0, True), (8, True), (9, False), (11, False), (60, False)])
@pytest.mark.parametrize("committed", [True, False])
def test_a_request_is_not_repeated_after_its_token(minutes: int, resent: bool, committed: bool) -> None:
    """After a long pause between a lost response and the repetition, the commit is settled: `add` counts once."""
    clock = Freezing(timedelta(minutes=minutes))
    fake = fake_dynamodb(KEYS, clock)
    lose(fake, 1, after_commit=committed)
    outbox = outbox_of(fake, clock)
    if resent or committed:
        add_book(outbox)
        assert copies(fake) == 1
    else:
        with pytest.raises(TransactionVoidedError):
            add_book(outbox)
        assert copies(fake) == 0
    assert asked(fake)[:2] == ["transact_write_items", "transact_write_items" if resent else "put_item"]


def test_without_an_event_a_long_pause_leaves_the_doubt() -> None:
    """A transaction without an event can't be settled after the pause, and it is not sent again."""
    clock = Freezing(timedelta(minutes=11))
    fake = fake_dynamodb(KEYS, clock)
    lose(fake, 1, after_commit=True)
    with pytest.raises(CommitUnknownError), outbox_of(fake, clock).transaction() as tx:
        tx.update("books", {"name": "a"}, add={"copies": 1})
    assert copies(fake) == 1
    assert asked(fake) == ["transact_write_items"]


def test_a_pause_during_the_request_counts(clock: FakeClock, fake: FakeDynamoDB) -> None:
    """A process that is frozen while it waits for the response doesn't repeat the request either."""

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(fake, name)

        def transact_write_items(self, **request: Any) -> Any:
            fake.transact_write_items(**request)
            clock.advance(timedelta(minutes=11))
            raise TIMEOUT

    with pytest.raises(CommitUnknownError), outbox_of(Slow(), clock).transaction() as tx:
        tx.update("books", {"name": "a"}, add={"copies": 1})
    assert copies(fake) == 1


def test_a_pause_after_contention_is_harmless() -> None:
    """A request that was refused for contention has written nothing, so it is repeated after any pause."""
    clock = Freezing(timedelta(minutes=11))
    fake = fake_dynamodb(KEYS, clock)
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    fake.fail_next("transact_write_items", client_error("TransactionCanceledException", CancellationReasons=reasons))
    add_book(outbox_of(fake, clock))
    assert copies(fake) == 1


def test_a_marker_lives_for_the_whole_ttl(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A void marker expires a full `ttl` after it was put, so that no late request finds it gone."""
    outbox = outbox_of(fake, clock, retry=AT_ONCE, ttl=2 * DAY)
    lose(fake, 1)
    lose(fake, 1, operation="put_item")
    with pytest.raises(CommitUnknownError) as caught:
        add_book(outbox)
    error = caught.value
    clock.advance(DAY)
    assert outbox.settle(error) is False
    (marker,) = items(fake)
    assert marker["expiresAt"] == {"N": str(int((clock.now() + 2 * DAY).timestamp()))}


class OwnClient:
    """The library's own client, at a server that never responds; each call takes as long as it may wait."""

    def __init__(self, clock: FakeClock) -> None:
        self.waits: list[tuple[str, float]] = []
        self._clock = clock

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**_: Any) -> Any:
            seconds = clients.response_time.get()
            assert seconds is not None
            self.waits.append((name, round(seconds, 2)))
            self._clock.advance(timedelta(seconds=seconds))
            raise ReadTimeoutError(endpoint_url="http://dynamodb")

        return call


@pytest.mark.parametrize(
    ("timeout", "first", "most"),
    [(0, 2, 5), (1, 2, 6), (5, 2.5, 13), (8, 4, 18), (60, 5, 90)],
)
def test_a_silent_dynamodb_ends_a_commit_in_time(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, timeout: int, first: float, most: float
) -> None:
    """A commit waits for a response for half of its time, at least two seconds, and ends soon after its timeout."""
    client = OwnClient(clock)
    monkeypatch.setattr(clients, "shared_client", lambda _: client)
    retry = Retry(timeout=timedelta(seconds=timeout))
    outbox = TransactionalOutbox("events", source="Demo", keys={"books": "name"}, clock=clock, retry=retry)
    start = clock.now()
    with pytest.raises(CommitUnknownError):
        add_book(outbox)
    assert client.waits[0] == ("transact_write_items", first)
    assert client.waits[-1][0] == "put_item"
    assert (clock.now() - start).total_seconds() <= most
    assert all(2 <= seconds <= clients.READ_TIMEOUT for _, seconds in client.waits)


def write(fake: FakeDynamoDB, outbox: TransactionalOutbox, event: Event) -> dict[str, Any]:
    """Commit an event by the user's own call; return its item's key."""
    action = outbox.transact_item(event)
    fake.transact_write_items(TransactItems=[action])
    return {name: action["Put"]["Item"][name] for name in KEYS["events"]}


def id_of(moment: datetime) -> str:
    """Return a UUIDv7 of this time."""
    return uuid7(int(moment.timestamp()) * 10**9, bytes(8))


@pytest.mark.parametrize(
    "change",
    [
        "SET seenBy = :x",
        "SET seenBy = :x, expiresAt = :n",
        "SET expiresAt = :n",
        "REMOVE expiresAt",
        "SET eventTime = :x",
        "SET eventVersion = :n",
        "SET eventContext = :x",
        "SET outboxFormat = :n",
        "REMOVE aggregateType",
    ],
)
def test_an_item_that_was_touched_is_still_the_event(fake: FakeDynamoDB, clock: FakeClock, change: str) -> None:
    """Users may add or change other attributes: only the event's id, type, source and data count."""
    outbox = outbox_of(fake, clock)
    event = Event("BookAdded", {"name": "a"}, id=id_of(clock.now()))
    key = write(fake, outbox, event)
    values = {":x": {"S": "audit"}, ":n": {"N": "2000000000"}}
    used = {name: value for name, value in values.items() if name in change}
    more = {"ExpressionAttributeValues": used} if used else {}
    fake.update_item(TableName="events", Key=key, UpdateExpression=change, **more)
    assert outbox.settle(event) is True
    clock.advance(30 * DAY)
    assert outbox.settle(event) is True


@pytest.mark.parametrize("name", ["eventId", "eventType", "source", "eventData"])
def test_an_item_of_another_event_is_not_the_event(fake: FakeDynamoDB, clock: FakeClock, name: str) -> None:
    """If another event has the key, the transaction was not committed, and its own condition keeps it from being."""
    outbox = outbox_of(fake, clock)
    event = Event("BookAdded", {"name": "a"}, id=id_of(clock.now()))
    key = write(fake, outbox, event)
    for change, more in (
        (f"SET {name} = :x", {"ExpressionAttributeValues": {":x": {"S": "{}"}}}),
        (f"REMOVE {name}", {}),
    ):
        aliased = {"ExpressionAttributeNames": {"#name": name}}
        expression = change.replace(name, "#name")
        fake.update_item(TableName="events", Key=key, UpdateExpression=expression, **aliased, **more)
        assert outbox.settle(event) is False
        clock.advance(30 * DAY)
        assert outbox.settle(event) is False
        clock.advance(-30 * DAY)


TIMES = [-3650 * DAY, -30 * DAY, -7 * DAY, timedelta(0), 30 * DAY, 3650 * DAY]


@pytest.mark.parametrize("time", TIMES, ids=str)
@pytest.mark.parametrize("committed", [True, False])
def test_an_event_is_dated_by_its_creation(
    fake: FakeDynamoDB, clock: FakeClock, time: timedelta, committed: bool
) -> None:
    """An event about the past or the future that was created now is settled, whatever its own time."""
    outbox = outbox_of(fake, clock)
    event = Event("Booked", {}, id=id_of(clock.now()), time=clock.now() + time)
    if committed:
        write(fake, outbox, event)
    assert outbox.settle(event) is committed
    clock.advance(6 * DAY)
    assert outbox.settle(event) is committed


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_an_event_whose_item_may_be_gone_is_not_judged(fake: FakeDynamoDB, clock: FakeClock, time: timedelta) -> None:
    """After the ttl a missing item proves nothing, whatever the event's own time; no marker is written."""
    outbox = outbox_of(fake, clock)
    event = Event("Booked", {}, id=id_of(clock.now()), time=clock.now() + time)
    key = write(fake, outbox, event)
    clock.advance(7 * DAY)
    assert outbox.settle(event) is True
    fake.delete_item(TableName="events", Key=key)
    with pytest.raises(CommitUnknownError):
        outbox.settle(event)
    assert items(fake) == []


UNDATED: dict[str, Callable[[datetime], str]] = {
    "an id of its own": lambda _: "order-7",
    "a UUIDv4": lambda _: "9f1b1a5e-5a55-4b0e-8a5e-0c2f3f1d2b3a",
    "a UUIDv8": lambda _: "019ab3f0-1c00-8000-8000-000000000000",
    "a UUIDv7 of a clock that is far ahead": lambda now: id_of(now + 8 * DAY),
    "a UUIDv7 beyond the year 9999": lambda _: "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "an upper-case UUIDv7": lambda now: id_of(now).upper(),
    "an old UUIDv7": lambda now: id_of(now - 8 * DAY),
}


@pytest.mark.parametrize("make", UNDATED.values(), ids=UNDATED)
def test_an_event_of_unknown_age_is_only_looked_for(
    fake: FakeDynamoDB, clock: FakeClock, make: Callable[[datetime], str]
) -> None:
    """If the event's creation is unknown, or too long ago, `settle` finds it, or says that it can't know."""
    outbox = outbox_of(fake, clock)
    event = Event("Booked", {}, id=make(clock.now()), time=clock.now())
    with pytest.raises(CommitUnknownError):
        outbox.settle(event)
    assert items(fake) == []
    write(fake, outbox, event)
    fake.calls.clear()
    assert outbox.settle(event) is True
    assert asked(fake) == []


def test_a_generated_time_dates_an_event_with_an_id_of_its_own() -> None:
    """A generated time tells an event's age, also after it was pickled; a time that was given does not."""
    generated = Event("Booked", {}, id="order-7")
    given = Event("Booked", {}, id="order-7", time=datetime(2026, 1, 1, tzinfo=UTC))
    assert generated.created_at == generated.time
    assert pickle.loads(pickle.dumps(generated)).created_at == generated.time  # noqa: S301  # pickled here
    assert generated.replace(source="Books").created_at == generated.time
    assert generated.replace(time=given.time).created_at is None
    assert given.created_at is None
    dated = given.replace(id=id_of(given.time + DAY)).created_at
    assert dated == given.time + DAY


def test_looking_for_an_event_may_fail(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If the look-up fails, too, the outcome stays unknown, with the failure as the cause."""
    fake.fail_next("get_item", TIMEOUT)
    with pytest.raises(CommitUnknownError) as caught:
        outbox_of(fake, clock).settle(Event("Booked", {}, id="order-7", time=clock.now()))
    assert caught.value.__cause__ is TIMEOUT


def test_a_void_marker_found_later_is_not_the_event(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A marker that outlives the event's date still says that the transaction was not committed."""
    outbox = outbox_of(fake, clock)
    event = Event("Booked", {}, id=id_of(clock.now()), time=clock.now())
    clock.advance(6 * DAY)
    assert outbox.settle(event) is False
    clock.advance(6 * DAY)
    assert outbox.settle(event) is False
    with pytest.raises(ConditionFailedError):
        add_book(outbox, "a", event)
