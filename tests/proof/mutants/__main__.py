"""``python -m tests.proof.mutants [modules]``: changes the decision code once at each place, and counts kills.

The tests are collected once. For each mutant a forked process changes the function's code in memory and runs the tests
that call the function, until one fails. The survivors are printed, with their places. The exit status is 1 if a test
fails without a change.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import json
import os
import signal
import sys
import threading
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from .operators import Mutant, functions_in, mutants_of, mutated_code

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("writing", "publishing", "relaying", "consuming")
SECONDS = 30
"""The time of one mutant's tests; a mutant that takes longer counts as killed, because a test would hang."""
TESTS = [
    "tests/unit",
    "-q",
    "-p", "no:cacheprovider",
    "-p", "no:xdist",
    "--deselect", "tests/unit/test_benchmark_harness.py",
    "--ignore", "tests/unit/test_architecture.py",
    "--ignore", "tests/unit/test_imports.py",
    "-m", "not engine",
]  # fmt: skip


CONTROL = "nothing"


class Verdict(NamedTuple):
    """A mutant, and the test that noticed it."""

    module: str
    mutant: Mutant
    killer: str | None
    tests: int

    @property
    def is_control(self) -> bool:
        """Whether nothing was changed."""
        return self.mutant.change == CONTROL


def key_of(code: CodeType) -> tuple[str, str, int]:
    """Return a code's file, qualified name and line: lambdas have the same name."""
    return code.co_filename, code.co_qualname, code.co_firstlineno


class Mutants:
    """pytest plugin that runs the collected tests for each mutant instead of once."""

    def __init__(self, modules: list[str], workers: int) -> None:
        self.modules = modules
        self.workers = workers
        self.verdicts: list[Verdict] = []
        self.callers: dict[tuple[str, str, int], list[Any]] = defaultdict(list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Find which tests call which function, then run the mutants."""
        self.map_callers(session.items)
        waiting = list(self.mutants())
        running: dict[int, tuple[str, Mutant, int, int]] = {}
        print(f"{len(waiting)} mutants", file=sys.stderr)
        while waiting or running:
            while waiting and len(running) < self.workers:
                module, mutant = waiting.pop()
                pid, pipe, tests = self.start(module, mutant)
                running[pid] = (module, mutant, pipe, tests)
            pid, _ = os.wait()
            module, mutant, pipe, tests = running.pop(pid)
            with os.fdopen(pipe) as end:
                killer = end.read() or None
            self.verdicts.append(Verdict(module, mutant, killer, tests))
            if killer is None and not self.verdicts[-1].is_control:
                print(f"{module}:{mutant.line} {mutant.function}: {mutant.change} ({tests} tests)", flush=True)
            if len(self.verdicts) % 50 == 0:
                alive = sum(each.killer is None for each in self.verdicts)
                print(f"{len(self.verdicts)} done, {alive} alive", file=sys.stderr, flush=True)
        return True

    def map_callers(self, items: list[Any]) -> None:
        """Run each test once, and note the functions of the library that it calls."""
        source = str(ROOT / "src")
        for item in items:
            seen: set[tuple[str, str, int]] = set()

            def note(frame: Any, event: str, _: Any, seen: set[tuple[str, str, int]] = seen) -> None:
                if event == "call" and frame.f_code.co_filename.startswith(source):
                    seen.add(key_of(frame.f_code))

            threading.setprofile(note)
            sys.setprofile(note)
            try:
                reports = runtestprotocol(item, log=False, nextitem=None)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
            if all(report.passed for report in reports):
                for key in seen:
                    self.callers[key].append((reports[-2].duration if len(reports) > 1 else 0.0, item))
        for tests in self.callers.values():
            tests.sort(key=lambda pair: pair[0])

    def mutants(self) -> Iterator[tuple[str, Mutant]]:
        """Yield the mutants of each module, after two that change nothing (as constant, function) and must survive."""
        for module in self.modules:
            path = Path(importlib.import_module(module).__file__ or "")
            found = mutants_of(path.read_text(encoding="utf-8"))
            kinds = {each.is_constant: each for each in found}
            for mutant in (*(each._replace(number=-1, change=CONTROL) for each in kinds.values()), *found):
                yield module, mutant

    def start(self, module: str, mutant: Mutant) -> tuple[int, int, int]:
        """Fork a process that runs the mutant's tests; return its id, its pipe, and the number of tests."""
        loaded = importlib.import_module(module)
        path = loaded.__file__ or ""
        if mutant.is_constant:
            keys = [key for key in self.callers if key[0] == path]
        else:
            keys = [key for key in self.callers if key[0] == path and _names(key[1]) == _names(mutant.function)]
        tests = list({id(item): item for key in keys for _, item in self.callers[key]}.values())
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return pid, reader, len(tests)
        os.close(reader)
        signal.alarm(SECONDS)
        signal.signal(signal.SIGALRM, lambda *_: _say(writer, "too slow"))
        with redirect_stdout(io.StringIO()):
            _apply(loaded, mutant)
            for item in tests:
                if any(report.failed for report in runtestprotocol(item, log=False, nextitem=None)):
                    _say(writer, item.nodeid)
        os._exit(0)


def _names(qualified: str) -> str:
    return qualified.replace(".<locals>", "")


def _say(writer: int, killer: str) -> None:
    os.write(writer, killer.encode())
    os._exit(1)


def _apply(module: ModuleType, mutant: Mutant) -> None:
    """Change the functions or the constant in this process."""
    path = module.__file__ or ""
    code = mutated_code(Path(path).read_text(encoding="utf-8"), mutant, path)
    if mutant.is_constant:
        fresh: dict[str, Any] = {**vars(module)}
        exec(code, fresh)  # noqa: S102  # this module's own source, changed
        before = vars(module)[mutant.function]
        for each in list(sys.modules.values()):  # also where it was imported; another constant may have its name
            if getattr(each, "__name__", "").startswith("dynamo_outbox") and vars(each).get(mutant.function) is before:
                setattr(each, mutant.function, fresh[mutant.function])
        return
    new = {key_of(each): each for each in functions_in(code)}
    for function in [each for each in gc.get_objects() if isinstance(each, FunctionType)]:
        changed = new.get(key_of(function.__code__))
        if changed is not None and changed.co_freevars == function.__code__.co_freevars:
            function.__code__ = changed
    # Functions that are made later come from their outer function's code, which has been replaced, too.


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants, and print the survivors."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="for example dynamo_outbox.writing.commit; by default all")
    parser.add_argument("--out", type=Path, help="write the verdicts to this JSON file")
    known = parser.parse_args(arguments)
    every = [
        f"dynamo_outbox.{package}.{path.stem}"
        for package in PACKAGES
        for path in sorted((ROOT / "src/dynamo_outbox" / package).glob("*.py"))
        if path.stem != "__init__"
    ]
    plugin = Mutants(known.modules or every, os.cpu_count() or 1)
    pytest.main(TESTS, plugins=[plugin])
    if known.out:
        known.out.write_text(json.dumps([[each.module, *each.mutant, each.killer] for each in plugin.verdicts]))
    if failed := [f"{each.module} ({each.killer})" for each in plugin.verdicts if each.is_control and each.killer]:
        print(f"fails without a change: {', '.join(failed)}", file=sys.stderr)
        return 1
    verdicts = [each for each in plugin.verdicts if not each.is_control]
    noticed = sum(each.killer is not None for each in verdicts)
    print(f"{noticed} of {len(verdicts)} mutants were noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
