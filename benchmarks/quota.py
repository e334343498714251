"""The default concurrency under the CPU quota of a small Lambda function.

Inside the timed region: wall time of one call of the relay with 100 outbox records, with 8 ms to each response, in a
process of its own. A control group gives the process a quarter or half of a core, in periods of 20 ms. The peers are
the same relay with one call at a time, and the loop by hand. Without the right to make a control group there are no
rows.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import boto3

from dynamo_outbox import EventBridgePublisher, OutboxRelay

from .calls import expect
from .canned_server import server_of_process
from .handlers import BUS, CONTEXT, relay_by_hand
from .harness import SOURCE, Benchmark
from .payloads import from_lambda, outbox_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .canned_server import CannedServer
    from .handlers import Handler
    from .harness import Measure

__all__ = ["rows"]

GROUPS = (
    (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{quota}"}),
    (Path("/sys/fs/cgroup"), {"cpu.max": "{quota} {period}"}),
)
"""Where control groups are made and how their quota is set: version 1, then version 2."""
PERIOD = 20_000
"""Microseconds."""
DELAY = 8
ROUNDS = 25


@contextmanager
def group(cores: float) -> Iterator[Path]:
    """Make a control group with a quota; raise OSError without the right to."""
    parent, settings = next((each for each in GROUPS if (each[0] / next(iter(each[1]))).exists()), GROUPS[1])
    made = parent / f"dynamo-outbox-{os.getpid()}-{cores}"
    made.mkdir()
    try:
        for name, text in settings.items():
            (made / name).write_text(text.format(quota=int(PERIOD * cores), period=PERIOD), encoding="ascii")
        yield made
    finally:
        made.rmdir()


def rows() -> list[Benchmark]:
    """Return the rows; their processes end with this one."""
    stack = ExitStack()
    atexit.register(stack.close)
    server = server_of_process()
    out = []
    for cores in (0.25, 0.5):
        try:
            at = stack.enter_context(group(cores))
        except OSError as error:
            print(f"no rows of CPU quotas: {error}", file=sys.stderr)
            return []
        worker = subprocess.Popen(  # noqa: S603  # this module
            [sys.executable, "-m", __name__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(SOURCE.parent)])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, worker)
        (at / "cgroup.procs").write_text(str(worker.pid), encoding="ascii")
        measures = {name: _measure(worker, name, server) for name in HANDLERS}
        for against, name, target in (("one call at a time", "serial", 1.0), ("boto3 by hand", "by hand", 1.0)):
            out.append(_row(f"relay, {DELAY} ms a response, {cores} core", against, target, measures, name, server))
    return out


def _row(
    what: str, against: str, target: float, measures: dict[str, Measure], peer: str, server: CannedServer
) -> Benchmark:
    def check() -> None:
        for name in ("default", peer):
            expect(server, 10, measures[name])

    contenders = {"ours": measures["default"], "peer": measures[peer]}
    return Benchmark(
        what=what, against=against, target=target, sense="≥", measures=contenders, check=check, rounds=ROUNDS
    )


def _measure(worker: subprocess.Popen[str], name: str, server: CannedServer) -> Measure:
    def once() -> float:
        assert worker.stdin is not None  # noqa: S101  # for the type checker
        assert worker.stdout is not None  # noqa: S101  # for the type checker
        server.delay(DELAY)
        try:
            print(name, file=worker.stdin, flush=True)
            return float(worker.stdout.readline())
        finally:
            server.delay(0)

    return once


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()


HANDLERS: dict[str, Callable[[], Handler]] = {
    "default": lambda: OutboxRelay(EventBridgePublisher(BUS)),
    "serial": lambda: OutboxRelay(EventBridgePublisher(BUS, concurrency=1)),
    "by hand": lambda: relay_by_hand(boto3.client("events")),
}


def work() -> None:
    """Call the handlers that standard input names, and print each call's wall time."""
    handlers = {name: make() for name, make in HANDLERS.items()}
    payload = outbox_records()
    for line in sys.stdin:
        event = from_lambda(payload)
        begin = perf_counter()
        handlers[line.strip()](event, CONTEXT)
        print(perf_counter() - begin, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        work()
