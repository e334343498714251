"""Rules for the source code."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dynamo_outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

PACKAGE = Path(dynamo_outbox.__file__).parent
PURE = (
    *("codec.fast_values", "codec.frozen", "codec.json_text", "codec.mappings", "codec.path_error"),
    *("codec.plain_values", "codec.short_repr", "codec.values"),
    *("events.bus_event", "events.context", "events.ids", "events.limits", "events.message_shape", "events.messages"),
    *("events.outbox_item", "events.payload_shapes"),
    *("streams.batch_response", "streams.changed_attributes", "streams.event_ids", "streams.outbox_records"),
    *("streams.payloads", "streams.records"),
    *("writing.actions", "writing.callables", "writing.commit_rules", "writing.limits"),
    "writing.update_expression",
    *("publishing.batches", "publishing.results"),
    *("relaying.parked_record", "relaying.rules"),
    *("consuming.claims", "consuming.inbox_records"),
    *("pipes.patterns", "operations.checks", "operations.cost", "operations.topology"),
    *("aws.backoff", "aws.lambda_context", "aws.limits", "aws.throttling"),
)
"""Pure modules: they take data, the time, tokens and random numbers, and return data."""
EFFECTS = {"boto3", "botocore", "pydantic", "time", "random", "os", "secrets", "uuid", "asyncio", "socket"}
CLOCKS = {"now", "utcnow", "today"}
KIT = "dynamo_outbox.testing"


def library() -> dict[str, ast.Module]:
    """Return the library's modules by name, without its test kit."""
    modules: dict[str, ast.Module] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        if name != KIT and not name.startswith(f"{KIT}."):
            modules[name] = ast.parse(path.read_text(encoding="utf-8"))
    return modules


LIBRARY = library()
PACKAGES = {name.rpartition(".")[0] for name in LIBRARY}


def effects(tree: ast.AST) -> Iterator[str]:
    """Return a module's imports of effectful modules and its uses of a clock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in EFFECTS)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").partition(".")[0] in EFFECTS:
            yield node.module or ""
        elif isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            yield f".{node.attr}"


@pytest.mark.parametrize("module", PURE)
def test_decisions_know_no_clock_no_randomness_and_no_client(module: str) -> None:
    """A pure module imports no effectful module and reads no clock."""
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
    """The check finds an effect at any depth and ignores the package's own modules."""
    assert list(effects(ast.parse(source))) == found


def test_every_public_name_has_a_home() -> None:
    """`__all__` and the table of homes have the same names, each once, and `dir` lists them."""
    assert sorted(dynamo_outbox.__all__) == sorted(dynamo_outbox._HOME)
    assert set(dynamo_outbox.__all__) <= set(dir(dynamo_outbox))


@pytest.mark.parametrize("name", dynamo_outbox.__all__)
def test_every_public_name_resolves_to_its_home(name: str) -> None:
    """A public name is loaded from the module that defines it as public."""
    home = importlib.import_module(f"dynamo_outbox.{dynamo_outbox._HOME[name]}")
    assert getattr(dynamo_outbox, name) is getattr(home, name)
    assert name in home.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown name raises AttributeError."""
    with pytest.raises(AttributeError, match="module 'dynamo_outbox' has no attribute 'Outbox'"):
        dynamo_outbox.Outbox  # type: ignore[attr-defined]  # noqa: B018  # reading raises


def imported(module: str, tree: ast.AST, *, is_package: bool) -> Iterator[str]:
    """Return the full names of what a module imports, at any depth, including names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                parents = module.split(".")
                base = [*parents[: len(parents) - node.level + is_package], *base]
            yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def import_graph(modules: Mapping[str, ast.AST], packages: Collection[str]) -> dict[str, set[str]]:
    """Return the modules that each module imports, without the root package, which loads names lazily."""
    root = "dynamo_outbox"
    graph: dict[str, set[str]] = {}
    for name, tree in modules.items():
        found = set(imported(name, tree, is_package=name in packages))
        graph[name] = set() if name == root else (found & modules.keys()) - {name, root}
    return graph


def cycles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others: Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            start = stack.index(module)
            component = stack[start:]
            del stack[start:]
            if len(component) > 1:
                found.append(sorted(component))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def test_no_modules_import_each_other() -> None:
    """The library without its test kit has no import cycle, type-only imports included."""
    assert cycles(import_graph(LIBRARY, PACKAGES)) == []


def test_the_check_for_cycles_finds_them() -> None:
    """The check follows relative, absolute, late and type-only imports, and names the modules of a cycle."""
    sources = {
        "dynamo_outbox": "from .a.b import B",
        "dynamo_outbox.a": "",
        "dynamo_outbox.a.b": "from ..c import C\nfrom . import d",
        "dynamo_outbox.a.d": "def f():\n    import dynamo_outbox.c",
        "dynamo_outbox.c": "if TYPE_CHECKING:\n    from .a.b import B",
        "dynamo_outbox.e": "from dynamo_outbox.c import C",
    }
    graph = import_graph(
        {name: ast.parse(source) for name, source in sources.items()}, {"dynamo_outbox", "dynamo_outbox.a"}
    )
    assert cycles(graph) == [["dynamo_outbox.a.b", "dynamo_outbox.a.d", "dynamo_outbox.c"]]


OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Public methods of `typing.NamedTuple`, which have an underscore to leave the names to fields."""


def private_accesses(tree: ast.AST) -> Iterator[str]:
    """Return accesses to private members other than through self, cls or super()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = node.value
            is_own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
            is_super = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
            if not is_own and not is_super and node.attr not in OF_NAMED_TUPLES:
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", LIBRARY)
def test_no_code_reaches_into_another_object(module: str) -> None:
    """A private member is used only by its own object or class."""
    assert list(private_accesses(LIBRARY[module])) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("event._drawn", ["1: event._drawn"]),
        ("x = 1\nself._outbox._settings", ["2: self._outbox._settings"]),
        ("type(self)._made()", ["1: type(self)._made"]),
        ("from .event import Event\nself._a = cls._b = super()._c", []),
        ("event.__class__", []),
    ],
)
def test_the_check_for_private_accesses_finds_them(source: str, found: list[str]) -> None:
    """The check finds an access at any depth and ignores own members and special names."""
    assert list(private_accesses(ast.parse(source))) == found
