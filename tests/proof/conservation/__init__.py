"""Conservation: entities changed = events in the outbox = events consumed = effects applied, whatever happens between.

Writers, a relay and consumers, each a process of its own, work on one local engine through fault proxies and are killed
at random, many of them between a request and its answer. When all is quiet, the tables and the bus are counted.
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
    """One run on a MiniStack of its own; prints what was done to it.

    Args:
        scale: ``short`` or ``full``.
        seed: Where chance begins: the faults of each process's requests, and the requests at which it is killed.

    Raises:
        RuntimeError: A process ended with an error that nobody expected.
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
        raise RuntimeError(f"a process broke by itself, and was not killed: {driver.crashes[0]}")
    return rows(counts, driver.told, fault=driver.done)
