"""Every block of Python that the documents show is run: by the test that is named here."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RUN_BY = {
    "README.md": "test_readme",
    "docs/commits.md": "test_how_to",
    "docs/custom-event-bus.md": "test_custom_bus_page",
    "docs/how-to/async.md": "test_async_page",
    "docs/how-to/consumers.md": "test_how_to",
    "docs/how-to/existing-service.md": "test_how_to",
    "docs/how-to/fastapi.md": "fastapi_page",  # by `make docs`, whose environment has FastAPI
    "docs/how-to/order.md": "test_how_to",
    "docs/how-to/pipe-or-relay.md": "test_how_to",
    "docs/how-to/publish-from-one-region.md": "test_how_to",
    "docs/how-to/run-a-command-once.md": "test_how_to",
    "docs/how-to/single-table.md": "test_how_to",
    "docs/how-to/testing.md": "test_how_to",
    "docs/how-to/uncertain-commits.md": "test_how_to",
    "docs/idempotency.md": "test_how_to",
    "docs/inbox.md": "test_how_to",
    "docs/leases.md": "test_how_to",
    "docs/operations/doctor.md": "test_doctor_page",
    "docs/operations/replay.md": "test_replay_page",
    "docs/parking.md": "test_parking_page",
    "docs/recipes/own-transaction.md": "test_recipes",
    "docs/recipes/pynamodb.md": "test_recipes",
    "docs/tutorial.md": "test_tutorial",
}


def pages() -> dict[str, str]:
    paths = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    return {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_each_page_that_shows_python_is_run() -> None:
    """A page with a block of Python has a test that runs it, which names the page."""
    shown = {name for name, text in pages().items() if re.search(r"^ *```python$", text, re.MULTILINE)}
    assert shown == RUN_BY.keys()
    for page, module in RUN_BY.items():
        assert Path(page).stem in (PROJECT / "tests" / "docs" / f"{module}.py").read_text(), page


def test_blocks_say_what_they_are() -> None:
    """No block is without a language: what is not run is marked as text, or as what a machine or a person reads."""
    known = {"python", "console", "sh", "text", "json", "yaml", "mermaid", "{eval-rst}", "{toctree}"}
    for name, text in pages().items():
        opened = re.findall(r"^ *```(.*)$", text, re.MULTILINE)[::2]
        kinds = {fence.split()[0] if fence else "nothing" for fence in opened}
        assert {kind for kind in kinds if kind != "{literalinclude}"} <= known, name
