"""The same service with the idempotency of Powertools for AWS Lambda (Python); its outbox is written by hand."""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from .world import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .world import World

__all__ = ["Powertools"]

MODULES = "aws_lambda_powertools.utilities.idempotency"
CLOCKS = tuple(
    f"{MODULES}.{name}.dt" for name in ("base", "persistence.base", "persistence.dynamodb", "persistence.datarecord")
)


class Powertools:
    """Idempotent functions that use the world's clock. The record's key attribute is ``pk``."""

    def __init__(self, world: World) -> None:
        self._world = world
        client: Any = world.dynamodb
        self.store = DynamoDBPersistenceLayer("handled", key_attr="pk", boto3_client=client)

    def once(self, function: Callable[..., Any], *, key: str = "id", **options: Any) -> Callable[..., Any]:
        """Apply `idempotent_function` with a key in the argument ``order``; a call may last one lease."""
        config = IdempotencyConfig(event_key_jmespath=key)
        milliseconds = int(LEASE.total_seconds() * 1000)
        config.register_lambda_context(_Context(milliseconds))
        decorate = idempotent_function(
            data_keyword_argument="order", persistence_store=self.store, config=config, **options
        )
        decorated: Callable[..., Any] = decorate(function)

        def call(order: Any) -> Any:
            with self._at_the_worlds_time():
                return decorated(order=order)

        return call

    @contextmanager
    def _at_the_worlds_time(self) -> Iterator[None]:
        clock = self._world.clock

        class Datetime(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Any:
                return clock.now().astimezone(tz) if tz else clock.now().astimezone().replace(tzinfo=None)

        module = SimpleNamespace(**{**vars(datetime), "datetime": Datetime})
        patches = [mock.patch(place, module) for place in CLOCKS]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


class _Context:
    """The part of Lambda's context that idempotency uses."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds
