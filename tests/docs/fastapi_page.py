"""Runs the code of the FastAPI page; ``make docs`` calls it, because its environment has FastAPI."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from dynamo_outbox import Event
from dynamo_outbox.aws import clients
from dynamo_outbox.testing import FakeClock, FakeDynamoDB

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "fastapi.md"
TABLES = {"orders": ["order_id"], "orders-events": ["pk", "sk"], "orders-requests": ["pk"]}


class Killed(BaseException):
    """The process dies."""


def post(app: Any, key: str, body: dict[str, str]) -> tuple[int, Any]:
    """Send a POST to /orders by ASGI and return the response's status and content."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode())]
    scope = {"type": "http", "method": "POST", "path": "/orders", "headers": headers, "query_string": b""}
    asyncio.run(app({**scope, "http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(content)


def main() -> None:
    """Place an order, repeat the request, also after a crash, and check that a used key or order id is an error."""
    fake = FakeDynamoDB(clock=FakeClock())
    for table, keys in TABLES.items():
        fake.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
    clients._clients["dynamodb"] = fake  # the client that the library uses
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "fastapi_page"}
    exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102  # the project's own page
    order = {"order_id": "7", "total": "24.95"}
    app = names["app"]
    answers = [
        post(app, "a", order),
        post(app, "a", order),
        post(app, "b", order),
        post(app, "a", {**order, "total": "1"}),
    ]
    placed = {"placed": "7"}
    expected = [(201, placed), (201, placed), (409, {"detail": "the order already exists"})]
    assert answers[:3] == expected, answers
    assert answers[3][0] == 422, answers
    fake.fail_next("transact_write_items", "TransactionInProgressException")
    assert post(app, "c", {**order, "order_id": "8"})[0] == 201
    assert fake.scan(TableName="orders-events")["Count"] == 2
    assert post(app, 'a "quote"', {**order, "order_id": "9"})[0] == 422

    def die(**request: Any) -> None:
        commit(**request)
        raise Killed

    other = {**order, "order_id": "9"}
    commit, fake.transact_write_items = fake.transact_write_items, die  # type: ignore[method-assign, assignment]  # once
    try:
        names["place"](Event("PlaceOrder", other, id="d", source="Shop.Api"))
    except Killed:
        fake.transact_write_items = commit  # type: ignore[method-assign]
    assert [post(app, "d", other) for _ in range(2)] == [(201, {"placed": "9"})] * 2
    assert fake.scan(TableName="orders-events")["Count"] == 3


if __name__ == "__main__":
    main()
