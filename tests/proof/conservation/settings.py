"""What a process of the run is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dynamo_outbox.testing.clients import loopback_client

from .world import World

__all__ = ["TIMEOUT", "Settings"]

TIMEOUT = 0.5
"""Seconds that a client waits for an answer, beside a long poll's own."""


@dataclass(frozen=True)
class Settings:
    """What a process is told.

    Attributes:
        role: ``writer``, ``relay`` or ``consumer``.
        name: Its own name.
        seed: Where its chance begins.
        engine_url, proxy_url, region: Where the engine is, and its proxy.
        folder: Where it may keep what has to outlive it.
        entities: How many entities there are.
        attempts: How often botocore sends a request.
        retry_timeout: Seconds for which the outbox sends a transaction again that got no answer, before it settles it.
        world: What stands on the engine.
    """

    role: str
    name: str
    seed: int
    engine_url: str
    proxy_url: str
    region: str
    folder: str
    entities: int
    attempts: int
    retry_timeout: float
    world: World

    def to_json(self) -> str:
        """As a command's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Out of a command's argument."""
        told = json.loads(text)
        return cls(**(told | {"world": World(**told["world"])}))

    def client(self, service: str, *, timeout: float = TIMEOUT, proxied: bool = True) -> Any:
        """A client of a service, impatient."""
        return loopback_client(
            service,
            self.proxy_url if proxied else self.engine_url,
            region=self.region,
            read_timeout=timeout,
            retries={"total_max_attempts": self.attempts, "mode": "standard"},
        )
