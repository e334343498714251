"""The faults, and how each of the three solutions behaves under them. Every cell is counted in a fresh world."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ReadTimeoutError

from dynamo_outbox import Event, idempotent
from dynamo_outbox.errors import OutboxError

from .hand_made import HandMade
from .ours import Ours
from .world import LEASE, Killed, Observed, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from .with_powertools import Powertools

__all__ = ["FAULTS", "Fault"]

logging.getLogger("dynamo_outbox").addHandler(logging.NullHandler())

ORDER = {"id": "order-1"}
COMMAND = Event("SellBook", {"name": "a"}, id="order-1", source="Shop")
FALSY: tuple[Any, ...] = ({}, [], 0, False, "")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table; None for a solution that has no part for it."""

    name: str
    hand_made: Callable[[World], Observed] | None
    powertools: Callable[[World], Observed] | None
    ours: Callable[[World], Observed]


def powertools(world: World) -> Powertools:
    """Return the Powertools solution; it is imported only here, because only the proof's environment has it."""
    from .with_powertools import Powertools

    return Powertools(world)


def tried(call: Callable[[], Any], times: int = 1) -> None:
    """Make a caller's attempts; an exception or a kill ends one attempt."""
    for _ in range(times):
        with suppress(Exception, Killed):
            call()


def in_turn(*steps: Callable[[], object]) -> None:
    """Run the steps one after the other."""
    for step in steps:
        step()


def killer() -> Callable[[], None]:
    """Return a function that kills the first process that calls it."""
    lives = [Killed()]

    def kill() -> None:
        if lives:
            raise lives.pop()

    return kill


class AnswerLost:
    """The transaction is committed, its response is lost, and the caller retries on an error."""

    @staticmethod
    def lose(world: World) -> None:
        world.dynamodb.fail_next("transact_write_items", ReadTimeoutError(endpoint_url="https://a"), after_commit=True)

    @classmethod
    def hand_made(cls, world: World) -> Observed:
        shop = HandMade(world)
        cls.lose(world)
        until_answered(shop.place_order)
        world.stream(shop.relay)
        return world.sales()

    @classmethod
    def powertools(cls, world: World) -> Observed:
        shop = HandMade(world)
        place = powertools(world).once(lambda order: shop.place_order())  # noqa: ARG005  # the key is in it
        cls.lose(world)
        until_answered(lambda: place(ORDER))
        world.stream(shop.relay)
        return world.sales()

    @classmethod
    def ours(cls, world: World) -> Observed:
        shop = Ours(world)
        cls.lose(world)
        until_answered(lambda: shop.place_order()(COMMAND))
        world.stream(shop.relay)
        return world.sales()


def until_answered(call: Callable[[], Any], tries: int = 3) -> None:
    """Retry a call until it raises no error."""
    for _ in range(tries):
        with suppress(Exception):
            call()
            return


class KilledBetween:
    """The process is killed between change and event; the caller retries, and once more after the lease."""

    @staticmethod
    def again(world: World, call: Callable[[], Any]) -> None:
        tried(call, 2)
        world.clock.advance(2 * LEASE)
        tried(call)

    @staticmethod
    def hand_made(world: World) -> Observed:
        tried(lambda: HandMade(world).place_order_in_two_calls(killer()))
        return world.sales()

    @classmethod
    def powertools(cls, world: World) -> Observed:
        kill = killer()
        place = powertools(world).once(lambda order: HandMade(world).place_order_in_two_calls(kill))  # noqa: ARG005
        cls.again(world, lambda: place(ORDER))
        return world.sales()

    @classmethod
    def ours(cls, world: World) -> Observed:
        shop, kill = Ours(world), killer()
        cls.again(world, lambda: shop.place_order(kill)(COMMAND))
        world.stream(shop.relay)
        return world.sales()


class KilledBehind:
    """The process is killed right after the commit, and there is no retry."""

    @staticmethod
    def hand_made(world: World) -> Observed:
        shop = HandMade(world)
        tried(lambda: in_turn(shop.place_order, killer()))
        world.stream(shop.relay)
        return world.sales()

    @staticmethod
    def powertools(world: World) -> Observed:
        shop = HandMade(world)
        place = powertools(world).once(lambda order: in_turn(shop.place_order, killer()))  # noqa: ARG005
        tried(lambda: place(ORDER))
        world.stream(shop.relay)
        return world.sales()

    @staticmethod
    def ours(world: World) -> Observed:
        shop = Ours(world)
        tried(lambda: (shop.place_order()(COMMAND), killer()()))
        world.stream(shop.relay)
        return world.sales()


class Throttled:
    """EventBridge throttles one entry of ten and accepts the others."""

    @staticmethod
    def hand_made(world: World) -> Observed:
        shop = HandMade(world)
        for _ in range(10):
            shop.place_order()
        world.bus.fail_next_entry("ThrottlingException", detail_type="BookSold")
        world.stream(shop.relay)
        return world.sales(copies=10, events=10)

    @staticmethod
    def ours(world: World) -> Observed:
        shop = Ours(world)
        place = shop.place_order()
        for number in range(10):
            place(COMMAND.replace(id=f"order-{number}"))
        world.bus.fail_next_entry("ThrottlingException", detail_type="BookSold")
        world.stream(shop.relay)
        return world.sales(copies=10, events=10)


class Poison:
    """The first of three stream records can't be read; Lambda delivers the batch three times."""

    @staticmethod
    def spoil(world: World) -> None:
        world.dynamodb.put_item(
            TableName="events",
            Item={"pk": {"S": "0"}, "sk": {"S": "0"}, "outboxFormat": {"N": "9"}, "eventType": {"S": "BookSold"}},
        )

    @classmethod
    def hand_made(cls, world: World) -> Observed:
        shop = HandMade(world)
        cls.spoil(world)
        shop.place_order()
        shop.place_order()
        world.stream(shop.relay)
        return world.sales(copies=2, events=2)

    @classmethod
    def ours(cls, world: World) -> Observed:
        shop = Ours(world)
        cls.spoil(world)
        for number in range(2):
            shop.place_order()(COMMAND.replace(id=f"order-{number}"))
        world.stream(shop.relay)
        return world.sales(copies=2, events=2)


class KilledBeforeCompletion:
    """A consumer is killed between its effect and its completion; the message is redelivered, also after the lease."""

    @staticmethod
    def hand_made(world: World) -> Observed:
        shop, kill = HandMade(world), killer()
        KilledBetween.again(world, lambda: shop.consume("order-1", world.sell, kill))
        return world.sales(events=None)

    @staticmethod
    def powertools(world: World) -> Observed:
        kill = killer()
        act = powertools(world).once(lambda order: in_turn(world.sell, kill))  # noqa: ARG005
        KilledBetween.again(world, lambda: act(ORDER))
        return world.sales(events=None)

    @staticmethod
    def ours(world: World) -> Observed:
        shop, kill = Ours(world), killer()
        KilledBetween.again(world, lambda: shop.place_order(kill)(COMMAND))
        return world.sales(events=None)


class AtOnce:
    """A duplicate arrives while the first delivery runs; its queue redelivers it later."""

    @staticmethod
    def hand_made(world: World) -> Observed:
        shop = HandMade(world)

        def act() -> None:
            if not world.sold:
                world.sell()
                shop.consume("order-1", world.sell)
            else:
                world.sell()

        tried(lambda: shop.consume("order-1", act), 2)
        return world.sales(events=None)

    @staticmethod
    def powertools(world: World) -> Observed:
        tools = powertools(world)

        def act(order: Any) -> None:
            world.sell()
            if world.sold == 1:
                tried(lambda: once(order))

        once = tools.once(act)
        tried(lambda: once(ORDER), 2)
        return world.sales(events=None)

    @staticmethod
    def ours(world: World) -> Observed:
        shop = Ours(world)
        started: list[bool] = []

        def meanwhile() -> None:
            if not started:
                started.append(True)
                tried(lambda: place(COMMAND))

        place = shop.place_order(meanwhile)
        tried(lambda: place(COMMAND), 2)
        return world.sales(events=None)


class SlowHolder:
    """A call outlives its lease, and another call takes over and ends first; a duplicate then gets one result."""

    @staticmethod
    def judged(last: Any) -> Observed:
        kept = "the successor's" if last == "second" else f"{last!r}" if last != "first" else "the late holder's"
        return Observed(f"a duplicate gets {kept} result", last == "second")

    @classmethod
    def runs(cls, world: World, make: Callable[[Callable[..., Any]], Callable[[Any], Any]], payload: Any) -> Observed:
        calls: list[str] = []

        def slow(order: Any) -> str:
            calls.append("first" if not calls else "second")
            mine = calls[-1]
            if mine == "first":
                world.clock.advance(2 * LEASE)
                tried(lambda: once(order))
            return mine

        once = make(slow)
        tried(lambda: once(payload))
        got: list[Any] = [None]
        tried(lambda: got.append(once(payload)))
        return cls.judged(got[-1])

    @classmethod
    def powertools(cls, world: World) -> Observed:
        return cls.runs(world, powertools(world).once, ORDER)

    @classmethod
    def ours(cls, world: World) -> Observed:
        return cls.runs(world, idempotent(Ours(world).store, scope="slow"), COMMAND)


class Stale:
    """An entity's second version is delivered before its first."""

    @staticmethod
    def judged(world: World) -> Observed:
        version = world.book["version"]["N"]
        return Observed(f"version {version} of 2 is kept", version == "2")

    @classmethod
    def hand_made(cls, world: World) -> Observed:
        shop = HandMade(world)
        for version in (2, 1):
            shop.consume(f"order-{version}", cls.keep(world, version))
        return cls.judged(world)

    @classmethod
    def powertools(cls, world: World) -> Observed:
        once = powertools(world).once(lambda order: cls.keep(world, order["version"])())
        for version in (2, 1):
            once({"id": f"order-{version}", "version": version})
        return cls.judged(world)

    @classmethod
    def ours(cls, world: World) -> Observed:
        @Ours(world).inbox.handler(consumer="books", on_stale="skip")
        def keep(event: Event, tx: Any) -> None:
            tx.put("books", {"name": "a", "version": event.sequence})

        for version in (2, 1):
            keep(COMMAND.replace(id=f"order-{version}", aggregate_type="Book", aggregate_id="a", sequence=version))
        return cls.judged(world)

    @staticmethod
    def keep(world: World, version: int) -> Callable[[], None]:
        def put() -> None:
            world.dynamodb.put_item(TableName="books", Item={"name": {"S": "a"}, "version": {"N": str(version)}})

        return put


class Nested:
    """An idempotent function calls another with the same store and a different key; each is called twice."""

    @staticmethod
    def judged(world: World, results: list[Any]) -> Observed:
        text = f"{world.sold} of 2 effects, results {'right' if results == ['outer', 'inner'] * 2 else 'mixed up'}"
        return Observed(text, world.sold == 2 and results == ["outer", "inner"] * 2)

    @classmethod
    def runs(cls, world: World, make: Callable[[Callable[..., Any], str], Callable[[Any], Any]]) -> Observed:
        def inner_(order: Any) -> str:  # noqa: ARG001
            world.sell()
            return "inner"

        def outer_(order: Any) -> str:
            world.sell()
            inner(order)
            return "outer"

        inner, outer = make(inner_, "item"), make(outer_, "id")
        results: list[Any] = []
        order = {"id": "order-1", "item": "item-1"}
        for function in (outer, inner) * 2:
            tried(lambda function=function: results.append(function(order)))  # type: ignore[misc]
        return cls.judged(world, results)

    @classmethod
    def powertools(cls, world: World) -> Observed:
        tools = powertools(world)
        return cls.runs(world, lambda function, key: tools.once(function, key=key))

    @classmethod
    def ours(cls, world: World) -> Observed:
        store = Ours(world).store
        return cls.runs(world, lambda function, key: idempotent(store, key=key, scope=function.__name__)(function))


class Falsy:
    """Functions return {}, [], 0, False and the empty text, which duplicates should get back."""

    @classmethod
    def runs(cls, make: Callable[[Callable[..., Any], str], Callable[[Any], Any]]) -> Observed:
        replayed = 0
        for number, value in enumerate(FALSY):

            def give(order: Any, value: Any = value) -> Any:  # noqa: ARG001
                return value

            once = make(give, f"give{number}")
            order = {"id": f"order-{number}"}
            once(order)
            again = once(order)
            replayed += again == value and type(again) is type(value)
        return Observed(f"{replayed} of {len(FALSY)} are replayed", replayed == len(FALSY))

    @classmethod
    def powertools(cls, world: World) -> Observed:
        tools = powertools(world)
        return cls.runs(lambda function, _name: tools.once(function))

    @classmethod
    def ours(cls, world: World) -> Observed:
        store = Ours(world).store
        return cls.runs(lambda function, name: idempotent(store, key="id", scope=name)(function))


class Async:
    """An async function is called twice with one key."""

    @classmethod
    def runs(cls, world: World, make: Callable[[Callable[..., Any]], Callable[[Any], Any]]) -> Observed:
        async def sell(order: Any) -> str:  # noqa: ARG001
            world.sell()
            return "sold"

        results: list[Any] = []

        async def twice() -> None:
            for _ in range(2):
                try:
                    results.append(await once(ORDER))
                except (Exception, OutboxError) as error:
                    results.append(type(error).__name__)

        once = make(sell)
        asyncio.run(twice())
        right = world.sold == 1 and results == ["sold", "sold"]
        return Observed(f"{world.sold} of 1 sold, the calls give {', '.join(map(str, results))}", right)

    @classmethod
    def powertools(cls, world: World) -> Observed:
        return cls.runs(world, powertools(world).once)

    @classmethod
    def ours(cls, world: World) -> Observed:
        return cls.runs(world, idempotent(Ours(world).store, key="id", scope="async"))


def _fault(name: str, row: type) -> Fault:
    found = {solution: getattr(row, solution, None) for solution in ("hand_made", "powertools")}
    return Fault(name, **found, ours=row.ours)  # type: ignore[attr-defined]  # each row has it


FAULTS = (
    _fault("killed right after the commit", KilledBehind),
    _fault("the commit's answer is lost, and the caller tries again", AnswerLost),
    _fault("killed between change and event, in two calls", KilledBetween),
    _fault("one entry of ten is throttled", Throttled),
    _fault("a record that can't be read is first in its batch", Poison),
    _fault("a consumer is killed between effect and completion", KilledBeforeCompletion),
    _fault("a duplicate while the first is at work", AtOnce),
    _fault("a holder outlives its lease", SlowHolder),
    _fault("a stale event arrives last", Stale),
    _fault("nested functions share a store", Nested),
    _fault("falsy results are replayed", Falsy),
    _fault("an async function", Async),
)
