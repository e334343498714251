"""The EventBridge Pipe from an events table's stream to a bus: its definition, event patterns, and rendering."""

from __future__ import annotations

from ..errors import InvalidPatternError, RenderError
from .definition import PipeDefinition, outbox_pipe, render
from .patterns import matches

__all__ = ["InvalidPatternError", "PipeDefinition", "RenderError", "matches", "outbox_pipe", "render"]
