"""`make start`: when it ends."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

import pytest

from local.start import follow


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, None), (signal.SIGTERM, 128 + 15), (signal.SIGHUP, 128 + 1)]
)
def test_a_signal_ends_it_wherever_it_arrives(number: signal.Signals, code: int | None) -> None:
    """A signal that arrives in code that swallows every exception still ends it, and handlers are as before."""

    class Watch:
        busy = True

        def look(self) -> list[Any]:
            with suppress(BaseException):
                signal.raise_signal(number)
            return []

    watch: Any = Watch()
    before = signal.getsignal(number)
    with pytest.raises((KeyboardInterrupt, SystemExit)) as ended:
        follow(watch, faults=watch)
    assert getattr(ended.value, "code", None) == code
    assert signal.getsignal(number) is before
