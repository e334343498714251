"""What tests share: sample events, a DynamoDB in memory, a clock that stands still."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws

from .doubles import FixedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

EVENTS = Path(__file__).parent / "events"

settings.register_profile(
    "suite",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],  # how fast a busy machine is says nothing about the library
)
settings.load_profile("suite")


@pytest.fixture
def load_event() -> Callable[[str], dict[str, Any]]:
    """Reads a sample event; each call gives a copy of its own."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
        return event

    return load


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    """A client of a DynamoDB in memory, which holds no tables yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("dynamodb")


@pytest.fixture
def create_table(dynamodb: DynamoDBClient) -> Callable[..., None]:
    """Creates a table whose key attributes, all text, are given by name: the partition key, then the sort key."""

    def create(table: str, *key: str) -> None:
        dynamodb.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}  # type: ignore[typeddict-item]  # zip widens the literals
                for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
            BillingMode="PAY_PER_REQUEST",
        )

    return create
