"""Serve a Custom Event Bus on loopback: ``python -m dynamo_outbox.testing.serve_custom_bus --help``."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from threading import Event as Signal
from typing import TYPE_CHECKING, Any

from ..options import Clock
from .clients import loopback_client
from .custom_bus_server import CustomBusServer
from .custom_bus_targets import lambda_target, queue_target
from .fakes.client import REGION
from .fakes.custom_bus import FakeCustomBus

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

LOOK_SECONDS = 0.2
"""Time between two looks for dead letters."""
DESCRIPTION = (
    "Serves a Custom Event Bus on loopback until Ctrl-C, for boto3 and AWS's other SDKs. Prints its ARN and URL as a "
    "JSON line, then each dead letter. It shows how your code handles what AWS documents, not how AWS behaves."
)
TARGET = "a queue's URL or a Lambda function's name at the engine; may be repeated"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=DESCRIPTION)
    parser.add_argument("--name", default="books", help="of the bus; default: %(default)s")
    parser.add_argument("--region", default=REGION, help="of the bus and the engine; default: %(default)s")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--engine", metavar="URL", help="the local engine of the targets, such as MiniStack's")
    parser.add_argument("--fifo", metavar="TARGET", action="append", default=[], help=f"FIFO subscriber of {TARGET}")
    parser.add_argument("--unordered", metavar="TARGET", action="append", default=[], help="the same without order")
    parser.add_argument("--batch", type=int, default=1, help="MaxBatchSize of all subscribers; default: %(default)s")
    parser.add_argument("--retries", type=int, default=5, help="MaxRetryAttempts of all; default: %(default)s")
    known = parser.parse_args(arguments)
    if (known.fifo or known.unordered) and known.engine is None:
        parser.error("a subscriber needs --engine, the URL of the engine that has its target")
    bus = FakeCustomBus(clock=Clock(), name=known.name, region=known.region)
    for is_fifo, names in ((True, known.fifo), (False, known.unordered)):
        for name in names:
            target = _target(name, known.engine, known.region)
            bus.subscribe(target, fifo=is_fifo, max_batch=known.batch, retries=known.retries)
    try:
        with CustomBusServer(bus, port=known.port) as server, suppress(KeyboardInterrupt):
            print(json.dumps({"EventBusArn": bus.arn, "url": server.url}), flush=True)
            _print_dead_letters(bus)
    except OSError as error:
        print(f"can't serve at port {known.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _print_dead_letters(bus: FakeCustomBus) -> None:
    printed = [0] * len(bus.subscribers)
    while not Signal().wait(LOOK_SECONDS):
        for number, subscriber in enumerate(bus.subscribers):
            for letter in subscriber.dead_letters[printed[number] :]:
                print(json.dumps(letter), flush=True)
                printed[number] += 1


def _target(name: str, engine: str, region: str) -> Any:
    if name.startswith(("http://", "https://")):
        return queue_target(loopback_client("sqs", engine, region=region), name)
    return lambda_target(loopback_client("lambda", engine, region=region), name)


if __name__ == "__main__":
    sys.exit(main())
