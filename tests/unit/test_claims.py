"""The idempotency table: each of its rows, and its promises under random schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dynamo_outbox import IdempotencyStore
from dynamo_outbox.consuming.claims import (
    AT_MOST_ONCE,
    ON_MEETING,
    Claim,
    Claimed,
    FailureReplay,
    Met,
    Place,
    Replay,
    Terms,
    completed_item,
    meet,
    read_request,
    what_is_met,
    whole_milliseconds,
)
from dynamo_outbox.errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError
from dynamo_outbox.consuming.results import StoredResult

from ..doubles import FixedClock, fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.consuming.claims import OnExpiredLease
    from dynamo_outbox.testing import FakeDynamoDB

NOW = FixedClock().now
SECOND = timedelta(seconds=1)
CLAIM = Claim("catalogue#1", "mine", "payload")
WHERE = Place("handled", "pk", None, "", "expiresAt")
TERMS = Terms(WHERE, ttl=timedelta(days=8), margin=SECOND)


def record(**changes: Any) -> dict[str, Any]:
    """A record in progress, of another call with the same payload, whose lease goes on for a minute."""
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
    ({}, Met.FORGOTTEN),
    (record(expiresAt=int(NOW.timestamp())), Met.FORGOTTEN),
    (record(expiresAt=int(NOW.timestamp()), status="COMPLETED", result='"a"'), Met.FORGOTTEN),
    (record(leaseExpiresAt=milliseconds(-SECOND)), Met.OVERDUE),
    (record(leaseExpiresAt=milliseconds(-SECOND + timedelta(milliseconds=1))), Met.HELD),
    (record(leaseExpiresAt=milliseconds(-SECOND), status="COMPLETED", result='"a"'), Met.DONE),
    (record(claimToken="mine"), Met.OWN),
    (record(claimToken="mine", fingerprint="other"), Met.OWN),
    (record(claimToken="mine", leaseExpiresAt=milliseconds(-SECOND)), Met.OWN),
    (record(claimToken="mine", status="COMPLETED", result='"a"'), Met.OWN),
    (record(claimToken="mine", status="RELEASED"), Met.SPENT),
    (record(status="RELEASED"), Met.RELEASED),
    (record(status="RELEASED", fingerprint="other"), Met.RELEASED),
    (record(fingerprint="other"), Met.OTHER_PAYLOAD),
    (record(fingerprint="other", status="COMPLETED", result='"a"'), Met.OTHER_PAYLOAD),
    (record(), Met.HELD),
    (record(status="COMPLETED", result='"a"'), Met.DONE),
    (record(status="COMPLETED", failure="{}"), Met.FAILED),
    (record(status="COMPLETED"), Met.DONE_WITHOUT_RESULT),
]


@pytest.mark.parametrize(("found", "met"), ROWS)
def test_each_record_has_its_row(found: dict[str, Any], met: Met) -> None:
    """What a call meets is decided by token, fingerprint, status, lease and time to live, in the table's order."""
    assert what_is_met(CLAIM, found, TERMS, milliseconds(0 * SECOND)) is met


FIRST = Claimed(int(NOW.timestamp() * 1000) + 1)
RULES = {
    Met.FORGOTTEN: FIRST,
    Met.SPENT: AlreadyInProgressError,
    Met.RELEASED: Claimed(8),
    Met.OWN: Claimed(7),
    Met.OVERDUE: Claimed(8),
    Met.OTHER_PAYLOAD: PayloadMismatchError,
    Met.HELD: AlreadyInProgressError,
    Met.FAILED: FailureReplay("{}", by_annotation=False),
    Met.DONE: Replay('"a"', by_annotation=False),
    Met.DONE_WITHOUT_RESULT: ResultError,
}
POLICIES: list[OnExpiredLease] = ["rerun", "raise"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("found", "met"), ROWS)
def test_the_claim_takes_what_the_table_lets_it_take(found: dict[str, Any], met: Met, policy: OnExpiredLease) -> None:
    """The claim's condition lets through just the records whose row says so; any other ends as its row says."""
    store = new_store(dynamodb := new_table())
    if found:
        dynamodb.put_item(TableName="handled", Item=found)
    expected: Any = UnknownOutcomeError if (met, policy) == (Met.OVERDUE, "raise") else RULES[met]
    if found and expected is FIRST:
        expected = Claimed(8)  # a forgotten record's fence goes on
    if isinstance(expected, type):
        with pytest.raises(expected):
            store.claim(CLAIM, on_expired_lease=policy)
        assert dynamodb.get_item(TableName="handled", Key={"pk": found["pk"]})["Item"] == found
    else:
        assert store.claim(CLAIM, on_expired_lease=policy) == expected
        assert type(store.claim(CLAIM, on_expired_lease=policy)) is type(expected)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("found", "met"), ROWS)
def test_a_look_says_what_the_claim_would_do(found: dict[str, Any], met: Met, policy: OnExpiredLease) -> None:
    """Reading the record changes nothing, and tells whether the key can be claimed, or what the claim would meet."""
    store = new_store(dynamodb := new_table())
    if found:
        dynamodb.put_item(TableName="handled", Item=found)
    before = dynamodb.scan(TableName="handled")["Items"]
    expected: Any = UnknownOutcomeError if (met, policy) == (Met.OVERDUE, "raise") else RULES[met]
    if isinstance(expected, type):
        with pytest.raises(expected):
            store.look(CLAIM, on_expired_lease=policy)
    else:
        assert store.look(CLAIM, on_expired_lease=policy) == (None if isinstance(expected, Claimed) else expected)
    assert dynamodb.scan(TableName="handled")["Items"] == before


def test_a_taken_record_keeps_nothing_of_its_last_holder() -> None:
    """A claim leaves no result, failure or token of an earlier call behind."""
    store = new_store(dynamodb := new_table())
    over = {"expiresAt": int(NOW.timestamp()), "failure": "{}", "result": "1", "resultByAnnotation": "1"}
    dynamodb.put_item(TableName="handled", Item=record(**over))
    store.claim(CLAIM, 60 * SECOND)
    (taken,) = dynamodb.scan(TableName="handled")["Items"]
    assert taken == record(claimToken="mine", fence=8, expiresAt=int((NOW + store.ttl).timestamp()))


def test_a_long_lease_outlives_a_short_memory() -> None:
    """A call whose lease is longer than the store's ttl is not forgotten while it may still run."""
    clock = FixedClock()
    store = new_store(new_table(clock), clock, ttl=120 * SECOND)
    assert isinstance(store.claim(CLAIM, 600 * SECOND), Claimed)
    clock.advance(300 * SECOND)
    with pytest.raises(AlreadyInProgressError):
        store.claim(CLAIM._replace(token="another's"))
    clock.advance(302 * SECOND)
    assert isinstance(store.claim(CLAIM._replace(token="another's")), Claimed)


def test_every_row_is_reached() -> None:
    """The rows above are all that the table has."""
    assert {met for _, met in ROWS} == set(Met) == set(ON_MEETING) == set(AT_MOST_ONCE)


def test_a_record_that_went_meanwhile_is_tried_again_later() -> None:
    """A refused claim that brings no record back is answered like a key in progress: the next try takes it."""
    with pytest.raises(AlreadyInProgressError):
        meet(CLAIM, {}, TERMS, milliseconds(0 * SECOND))


@pytest.mark.parametrize("sort_key", [None, "sk"])
@pytest.mark.parametrize("result", [None, ('"a"', False), ('"a"', True)])
def test_a_record_of_a_call_that_is_done_is_as_completion_leaves_it(
    result: tuple[str, bool] | None, sort_key: str | None
) -> None:
    """The item to be put in a transaction of its own answers a duplicate, and is found, like a completed claim's."""
    where = Place("handled", "pk", sort_key, "calls/", "expiresAt")
    dynamodb = fake_dynamodb({"handled": ["pk", "sk"] if sort_key else ["pk"]})
    now = milliseconds(0 * SECOND)
    dynamodb.put_item(TableName="handled", Item=completed_item(CLAIM, where, result=result, now=now, ttl=60 * SECOND))
    found = dynamodb.get_item(**read_request(CLAIM, where))["Item"]
    claim = CLAIM._replace(token="a duplicate's")
    store = IdempotencyStore("handled", client=dynamodb, clock=FixedClock(), sort_key=sort_key, key_prefix="calls/")
    if result is None:
        with pytest.raises(ResultError):
            meet(claim, found, TERMS, now)
    else:
        assert meet(claim, found, TERMS, now) == store.claim(claim) == result
    with pytest.raises(PayloadMismatchError):
        store.claim(claim._replace(fingerprint="another"))
    assert what_is_met(claim, found, TERMS, milliseconds(60 * SECOND)) is Met.FORGOTTEN


def test_a_record_is_read_as_it_is_now() -> None:
    """A read for a decision is consistent."""
    assert read_request(CLAIM, WHERE)["ConsistentRead"] is True


def test_a_duration_is_cut_to_milliseconds() -> None:
    """What is less than a millisecond doesn't count; nothing is lost of what is more, however long."""
    assert whole_milliseconds(timedelta(days=400, microseconds=1999)) == 400 * 86_400_000 + 1


def new_table(clock: FixedClock | None = None) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"]}, clock)


def new_store(dynamodb: Any, clock: FixedClock | None = None, ttl: timedelta = timedelta(days=8)) -> IdempotencyStore:
    return IdempotencyStore(
        "handled",
        client=dynamodb,
        clock=clock or FixedClock(),
        lease=60 * SECOND,
        clock_margin=SECOND,
        ttl=ttl,
    )


class Schedules(RuleBasedStateMachine):
    """Holders with clocks up to the margin apart claim, complete, release, lose answers, or just vanish."""

    holders = Bundle("holders")

    @initialize()
    def begin(self) -> None:
        self.clock = FixedClock()
        self.dynamodb = new_table(self.clock)
        self._drawn = 0
        self.results: list[str] = []
        self.running: dict[str, Any] = {}

    def store_of(self, skew: int) -> IdempotencyStore:
        clock = FixedClock()
        clock.now = self.clock.now + timedelta(milliseconds=skew)
        return new_store(self.dynamodb, clock)

    @rule(target=holders, payload=st.sampled_from(["a", "b"]), skew=st.integers(-500, 500), repeated=st.booleans())
    def claim(self, payload: str, skew: int, *, repeated: bool) -> tuple[Claim, int] | None:
        """Somebody asks for the key; with a lost answer the request goes out twice."""
        self._drawn += 1
        claim = Claim("key", f"token {self._drawn}", payload)
        for _ in range(1 + repeated):
            try:
                told = self.store_of(skew).claim(claim)
            except (AlreadyInProgressError, PayloadMismatchError):
                return None
            if isinstance(told, Replay):
                assert told.text == self.results[-1]
                return None
        lease_end = self.clock.now + timedelta(milliseconds=skew) + 60 * SECOND
        assert all(end <= self.clock.now + 2 * SECOND for end in self.running.values()), "two hold the key"
        self.running = {claim.token: lease_end}
        return claim, skew

    @rule(holder=holders, repeated=st.booleans())
    def complete(self, holder: tuple[Claim, int] | None, *, repeated: bool) -> None:
        """A holder is done: its result counts if, and only if, it still holds the key."""
        if holder is None:
            return
        claim, skew = holder
        holds = claim.token in self.running
        already = self.results[-1:] == [f'"{claim.token}"'] and self.stored().get("claimToken") == {"S": claim.token}
        for _ in range(1 + repeated):
            took = self.store_of(skew).complete(claim, StoredResult(f'"{claim.token}"', by_annotation=False))
            assert took is (holds or already)
        if holds:
            self.results.append(f'"{claim.token}"')
            self.running = {}

    @rule(holder=holders, repeated=st.booleans())
    def release(self, holder: tuple[Claim, int] | None, *, repeated: bool) -> None:
        """A holder fails and gives the key back: nobody else's hold is touched."""
        if holder is None or self.results[-1:] == [f'"{holder[0].token}"']:
            return  # a call either completes or releases
        before = self.stored()
        for _ in range(1 + repeated):
            self.store_of(holder[1]).release(holder[0])
        if self.running.pop(holder[0].token, None) is None:
            assert self.stored() == before

    @rule(seconds=st.sampled_from([1, 30, 59, 61, 120]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds * SECOND)

    @invariant()
    def one_result(self) -> None:
        """Within the time to live there is one result, and it stays."""
        assert len(self.results) <= 1
        if self.results:
            assert self.stored()["result"] == {"S": self.results[0]}

    def stored(self) -> dict[str, Any]:
        item: dict[str, Any] = self.dynamodb.get_item(TableName="handled", Key={"pk": {"S": "key"}}).get("Item", {})
        return item


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=settings().max_examples * 3 // 2, stateful_step_count=25)
