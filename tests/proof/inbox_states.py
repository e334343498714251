"""Deliveries of a few events to inbox handlers, interleaved, cut short and answered wrongly, as a state machine.

Several holders, whose clocks differ, handle the events of one account: each payment takes from its balance, which is no
idempotent thing to do, and emits an event. A delivery may come while another one's function runs, and a holder may die
between any two steps. Invariants: each event's effect is applied at most once, and exactly once in the end; whoever is
told a result is told the stored one, and then the effect is there; a stale event is never handled after a later one.
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
from .network import CrashError, Fate, Network
from .report import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .report import Scale

__all__ = ["InboxStates", "run"]

RUNS = {"short": 60, "full": 1000}
BALANCE = 5
"""Fewer than the events, so that some are refused for good."""
EVENTS = st.integers(1, 7)
HOLDERS = st.sampled_from([timedelta(0), timedelta(seconds=-30), timedelta(minutes=30)])
"""The holders' clocks, by how far they are from the true one."""
FATES = st.lists(st.sampled_from(list(Fate)), max_size=6)


class SkewedClock(FakeClock):
    """A holder's clock: ahead of the true one, or behind it; sleeping moves both."""

    def __init__(self, true: FakeClock, skew: timedelta) -> None:
        super().__init__()
        self._true = true
        self._skew = skew

    def now(self) -> datetime:
        return self._true.now() + self._skew

    def advance(self, duration: timedelta) -> None:
        self._true.advance(duration)


class TooLowError(Exception):
    """The handler's own error: it may be its own effect that it stumbles over."""


class InboxStates(RuleBasedStateMachine):
    """One account, seven payments, and who was told what."""

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
        """What comes while a function runs."""
        self.results: dict[int, int] = {}
        self.order: list[int] = []
        """The payments, as their effects came."""

    def holder(self, skew: timedelta) -> Callable[[Event], Any]:
        """A process with a clock of its own."""
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
            if event.sequence != 1:  # one event's handler emits nothing, so that no void marker can settle it
                tx.emit(Event("PaymentMade", {"n": event.sequence}))
            return left

        return pay

    def event(self, number: int) -> Event:
        return Event(
            "PaymentWanted",
            {"n": number},
            id=f"payment-{number}",
            sequence=number,
            aggregate_type="Account",
            aggregate_id="a",
        )

    @rule(number=EVENTS, skew=HOLDERS, fates=FATES)
    def deliver(self, number: int, skew: timedelta, fates: list[Fate]) -> None:
        """An event is delivered to a holder, whose writes meet these fates."""
        self.network.fates = list(fates)
        self._deliver(number, skew)
        self.network.fates = []
        self.meanwhile.clear()

    @rule(first=EVENTS, then=st.lists(st.tuples(EVENTS, HOLDERS), min_size=1, max_size=3), skew=HOLDERS, fates=FATES)
    def deliver_meanwhile(
        self, first: int, then: list[tuple[int, timedelta]], skew: timedelta, fates: list[Fate]
    ) -> None:
        """While a holder's function runs, others are handed the same event or others."""
        self.meanwhile = [lambda number=number, other=other: self._deliver(number, other) for number, other in then]  # type: ignore[misc]
        InboxStates.outcomes["interleaved"] += 1
        self.deliver(first, skew, fates)

    def _deliver(self, number: int, skew: timedelta) -> None:
        before = self.handled()
        try:
            told = self.holder(skew)(self.event(number))
        except TooLowError:
            assert number not in self.handled(), f"payment {number} stumbled over its own effect"
            outcome = "refused by the handler"
        except CrashError:
            outcome = "crashed"
        except (TransactionCanceledError, CommitUnknownError, ReadTimeoutError, ClientError):
            outcome = "failed, to be delivered again"
        else:
            outcome = self._check(number, told, before)
        InboxStates.outcomes[outcome] += 1

    def _check(self, number: int, told: object, before: set[int]) -> str:
        """What a caller was told is the stored result, and the effect is there."""
        if told == "stale":
            assert max(self.handled()) >= number, "refused as stale, but no later one was handled"
            return "stale"
        assert isinstance(told, int)
        assert number in self.handled(), f"payment {number} was reported as made, and is not"
        assert self.results.setdefault(number, told) == told, f"payment {number} has two results"
        return "answered again" if number in before else "handled"

    @precondition(lambda self: self.network.on_their_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A request that was given up arrives."""
        self.network.arrive(data.draw(st.integers(0, len(self.network.on_their_way) - 1)))

    @rule(minutes=st.sampled_from([1, 11, 600]))
    def wait(self, minutes: int) -> None:
        """Time passes, less than the records are kept for."""
        self.clock.advance(timedelta(minutes=minutes))

    def note_order(self) -> None:
        """Something was written: is it another payment's effect?"""
        self.order += sorted(self.handled() - set(self.order))

    def handled(self) -> set[int]:
        """The payments whose effect is there."""
        ids = (item["id"]["S"] for item in self.fake.scan(TableName="account")["Items"])
        return {int(name.removeprefix("paid ")) for name in ids if name.startswith("paid ")}

    @invariant()
    def each_effect_is_applied_at_most_once(self) -> None:
        """Balance, marks, events and dedup records tell of the same payments."""
        InboxStates.steps += 1
        handled = self.handled()
        marks = [item for item in self.fake.scan(TableName="account")["Items"] if "times" in item]
        assert all(mark["times"] == {"N": "1"} for mark in marks), "an effect was applied twice"
        account = self.fake.get_item(TableName="account", Key={"id": {"S": "a"}})["Item"]
        assert int(account["balance"]["N"]) == BALANCE - len(handled), "an effect was applied by half"
        assert not self.refuses_stale or self.order == sorted(self.order), "a stale event was handled after a later one"
        emitted = [item for item in self.fake.scan(TableName="events")["Items"] if "outboxFormat" in item]
        assert len(emitted) == len(handled - {1}), "an event without its effect, or an effect without its event"
        records = [item["pk"]["S"] for item in self.fake.scan(TableName="handled")["Items"]]
        assert {f"inbox#account#payment-{number}" for number in handled} == {
            record for record in records if "sequence" not in record
        }

    def teardown(self) -> None:
        """In the end all that is on its way arrives, and each event is delivered once more, with nothing in its way."""
        while self.network.on_their_way:
            self.network.arrive(0)
        for number in range(1, 8):
            self._deliver(number, timedelta(0))
        self.each_effect_is_applied_at_most_once()
        if not self.refuses_stale:
            assert len(self.handled()) == BALANCE, "an effect is missing"


class StaleRefusingInboxStates(InboxStates):
    """The same where stale events are refused."""

    refuses_stale = True


def run(scale: Scale) -> list[Row]:
    """The state machines at the proof's size."""
    rows = []
    for machine, fault in (
        (InboxStates, "duplicates at once, crashes, lost and late answers, clocks apart"),
        (StaleRefusingInboxStates, "the same, and events out of order"),
    ):
        InboxStates.steps = 0
        InboxStates.outcomes.clear()
        run_state_machine_as_test(
            machine, settings=settings(max_examples=RUNS[scale], stateful_step_count=30, deadline=None)
        )
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(InboxStates.outcomes.items()))
        rows.append(Row("an inbox handler's effect is applied once", fault, InboxStates.steps, told))
    return rows
