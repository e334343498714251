"""The command `replay` in a terminal: questions, progress and interruption."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event
from dynamo_outbox.cli import main, replay
from dynamo_outbox.events.outbox_item import encode_event
from dynamo_outbox.options import TableKeys

from ..doubles import PagedDynamoDB, StubBus, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command in a terminal; the table has two events, the second of any age."""

    def run(
        *arguments: str,
        answers: str = "",
        days: int = 0,
        bus: StubBus | None = None,
        target: tuple[str, str] = ("--bus", "books"),
    ) -> tuple[int, str, str]:
        dynamodb = fake_dynamodb({"events": ["pk", "sk"]})
        for number, age in ((1, 0), (2, days)):
            time = datetime.now(UTC) - timedelta(days=age, minutes=1)
            event = Event("Added", {}, id=f"id-{number}", time=time, source="Books")
            dynamodb.put_item(TableName="events", Item=encode_event(event, expires_at=0, keys=TableKeys()))
        clients: dict[str, Any] = {"dynamodb": PagedDynamoDB(dynamodb), "events": bus or StubBus()}
        clients["eventbridgev2"] = clients["events"]
        monkeypatch.setattr(replay, "aws", lambda: clients.__getitem__)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(answers))
        monkeypatch.setattr(sys, "stderr", terminal)
        status = main(["replay", "table", "events", *target, *arguments])
        return status, capsys.readouterr().out, terminal.getvalue()

    return run


@pytest.mark.parametrize(
    ("answers", "days", "status", "printed"),
    [
        ("n\n", 0, 1, ""),
        ("y\n", 0, 0, '"sent": 2, "sent_before": 0, "maybe_twice": 0, "failures": 0, "stopped": ""'),
        ("y\nn\n", 9, 1, '"sent": 1, "sent_before": 0, "maybe_twice": 0, "failures": 0, "stopped": "event id-2 of'),
        ("y\ny\n", 9, 0, '"sent": 2'),
    ],
)
def test_the_operator_is_asked(ran: Callable[..., Any], answers: str, days: int, status: int, printed: str) -> None:
    """The count is asked about first; an old event is announced, and asked about, before it is sent."""
    result = ran(answers=answers, days=days)
    assert result[0] == status
    assert printed in result[1]
    assert "Send 2 events, the oldest of " in result[2]
    assert ("is older than the consumers' dedup records of 8 days" in result[2]) is (days > 8)


@pytest.mark.parametrize("rich", [True, False])
def test_progress_has_rate_and_time_left(
    ran: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, rich: bool
) -> None:
    """A terminal shows the count, the rate and the time left, with Rich or without; the data are not mixed with it."""
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    status, out, err = ran("--yes")
    assert (status, out.count("\n")) == (0, 1)
    assert "2 of 2 events, " in err
    assert "/s, 0 s left" in err


CUSTOM_BUS = "arn:aws:events:eu-west-1:123456789012:event-busv2/books/abcdefghijklmnopqrstuvwxy"
BY_PROCESSOR = f"""from dynamo_outbox import EventBridgePublisher, OutboxRelay
class Client:
    put_events = None.__repr__
relay = OutboxRelay(EventBridgePublisher("{CUSTOM_BUS}", client=Client()))
"""


@pytest.mark.parametrize(
    ("target", "dollars", "price"),
    [
        (("--bus", "books"), 2e-6, "list price, 2026-11-28, https://aws.amazon.com/eventbridge/pricing/"),
        (("--bus", CUSTOM_BUS), 3.6e-7, "third party, check, 2026-11-28, https://github.com/dataGriff/"),
        (("--processor", "by_processor:relay"), 3.6e-7, "third party, check, 2026-11-28, https://github.com/"),
        (("--function", "books"), None, None),
    ],
)
def test_a_dry_run_has_the_price_of_a_bus(
    ran: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    target: tuple[str, str],
    dollars: float | None,
    price: str | None,
) -> None:
    """A dry run prints the price of PutEvents for the target's kind of bus, and its origin; a function has no price.

    Of a Custom Event Bus it says that deliveries cost, too, and that a later replay is a new event to every subscriber.
    """
    (tmp_path / "by_processor.py").write_text(BY_PROCESSOR, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, out, err = ran("--dry-run", target=target)
    printed = json.loads(out)
    assert (status, printed["events"], err) == (0, 2, "")
    assert printed["dollars"] == (dollars and pytest.approx(dollars))
    assert str(printed.get("price")).startswith(str(price))
    note = printed.get("note", "")
    assert ("delivery to each subscriber is billed, too" in note) is (price is not None and "third party" in price)
    assert ("is a new event to every subscriber" in note) is bool(note)


class Interrupted(StubBus):
    """A bus at which Ctrl-C is pressed."""

    def put_events(self, **_: Any) -> Any:
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_command(ran: Callable[..., Any]) -> None:
    """An interrupted replay exits with 130 and prints no result; a checkpoint has what was sent."""
    assert ran("--yes", bus=Interrupted())[:2] == (130, "")
