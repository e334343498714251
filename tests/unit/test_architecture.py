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
CORE = sorted((PACKAGE / "core").glob("*.py"))
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


@pytest.mark.parametrize("module", CORE, ids=lambda path: path.stem)
def test_the_core_knows_no_clock_no_chance_and_no_client(module: Path) -> None:
    """A module of the core imports nothing that reaches outside, and reads no clock."""
    assert list(effects(ast.parse(module.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os.path", ["os.path"]),
        ("def f():\n    from botocore.exceptions import ClientError", ["botocore.exceptions"]),
        ("datetime.now(UTC)", [".now"]),
        ("from .time import text\nimport json", []),
    ],
)
def test_the_check_of_the_core_sees_effects(source: str, found: list[str]) -> None:
    """The check finds an effect wherever it stands, and lets the package's own modules pass."""
    assert list(effects(ast.parse(source))) == found


def test_the_core_is_there_to_check() -> None:
    """The check above looks at the core's modules and not at an empty folder."""
    assert {"values", "records", "outbox_item"} <= {module.stem for module in CORE}


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
