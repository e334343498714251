"""The settings of an outbox, shared by its transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from ..aws.service import Service
    from ..options import Clock, Retry, TableKeys

__all__ = ["WriterSettings"]


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """The settings of a transaction; the attributes are those of `TransactionalOutbox`.

    Attributes:
        key_names: The key attributes of tables, as far as they are known: the partition key first.
    """

    table: str
    source: str | None
    dynamodb: Service
    ttl: timedelta
    table_keys: TableKeys
    retry: Retry
    clock: Clock
    key_names: dict[str, Sequence[str]] = field(default_factory=dict)

    def partition_key_of(self, table: str) -> str:
        """Return the name of a table's partition key; an unknown table is described once."""
        if table not in self.key_names:
            schema = self.dynamodb.call("describe_table", TableName=table)["Table"]["KeySchema"]
            ordered = sorted(schema, key=lambda key: key["KeyType"])  # HASH, RANGE
            self.key_names[table] = tuple(key["AttributeName"] for key in ordered)
        return self.key_names[table][0]

    def expires_at(self) -> int:
        """Return when an item that is written now may be deleted, in epoch seconds."""
        return int((self.clock.now() + self.ttl).timestamp())
