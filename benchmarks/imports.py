"""Cost of imports and of the first clients.

Inside the timed region: user and system CPU time of a fresh interpreter for the import, with existing .pyc files. json,
decimal, re, enum, functools and logging are imported before. A client row includes the client's creation, with
credentials from the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .harness import SOURCE, Benchmark, Measure

__all__ = ["rows"]

BASE = "import json, decimal, re, enum, functools, logging, time; begin = time.process_time()\n"
END = "\nprint(time.process_time() - begin)"
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "books" / "src"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "BOOKS_TABLE": "books",
    "EVENTS_TABLE": "books-events",
    "PRESENTATION_TABLE": "presentation",
    "PARKING_TABLE": "parking",
    "EVENT_BUS": "books",
}
DECODER = "from dynamo_outbox import decode_records, decode_record, decode_item"
OUR_CLIENT = "from dynamo_outbox.aws.clients import shared_client; shared_client('dynamodb')"
UNWANTED = {"boto3", "botocore", "pydantic", "dataclasses", "inspect", "asyncio"}


def ran(code: str) -> str:
    """Run the code in a fresh interpreter and return its output."""
    path = os.pathsep.join([str(SOURCE), str(EXAMPLE)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **VARIABLES}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603  # this interpreter


def costs(code: str) -> Measure:
    """Return a measure of the code in a fresh interpreter."""
    return lambda: float(ran(f"{BASE}{code}{END}"))


def check_decoder() -> None:
    """Raise an error if the decoder imports a module that it should avoid."""
    code = "import json, decimal, re, enum, functools, logging, sys; before = set(sys.modules)\n"
    new = set(ran(f"{code}{DECODER}; print(*(set(sys.modules) - before))").split())
    if "dynamo_outbox.streams.records" not in new or new & UNWANTED:
        raise AssertionError(f"the decoder imports {new & UNWANTED}")


def check_client() -> None:
    """Raise an error unless both clients have the same operations."""
    theirs = ran("import boto3; print(boto3.client('dynamodb').meta.method_to_api_mapping)")
    ours = ran("import dynamo_outbox.aws.clients as c; print(c.shared_client('dynamodb').meta.method_to_api_mapping)")
    if ours != theirs:
        raise AssertionError("the clients have different operations")


def rows() -> list[Benchmark]:
    """Return rows of the decoder, the package, the first client, and two clients."""
    alone = "import boto3"
    one = f"{alone}; boto3.client('dynamodb')"
    two = f"{one}; boto3.client('events')"
    cases = (
        ("import the decoder", "import boto3", alone, DECODER, 0.03, check_decoder),
        ("import dynamo_outbox", "import boto3", alone, "import dynamo_outbox", 0.03, check_decoder),
        ("first client", "boto3", one, OUR_CLIENT, 0.86, check_client),
        ("two clients", "boto3, two clients", two, f"{OUR_CLIENT}; shared_client('events')", 0.86, check_client),
    )
    return [
        Benchmark(
            what=what,
            against=against,
            target=target,
            sense="≤",
            measures={"ours": costs(ours), "peer": costs(peer)},
            check=check,
            rounds=15,
        )
        for what, against, peer, ours, target, check in cases
    ]
