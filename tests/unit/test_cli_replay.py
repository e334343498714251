"""The command `replay` in a terminal: questions, progress and interruption."""

from __future__ import annotations

import io
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


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command in a terminal; the table has two events, the second of any age."""

    def run(
        *arguments: str, answers: str = "", days: int = 0, bus: StubBus | None = None, target: str = "--bus"
    ) -> tuple[int, str, str]:
        dynamodb = fake_dynamodb({"events": ["pk", "sk"]})
        for number, age in ((1, 0), (2, days)):
            time = datetime.now(UTC) - timedelta(days=age, minutes=1)
            event = Event("Added", {}, id=f"id-{number}", time=time, source="Books")
            dynamodb.put_item(TableName="events", Item=encode_event(event, expires_at=0, keys=TableKeys()))
        clients: dict[str, Any] = {"dynamodb": PagedDynamoDB(dynamodb), "events": bus or StubBus()}
        monkeypatch.setattr(replay, "aws", lambda: clients.__getitem__)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(answers))
        monkeypatch.setattr(sys, "stderr", terminal)
        status = main(["replay", "table", "events", target, "books", *arguments])
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


@pytest.mark.parametrize(
    ("target", "printed"),
    [("--bus", '"dollars": 2e-06, "unreadable": 0'), ("--function", '"dollars": null, "unreadable": 0')],
)
def test_a_dry_run_has_the_price_of_a_bus(ran: Callable[..., Any], target: str, printed: str) -> None:
    """A dry run prints the list price of PutEvents with its date and source; calls of a function have none."""
    status, out, err = ran("--dry-run", target=target)
    assert (status, printed in out, err) == (0, True, "")
    assert ("list price, 2026-11-28, https://aws.amazon.com/eventbridge/pricing/" in out) is (target == "--bus")


class Interrupted(StubBus):
    """A bus at which Ctrl-C is pressed."""

    def put_events(self, **_: Any) -> Any:
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_command(ran: Callable[..., Any]) -> None:
    """An interrupted replay exits with 130 and prints no result; a checkpoint has what was sent."""
    assert ran("--yes", bus=Interrupted())[:2] == (130, "")
