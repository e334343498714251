"""A clock that moves only when a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..options import Clock

__all__ = ["FakeClock"]


class FakeClock(Clock):
    """A clock for tests, which moves only by `sleep`, `advance` and `set`.

    Args:
        start: The initial time, timezone-aware.
        random: The return value of `random`; with 1 every wait has its maximum length.

    Attributes:
        slept: The seconds of each sleep, in order.
    """

    def __init__(self, start: datetime = datetime(2026, 11, 23, 9, 30, tzinfo=UTC), *, random: float = 1.0) -> None:
        self.slept: list[float] = []
        self._now = start
        self._random = random

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(timedelta(seconds=seconds))

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def random(self) -> float:
        return self._random

    def advance(self, duration: timedelta) -> None:
        """Move the clock forward."""
        self._now += duration

    def set(self, moment: datetime) -> None:
        """Set the clock, forward or back."""
        self._now = moment

    def __repr__(self) -> str:
        return f"FakeClock({self._now!r})"
