"""CPU time that an idempotency decorator adds to its client calls.

Inside the timed region: CPU of 500 decorated calls of a function that returns a small dict, with a key in the payload
and a client that responds at once. The cost of each contender's own client calls, made by hand with ready requests, is
subtracted. For a first call the store is empty; for a duplicate, the record is completed. Both contenders compare a
duplicate's payload with the first one's (Powertools: payload validation on), and Powertools receives a Lambda context.
The floor is straight-line code for this one function, with only our checks and two requests; it refuses other input.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress
from contextvars import ContextVar
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from botocore.exceptions import ClientError
from pydantic import TypeAdapter

from dynamo_outbox import Event, IdempotencyStore, idempotent
from dynamo_outbox.consuming.keys import MAX_KEY_BYTES
from dynamo_outbox.consuming.results import MAX_RESULT_BYTES

from .harness import Benchmark, Measure, timed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["rows"]

CALLS = 500
ROUNDS = 61
PARTS = ("UpdateExpression", "ConditionExpression", "ExpressionAttributeNames")
JSON_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})
TEXT = frozenset({str})
WRITTEN_ONE_WAY = frozenset({str, bool, type(None)})
OF_REQUESTS_AND_EVENTS = frozenset(
    {"requestContext", "detail", "specversion", "Records", "records", "messages", "Messages", "Sns", "kinesis"}
    | {"dynamodb", "rmqMessagesByQueue", "messageId", "MessageId", "Type", "data", "recordId", "redelivered"}
    | {"raw_path", "arguments"}
)
ends_as_a_fraction = re.compile(r"\.[0-9]+(?:e[-+][0-9]+)?[,\]}]").search
"""The floor's checks: the types of arguments and results, the names of envelopes, the end of a float in JSON."""
ORDER = {"id": "0", "customer": "c-17", "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": 1}], "total": "12.50"}


class Memory:
    """Client with one table in a dict; the only condition that it checks is whether the record exists."""

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
    """Return a function that makes the same client calls with ready requests."""

    def work() -> None:
        for operation, request in asked:
            with suppress(ClientError):
                getattr(client, operation)(**request)

    return work


def act(order: dict[str, Any]) -> dict[str, Any]:
    """Return a small dict; this function is decorated."""
    return {"ok": True, "order": order["id"]}


def ours(client: Any) -> Callable[..., Any]:
    return idempotent(IdempotencyStore("handled", client=client), scope="act", key="id")(act)


def powertools(client: Memory) -> Callable[..., Any]:
    stub: Any = client
    store = DynamoDBPersistenceLayer("handled", key_attr="pk", boto3_client=stub)
    config = IdempotencyConfig(event_key_jmespath="id", payload_validation_jmespath="@", use_local_cache=False)
    config.register_lambda_context(SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000))
    decorated: Any = idempotent_function(data_keyword_argument="order", persistence_store=store, config=config)(act)
    return lambda order: decorated(order=order)


def floor(client: Any) -> Callable[..., Any]:
    """Return straight-line code for the work of `ours` with this function and payload."""
    probe = Memory()
    ours(probe)(order=ORDER)
    (_, claiming), (_, completing) = probe.asked
    update, condition, names = (claiming[name] for name in PARTS)
    completion, ending_condition, completion_names = (completing[name] for name in PARTS)
    scope = "call#act#"
    fence: ContextVar[int | None] = ContextVar("fence", default=None)
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
    write, read = adapter.serializer.to_json, adapter.validator.validate_json
    sorted_text = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
    kept = 8 * 86_400_000
    in_progress, completed, released = {"S": "IN_PROGRESS"}, {"S": "COMPLETED"}, {"S": "RELEASED"}
    one, by_annotation = {"N": "1"}, {"S": "annotation"}

    def call(*args: Any, **kwargs: Any) -> Any:
        if args or [*kwargs] != ["order"] or not JSON_TYPES.issuperset(map(type, kwargs.values())):
            raise NotImplementedError
        order = kwargs["order"]
        if isinstance(order, Event) or not isinstance(order, dict) or not OF_REQUESTS_AND_EVENTS.isdisjoint(order):
            raise NotImplementedError
        found = order.get("id")
        if type(found) is not str or not found or found[0] in "=%" or "#" in found or "%" in found:
            raise NotImplementedError
        key = scope + found
        if not (key.isascii() and len(key) <= MAX_KEY_BYTES):
            raise NotImplementedError
        content = sorted_text(kwargs)
        if ("." in content and ends_as_a_fraction(content)) or "e-" in content or "e+" in content:
            raise NotImplementedError
        fingerprint = sha256(content.encode()).hexdigest()
        token = os.urandom(16).hex()
        now = int(time.time() * 1000)
        whole_key, typed_token = {"pk": {"S": key}}, {"S": token}
        try:
            record = client.update_item(
                TableName="handled",
                Key=whole_key,
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={
                    ":inProgress": in_progress,
                    ":released": released,
                    ":token": typed_token,
                    ":fingerprint": {"S": fingerprint},
                    ":leaseExpiresAt": {"N": str(now + 900_000)},
                    ":expiresAt": {"N": str((now + kept) // 1000)},
                    ":nowSeconds": {"N": str(now // 1000)},
                    ":nowMilliseconds": {"N": str(now)},
                    ":one": one,
                    ":overdue": {"N": str(now - 1000)},
                },
                ReturnValues="UPDATED_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )["Attributes"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            old: Any = error.response.get("Item", {})
            if not old or int(old["expiresAt"]["N"]) <= now // 1000 or old["claimToken"]["S"] == token:
                raise
            if old["status"]["S"] != "COMPLETED" or old["fingerprint"]["S"] != fingerprint:
                raise
            if "failure" in old or "result" not in old or old.get("resultForm") != by_annotation:
                raise
            return read(old["result"]["S"])
        number = int(record["fence"]["N"])
        sys.exception()
        reset = fence.set(number)
        try:
            result = act(*args, **kwargs)
        finally:
            fence.reset(reset)
        if type(result) is not dict or not TEXT.issuperset(map(type, result)):
            raise NotImplementedError
        if not WRITTEN_ONE_WAY.issuperset(map(type, result.values())):
            raise NotImplementedError
        written = write(result)
        if not written.isascii() or len(written) > MAX_RESULT_BYTES:
            raise NotImplementedError
        client.update_item(
            TableName="handled",
            Key=whole_key,
            UpdateExpression=completion,
            ConditionExpression=ending_condition,
            ExpressionAttributeNames=completion_names,
            ExpressionAttributeValues={
                ":token": typed_token,
                ":inProgress": in_progress,
                ":status": completed,
                ":result": {"S": written.decode()},
                ":resultForm": by_annotation,
                ":expiresAt": {"N": str((int(time.time() * 1000) + kept) // 1000)},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return result

    return call


def costs(decorate: Callable[[Memory], Callable[..., Any]], *, duplicate: bool) -> dict[str, Measure]:
    """Return measures of the decorated calls, and of the client calls that they make."""
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
    """Raise an error unless all replay the first call's result, and floor and ours send the same requests."""
    asked = {}
    for decorate in (ours, powertools, floor):
        function = decorate(client := Memory())
        answers = [json.dumps(function(order=ORDER), sort_keys=True) for _ in range(2)]
        if answers[0] != answers[1] or json.loads(answers[0]) != act(ORDER):
            raise AssertionError(f"{decorate.__name__} returns {answers}")
        asked[decorate] = [_lasting(request) for _, request in client.asked]
    if asked[ours] != asked[floor]:
        raise AssertionError(f"ours sends {asked[ours]}, the floor {asked[floor]}")


def _lasting(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request without the values that differ from call to call: its token and its times."""
    values = request.get("ExpressionAttributeValues", {})
    return request | {
        "ExpressionAttributeValues": {
            name: None if "N" in value or name == ":token" else value for name, value in values.items()
        }
    }


def rows() -> list[Benchmark]:
    """Return rows of first calls and of duplicates."""
    out = []
    for what, duplicate in (("first call", False), ("duplicate", True)):
        mine, theirs = costs(ours, duplicate=duplicate), costs(powertools, duplicate=duplicate)
        out.append(
            Benchmark(
                what=f"idempotency, {what}",
                against="Powertools",
                target=1 / 6,
                sense="≤",
                measures={
                    "ours": mine["call"],
                    "hand": mine["hand"],
                    "peer": theirs["call"],
                    "peer hand": theirs["hand"],
                    "floor": costs(floor, duplicate=duplicate)["call"],
                },
                check=check,
                rounds=ROUNDS,
                ratio=lambda cost: (cost["ours"] - cost["hand"]) / (cost["peer"] - cost["peer hand"]),
            )
        )
    return out
