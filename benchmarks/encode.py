"""Encoding an item.

Inside the timed region: 100 items of Python values to typed ones, outputs equal; by boto3, TypeSerializer for each
attribute.
"""

from __future__ import annotations

from typing import Any

from boto3.dynamodb.types import TypeSerializer

from dynamo_outbox import encode_item

from .harness import Benchmark, timed
from .payloads import rich_item

__all__ = ["rows"]

_serialize = TypeSerializer().serialize
Items = list[dict[str, Any]]


def ours(items: Items) -> Items:
    """Typed by this library."""
    return [encode_item(item) for item in items]


def boto3s(items: Items) -> Items:
    """Typed by boto3."""
    return [{name: _serialize(value) for name, value in item.items()} for item in items]


def check(items: Items) -> None:
    """Raises unless the outputs are equal."""
    if ours(items) != boto3s(items):
        raise AssertionError("the typed items differ")


def rows() -> list[Benchmark]:
    """A rich item and a small one."""
    small = [{"pk": f"Book#{n}", "sk": "stock", "count": n, "place": "Utrecht", "open": True} for n in range(100)]
    out = []
    for kind, items in (("rich", [rich_item(number) for number in range(100)]), ("small", small)):
        out.append(
            Benchmark(
                what=f"encode: a {kind} item",
                against="boto3's TypeSerializer",
                target=3.0,
                sense="≥",
                measures={
                    "ours": timed(lambda items=items: ours(items), repeat=5),  # type: ignore[misc]
                    "peer": timed(lambda items=items: boto3s(items), repeat=5),  # type: ignore[misc]
                },
                check=lambda items=items: check(items),  # type: ignore[misc]
            )
        )
    return out
