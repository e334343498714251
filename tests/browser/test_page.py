"""The page in headless Chromium: a book's event is followed, faults are caused, and pictures for the docs are taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from ..end_to_end.conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.engine

DOCS = PROJECT / "docs"
OVERLAPS = """() => {
    const boxes = [...document.querySelectorAll(".node")].map((node) => node.getBoundingClientRect());
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const isCut = (part) => part.clientWidth && part.scrollWidth > part.clientWidth + 1;
    const parts = [...document.querySelectorAll("button, .node *, .books *, .events *")];
    return {
        nodes: boxes.some((one, at) => boxes.slice(at + 1).some((other) => meet(one, other))),
        cut: parts.filter(isCut).map((part) => part.outerHTML),
        wide: document.documentElement.scrollWidth > window.innerWidth,
    };
}"""
ANIMATION = """() => {
    const part = document.querySelector("#nodes > li");
    part.classList.add("new");
    return getComputedStyle(part.firstElementChild).animationName;
}"""
FITS = {"nodes": False, "cut": [], "wide": False}


def node(page: Page, name: str) -> Locator:
    """Return a part of the path."""
    return page.locator(f'[data-node="{name}"]')


def add(page: Page, name: str, year: str = "2019") -> None:
    """Fill in the form and send it by keyboard."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Year").fill(year)
    page.get_by_label("Year").press("Enter")


def lit(page: Page) -> None:
    """Wait until the event has passed every part of the path except the parking table."""
    expect(page.locator("#nodes > li:not(.beside):not(.done)")).to_have_count(0)


def outcome(page: Page, action: str) -> str:
    """Do an action; return what the page says of it."""
    card = page.locator(f'[data-action="{action}"]')
    button = card.get_by_role("button")
    button.click()
    expect(button).to_be_enabled()
    expect(card.locator(".outcome")).not_to_have_text("Running")
    text: str = card.locator(".outcome").inner_text()
    return text


@pytest.mark.parametrize(
    ("width", "height", "scheme", "picture"),
    [(1920, 1000, "light", "page.png"), (360, 800, "dark", "page-narrow.png")],
)
def test_an_event_is_followed_and_broken(
    open_page: Callable[..., Page], width: int, height: int, scheme: str, picture: str
) -> None:
    """A book's event lights up every hop; a duplicate, a lost response and a parked event end as guaranteed."""
    page = open_page("outbox-relay", width, height, color_scheme=scheme)

    add(page, "Team Topologies")
    lit(page)
    expect(page.get_by_role("listitem").filter(has_text="Manuel Pais, Matthew Skelton, 2019")).to_be_visible()
    found = page.locator("#found")
    for name, text in (
        ("api", "POST /book"),
        ("function", "AddBook returned 201"),
        ("tables", '"outboxFormat"'),
        ("stream", '"NewImage"'),
        ("OutboxRelay", "run 1 has finished"),
        ("bus", '"detail-type": "BookAdded"'),
        ("consumer", "BookAdded printed: Team Topologies (2019) by Manuel Pais, Matthew Skelton was added!"),
        ("dedup", "COMPLETED: inbox#BookAdded#OutboxDemo.Books#"),
    ):
        node(page, name).get_by_role("button").click()
        expect(found).to_contain_text(text)
        expect(node(page, name).locator(".time")).to_have_text(re.compile(r"^\+\d"))
    assert page.evaluate(OVERLAPS) == FITS

    follow_again(page)

    said = outcome(page, "again")
    assert "BookAdded printed: Team Topologies has already been presented." in said
    assert "Books presented: 1 before, 1 after." in said
    node(page, "bus").get_by_role("button").click()
    expect(node(page, "bus").locator(".time")).to_contain_text("again +")
    expect(page.locator("#events")).to_contain_text("delivered 2 times, handled once")
    take(page, picture)

    add(page, "Team Topologies")
    expect(page.get_by_role("alert")).to_have_text("409: book 'Team Topologies' already exists")
    expect(page.locator("#events")).to_contain_text("refused with 409")
    add(page, "Team Topologies", "soon")
    expect(page.get_by_role("alert")).to_contain_text("400: year")

    said = outcome(page, "lose")
    assert "TransactWriteItems: committed, but the response was lost" in said
    assert "TransactWriteItems: sent again, with the same token" in said
    assert "The API returned 201." in said
    assert "BookAdded is on the bus once, with one dedup record." in said

    said = outcome(page, "park")
    assert "BookAdded is parked: MalformedDetail." in said
    assert "BookRemoved is parked: Behind." in said
    expect(node(page, "parking")).to_have_class(re.compile("done"))
    expect(node(page, "bus")).not_to_have_class(re.compile("done"))
    said = outcome(page, "redrive")
    assert re.search(r"published 2 records\..*bus: BookAdded .*bus: BookRemoved", said, re.DOTALL), said
    lit(page)
    assert page.evaluate(OVERLAPS) == FITS

    page.get_by_role("button", name="Remove Team Topologies").click()
    expect(page.locator("#followed")).to_have_text("BookRemoved of Team Topologies")
    lit(page)
    expect(page.get_by_role("button", name="Remove Team Topologies")).to_have_count(0)


def take(page: Page, picture: str) -> None:
    """Take a picture for the docs: of the whole window, or of the path if the window is narrow."""
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    shown = page.locator("#path") if page.evaluate("window.innerWidth < 400") else page
    shown.screenshot(path=DOCS / picture, animations="disabled")


def follow_again(page: Page) -> None:
    """Follow the chosen event step by step, forwards and backwards, and return to its end."""
    step = page.locator("#step")
    page.get_by_role("button", name="Next", exact=True).click()
    expect(step).to_have_text(re.compile("Step 1 of "))
    expect(page.locator("#nodes > li.done")).to_have_count(1)
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("#nodes > li.done")).to_have_count(2)
    page.get_by_role("button", name="Back", exact=True).click()
    expect(step).to_have_text(re.compile("Step 1 of "))
    page.get_by_role("button", name="Live", exact=True).click()
    lit(page)


@pytest.mark.parametrize("mode", ["outbox-pipe", "cdc", "outbox-custom-bus"])
def test_each_mode_is_live(open_page: Callable[..., Page], mode: str) -> None:
    """In each mode every hop lights up, markup in a book's name is shown as text, and a refused event arrives later."""
    page = open_page(mode, 1280, 900)
    name = "<img src=x onerror=alert(1)>"
    add(page, name)
    lit(page)
    expect(page.locator("#books")).to_contain_text(name)
    if mode == "outbox-custom-bus":
        assert "The bus dropped it by its deduplication id." in outcome(page, "again")
        said = outcome(page, "park")
        assert "BookAdded is parked: VALIDATION_ERROR." in said, said
        assert "Redrive published 2 records." in outcome(page, "redrive")
    elif mode == "outbox-pipe":
        node(page, "pipe").get_by_role("button").click()
        expect(page.locator("#found-hint")).to_contain_text("Stand-in")
        expect(page.locator("#found")).to_contain_text("outboxItem")
        expect(page.get_by_role("button", name="Fix the cause and redrive")).to_be_disabled()
        assert "The API returned 201." in outcome(page, "lose")
    else:  # boto3 sends a lost put again, and its own item refuses it: without a token
        assert "The API returned 409." in outcome(page, "lose")
    assert re.search(r"refused \d+ PutEvents.*on the bus once, with one", outcome(page, "refuse"), re.DOTALL)
    assert page.evaluate(OVERLAPS) == FITS


def test_the_page_works_without_a_pointer(open_page: Callable[..., Page]) -> None:
    """Landmarks and fields have names, an outcome is announced, and the keyboard reaches all parts."""
    page = open_page("outbox-pipe", 1280, 900, reduced_motion="reduce")
    for title in ("Books", "The path of an event", "Last events", "Break it"):
        expect(page.get_by_role("region", name=title, exact=True)).to_be_visible()
    expect(page.get_by_role("main")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the event's path")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#path")).to_be_focused()
    add(page, "Accelerate")
    expect(page.locator("#said")).to_have_text("BookAdded of Accelerate: handled once")
    assert page.evaluate(ANIMATION) == "none"
    while page.evaluate("document.activeElement.closest('li')?.dataset.node") != "dedup":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What was there: Dedup record")).to_be_visible()
