"""Run a plan's jobs on several threads."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Plan", "run_plan"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Outcome_contra = TypeVar("Outcome_contra", contravariant=True)


class Plan(Protocol[Job, Outcome_contra]):
    """Jobs that depend on the outcome of earlier jobs. Only one thread at a time calls a plan."""

    def next(self, in_flight: Collection[Job], /) -> Job | None:
        """Return the next job, or None; while jobs are in flight, None means that there may be one after an outcome."""
        ...

    def settle(self, job: Job, outcome: Outcome_contra, /) -> None:
        """Record a job's outcome. No other job starts meanwhile."""
        ...


def run_plan(plan: Plan[Job, Outcome], do: Callable[[Job], Outcome], *, threads: int, name: str) -> None:
    """Run a plan's jobs with `do`, in the caller's thread and up to `threads` - 1 others, which end with this call.

    Each worker fetches its own next job, and `do` sees the caller's context variables. If the OS refuses more threads,
    fewer are used. The first exception of `do` or of the plan is raised; no job starts after it, and none is in flight.
    """
    work = _Work(plan, do)
    others: list[threading.Thread] = []
    try:
        for number in range(1, threads):
            other = threading.Thread(target=copy_context().run, args=(work.run,), name=f"{name}_{number}")
            try:
                other.start()
            except RuntimeError:  # can't start new thread
                break
            others.append(other)
        work.run()
    finally:
        work.stop()
        for other in others:
            other.join()
    if work.error is not None:
        raise work.error


class _Work(Generic[Job, Outcome]):
    """The workers' shared state."""

    def __init__(self, plan: Plan[Job, Outcome], do: Callable[[Job], Outcome]) -> None:
        self._plan = plan
        self._do = do
        self._in_flight: list[Job] = []
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run jobs until none is left."""
        try:
            with self._changed:
                job = self._take()
            while job is not None:
                outcome = self._do(job)
                with self._changed:
                    self._in_flight.remove(job)
                    self._plan.settle(job, outcome)
                    job = self._take()
        except BaseException as error:  # the caller's thread raises it
            self.stop(error)

    def _take(self) -> Job | None:
        """Return the next job, if necessary after waiting for an outcome. The caller holds the lock.

        A worker that got a job wakes the others, because there may be another one; so does the worker that finds that
        no job is left. A worker that gets none for now need not: there is none for the others either.
        """
        while not self._stopped:
            job = self._plan.next(self._in_flight)
            if job is not None:
                self._in_flight.append(job)
                self._changed.notify_all()
                return job
            if not self._in_flight:
                self._changed.notify_all()
                return None
            self._changed.wait()
        return None

    def stop(self, error: BaseException | None = None) -> None:
        """Start no more jobs."""
        with self._changed:
            self._stopped = True
            if self.error is None:
                self.error = error
            self._changed.notify_all()
