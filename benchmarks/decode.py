"""Decoding records of items.

Inside the timed region: Keys and NewImage of 100 records to Python values with `decode_item`. "Warm" records are read
repeatedly. "Fresh" records are parsed from JSON just before each reading, as Lambda delivers them, so their values are
not in the processor's caches.

The floor is the library's fast path alone, without the fallback to the reference implementation.

- boto3: TypeDeserializer is called for each attribute. Powertools' data class does so on access.
- Powertools' parser: its model reads both images completely, so `decode_records` creates record objects, too.
- pynamodb: its models contain one item, so `decode_item` is called for each NewImage. Its numbers and maps are
  converted outside the timed region, where the values are compared.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.parser.models import DynamoDBStreamModel
from boto3.dynamodb.types import TypeDeserializer

from dynamo_outbox import decode_item, decode_records
from dynamo_outbox.codec.fast_values import read_map

from .harness import Benchmark, Measure, timed, timed_on
from .models import RichItem, SmallItem, exact, values_of
from .payloads import from_lambda, rich_records, small_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynamodb.models import Model

__all__ = [
    "KINDS",
    "boto3_images",
    "our_images",
    "our_items",
    "powertools_images",
    "reading",
    "rows",
    "same",
]

KINDS = ("warm", "fresh")
ROUNDS = 31
"""More than elsewhere, because memory access times vary."""
READ = 1600
"""The number of records in a measurement."""

Images = list[tuple[dict[str, Any], dict[str, Any] | None]]

_deserialize = TypeDeserializer().deserialize


def our_items(payload: dict[str, Any]) -> Images:
    """Return Keys and NewImage of each record with `decode_item` alone."""
    return [
        (decode_item(record["dynamodb"]["Keys"]), decode_item(record["dynamodb"]["NewImage"]))
        for record in payload["Records"]
    ]


def our_images(payload: dict[str, Any]) -> Images:
    """Return Keys and NewImage of each record with this library."""
    return [(record.keys, record.new_image) for record in decode_records(payload)]


def floor_images(payload: dict[str, Any]) -> Images:
    """Return the same with the fast path alone."""
    return [
        (read_map(record["dynamodb"]["Keys"], 0), read_map(record["dynamodb"]["NewImage"], 0))
        for record in payload["Records"]
    ]


def boto3_images(payload: dict[str, Any]) -> Images:
    """Return the same with boto3."""
    return [
        (
            {name: _deserialize(typed) for name, typed in record["dynamodb"]["Keys"].items()},
            {name: _deserialize(typed) for name, typed in record["dynamodb"]["NewImage"].items()},
        )
        for record in payload["Records"]
    ]


def powertools_images(payload: dict[str, Any]) -> Images:
    """Return the same with Powertools' data class."""
    images: Images = []
    for record in DynamoDBStreamEvent(payload).records:
        change: Any = record.dynamodb
        images.append((change.keys, change.new_image))
    return images


def parser_images(payload: dict[str, Any]) -> Images:
    """Return the same with the model of Powertools' parser."""
    records = DynamoDBStreamModel.model_validate(payload).Records
    return [(record.dynamodb.Keys, record.dynamodb.NewImage) for record in records]


def our_values(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Return NewImage of each record."""
    return [decode_item(record["dynamodb"]["NewImage"]) for record in payload["Records"]]


def pynamodb_models(payload: dict[str, Any], kind: type[Model]) -> list[Model]:
    """Return the same as pynamodb's models."""
    return [kind.from_raw_data(record["dynamodb"]["NewImage"]) for record in payload["Records"]]


def reading(read: Callable[[dict[str, Any]], object], payload: dict[str, Any], kind: str = "fresh") -> Measure:
    """Return a measure of reading a payload that is parsed once, or that is parsed from JSON for each run."""
    repeat = max(1, READ // len(payload["Records"]))
    if kind == "fresh":
        return timed_on(partial(json.loads, json.dumps(payload)), read, repeat=repeat)
    copy = from_lambda(payload)
    return timed(lambda: read(copy), repeat=repeat)


def same(payload: dict[str, Any], *reads: Callable[[dict[str, Any]], object]) -> None:
    """Raise an error unless all contenders read the same values."""
    first, *others = (read(from_lambda(payload)) for read in reads)
    if not first or any(other != first for other in others):
        raise AssertionError("the contenders read different values")


def same_as_models(payload: dict[str, Any], kind: type[Model]) -> None:
    """Raise an error unless our values equal those of pynamodb's models."""
    ours = [
        {name: value for name, value in values.items() if value is not None}
        for values in our_values(from_lambda(payload))
    ]
    models = pynamodb_models(from_lambda(payload), kind)
    if not ours or ours != [exact(values_of(model)) for model in models]:
        raise AssertionError("the models hold different values")


def against_readers(item: str, payload: dict[str, Any]) -> list[Benchmark]:
    """Return rows of Keys and NewImage against boto3 and Powertools' data class."""
    contenders = (
        ("TypeDeserializer", boto3_images, 2.0),
        ("Powertools' data class", powertools_images, 3.0),
    )
    return [
        Benchmark(
            what=f"decode {item} records, {kind}",
            against=peer,
            target=target,
            sense="≥",
            measures={
                "ours": reading(our_items, payload, kind),
                "peer": reading(theirs, payload, kind),
                "floor": reading(floor_images, payload, kind),
            },
            check=partial(same, payload, our_items, theirs, floor_images),
            rounds=ROUNDS,
        )
        for peer, theirs, target in contenders
        for kind in KINDS
    ]


def against_models(item: str, payload: dict[str, Any], model: type[Model]) -> list[Benchmark]:
    """Return rows of whole records against Powertools' parser, and of NewImage against pynamodb."""
    theirs = partial(pynamodb_models, kind=model)
    return [
        Benchmark(
            what=f"decode_records, {item} records",
            against="Powertools' parser",
            target=1.0,
            sense="≥",
            measures={"ours": reading(our_images, payload), "peer": reading(parser_images, payload)},
            check=partial(same, payload, our_images, parser_images),
        ),
        Benchmark(
            what=f"decode {item} items",
            against="pynamodb",
            target=1.0,
            sense="≥",
            measures={"ours": reading(our_values, payload), "peer": reading(theirs, payload)},
            check=partial(same_as_models, payload, model),
        ),
    ]


def rows() -> list[Benchmark]:
    """Return a row for each peer, with rich and with small items."""
    out: list[Benchmark] = []
    for item, payload, model in (("rich", rich_records(), RichItem), ("small", small_records(), SmallItem)):
        out += [*against_readers(item, payload), *against_models(item, payload, model)]
    return out
