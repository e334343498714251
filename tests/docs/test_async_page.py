"""docs/how-to/async.md: its code runs as printed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_outbox.aws import clients
from dynamo_outbox.errors import ConditionFailedError

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "async.md"
TABLES = {"orders": ["order_id"], "orders-events": ["pk", "sk"], "packing-handled": ["pk"], "stock": ["item"]}


def test_async_code_writes_and_handles_an_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Transaction and inbox run in threads, the async function runs in the loop, and a second order is refused."""
    dynamodb = fake_dynamodb(TABLES)
    monkeypatch.setattr(clients, "shared_client", {"dynamodb": dynamodb}.__getitem__)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "async_page"}
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102  # our own page

    asyncio.run(names["main"]())
    assert capsys.readouterr().out == "mail for order 7\n"
    (stock,) = dynamodb.scan(TableName="stock")["Items"]
    assert stock == {"item": {"S": "teapot"}, "packed": {"N": "1"}}

    async def again() -> Any:
        return await asyncio.gather(asyncio.to_thread(names["place_order"], "7", "teapot"), return_exceptions=True)

    (refused,) = asyncio.run(again())
    assert isinstance(refused, ConditionFailedError)
    assert dynamodb.scan(TableName="orders-events")["Count"] == 1
