"""An engine under contract: its three clients, and helpers for the scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError, ParamValidationError

from .deviations import DEVIATIONS, Instead, Unasked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Backend", "Engine", "answered", "key_schema", "outcome", "put", "update"]

SENTINEL = "the last change of the scenario"
PATIENCE = 200
"""Number of polls of a stream before the last change counts as missing."""


class Backend:
    """The low-level clients of an engine.

    Args:
        name: ``fake``, ``moto``, ``ministack`` or ``endpoint``.
        dynamodb, streams, events: The engine's clients.
    """

    def __init__(self, name: str, dynamodb: Any, streams: Any, events: Any) -> None:
        self.name = name
        self.dynamodb = dynamodb
        self.streams = streams
        self.events = events


class Engine:
    """An engine in one scenario.

    Args:
        backend: The engine's clients.
        scenario: The test's name with its case, as in the table of deviations.
        unasked: Called with a reason if the scenario is skipped for this engine.
    """

    def __init__(self, backend: Backend, scenario: str, unasked: Callable[[str], Any]) -> None:
        self.name = backend.name
        self.dynamodb = backend.dynamodb
        self.streams = backend.streams
        self.events = backend.events
        self.tables: list[str] = []
        known = DEVIATIONS.get((self.name, scenario))
        if isinstance(known, Unasked):
            unasked(f"skipped for {self.name}: {known.reason}")
        self._deviation = known if isinstance(known, Instead) else None

    def holds(self, observed: object, truth: object) -> None:
        """Assert that the engine behaves like AWS or, if it has a known deviation, exactly like that deviation."""
        if self._deviation is None:
            assert observed == truth
        else:
            assert observed != truth, f"{self.name} now behaves like AWS: remove its deviation"
            assert observed == self._deviation.instead, f"{self.name} deviates, but not as known"

    def table(self, *key: str, stream: str | None = None, **types: str) -> str:
        """Create a table and return its name.

        Args:
            key: The partition key's name, then the sort key's; ``pk`` by default.
            stream: The view type of its stream, if it has one.
            types: The types of key attributes that are not S.
        """
        name = f"contract-{uuid4().hex}"
        self.dynamodb.create_table(TableName=name, **key_schema(*key, stream=stream, **types))
        if self.name == "endpoint":
            self.dynamodb.get_waiter("table_exists").wait(TableName=name)  # ok: polling
        self.tables.append(name)
        return name

    def item(self, table: str, **key: Any) -> Mapping[str, Any] | None:
        """Return the item with a key, by default ``a``; None if it does not exist."""
        found: Mapping[str, Any] | None = self.dynamodb.get_item(
            TableName=table, Key=key or {"pk": {"S": "a"}}, ConsistentRead=True
        ).get("Item")
        return found

    def stream_arn(self, table: str) -> str:
        arn: str = self.dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        return arn

    def records(self, table: str) -> list[dict[str, Any]]:
        """Return the records of a table's stream from GetRecords; puts a marker item first, so call it last."""
        self.dynamodb.put_item(TableName=table, Item={"pk": {"S": SENTINEL}})
        arn = self.stream_arn(table)
        shards = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        iterators: list[str | None] = [
            self.streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
                "ShardIterator"
            ]
            for shard in shards
        ]
        found: list[dict[str, Any]] = []
        for _ in range(PATIENCE):  # ok: polling
            for position, iterator in enumerate(iterators):
                if iterator is not None:
                    answer = self.streams.get_records(ShardIterator=iterator)
                    found += answer["Records"]
                    iterators[position] = answer.get("NextShardIterator")
            if any(_is_sentinel(record) for record in found):
                return [record for record in found if not _is_sentinel(record)]
        raise AssertionError(f"the last change is not in the stream; {len(found)} other records are")


def _is_sentinel(record: Mapping[str, Any]) -> bool:
    return bool(record["dynamodb"]["Keys"] == {"pk": {"S": SENTINEL}})


def key_schema(*key: str, stream: str | None = None, **types: str) -> dict[str, Any]:
    """Return CreateTable's parameters without the name; the arguments are those of `Engine.table`."""
    names = key or ("pk",)
    request: dict[str, Any] = {
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": types.get(name, "S")} for name in names],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if stream is not None:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    return request


def outcome(call: Callable[..., Any], **request: Any) -> str:
    """Return the outcome of a call: ``ok``, ``invalid``, the error's code, the reasons' codes, or ``breaks``.

    ``invalid`` is a ValidationException, or a cancellation with no other reason than ValidationError: AWS does not
    document for each invalid action which of the two it causes. ``breaks`` is a fault of the engine: a server error, or
    an exception in this process.
    """
    return answered(call, **request)[0]


def answered(call: Callable[..., Any], **request: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the outcome of a call, as `outcome` does, and its response."""
    try:
        answer = call(**request)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reasons = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
        if code == "ValidationException" or (code.startswith("TransactionCanceled") and set(reasons) <= _FAULTY):
            return "invalid", {}
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return "breaks", {}
        return f"cancelled: {', '.join(reasons)}" if code == "TransactionCanceledException" else code, {}
    except ParamValidationError:
        raise  # the scenario is wrong, not the engine
    except Exception:
        return "breaks", {}
    return "ok", answer


_FAULTY = {"ValidationError", "None"}


def put(table: str, name: str = "a", **more: Any) -> dict[str, Any]:
    """Return a Put of the item `name`; lower-case keywords are attributes, others the action's parameters."""
    attributes = {name: typed for name, typed in more.items() if name[0].islower()}
    parameters = {name: value for name, value in more.items() if not name[0].islower()}
    return {"Put": {"TableName": table, "Item": {"pk": {"S": name}, **attributes}, **parameters}}


def update(table: str, name: str = "a", expression: str = "ADD n :one", **parameters: Any) -> dict[str, Any]:
    """Return an Update of the item `name`; by default it increments n."""
    values = {} if parameters or expression != "ADD n :one" else {"ExpressionAttributeValues": {":one": {"N": "1"}}}
    return {
        "Update": {
            "TableName": table,
            "Key": {"pk": {"S": name}},
            "UpdateExpression": expression,
            **values,
            **parameters,
        }
    }
