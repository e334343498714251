"""The replay page's commands empty bucket, queues and parking and print what it shows; its code runs as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dynamo_outbox
from dynamo_outbox.testing import MiniStack

from ..end_to_end.conftest import COMMAND
from ..end_to_end.test_replay import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.engine

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations" / "replay.md").read_text(encoding="utf-8")
DEAD = ("rule_dlq_sqs", "async_destination_sqs")


@pytest.fixture(scope="module")
def engine() -> Iterator[MiniStack]:
    with MiniStack() as running:
        yield running


@pytest.fixture
def environment(engine: MiniStack) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": engine.endpoint_url,
        "AWS_DEFAULT_REGION": engine.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def test_each_place_is_emptied_by_one_command(
    engine: MiniStack, environment: dict[str, str], tmp_path: Path, load_event: Callable[[str], dict[str, Any]]
) -> None:
    """The page's commands empty failure bucket, failure queue, dead letters and parking, and print what it shows."""
    site = Site(engine, tmp_path, "books")
    bucket, parking = site.fill_bucket("books-failures"), site.park("books-parking")
    pointers = site.fill_queue(name="books-relay-failures")
    dead = site.fill_queue(*(load_event(f"failures/{name}")["Body"] for name in DEAD), name="books-dead-letters")
    (console,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    shown = re.findall(r"\$ dynamo-outbox (.*)\n(\{.*\})\n", console)
    assert [shlex.split(command)[2] for command, _ in shown] == [bucket, pointers, dead, parking]
    source = str(Path(dynamo_outbox.__file__).parents[1])
    for command, output in shown:
        arguments = [COMMAND, *shlex.split(command)]
        ran = subprocess.run(  # noqa: S603  # the page's own command
            arguments,
            env={**os.environ, **environment, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(ran.stdout) == json.loads(output), command
    assert len(site.arrived()) == 11
    assert site.s3.list_objects_v2(Bucket="books-failures")["KeyCount"] == 0
    assert site.dynamodb.scan(TableName=parking)["Items"] == []
    for queue in (pointers, dead):
        url = site.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        assert "Messages" not in site.sqs.receive_message(QueueUrl=url)


def test_the_function_empties_the_queue(
    engine: MiniStack, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's handler sends the events of a queue."""
    site = Site(engine, tmp_path)
    site.fill_queue(name="books-dead-letters")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    dynamo_outbox.testing.forget_shared_clients()
    names: dict[str, Any] = {"__name__": "page"}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "replay.md", "exec"), names)  # noqa: S102  # our own page
    try:
        assert names["handler"]({}, None) == {"sent": 3, "failed": 0, "stopped": ""}
    finally:
        dynamo_outbox.testing.forget_shared_clients()
