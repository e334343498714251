"""The parking page's code runs as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_outbox.aws import clients
from dynamo_outbox.testing import FakeEventBridge

from ..doubles import FakeClock, fake_dynamodb
from ..unit.test_processors import ALL_WELL, outbox_record

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "parking.md"


def test_the_redrive_publishes_parked_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's handler parks records that the bus rejects, and its redrive publishes them."""
    bus = FakeEventBridge(clock=FakeClock())
    given = {"dynamodb": fake_dynamodb({"orders-parking": ["pk", "sk"]}), "events": bus}
    monkeypatch.setattr(clients, "shared_client", given.__getitem__)
    names: dict[str, Any] = {"__name__": "parking"}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    bus.fail_next_entry("MalformedDetail")
    batch = {"Records": [outbox_record("A", "1", "a"), outbox_record("B", "2", "a")]}
    assert names["handler"](batch, None) == ALL_WELL
    assert bus.events == []
    assert names["redrive"]({}, None) == {"sent": 2}
    assert [event["detail-type"] for event in bus.events] == ["A", "B"]
