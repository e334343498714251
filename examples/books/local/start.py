"""The books service, staying up: its API at a fixed port, its consumers' lines in the terminal, until Ctrl-C."""

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
    """Serve a mode until it is interrupted; 1 where it can't be started, or can't go on."""
    try:
        api = HttpApi(port)
    except OSError as error:
        print(f"Can't serve the API at port {port}: {error.strerror}. Name another: PORT=3001", file=sys.stderr)
        return 1
    doing = "start"
    try:
        with api, tempfile.TemporaryDirectory(prefix="books-start-") as folder:
            package = build_zip(Path(folder) / "books.zip")
            check_imports(package, functions_in(EXAMPLE / mode.template))
            with MiniStack() as engine:
                stage = standing(engine, mode, package, api)
                print(f"{mode.title}: the books' API is at {stage.url}; Ctrl-C ends it.")
                print(f"  curl -X POST -d @{INPUT} -H 'Content-Type: application/json' {stage.url}/book")
                print(f"""  curl -X DELETE -d '{{"name": "Team Topologies"}}' {stage.url}/book""", flush=True)
                doing = "go on"
                _follow(stage)
    except (HopFailedError, EngineError, OutboxError, BotoCoreError, ClientError) as failure:
        print(f"Can't {doing}: {failure}", file=sys.stderr)
    return 1


def _follow(stage: Stage) -> None:
    """Run the pipe, where there is one, and print what the consumers print."""
    shown = dict.fromkeys(CONSUMERS, 0)
    while True:
        stage.run_pipe()
        for function in CONSUMERS:
            lines = stage.printed(function)
            for line in lines[shown[function] :]:
                print(f"{function}: {line}", flush=True)
            shown[function] = len(lines)
        time.sleep(0.2)  # ok: polling
