"""Conservation: entities changed = events in the outbox = events consumed = effects applied, under all faults.

Writers, a relay and consumers run as separate processes on one local engine, through fault proxies. They are killed at
random, many of them between a request and its response. When nothing moves any more, the tables and the bus are
counted. One run has a Classic bus, and one the kit's Custom Event Bus with a FIFO subscriber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_outbox.testing import MiniStack

from .buses import ClassicBus, CustomBus
from .counts import count, rows
from .driver import FULL, FULL_CUSTOM, SHORT, SHORT_CUSTOM, Driver
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..report import Row, Scale
    from .buses import Bus
    from .driver import Plan

__all__ = ["run"]


PLANS = {"short": (SHORT, SHORT_CUSTOM), "full": (FULL, FULL_CUSTOM)}


def run(scale: Scale, *, seed: int = 1) -> list[Row]:
    """Do a run with each bus, each on its own MiniStack, and print the faults and counts.

    Args:
        scale: ``short`` or ``full``.
        seed: The seed for the faults of requests and for the requests at which processes are killed.

    Raises:
        RuntimeError: A process ended with an unexpected error.
    """
    classic, custom = PLANS[scale]
    return _run(ClassicBus, classic, seed) + _run(CustomBus, custom, seed)


def _run(make: Callable[[MiniStack], Bus], plan: Plan, seed: int) -> list[Row]:
    with MiniStack() as engine, make(engine) as bus:
        world = World.build(engine, bus=bus.name, queue=bus.queue)
        with Driver(engine, bus, world, plan, seed=seed) as driver:
            driver.work()
            driver.settle_down()
        counts = count(engine, world, bus)
        fault = f"{bus.kind}: {driver.done}"
        found = rows(counts, driver.told, fault=fault) + bus.rows(fault)
    print(f"{bus.kind}:", driver.report(), counts.report(driver.told), sep="\n", flush=True)
    if driver.crashes:
        raise RuntimeError(f"a process failed without being killed: {driver.crashes[0]}")
    return found
