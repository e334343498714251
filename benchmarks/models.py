"""pynamodb's models of the items that are decoded, encoded and written, and their plain values.

pynamodb reads a number as ``int`` or ``float`` and loses some of its 38 digits; the numbers here have fewer than 15. An
attribute that is NULL is left out of an item's values, because it is not written again. The maps declare no attributes:
pynamodb reads them nearly three times as fast as maps that do.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pynamodb.attributes import (
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NullAttribute,
    NumberAttribute,
    NumberSetAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.models import Model

__all__ = ["BookRow", "EventRow", "RichItem", "SmallItem", "exact", "values_of"]


class RichItem(Model):
    """Model of `payloads.rich_item`."""

    class Meta:
        table_name = "books"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute()
    authors: ListAttribute[Any] = ListAttribute()
    year = NumberAttribute()
    price = NumberAttribute()
    available = BooleanAttribute()
    discontinued = NullAttribute(null=True)
    tags = UnicodeSetAttribute()
    ratings = NumberSetAttribute()
    publisher: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]  # pynamodb's own
    editions: ListAttribute[Any] = ListAttribute()


class SmallItem(Model):
    """Model of `payloads.small_item`."""

    class Meta:
        table_name = "books"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    how_many = NumberAttribute(attr_name="count")  # Model.count is there already
    place = UnicodeAttribute()
    open = BooleanAttribute()


class BookRow(Model):
    """Model of an item in the table books, whose key is the name."""

    class Meta:
        table_name = "books"

    name = UnicodeAttribute(hash_key=True)
    authors: ListAttribute[Any] = ListAttribute()
    year = NumberAttribute()
    pages = NumberAttribute()
    isbn = UnicodeAttribute()
    publisher = UnicodeAttribute()


class EventRow(Model):
    """Model of an item in the events table, as the library writes it."""

    class Meta:
        table_name = "books-events"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    event_id = UnicodeAttribute(attr_name="eventId")
    event_type = UnicodeAttribute(attr_name="eventType")
    event_time = UnicodeAttribute(attr_name="eventTime")
    source = UnicodeAttribute()
    version = NumberAttribute(attr_name="eventVersion")
    aggregate_type = UnicodeAttribute(attr_name="aggregateType")
    aggregate_id = UnicodeAttribute(attr_name="aggregateId")
    data = UnicodeAttribute(attr_name="eventData")
    context = UnicodeAttribute(attr_name="eventContext")
    expires_at = NumberAttribute(attr_name="expiresAt")
    format = NumberAttribute(attr_name="outboxFormat")


def values_of(model: Model) -> dict[str, Any]:
    """Return a model's values by their attribute names in the table."""
    held = {attribute.attr_name: getattr(model, name) for name, attribute in model.get_attributes().items()}
    return {name: _plain(value) for name, value in held.items() if value is not None}


def exact(value: Any) -> Any:
    """Return the same value with each number as a Decimal."""
    if isinstance(value, dict):
        return {name: exact(member) for name, member in value.items()}
    if isinstance(value, (list, set)):
        return type(value)(map(exact, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Decimal(repr(value))
    return value


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, MapAttribute) else value  # type: ignore[no-untyped-call]
