"""What a decorator adds to the calls that it makes.

Inside the timed region: CPU of 100 decorated calls of a function that returns a small dict, by a key in the payload,
with a client that answers at once. Off each contender's cost goes that of its own client calls, made by hand with
ready requests: what is left is the decorator's own. The store is empty for a first call; for a duplicate, the record is
there and completed. Both compare a duplicate's payload with the first one's (Powertools: payload validation on), and
Powertools is told of the Lambda context.
"""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from botocore.exceptions import ClientError

from dynamo_outbox import IdempotencyStore, idempotent

from .harness import Benchmark, Measure, timed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["rows"]

CALLS = 100
ORDER = {"id": "0", "customer": "c-17", "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": 1}], "total": "12.50"}


class Memory:
    """A client with one table in a dict; of its conditions it knows whether there is a completed record."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keeps = True
        self.meta = self

    def put_item(self, **request: Any) -> dict[str, Any]:
        self._note("put_item", request)
        item = request["Item"]
        self._refuse(item["pk"]["S"])
        if self.keeps:
            self.records[item["pk"]["S"]] = dict(item)
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        self._note("update_item", request)
        key, values = request["Key"]["pk"]["S"], request["ExpressionAttributeValues"]
        if ":one" in values:
            self._refuse(key)
        if self.keeps:
            record = self.records.setdefault(key, {"pk": {"S": key}})
            for name, attribute in request["ExpressionAttributeNames"].items():
                if (value := values.get(f":{name[1:]}")) is not None:
                    record[attribute] = value
            if ":one" in values:
                record["claimToken"], record["status"] = values[":token"], values[":inProgress"]
        return {"Attributes": {"fence": {"N": "1"}}}

    def _note(self, operation: str, request: dict[str, Any]) -> None:
        if self.keeps:
            self.asked.append((operation, request))

    def _refuse(self, key: str) -> None:
        if key in self.records:
            answer: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": self.records[key]}
            raise ClientError(answer, "Operation")


def by_hand(client: Memory, asked: list[tuple[str, dict[str, Any]]]) -> Callable[[], None]:
    """The same client calls with ready requests."""

    def work() -> None:
        for operation, request in asked:
            with suppress(ClientError):
                getattr(client, operation)(**request)

    return work


def act(order: dict[str, Any]) -> dict[str, Any]:
    """What is decorated."""
    return {"ok": True, "order": order["id"]}


def ours(client: Any) -> Callable[..., Any]:
    return idempotent(IdempotencyStore("handled", client=client), key="id")(act)


def powertools(client: Memory) -> Callable[..., Any]:
    stub: Any = client
    store = DynamoDBPersistenceLayer("handled", key_attr="pk", boto3_client=stub)
    config = IdempotencyConfig(event_key_jmespath="id", payload_validation_jmespath="@", use_local_cache=False)
    config.register_lambda_context(SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000))
    decorated: Any = idempotent_function(data_keyword_argument="order", persistence_store=store, config=config)(act)
    return lambda order: decorated(order=order)


def costs(decorate: Callable[[Memory], Callable[..., Any]], *, duplicate: bool) -> dict[str, Measure]:
    """Measures the decorated calls, and the client calls that they make."""
    client = Memory()
    function = decorate(client)
    function(order=ORDER)
    if duplicate:
        client.asked.clear()
        function(order=ORDER)
    asked = list(client.asked)
    client.keeps = False
    if not duplicate:
        client.records.clear()
    return {
        "call": timed(lambda: function(order=ORDER), repeat=CALLS),
        "hand": timed(by_hand(client, asked), repeat=CALLS),
    }


def check() -> None:
    """Both run once per key, and give the duplicate what the first call returned."""
    for decorate in (ours, powertools):
        function = decorate(Memory())
        answers = [json.dumps(function(order=ORDER), sort_keys=True) for _ in range(2)]
        if answers[0] != answers[1] or json.loads(answers[0]) != act(ORDER):
            raise AssertionError(f"{decorate.__name__} answers {answers}")


def rows() -> list[Benchmark]:
    """First calls and duplicates."""
    out = []
    for what, duplicate in (("first call", False), ("duplicate", True)):
        mine, theirs = costs(ours, duplicate=duplicate), costs(powertools, duplicate=duplicate)
        out.append(
            Benchmark(
                what=f"idempotency: {what}, less its client calls",
                against="Powertools",
                target=1 / 6,
                sense="≤",
                measures={
                    "ours": mine["call"],
                    "hand": mine["hand"],
                    "peer": theirs["call"],
                    "peer hand": theirs["hand"],
                },
                check=check,
                ratio=lambda cost: (cost["ours"] - cost["hand"]) / (cost["peer"] - cost["peer hand"]),
            )
        )
    return out
