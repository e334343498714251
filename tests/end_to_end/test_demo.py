"""`make demo`: a complete run in each mode, and the output when a part is broken."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .conftest import PATIENCE, PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Running

pytestmark = pytest.mark.engine

ADDED = "BookAdded printed: Team Topologies (2019) by Manuel Pais, Matthew Skelton was added!"
DUPLICATE = "BookAdded printed: Team Topologies has already been presented."
DROPPED = "the duplicate is dropped by its deduplication id: still 1 event"
REMOVED = "BookRemoved printed: Team Topologies was removed!"


@pytest.mark.parametrize(
    ("mode", "carrier"),
    [
        ("outbox-pipe", "pipe template"),
        ("outbox-relay", "OutboxRelay  "),
        ("outbox-custom-bus", "OutboxRelay  "),
        ("cdc", "ChangeProcessor  "),
    ],
)
def test_a_book_travels(start: Callable[..., Running], mode: str, carrier: str) -> None:
    """In each mode the book is added, a second request is refused, a redelivery is ignored, and the book is removed."""
    demo = start("demo", mode)
    assert demo.finish() == 0, demo.printed
    hops = [line.strip() for line in demo.printed.splitlines() if line.startswith("  ")]
    wanted = [
        "POST /book → 201",
        carrier,
        ADDED,
        "COMPLETED: inbox#BookAdded#OutboxDemo.Books#",
        "books presented: 1",
        "POST /book → 409",
        "nothing written",
        "delivered again",
        DROPPED if mode == "outbox-custom-bus" else DUPLICATE,
        "DELETE /book → 204",
        REMOVED,
        "COMPLETED: call#BookRemoved#OutboxDemo.Books#",
    ]
    if mode in ("outbox-relay", "outbox-custom-bus"):
        wanted.append("Redrive tried the record again")
    positions = [next((n for n, line in enumerate(hops) if text in line), -1) for text in wanted]
    assert positions == sorted(positions), demo.printed
    assert -1 not in positions, demo.printed
    assert demo.leftovers() == []


class Break(NamedTuple):
    """A change that breaks one part of the project, and the hop at which the demo must fail."""

    file: str
    old: str
    new: str
    hop: str
    mode: str = "outbox-pipe"


BEFORE_PARKING = """\
            Resource: !GetAtt 'Bus.Arn'
          - Effect: Allow
            Action:
            - dynamodb:BatchGetItem"""
"""The template between the relay's right to publish and its rights on the parking table."""


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(
            Break("examples/books/template.yaml", '"eventName":["INSERT"]', '"eventName":["MODIFY"]', "pipe filter"),
            id="filter",
        ),
        pytest.param(
            Break(
                "examples/books/template.yaml",
                '{"eventName":["INSERT"],"dynamodb":{"NewImage":{"outboxFormat":{"N":[{"exists":true}]}}}}',
                '{"eventSource":["aws:dynamodb"]}',
                "pipe filter",
            ),
            id="filter that lets everything pass",
        ),
        pytest.param(
            Break("examples/books/template.yaml", "Action: dynamodb:PutItem", "Action: dynamodb:GetItem", "api"),
            id="policy of the API's function",
        ),
        pytest.param(
            Break(
                "examples/books/template.yaml",
                f"events:PutEvents\n{BEFORE_PARKING}",
                f"events:PutRule\n{BEFORE_PARKING}",
                "OutboxRelay",
                "outbox-relay",
            ),
            id="policy of the relay",
        ),
        pytest.param(
            Break(
                "examples/books/template.yaml",
                "StreamViewType: NEW_IMAGE",
                "StreamViewType: KEYS_ONLY",
                "OutboxRelay",
                "outbox-relay",
            ),
            id="stream without images",
        ),
        pytest.param(
            Break("examples/books/template.yaml", "NewImage.eventId.S", "NewImage.eventID.S", "pipe template"),
            id="template",
        ),
        pytest.param(
            Break(
                "src/dynamo_outbox/consuming/inbox_records.py",
                '"attribute_not_exists(#key) OR ',
                '"attribute_exists(#key) OR attribute_not_exists(#key) OR ',
                "dedup",
            ),
            id="dedup condition",
        ),
        pytest.param(
            Break("examples/books/src/books/consumers/book_added.py", '{"books": 1}', '{"books": 2}', "effect"),
            id="effect",
        ),
        pytest.param(
            Break("examples/books/src/books/api.py", "import json\n", "import json\nimport jsonschema\n", "package"),
            id="package that lacks what only the engine's environment has",
        ),
    ],
)
def test_a_broken_hop_is_named(start: Callable[..., Running], tmp_path: Path, broken: Break) -> None:
    """If one part is broken, the demo exits with 1 and names the hop that failed."""
    project = tmp_path / "project"
    for name in ("src", "examples"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, project / name)
    (project / "build").symlink_to(PROJECT / "build")
    file = project / broken.file
    source = file.read_text()
    assert broken.old in source
    file.write_text(source.replace(broken.old, broken.new, 1))

    demo = start("demo", broken.mode, project=project)
    assert demo.finish() == 1, demo.printed
    assert f"FAILED at the hop '{broken.hop}'" in demo.printed
    assert demo.leftovers() == []


def test_ctrl_c_leaves_nothing(start: Callable[..., Running]) -> None:
    """An interrupted demo exits with 130 and leaves no process and no file."""
    demo = start("demo", "outbox-pipe")
    demo.read_until("POST /book → 201")
    demo.process.send_signal(signal.SIGINT)
    assert demo.finish() == 130
    assert demo.leftovers() == []


def test_the_engine_ends_with_a_killed_demo(start: Callable[..., Running]) -> None:
    """If the demo is killed, the engine and its workers end and the engine's folder is removed."""
    demo = start("demo", "outbox-pipe")
    demo.read_until("POST /book → 201")
    demo.process.kill()
    demo.finish()
    deadline = time.monotonic() + PATIENCE
    while any("ministack" in name for name in demo.leftovers()):
        assert time.monotonic() < deadline, demo.leftovers()
        time.sleep(0.05)  # ok: polling


def test_an_engine_that_is_missing_is_named(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """If MiniStack is not installed, the demo says so, says what to do, and exits with 1."""
    monkeypatch.setenv("DYNAMO_OUTBOX_MINISTACK", "no-such-ministack")
    demo = start("demo", "outbox-pipe")
    assert demo.finish() == 1
    assert "FAILED at the hop 'engine'" in demo.printed
    assert "install ministack" in demo.printed
