"""The guarantees page names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.proof.__main__ import PARTS

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w./]+)`", PAGE)))


@pytest.mark.parametrize("path", NAMED)
def test_each_named_test_exists(path: str) -> None:
    """Each test path on the page exists."""
    assert (PROJECT / path).exists()


def test_every_part_of_the_proof_is_named() -> None:
    """The page names each part of `make proof`, except the comparison, which has its own page."""
    named = {re.sub(r"tests/proof/(\w+).*", r"\1", path) for path in NAMED if path.startswith("tests/proof/")}
    assert named == set(PARTS) - {"comparison"}


def test_every_claim_has_its_rows() -> None:
    """Each claim has a mechanism, a limit and tests."""
    claims = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]
    for claim in claims:
        for row in ("| mechanism |", "| limit |", "| tests |"):
            assert row in claim, claim.splitlines()[0]
