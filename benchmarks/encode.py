"""Encoding an item.

Inside the timed region: 100 items from Python values to typed ones, with equal outputs. boto3 uses TypeSerializer for
each attribute. pynamodb serialises 100 existing models; ours encodes the same values: numbers as ``int`` and ``float``,
and no NULL. pynamodb writes sets as lists in another order, so its outputs are compared by value.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

from dynamo_outbox import decode_item, encode_item

from .harness import Benchmark, timed
from .models import RichItem, SmallItem, values_of
from .payloads import rich_item, small_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynamodb.models import Model

__all__ = ["rows"]

ITEMS = 100
_serialize = TypeSerializer().serialize
Items = list[dict[str, Any]]


def ours(items: Items) -> Items:
    """Encode the items with this library."""
    return [encode_item(item) for item in items]


def boto3s(items: Items) -> Items:
    """Encode the items with boto3."""
    return [{name: _serialize(value) for name, value in item.items()} for item in items]


def pynamodbs(models: list[Model]) -> Items:
    """Encode the models with pynamodb."""
    return [model.serialize() for model in models]


def check(items: Items) -> None:
    """Raise an error unless the outputs are equal."""
    if ours(items) != boto3s(items):
        raise AssertionError("the typed items differ")


def check_models(items: Items, models: list[Model]) -> None:
    """Raise an error unless the outputs hold the same values."""
    if [decode_item(typed) for typed in ours(items)] != [decode_item(typed) for typed in pynamodbs(models)]:
        raise AssertionError("the typed items differ")


def against_boto3(kind: str, items: Items) -> Benchmark:
    return Benchmark(
        what=f"encode {kind} items",
        against="TypeSerializer",
        target=3.0,
        sense="≥",
        measures={"ours": timed(partial(ours, items), repeat=5), "peer": timed(partial(boto3s, items), repeat=5)},
        check=partial(check, items),
    )


def against_pynamodb(kind: str, items: Items, model: type[Model]) -> Benchmark:
    models = [model.from_raw_data(typed) for typed in ours(items)]
    held = [values_of(each) for each in models]
    return Benchmark(
        what=f"encode {kind} items",
        against="pynamodb",
        target=1.0,
        sense="≥",
        measures={"ours": timed(partial(ours, held), repeat=5), "peer": timed(partial(pynamodbs, models), repeat=5)},
        check=partial(check_models, held, models),
    )


def rows() -> list[Benchmark]:
    """Return a row for each peer, with rich and with small items."""
    kinds: tuple[tuple[str, Callable[[int], dict[str, Any]], type[Model]], ...]
    kinds = (("rich", rich_item, RichItem), ("small", small_item, SmallItem))
    out: list[Benchmark] = []
    for kind, item, model in kinds:
        items = [item(number) for number in range(ITEMS)]
        out += [against_boto3(kind, items), against_pynamodb(kind, items, model)]
    return out
