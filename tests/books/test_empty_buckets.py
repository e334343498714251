"""The script with which `make teardown` empties the buckets before it deletes the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dynamo_outbox.testing import MiniStack
from empty_buckets import main

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Create the stack ``books`` with a bucket that contains an object; return the bucket."""
    with MiniStack() as engine:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", engine.region)
        monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint_url)
        template = {"Resources": {"Failures": {"Type": "AWS::S3::Bucket"}}}
        formation = boto3.client("cloudformation")
        formation.create_stack(StackName="books", TemplateBody=json.dumps(template))
        (resource,) = formation.describe_stack_resources(StackName="books")["StackResources"]
        bucket = boto3.resource("s3").Bucket(resource["PhysicalResourceId"])
        bucket.put_object(Key="records.json", Body=b"{}")
        yield bucket


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("", 1, 1), ("no", 1, 1)])
def test_what_was_never_published_is_deleted_on_request(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    """The script asks before it empties a bucket. Without a yes it fails, so that nothing else is deleted."""
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert main("books") == code
    assert len(list(bucket.objects.all())) == left


def test_it_can_be_told_not_to_ask(bucket: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With --no-prompts the script reports the objects and deletes them; a second run reports nothing."""
    assert main("books", "--no-prompts") == 0
    assert capsys.readouterr().out == f"{bucket.name} contains 1 objects: records that were never published.\n"
    assert list(bucket.objects.all()) == []
    assert main("books") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("bucket")
def test_a_stack_that_is_not_there_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """If the stack does not exist, the script says so and succeeds."""
    assert main("other", "--no-prompts") == 0
    assert capsys.readouterr().out == "Stack other does not exist in this account and Region.\n"
