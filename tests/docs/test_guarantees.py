"""The guarantees page: the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.proof.__main__ import PARTS

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w./]+)`", PAGE)))


@pytest.mark.parametrize("path", NAMED)
def test_a_test_that_is_named_is_there(path: str) -> None:
    """What the page names as the test of a claim exists."""
    assert (PROJECT / path).exists()


def test_every_part_of_the_proof_has_its_claim() -> None:
    """Each part that `make proof` runs is named on the page, but for the comparison, which has a page of its own."""
    named = {re.sub(r"tests/proof/(\w+).*", r"\1", path) for path in NAMED if path.startswith("tests/proof/")}
    assert named == set(PARTS) - {"comparison"}


def test_every_claim_says_what_holds_it() -> None:
    """Each claim has its reason and its tests, and says where it ends."""
    claims = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]
    for claim in claims:
        for row in ("| because |", "| limit |", "| tests |"):
            assert row in claim, claim.splitlines()[0]
