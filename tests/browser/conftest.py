"""Fixtures that serve the page and open it in headless Chromium."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dynamo_outbox.testing.ministack import free_port

from ..end_to_end.conftest import PROJECT, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60_000
"""Milliseconds that the page may take to show something; the slowest is an event that the bus refuses."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium: the command in CHROMIUM, by default Debian's."""
    command = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if command is None:
        pytest.fail("this test needs Chromium: apt-get install chromium, or set CHROMIUM to its command")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command)
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function that serves a mode and returns the page's URL; Ctrl-C stops it and it leaves nothing."""
    services: list[Running] = []

    def serve(mode: str) -> str:
        port = free_port()
        services.append(Running(PROJECT, tmp_path, ("start", mode, "--port", str(port))))
        assert f"the page is at http://localhost:{port}/" in services[0].read_until("Press Ctrl-C to stop")
        return f"http://localhost:{port}/"

    yield serve
    for service in services:
        service.process.send_signal(signal.SIGINT)
        assert service.finish() == 130, service.printed
        assert service.leftovers() == []


@pytest.fixture
def open_page(chromium: Browser, served: Callable[[str], str]) -> Iterator[Callable[..., Page]]:
    """Return a function that serves a mode and opens its page; an error in the page's script fails the test."""
    errors: list[str] = []
    pages: list[Page] = []

    def open_page(mode: str, width: int, height: int, **options: str) -> Page:
        page = chromium.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        pages.append(page)
        page.goto(served(mode))
        expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []
