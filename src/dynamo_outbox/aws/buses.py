"""The two kinds of event buses, told apart by their ARNs.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-what-is.html
"""

from __future__ import annotations

__all__ = ["is_custom_bus"]


def is_custom_bus(bus: str) -> bool:
    """Return whether a bus's name or ARN is the ARN of a Custom Event Bus; a Classic bus's has ``:event-bus/``."""
    return ":event-busv2/" in bus
