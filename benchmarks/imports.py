"""What an import costs, and the first client.

Inside the timed region: the CPU time, user's and system's, of a fresh interpreter that has json, decimal, re, enum,
functools and logging already, from the import to its end; .pyc files are there. For a client its creation belongs to
it, with credentials from the environment. The books' relay is a whole function: all that it imports, and both its
clients, against boto3 and the same two clients and nothing else.
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
    """What a fresh interpreter prints that runs the code."""
    path = os.pathsep.join([str(SOURCE), str(EXAMPLE)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **VARIABLES}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603  # this interpreter


def costs(code: str) -> Measure:
    """Measures the code in a fresh interpreter."""
    return lambda: float(ran(f"{BASE}{code}{END}"))


def check_decoder() -> None:
    """The decoder brings none of the modules that it is to do without."""
    code = "import json, decimal, re, enum, functools, logging, sys; before = set(sys.modules)\n"
    new = set(ran(f"{code}{DECODER}; print(*(set(sys.modules) - before))").split())
    if "dynamo_outbox.streams.records" not in new or new & UNWANTED:
        raise AssertionError(f"the decoder's import brings {new & UNWANTED}")


def check_client() -> None:
    """Both clients have the operations of DynamoDB."""
    theirs = ran("import boto3; print(boto3.client('dynamodb').meta.method_to_api_mapping)")
    ours = ran("import dynamo_outbox.aws.clients as c; print(c.shared_client('dynamodb').meta.method_to_api_mapping)")
    if ours != theirs:
        raise AssertionError("the clients have different operations")


def rows() -> list[Benchmark]:
    """The decoder, the package, the first client, and a client for each of two services."""
    both = "import boto3; boto3.client('dynamodb'); boto3.client('events')"
    cases = (
        ("import of the decoder", "import boto3", DECODER, 0.02, check_decoder),
        ("import dynamo_outbox", "import boto3", "import dynamo_outbox", 0.03, check_decoder),
        ("first client", "import boto3; boto3.client('dynamodb')", OUR_CLIENT, 0.86, check_client),
        (
            "the books' relay, imported, with its clients",
            both,
            "import books.outbox_mode.outbox_relay as of; of.parking._client(); of.handler._publisher._client()",
            1.0,
            check_client,
        ),
        ("a client of dynamodb and one of events", both, f"{OUR_CLIENT}; shared_client('events')", 0.86, check_client),
    )
    return [
        Benchmark(
            what=what,
            against=peer,
            target=target,
            sense="≤",
            measures={"ours": costs(ours), "peer": costs(peer)},
            check=check,
            rounds=15,
        )
        for what, peer, ours, target, check in cases
    ]
