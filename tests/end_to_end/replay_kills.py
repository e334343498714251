"""Replay a table while the process gets killed: ``python -m tests.end_to_end.replay_kills [EVENTS] [KILLS]``.

The bus is an HTTP server here. It kills the replay's process with SIGKILL at a random request that it has accepted and
not answered, and counts what arrives in all the process's lives.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import dynamo_outbox
from dynamo_outbox import Event, TransactionalOutbox
from dynamo_outbox.testing import MiniStack

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Outcome", "replay_and_kill"]

AGGREGATES = 500
TABLE = "events"


@dataclass
class Outcome:
    """What the bus got, and what the last life of the process reported.

    Attributes:
        written: The ids in the table.
        arrived: The ids at the bus, in the order of their arrival.
        kills: How many lives ended by SIGKILL.
        report: The last line that the command printed.
    """

    written: set[str] = field(default_factory=set)
    arrived: list[str] = field(default_factory=list)
    kills: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def twice(self) -> int:
        return len(self.arrived) - len(set(self.arrived))


class Bus:
    """EventBridge's PutEvents, on a loopback port.

    Args:
        checkpoint: The replay's checkpoint.
        after_whole_waves: Kill only when all events that the checkpoint calls in flight have arrived.
    """

    def __init__(self, checkpoint: Path, *, after_whole_waves: bool) -> None:
        self.arrived: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.kill_after = sys.maxsize
        self._checkpoint, self._after_whole_waves = checkpoint, after_whole_waves
        self._lock = Lock()
        bus = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet

            def do_POST(self) -> None:
                entries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Entries"]
                bus.accept([json.loads(entry["Detail"])["metadata"]["id"] for entry in entries])
                answer = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in entries]}
                body = json.dumps(answer).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client was killed

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # server_close waits for the requests that are under way
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def accept(self, ids: list[str]) -> None:
        """Record a request's events, and kill the process at its time, before the answer."""
        with self._lock:
            self.arrived += ids
            if self.process is not None and len(self.arrived) >= self.kill_after and self._is_time():
                self.process.kill()
                self.process.wait()
                self.kill_after = sys.maxsize

    def _is_time(self) -> bool:
        if not self._after_whole_waves:
            return True
        in_flight = json.loads(self._checkpoint.read_bytes().splitlines()[-1])["sending"]
        return {each.partition(" ")[2] for each in in_flight} <= set(self.arrived)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def write_events(engine: MiniStack, number: int) -> set[str]:
    """Fill the events table; return the events' ids."""
    dynamodb = engine.client("dynamodb")
    dynamodb.create_table(TableName=TABLE, **key_schema("pk", "sk"))
    outbox = TransactionalOutbox(TABLE, source="Books", client=dynamodb)

    def requests() -> Iterator[dict[str, Any]]:
        for at in range(number):
            about: dict[str, Any] = {"aggregate_id": str(at % AGGREGATES), "sequence": at}
            yield {
                "PutRequest": {
                    "Item": outbox.transact_item(Event("Added", {}, aggregate_type="Book", **about))["Put"]["Item"]
                }
            }

    items, ids = list(requests()), set[str]()
    for start in range(0, number, 25):
        batch = items[start : start + 25]
        assert not dynamodb.batch_write_item(RequestItems={TABLE: batch})["UnprocessedItems"]
        ids |= {each["PutRequest"]["Item"]["eventId"]["S"] for each in batch}
    return ids


def replay_and_kill(number: int, kills: int, folder: Path, *, after_whole_waves: bool, seed: int = 0) -> Outcome:
    """Replay a table's events to the bus; kill and restart the process."""
    chance, outcome = random.Random(seed), Outcome()  # noqa: S311  # chooses the kills
    bus = Bus(folder / "checkpoint", after_whole_waves=after_whole_waves)
    with MiniStack() as engine:
        outcome.written = write_events(engine, number)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": engine.endpoint_url,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url,
            "AWS_DEFAULT_REGION": engine.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONPATH": str(Path(dynamo_outbox.__file__).parents[1]),
        }
        command = [sys.executable, "-m", "dynamo_outbox", "replay", "table", TABLE, "--bus", "books", "--yes"]
        command += ["--checkpoint", str(folder / "checkpoint")]
        while True:
            left = number - len(set(bus.arrived))
            wants_kill = outcome.kills < kills and left > 200
            bus.kill_after = (
                len(bus.arrived) + chance.randrange(1, 2 * left // (kills - outcome.kills + 1))
                if wants_kill
                else sys.maxsize
            )
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own
                bus.process = process
                printed, _ = process.communicate()
            if process.returncode == 0:
                outcome.report = json.loads(printed.splitlines()[-1])
                break
            assert process.returncode < 0, f"the command failed: {process.returncode}"
            outcome.kills += 1
    bus.close()
    outcome.arrived = bus.arrived
    return outcome


def main(number: int = 100_000, kills: int = 20) -> None:
    """Print the outcome of a run of each kind."""
    for after_whole_waves in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            outcome = replay_and_kill(number, kills, Path(folder), after_whole_waves=after_whole_waves)
        lost, report = len(outcome.written - set(outcome.arrived)), outcome.report
        where = "with whole waves in flight" if after_whole_waves else "at any request"
        print(f"{number} events, {outcome.kills} kills {where}: {lost} lost, {outcome.twice} twice, {report}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
