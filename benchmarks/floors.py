"""Floors: by hand and for one kind of input, the library's checks and no more, in the fastest way that was found.

Nothing in them is chosen, looked up or made reusable. What isn't as expected raises.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from dynamo_outbox.clients import Whole
from dynamo_outbox.core.fast_values import NUMERIC, read_number
from dynamo_outbox.event import NONE_DRAWN, Event, UnfrozenEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["outbox_event", "put_requests", "rich_image", "rich_key", "small_image"]

get: Callable[[Any, str], Any] = dict.get
join = "".join


def rich_key(item: Any) -> dict[str, Any]:
    """The key of `payloads.rich_item` and of `payloads.small_item`."""
    if type(item) is not dict or len(item) != 2:
        raise ValueError
    pk, sk = item["pk"], item["sk"]
    pk_text, sk_text = get(pk, "S"), get(sk, "S")
    if not (len(pk) == 1 and type(pk_text) is str and len(sk) == 1 and type(sk_text) is str):
        raise ValueError
    return {"pk": pk_text, "sk": sk_text}


def rich_image(item: Any) -> dict[str, Any]:
    """`payloads.rich_item`: each value one tag and of its type, each number of plain digits, each map these members."""
    if type(item) is not dict or len(item) != 12:
        raise ValueError
    pk, sk, name, authors = item["pk"], item["sk"], item["name"], item["authors"]
    year, price, available, discontinued = item["year"], item["price"], item["available"], item["discontinued"]
    tags, ratings, publisher, editions = item["tags"], item["ratings"], item["publisher"], item["editions"]
    pk_text, sk_text, name_text = get(pk, "S"), get(sk, "S"), get(name, "S")
    author_list, edition_list = get(authors, "L"), get(editions, "L")
    year_text, price_text = get(year, "N"), get(price, "N")
    is_available, is_null = get(available, "BOOL"), get(discontinued, "NULL")
    tag_list, rating_list = get(tags, "SS"), get(ratings, "NS")
    house = get(publisher, "M")
    if not (type(author_list) is list and type(edition_list) is list and type(house) is dict and len(house) == 3):
        raise ValueError
    author_names = []
    for author in author_list:
        author_name = get(author, "S")
        if not (len(author) == 1 and type(author_name) is str):
            raise ValueError
        author_names.append(author_name)
    house_name, founded, address = house["name"], house["founded"], house["address"]
    house_text, founded_text, place = get(house_name, "S"), get(founded, "N"), get(address, "M")
    if not (type(place) is dict and len(place) == 3):
        raise ValueError
    city, country, postcode = place["city"], place["country"], place["zip"]
    city_text, country_text, postcode_text = get(city, "S"), get(country, "S"), get(postcode, "S")
    pages_texts = []
    edition_maps = []
    for edition in edition_list:
        members = get(edition, "M")
        if not (type(members) is dict and len(members) == 3):
            raise ValueError
        isbn, pages, binding = members["isbn"], members["pages"], members["format"]
        isbn_text, pages_text, binding_text = get(isbn, "S"), get(pages, "N"), get(binding, "S")
        if not (
            len(edition) == 1
            and len(isbn) == 1
            and type(isbn_text) is str
            and len(pages) == 1
            and len(binding) == 1
            and type(binding_text) is str
        ):
            raise ValueError
        pages_texts.append(pages_text)
        edition_maps.append({"isbn": isbn_text, "pages": read_number(pages_text), "format": binding_text})
    if not (
        len(pk) == 1
        and type(pk_text) is str
        and len(sk) == 1
        and type(sk_text) is str
        and len(name) == 1
        and type(name_text) is str
        and len(authors) == 1
        and len(year) == 1
        and len(price) == 1
        and len(available) == 1
        and (is_available is True or is_available is False)
        and len(discontinued) == 1
        and is_null is True
        and len(tags) == 1
        and type(tag_list) is list
        and tag_list
        and join(tag_list) is not None
        and len(ratings) == 1
        and type(rating_list) is list
        and rating_list
        and len(publisher) == 1
        and len(house_name) == 1
        and type(house_text) is str
        and len(founded) == 1
        and len(address) == 1
        and len(city) == 1
        and type(city_text) is str
        and len(country) == 1
        and type(country_text) is str
        and len(postcode) == 1
        and type(postcode_text) is str
        and len(editions) == 1
        and not join((year_text, price_text, founded_text, *rating_list, *pages_texts)).strip(NUMERIC)
    ):
        raise ValueError
    return {
        "pk": pk_text,
        "sk": sk_text,
        "name": name_text,
        "authors": author_names,
        "year": read_number(year_text),
        "price": read_number(price_text),
        "available": is_available,
        "discontinued": None,
        "tags": set(tag_list),
        "ratings": set(map(read_number, rating_list)),
        "publisher": {
            "name": house_text,
            "founded": read_number(founded_text),
            "address": {"city": city_text, "country": country_text, "zip": postcode_text},
        },
        "editions": edition_maps,
    }


def small_image(item: Any) -> dict[str, Any]:
    """`payloads.small_item`."""
    if type(item) is not dict or len(item) != 5:
        raise ValueError
    pk, sk, count, place, is_open = item["pk"], item["sk"], item["count"], item["place"], item["open"]
    pk_text, sk_text, place_text = get(pk, "S"), get(sk, "S"), get(place, "S")
    count_text, flag = get(count, "N"), get(is_open, "BOOL")
    if not (
        len(pk) == 1
        and type(pk_text) is str
        and len(sk) == 1
        and type(sk_text) is str
        and len(count) == 1
        and len(place) == 1
        and type(place_text) is str
        and len(is_open) == 1
        and (flag is True or flag is False)
        and not count_text.strip(NUMERIC)
    ):
        raise ValueError
    return {"pk": pk_text, "sk": sk_text, "count": read_number(count_text), "place": place_text, "open": flag}


def outbox_event(image: Any) -> Event:
    """An outbox item: its event, with data and context as text. What items share was checked when it was first met."""
    head = (
        image["eventType"]["S"],
        image["source"]["S"],
        image["aggregateType"]["S"],
        image["eventVersion"]["N"],
        image["outboxFormat"]["N"],
    )
    event: Any = UnfrozenEvent()
    event.type, event.source, event.aggregate_type, event.version = met[head]
    event.id = event_id = image["eventId"]["S"]
    event.time = time = datetime.fromisoformat(image["eventTime"]["S"])
    event._text = data = image["eventData"]["S"]
    event._context = context = image["eventContext"]["S"]
    event.aggregate_id = aggregate_id = image["aggregateId"]["S"]
    event._drawn = NONE_DRAWN
    event._data = None
    if not (
        event_id
        and type(event_id) is str
        and aggregate_id
        and (event_id + aggregate_id + context).isascii()
        and type(data) is str
        and data.isascii()
        and time.tzinfo is UTC
    ):
        raise ValueError
    event.__class__ = Event
    made: Event = event
    return made


met = {("BookAdded", "OutboxDemo.Books", "Book", "1", "1"): ("BookAdded", "OutboxDemo.Books", "Book", 1)}


LONG_NUMBER = re.compile("[0-9](?:[eE]|[0-9]{18})")


def put_requests(events: Sequence[Event]) -> list[Whole]:
    """The entries of each call of PutEvents, for events with an aggregate and without a context, all in ASCII."""
    requests = []
    batch, total = Whole(), 0
    quoted, isoformat = encode_basestring, datetime.isoformat
    for event in events:
        source, kind, data, time = event.source, event.type, event.data_json, event.time
        if LONG_NUMBER.search(data) or type(event.data) is not dict or event._told() != (None,) * 4:
            raise ValueError
        detail = (
            f'{{"metadata":{{"id":{quoted(event.id)},"type":{quoted(kind)},"version":{event.version},'
            f'"time":"{isoformat(time, timespec="microseconds")[:-6]}Z",'
            f'"aggregateType":{quoted(event.aggregate_type or "")},"aggregateId":{quoted(event.aggregate_id or "")}}},'
            f'"data":{data}}}'
        )
        if source is None or time.tzinfo is not UTC or not detail.isascii():
            raise ValueError
        size = 14 + len(source) + len(kind) + len(detail)
        if len(batch) == 10 or total + size >= 1_048_576:
            requests.append(batch)
            batch, total = Whole(), 0
        batch.append({"EventBusName": "books", "Source": source, "DetailType": kind, "Detail": detail, "Time": time})
        total += size
    requests.append(batch)
    return requests
