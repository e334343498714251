"""Decoding records of items, generic.

Inside the timed region: Keys and NewImage of 100 records to Python values. Each run reads a payload of its own, parsed
from JSON just before and outside of the timed region, as Lambda delivers it: no text in it has been read before, and
none has its hash yet. Against boto3,
whose users call TypeDeserializer for each attribute, `decode_item` is called for each image; against Powertools' data
class, which makes a record object, `decode_records` makes ours, and both images are read.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from boto3.dynamodb.types import TypeDeserializer

from dynamo_outbox import decode_item, decode_records

from .harness import Benchmark, Measure, timed_on
from .payloads import from_lambda, rich_records, small_records

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["boto3_images", "our_images", "our_items", "powertools_images", "reading", "rows"]

Images = list[tuple[dict[str, Any], dict[str, Any] | None]]

_deserialize = TypeDeserializer().deserialize


def our_items(payload: dict[str, Any]) -> Images:
    """Keys and NewImage of each record, by `decode_item` alone."""
    return [
        (decode_item(record["dynamodb"]["Keys"]), decode_item(record["dynamodb"]["NewImage"]))
        for record in payload["Records"]
    ]


def our_images(payload: dict[str, Any]) -> Images:
    """Keys and NewImage of each record, by this library."""
    return [(record.keys, record.new_image) for record in decode_records(payload)]


def boto3_images(payload: dict[str, Any]) -> Images:
    """The same by boto3."""
    return [
        (
            {name: _deserialize(typed) for name, typed in record["dynamodb"]["Keys"].items()},
            {name: _deserialize(typed) for name, typed in record["dynamodb"]["NewImage"].items()},
        )
        for record in payload["Records"]
    ]


def powertools_images(payload: dict[str, Any]) -> Images:
    """The same by Powertools' data class."""
    images: Images = []
    for record in DynamoDBStreamEvent(payload).records:
        change: Any = record.dynamodb
        images.append((change.keys, change.new_image))
    return images


def reading(read: Callable[[dict[str, Any]], object], payload: dict[str, Any]) -> Measure:
    """Measures reading a payload that was parsed from its JSON just before, as Lambda does it: anew for each run."""
    repeat = max(1, 1600 // len(payload["Records"]))
    return timed_on(partial(json.loads, json.dumps(payload)), read, repeat=repeat)


def same(payload: dict[str, Any], *reads: Callable[[dict[str, Any]], object]) -> None:
    """Raises unless all read the same."""
    first, *others = (read(from_lambda(payload)) for read in reads)
    if not first or any(other != first for other in others):
        raise AssertionError("the contenders read different values")


def rows() -> list[Benchmark]:
    """Against both peers, a rich item and a small one."""
    contenders = (
        ("boto3's TypeDeserializer", our_items, boto3_images, 2.0),
        ("Powertools' data class", our_images, powertools_images, 3.0),
    )
    return [
        Benchmark(
            what=f"decode, generic: 100 records of a {kind} item",
            against=peer,
            target=target,
            sense="≥",
            measures={"ours": reading(ours, payload), "peer": reading(theirs, payload)},
            check=partial(same, payload, ours, theirs),
        )
        for kind, payload in (("rich", rich_records()), ("small", small_records()))
        for peer, ours, theirs, target in contenders
    ]
