"""In-memory DynamoDB, as strict as the service about conditional writes and transactions.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import FakeClient, RefusedError, invalid, refuse_unknown
from .reads import query, scan
from .table import VIEW_TYPES, StreamLog, Table
from .values import normalised_item
from .writes import plan, plan_transaction, prepare, returned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from ...options import Clock
    from .values import Item
    from .writes import Held, Write

__all__ = ["FakeDynamoDB"]

MAX_TOKEN_LENGTH = 36
MAX_BATCH_KEYS = 100
"""BatchGetItem's limit."""
TOKEN_LIFE = timedelta(minutes=10)
"""The time for which DynamoDB recognises a ClientRequestToken after its transaction."""
OLDEST_TTL = timedelta(days=5 * 365)
"""DynamoDB does not delete an item whose time to live expired longer ago than this."""

_EXPRESSIONS = {"ExpressionAttributeNames", "ExpressionAttributeValues"}
_WRITE = {"TableName", "ConditionExpression", "ReturnValuesOnConditionCheckFailure", *_EXPRESSIONS}
_ACTIONS = {
    "Put": _WRITE | {"Item"},
    "Update": _WRITE | {"Key", "UpdateExpression"},
    "Delete": _WRITE | {"Key"},
    "ConditionCheck": _WRITE | {"Key"},
}
_SCAN = {"TableName", "ConsistentRead", "Limit", "ExclusiveStartKey", "Select", "FilterExpression", *_EXPRESSIONS}
_QUERY = _SCAN | {"KeyConditionExpression", "ScanIndexForward"}
_TABLE = {"TableName", "KeySchema", "AttributeDefinitions", "StreamSpecification"}
_WITHOUT_EFFECT = {"BillingMode", "ProvisionedThroughput", "Tags", "TableClass", "SSESpecification"}
"""Parameters without a visible effect on the fake's operations."""


class _Token(NamedTuple):
    """A token's transaction: its actions, and its time of completion; None while it is in progress."""

    actions: Any
    completed: datetime | None


class FakeDynamoDB(FakeClient):
    """Fake low-level DynamoDB client with in-memory tables.

    Args:
        clock: Time source.

    Attributes:
        streams: The changes of each table with a stream, by the stream's ARN; `FakeDynamoDBStreams` reads them.

    The operations have the parameters, responses and errors of boto3's. A parameter that the fake does not support
    raises ``NotImplementedError``; it is never ignored.

    Limits: no indexes, projections, capacity or 1 MB pages; a new table is ``ACTIVE`` immediately; every read is
    consistent. Two calls without a ClientRequestToken are two transactions: botocore's own token serves only its
    retries, and the fake does not retry.
    """

    SERVICE = "dynamodb"

    def __init__(self, *, clock: Clock) -> None:
        super().__init__()
        self.streams: dict[str, StreamLog] = {}
        self.clock = clock
        self._tables: dict[str, Table] = {}
        self._tokens: dict[str, _Token] = {}
        self._held: set[Held] = set()
        self._commits = 0
        self._key_limits: list[int] = []

    def create_table(self, **request: Any) -> dict[str, Any]:
        return self._call("create_table", request, self._create_table)

    def delete_table(self, **request: Any) -> dict[str, Any]:
        return self._call("delete_table", request, self._delete_table)

    def describe_table(self, **request: Any) -> dict[str, Any]:
        return self._call("describe_table", request, lambda asked: {"Table": self._table(asked).describe()})

    def update_time_to_live(self, **request: Any) -> dict[str, Any]:
        return self._call("update_time_to_live", request, self._update_time_to_live)

    def get_item(self, **request: Any) -> dict[str, Any]:
        return self._call("get_item", request, self._get_item)

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        return self._call("batch_get_item", request, self._batch_get_item)

    def put_item(self, **request: Any) -> dict[str, Any]:
        return self._call("put_item", request, lambda asked: self._write_one("Put", asked))

    def update_item(self, **request: Any) -> dict[str, Any]:
        return self._call("update_item", request, lambda asked: self._write_one("Update", asked))

    def delete_item(self, **request: Any) -> dict[str, Any]:
        return self._call("delete_item", request, lambda asked: self._write_one("Delete", asked))

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        def commit(asked: dict[str, Any]) -> dict[str, Any]:
            writes = self._begin(asked)
            if writes is not None:
                self._commit(asked, writes)
            return {}

        return self._call("transact_write_items", request, commit)

    def query(self, **request: Any) -> dict[str, Any]:
        return self._call("query", request, lambda asked: query(self._table(asked, _QUERY), asked))

    def scan(self, **request: Any) -> dict[str, Any]:
        return self._call("scan", request, lambda asked: scan(self._table(asked, _SCAN), asked))

    def limit_next_batch(self, keys: int) -> None:
        """Make the next `batch_get_item` read only this many `keys` and return the rest as ``UnprocessedKeys``.

        Further calls of this method set limits for the calls after it.
        """
        with self._lock:
            self._key_limits.append(keys)

    @contextmanager
    def hold_transaction(self, **request: Any) -> Iterator[None]:
        """Keep a transaction in progress while the block runs; commit it if the block ends without an exception.

        Meanwhile another write to one of its items conflicts, another call with its token raises
        ``TransactionInProgressException``, and reads return the items as before the transaction.

        Args:
            request: The parameters of ``transact_write_items``.

        Raises:
            ClientError: The transaction is refused.
            ValueError: The transaction of this token has already been committed.
        """
        begun: list[Write] = []
        sent: dict[str, Any] = {}

        def begin(asked: dict[str, Any]) -> dict[str, Any]:
            writes = self._begin(asked)
            if writes is None:
                raise ValueError("the token's transaction is over, so it can't be held; use another token")
            begun.extend(writes)
            sent.update(asked)
            self._held |= {write.held for write in begun}
            self._remember(asked, completed=None)
            return {}

        self._call("transact_write_items", request, begin)
        committed = False
        try:
            yield
            committed = True
        finally:
            with self._lock:
                self._held -= {write.held for write in begun}
                self._tokens.pop(sent.get("ClientRequestToken", ""), None)
                if committed:
                    self._commit(sent, begun)

    def expire(self, now: datetime | None = None) -> int:
        """Delete the items whose time to live has expired at `now`, by default the clock's; return their number."""
        with self._lock:
            moment = now or self.clock.now()
            overdue = [
                (table, key)
                for table in self._tables.values()
                for key, item in table.items.items()
                if _is_over(item.get(table.ttl_attribute or ""), moment)
            ]
            for table, key in overdue:
                self._commits += 1
                table.write(key, None, commit=self._commits, now=moment, by_ttl=True)
            return len(overdue)

    def _table(self, request: Mapping[str, Any], known: set[str] | None = None) -> Table:
        refuse_unknown(request, known or {"TableName"})
        name = request["TableName"].rpartition(":table/")[2]  # a name or an ARN
        if name not in self._tables:
            raise RefusedError("ResourceNotFoundException", "Requested resource not found")
        return self._tables[name]

    def _create_table(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(request, _TABLE | _WITHOUT_EFFECT)
        name = request["TableName"]
        if name in self._tables:
            raise RefusedError("ResourceInUseException", f"Table already exists: {name}")
        table = Table(request, self.clock.now())
        stream = request.get("StreamSpecification", {})
        if stream.get("StreamEnabled"):
            if stream.get("StreamViewType") not in VIEW_TYPES:
                raise invalid("One or more parameter values were invalid: StreamViewType must be provided")
            label = f"{table.created:%Y-%m-%dT%H:%M:%S}.{len(self.streams):03d}"
            table.stream = StreamLog(name, label, stream["StreamViewType"], table.created, request["KeySchema"])
            self.streams[table.stream.arn] = table.stream
        self._tables[name] = table
        return {"TableDescription": table.describe()}

    def _delete_table(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        del self._tables[table.name]
        if table.stream is not None:
            table.stream.closed = True
        return {"TableDescription": {**table.describe(), "TableStatus": "DELETING"}}

    def _update_time_to_live(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request, {"TableName", "TimeToLiveSpecification"})
        wanted = request["TimeToLiveSpecification"]
        if wanted["Enabled"] == (table.ttl_attribute is not None):
            raise invalid(f"TimeToLive is already {'enabled' if wanted['Enabled'] else 'disabled'}")
        table.ttl_attribute = wanted["AttributeName"] if wanted["Enabled"] else None
        return {"TimeToLiveSpecification": wanted}

    def _get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request, {"TableName", "Key", "ConsistentRead"})
        item = table.items.get(table.key_of(normalised_item(request["Key"])))
        return {} if item is None else {"Item": item}

    def _batch_get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(request, {"RequestItems"})
        asked = request["RequestItems"]
        if not asked or sum(len(each["Keys"]) for each in asked.values()) > MAX_BATCH_KEYS:
            raise invalid(f"Too many items requested for the BatchGetItem call, or none; it takes {MAX_BATCH_KEYS}")
        limit = self._key_limits.pop(0) if self._key_limits else MAX_BATCH_KEYS
        found: dict[str, list[Item]] = {}
        unprocessed: dict[str, dict[str, Any]] = {}
        for name, each in asked.items():
            refuse_unknown(each, {"Keys", "ConsistentRead"})
            table = self._table({"TableName": name})
            keys = [table.key_of(normalised_item(key)) for key in each["Keys"]]
            if len(set(keys)) < len(keys):
                raise invalid("Provided list of item keys contains duplicates")
            found[name] = [table.items[key] for key in keys[:limit] if key in table.items]
            if left := each["Keys"][limit:]:
                unprocessed[name] = {**each, "Keys": left}
            limit = max(0, limit - len(keys))
        return {"Responses": found, "UnprocessedKeys": unprocessed}

    def _write_one(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request, _ACTIONS[kind] | {"ReturnValues"})
        prepared = prepare(kind, request, table)
        write = plan(prepared, self._held)
        answer = returned(prepared, write)
        self._apply([write])
        return answer

    def _begin(self, request: Mapping[str, Any]) -> list[Write] | None:
        """Return a transaction's writes; None if the token's transaction has already been committed."""
        refuse_unknown(request, {"TransactItems", "ClientRequestToken"})
        token = request.get("ClientRequestToken", "")
        if len(token) > MAX_TOKEN_LENGTH:
            raise invalid(f"ClientRequestToken must have length less than or equal to {MAX_TOKEN_LENGTH}")
        known = self._tokens.get(token)
        if known is not None and (known.completed is None or self.clock.now() - known.completed < TOKEN_LIFE):
            if known.actions != request["TransactItems"]:
                raise RefusedError("IdempotentParameterMismatchException", "Another request had this token before")
            if known.completed is None:
                message = "The transaction with the given request token is already in progress"
                raise RefusedError("TransactionInProgressException", message)
            return None
        for action in request["TransactItems"]:
            for kind, asked in action.items():
                refuse_unknown(asked, _ACTIONS[kind])
        return plan_transaction(request["TransactItems"], lambda asked: self._table(asked, set(asked)), self._held)

    def _commit(self, request: Mapping[str, Any], writes: list[Write]) -> None:
        self._apply(writes)
        self._remember(request, completed=self.clock.now())

    def _remember(self, request: Mapping[str, Any], *, completed: datetime | None) -> None:
        if "ClientRequestToken" in request:
            self._tokens[request["ClientRequestToken"]] = _Token(request["TransactItems"], completed)

    def _apply(self, writes: list[Write]) -> None:
        self._commits += 1
        for write in writes:
            write.table.write(write.key, write.new, commit=self._commits, now=self.clock.now())


def _is_over(typed: Mapping[str, Any] | None, now: datetime) -> bool:
    if typed is None or "N" not in typed:
        return False
    overdue = Decimal(str(now.timestamp())) - Decimal(typed["N"])
    return 0 < overdue <= Decimal(OLDEST_TTL.total_seconds())
