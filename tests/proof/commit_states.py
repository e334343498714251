"""Transactions whose requests are lost, late, answered wrongly or cut short, as a state machine over the commit proof.

Each transaction adds one to a counter of its own and emits an event. Whatever the caller was told (committed, refused,
void, unknown and later settled) has to be so, and to stay so when late requests arrive and tokens die.
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

from ..doubles import FakeClock, fake_dynamodb
from .network import CrashError, Fate, Network
from .report import Row

if TYPE_CHECKING:
    from .report import Scale

__all__ = ["CommitStates", "run"]

FATES = st.lists(st.sampled_from(list(Fate)), max_size=8)
SIGNATURE_LIFE = timedelta(minutes=5)
"""How long after its signing AWS takes a request, less than a token lives.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_aws-signing.html"""
RUNS = {"short": 100, "full": 1000}


class CommitStates(RuleBasedStateMachine):
    """Transactions, each under a key of its own, and what their callers were told."""

    steps = 0
    outcomes: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.fake = fake_dynamodb({"counters": ("id",), "events": ("pk", "sk")}, self.clock)
        self.network = Network(self.fake)
        self.told: dict[str, bool] = {}
        """Committed or not, by transaction, where the caller was told."""
        self.unknown: dict[str, CommitUnknownError] = {}
        self.crashed: dict[str, Event] = {}
        self.begun = 0

    def outbox(self, timeout: int) -> TransactionalOutbox:
        return TransactionalOutbox(
            "events",
            source="Proof",
            client=self.network,
            clock=self.clock,
            retry=Retry(timeout=timedelta(seconds=timeout)),
        )

    @rule(fates=FATES, timeout=st.sampled_from([0, 5, 500]), has_event=st.booleans())
    def commit(self, fates: list[Fate], timeout: int, has_event: bool) -> None:
        """A caller commits a transaction, its requests met by these fates."""
        self.begun += 1
        name = f"t{self.begun}"
        self.network.fates = list(fates)
        event = Event("Counted", {"name": name}, time=self.clock.now())
        try:
            with self.outbox(timeout).transaction() as tx:
                tx.update("counters", {"id": name}, add={"n": 1})
                if has_event:
                    tx.emit(event)
            self.told[name] = True
            CommitStates.outcomes["committed"] += 1
        except TransactionCanceledError as error:
            self.told[name] = False
            CommitStates.outcomes["void" if isinstance(error, TransactionVoidedError) else "refused"] += 1
        except CommitUnknownError as error:
            self.unknown[name] = error
            CommitStates.outcomes["unknown"] += 1
        except CrashError:
            CommitStates.outcomes["crashed"] += 1
            if has_event:
                self.crashed[name] = event
        except Exception as error:
            if "Throttling" not in str(error):  # botocore's own: it was refused before anything was done
                raise
            self.told[name] = False
            CommitStates.outcomes["refused"] += 1
        self.network.fates = []

    @precondition(lambda self: self.network.on_their_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A request that was given up arrives."""
        self._arrive(data.draw(st.integers(0, len(self.network.on_their_way) - 1)))

    def _arrive(self, which: int) -> None:
        late = self.network.on_their_way[which]
        has_event = late.operation == "put_item" or len(late.request["TransactItems"]) > 1
        if not has_event and self.clock.now() - late.sent_at > SIGNATURE_LIFE:
            self.network.on_their_way.pop(which)  # without an event only this keeps it from counting again
        else:
            self.network.arrive(which)

    @rule(minutes=st.sampled_from([1, 5, 9, 11, 60]))
    def wait(self, minutes: int) -> None:
        """Time passes, and tokens die."""
        self.clock.advance(timedelta(minutes=minutes))

    @precondition(lambda self: self.unknown)
    @rule(fates=FATES, data=st.data())
    def settle(self, fates: list[Fate], data: st.DataObject) -> None:
        """A caller that was told nothing asks again."""
        name = data.draw(st.sampled_from(sorted(self.unknown)))
        self._settle(name, self.unknown[name], fates)

    @precondition(lambda self: self.crashed)
    @rule(fates=FATES, data=st.data())
    def settle_after_a_crash(self, fates: list[Fate], data: st.DataObject) -> None:
        """Another process, which knows the event, asks what became of a transaction whose caller died."""
        name = data.draw(st.sampled_from(sorted(self.crashed)))
        self._settle(name, self.crashed[name], fates)

    def _settle(self, name: str, uncertain: Any, fates: list[Fate]) -> None:
        self.network.fates = list(fates)
        try:
            committed = self.outbox(5).settle(uncertain)
        except (CommitUnknownError, CrashError):
            return
        finally:
            self.network.fates = []
        CommitStates.outcomes["settled later"] += 1
        assert self.told.setdefault(name, committed) == committed, f"{name} was settled twice, and not the same way"

    @invariant()
    def what_was_told_is_so(self) -> None:
        """What a caller was told holds now, whatever arrived since."""
        CommitStates.steps += 1
        counters = {item["id"]["S"]: int(item["n"]["N"]) for item in self.fake.scan(TableName="counters")["Items"]}
        events = [item for item in self.fake.scan(TableName="events")["Items"] if "outboxFormat" in item]
        assert all(count == 1 for count in counters.values()), "a change was made twice"
        assert {f'{{"name":"{name}"}}' for name in counters} >= {item["eventData"]["S"] for item in events}
        for name, committed in self.told.items():
            assert (name in counters) == committed, f"{name} was told {committed}"

    def teardown(self) -> None:
        """At the end all that is on its way arrives."""
        while self.network.on_their_way:
            self._arrive(0)
        self.what_was_told_is_so()


def run(scale: Scale) -> list[Row]:
    """The state machine at the proof's size."""
    CommitStates.steps = 0
    CommitStates.outcomes.clear()
    run_state_machine_as_test(
        CommitStates, settings=settings(max_examples=RUNS[scale], stateful_step_count=30, deadline=None)
    )
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(CommitStates.outcomes.items()))
    fault = "requests lost, late, answered wrongly, senders killed"
    return [Row("an uncertain commit is settled", fault, CommitStates.steps, f"it is as told, and stays so: {told}")]
