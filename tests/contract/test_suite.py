"""The points that a fake of these services must get right, and the tests of each point.

Every scenario runs on the fake, on moto and on MiniStack (and on ``--endpoint-url``), unless this table says "fake": no
other engine can be made to show that behaviour, so the reference is AWS's documentation.

====  =========================================================  =====================================================
no.   point                                                      where
====  =========================================================  =====================================================
1     over 100 actions, the same item twice, 400 KB, 4 MB         ``test_transactions``
2     all or nothing; reasons by position; Item with ALL_OLD      ``test_transactions``
3     same token: no write, no record; other body: mismatch       ``test_transactions``; ten minutes: fake
4     in progress; conflicts of transactions and single writes    fake, ``hold_transaction``: no engine raises them
5     the commit succeeded, the response was lost                 fake, ``fail_next(after_commit=True)``
6     interleaved, delayed, reordered; order per item             order per item: ``test_streams``; the rest: fake, as
                                                                  the engines report changes in the order of commits
7     no record without a change; images by view type             ``test_streams``
8     TTL's identity, capitalised and not                         fake, ``expire``: moto never deletes, and MiniStack
                                                                  deletes once a minute and writes no record
9     redelivery; the lowest number is the checkpoint             not here: it is Lambda's event source mapping, which
                                                                  is not a client that the library calls
10    a poison record blocks its shard                            not here: the same
11    Pipes: a bare array; Lambda: Records                        the shape of a record for Lambda: fake, with
                                                                  ``wire_record``; the array is the mapping's, as in 9
12    over 10 entries or 1 MB; a bad Detail; throttling           ``test_put_events``; throttling: fake
13    events twice, and in any order                              fake, ``FakeEventBridge.deliveries``
14    Custom Event Bus: calls, groups, deliveries                 ``test_custom_bus_matrix``: the fake, in memory and on
                                                                  the wire, as no engine has it
====  =========================================================  =====================================================
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from .deviations import DEVIATIONS, Instead
from .engine import Backend, Engine

MODULES = (
    "test_transactions",
    "test_conditions",
    "test_batch_reads",
    "test_updates",
    "test_values",
    "test_streams",
    "test_put_events",
    "test_library",
)


def test_each_deviation_names_a_scenario() -> None:
    """Every deviation belongs to an existing scenario."""
    scenarios = {name for module in MODULES for name in dir(import_module(f"{__package__}.{module}"))}
    assert {scenario.partition("[")[0] for _, scenario in DEVIATIONS} <= scenarios


def test_the_fake_does_not_deviate() -> None:
    """The fake has no known deviations: its errors are fixed."""
    assert {engine for engine, _ in DEVIATIONS} <= {"moto", "ministack"}


@pytest.mark.parametrize(
    ("scenario", "observed", "holds"),
    [
        ("sound", "truth", True),
        ("sound", "something else", False),
        ("wrong", "deviation", True),
        ("wrong", "truth", False),
        ("wrong", "something else", False),
    ],
)
def test_a_deviation_is_asserted(monkeypatch: pytest.MonkeyPatch, scenario: str, observed: str, *, holds: bool) -> None:
    """A known deviation must be exactly as listed: not AWS's result and not any other."""
    monkeypatch.setitem(DEVIATIONS, ("engine", "wrong"), Instead("deviation"))
    engine = Engine(Backend("engine", None, None, None), scenario, pytest.fail)
    if holds:
        engine.holds(observed, "truth")
    else:
        with pytest.raises(AssertionError):
            engine.holds(observed, "truth")


def test_each_module_of_the_suite_says_what_it_is_about() -> None:
    """MODULES lists all test modules, except this one and those of the fakes, the bus, the proxy and the patterns."""
    found = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    prefixes = ("test_fake_", "test_custom_bus_", "test_fault_", "test_patterns_")
    alone = {stem for stem in found if stem.startswith(prefixes)}
    assert found - alone - {"test_suite"} == set(MODULES)
