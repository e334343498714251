"""Test doubles: two clients that record their calls, and shortcuts to the kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamo_outbox import TransactionalOutbox
from dynamo_outbox.testing import FakeClock, FakeDynamoDB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["FakeClock", "PagedDynamoDB", "StubBus", "StubDynamoDB", "client_error", "fake_dynamodb", "waiting_outbox"]


def client_error(code: str, **response: Any) -> ClientError:
    """Return the error that botocore raises for an error response."""
    answer: Any = {"Error": {"Code": code, "Message": "refused"}, **response}
    return ClientError(answer, "Operation")


class StubDynamoDB:
    """A client that records requests and raises `error`, if one is given."""

    def __init__(self, error: Exception | None = None, *, partition_key: str = "pk") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._error = error
        self._partition_key = partition_key

    def _record(self, operation: str, request: dict[str, Any]) -> Mapping[str, Any]:
        self.calls.append((operation, request))
        if self._error is not None:
            raise self._error
        return {}

    def transact_write_items(self, **kwargs: Any) -> Mapping[str, Any]:
        return self._record("transact_write_items", kwargs)

    def get_item(self, **kwargs: Any) -> Mapping[str, Any]:
        return self._record("get_item", kwargs)

    def put_item(self, **kwargs: Any) -> Mapping[str, Any]:
        return self._record("put_item", kwargs)

    def update_item(self, **kwargs: Any) -> Mapping[str, Any]:
        return self._record("update_item", kwargs)

    def delete_item(self, **kwargs: Any) -> Mapping[str, Any]:
        return self._record("delete_item", kwargs)

    def describe_table(self, **kwargs: Any) -> Mapping[str, Any]:
        self._record("describe_table", kwargs)
        sort_key = {"AttributeName": "sort", "KeyType": "RANGE"}
        return {"Table": {"KeySchema": [sort_key, {"AttributeName": self._partition_key, "KeyType": "HASH"}]}}

    @property
    def transact_items(self) -> list[dict[str, Any]]:
        """The actions of the only transaction that was sent."""
        ((operation, request),) = self.calls
        assert operation == "transact_write_items"
        items: list[dict[str, Any]] = request["TransactItems"]
        return items


class StubBus:
    """A client that records the entries of each PutEvents call.

    Args:
        refused: Error codes by the detail type of the entries that fail.
        recovers_after: Number of calls after which no entry fails.
        failing_call: Index of the call that raises `error`, from 0.
        error: Returns the exception to raise.
    """

    def __init__(
        self,
        refused: Mapping[str, str] | None = None,
        *,
        recovers_after: int | None = None,
        failing_call: int | None = None,
        error: Callable[[], Exception] = lambda: client_error("ThrottlingException"),
    ) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self._refused = refused or {}
        self._recovers_after = recovers_after
        self._failing_call = failing_call
        self._error = error

    def put_events(self, **kwargs: Any) -> Mapping[str, Any]:
        entries = kwargs["Entries"]
        self.calls.append(entries)
        if len(self.calls) - 1 == self._failing_call:
            raise self._error()
        if len(self.calls) - 1 == self._recovers_after:
            self._refused = {}
        outcomes = [self._outcome(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in each for each in outcomes), "Entries": outcomes}

    def _outcome(self, entry: Mapping[str, Any]) -> dict[str, str]:
        code = self._refused.get(entry["DetailType"])
        if code is None:
            return {"EventId": f"bus id of {entry['DetailType']}"}
        return {"ErrorCode": code, "ErrorMessage": f"{entry['DetailType']} was refused"}

    @property
    def types(self) -> list[list[str]]:
        """The detail types of the entries of each call."""
        return [[entry["DetailType"] for entry in entries] for entries in self.calls]

    @property
    def sent(self) -> list[str]:
        """The detail types of all entries, in the order in which they were sent."""
        return [detail_type for call in self.types for detail_type in call]


def waiting_outbox(client: Any, clock: FakeClock, *, source: str) -> TransactionalOutbox:
    """Return an outbox with the events table ``events``; its waits are as long as possible and advance the clock."""
    return TransactionalOutbox("events", source=source, client=client, clock=clock)


def fake_dynamodb(tables: Mapping[str, Sequence[str]], clock: FakeClock | None = None, **settings: Any) -> FakeDynamoDB:
    """Return a fake DynamoDB with these tables.

    Args:
        tables: Each table's key attributes, all text: the partition key, then the sort key.
        clock: The clock of the fake.
        settings: Further arguments of CreateTable for each table.
    """
    fake = FakeDynamoDB(clock=clock or FakeClock())
    for table, keys in tables.items():
        fake.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
            **settings,
        )
    return fake


class PagedDynamoDB:
    """A fake DynamoDB with paginators, as boto3's clients have them; the pages are small.

    Attributes:
        requests: The requests of the pages.
    """

    def __init__(self, dynamodb: FakeDynamoDB) -> None:
        self._dynamodb = dynamodb
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)

    def get_paginator(self, operation: str) -> PagedDynamoDB._Paginator:
        return PagedDynamoDB._Paginator(self, getattr(self._dynamodb, operation))

    class _Paginator:
        def __init__(self, owner: PagedDynamoDB, read: Any) -> None:
            self._owner, self._read = owner, read

        def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
            """Yield pages of two items."""
            start: dict[str, Any] | None = {}
            while start is not None:
                self._owner.requests.append(request)
                page = self._read(**request, **start, Limit=2)
                yield page
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None
