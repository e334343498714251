"""Tests the wheel as it would be installed: ``python release/try_wheel.py dist/….whl lowest newest``.

Each end of the dependencies' ranges gets an empty environment and, first of all, the wheel alone, which has to load
every public name and to answer as a command. Then come what the tests need and a copy of the tests, in a folder that
knows nothing of ``src``; `installed_only` refuses a run that takes any module of the library from elsewhere.

These are the unit tests and the contract with the fakes, which are in the wheel. Left out are the tests of what is not
in it (the example, the documents, the release, the proof, which takes copies of ``src``) and of engines, which are
programs of their own and the same whatever is installed here.
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
    "--ignore=tests/unit/test_peers_books.py",  # of the example
    "--ignore=tests/unit/test_benchmark_harness.py",  # of the benchmarks
    "--ignore=tests/unit/test_claims.py",  # a long walk through pure code, which no dependency changes
    "--deselect=tests/unit/test_templates_rendering.py::test_a_resource_stands_in_a_template",  # runs cfn-lint
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
    """Whether the wheel passes at one end of the ranges."""
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
            print(f"the wheel fails at the {end} end: {error}", file=sys.stderr)
            return False
        finally:
            log = environment.home / "log"
            print(f"-- {end} --", log.read_text(encoding="utf-8") if log.exists() else "", sep="\n", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Test the wheel in empty environments, src out of reach.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("ends", nargs="+", choices=sorted(ENDS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter to make the environments of")
    known, arguments = parser.parse_known_args()
    with ThreadPoolExecutor() as threads:
        passed = threads.map(lambda end: try_end(end, known.wheel.resolve(), known.python, arguments), known.ends)
        return 0 if all(list(passed)) else 1


if __name__ == "__main__":
    sys.exit(main())
