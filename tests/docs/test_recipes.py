"""Tests that run the recipes' code blocks as printed."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dynamo_outbox.aws.clients import forget_shared_clients
from dynamo_outbox.errors import ConditionFailedError, InvalidEventError
from dynamo_outbox.testing import FakeDynamoDB

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from mypy_boto3_dynamodb import DynamoDBClient

    from ..doubles import FakeClock

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "recipes"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Run a recipe's only Python block as a module, with new clients."""

    def run_block(recipe: str) -> ModuleType:
        (block,) = PYTHON.findall((RECIPES / f"{recipe}.md").read_text(encoding="utf-8"))
        name = f"recipe_{recipe.replace('-', '_')}"
        path = tmp_path / f"{name}.py"
        path.write_text(block, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    forget_shared_clients()
    yield run_block
    forget_shared_clients()


@pytest.fixture
def fake(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeDynamoDB:
    """A fake with the order tables, which `boto3.client` returns."""
    dynamodb = FakeDynamoDB(clock=clock)
    dynamodb.create_table(TableName="orders", **key_schema("order_id"))
    dynamodb.create_table(TableName="orders-events", **key_schema("pk", "sk"))
    monkeypatch.setattr(boto3, "client", lambda service, **_: {"dynamodb": dynamodb}[service])
    return dynamodb


def counts(dynamodb: Any, *tables: str) -> list[int]:
    return [dynamodb.scan(TableName=table)["Count"] for table in tables]


def test_an_own_transaction_writes_order_and_event(run: Callable[[str], ModuleType], fake: FakeDynamoDB) -> None:
    """The recipe commits the order and its event in one transaction."""
    run("own-transaction")
    assert [call.operation for call in fake.calls[2:]] == ["transact_write_items"]
    (order,) = fake.scan(TableName="orders")["Items"]
    (event,) = fake.scan(TableName="orders-events")["Items"]
    assert order == {"order_id": {"S": "7"}, "total": {"N": "12.5"}}
    assert (event["eventType"], event["source"]) == ({"S": "OrderPlaced"}, {"S": "Shop.Orders"})
    assert event["eventData"] == {"S": '{"order_id":"7","total":"12.50"}'}


def test_a_cancelled_own_transaction_writes_no_event(run: Callable[[str], ModuleType], fake: FakeDynamoDB) -> None:
    """If the order exists, boto3 raises its own error and no second event is written."""
    place_order = run("own-transaction").place_order
    with pytest.raises(fake.exceptions.TransactionCanceledException) as caught:
        place_order("7", "99")
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == [
        "ConditionalCheckFailed",
        "None",
    ]
    assert counts(fake, "orders", "orders-events") == [1, 1]


def test_the_same_event_cannot_be_written_twice(run: Callable[[str], ModuleType], fake: FakeDynamoDB) -> None:
    """The action's condition cancels a second transaction with the same event."""
    module = run("own-transaction")
    again = module.outbox.transact_item(module.place_order("8", "1"))
    with pytest.raises(fake.exceptions.TransactionCanceledException):
        fake.transact_write_items(TransactItems=[again])
    assert counts(fake, "orders-events") == [2]


def test_an_unpublishable_event_stops_an_own_transaction(run: Callable[[str], ModuleType], fake: FakeDynamoDB) -> None:
    """An event above EventBridge's 1 MB limit is rejected before anything is sent."""
    place_order = run("own-transaction").place_order
    with pytest.raises(InvalidEventError):
        place_order("8", "9" * 1_100_000)
    assert counts(fake, "orders", "orders-events") == [1, 1]


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    """moto's DynamoDB with the recipe's tables, because PynamoDB's models create their own client."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(TableName="books", **key_schema("name"))
        client.create_table(TableName="books-events", **key_schema("pk", "sk"))
        yield client


@pytest.fixture
def pynamodb(run: Callable[[str], ModuleType], dynamodb: DynamoDBClient) -> ModuleType:  # noqa: ARG001  # its tables
    """The module of the PynamoDB recipe."""
    return run("pynamodb")


def test_a_model_and_its_event_are_saved_together(pynamodb: ModuleType, dynamodb: DynamoDBClient) -> None:
    """PynamoDB reads the saved book, and its event is in the events table."""
    book = pynamodb.Book.get("Team Topologies")
    assert (book.year, book.version) == (2019, 1)
    (event,) = dynamodb.scan(TableName="books-events")["Items"]
    assert (event["eventType"], event["pk"]) == ({"S": "BookSaved"}, {"S": "Book#Team Topologies"})
    assert event["eventData"] == {"S": '{"name":"Team Topologies","year":2019}'}
    assert event["sk"]["S"].startswith(f"{1:020d}#")


def test_a_saved_model_can_be_saved_again(pynamodb: ModuleType, dynamodb: DynamoDBClient) -> None:
    """The model has its new version after the commit, and its next event has the next sequence."""
    book = pynamodb.Book.get("Team Topologies")
    for year in (2020, 2021):
        book.year = year
        pynamodb.save(book)
    assert (pynamodb.Book.get("Team Topologies").year, book.version) == (2021, 3)
    sequences = [int(item["sk"]["S"].partition("#")[0]) for item in dynamodb.scan(TableName="books-events")["Items"]]
    assert sorted(sequences) == [1, 2, 3]


def test_a_stale_model_writes_neither_item_nor_event(pynamodb: ModuleType, dynamodb: DynamoDBClient) -> None:
    """If another writer saved the model, the error has the label, but `is_stale` is False."""
    fresh, stale = (pynamodb.Book.get("Team Topologies") for _ in range(2))
    pynamodb.save(fresh)
    stale.year = 1999
    with pytest.raises(ConditionFailedError) as caught:
        pynamodb.save(stale)
    assert (caught.value.label, caught.value.is_stale, caught.value.item) == ("book", False, None)
    assert (pynamodb.Book.get("Team Topologies").year, stale.version) == (2019, 1)
    assert counts(dynamodb, "books", "books-events") == [1, 2]


def test_models_can_be_updated_and_deleted_with_an_event(pynamodb: ModuleType, dynamodb: DynamoDBClient) -> None:
    """The recipe's update and delete requests commit together with an event."""
    book, outbox = pynamodb.Book.get("Team Topologies"), pynamodb.outbox
    event = pynamodb.BookSaved(name="Team Topologies", year=2020)
    with outbox.transaction() as tx:
        tx.add({"Update": book.get_update_kwargs_from_instance(actions=[pynamodb.Book.year.set(2020)])})
        tx.emit(event)
    book.update_local_version_attribute()
    assert (pynamodb.Book.get("Team Topologies").year, book.version) == (2020, 2)
    with outbox.transaction() as tx:
        tx.add({"Delete": book.get_delete_kwargs_from_instance()})
        tx.emit(event)
    assert counts(dynamodb, "books", "books-events") == [0, 3]
