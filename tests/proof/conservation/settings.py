"""Settings of a process of the run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dynamo_outbox.testing.clients import loopback_client

from .world import World

__all__ = ["CALLED", "TIMEOUT", "Settings"]

CALLED = "called"
"""Outcome of a function that succeeded."""
TIMEOUT = 0.5
"""Seconds that a client waits for a response, in addition to a long poll's wait."""


@dataclass(frozen=True)
class Settings:
    """Settings of a process.

    Attributes:
        role: ``writer``, ``relay``, ``consumer`` of a queue, or ``function``, which the driver calls.
        name: The process's name.
        seed: The seed of its random decisions.
        engine_url, proxy_url, region: The engine and the process's fault proxy.
        folder: The folder for files that outlive the process.
        entities: The number of entities.
        attempts: botocore's attempts per request.
        retry_timeout: Seconds for which the outbox retries a transaction without a response before it settles it.
        world: The resources on the engine.
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
        """Return the settings as a command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return the settings from a command-line argument."""
        told = json.loads(text)
        return cls(**(told | {"world": World(**told["world"])}))

    def client(self, service: str, *, timeout: float = TIMEOUT, proxied: bool = True) -> Any:
        """Return a client with a short timeout."""
        return loopback_client(
            service,
            self.proxy_url if proxied else self.engine_url,
            region=self.region,
            read_timeout=timeout,
            retries={"total_max_attempts": self.attempts, "mode": "standard"},
        )
