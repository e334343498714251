"""Conservation: entities changed = events in the outbox = events consumed = effects applied, under all faults.

Writers, a relay and consumers run as separate processes on one local engine, through fault proxies. They are killed at
random, many of them between a request and its response. When nothing moves any more, the tables and the bus are
counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_outbox.testing import MiniStack

from .counts import count, rows
from .driver import FULL, SHORT, Driver
from .world import World

if TYPE_CHECKING:
    from ..report import Row, Scale

__all__ = ["run"]


def run(scale: Scale, *, seed: int = 1) -> list[Row]:
    """Do one run on its own MiniStack, and print the faults and counts.

    Args:
        scale: ``short`` or ``full``.
        seed: The seed for the faults of requests and for the requests at which processes are killed.

    Raises:
        RuntimeError: A process ended with an unexpected error.
    """
    plan = FULL if scale == "full" else SHORT
    with MiniStack() as engine:
        world = World.build(engine)
        with Driver(engine, world, plan, seed=seed) as driver:
            driver.work()
            driver.settle_down()
        counts = count(engine, world)
    print(driver.report(), counts.report(driver.told), sep="\n", flush=True)
    if driver.crashes:
        raise RuntimeError(f"a process failed without being killed: {driver.crashes[0]}")
    return rows(counts, driver.told, fault=driver.done)
