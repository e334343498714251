"""One plan, worked off by several threads: each takes what is next, and settles there what came of it."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Plan", "work_off"]

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Outcome_contra = TypeVar("Outcome_contra", contravariant=True)


class Plan(Protocol[Job, Outcome_contra]):
    """What is to be done, as decided from what came of the jobs before. One thread at a time asks it or tells it."""

    def next(self, under_way: Collection[Job], /) -> Job | None:
        """A job, or None: for good where none is under way, else for now, as an outcome may bring more."""
        ...

    def settle(self, job: Job, outcome: Outcome_contra, /) -> None:
        """Take in what came of a job. As long as this takes, no other is begun."""
        ...


def work_off(plan: Plan[Job, Outcome], do: Callable[[Job], Outcome], *, threads: int, name: str) -> None:
    """Do all that a plan has, in so many threads; the caller's is one of them, and no other outlives this call.

    A thread that is through with its job takes the next one by itself, so none waits for another to be told.

    Args:
        plan: What is to be done.
        do: Does a job, while others are done at the same time. It sees the caller's context variables.
        threads: How many, one at the least. Where the system has no more, it is done by those that there are.
        name: What the names of the other threads begin with.

    Raises:
        BaseException: What `do` or the plan raised first, in whichever thread; nothing is begun after it, and what was
            under way is over.
    """
    work = _Work(plan, do)
    others: list[threading.Thread] = []
    try:
        for number in range(1, threads):
            other = threading.Thread(target=copy_context().run, args=(work.share,), name=f"{name}_{number}")
            try:
                other.start()
            except RuntimeError:  # can't start new thread
                break
            others.append(other)
        work.share()
    finally:
        work.stop()
        for other in others:
            other.join()
    if work.error is not None:
        raise work.error


class _Work(Generic[Job, Outcome]):
    """What the threads share."""

    def __init__(self, plan: Plan[Job, Outcome], do: Callable[[Job], Outcome]) -> None:
        self._plan = plan
        self._do = do
        self._under_way: list[Job] = []
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False
        self.error: BaseException | None = None

    def share(self) -> None:
        """A thread's share: job after job, until there is none."""
        try:
            with self._changed:
                job = self._take()
            while job is not None:
                outcome = self._do(job)
                with self._changed:
                    self._under_way.remove(job)
                    self._plan.settle(job, outcome)
                    job = self._take()
        except BaseException as error:  # the caller's thread raises it
            self.stop(error)

    def _take(self) -> Job | None:
        """The next job, waited for where an outcome may bring one. The lock is held.

        Who waits is woken by one that found a job, as there may be another, and by the last one, who found that there
        is none for good: where a thread finds none for now, there is none for those that wait, either.
        """
        while not self._stopped:
            job = self._plan.next(self._under_way)
            if job is not None:
                self._under_way.append(job)
                self._changed.notify_all()
                return job
            if not self._under_way:
                self._changed.notify_all()
                return None
            self._changed.wait()
        return None

    def stop(self, error: BaseException | None = None) -> None:
        """Begin nothing more."""
        with self._changed:
            self._stopped = True
            if self.error is None:
                self.error = error
            self._changed.notify_all()
