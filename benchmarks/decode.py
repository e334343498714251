"""Decoding records of items, generic.

Inside the timed region: Keys and NewImage of 100 records to Python values. Each run reads a payload of its own, parsed
from JSON just before and outside of the timed region, as Lambda delivers it: no value in it has been looked at yet.

- Against boto3, whose users call TypeDeserializer for each attribute, `decode_item` is called for each image.
- Against Powertools' data class and its parser, which make a record object, `decode_records` makes ours, and both
  images are read. The parser's model reads both images whole, as the data class does on access.
- Against pynamodb, whose models are made of an item and nothing else, `decode_item` is called for each NewImage.
  Its numbers, and its maps, are made ours outside of the timed region, where the values are compared.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent
from aws_lambda_powertools.utilities.parser.models import DynamoDBStreamModel
from boto3.dynamodb.types import TypeDeserializer

from dynamo_outbox import decode_item, decode_records

from .harness import Benchmark, Measure, timed_on
from .models import RichItem, SmallItem, exact, values_of
from .payloads import from_lambda, rich_records, small_records

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynamodb.models import Model

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


def parser_images(payload: dict[str, Any]) -> Images:
    """The same by the model of Powertools' parser."""
    records = DynamoDBStreamModel.model_validate(payload).Records
    return [(record.dynamodb.Keys, record.dynamodb.NewImage) for record in records]


def our_values(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """NewImage of each record alone."""
    return [decode_item(record["dynamodb"]["NewImage"]) for record in payload["Records"]]


def pynamodb_models(payload: dict[str, Any], kind: type[Model]) -> list[Model]:
    """The same as pynamodb's models."""
    return [kind.from_raw_data(record["dynamodb"]["NewImage"]) for record in payload["Records"]]


def reading(read: Callable[[dict[str, Any]], object], payload: dict[str, Any]) -> Measure:
    """Measures reading a payload that was parsed from its JSON just before, as Lambda does it: anew for each run."""
    repeat = max(1, 1600 // len(payload["Records"]))
    return timed_on(partial(json.loads, json.dumps(payload)), read, repeat=repeat)


def same(payload: dict[str, Any], *reads: Callable[[dict[str, Any]], object]) -> None:
    """Raises unless all read the same."""
    first, *others = (read(from_lambda(payload)) for read in reads)
    if not first or any(other != first for other in others):
        raise AssertionError("the contenders read different values")


def same_as_models(payload: dict[str, Any], kind: type[Model]) -> None:
    """Raises unless our values are those of pynamodb's models."""
    ours = [
        {name: value for name, value in values.items() if value is not None}
        for values in our_values(from_lambda(payload))
    ]
    models = pynamodb_models(from_lambda(payload), kind)
    if not ours or ours != [exact(values_of(model)) for model in models]:
        raise AssertionError("the models hold different values")


def against_records(kind: str, payload: dict[str, Any]) -> list[Benchmark]:
    """Keys and NewImage, against boto3 and against Powertools' two ways."""
    contenders = (
        ("boto3's TypeDeserializer", our_items, boto3_images, 2.0),
        ("Powertools' data class", our_images, powertools_images, 3.0),
        ("Powertools' parser", our_images, parser_images, 1.0),
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
        for peer, ours, theirs, target in contenders
    ]


def against_models(kind: str, payload: dict[str, Any], model: type[Model]) -> Benchmark:
    """NewImage alone, against pynamodb."""
    return Benchmark(
        what=f"decode, generic: 100 {kind} items",
        against="pynamodb's Model.from_raw_data",
        target=1.0,
        sense="≥",
        measures={
            "ours": reading(our_values, payload),
            "peer": reading(partial(pynamodb_models, kind=model), payload),
        },
        check=partial(same_as_models, payload, model),
    )


def rows() -> list[Benchmark]:
    """Against each peer, a rich item and a small one."""
    out: list[Benchmark] = []
    for kind, payload, model in (("rich", rich_records(), RichItem), ("small", small_records(), SmallItem)):
        out += [*against_records(kind, payload), against_models(kind, payload, model)]
    return out
