"""The patches fit the sources of today, and what runs them tells a caught mutant from one that lives."""

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
    "void-marker",
    "void-marker-condition",
    "inbox-dedup-condition",
    "inbox-read-before-error",
    "relay-blocked",
    "parking-followers",
    "parking-asks-first",
}


@pytest.mark.parametrize("patch", ALL.values(), ids=ALL)
def test_a_patch_fits_the_sources(patch: Patch) -> None:
    """Its old lines are there once, what results is Python, and the tests that it names exist."""
    for path, text in patch.patched(ROOT).items():
        compile(text, path, "exec")
        assert text != (ROOT / path).read_text(encoding="utf-8")
    for test in patch.fails:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_there_is_a_patch_for_every_mechanism_of_the_claims() -> None:
    """The mechanisms that the guarantees rest on each have a patch."""
    assert MECHANISMS | set(IN_SHORT) <= ALL.keys()


@pytest.mark.parametrize("name", IN_SHORT)
def test_without_a_mechanism_its_tests_fail(name: str) -> None:
    """Some of the mutants, run as in the whole proof: every test that the patch names fails."""
    assert verdict(ALL[name]) == set()


def test_a_mutant_that_no_test_notices_is_told() -> None:
    """A patch whose test passes all the same has not proven anything, and the verdict names the test."""
    bystander = "tests/proof/test_report.py::test_the_table_lines_up_in_columns"
    assert verdict(replace(ALL[IN_SHORT[0]], fails=(bystander,))) == {bystander}


def test_tests_that_cant_run_are_no_verdict() -> None:
    """A mutant that breaks the import, or a test that isn't there, is an error and not a caught mutant."""
    with pytest.raises(PatchError, match="did not run"):
        failures_of(["tests/proof/test_report.py::test_that_is_not_there"], {})


def test_a_patch_that_doesnt_fit_is_told(tmp_path: Path) -> None:
    """Old lines that are gone, or there twice, are an error that shows them."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    patch = ALL[IN_SHORT[0]]
    path, old, _ = patch.hunks[0]
    text = (tmp_path / path).read_text(encoding="utf-8")
    (tmp_path / path).write_text(text + old, encoding="utf-8")
    with pytest.raises(PatchError, match="more than once"):
        patch.patched(tmp_path)
    (tmp_path / path).write_text("", encoding="utf-8")
    with pytest.raises(PatchError, match="not there"):
        patch.patched(tmp_path)


def test_a_patch_without_its_header_is_refused(tmp_path: Path) -> None:
    """Claim, mechanism, tests and diff all have to be there."""
    (tmp_path / "a.patch").write_text("Claim: a\n--- a/src\n", encoding="utf-8")
    with pytest.raises(PatchError, match="needs the lines"):
        read_patch(tmp_path / "a.patch")
