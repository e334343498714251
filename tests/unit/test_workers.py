"""Running a plan's jobs on several threads."""

from __future__ import annotations

import threading
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.publishing.workers import run_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

LONG = 10
"""Timeout in seconds; only a failing test takes that long."""
CALLER = "the caller"


def run_in_caller(plan: Growing, do: Callable[[int], int], threads: int) -> None:
    """Call `run_plan` in a thread named `CALLER`, so that a test fails if the call never returns."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            run_plan(plan, do, threads=threads, name="test-worker")
        except BaseException as error:
            raised.append(error)

    caller = threading.Thread(target=copy_context().run, args=(call,), name=CALLER, daemon=True)
    caller.start()
    caller.join(2 * LONG)
    assert not caller.is_alive(), "the call doesn't return"
    if raised:
        raise raised[0]


def is_caller() -> bool:
    return threading.current_thread().name == CALLER


class Growing:
    """A plan in which each settled job adds others; it fails if two threads are in it at the same time."""

    def __init__(self, children: list[list[int]], *, alone: frozenset[int] = frozenset()) -> None:
        self._children = children
        self._alone = alone
        self._waiting = [0]
        self._inside = threading.Lock()
        self.idle = threading.Semaphore(0)
        """Released when `next` returns None while a job is in flight: that thread then waits."""
        self.settled: list[int] = []

    def next(self, in_flight: Collection[int]) -> int | None:
        assert self._inside.acquire(blocking=False), "two threads are in the plan at once"
        try:
            if not self._waiting or (in_flight and not self._alone.isdisjoint({self._waiting[0], *in_flight})):
                if in_flight:
                    self.idle.release()
                return None
            return self._waiting.pop(0)
        finally:
            self._inside.release()

    def settle(self, job: int, outcome: int) -> None:
        assert outcome == -job
        assert self._inside.acquire(blocking=False), "two threads are in the plan at once"
        try:
            self.settled.append(job)
            self._waiting += self._children[job]
        finally:
            self._inside.release()


@st.composite
def trees(draw: st.DrawFn) -> list[list[int]]:
    """Return the jobs that each job adds; each job but the first is added by an earlier one."""
    count = draw(st.integers(1, 30))
    children: list[list[int]] = [[] for _ in range(count)]
    for job in range(1, count):
        children[draw(st.integers(0, job - 1))].append(job)
    return children


def left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("test-worker")]


@given(trees(), st.frozensets(st.integers(0, 29), max_size=5), st.integers(1, 5))
def test_each_job_is_done_once_and_settled_once(children: list[list[int]], alone: frozenset[int], threads: int) -> None:
    """Each job runs once and is settled once, whatever the dependencies and the number of threads."""
    plan, done = Growing(children, alone=alone), []

    def do(job: int) -> int:
        done.append(job)
        return -job

    run_in_caller(plan, do, threads=threads)
    assert sorted(done) == sorted(plan.settled) == list(range(len(children)))
    assert left() == []


def test_who_waits_is_woken_for_what_an_outcome_brings() -> None:
    """Jobs that an outcome adds run at the same time, on threads that were idle."""
    plan, together = Growing([[1, 2, 3], [], [], []]), threading.Barrier(3)

    def do(job: int) -> int:
        if job:
            together.wait(LONG)
        else:
            assert all(plan.idle.acquire(timeout=LONG) for _ in range(2))
        return -job

    run_in_caller(plan, do, threads=3)
    assert sorted(plan.settled) == [0, 1, 2, 3]


def test_who_waits_is_woken_when_there_is_nothing_more() -> None:
    """The last outcome wakes all idle threads, including the caller's."""
    both = threading.Barrier(2)
    plan = Growing([[1, 2], [], []])

    def do(job: int) -> int:
        if job:
            both.wait(LONG)
            while plan.idle.acquire(blocking=False):
                pass  # from earlier
            both.wait(LONG)
            if not is_caller():
                assert plan.idle.acquire(timeout=LONG)
        return -job

    run_in_caller(plan, do, threads=2)
    assert sorted(plan.settled) == [0, 1, 2]


def test_a_thread_that_is_through_takes_the_next_job_by_itself() -> None:
    """While one job takes long, another thread runs all the others."""
    others_are_done = threading.Event()
    plan = Growing([[1, 2, 3, 4], [], [], [], []])

    def do(job: int) -> int:
        if job == 1:
            assert others_are_done.wait(LONG)
        if job == 4:
            others_are_done.set()
        return -job

    run_in_caller(plan, do, threads=2)
    assert plan.settled == [0, 2, 3, 4, 1]


def broken_job(job: int) -> int:
    raise KeyboardInterrupt(job)


class BrokenNext(Growing):
    def next(self, in_flight: Collection[int]) -> int | None:
        if self.settled:
            raise KeyboardInterrupt
        return super().next(in_flight)


class BrokenSettle(Growing):
    def settle(self, job: int, outcome: int) -> None:
        super().settle(job, outcome)
        raise KeyboardInterrupt


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("kind", "do"), [(Growing, broken_job), (BrokenNext, int.__neg__), (BrokenSettle, int.__neg__)]
)
def test_what_breaks_the_work_is_raised(kind: type[Growing], do: Callable[[int], int], threads: int) -> None:
    """An exception from a job or the plan, even a BaseException, is raised by the call, and no thread stays."""
    plan = kind([[1, 2, 3, 4], [], [], [], []])
    with pytest.raises(KeyboardInterrupt):
        run_in_caller(plan, do, threads=threads)
    assert plan.settled in ([], [0])
    assert left() == []


def test_one_thread_at_a_time_settles() -> None:
    """Only one thread at a time settles an outcome."""
    in_do, in_settle = threading.Barrier(2), threading.Barrier(2)
    met = []

    class Slow(Growing):
        def settle(self, job: int, outcome: int) -> None:
            if job:
                try:
                    in_settle.wait(0.2)  # times out: the other thread is still at the lock
                    met.append(job)
                except threading.BrokenBarrierError:
                    pass
            super().settle(job, outcome)

    def do(job: int) -> int:
        if job:
            in_do.wait(LONG)
        return -job

    plan = Slow([[1, 2], [], []])
    run_in_caller(plan, do, threads=2)
    assert sorted(plan.settled) == [0, 1, 2]
    assert met == []


def test_what_breaks_in_another_thread_stops_all_once_their_jobs_are_over() -> None:
    """The first error is raised in the caller's thread; jobs in flight are settled, and no job is started."""
    both = threading.Barrier(2)
    broken, begun = threading.Event(), []
    plan = Growing([[1, 2, 3, 4], [], [], [], []])

    def do(job: int) -> int:
        begun.append(job)
        if not job:
            return 0
        both.wait(LONG)
        if is_caller():
            assert broken.wait(LONG)
            for each in threading.enumerate():
                if each.name.startswith("test-worker"):
                    each.join(LONG)
                    assert not each.is_alive()
            return -job
        broken.set()
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        run_in_caller(plan, do, threads=2)
    assert len(plan.settled) == 2
    assert sorted(begun) == [0, 1, 2]


def test_jobs_see_the_callers_context() -> None:
    """Jobs see the caller's context variables, on each thread."""
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen, both = [], threading.Barrier(2)

    def do(job: int) -> int:
        if job:
            both.wait(LONG)
            seen.append((trace.get(), threading.current_thread().name.startswith("test-worker")))
        return -job

    token = trace.set("abc")
    try:
        run_in_caller(Growing([[1, 2], [], []]), do, threads=2)
    finally:
        trace.reset(token)
    assert sorted(seen) == [("abc", False), ("abc", True)]


def test_where_the_system_has_no_more_threads_those_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a thread can't be started, the existing ones do the work, and no further one is tried."""
    start, tried = threading.Thread.start, []

    def no_second(thread: threading.Thread) -> None:
        if thread.name.startswith("test-worker"):
            tried.append(thread)
            if len(tried) == 2:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_second)
    plan = Growing([[1, 2], [], []])
    run_in_caller(plan, int.__neg__, threads=8)
    assert sorted(plan.settled) == [0, 1, 2]
    assert len(tried) == 2
    assert left() == []
