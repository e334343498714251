"""Patches that each remove one mechanism from the library, and the tests that must fail without it.

A patch is a unified diff against the repository, below a header:

    Claim: the library's claim
    Takes out: the mechanism
    Fails: tests/unit/test_a.py::test_b
    Fails: …

The patch is applied to a copy of ``src``, and the tests run against the copy; the library has no switches for this.
A hunk applies if its old lines occur exactly once in the file, at any position, so changes elsewhere do not matter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Patch", "PatchError", "failures_of", "patches", "read_patch", "verdict"]

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent / "patches"


class PatchError(Exception):
    """Invalid patch, or one that does not fit the current sources."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Removal of one mechanism.

    Attributes:
        name: The file's name, without its suffix.
        claim: The claim that breaks without the mechanism.
        takes_out: The mechanism.
        fails: The tests that must fail, as pytest names them, without parameters.
        hunks: File, old lines and new lines.
    """

    name: str
    claim: str
    takes_out: str
    fails: tuple[str, ...]
    hunks: tuple[tuple[str, str, str], ...]

    def patched(self, sources: Path) -> dict[str, str]:
        """Return the changed files' texts by path, without writing them.

        Args:
            sources: The folder that holds ``src``.

        Raises:
            PatchError: A hunk's old lines do not occur exactly once.
        """
        texts: dict[str, str] = {}
        for path, old, new in self.hunks:
            text = texts.get(path) or (sources / path).read_text(encoding="utf-8")
            if text.count(old) != 1:
                found = "do not occur" if old not in text else "occur more than once"
                raise PatchError(
                    f"{self.name}: these lines {found} in {path}; if the mechanism moved, update the patch and check "
                    f"that its tests still fail\n{old}"
                )
            texts[path] = text.replace(old, new)
        return texts


def patches() -> dict[str, Patch]:
    """Return all patches by name."""
    return {path.stem: read_patch(path) for path in sorted(FOLDER.glob("*.patch"))}


def read_patch(path: Path) -> Patch:
    """Read a patch from its file.

    Raises:
        PatchError: Its header or its diff is incomplete.
    """
    head, found, body = path.read_text(encoding="utf-8").partition("--- a/")
    fields = re.findall(r"^(Claim|Takes out|Fails): (.+)$", head, re.MULTILINE)
    told = dict(fields)
    if not found or not {"Claim", "Takes out", "Fails"} <= told.keys():
        raise PatchError(f"{path.name} needs the lines Claim:, Takes out: and Fails:, and a diff below them")
    fails = tuple(value for name, value in fields if name == "Fails")
    return Patch(path.stem, told["Claim"], told["Takes out"], fails, tuple(_hunks(f"--- a/{body}")))


def _hunks(diff: str) -> Iterable[tuple[str, str, str]]:
    for of_file in re.split(r"^--- a/", diff, flags=re.MULTILINE)[1:]:
        path = of_file.partition("\n")[0]
        for hunk in re.split(r"^@@.*\n", of_file, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            yield path, _side(lines, "-"), _side(lines, "+")


def _side(lines: list[str], sign: str) -> str:
    return "".join(line[1:] for line in lines if line[:1] in (" ", sign))


def failures_of(tests: Iterable[str], changed: Mapping[str, str]) -> set[str]:
    """Return the tests that fail against a copy of the library with these files changed.

    Args:
        tests: pytest's names of the tests.
        changed: The files' texts, by path.

    Raises:
        PatchError: The tests could not run.
    """
    chosen = list(dict.fromkeys(tests))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for path, text in changed.items():
            (Path(folder) / path).write_text(text, encoding="utf-8")
        answer = subprocess.run(  # noqa: S603  # this interpreter, and tests of the project
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--tb=no",
                "-rfE",
                "-p",
                "no:cacheprovider",
                "--hypothesis-profile=full",
                *chosen,
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{folder}/src",
                "PYTHONDONTWRITEBYTECODE": "1",
                "CI": "1",  # makes Hypothesis deterministic
            },
            capture_output=True,
            text=True,
            check=False,
        )
    failed = set(re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", answer.stdout, re.MULTILINE))
    if answer.returncode not in (0, 1) or (answer.returncode == 1 and not failed):
        raise PatchError(f"the tests did not run:\n{answer.stdout[-2000:]}{answer.stderr[-2000:]}")
    return failed


def verdict(patch: Patch) -> set[str]:
    """Return the tests that should fail without the mechanism but pass."""
    return set(patch.fails) - failures_of(patch.fails, patch.patched(ROOT))
