"""A commit with a lost response: it is verified or made impossible; otherwise CommitUnknownError is raised."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ChecksumError,
    ConnectionClosedError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from dynamo_outbox import DomainEvent, Event, EventBridgePublisher, OutboxRelay, Retry, TransactionalOutbox
from dynamo_outbox.errors import (
    CommitUnknownError,
    ConditionFailedError,
    TransactionConflictError,
    TransactionVoidedError,
)
from dynamo_outbox.pipes import matches, outbox_pipe
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams
from dynamo_outbox.writing.commit_rules import ON_ANSWER, Answer, Step, next_step

from ..doubles import FakeClock, StubBus, client_error, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = ReadTimeoutError(endpoint_url="http://dynamodb")
KEYS = {"books": ("name",), "events": ("pk", "sk")}


class Network:
    """A client that delays transactions: the caller gets a timeout, and `arrive` delivers the requests later."""

    def __init__(self, fake: FakeDynamoDB) -> None:
        self.fake = fake
        self.delays = 0
        self.on_their_way: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fake, name)

    def transact_write_items(self, **request: Any) -> Any:
        if self.delays:
            self.delays -= 1
            self.on_their_way.append(request)
            raise TIMEOUT
        return self.fake.transact_write_items(**request)

    def arrive(self) -> list[str]:
        """Deliver the delayed requests and return the outcome of each."""
        told = []
        for request in self.on_their_way:
            try:
                self.fake.transact_write_items(**request)
                told.append("committed")
            except self.fake.exceptions.TransactionCanceledException:
                told.append("cancelled")
        self.on_their_way.clear()
        return told


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    return fake_dynamodb(KEYS, clock, StreamSpecification=stream)


@pytest.fixture
def outbox(fake: FakeDynamoDB, clock: FakeClock) -> TransactionalOutbox:
    return outbox_of(fake, clock)


def outbox_of(client: Any, clock: FakeClock, **options: Any) -> TransactionalOutbox:
    """Return an outbox whose waits advance the clock."""
    return TransactionalOutbox("events", source="Demo", client=client, keys={"books": "name"}, clock=clock, **options)


def add_book(outbox: TransactionalOutbox, name: str = "a", event: Event | None = None) -> Event:
    with outbox.transaction() as tx:
        tx.update("books", {"name": name}, add={"copies": 1})
        return tx.emit(event or Event("BookAdded", {"name": name}))


def copies(fake: FakeDynamoDB, name: str = "a") -> int:
    item = fake.get_item(TableName="books", Key={"name": {"S": name}}).get("Item", {})
    return int(item.get("copies", {"N": "0"})["N"])


def items(fake: FakeDynamoDB) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fake.scan(TableName="events")["Items"]
    return found


def asked(fake: FakeDynamoDB) -> list[str]:
    return [call.operation for call in fake.calls if call.operation in ("transact_write_items", "put_item")]


def lose(
    fake: FakeDynamoDB, times: int, *, after_commit: bool = False, operation: str = "transact_write_items"
) -> None:
    for _ in range(times):
        fake.fail_next(operation, TIMEOUT, after_commit=after_commit)


LOST = [
    TIMEOUT,
    ConnectionClosedError(endpoint_url="http://dynamodb"),
    EndpointConnectionError(endpoint_url="http://dynamodb"),
    ResponseParserError("not XML"),
    ConnectionResetError(),
    ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
    UnicodeDecodeError("utf-8", b"\xc3", 0, 1, "cut off"),
    client_error("400", ResponseMetadata={"HTTPStatusCode": 400}),  # a truncated body
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("after_commit", [True, False])
def test_a_lost_answer_is_asked_for_again(
    outbox: TransactionalOutbox, fake: FakeDynamoDB, error: Exception, after_commit: bool
) -> None:
    """After a lost response the same request with the same token is sent again; it takes effect exactly once."""
    fake.fail_next("transact_write_items", error, after_commit=after_commit)
    event = add_book(outbox)
    assert copies(fake) == 1
    assert [item["eventId"]["S"] for item in items(fake)] == [event.id]
    first, second = (call.request for call in fake.calls if call.operation == "transact_write_items")
    assert first == second


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_says_nothing_about_the_commit(
    outbox: TransactionalOutbox, fake: FakeDynamoDB, status: int
) -> None:
    """After status 500 or 503 the outcome is unknown, so the same request is sent again with its token."""
    error = client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": status})
    fake.fail_next("transact_write_items", error, after_commit=True)
    add_book(outbox)
    assert copies(fake) == 1
    assert asked(fake) == ["transact_write_items"] * 2


def test_a_commit_that_no_answer_told_of_is_found_by_the_marker(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If there is no time to resend, the void marker's put finds the event: the commit succeeded."""
    outbox = outbox_of(fake, clock, retry=Retry(timeout=timedelta(0)))
    lose(fake, 1, after_commit=True)
    event = add_book(outbox)
    assert asked(fake) == ["transact_write_items", "put_item"]
    assert copies(fake) == 1
    assert [item["eventId"]["S"] for item in items(fake)] == [event.id]


def test_what_stays_without_an_answer_is_made_void(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If no request arrives in time, a void marker is written, and it cancels requests that arrive later."""
    network = Network(fake)
    network.delays = 99
    with pytest.raises(TransactionVoidedError, match="run it again") as caught:
        add_book(outbox_of(network, clock))
    assert caught.value.reasons == ()
    assert len(network.on_their_way) == 4  # at 0, 0.5, 1.5 and 3.5 seconds; the timeout is 5
    assert network.arrive() == ["cancelled"] * 4
    assert copies(fake) == 0
    (marker,) = items(fake)
    assert "outboxFormat" not in marker


def test_a_refusal_after_silence_is_believed_only_when_it_is_final(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """After a lost request, a refusal is raised only when the lost request can't commit any more."""
    network = Network(fake)
    network.delays = 1
    fake.put_item(TableName="books", Item={"name": {"S": "a"}})
    with pytest.raises(ConditionFailedError) as caught, outbox_of(network, clock).transaction() as tx:
        tx.put("books", {"name": "a"}, must_not_exist=True, label="book")
        tx.emit(Event("BookAdded", {}))
    assert caught.value.label == "book"
    fake.delete_item(TableName="books", Key={"name": {"S": "a"}})  # so that only the marker can refuse the request
    assert network.arrive() == ["cancelled"]


def test_a_clean_refusal_costs_one_request(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """If each request got a response, a refusal is final and no marker is written."""
    fake.put_item(TableName="books", Item={"name": {"S": "a"}})
    fake.calls.clear()
    with pytest.raises(ConditionFailedError), outbox.transaction() as tx:
        tx.put("books", {"name": "a"}, must_not_exist=True)
        tx.emit(Event("BookAdded", {}))
    assert asked(fake) == ["transact_write_items"]


def test_botocores_own_retries_leave_a_doubt(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """If botocore retried, a refusal leaves the first attempt unknown, so it is settled before it is raised."""
    reasons = [{"Code": "ConditionalCheckFailed"}, {"Code": "None"}]
    error = client_error(
        "TransactionCanceledException", CancellationReasons=reasons, ResponseMetadata={"RetryAttempts": 1}
    )
    fake.fail_next("transact_write_items", error)
    with pytest.raises(ConditionFailedError):
        add_book(outbox)
    assert asked(fake) == ["transact_write_items", "put_item"]
    fake.fail_next("transact_write_items", error, after_commit=True)
    add_book(outbox, "b")
    assert copies(fake, "b") == 1


def test_a_transaction_that_meets_its_own_event_was_committed(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If the token expired and the resent request is refused by its own event, the commit succeeded."""
    lose(fake, 1, after_commit=True)

    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return getattr(fake, name)

        def transact_write_items(self, **request: Any) -> Any:
            fake._tokens.clear()
            return fake.transact_write_items(**request)

    outbox = outbox_of(Forgetful(), clock)
    add_book(outbox)
    assert copies(fake) == 1
    assert asked(fake) == ["transact_write_items"] * 2


def test_an_event_id_that_was_used_before_is_a_refusal(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A second transaction with the same event is refused, and its change is not written."""
    event = add_book(outbox, event=Event("BookAdded", {"name": "a"}))
    with pytest.raises(ConditionFailedError) as caught:
        add_book(outbox, "b", event)
    assert caught.value.label == f"BookAdded {event.id}"
    assert copies(fake, "b") == 0


def test_another_event_under_the_same_id_proves_nothing(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If the key holds an event with other data, the uncertain transaction is void."""
    network = Network(fake)
    outbox = outbox_of(network, clock, retry=Retry(timeout=timedelta(0)))
    mine = Event("BookAdded", {"name": "b"})
    add_book(outbox, "a", mine.replace(data={"name": "a"}))
    network.delays = 1
    with pytest.raises(TransactionVoidedError):
        add_book(outbox, "b", mine)
    assert network.arrive() == ["cancelled"]
    assert copies(fake, "b") == 0


def test_contention_after_silence_is_settled_too(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """If the last response is a conflict and an earlier request is unanswered, that request is made void."""
    network = Network(fake)
    network.delays = 1
    conflict = client_error(
        "TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}, {"Code": "None"}]
    )
    for _ in range(9):
        fake.fail_next("transact_write_items", conflict)
    with pytest.raises(TransactionConflictError):
        add_book(outbox_of(network, clock, retry=Retry(attempts=3)))
    fake._faults.clear()
    assert network.arrive() == ["cancelled"]


def test_what_was_never_sent_is_no_doubt(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """An error from before the request, such as missing credentials, is raised unchanged."""
    fake.fail_next("transact_write_items", NoCredentialsError())
    with pytest.raises(NoCredentialsError):
        add_book(outbox)
    assert asked(fake) == ["transact_write_items"]


def test_what_could_not_be_sent_again_leaves_the_doubt(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """If credentials expire after a lost response, the commit is unknown: the first request may have succeeded."""
    expired = CredentialRetrievalError(provider="sso", error_msg="expired")
    lose(fake, 1, after_commit=True)
    for operation in ["transact_write_items"] * 3 + ["put_item"]:
        fake.fail_next(operation, expired)
    with pytest.raises(CommitUnknownError) as caught:
        add_book(outbox)
    assert caught.value.__cause__ is expired
    assert outbox.settle(caught.value) is True


def unsettled(fake: FakeDynamoDB, clock: FakeClock, *, committed: bool) -> CommitUnknownError:
    """Return the error of a transaction whose own request and void marker both got no response."""
    outbox = outbox_of(fake, clock, retry=Retry(timeout=timedelta(0)))
    lose(fake, 1, after_commit=committed)
    lose(fake, 1, operation="put_item")
    with pytest.raises(CommitUnknownError, match=r"outbox\.settle") as caught:
        add_book(outbox)
    return caught.value


@pytest.mark.parametrize("committed", [True, False])
def test_an_error_carries_what_is_needed_to_ask_again(fake: FakeDynamoDB, clock: FakeClock, committed: bool) -> None:
    """Another process can settle the pickled error, any number of times."""
    error = unsettled(fake, clock, committed=committed)
    assert error.sent_at is not None
    there = outbox_of(fake, clock)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # pickled by this test
    assert [there.settle(again) for _ in range(3)] == [committed] * 3
    assert copies(fake) == committed


def test_a_settled_commit_stays_settled(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A void transaction stays void for each later `settle`, also if the marker's own response was lost."""
    error = unsettled(fake, clock, committed=False)
    lose(fake, 1, after_commit=True, operation="put_item")
    outbox = outbox_of(fake, clock)
    assert outbox.settle(error) is False
    assert outbox.settle(error) is False
    assert len(items(fake)) == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_transaction_of_the_users_own_is_settled_by_its_event(
    outbox: TransactionalOutbox, fake: FakeDynamoDB, committed: bool
) -> None:
    """A `transact_write_items` by the user is settled by its event."""
    event = Event("BookAdded", {"name": "a"}, aggregate_type="Book", aggregate_id="a", sequence=3)
    action = outbox.transact_item(event)
    if committed:
        fake.transact_write_items(TransactItems=[action])
    assert outbox.settle(event) is committed
    if not committed:
        with pytest.raises(fake.exceptions.TransactionCanceledException):
            fake.transact_write_items(TransactItems=[action])


def test_a_model_of_an_event_is_not_settled(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A DomainEvent is refused by `settle`, because each conversion to an event makes another id."""

    class BookAdded(DomainEvent):
        name: str

    model: Any = BookAdded(name="a")
    fake.transact_write_items(TransactItems=[outbox.transact_item(model)])
    with pytest.raises(TypeError, match="not a BookAdded"):
        outbox.settle(model)
    assert len(items(fake)) == 1


def test_what_may_have_been_deleted_by_its_time_to_live_is_not_settled(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """After the event's time to live, a missing event proves nothing: the error is raised and no marker is written."""
    error = unsettled(fake, clock, committed=True)
    clock.advance(timedelta(days=7))
    (event,) = items(fake)
    fake.delete_item(TableName="events", Key={name: event[name] for name in KEYS["events"]})
    with pytest.raises(CommitUnknownError) as caught:
        outbox_of(fake, clock).settle(error)
    assert caught.value is error
    assert items(fake) == []


def test_a_transaction_without_an_event_can_only_say_that_it_does_not_know(
    outbox: TransactionalOutbox, fake: FakeDynamoDB
) -> None:
    """A transaction without an event can't be verified: the error says so and carries the token."""
    lose(fake, 9)
    with pytest.raises(CommitUnknownError, match="read the items that it writes") as caught, outbox.transaction() as tx:
        tx.put("books", {"name": "a"})
    assert caught.value.proof is None
    assert {call.request["ClientRequestToken"] for call in fake.calls if "ClientRequestToken" in call.request} == {
        caught.value.token
    }
    assert isinstance(caught.value.__cause__, ReadTimeoutError)
    assert "put_item" not in asked(fake)


def test_a_transaction_in_progress_is_waited_for_as_aws_advises(clock: FakeClock, fake: FakeDynamoDB) -> None:
    """After TransactionInProgress, waits start at 0.5 s and continue for more than 5 s, whatever `retry` says."""
    outbox = outbox_of(fake, clock, retry=Retry(attempts=1, timeout=timedelta(0)))
    for _ in range(5):
        fake.fail_next("transact_write_items", "TransactionInProgressException")
    with pytest.raises(TransactionVoidedError):
        add_book(outbox)
    assert clock.slept[0] >= 0.5
    assert sum(clock.slept) > 5


def test_a_marker_waits_for_a_transaction_that_is_under_way(clock: FakeClock, fake: FakeDynamoDB) -> None:
    """A marker that conflicts with the transaction in flight is put again and finds its outcome."""
    outbox = outbox_of(fake, clock, retry=Retry(timeout=timedelta(0)))
    lose(fake, 1, after_commit=True)
    fake.fail_next("put_item", "TransactionConflictException")
    add_book(outbox)
    assert asked(fake) == ["transact_write_items", "put_item", "put_item"]
    assert copies(fake) == 1


def test_a_marker_that_may_not_be_put_leaves_the_question_open(clock: FakeClock, fake: FakeDynamoDB) -> None:
    """An error that a retry can't fix, such as a missing permission, is not retried."""
    lose(fake, 1)
    fake.fail_next("put_item", "AccessDeniedException")
    with pytest.raises(CommitUnknownError) as caught:
        add_book(outbox_of(fake, clock, retry=Retry(timeout=timedelta(0))))
    assert asked(fake) == ["transact_write_items", "put_item"]
    assert "AccessDenied" in str(caught.value.__cause__)


def test_a_function_runs_again_when_its_transaction_was_made_void(clock: FakeClock, fake: FakeDynamoDB) -> None:
    """`transactional` treats a void transaction like contention and runs the function again."""
    network = Network(fake)
    network.delays = 1
    outbox = outbox_of(network, clock, retry=Retry(timeout=timedelta(0)))
    runs: list[str] = []

    @outbox.transactional(attempts=2)
    def add(tx: Any) -> None:
        runs.append("run")
        tx.update("books", {"name": "a"}, add={"copies": 1})
        tx.emit(Event("BookAdded", {}))

    add()
    assert len(runs) == 2
    assert network.arrive() == ["cancelled"]
    assert copies(fake) == 1


def test_neither_pipe_nor_relay_takes_notice_of_a_marker(
    clock: FakeClock, fake: FakeDynamoDB, streams_of: Callable[[FakeDynamoDB, str], list[dict[str, Any]]]
) -> None:
    """A void marker's stream record matches no pipe filter and publishes no event."""
    assert outbox_of(fake, clock).settle(Event("BookAdded", {}, time=clock.now())) is False
    (record,) = streams_of(fake, "events")
    bus = StubBus()
    relay = OutboxRelay(EventBridgePublisher("bus", client=bus))
    assert relay({"Records": [record]}) == {"batchItemFailures": []}
    assert bus.calls == []
    (pattern,) = outbox_pipe().patterns
    assert not matches(pattern, record, service="pipe")


@pytest.fixture
def streams_of() -> Callable[[FakeDynamoDB, str], list[dict[str, Any]]]:
    """Return a function that reads a table's stream records in boto3's form."""

    def read(fake: FakeDynamoDB, table: str) -> list[dict[str, Any]]:
        streams = FakeDynamoDBStreams(fake)
        arn = fake.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[dict[str, Any]] = streams.get_records(ShardIterator=iterator)["Records"]
        return records

    return read


@pytest.mark.parametrize(
    ("answer", "clean", "doubtful", "while_in_time"),
    [
        (Answer.COMMITTED, Step.DONE, Step.DONE, Step.DONE),
        (Answer.OWN_EVENT, Step.REFUSE, Step.DONE, Step.DONE),
        (Answer.CONTENTION, Step.REFUSE, Step.SETTLE, Step.RESEND),
        (Answer.REFUSED, Step.REFUSE, Step.SETTLE, Step.SETTLE),
        (Answer.IN_PROGRESS, Step.SETTLE, Step.SETTLE, Step.RESEND),
        (Answer.NONE, Step.SETTLE, Step.SETTLE, Step.RESEND),
    ],
)
def test_each_answer_has_its_step(answer: Answer, clean: Step, doubtful: Step, while_in_time: Step) -> None:
    """If the outcome is in doubt, a refusal is not final, and only retryable responses are sent again."""
    assert next_step(answer, in_doubt=False, in_time=False) is clean
    assert next_step(answer, in_doubt=True, in_time=False) is doubtful
    assert next_step(answer, in_doubt=True, in_time=True) is while_in_time
    assert set(ON_ANSWER) == set(Answer)


def test_a_transaction_is_not_sent_again_when_its_token_may_be_dead(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A retry timeout longer than DynamoDB's token lifetime is refused by the constructor."""
    with pytest.raises(ValueError, match=r"Retry\(.*is longer than DynamoDB recognises"):
        outbox_of(fake, clock, retry=Retry(timeout=timedelta(minutes=10)))
