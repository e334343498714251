"""Decoding shapes that are met again and again, and shapes that are many.

Inside the timed region, after a first reading of all, by which the shapes are learnt: as in `decode`, and for whole
records `decode_records`, with both images read, against the record objects of Powertools' data class. The floor reads
this item and no other.

2,000 records of 362 shapes are read against our own reader for any, of which they may cost a tenth more: a process'
first pass, in which nothing is known and shapes are counted, and later ones. Against boto3, to be ahead.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from dynamo_outbox.core.hot_shapes import HotShapes

from . import floors
from .decode import (
    KINDS,
    Unlearning,
    boto3_images,
    our_images,
    our_items,
    powertools_images,
    reading,
    same,
    with_shapes,
)
from .harness import Benchmark
from .payloads import diverse, rich_records, small_records

__all__ = ["rows"]

Images = list[tuple[dict[str, Any], dict[str, Any]]]


def rich_floor(payload: dict[str, Any]) -> Images:
    """Keys and NewImage of each record, by code for this item alone."""
    return [
        (floors.rich_key(record["dynamodb"]["Keys"]), floors.rich_image(record["dynamodb"]["NewImage"]))
        for record in payload["Records"]
    ]


def small_floor(payload: dict[str, Any]) -> Images:
    """The same for the small item."""
    return [
        (floors.rich_key(record["dynamodb"]["Keys"]), floors.small_image(record["dynamodb"]["NewImage"]))
        for record in payload["Records"]
    ]


def hot(item: str, payload: dict[str, Any], target: float, floor: Any) -> list[Benchmark]:
    """Keys and NewImage against boto3, and whole records against Powertools' data class."""
    return [
        Benchmark(
            what=f"decode, hot: 100 records of a {item} item, {kind}",
            against="boto3's TypeDeserializer",
            target=target,
            sense="≥",
            measures={
                "ours": reading(our_items, payload, kind),
                "peer": reading(boto3_images, payload, kind),
                "floor": reading(floor, payload, kind),
            },
            check=partial(same, payload, our_items, boto3_images, floor),
        )
        for kind in KINDS
    ] + [
        Benchmark(
            what=f"decode_records, hot: 100 records of a {item} item, {kind}",
            against="Powertools' data class",
            target=3.0,
            sense="≥",
            measures={"ours": reading(our_images, payload, kind), "peer": reading(powertools_images, payload, kind)},
            check=partial(same, payload, our_images, powertools_images),
        )
        for kind in KINDS
    ]


def many() -> list[Benchmark]:
    """Many shapes."""
    payload = diverse()
    what = "decode, 2,000 records of 362 shapes"
    known = HotShapes()
    generic = with_shapes(Unlearning, reading(our_items, payload))
    against = "our own reader for any"
    check = partial(same, payload, our_items, boto3_images)
    later = with_shapes(lambda: known, reading(our_items, payload))
    first = with_shapes(HotShapes, reading(our_items, payload))
    cases = (("first pass", first, generic, against, 0.9), ("later", later, generic, against, 0.9))
    return [
        Benchmark(
            what=f"{what}, {kind}",
            against=peer,
            target=target,
            sense="≥",
            measures={"ours": ours, "peer": theirs},
            check=check,
        )
        for kind, ours, theirs, peer, target in (
            *cases,
            ("later", later, reading(boto3_images, payload), "boto3's TypeDeserializer", 1.0),
        )
    ]


def rows() -> list[Benchmark]:
    """A rich item, a small one, and many shapes."""
    return [
        *hot("rich", rich_records(), 3.5, rich_floor),
        *hot("small", small_records(), 3.0, small_floor),
        *many(),
    ]
