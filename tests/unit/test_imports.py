"""Cost of imports: the modules that an import loads in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dynamo_outbox

SOURCE = Path(dynamo_outbox.__file__).parent.parent
BASE = "import json, decimal, re, enum, functools, logging, sys; before = set(sys.modules); "
DECODERS = "from dynamo_outbox import decode_records, decode_record, decode_item, parse_event"


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import dynamo_outbox", {"boto3", "botocore", "pydantic"}),
        (DECODERS, {"boto3", "botocore", "pydantic", "dataclasses", "inspect", "asyncio"}),
        ("from dynamo_outbox import Event, encode_item", {"boto3", "botocore", "pydantic", "dataclasses", "inspect"}),
    ],
)
def test_an_import_brings_only_what_it_needs(statement: str, unwanted: set[str]) -> None:
    """Names are loaded on first use, so a decoder loads neither clients nor models."""
    code = f"{BASE}{statement}; print(*(set(sys.modules) - before))"
    answer = subprocess.run(  # noqa: S603  # this interpreter, and code from above
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    new = set(answer.stdout.split())
    assert "dynamo_outbox" in new
    assert not new & unwanted
