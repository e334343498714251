"""State machine: calls with one key, in any order of steps, with kills, lost responses and late copies between them.

The machine drives the real store against DynamoDB in memory, step by step: claim, run, end. Invariants:

- A stored result does not change, only the holder of the token changes a record, and the fence grows with each claim:
  with any clock skew.
- With ``raise``, at most one run has an effect: until the record's time to live.
- With ``rerun``, no call takes the key from a holder whose lease has not expired by the holder's clock: if clocks
  differ by at most the margin. If they differ by more, runs may overlap, and the fence shows which writes are later.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dynamo_outbox import IdempotencyStore
from dynamo_outbox.consuming.claims import Claim, Claimed, FailureReplay, Replay
from dynamo_outbox.consuming.results import StoredResult
from dynamo_outbox.errors import AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError

from ..doubles import FakeClock, fake_dynamodb
from .report import Row

if TYPE_CHECKING:
    from .report import Scale

__all__ = ["IdempotencyStates", "run"]

SECOND = timedelta(seconds=1)
LEASE, MARGIN, TTL = 60 * SECOND, SECOND, timedelta(days=8)
KEY = {"pk": {"S": "key"}}
EXAMPLES = {"short": 200, "full": 2_000}

Answer = Literal["comes", "comes late", "never comes"]
ANSWERS: st.SearchStrategy[Answer] = st.sampled_from([*["comes"] * 4, "comes late", "never comes"])
ENDING_ANSWERS: st.SearchStrategy[Answer] = st.sampled_from([*["comes"] * 2, "comes late", "never comes"])
"""Fewer calls end than begin, so a larger share of their responses is lost."""
ABOUT_A_LEASE = st.sampled_from([59, 60, 61, 62, 62])
Ending = Literal["returned", "failed", "failed permanently", "interrupted"]
ENDINGS: st.SearchStrategy[Ending] = st.sampled_from(["returned", "failed", "failed permanently", "interrupted"])


class Network:
    """Network that loses responses, after which botocore may send again, and keeps a copy of every request."""

    def __init__(self, dynamodb: Any, sent: list[dict[str, Any]]) -> None:
        self._dynamodb = dynamodb
        self._sent = sent
        self.answer: Answer = "comes"

    def update_item(self, **request: Any) -> Any:
        self._sent.append(request)
        if self.answer == "comes":
            return self._dynamodb.update_item(**request)
        arrive(self._dynamodb, request)
        if self.answer == "never comes":
            raise ReadTimeoutError(endpoint_url="https://dynamodb")
        return self._dynamodb.update_item(**request)


def arrive(dynamodb: Any, request: dict[str, Any]) -> None:
    """Deliver a request whose sender no longer waits."""
    try:
        dynamodb.update_item(**request)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"  # noqa: PT017


@dataclass
class Call:
    """State of one call: its claim, clock offset and progress."""

    claim: Claim
    skew: timedelta
    lease_end: Any
    fence: int
    alive: bool = True
    ended: Ending | None = None
    had_effect: bool = False


class IdempotencyStates(RuleBasedStateMachine):
    """Calls with one key and one of two payloads."""

    seen: ClassVar[Counter[str]] = Counter()

    @initialize(policy=st.sampled_from(["rerun", "raise"]), apart=st.sampled_from([500, 500, 300_000]))
    def begin(self, policy: Literal["rerun", "raise"], apart: int) -> None:
        """Choose the policy, and the maximum clock offset in milliseconds."""
        self.policy = policy
        self.apart = apart
        self.clock = FakeClock()
        self.dynamodb = fake_dynamodb({"handled": ["pk"]}, self.clock)
        self.sent: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.unknown: list[UnknownOutcomeError] = []
        self.drawn = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the stored result after the record's time to live; its guarantees have ended."""
        self.stored: dict[str, Any] | None = None
        self.last = self.record()
        self.highest = getattr(self, "highest", 0)

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.dynamodb.get_item(TableName="handled", Key=KEY).get("Item", {})
        return found

    def store_of(self, skew: timedelta, answer: Answer) -> IdempotencyStore:
        clock = FakeClock(self.clock.now() + skew)
        network: Any = Network(self.dynamodb, self.sent)
        network.answer = answer
        return IdempotencyStore("handled", client=network, clock=clock, lease=LEASE, clock_margin=MARGIN, ttl=TTL)

    def alive(self) -> list[Call]:
        """Return the calls whose process is alive and has not reported an ending."""
        return [each for each in self.calls if each.alive]

    def to_settle(self) -> list[tuple[UnknownOutcomeError, Call | None]]:
        """Return the unknown calls that an operator can settle: dead, or known to have had their effect."""
        known = {each.claim.token: each for each in self.calls}
        told = [(error, known.get(error.token)) for error in self.unknown]
        return [(error, call) for error, call in told if call is None or not call.alive or call.had_effect]

    @rule(payload=st.sampled_from("ab"), skew=st.floats(-1, 1), answer=ANSWERS)
    def claim(self, payload: str, skew: float, answer: Answer) -> None:
        """Claim the key."""
        self.drawn += 1
        claim = Claim("key", f"token {self.drawn}", payload)
        off = timedelta(milliseconds=int(skew * self.apart))
        before, holder = self.record(), self.holder()
        self.seen[f"response to a claim {answer}"] += 1
        try:
            told = self.store_of(off, answer).records.claim(claim, on_expired_lease=self.policy)
        except (AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError) as error:
            self.check_refusal(error, before)
            return
        except ReadTimeoutError:  # the function does not run; the caller does not know whether it holds the key
            if self.record() != before:
                self.check_takeover(before, holder)
            return
        if isinstance(told, Claimed):
            assert told.fence == int(self.record()["fence"]["N"])
            self.check_takeover(before, holder)
            self.calls.append(Call(claim, off, self.clock.now() + off + LEASE, told.fence))
        else:
            self.check_replay(told, before)

    def check_refusal(self, error: Exception, before: dict[str, Any]) -> None:
        """A refused claim changes nothing; an unknown outcome names the token of its call."""
        assert self.record() == before, "a refused claim changed the record"
        if isinstance(error, UnknownOutcomeError):
            assert (self.policy, before["claimToken"]["S"]) == ("raise", error.token)
            self.unknown.append(error)

    def holder(self) -> Call | None:
        """Return the call whose token is in the record."""
        token = self.record().get("claimToken", {}).get("S")
        return next((each for each in self.calls if each.claim.token == token), None)

    def check_takeover(self, before: dict[str, Any], holder: Call | None) -> None:
        """A claim takes over a key only if the policy allows it and the lease has expired by the holder's clock."""
        if (
            before.get("status") != {"S": "IN_PROGRESS"}
            or int(before["expiresAt"]["N"]) <= self.clock.now().timestamp()
        ):
            return
        assert self.policy == "rerun", "a key was taken from a call whose outcome is unknown"
        self.seen["takeover"] += 1
        if holder is not None and self.apart <= MARGIN / timedelta(milliseconds=2):
            assert self.clock.now() + holder.skew >= holder.lease_end, "a key was taken from a holder within its lease"

    def check_replay(self, told: Replay, before: dict[str, Any]) -> None:
        """A duplicate receives the stored result or failure."""
        assert self.record() == before
        name = "failure" if isinstance(told, FailureReplay) else "result"
        assert before[name] == {"S": told.text}

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 20), ending=ENDINGS, answer=ENDING_ANSWERS)
    def step(self, number: int, ending: Ending, answer: Answer) -> None:
        """Run a holder's function, or report its ending to the store."""
        call = self.alive()[number % len(self.alive())]
        if call.ended is None:
            self.run(call, ending)
        else:
            self.end(call, answer)

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 20), ending=ENDINGS, answer=ENDING_ANSWERS)
    def two_steps(self, number: int, ending: Ending, answer: Answer) -> None:
        """Do two steps without an interruption."""
        self.step(number, ending, answer)
        if self.alive():
            self.step(number, ending, answer)

    def run(self, call: Call, ending: Ending) -> None:
        """Run a holder's function: one that returned had its effect, and one that failed had none.

        With ``raise``, only an exception that is listed as safe to retry counts as failed, any other as interrupted.
        """
        call.ended = ending
        call.had_effect = ending in ("returned", "interrupted")
        if ending == "interrupted":  # an interrupted function reports no ending
            call.alive = False
            self.seen["holder died"] += 1

    def end(self, call: Call, answer: Answer) -> None:
        """Report the ending of a holder's function to the store, once."""
        store, before = self.store_of(call.skew, answer), self.record()
        holds = before.get("claimToken") == {"S": call.claim.token} and before["status"] == {"S": "IN_PROGRESS"}
        self.seen[f"response to an ending {answer}"] += 1
        self.seen["late ending"] += not holds
        call.alive = False
        text = f'"{call.claim.token}"'
        try:
            match call.ended:
                case "returned":
                    took = store.records.complete(call.claim, StoredResult(text, "json"))
                case "failed permanently":
                    took = store.records.fail(call.claim, text)
                case _:
                    took = store.records.release(call.claim)
        except ReadTimeoutError:
            took = holds
        assert took is holds  # False if an operator settled the call meanwhile
        assert (self.record() != before) is holds, "a call that does not hold the record changed it"

    @precondition(lambda self: len(self.alive()) > 1)
    @rule(number=st.integers(0, 20))
    def vanish(self, number: int) -> None:
        """Kill a holder's process, before or after its function."""
        self.alive()[number % len(self.alive())].alive = False
        self.seen["holder died"] += 1

    @precondition(lambda self: len(self.sent) > 2)
    @rule(number=st.integers(0, 200))
    def a_copy_arrives(self, number: int) -> None:
        """Deliver a copy of an earlier request."""
        before, request = self.record(), self.sent[number % len(self.sent)]
        arrive(self.dynamodb, request)
        after, token = self.record(), request["ExpressionAttributeValues"][":token"]
        self.seen["late copy of a request"] += 1
        if after == before:
            return
        assert after["claimToken"] == token
        if "UpdateExpression" in request and ":leaseExpiresAt" in request["ExpressionAttributeValues"]:
            assert before.get("status") != {"S": "COMPLETED"}
            assert before.get("claimToken") != token, "a copy of a claim took the key again"
            assert before["status"] == {"S": "RELEASED"} or self.policy == "rerun"
        else:
            assert before["claimToken"] == token, "a copy of an ending changed another's record"

    @precondition(lambda self: self.to_settle())
    @rule(number=st.integers(0, 20), answer=ANSWERS, truthful_skew=st.floats(-1, 1))
    def settle(self, number: int, answer: Answer, truthful_skew: float) -> None:
        """Settle an unknown call by hand, as an operator does."""
        error, call = self.to_settle()[number % len(self.to_settle())]
        before = self.record()
        store = self.store_of(timedelta(milliseconds=int(truthful_skew * self.apart)), answer)
        holds = before.get("claimToken") == {"S": error.token} and before["status"] == {"S": "IN_PROGRESS"}
        self.seen["settled by hand"] += 1
        try:
            if call is not None and call.had_effect:
                store.resolve(error.key, "by hand", token=error.token)
            else:
                store.forget(error.key, token=error.token)
        except ReadTimeoutError:
            pass
        assert (self.record() != before) is holds

    @rule(seconds=st.sampled_from([1, 20, 59, 61, 62, 62, 400]))
    def wait(self, seconds: int) -> None:
        """Advance the clock."""
        self.clock.advance(seconds * SECOND)

    @rule(seconds=ABOUT_A_LEASE, payload=st.sampled_from("ab"), skew=st.floats(-1, 1), answer=ANSWERS)
    def claim_after_a_lease(self, seconds: int, payload: str, skew: float, answer: Answer) -> None:
        """Advance the clock by about one lease, then claim the key."""
        self.wait(seconds)
        self.claim(payload, skew, answer)

    @precondition(lambda self: len(self.sent) > 12)
    @rule(deleted=st.booleans())
    def outlive(self, *, deleted: bool) -> None:
        """Let the record's time to live end, with or without its deletion; all earlier holders are dead."""
        self.seen["time to live ended"] += 1
        self.clock.advance(TTL + timedelta(hours=1))
        if deleted:
            self.dynamodb.delete_item(TableName="handled", Key=KEY)
        self.calls.clear()
        self.sent.clear()
        self.unknown.clear()
        self.begin_anew()

    @invariant()
    def one_result_that_stays(self) -> None:
        """A stored result or failure does not change."""
        found = self.record()
        if self.stored is not None:
            assert found == self.stored, "a stored result changed"
        elif found.get("status") == {"S": "COMPLETED"} and found != self.last:
            self.stored = found

    @invariant()
    def fences_grow(self) -> None:
        """The fence grows with each new holder, and only then."""
        found = self.record()
        if found and found != self.last:
            fence = int(found["fence"]["N"])
            if found["claimToken"] != self.last.get("claimToken"):
                assert fence > self.highest, "a later holder does not have a larger fence"
            else:
                assert fence == self.highest
            self.highest = fence
            self.last = found

    @invariant()
    def at_most_once(self) -> None:
        """With ``raise``, at most one run has its effect."""
        if self.policy == "raise":
            assert sum(call.had_effect for call in self.calls) <= 1, "an effect happened twice"

    @invariant()
    def one_result_counts(self) -> None:
        """A stored result is the holder's own, or was settled by hand for it."""
        found = self.record()
        holder = self.holder()
        if self.stored is not None and "result" in found and found["result"] != {"S": '"by hand"'}:
            assert holder is not None
            assert holder.had_effect
            assert found["result"] == {"S": f'"{holder.claim.token}"'}


def settings_for(scale: Scale) -> settings:
    """Return Hypothesis' settings; the shortened run is deterministic, so that it meets each fault."""
    return settings(
        max_examples=EXAMPLES[scale],
        derandomize=scale == "short",
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )


def run(scale: Scale) -> list[Row]:
    """Run the state machine and return a row for each fault that it met."""
    IdempotencyStates.seen.clear()
    run_state_machine_as_test(IdempotencyStates, settings=settings_for(scale))
    outcome = "one stored result; growing fences; at most one effect with raise"
    return [
        Row("calls with one key act once", fault, times, outcome)
        for fault, times in sorted(IdempotencyStates.seen.items())
        if times and not fault.endswith(("claim comes", "ending comes"))
    ]
