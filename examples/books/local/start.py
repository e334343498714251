"""Serve the books' API and the page on a port and print the consumers' output, until Ctrl-C."""

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from dynamo_outbox.errors import OutboxError, RenderError
from dynamo_outbox.testing import EngineError, FaultProxy, MiniStack

from .failure import HopFailedError
from .hops import HopReader
from .packaging import EXAMPLE, build_zip, check_imports
from .site import Site
from .stack import functions_in
from .stage import Mode, standing
from .trouble import Faults, Trouble
from .watch import Watch

INPUT = "examples/books/input.json"


def run(mode: Mode, port: int) -> int:
    """Serve a mode until it is interrupted; return 1 if it can't start or can't continue."""
    try:
        site = Site(port)
    except OSError as error:
        print(f"Can't serve the API at port {port}: {error.strerror}. Choose another one: PORT=3001", file=sys.stderr)
        return 1
    doing = "start"
    try:
        with site, tempfile.TemporaryDirectory(prefix="books-start-") as folder:
            package = build_zip(Path(folder) / "books.zip")
            check_imports(package, functions_in(EXAMPLE / mode.template))
            faults = Faults()
            with (
                MiniStack() as engine,
                FaultProxy(engine.endpoint_url, on_phase=faults.on_phase) as proxy,
                ExitStack() as running,
            ):
                stage = standing(engine, mode, package, site, proxy, running, faults.on_phase)
                watch = Watch(HopReader(stage))
                site.show(Trouble(stage, watch, proxy, faults, site.call))
                print(f"{mode.title}: the page is at {stage.url}/, the books' API at {stage.url}/book.")
                print(f"  curl -X POST -d @{INPUT} -H 'Content-Type: application/json' {stage.url}/book")
                print(f"""  curl -X DELETE -d '{{"name": "Team Topologies"}}' {stage.url}/book""")
                print("Press Ctrl-C to stop.", flush=True)
                doing = "continue"
                follow(watch, faults)
    except (HopFailedError, EngineError, OutboxError, BotoCoreError, ClientError) as failure:
        print(f"Can't {doing}: {failure}", file=sys.stderr)
    return 1


def follow(watch: Watch, faults: Faults) -> None:
    """Read the hops, which runs the pipe if there is one, and print the consumers' output, until a signal arrives.

    An exception of a signal's handler can get lost in a callback or a finalizer, so the handlers only take note.
    """
    received: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda number, _: received.append(number)) for number in stops]
    try:
        while not received:
            try:
                for hop in watch.look():
                    if hop.node == "consumer":
                        print(f"{hop.found['function']}: {hop.found['line']}", flush=True)
            except RenderError:
                if not faults.refused:  # the pipe sends the record again
                    raise
            time.sleep(0.05 if watch.busy else 0.2)  # ok: polling
    finally:
        for number, handler in zip(stops, before, strict=True):
            signal.signal(number, handler)
    if received[0] == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + received[0])
