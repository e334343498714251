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
    """Jobs that depend on the outcome of earlier ones. Called by one thread at a time."""

    def next(self, in_flight: Collection[Job], /) -> Job | None:
        """Return the next job; None if there is none, or, while jobs are in flight, none before an outcome."""
        ...

    def settle(self, job: Job, outcome: Outcome_contra, /) -> None:
        """Record the outcome of a job. No other job starts meanwhile."""
        ...


def run_plan(plan: Plan[Job, Outcome], do: Callable[[Job], Outcome], *, threads: int, name: str) -> None:
    """Run all jobs of a plan; the caller's thread is one of the workers, and the others end with this call.

    Each worker fetches its own next job; there is no dispatcher.

    Args:
        plan: The jobs.
        do: Runs a job, in several threads at the same time, with the caller's context variables.
        threads: The number of workers. If the OS refuses more threads, fewer are used.
        name: Prefix of the threads' names.

    Raises:
        BaseException: The first exception of `do` or of the plan, in any thread; no job starts after it, and those in
            flight have ended.
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
    """The state that the workers share."""

    def __init__(self, plan: Plan[Job, Outcome], do: Callable[[Job], Outcome]) -> None:
        self._plan = plan
        self._do = do
        self._in_flight: list[Job] = []
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run job after job, until there is none."""
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
        """Return the next job, waiting for an outcome if necessary. The lock is held.

        A worker that found a job wakes the others, because there may be another; so does the last one, which found that
        there will be none. A worker that finds none for now need not wake the others: there is none for them
        either.
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
