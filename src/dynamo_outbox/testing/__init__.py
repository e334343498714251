"""Test kit: a fake clock, in-memory fakes of AWS clients, a local engine with a pipe runner, and fault injection."""

from __future__ import annotations

from ..aws.clients import forget_shared_clients
from .custom_bus_server import CustomBusServer
from .custom_bus_targets import lambda_target, queue_target
from .fake_clock import FakeClock
from .fakes.custom_bus import FakeCustomBus
from .fakes.dynamodb import FakeDynamoDB
from .fakes.eventbridge import FakeEventBridge
from .fakes.streams import FakeDynamoDBStreams, shuffled
from .fakes.subscriber import BusEvent, MessageTarget, Subscriber
from .fault_proxy import Exchange, FaultProxy, Phase
from .faults import (
    LATE,
    LOST_ANSWER,
    RESET,
    RESET_IN_ANSWER,
    SLOW_ANSWER,
    TRUNCATED,
    Fault,
    Script,
    cancelled_transaction,
    error_page,
    error_response,
    partial_failure,
    random_faults,
)
from .ministack import EngineError, MiniStack
from .pipe_runner import PassedRecord, PipeRunner, wire_record

__all__ = [
    "FakeClock",
    "forget_shared_clients",
    "FakeDynamoDB",
    "FakeDynamoDBStreams",
    "shuffled",
    "FakeEventBridge",
    "FakeCustomBus",
    "BusEvent",
    "Subscriber",
    "MessageTarget",
    "CustomBusServer",
    "lambda_target",
    "queue_target",
    "FaultProxy",
    "Exchange",
    "Phase",
    "Fault",
    "Script",
    "LOST_ANSWER",
    "RESET",
    "RESET_IN_ANSWER",
    "TRUNCATED",
    "SLOW_ANSWER",
    "LATE",
    "error_page",
    "error_response",
    "cancelled_transaction",
    "partial_failure",
    "random_faults",
    "EngineError",
    "MiniStack",
    "PassedRecord",
    "PipeRunner",
    "wire_record",
]
