"""The engines under contract.

``pytest tests/contract --endpoint-url URL`` also tests another engine. The option exists only if the command line names
this folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from dynamo_outbox.testing import MiniStack
from dynamo_outbox.testing.fakes.dynamodb import FakeDynamoDB
from dynamo_outbox.testing.fakes.eventbridge import FakeEventBridge
from dynamo_outbox.testing.fakes.streams import FakeDynamoDBStreams

from ..doubles import FakeClock
from .engine import Backend, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]
ENGINES = [
    "fake",
    "moto",
    pytest.param("ministack", marks=pytest.mark.engine),
]
NO_ENDPOINT_PER_ACCOUNT: dict[str, Any] = (
    {"account_id_endpoint_mode": "disabled"} if hasattr(Config(), "account_id_endpoint_mode") else {}
)
"""moto does not support an endpoint per account, and older versions of botocore do not know the option."""
DIRECT = Config(proxies={}, retries={"total_max_attempts": 1}, **NO_ENDPOINT_PER_ACCOUNT)
"""No proxy, and one attempt: the tests check an engine's first response."""

TEST_CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--endpoint-url", help="URL of another AWS engine to test")
    parser.addoption("--endpoint-has-no-events", action="store_true", help="the engine has no EventBridge")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        named = metafunc.config.getoption("endpoint_url", default=None)
        metafunc.parametrize("backend", [*ENGINES, *(["endpoint"] if named else [])], indirect=True, scope="module")


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    """Start a MiniStack for the whole run."""
    command = os.environ.get("DYNAMO_OUTBOX_MINISTACK") or str(PROJECT / ".venv-ministack" / "bin" / "ministack")
    with MiniStack(command) as started:
        yield started


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Return the clients of the engine under test."""
    name = request.param
    if name == "fake":
        clock = FakeClock()
        dynamodb = FakeDynamoDB(clock=clock)
        yield Backend(name, dynamodb, FakeDynamoDBStreams(dynamodb), FakeEventBridge(clock=clock))
    elif name == "moto":
        with mock_aws():
            yield Backend(name, *_clients(**TEST_CREDENTIALS))
    elif name == "ministack":
        url = request.getfixturevalue("ministack").endpoint_url
        yield Backend(name, *_clients(endpoint_url=url, **TEST_CREDENTIALS))
    else:
        given = {} if boto3.Session().get_credentials() else TEST_CREDENTIALS
        yield Backend(name, *_clients(endpoint_url=request.config.getoption("endpoint_url"), **given))


def _clients(**options: Any) -> list[Any]:
    session = boto3.Session(region_name=os.environ.get("AWS_DEFAULT_REGION", "eu-west-1"))
    client: Any = session.client
    return [client(service, config=DIRECT, **options) for service in ("dynamodb", "dynamodbstreams", "events")]


@pytest.fixture
def engine(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Return the engine for this scenario; its tables are deleted afterwards."""
    case = request.node.callspec.id.removeprefix(backend.name).removeprefix("-")
    scenario = request.node.originalname + (f"[{case}]" if case else "")
    if (
        backend.name == "endpoint"
        and request.node.path.stem == "test_put_events"
        and request.config.getoption("endpoint_has_no_events")
    ):
        pytest.skip("the endpoint has no EventBridge")
    found = Engine(backend, scenario, pytest.skip)
    yield found
    for table in found.tables:
        found.dynamodb.delete_table(TableName=table)


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    """Return a separate fake DynamoDB, for behaviour that no other engine can be made to show."""
    return FakeDynamoDB(clock=clock)
