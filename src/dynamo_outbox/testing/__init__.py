"""What tests of an outbox stand on: fakes in memory, a local engine, and what that engine lacks."""

from __future__ import annotations

from .fakes.dynamodb import FakeDynamoDB
from .fakes.eventbridge import FakeEventBridge
from .fakes.streams import FakeDynamoDBStreams, shuffled
from .ministack import EngineError, MiniStack
from .pipe_runner import PassedRecord, PipeRunner, wire_record

__all__ = [
    "FakeDynamoDB",
    "FakeDynamoDBStreams",
    "shuffled",
    "FakeEventBridge",
    "EngineError",
    "MiniStack",
    "PassedRecord",
    "PipeRunner",
    "wire_record",
]
