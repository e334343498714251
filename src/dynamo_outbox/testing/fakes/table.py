"""A table of the fake: its key, its items, and the changes for its stream.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
"""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import ACCOUNT, REGION, invalid
from .values import same_items

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .values import Item

__all__ = ["Change", "KeyOf", "StreamLog", "Table"]

MAX_PARTITION_KEY_BYTES = 2048
MAX_SORT_KEY_BYTES = 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

VIEW_TYPES = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")

KeyOf = tuple[Any, ...]
"""An item's key as a dictionary key: the values of its key attributes, in the schema's order."""


class Change(NamedTuple):
    """One change of one item: the record as boto3 returns it, without a sequence number.

    The changes of one transaction have the same `commit` number.
    """

    key: KeyOf
    commit: int
    record: Mapping[str, Any]


class StreamLog:
    """The changes of a table since its stream was enabled, in commit order."""

    def __init__(
        self, table: str, label: str, view_type: str, created: datetime, key_schema: list[dict[str, str]]
    ) -> None:
        self.arn = f"{table_arn(table)}/stream/{label}"
        self.table = table
        self.label = label
        self.view_type = view_type
        self.created = created
        self.key_schema = key_schema
        self.changes: list[Change] = []
        self.closed = False

    def append(
        self, key: KeyOf, keys: Item, old: Item | None, new: Item | None, *, commit: int, now: datetime, by_ttl: bool
    ) -> None:
        """Add a change."""
        told: dict[str, Any] = {"ApproximateCreationDateTime": now.replace(microsecond=0), "Keys": keys}
        if new is not None and self.view_type.startswith("NEW"):
            told["NewImage"] = new
        if old is not None and self.view_type.endswith(("OLD_IMAGE", "OLD_IMAGES")):
            told["OldImage"] = old
        record: dict[str, Any] = {
            "eventID": sha256(f"{self.arn}#{len(self.changes)}".encode()).hexdigest()[:32],
            "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": deepcopy(told),
        }
        if by_ttl:
            record["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        self.changes.append(Change(key, commit, record))


def table_arn(name: str) -> str:
    """Return the table's ARN."""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


class Table:
    """A table with its key schema and its items in stored form; `request` is CreateTable's parameters."""

    def __init__(self, request: Mapping[str, Any], now: datetime) -> None:
        self.name: str = request["TableName"]
        self.created = now
        self.request = request
        types = {each["AttributeName"]: each["AttributeType"] for each in request["AttributeDefinitions"]}
        schema = request["KeySchema"]
        if [key["KeyType"] for key in schema] not in (["HASH"], ["HASH", "RANGE"]):
            raise invalid("Invalid KeySchema: the first element is HASH, and the second, if any, RANGE")
        self.key = tuple(key["AttributeName"] for key in schema)
        if set(self.key) != set(types) or len(set(self.key)) != len(schema):
            raise invalid(
                "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match "
                "number of attributes defined in AttributeDefinitions"
            )
        self.key_types = {name: types[name] for name in self.key}
        self.items: dict[KeyOf, Item] = {}
        self.stream: StreamLog | None = None
        self.ttl_attribute: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return the table's description, as in DescribeTable."""
        description: dict[str, Any] = {
            "TableName": self.name,
            "TableArn": table_arn(self.name),
            "TableStatus": "ACTIVE",
            "CreationDateTime": self.created,
            "KeySchema": self.request["KeySchema"],
            "AttributeDefinitions": self.request["AttributeDefinitions"],
            "ItemCount": len(self.items),
        }
        if self.stream is not None:
            description |= {
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": self.stream.view_type},
                "LatestStreamArn": self.stream.arn,
                "LatestStreamLabel": self.stream.label,
            }
        return description

    def key_of_item(self, item: Item) -> KeyOf:
        """Return the key of a complete item."""
        for name in self.key:
            if name not in item:
                raise invalid(f"One or more parameter values were invalid: Missing the key {name} in the item")
            if self.key_types[name] not in item[name]:
                raise invalid(
                    f"One or more parameter values were invalid: Type mismatch for key {name} "
                    f"expected: {self.key_types[name]} actual: {next(iter(item[name]))}"
                )
        return self._checked({name: item[name] for name in self.key})

    def key_of(self, key: Item) -> KeyOf:
        """Return the key in a request, which must consist of exactly the table's key attributes."""
        if key.keys() != set(self.key) or any(self.key_types[name] not in typed for name, typed in key.items()):
            raise invalid("The provided key element does not match the schema")
        return self._checked({name: key[name] for name in self.key})

    def refuse_empty_keys(self, item: Item) -> None:
        """Refuse an empty text or binary in a key attribute."""
        for name in self.key:
            value = item.get(name, {}).get(self.key_types[name])
            if value is not None and not value:
                raise invalid(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                    f"contain an empty {'string' if isinstance(value, str) else 'binary'} value. Key: {name}"
                )

    def _checked(self, key: Item) -> KeyOf:
        self.refuse_empty_keys(key)
        for name, limit in zip(self.key, (MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES), strict=False):
            value = key[name][self.key_types[name]]
            if self.key_types[name] == "N":
                continue
            if len(value.encode() if isinstance(value, str) else value) > limit:
                raise invalid(
                    f"One or more parameter values were invalid: Size of key {name} has exceeded the maximum size "
                    f"limit of {limit} bytes"
                )
        return tuple(key[name][self.key_types[name]] for name in self.key)

    def keys_in(self, item: Item) -> Item:
        """Return only the item's key attributes."""
        return {name: item[name] for name in self.key}

    def write(self, key: KeyOf, new: Item | None, *, commit: int, now: datetime, by_ttl: bool = False) -> None:
        """Store an item under a key, or delete the item if `new` is None; add an actual change to the stream."""
        old = self.items.get(key)
        if old is None and new is None:
            return
        if new is None:
            del self.items[key]
        else:
            self.items[key] = new
        unchanged = old is not None and new is not None and same_items(old, new)
        if self.stream is not None and not unchanged:
            keys = self.keys_in(new or old or {})
            self.stream.append(key, keys, old, new, commit=commit, now=now, by_ttl=by_ttl)
