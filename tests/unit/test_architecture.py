"""The rules that the source keeps."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dynamo_outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(dynamo_outbox.__file__).parent
PURE = (
    *("codec.fast_values", "codec.frozen", "codec.json_text", "codec.short_repr", "codec.values"),
    *("events.bus_event", "events.context", "events.ids", "events.messages", "events.outbox_item"),
    *("streams.change_ids", "streams.changed_attributes", "streams.records"),
    *("writing.actions", "writing.commit_rules", "writing.limits"),
    "publishing.batches",
    *("relaying.parked_record", "relaying.rules"),
    *("consuming.claims", "consuming.inbox_records"),
    "pipes.patterns",
    "aws.backoff",
)
"""The modules that decide: from data, the time, tokens and random numbers to data."""
EFFECTS = {"boto3", "botocore", "pydantic", "time", "random", "os", "secrets", "uuid", "asyncio", "socket"}
CLOCKS = {"now", "utcnow", "today"}


def effects(tree: ast.AST) -> Iterator[str]:
    """What in a module reaches outside: imports of effectful modules, and readings of the clock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in EFFECTS)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] in EFFECTS:
            yield node.module or ""
        elif isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            yield f".{node.attr}"


@pytest.mark.parametrize("module", PURE)
def test_decisions_know_no_clock_no_randomness_and_no_client(module: str) -> None:
    """A pure module imports nothing that reaches outside, and reads no clock."""
    source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    assert list(effects(ast.parse(source.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os.path", ["os.path"]),
        ("def f():\n    from botocore.exceptions import ClientError", ["botocore.exceptions"]),
        ("datetime.now(UTC)", [".now"]),
        ("from .time import text\nimport json", []),
    ],
)
def test_the_check_for_effects_finds_them(source: str, found: list[str]) -> None:
    """The check finds an effect wherever it stands, and lets the package's own modules pass."""
    assert list(effects(ast.parse(source))) == found


def test_every_public_name_has_a_home() -> None:
    """The names of __all__ are those of the table of homes, each once, and dir() shows them."""
    assert sorted(dynamo_outbox.__all__) == sorted(dynamo_outbox._HOME)
    assert set(dynamo_outbox.__all__) <= set(dir(dynamo_outbox))


@pytest.mark.parametrize("name", dynamo_outbox.__all__)
def test_every_public_name_resolves_to_its_home(name: str) -> None:
    """A public name loads from the module that makes it public."""
    home = importlib.import_module(f"dynamo_outbox.{dynamo_outbox._HOME[name]}")
    assert getattr(dynamo_outbox, name) is getattr(home, name)
    assert name in home.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """What the package doesn't have is refused as by any module."""
    with pytest.raises(AttributeError, match="module 'dynamo_outbox' has no attribute 'Outbox'"):
        dynamo_outbox.Outbox  # type: ignore[attr-defined]  # noqa: B018  # reading raises
