"""The patches fit the current sources, and their harness distinguishes caught from surviving mutants."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from . import IN_SHORT
from .harness import ROOT, Patch, PatchError, failures_of, patches, read_patch, verdict

if TYPE_CHECKING:
    from pathlib import Path

ALL = patches()
MECHANISMS = {
    "release-condition",
    "claim-own-token",
    "claim-expiry",
    "fingerprint-of-parsed-event",
    "key-parts-escaped",
    "event-source-in-key",
    "at-most-once-failures",
    "void-marker",
    "void-marker-condition",
    "any-error-is-unknown",
    "token-age-after-wait",
    "attempt-has-own-data",
    "response-time-bounded",
    "refused-call-narrowed-down",
    "inbox-dedup-condition",
    "inbox-read-before-error",
    "relay-blocked",
    "parking-followers",
    "parking-asks-first",
}


@pytest.mark.parametrize("patch", ALL.values(), ids=ALL)
def test_a_patch_fits_the_sources(patch: Patch) -> None:
    """A patch's old lines occur once, the patched file is valid Python, and the named tests exist."""
    for path, text in patch.patched(ROOT).items():
        compile(text, path, "exec")
        assert text != (ROOT / path).read_text(encoding="utf-8")
    for test in patch.fails:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_there_is_a_patch_for_every_mechanism_of_the_claims() -> None:
    """Each mechanism on which the guarantees depend has a patch."""
    assert MECHANISMS | set(IN_SHORT) <= ALL.keys()


@pytest.mark.parametrize("name", IN_SHORT)
def test_without_a_mechanism_its_tests_fail(name: str) -> None:
    """Every test that a patch names fails with the patch; run here for some of the patches."""
    assert verdict(ALL[name]) == set()


def test_a_surviving_mutant_is_reported() -> None:
    """The verdict names a test that passes with the patch."""
    bystander = "tests/proof/test_report.py::test_the_table_lines_up_in_columns"
    assert verdict(replace(ALL[IN_SHORT[0]], fails=(bystander,))) == {bystander}


def test_tests_that_cant_run_are_no_verdict() -> None:
    """A mutant that breaks the import, or a missing test, is an error and not a caught mutant."""
    with pytest.raises(PatchError, match="did not run"):
        failures_of(["tests/proof/test_report.py::test_that_is_not_there"], {})


def test_a_patch_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """Old lines that are missing or occur twice are an error that shows them."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    patch = ALL[IN_SHORT[0]]
    path, old, _ = patch.hunks[0]
    text = (tmp_path / path).read_text(encoding="utf-8")
    (tmp_path / path).write_text(text + old, encoding="utf-8")
    with pytest.raises(PatchError, match="more than once"):
        patch.patched(tmp_path)
    (tmp_path / path).write_text("", encoding="utf-8")
    with pytest.raises(PatchError, match="do not occur"):
        patch.patched(tmp_path)


def test_a_patch_without_its_header_is_refused(tmp_path: Path) -> None:
    """A patch needs a claim, a mechanism, tests and a diff."""
    (tmp_path / "a.patch").write_text("Claim: a\n--- a/src\n", encoding="utf-8")
    with pytest.raises(PatchError, match="needs the lines"):
        read_patch(tmp_path / "a.patch")
