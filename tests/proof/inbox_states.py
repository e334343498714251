"""State machine: inbox deliveries that are interleaved, killed, or get a wrong response.

Several workers with different clocks handle the events of one account. Each payment reduces its balance, which is not
idempotent, and emits an event. A delivery may arrive while another runs, and a worker may be killed between any two
steps. Invariants:

- each event's effect is applied at most once, and exactly once in the end;
- a returned result is the stored one, and then the effect exists;
- a stale event is never handled after a later one.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction, TransactionalOutbox
from dynamo_outbox.errors import CommitUnknownError, TransactionCanceledError

from ..doubles import FakeClock, fake_dynamodb
from .network import CrashError, Network, RequestOutcome
from .report import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .report import Scale

__all__ = ["InboxStates", "run"]

RUNS = {"short": 60, "full": 1000}
BALANCE = 5
"""Lower than the number of events, so that the handler refuses some permanently."""
EVENTS = st.integers(1, 7)
HOLDERS = st.sampled_from([timedelta(0), timedelta(seconds=-30), timedelta(minutes=30)])
"""The workers' clock offsets from the true time."""
OUTAGES = st.builds(
    lambda outcome: [outcome] * 13,
    st.sampled_from([RequestOutcome.LOST, RequestOutcome.LATE, RequestOutcome.THROTTLED, RequestOutcome.CONFLICT]),
)
"""More failures of one kind than a delivery has attempts."""
OUTCOMES = st.lists(st.sampled_from(list(RequestOutcome)), max_size=6) | OUTAGES


class SkewedClock(FakeClock):
    """Worker's clock with an offset from the true clock; sleeping moves both."""

    def __init__(self, true: FakeClock, skew: timedelta) -> None:
        super().__init__()
        self._true = true
        self._skew = skew

    def now(self) -> datetime:
        return self._true.now() + self._skew

    def advance(self, duration: timedelta) -> None:
        self._true.advance(duration)


class TooLowError(Exception):
    """The handler's own error, which its own earlier effect may cause."""


class InboxStates(RuleBasedStateMachine):
    """One account, seven payments, and the results returned to callers."""

    steps = 0
    outcomes: ClassVar[Counter[str]] = Counter()
    refuses_stale = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.fake = fake_dynamodb({"account": ("id",), "events": ("pk", "sk"), "handled": ("pk",)}, self.clock)
        self.fake.put_item(
            TableName="account", Item={"id": {"S": "a"}, "balance": {"N": str(BALANCE)}, "version": {"N": "1"}}
        )
        self.network = Network(self.fake)
        self.network.on_write = self.note_order
        self.meanwhile: list[Callable[[], None]] = []
        """Deliveries that happen while a function runs."""
        self.results: dict[int, int] = {}
        self.order: list[int] = []
        """The payments in the order of their effects."""

    def holder(self, skew: timedelta) -> Callable[[Event], Any]:
        """Return the handler of a worker with its own clock."""
        clock = SkewedClock(self.clock, skew)
        outbox = TransactionalOutbox("events", source="Proof", client=self.network, clock=clock)
        inbox = Inbox(IdempotencyStore("handled", client=self.network, clock=clock), outbox)

        @inbox.handler(consumer="account", on_stale=(lambda _: "stale") if self.refuses_stale else "run", attempts=3)
        def pay(event: Event, tx: InboxTransaction) -> int:
            account = tx.get("account", {"id": "a"}, version="version") or {}
            if self.meanwhile:
                self.meanwhile.pop()()
            left = int(account["balance"]) - 1
            if left < 0:
                raise TooLowError
            tx.update("account", {"id": "a"}, set={"balance": left})
            tx.update("account", {"id": f"paid {event.sequence}"}, add={"times": 1})
            if event.sequence != 1:  # event 1 emits nothing, so no void marker can settle its commit
                tx.emit(Event("PaymentMade", {"n": event.sequence}))
            return left

        return pay

    def event(self, number: int) -> Event:
        return Event(
            "PaymentWanted",
            {"n": number},
            id=f"payment-{number}",
            source="Bank",
            sequence=number,
            aggregate_type="Account",
            aggregate_id="a",
        )

    @rule(number=EVENTS, skew=HOLDERS, outcomes=OUTCOMES)
    def deliver(self, number: int, skew: timedelta, outcomes: list[RequestOutcome]) -> None:
        """Deliver an event to a worker whose writes have these outcomes."""
        self.network.outcomes = list(outcomes)
        self._deliver(number, skew)
        self.network.outcomes = []
        self.meanwhile.clear()

    @rule(
        first=EVENTS, then=st.lists(st.tuples(EVENTS, HOLDERS), min_size=1, max_size=3), skew=HOLDERS, outcomes=OUTCOMES
    )
    def deliver_meanwhile(
        self, first: int, then: list[tuple[int, timedelta]], skew: timedelta, outcomes: list[RequestOutcome]
    ) -> None:
        """Deliver the same or other events to other workers while a function runs."""
        self.meanwhile = [lambda number=number, other=other: self._deliver(number, other) for number, other in then]  # type: ignore[misc]
        InboxStates.outcomes["interleaved"] += 1
        self.deliver(first, skew, outcomes)

    def _deliver(self, number: int, skew: timedelta) -> None:
        before = self.handled()
        try:
            returned = self.holder(skew)(self.event(number))
        except TooLowError:
            assert number not in self.handled(), f"payment {number} failed because of its own effect"
            outcome = "refused by the handler"
        except CrashError:
            outcome = "crashed"
        except (TransactionCanceledError, CommitUnknownError, ReadTimeoutError, ClientError):
            outcome = "failed and redelivered"
        else:
            outcome = self._check(number, returned, before)
        InboxStates.outcomes[outcome] += 1

    def _check(self, number: int, returned: object, before: set[int]) -> str:
        """Check that the returned result is the stored one and that the effect exists; return the outcome."""
        if returned == "stale":
            assert max(self.handled()) >= number, "skipped as stale, but no later event was handled"
            return "stale"
        assert isinstance(returned, int)
        assert number in self.handled(), f"payment {number} was reported as made, but was not made"
        assert self.results.setdefault(number, returned) == returned, f"payment {number} has two results"
        return "answered as duplicate" if number in before else "handled"

    @precondition(lambda self: self.network.on_their_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """Deliver a late request."""
        self.network.arrive(data.draw(st.integers(0, len(self.network.on_their_way) - 1)))

    @rule(minutes=st.sampled_from([1, 11, 600]))
    def wait(self, minutes: int) -> None:
        """Advance the clock by less than the records' time to live."""
        self.clock.advance(timedelta(minutes=minutes))

    def note_order(self) -> None:
        """After a write, note the payments with a new effect."""
        self.order += sorted(self.handled() - set(self.order))

    def handled(self) -> set[int]:
        """Return the payments whose effect exists."""
        ids = (item["id"]["S"] for item in self.fake.scan(TableName="account")["Items"])
        return {int(name.removeprefix("paid ")) for name in ids if name.startswith("paid ")}

    @invariant()
    def each_effect_is_applied_at_most_once(self) -> None:
        """Balance, marks, events and dedup records agree on the payments made."""
        InboxStates.steps += 1
        handled = self.handled()
        marks = [item for item in self.fake.scan(TableName="account")["Items"] if "times" in item]
        assert all(mark["times"] == {"N": "1"} for mark in marks), "an effect was applied twice"
        account = self.fake.get_item(TableName="account", Key={"id": {"S": "a"}})["Item"]
        assert int(account["balance"]["N"]) == BALANCE - len(handled), "an effect was applied in part"
        assert not self.refuses_stale or self.order == sorted(self.order), "a stale event was handled after a later one"
        emitted = [item for item in self.fake.scan(TableName="events")["Items"] if "outboxFormat" in item]
        assert len(emitted) == len(handled - {1}), "an event without its effect, or an effect without its event"
        records = [item["pk"]["S"] for item in self.fake.scan(TableName="handled")["Items"]]
        assert {f"inbox#account#Bank#payment-{number}" for number in handled} == {
            record for record in records if "sequence" not in record
        }

    def teardown(self) -> None:
        """Deliver all late requests, and each event once more without faults."""
        while self.network.on_their_way:
            self.network.arrive(0)
        for number in range(1, 8):
            self._deliver(number, timedelta(0))
        self.each_effect_is_applied_at_most_once()
        if not self.refuses_stale:
            assert len(self.handled()) == BALANCE, "an effect is missing"


class StaleRefusingInboxStates(InboxStates):
    """The same with stale events skipped."""

    refuses_stale = True


def run(scale: Scale) -> list[Row]:
    """Run the state machines at the size of the proof."""
    rows = []
    fault = "concurrent duplicates, crashes, lost and late responses, clock skew"
    for machine, claim in (
        (InboxStates, "an inbox handler's effect is applied once"),
        (StaleRefusingInboxStates, "an inbox handler's effect is applied once, with stale events skipped"),
    ):
        InboxStates.steps = 0
        InboxStates.outcomes.clear()
        run_state_machine_as_test(
            machine, settings=settings(max_examples=RUNS[scale], stateful_step_count=30, deadline=None)
        )
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(InboxStates.outcomes.items()))
        rows.append(Row(claim, fault, InboxStates.steps, counts))
    return rows
