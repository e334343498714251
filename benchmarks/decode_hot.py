"""Decoding shapes that are met again and again, and shapes that are many.

Inside the timed region: as in `decode` against boto3, after a first reading of all. There is no code per shape:
what was written and measured cost about what it saved (docs/decisions/0030).
Many shapes are to be read at no less than 0.9 of the generic target, which is twice boto3's speed.
"""

from __future__ import annotations

from functools import partial

from .decode import boto3_images, our_items, reading, same
from .harness import Benchmark
from .payloads import diverse, rich_records, small_records

__all__ = ["rows"]


def rows() -> list[Benchmark]:
    """A rich item, a small one, and many shapes."""
    return [
        Benchmark(
            what=f"decode, {kind}",
            against="boto3's TypeDeserializer",
            target=target,
            sense="≥",
            measures={"ours": reading(our_items, payload), "peer": reading(boto3_images, payload)},
            check=partial(same, payload, our_items, boto3_images),
        )
        for kind, payload, target in (
            ("hot: 100 records of a rich item", rich_records(), 3.5),
            ("hot: 100 records of a small item", small_records(), 3.0),
            ("2,000 records of 362 shapes", diverse(), 1.8),
        )
    ]
