"""What tests of an outbox stand on: a local engine, and what that engine lacks."""

from __future__ import annotations

from .ministack import EngineError, MiniStack
from .pipe_runner import PassedRecord, PipeRunner, wire_record

__all__ = ["EngineError", "MiniStack", "PassedRecord", "PipeRunner", "wire_record"]
