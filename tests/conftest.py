"""Shared fixtures: sample events, a fake DynamoDB and a fake clock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from hypothesis import HealthCheck, settings

from dynamo_outbox.testing import FakeDynamoDB

from .contract.engine import key_schema
from .doubles import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = Path(__file__).parent / "events"
_HAS_CUSTOM_BUS = (Path(botocore.__file__).parent / "data" / "eventbridgev2").exists()
collect_ignore_glob = [] if _HAS_CUSTOM_BUS else ["*/test_*custom_bus*.py"]
"""The lowest botocore, with which Classic buses work, has no model of the Custom Event Bus."""

settings.register_profile(
    "full",
    max_examples=100,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],  # a slow machine says nothing about the library
)
settings.register_profile("fast", settings.get_profile("full"), max_examples=15)
settings.load_profile("fast")  # `make properties` loads the other one


@pytest.fixture(autouse=True)
def _own_default_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset boto3's default session, so that no test gets another test's credentials."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def load_event() -> Callable[[str], dict[str, Any]]:
    """Return a function that reads a sample event; each call returns a new copy."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
        return event

    return load


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    """A fake DynamoDB without tables."""
    return FakeDynamoDB(clock=clock)


@pytest.fixture
def create_table(dynamodb: FakeDynamoDB) -> Callable[..., None]:
    """Return a function that creates a table from its name, partition key and optional sort key."""

    def create(table: str, *key: str) -> None:
        dynamodb.create_table(TableName=table, **key_schema(*key))

    return create
