"""The transactional outbox for DynamoDB, Lambda and EventBridge.

Names load when they are first used: importing this package pulls in neither boto3 nor pydantic.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .core.changed_attributes import ABSENT, Change
    from .core.envelope import parse_event
    from .core.messages import Message, parse_events
    from .core.records import SequenceNumber, StreamRecord, decode_record, decode_records
    from .core.values import decode_item, encode_item
    from .domain_event import DomainEvent
    from .event import Event
    from .idempotency import IdempotencyStore, fence_number, idempotent
    from .inbox import Inbox, InboxHandler, InboxTransaction
    from .message_batch import each_message
    from .outbox import TransactionalOutbox
    from .parking import ParkedHead, ParkingQueue, ParkingTable, RedriveFailure, RedriveResult
    from .processors import ChangeProcessor, OutboxRelay
    from .publisher import EventBridgePublisher, FailedEvent, PublishedEvent, PublishResult
    from .transaction import Transaction, TransactionResult

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
    "Event": "event",
    "DomainEvent": "domain_event",
    "parse_event": "core.envelope",
    "parse_events": "core.messages",
    "Message": "core.messages",
    "TransactionalOutbox": "outbox",
    "decode_records": "core.records",
    "decode_record": "core.records",
    "decode_item": "core.values",
    "encode_item": "core.values",
    "StreamRecord": "core.records",
    "SequenceNumber": "core.records",
    "Change": "core.changed_attributes",
    "ABSENT": "core.changed_attributes",
    "EventBridgePublisher": "publisher",
    "PublishResult": "publisher",
    "PublishedEvent": "publisher",
    "FailedEvent": "publisher",
    "Transaction": "transaction",
    "TransactionResult": "transaction",
    "ChangeProcessor": "processors",
    "OutboxRelay": "processors",
    "ParkingTable": "parking",
    "ParkingQueue": "parking",
    "ParkedHead": "parking",
    "RedriveResult": "parking",
    "RedriveFailure": "parking",
    "idempotent": "idempotency",
    "IdempotencyStore": "idempotency",
    "Inbox": "inbox",
    "InboxHandler": "inbox",
    "InboxTransaction": "inbox",
    "fence_number": "idempotency",
    "each_message": "message_batch",
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
