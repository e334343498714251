"""The transactional outbox for DynamoDB, Lambda and EventBridge.

Names load when they are first used: importing this package pulls in neither boto3 nor pydantic.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .codec.values import decode_item, encode_item
    from .consuming.batch_handler import batch_handler
    from .consuming.idempotency import AtMostOnce, IdempotencyStore, fence_number, idempotent
    from .consuming.inbox import Inbox, InboxHandler, InboxTransaction
    from .consuming.keys import Key
    from .events.bus_event import parse_event
    from .events.domain_event import DomainEvent
    from .events.event import Event
    from .events.messages import Message, parse_events
    from .options import Clock, Retry, TableKeys
    from .publishing.publisher import EventBridgePublisher
    from .publishing.results import FailedEvent, PublishedEvent, PublishResult
    from .relaying.parking import RedriveFailure, RedriveResult
    from .relaying.parking_queue import ParkingQueue
    from .relaying.parking_table import ParkedHead, ParkingTable
    from .relaying.processors import ChangeProcessor, OutboxRelay
    from .streams.changed_attributes import ABSENT, Change
    from .streams.records import SequenceNumber, StreamRecord, decode_record, decode_records
    from .writing.actions import Condition, Version
    from .writing.outbox import TransactionalOutbox
    from .writing.transaction import Transaction, TransactionResult
    from .writing.update_expression import IfNotExists, ListAppend

__all__ = [
    "Event",
    "DomainEvent",
    "parse_event",
    "parse_events",
    "Message",
    "TransactionalOutbox",
    "Transaction",
    "TransactionResult",
    "Condition",
    "IfNotExists",
    "ListAppend",
    "Version",
    "decode_records",
    "decode_record",
    "decode_item",
    "encode_item",
    "StreamRecord",
    "SequenceNumber",
    "Change",
    "ABSENT",
    "EventBridgePublisher",
    "PublishResult",
    "PublishedEvent",
    "FailedEvent",
    "ChangeProcessor",
    "OutboxRelay",
    "ParkingTable",
    "ParkingQueue",
    "ParkedHead",
    "RedriveResult",
    "RedriveFailure",
    "idempotent",
    "IdempotencyStore",
    "AtMostOnce",
    "Key",
    "fence_number",
    "Inbox",
    "InboxHandler",
    "InboxTransaction",
    "batch_handler",
    "TableKeys",
    "Retry",
    "Clock",
]

_NAMES = {
    "events.event": ("Event",),
    "events.domain_event": ("DomainEvent",),
    "events.bus_event": ("parse_event",),
    "events.messages": ("parse_events", "Message"),
    "writing.outbox": ("TransactionalOutbox",),
    "writing.transaction": ("Transaction", "TransactionResult"),
    "writing.actions": ("Condition", "Version"),
    "writing.update_expression": ("IfNotExists", "ListAppend"),
    "streams.records": ("decode_records", "decode_record", "StreamRecord", "SequenceNumber"),
    "codec.values": ("decode_item", "encode_item"),
    "streams.changed_attributes": ("Change", "ABSENT"),
    "publishing.publisher": ("EventBridgePublisher",),
    "publishing.results": ("PublishResult", "PublishedEvent", "FailedEvent"),
    "relaying.processors": ("ChangeProcessor", "OutboxRelay"),
    "relaying.parking_table": ("ParkingTable", "ParkedHead"),
    "relaying.parking_queue": ("ParkingQueue",),
    "relaying.parking": ("RedriveResult", "RedriveFailure"),
    "consuming.idempotency": ("idempotent", "IdempotencyStore", "AtMostOnce", "fence_number"),
    "consuming.keys": ("Key",),
    "consuming.inbox": ("Inbox", "InboxHandler", "InboxTransaction"),
    "consuming.batch_handler": ("batch_handler",),
    "options": ("TableKeys", "Retry", "Clock"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw it would let any name pass

    def __getattr__(name: str) -> object:
        try:
            home = _HOME[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        value = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
