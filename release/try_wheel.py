"""Test the installed wheel: ``python release/try_wheel.py dist/….whl lowest newest``.

For the lowest and the newest versions of the dependencies, the script:

1. installs the wheel into an empty environment, loads every public name and module, and runs the command;
2. installs what the tests need, copies the tests to a folder without ``src``, and runs them. The plugin
   `installed_only` stops the run if any module of the library is imported from elsewhere.

It runs the unit tests and the contract tests of the fakes. It skips the tests of what is not in the wheel (the example,
the docs, the release, the proof, which copies ``src``) and of engines, which do not depend on the installed packages.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environments import PROJECT, empty_environment

ENDS = {"lowest": ["--constraint", str(PROJECT / "constraints" / "lowest.txt")], "newest": ["--upgrade"]}
TESTS = ["tests/unit", "tests/contract"]
LEFT_OUT = [
    *("-m", "not engine", "-k", "not moto"),
    "--ignore=tests/unit/test_peers_books.py",  # tests the example
    "--ignore=tests/unit/test_benchmark_harness.py",  # tests the benchmarks
    "--ignore=tests/unit/test_payload_shapes.py",  # uses Powertools
    "--ignore=tests/unit/test_costs.py",
    "--ignore=tests/unit/test_scaling.py",
    "--ignore=tests/unit/test_claims.py",  # slow, and tests pure code that uses no dependency
    "--deselect=tests/unit/test_logging.py::test_the_page_has_every_line",  # reads a page of the docs
    "--deselect=tests/unit/test_templates_rendering.py::test_a_resource_stands_in_a_template",  # runs cfn-lint
    "--deselect=tests/unit/test_template.py::test_cloudformation_accepts_the_template",  # the same
]
ALONE = """
import importlib, pkgutil, dynamo_outbox
names = [getattr(dynamo_outbox, name) for name in dynamo_outbox.__all__]
modules = [found.name for found in pkgutil.walk_packages(dynamo_outbox.__path__, "dynamo_outbox.")]
for module in modules:
    importlib.import_module(module)
print(f"{len(names)} names and {len(modules)} modules load from {dynamo_outbox.__path__[0]}")
"""


def test_requirements() -> list[str]:
    """Return the group `wheel` of pyproject.toml, pinned; the dependencies of these packages are not pinned."""
    group = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["wheel"]
    lines = (PROJECT / "constraints" / "dev.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.partition("==")[0].lower(): line for line in lines}
    return [pins[name] for name in group]


def try_end(end: str, wheel: Path, python: str, arguments: list[str]) -> bool:
    """Return whether the wheel passes with the lowest or the newest versions."""
    with empty_environment(python) as environment:
        try:
            environment.install(*ENDS[end], str(wheel))
            environment.run(["-I", "-c", ALONE])
            environment.run(["-I", "-m", "dynamo_outbox", "--version"])
            environment.install(*ENDS[end], *test_requirements())
            environment.run(["-m", "pip", "check"])
            shutil.copytree(PROJECT / "tests", environment.home / "tests", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(PROJECT / "pyproject.toml", environment.home)
            shutil.copy(PROJECT / "release" / "installed_only.py", environment.home)
            options = ["-q", "-p", "installed_only", "-p", "no:cacheprovider", *LEFT_OUT, *arguments]
            environment.run(["-m", "pytest", *options, *TESTS], log=environment.home / "log", CI="true")
        except subprocess.CalledProcessError as error:
            print(f"the wheel fails with the {end} versions of its dependencies: {error}", file=sys.stderr)
            return False
        finally:
            log = environment.home / "log"
            print(f"-- {end} --", log.read_text(encoding="utf-8") if log.exists() else "", sep="\n", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Test the wheel in empty environments, without src.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("ends", nargs="+", choices=sorted(ENDS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter to create the environments from")
    known, arguments = parser.parse_known_args()
    with ThreadPoolExecutor() as threads:
        passed = threads.map(lambda end: try_end(end, known.wheel.resolve(), known.python, arguments), known.ends)
        return 0 if all(list(passed)) else 1


if __name__ == "__main__":
    sys.exit(main())
