"""Decoding records of items, generic.

Inside the timed region: from the payload, already parsed from JSON, of 100 records to Python values, Keys and NewImage
of each fully read. The records are new objects each time, so nothing that was decoded once is kept; parsing the JSON is
outside. boto3's TypeDeserializer is called for each attribute, as its users do; Powertools' is its event source's data
class. Both read the same two images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from boto3.dynamodb.types import TypeDeserializer

from dynamo_outbox import decode_records

from .harness import Benchmark, Measure, timed
from .payloads import from_lambda, rich_records, small_records

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["boto3_images", "our_images", "powertools_images", "reading", "rows"]

Images = list[tuple[dict[str, Any], dict[str, Any] | None]]

_deserialize = TypeDeserializer().deserialize


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


def reading(read: Callable[[dict[str, Any]], object], payload: dict[str, Any], repeat: int = 4) -> Measure:
    """Measures reading fresh copies of the payload, which are made outside the timed region."""
    copies = [from_lambda(payload) for _ in range(repeat)]
    return timed(lambda: [read(copy) for copy in copies])


def same(payload: dict[str, Any], *reads: Callable[[dict[str, Any]], object]) -> None:
    """Raises unless all read the same."""
    first, *others = (read(from_lambda(payload)) for read in reads)
    if not first or any(other != first for other in others):
        raise AssertionError("the contenders read different values")


def rows() -> list[Benchmark]:
    """Against both peers, a rich item and a small one."""
    out = []
    for kind, payload in (("rich", rich_records()), ("small", small_records())):
        for peer, read, target in (
            ("boto3's TypeDeserializer", boto3_images, 2.0),
            ("Powertools' data class", powertools_images, 3.0),
        ):
            out.append(
                Benchmark(
                    what=f"decode, generic: 100 records of a {kind} item",
                    against=peer,
                    target=target,
                    sense="≥",
                    measures={"ours": reading(our_images, payload), "peer": reading(read, payload)},
                    check=lambda payload=payload, read=read: same(payload, our_images, read),  # type: ignore[misc]
                )
            )
    return out
