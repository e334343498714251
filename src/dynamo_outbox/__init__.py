"""The transactional outbox for DynamoDB, Lambda and EventBridge.

Names load when they are first used: importing this package pulls in neither boto3 nor pydantic.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .streams.changed_attributes import ABSENT, Change
    from .events.bus_event import parse_event
    from .events.messages import Message, parse_events
    from .streams.records import SequenceNumber, StreamRecord, decode_record, decode_records
    from .codec.values import decode_item, encode_item
    from .events.domain_event import DomainEvent
    from .events.event import Event
    from .consuming.idempotency import IdempotencyStore, fence_number, idempotent
    from .consuming.inbox import Inbox, InboxHandler, InboxTransaction
    from .consuming.batch_handler import each_message
    from .writing.outbox import TransactionalOutbox
    from .relaying.parking import ParkedHead, ParkingQueue, ParkingTable, RedriveFailure, RedriveResult
    from .relaying.processors import ChangeProcessor, OutboxRelay
    from .publishing.publisher import EventBridgePublisher, FailedEvent, PublishedEvent, PublishResult
    from .writing.transaction import Transaction, TransactionResult

__all__ = [
    "Event",
    "DomainEvent",
    "parse_event",
    "parse_events",
    "Message",
    "TransactionalOutbox",
    "Transaction",
    "TransactionResult",
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
    "Inbox",
    "InboxHandler",
    "InboxTransaction",
    "fence_number",
    "each_message",
]

_HOME = {
    "Event": "events.event",
    "DomainEvent": "events.domain_event",
    "parse_event": "events.bus_event",
    "parse_events": "events.messages",
    "Message": "events.messages",
    "TransactionalOutbox": "writing.outbox",
    "decode_records": "streams.records",
    "decode_record": "streams.records",
    "decode_item": "codec.values",
    "encode_item": "codec.values",
    "StreamRecord": "streams.records",
    "SequenceNumber": "streams.records",
    "Change": "streams.changed_attributes",
    "ABSENT": "streams.changed_attributes",
    "EventBridgePublisher": "publishing.publisher",
    "PublishResult": "publishing.publisher",
    "PublishedEvent": "publishing.publisher",
    "FailedEvent": "publishing.publisher",
    "Transaction": "writing.transaction",
    "TransactionResult": "writing.transaction",
    "ChangeProcessor": "relaying.processors",
    "OutboxRelay": "relaying.processors",
    "ParkingTable": "relaying.parking",
    "ParkingQueue": "relaying.parking",
    "ParkedHead": "relaying.parking",
    "RedriveResult": "relaying.parking",
    "RedriveFailure": "relaying.parking",
    "idempotent": "consuming.idempotency",
    "IdempotencyStore": "consuming.idempotency",
    "Inbox": "consuming.inbox",
    "InboxHandler": "consuming.inbox",
    "InboxTransaction": "consuming.inbox",
    "fence_number": "consuming.idempotency",
    "each_message": "consuming.batch_handler",
}


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
