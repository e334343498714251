"""The idempotency table: each row of its decision table, and its guarantees under random schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dynamo_outbox import IdempotencyStore, TableKeys
from dynamo_outbox.consuming.claims import (
    AT_MOST_ONCE,
    CLAIM_CONDITIONS,
    CLAIM_UPDATE,
    ENDING_CONDITION,
    ON_MEETING,
    Claim,
    Claimed,
    FailureReplay,
    RecordRequests,
    RecordState,
    Replay,
    record_state,
    resolve_refused_claim,
    whole_milliseconds,
)
from dynamo_outbox.consuming.results import StoredResult
from dynamo_outbox.errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError

from ..doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.consuming.claims import OnExpiredLease
    from dynamo_outbox.testing import FakeDynamoDB

NOW = FakeClock().now()
SECOND = timedelta(seconds=1)
CLAIM = Claim("catalogue#1", "mine", "payload")
REQUESTS = RecordRequests("handled", TableKeys(sort_key=None), ttl=timedelta(days=8), margin=SECOND)


def record(**changes: Any) -> dict[str, Any]:
    """Return another call's record in progress, with the same payload and a lease of one more minute."""
    attributes = {
        "pk": CLAIM.key,
        "status": "IN_PROGRESS",
        "claimToken": "another's",
        "fence": 7,
        "fingerprint": "payload",
        "leaseExpiresAt": int((NOW + 60 * SECOND).timestamp() * 1000),
        "expiresAt": int((NOW + 3600 * SECOND).timestamp()),
    } | changes
    return {name: {"N" if isinstance(value, int) else "S": str(value)} for name, value in attributes.items()}


def milliseconds(offset: timedelta) -> int:
    return int((NOW + offset).timestamp() * 1000)


ROWS = [
    ({}, RecordState.FORGOTTEN),
    (record(expiresAt=int(NOW.timestamp())), RecordState.FORGOTTEN),
    (record(expiresAt=int(NOW.timestamp()), status="COMPLETED", result='"a"'), RecordState.FORGOTTEN),
    (record(leaseExpiresAt=milliseconds(-SECOND)), RecordState.OVERDUE),
    (record(leaseExpiresAt=milliseconds(-SECOND + timedelta(milliseconds=1))), RecordState.HELD),
    (record(leaseExpiresAt=milliseconds(-SECOND), status="COMPLETED", result='"a"'), RecordState.DONE),
    (record(claimToken="mine"), RecordState.OWN),
    (record(claimToken="mine", fingerprint="other"), RecordState.OWN),
    (record(claimToken="mine", leaseExpiresAt=milliseconds(-SECOND)), RecordState.OWN),
    (record(claimToken="mine", status="COMPLETED", result='"a"'), RecordState.OWN),
    (record(claimToken="mine", status="RELEASED"), RecordState.SPENT),
    (record(status="RELEASED"), RecordState.RELEASED),
    (record(status="RELEASED", fingerprint="other"), RecordState.RELEASED),
    (record(fingerprint="other"), RecordState.OTHER_PAYLOAD),
    (record(fingerprint="other", status="COMPLETED", result='"a"'), RecordState.OTHER_PAYLOAD),
    (record(), RecordState.HELD),
    (record(status="COMPLETED", result='"a"'), RecordState.DONE),
    (record(status="COMPLETED", failure="{}"), RecordState.FAILED),
    (record(status="COMPLETED"), RecordState.DONE_WITHOUT_RESULT),
]


@pytest.mark.parametrize(("found", "state"), ROWS)
def test_each_record_has_its_row(found: dict[str, Any], state: RecordState) -> None:
    """Token, fingerprint, status, lease and time to live determine a record's state, in the table's order."""
    assert record_state(CLAIM, found, REQUESTS, milliseconds(0 * SECOND)) is state


FIRST = Claimed(int(NOW.timestamp() * 1000) + 1)
RULES = {
    RecordState.FORGOTTEN: FIRST,
    RecordState.SPENT: AlreadyInProgressError,
    RecordState.RELEASED: Claimed(8),
    RecordState.OWN: Claimed(7),
    RecordState.OVERDUE: Claimed(8),
    RecordState.OTHER_PAYLOAD: PayloadMismatchError,
    RecordState.HELD: AlreadyInProgressError,
    RecordState.FAILED: FailureReplay("{}"),
    RecordState.DONE: Replay('"a"', "json"),
    RecordState.DONE_WITHOUT_RESULT: ResultError,
}
POLICIES: list[OnExpiredLease] = ["rerun", "raise"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("found", "state"), ROWS)
def test_the_claim_takes_what_the_table_lets_it_take(
    found: dict[str, Any], state: RecordState, policy: OnExpiredLease
) -> None:
    """The claim's condition accepts exactly the records whose row allows it; others get their row's outcome."""
    store = new_store(dynamodb := new_table())
    if found:
        dynamodb.put_item(TableName="handled", Item=found)
    expected: Any = UnknownOutcomeError if (state, policy) == (RecordState.OVERDUE, "raise") else RULES[state]
    if found and expected is FIRST:
        expected = Claimed(8)  # the fence continues after a forgotten record
    if isinstance(expected, type):
        with pytest.raises(expected):
            store.records.claim(CLAIM, on_expired_lease=policy)
        assert dynamodb.get_item(TableName="handled", Key={"pk": found["pk"]})["Item"] == found
    else:
        assert store.records.claim(CLAIM, on_expired_lease=policy) == expected
        assert type(store.records.claim(CLAIM, on_expired_lease=policy)) is type(expected)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("found", "state"), ROWS)
def test_peek_says_what_the_claim_would_do(found: dict[str, Any], state: RecordState, policy: OnExpiredLease) -> None:
    """`peek` changes nothing and returns or raises what a claim would; None means that the key can be claimed."""
    store = new_store(dynamodb := new_table())
    if found:
        dynamodb.put_item(TableName="handled", Item=found)
    before = dynamodb.scan(TableName="handled")["Items"]
    expected: Any = UnknownOutcomeError if (state, policy) == (RecordState.OVERDUE, "raise") else RULES[state]
    if isinstance(expected, type):
        with pytest.raises(expected):
            store.records.peek(CLAIM, on_expired_lease=policy)
    else:
        assert store.records.peek(CLAIM, on_expired_lease=policy) == (
            None if isinstance(expected, Claimed) else expected
        )
    assert dynamodb.scan(TableName="handled")["Items"] == before


def test_a_taken_record_keeps_nothing_of_its_last_holder() -> None:
    """A claim removes the result, the failure and the token of an earlier call."""
    store = new_store(dynamodb := new_table())
    over = {"expiresAt": int(NOW.timestamp()), "failure": "{}", "result": "1", "resultForm": "1"}
    dynamodb.put_item(TableName="handled", Item=record(**over))
    store.records.claim(CLAIM, 60 * SECOND)
    (taken,) = dynamodb.scan(TableName="handled")["Items"]
    assert taken == record(claimToken="mine", fence=8, expiresAt=int((NOW + store.ttl).timestamp()))


def test_a_long_lease_outlives_a_short_memory() -> None:
    """A call whose lease is longer than the store's ttl is kept until the lease has ended."""
    clock = FakeClock()
    store = new_store(new_table(clock), clock, ttl=120 * SECOND)
    assert isinstance(store.records.claim(CLAIM, 600 * SECOND), Claimed)
    clock.advance(300 * SECOND)
    with pytest.raises(AlreadyInProgressError):
        store.records.claim(CLAIM._replace(token="another's"))
    clock.advance(302 * SECOND)
    assert isinstance(store.records.claim(CLAIM._replace(token="another's")), Claimed)


def test_every_row_is_reached() -> None:
    """The rows above cover each state of the decision table."""
    assert {state for _, state in ROWS} == set(RecordState) == set(ON_MEETING) == set(AT_MOST_ONCE)


def test_a_record_that_went_meanwhile_is_tried_again_later() -> None:
    """A refused claim that returns no record raises AlreadyInProgressError."""
    with pytest.raises(AlreadyInProgressError):
        resolve_refused_claim(CLAIM, {}, REQUESTS, milliseconds(0 * SECOND))


@pytest.mark.parametrize("sort_key", [None, "sk"])
@pytest.mark.parametrize("result", [('"a"', "json"), ('"a"', "dynamodb"), ('"a"', "annotation")])
def test_a_record_of_a_call_that_is_done_is_as_completion_leaves_it(
    result: tuple[str, str], sort_key: str | None
) -> None:
    """An item for the caller's own transaction is read like the record of a completed claim."""
    keys = TableKeys(sort_key=sort_key, prefix="calls/")
    requests = RecordRequests("handled", keys, ttl=60 * SECOND, margin=SECOND)
    dynamodb = fake_dynamodb({"handled": ["pk", "sk"] if sort_key else ["pk"]})
    now = milliseconds(0 * SECOND)
    dynamodb.put_item(TableName="handled", Item=requests.completed_item(CLAIM, now, result))
    found = dynamodb.get_item(**requests.read(CLAIM))["Item"]
    claim = CLAIM._replace(token="a duplicate's")
    records = IdempotencyStore("handled", client=dynamodb, clock=FakeClock(), table_keys=keys).records
    assert resolve_refused_claim(claim, found, requests, now) == records.claim(claim) == result
    with pytest.raises(PayloadMismatchError):
        records.claim(claim._replace(fingerprint="another"))
    assert record_state(claim, found, requests, milliseconds(60 * SECOND)) is RecordState.FORGOTTEN


def test_a_record_is_read_as_it_is_now() -> None:
    """A read for a decision is strongly consistent."""
    assert REQUESTS.read(CLAIM)["ConsistentRead"] is True


def test_a_duration_is_cut_to_milliseconds() -> None:
    """A duration is rounded down to whole milliseconds, however long it is."""
    assert whole_milliseconds(timedelta(days=400, microseconds=1999)) == 400 * 86_400_000 + 1


@pytest.mark.parametrize("microseconds", [1000, 1999])
def test_a_records_times_are_whole_milliseconds(microseconds: int) -> None:
    """A store reads its clock on each call, in milliseconds rounded down."""
    clock = FakeClock(datetime(1970, 1, 1, 0, 0, 5, microseconds, tzinfo=UTC))
    records = new_store(new_table(), clock).records
    assert records.now() == 5001
    clock.advance(timedelta(milliseconds=7))
    assert records.now() == 5008


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # zone: UTC
DURATIONS = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))
KEYS = st.builds(
    TableKeys,
    sort_key=st.none() | st.just("sk"),
    prefix=st.sampled_from(["", "a/"]),
    ttl_attribute=st.just("ttl"),
)


@given(KEYS, TIMES, DURATIONS, DURATIONS, DURATIONS, st.sampled_from(POLICIES))
def test_a_claims_request(
    keys: TableKeys, now: datetime, lease: timedelta, margin: timedelta, ttl: timedelta, policy: OnExpiredLease
) -> None:
    """A claim sets the end of the lease in milliseconds and the time to live in seconds.

    The record lives for the store's ttl, or for lease plus margin if that is longer.
    """
    milliseconds = int(now.timestamp() * 1000)
    request = RecordRequests("handled", keys, ttl=ttl, margin=margin).claim(CLAIM, milliseconds, lease, policy)
    whole = [each // timedelta(milliseconds=1) for each in (lease, margin, ttl)]
    numbers = {
        ":leaseExpiresAt": milliseconds + whole[0],
        ":expiresAt": (milliseconds + max(whole[2], whole[0] + whole[1])) // 1000,
        ":nowSeconds": milliseconds // 1000,
        ":nowMilliseconds": milliseconds,
        ":one": 1,
        **({":overdue": milliseconds - whole[1]} if policy == "rerun" else {}),
    }
    texts = {":inProgress": "IN_PROGRESS", ":released": "RELEASED", ":token": "mine", ":fingerprint": "payload"}
    names = [
        "status",
        "claimToken",
        "fingerprint",
        "leaseExpiresAt",
        "fence",
        "result",
        "resultForm",
        "failure",
    ]
    assert request == {
        "TableName": "handled",
        "Key": keys.typed(CLAIM.key, "idempotency"),
        "UpdateExpression": CLAIM_UPDATE,
        "ConditionExpression": CLAIM_CONDITIONS[policy],
        "ExpressionAttributeNames": {"#key": "pk", "#expiresAt": "ttl", **{f"#{name}": name for name in names}},
        "ExpressionAttributeValues": {name: {"S": text} for name, text in texts.items()}
        | {name: {"N": str(number)} for name, number in numbers.items()},
        "ReturnValues": "UPDATED_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@pytest.mark.parametrize(
    ("ending", "attributes"),
    [
        (lambda requests, now: requests.complete(CLAIM, now, None), {}),
        (lambda requests, now: requests.complete(CLAIM, now, ("1", "json")), {"result": {"S": "1"}}),
        (
            lambda requests, now: requests.complete(CLAIM, now, ("1", "annotation")),
            {"result": {"S": "1"}, "resultForm": {"S": "annotation"}},
        ),
        (lambda requests, now: requests.fail(CLAIM, now, "{}"), {"failure": {"S": "{}"}}),
        (None, {}),
    ],
    ids=["no result", "result", "result by annotation", "failure", "release"],
)
@given(keys=KEYS, now=TIMES, ttl=DURATIONS)
def test_an_endings_request(
    ending: Callable[[RecordRequests, int], dict[str, Any]] | None,
    attributes: dict[str, Any],
    keys: TableKeys,
    now: datetime,
    ttl: timedelta,
) -> None:
    """An ending sets the outcome and the time to live, a release only the status; both require the claim's token."""
    requests = RecordRequests("handled", keys, ttl=ttl, margin=SECOND)
    milliseconds = int(now.timestamp() * 1000)
    expiry = {"N": str((milliseconds + ttl // timedelta(milliseconds=1)) // 1000)}
    if ending is None:
        request, values = requests.release(CLAIM), {"status": {"S": "RELEASED"}}
    else:
        request = ending(requests, milliseconds)
        values = {"status": {"S": "COMPLETED"}, **attributes, "expiresAt": expiry}
    update = ", ".join(f"#{name} = :{name}" for name in values)
    names = {f"#{name}": "ttl" if name == "expiresAt" else name for name in ("claimToken", *values)}
    assert request == {
        "TableName": "handled",
        "Key": keys.typed(CLAIM.key, "idempotency"),
        "UpdateExpression": f"SET {update}",
        "ConditionExpression": ENDING_CONDITION,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {
            ":token": {"S": "mine"},
            ":inProgress": {"S": "IN_PROGRESS"},
            **{f":{name}": value for name, value in values.items()},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda claim: REQUESTS.claim(claim, 1, SECOND, "rerun"),
        lambda claim: REQUESTS.complete(claim, 1, None),
        lambda claim: REQUESTS.complete(claim, 1, ("1", "annotation")),
        lambda claim: REQUESTS.fail(claim, 1, "{}"),
        lambda claim: REQUESTS.release(claim),
    ],
    ids=["claim", "completion", "result", "failure", "release"],
)
def test_no_request_changes_another(make: Callable[[Claim], dict[str, Any]]) -> None:
    """A request keeps its key and token when the store makes its next request."""
    first = make(CLAIM)
    second = make(CLAIM._replace(key="catalogue#2", token="another's"))
    for request, key, token in ((first, "catalogue#1", "mine"), (second, "catalogue#2", "another's")):
        assert request["Key"] == {"pk": {"S": key}}
        assert request["ExpressionAttributeValues"][":token"] == {"S": token}


def new_table(clock: FakeClock | None = None) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"]}, clock)


def new_store(dynamodb: Any, clock: FakeClock | None = None, ttl: timedelta = timedelta(days=8)) -> IdempotencyStore:
    return IdempotencyStore(
        "handled",
        client=dynamodb,
        clock=clock or FakeClock(),
        lease=60 * SECOND,
        clock_margin=SECOND,
        ttl=ttl,
    )


class Schedules(RuleBasedStateMachine):
    """Holders with clocks up to the margin apart claim, complete, release, lose responses or stop."""

    holders = Bundle("holders")

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.dynamodb = new_table(self.clock)
        self._drawn = 0
        self.results: list[str] = []
        self.running: dict[str, Any] = {}

    def store_of(self, skew: int) -> IdempotencyStore:
        clock = FakeClock()
        clock.set(self.clock.now() + timedelta(milliseconds=skew))
        return new_store(self.dynamodb, clock)

    @rule(target=holders, payload=st.sampled_from(["a", "b"]), skew=st.integers(-500, 500), repeated=st.booleans())
    def claim(self, payload: str, skew: int, *, repeated: bool) -> tuple[Claim, int] | None:
        """Claim the key; a lost response means that the request is sent twice."""
        self._drawn += 1
        claim = Claim("key", f"token {self._drawn}", payload)
        for _ in range(1 + repeated):
            try:
                told = self.store_of(skew).records.claim(claim)
            except (AlreadyInProgressError, PayloadMismatchError):
                return None
            if isinstance(told, Replay):
                assert told.text == self.results[-1]
                return None
        lease_end = self.clock.now() + timedelta(milliseconds=skew) + 60 * SECOND
        assert all(end <= self.clock.now() + 2 * SECOND for end in self.running.values()), "two hold the key"
        self.running = {claim.token: lease_end}
        return claim, skew

    @rule(holder=holders, repeated=st.booleans())
    def complete(self, holder: tuple[Claim, int] | None, *, repeated: bool) -> None:
        """Complete a holder's call: the result is stored if and only if the holder still has the key."""
        if holder is None:
            return
        claim, skew = holder
        holds = claim.token in self.running
        already = self.results[-1:] == [f'"{claim.token}"'] and self.stored().get("claimToken") == {"S": claim.token}
        for _ in range(1 + repeated):
            took = self.store_of(skew).records.complete(claim, StoredResult(f'"{claim.token}"', "json"))
            assert took is (holds or already)
        if holds:
            self.results.append(f'"{claim.token}"')
            self.running = {}

    @rule(holder=holders, repeated=st.booleans())
    def release(self, holder: tuple[Claim, int] | None, *, repeated: bool) -> None:
        """Release the key after a failure; no other holder's claim is affected."""
        if holder is None or self.results[-1:] == [f'"{holder[0].token}"']:
            return  # a call either completes or releases
        before = self.stored()
        for _ in range(1 + repeated):
            self.store_of(holder[1]).records.release(holder[0])
        if self.running.pop(holder[0].token, None) is None:
            assert self.stored() == before

    @rule(seconds=st.sampled_from([1, 30, 59, 61, 120]))
    def wait(self, seconds: int) -> None:
        """Advance the clock."""
        self.clock.advance(seconds * SECOND)

    @invariant()
    def one_result(self) -> None:
        """Within the time to live there is at most one result, and it does not change."""
        assert len(self.results) <= 1
        if self.results:
            assert self.stored()["result"] == {"S": self.results[0]}

    def stored(self) -> dict[str, Any]:
        item: dict[str, Any] = self.dynamodb.get_item(TableName="handled", Key={"pk": {"S": "key"}}).get("Item", {})
        return item


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=settings().max_examples * 3 // 2, stateful_step_count=25)
