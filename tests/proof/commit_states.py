"""State machine: commits with lost or late requests, wrong responses, and killed or paused callers.

Each transaction adds one to its own counter and emits an event. The outcome reported to the caller (committed, refused,
void, or settled later) must be true, and stay true when late requests arrive and tokens expire.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dynamo_outbox import Event, Retry, TransactionalOutbox
from dynamo_outbox.errors import CommitUnknownError, TransactionCanceledError, TransactionVoidedError
from dynamo_outbox.events.ids import uuid7

from ..doubles import FakeClock, fake_dynamodb
from .network import CrashError, Network, RequestOutcome
from .report import Row

if TYPE_CHECKING:
    from datetime import datetime

    from .report import Scale

__all__ = ["CommitStates", "run"]

OUTCOMES = st.lists(st.sampled_from(list(RequestOutcome)), max_size=8)
SIGNATURE_LIFE = timedelta(minutes=5)
"""The time after signing during which AWS accepts a request; shorter than a token's lifetime.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-signing.html"""
RUNS = {"short": 100, "full": 1000}
PAUSE = timedelta(minutes=11)
"""Longer than a token's lifetime."""


class PausedClock(FakeClock):
    """Clock of a process that is paused during each wait: its waits take longer than a token lives."""

    def __init__(self, true: FakeClock) -> None:
        super().__init__()
        self._true = true

    def now(self) -> datetime:
        return self._true.now()

    def advance(self, duration: timedelta) -> None:
        self._true.advance(duration + PAUSE)


class CommitStates(RuleBasedStateMachine):
    """Transactions with separate keys, and the outcomes reported to their callers."""

    steps = 0
    outcomes: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.fake = fake_dynamodb({"counters": ("id",), "events": ("pk", "sk")}, self.clock)
        self.network = Network(self.fake)
        self.reported: dict[str, bool] = {}
        """Reported outcomes by transaction: committed or not."""
        self.unknown: dict[str, CommitUnknownError] = {}
        self.crashed: dict[str, Event] = {}
        self.begun = 0

    def outbox(self, timeout: int, *, paused: bool = False) -> TransactionalOutbox:
        return TransactionalOutbox(
            "events",
            source="Proof",
            client=self.network,
            clock=PausedClock(self.clock) if paused else self.clock,
            retry=Retry(timeout=timedelta(seconds=timeout)),
        )

    @rule(
        outcomes=OUTCOMES,
        timeout=st.sampled_from([0, 5, 500]),
        has_event=st.booleans(),
        is_dated=st.booleans(),
        paused=st.booleans(),
    )
    def commit(
        self, outcomes: list[RequestOutcome], timeout: int, has_event: bool, is_dated: bool, paused: bool
    ) -> None:
        """Commit a transaction whose requests have these outcomes; its event's id may hold the time of its creation."""
        self.begun += 1
        name = f"t{self.begun}"
        self.network.outcomes = list(outcomes)
        created = uuid7(int(self.clock.now().timestamp()) * 1_000_000_000, self.begun.to_bytes(8))
        event = Event("Counted", {"name": name}, id=created if is_dated else name, time=self.clock.now())
        try:
            with self.outbox(timeout, paused=paused).transaction() as tx:
                tx.update("counters", {"id": name}, add={"n": 1})
                if has_event:
                    tx.emit(event)
            self.reported[name] = True
            CommitStates.outcomes["committed"] += 1
        except TransactionCanceledError as error:
            self.reported[name] = False
            CommitStates.outcomes["void" if isinstance(error, TransactionVoidedError) else "refused"] += 1
        except CommitUnknownError as error:
            self.unknown[name] = error
            CommitStates.outcomes["unknown"] += 1
        except CrashError:
            CommitStates.outcomes["crashed"] += 1
            if has_event:
                self.crashed[name] = event
        except Exception as error:
            if "Throttling" not in str(error):  # botocore's error: the request was refused before the write
                raise
            self.reported[name] = False
            CommitStates.outcomes["refused"] += 1
        self.network.outcomes = []

    @precondition(lambda self: self.network.on_their_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """Deliver a late request."""
        self._arrive(data.draw(st.integers(0, len(self.network.on_their_way) - 1)))

    def _arrive(self, which: int) -> None:
        late = self.network.on_their_way[which]
        has_event = late.operation == "put_item" or len(late.request["TransactItems"]) > 1
        if not has_event and self.clock.now() - late.sent_at > SIGNATURE_LIFE:
            self.network.on_their_way.pop(which)  # without an event, only the signature's age prevents a second write
        else:
            self.network.arrive(which)

    @rule(minutes=st.sampled_from([1, 5, 9, 11, 60]))
    def wait(self, minutes: int) -> None:
        """Advance the clock; tokens expire."""
        self.clock.advance(timedelta(minutes=minutes))

    @precondition(lambda self: self.unknown)
    @rule(outcomes=OUTCOMES, data=st.data())
    def settle(self, outcomes: list[RequestOutcome], data: st.DataObject) -> None:
        """Settle a commit whose outcome the caller does not know."""
        name = data.draw(st.sampled_from(sorted(self.unknown)))
        self._settle(name, self.unknown[name], outcomes)

    @precondition(lambda self: self.crashed)
    @rule(outcomes=OUTCOMES, data=st.data())
    def settle_after_a_crash(self, outcomes: list[RequestOutcome], data: st.DataObject) -> None:
        """Settle a killed caller's transaction from another process that knows the event."""
        name = data.draw(st.sampled_from(sorted(self.crashed)))
        self._settle(name, self.crashed[name], outcomes)

    def _settle(self, name: str, uncertain: Any, outcomes: list[RequestOutcome]) -> None:
        self.network.outcomes = list(outcomes)
        try:
            committed = self.outbox(5).settle(uncertain)
        except (CommitUnknownError, CrashError):
            return
        finally:
            self.network.outcomes = []
        CommitStates.outcomes["settled later"] += 1
        assert self.reported.setdefault(name, committed) == committed, (
            f"{name} was settled twice, with different outcomes"
        )

    @invariant()
    def reported_outcomes_stay_true(self) -> None:
        """Every reported outcome is still true."""
        CommitStates.steps += 1
        counters = {item["id"]["S"]: int(item["n"]["N"]) for item in self.fake.scan(TableName="counters")["Items"]}
        events = [item for item in self.fake.scan(TableName="events")["Items"] if "outboxFormat" in item]
        assert all(count == 1 for count in counters.values()), "a change was applied twice"
        assert {f'{{"name":"{name}"}}' for name in counters} >= {item["eventData"]["S"] for item in events}
        for name, committed in self.reported.items():
            assert (name in counters) == committed, f"{name}: reported committed={committed}"

    def teardown(self) -> None:
        """Deliver all late requests and check again."""
        while self.network.on_their_way:
            self._arrive(0)
        self.reported_outcomes_stay_true()


def run(scale: Scale) -> list[Row]:
    """Run the state machine at the size of the proof."""
    CommitStates.steps = 0
    CommitStates.outcomes.clear()
    run_state_machine_as_test(
        CommitStates, settings=settings(max_examples=RUNS[scale], stateful_step_count=30, deadline=None)
    )
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(CommitStates.outcomes.items()))
    fault = "requests lost, late or answered wrongly; callers killed or paused"
    return [Row("an uncertain commit is settled", fault, CommitStates.steps, f"reported outcomes stay true: {counts}")]
