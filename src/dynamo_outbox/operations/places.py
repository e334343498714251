"""The places where an event can be left, each read and acknowledged in its own way."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from botocore.exceptions import ClientError, ParamValidationError

from ..aws.errors import error_code
from ..errors import DecodeError, OutboxError
from ..events.bus_event import parse_event
from ..events.event import Event
from ..events.message_shape import BATCH_INFO
from ..events.outbox_item import is_outbox_image
from ..relaying.parked_record import record_in_message
from ..relaying.rules import Reason
from ..streams.outbox_records import inserted_events
from ..streams.records import StreamRecord, decode_records
from .decode import decoded
from .stored import event_items, parking_table, table_options
from .stream_reader import records_between, stream_pages

if TYPE_CHECKING:
    from ..relaying.parked_record import ParkedRecord
    from ..relaying.processors import ChangeProcessor, OutboxRelay
    from .clients import Clients

__all__ = ["Piece", "Place", "Reader", "bucket", "parking", "queue", "stream", "table"]

EMPTY_POLLS, POLL_SECONDS = 3, 1
"""A queue counts as read after so many empty long polls in a row: SQS can't list a queue completely."""
ITEMS = 1000
"""Items of a table that are read before their events are sent."""
HOLD_SECONDS = 900
"""How long a received message is hidden from others; what is not sent is given back at the end."""


@dataclass
class Piece:
    """Part of a place that is acknowledged as a whole: an item, a stream record, an object or a message.

    Attributes:
        name: Its name in reports.
        events: Its events in order, each with its ordering key or None.
        faults: Why parts of it can't be read.
    """

    name: str
    events: list[tuple[Event, str | None]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


Found: TypeAlias = Event | StreamRecord | DecodeError | Mapping[str, Any]
Send: TypeAlias = Callable[[list[Piece]], list[bool]]
"""Sends the events of pieces, and returns for each piece whether all of it was accepted."""


@dataclass(frozen=True)
class Place:
    """A place to replay from.

    Attributes:
        name: Its name.
        drain: Sends every piece, and removes one only after it was accepted.
        count: Returns about how many records there are; None if they are read for it.
        in_order: Whether a failed event holds back the later ones with its ordering key, to the end of the replay.
    """

    name: str
    drain: Callable[[Send], None]
    count: Callable[[], int] | None = None
    in_order: bool = True


@dataclass
class Reader:
    """Reads the events in what is left.

    Arguments:
        clients: AWS's clients.
        processor: Maps stream records to events. Without it, only inserted outbox items are events, and another
            change is a fault.
        wants: Whether an event is to be sent.
    """

    clients: Clients
    processor: OutboxRelay | ChangeProcessor | None = None
    wants: Callable[[Event], bool] = lambda _: True

    def piece(self, name: str, found: Iterable[Found]) -> Piece:
        """Return a piece with these events, and those of these stream records and outbox items."""
        piece = Piece(name)
        for each in found:
            try:
                piece.events += [keyed for keyed in self._keyed(each) if self.wants(keyed[0])]
            except Exception as error:  # also of the user's to_events
                piece.faults.append(f"{type(error).__name__}: {error}")
        return piece

    def _keyed(self, found: Found) -> list[tuple[Event, str | None]]:
        if isinstance(found, DecodeError):
            raise found
        if not isinstance(found, StreamRecord):
            event = found if isinstance(found, Event) else parse_event(found)
            return [(event, event.aggregate)]
        if self.processor is not None:
            return self.processor.keyed_events(found)
        if any(image and "outboxFormat" not in image for image in map(found.raw["dynamodb"].get, _IMAGES)):
            raise DecodeError("", "is a change and not an outbox item; name the processor that maps it to events")
        return [(event, event.aggregate) for event in inserted_events(found)]

    def parked(self, name: str, record: ParkedRecord) -> Piece:
        """Return the piece of a parked record, whose events keep the order of its own key."""
        kind = "OutboxRelay" if self.processor is None else type(self.processor).__name__
        if record.parked_by != kind:
            return Piece(name, faults=[f"a {record.parked_by} parked it, and a {kind} would read it otherwise"])
        piece = self.piece(name, decode_records([record.raw], on_error="collect"))
        return Piece(name, [(event, record.order_key) for event, _ in piece.events], piece.faults)

    def document(self, name: str, text: str | bytes, message: Mapping[str, Any] | None = None) -> Piece:
        """Return the piece of an object, or of a message: an event, a batch, a pointer to one, or a parked record."""
        try:
            content = document = json.loads(text)
            if isinstance(document, dict) and document.get("Type") == "Notification":
                content = json.loads(document["Message"])
            if isinstance(content, dict) and "parkedFormat" in content:
                return self.parked(name, record_in_message(json.dumps(content)))
            if isinstance(content, dict) and BATCH_INFO[0] in content and "payload" not in content:
                return self.piece(name, self._pointed_at(content[BATCH_INFO[0]]))
            return self.piece(name, decoded(message or document))
        except (KeyError, TypeError, ValueError, RecursionError, OutboxError, ParamValidationError) as error:
            return Piece(name, faults=[f"{type(error).__name__}: {error}"])

    def _pointed_at(self, info: Mapping[str, Any]) -> Sequence[StreamRecord | DecodeError]:
        if records := records_between(self.clients("dynamodbstreams"), info):
            return decode_records(records, on_error="collect")
        facts = ", ".join(f"{name} {value}" for name, value in info.items())
        raise DecodeError("", f"the stream no longer has these records: {facts}; replay their time from the table")


_IMAGES = ("NewImage", "OldImage")


def table(name: str, reader: Reader, *, aggregate: str | None = None) -> Place:
    """Return the outbox items of an events table, by consistent reads. An item past its expiry is still an event.

    Arguments:
        name: The table, ``NAME`` or ``NAME:PREFIX``.
        reader: Says which events are wanted; an item that can't be read is reported anyway.
        aggregate: Only this aggregate, ``Type#id``, by a Query; otherwise the table is scanned.
    """

    def drain(send: Send) -> None:
        keys = table_options(name, reader.clients)["table_keys"]
        key = operator.itemgetter(keys.partition_key, keys.sort_key)
        items = filter(is_outbox_image, event_items(name, aggregate, clients=reader.clients))
        while page := list(islice(items, ITEMS)):
            send([reader.piece(" ".join(each["S"] for each in key(item)), [item]) for item in page])

    return Place(f"table {name}", drain)


def stream(name: str, reader: Reader) -> Place:
    """Return a stream, by its ARN or its table's name, from its oldest record to the start of the replay."""

    def drain(send: Send) -> None:
        arn, until = name, datetime.now(UTC)
        if not arn.startswith("arn:"):
            arn = reader.clients("dynamodb").describe_table(TableName=name)["Table"].get("LatestStreamArn", "")
        if not arn:
            raise OutboxError(f"table {name} has no stream")
        for page in stream_pages(reader.clients("dynamodbstreams"), arn, until):
            records = decode_records(page, on_error="collect")
            send([reader.piece(f"record {each.sequence_number}", [each]) for each in records])

    return Place(f"stream {name}", drain)


def parking(name: str, reader: Reader) -> Place:
    """Return a parking table: `ParkingTable.redrive` reads each key in order, and removes what was accepted."""
    parked = parking_table(name, clients=reader.clients)

    def drain(send: Send) -> None:
        failures = parked.redrive(_Redriver(reader, send)).failures
        send([Piece(each.order_key, faults=[each.message]) for each in failures if each.code == "ParkingError"])

    return Place(f"parking {name}", drain, lambda: sum(head.parked for head in parked.heads()))


class _Redriver(NamedTuple):
    reader: Reader
    send: Send

    def republish(self, parked: Sequence[ParkedRecord], context: object) -> list[Reason | None]:  # noqa: ARG002
        pieces = [self.reader.parked(f"{each.order_key} {each.sequence_number}", each) for each in parked]
        return [None if sent else Reason("NotSent", "reported by the replay") for sent in self.send(pieces)]


def bucket(url: str, reader: Reader, *, delete: bool = False) -> Place:
    """Return a failure destination's objects, each shard's in the order of their records.

    Arguments:
        url: ``s3://bucket/prefix``.
        reader: Reads the objects, twice: first for their order.
        delete: Delete an object after its events were accepted.
    """
    name, _, prefix = url.removeprefix("s3://").partition("/")

    def drain(send: Send) -> None:
        s3 = reader.clients("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]

        def body(key: str) -> bytes:
            read: bytes = s3.get_object(Bucket=name, Key=key)["Body"].read()
            return read

        for _, _, key in sorted((*_place_in_stream(body(key)), key) for key in keys):
            if send([reader.document(key, body(key))]) == [True] and delete:
                s3.delete_object(Bucket=name, Key=key)

    return Place(f"bucket {url}", drain)


def _place_in_stream(body: bytes) -> tuple[str, int]:
    try:
        info = json.loads(body)[BATCH_INFO[0]]
        return str(info["shardId"]), int(info["startSequenceNumber"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return "", 0  # not a stream's


def queue(name: str, reader: Reader) -> Place:
    """Return a queue of failure records, dead letters or parked records, by its URL, ARN or name.

    A message is deleted after its events were accepted. The others are given back at the end.
    """
    sqs = reader.clients("sqs")

    def url() -> str:
        return name if "://" in name else str(sqs.get_queue_url(QueueName=name.rpartition(":")[2])["QueueUrl"])

    def count() -> int:
        asked = "ApproximateNumberOfMessages"
        return int(sqs.get_queue_attributes(QueueUrl=url(), AttributeNames=[asked])["Attributes"][asked])

    def drain(send: Send) -> None:
        to, kept, empty = {"QueueUrl": url()}, dict[str, str](), 0
        limits = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": POLL_SECONDS, "VisibilityTimeout": HOLD_SECONDS}
        try:
            while empty < EMPTY_POLLS:
                messages = {each["MessageId"]: each for each in sqs.receive_message(**to, **limits).get("Messages", ())}
                new = [message for found, message in messages.items() if found not in kept]
                kept |= {found: message["ReceiptHandle"] for found, message in messages.items()}
                empty = 0 if new else empty + 1
                pieces = [reader.document(each["MessageId"], each["Body"], each) for each in new]
                for piece, is_sent in zip(pieces, send(pieces), strict=True):
                    if is_sent:
                        sqs.delete_message(**to, ReceiptHandle=kept[piece.name])
                        del kept[piece.name]
        finally:
            for handle in kept.values():
                try:
                    sqs.change_message_visibility(**to, ReceiptHandle=handle, VisibilityTimeout=0)
                except ClientError as error:  # otherwise it is visible again already
                    if "AccessDenied" in error_code(error):
                        raise

    return Place(f"queue {name}", drain, count)
