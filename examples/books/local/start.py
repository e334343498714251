"""Serve the books' API on a port and print the consumers' output, until Ctrl-C."""

import sys
import tempfile
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from dynamo_outbox.errors import OutboxError
from dynamo_outbox.testing import EngineError, MiniStack

from .failure import HopFailedError
from .http_api import HttpApi
from .packaging import EXAMPLE, build_zip, check_imports
from .stack import functions_in
from .stage import Mode, Stage, standing

INPUT = "examples/books/input.json"
CONSUMERS = ("BookAdded", "BookRemoved")


def run(mode: Mode, port: int) -> int:
    """Serve a mode until it is interrupted; return 1 if it can't start or can't continue."""
    try:
        api = HttpApi(port)
    except OSError as error:
        print(f"Can't serve the API at port {port}: {error.strerror}. Choose another one: PORT=3001", file=sys.stderr)
        return 1
    doing = "start"
    try:
        with api, tempfile.TemporaryDirectory(prefix="books-start-") as folder:
            package = build_zip(Path(folder) / "books.zip")
            check_imports(package, functions_in(EXAMPLE / mode.template))
            with MiniStack() as engine:
                stage = standing(engine, mode, package, api)
                print(f"{mode.title}: the books' API is at {stage.url}. Press Ctrl-C to stop.")
                print(f"  curl -X POST -d @{INPUT} -H 'Content-Type: application/json' {stage.url}/book")
                print(f"""  curl -X DELETE -d '{{"name": "Team Topologies"}}' {stage.url}/book""", flush=True)
                doing = "continue"
                _follow(stage)
    except (HopFailedError, EngineError, OutboxError, BotoCoreError, ClientError) as failure:
        print(f"Can't {doing}: {failure}", file=sys.stderr)
    return 1


def _follow(stage: Stage) -> None:
    """Run the pipe, if there is one, and print the consumers' output."""
    shown = dict.fromkeys(CONSUMERS, 0)
    while True:
        stage.run_pipe()
        for function in CONSUMERS:
            lines = stage.printed(function)
            for line in lines[shown[function] :]:
                print(f"{function}: {line}", flush=True)
            shown[function] = len(lines)
        time.sleep(0.2)  # ok: polling
