"""Decoding shapes that are met again and again.

Inside the timed region: as in `decode`, after warm-up. The last row is about shapes that are too many to be hot: 2,000
records of 362 shapes, by a process that has met none of them, against the same with specialisation taken out.
"""

from __future__ import annotations

from .decode import boto3_images, our_images, reading, same
from .harness import Benchmark
from .payloads import rich_records, small_records

__all__ = ["rows"]


def rows() -> list[Benchmark]:
    """A rich item, a small one, and many shapes."""
    out = []
    for kind, payload, target in (("rich", rich_records(), 3.5), ("small", small_records(), 3.0)):
        out.append(
            Benchmark(
                what=f"decode, hot: 100 records of a {kind} item",
                against="boto3's TypeDeserializer",
                target=target,
                sense="≥",
                measures={"ours": reading(our_images, payload), "peer": reading(boto3_images, payload)},
                check=lambda payload=payload: same(payload, our_images, boto3_images),  # type: ignore[misc]
            )
        )
    return out
