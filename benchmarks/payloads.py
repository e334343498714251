"""Inputs of the benchmarks, the same for all contenders."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dynamo_outbox import Event, TableKeys, encode_item
from dynamo_outbox.events.outbox_item import encode_event

__all__ = [
    "from_lambda",
    "outbox_records",
    "record",
    "rich_item",
    "rich_records",
    "small_item",
    "small_records",
]

RECORDS = 100
SHAPES = 362


def rich_item(number: int) -> dict[str, Any]:
    """Return a book with a dozen attributes: nested maps, lists, sets and numbers, but no binary."""
    return {
        "pk": f"Book#978-1942788{number:03d}",
        "sk": f"edition#{number % 7}",
        "name": f"Team Topologies, volume {number}",
        "authors": ["Matthew Skelton", "Manuel Pais"],
        "year": Decimal(1990 + number % 35),
        "price": Decimal(f"{number}.{number % 100:02d}"),
        "available": number % 2 == 0,
        "discontinued": None,
        "tags": {"teams", "flow", f"tag-{number}"},
        "ratings": {Decimal(4), Decimal(number)},
        "publisher": {
            "name": "IT Revolution",
            "founded": Decimal(2013),
            "address": {"city": "Portland", "country": "US", "zip": "97201"},
        },
        "editions": [
            {"isbn": f"978-1942788{number:03d}", "pages": Decimal(240), "format": "paperback"},
            {"isbn": f"978-1942788{number + 1:03d}", "pages": Decimal(238), "format": "ebook"},
        ],
    }


def small_item(number: int) -> dict[str, Any]:
    """Return a stock item: a key and three attributes."""
    return {"pk": f"Book#{number}", "sk": "stock", "count": Decimal(number), "place": "Utrecht", "open": True}


def record(number: int, image: dict[str, Any], keys: tuple[str, ...] = ("pk", "sk")) -> dict[str, Any]:
    """Return a stream record with a typed image, as Lambda delivers it."""
    return {
        "eventID": f"{number:032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1795492800.0 + number,
            "Keys": {name: image[name] for name in keys},
            "NewImage": image,
            "SequenceNumber": str(100000000000000000000 + number),
            "SizeBytes": 512,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T00:00:00.000",
    }


def from_lambda(payload: Any) -> Any:
    """Return the payload as Lambda delivers it: parsed from JSON, so that equal texts are distinct objects."""
    return json.loads(json.dumps(payload))


def rich_records(count: int = RECORDS) -> dict[str, Any]:
    """Return a batch of records of rich items."""
    return {"Records": [record(number, encode_item(rich_item(number))) for number in range(count)]}


def small_records(count: int = RECORDS) -> dict[str, Any]:
    """Return a batch of records of small items."""
    return {"Records": [record(number, encode_item(small_item(number))) for number in range(count)]}


def outbox_event(number: int, book: int | None = None) -> Event:
    """Return an event of a book; each event has its own book unless one is given."""
    return Event(
        "BookAdded",
        {"name": f"Team Topologies, volume {number}", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019},
        id=f"01936d4a-7f5c-7{number % 1000:03d}-8000-0123456789ab",
        time=datetime(2026, 11, 24, 9, 0, number % 60, 123456, tzinfo=UTC),
        source="OutboxDemo.Books",
        aggregate_type="Book",
        aggregate_id=f"978-1942788{number if book is None else book:03d}",
        sequence=number + 1,
        correlation_id="6f9619ff-8b86-d011-b42d-00c04fc964ff",
    )


def outbox_records(count: int = RECORDS, books: int | None = None) -> dict[str, Any]:
    """Return a batch of records of our outbox items, each of its own book or of a given number of books."""
    keys = TableKeys()
    events = (outbox_event(number, number % (books or count)) for number in range(count))
    items = (encode_event(event, expires_at=1796097600, keys=keys) for event in events)
    return {"Records": [record(number, item) for number, item in enumerate(items)]}
