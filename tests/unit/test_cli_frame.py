"""What all commands share: the AWS session, output, confirmation, and the texts of errors."""

from __future__ import annotations

import io
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from dynamo_outbox.cli import main
from dynamo_outbox.cli.frame import UsageError, confirm, explained, print_rows, start_session
from dynamo_outbox.operations.clients import clients_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def default_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give boto3's default session and the environment back after the test."""
    before = boto3.DEFAULT_SESSION
    monkeypatch.setattr(os, "environ", os.environ.copy())
    yield
    boto3.DEFAULT_SESSION = before


def error(code: str, operation: str = "Query") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, operation)


ROWS = [{"name": "a\x1b[2J", "count": 1, "age": None}, {"name": "b [red]", "count": 22, "age": "3 h"}]


def test_rows_are_json_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that go to a file or a pipe are JSON lines."""
    print_rows(ROWS[1:])
    assert capsys.readouterr().out == '{"name": "b [red]", "count": 22, "age": "3 h"}\n'


@pytest.mark.parametrize("rich", [True, False])
def test_rows_are_a_table_in_a_terminal(monkeypatch: pytest.MonkeyPatch, *, rich: bool) -> None:
    """In a terminal rows are a table, with Rich or without; a name can't send control characters or markup."""
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_rows(ROWS)
    lines = terminal.getvalue().splitlines()
    assert "\x1b[2J" not in "".join(lines)
    assert any("b [red]" in line and "22" in line and "3 h" in line for line in lines)
    if not rich:
        assert lines[0] == "name     count  age"


def test_rows_are_json_lines_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `as_json` rows are JSON lines in a terminal too."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_rows(ROWS[1:], as_json=True)
    assert terminal.getvalue().startswith('{"name"')


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_question_is_asked_in_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str, *, agreed: bool) -> None:
    """Only y or yes agrees."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert confirm("Send 3 events?", yes=False) is agreed


def test_a_question_without_a_terminal_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can answer, --yes has to; the error has the question."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match=r"Send 3 events\? Add --yes"):
        confirm("Send 3 events?", yes=False)
    assert confirm("Send 3 events?", yes=True)


@pytest.mark.parametrize(
    ("raised", "texts"),
    [
        (NoCredentialsError(), ["--profile", "AWS_ACCESS_KEY_ID"]),
        (NoRegionError(), ["--region"]),
        (error("AccessDeniedException"), ["lack the permission for Query", "docs/permissions.md"]),
        (error("AccessDenied", "GetObject"), ["lack the permission for GetObject"]),
        (error("AccessDenied", "ListObjectsV2"), ["lack the permission for ListBucket"]),
        (error("ResourceNotFoundException"), ["so it is", "Check the name, the Region and the account"]),
        (error("AWS.SimpleQueueService.NonExistentQueue"), ["Check the name"]),
        (EndpointConnectionError(endpoint_url="https://1.streams-ddb.eu-west-1.amazonaws.com"), ["ENDPOINT_MODE"]),
        (EndpointConnectionError(endpoint_url="http://localhost:1"), ["http://localhost:1"]),
        (error("ThrottlingException"), ["so it is"]),
    ],
)
def test_an_error_of_aws_says_what_to_do(raised: Exception, texts: list[str]) -> None:
    """The text names the operation, and the remedy where it is known."""
    text = explained(raised)
    assert text is not None
    assert all(each in text for each in texts)


def test_other_errors_are_not_explained() -> None:
    """A defect keeps its traceback."""
    assert explained(ValueError("x")) is None


@pytest.mark.skipif(botocore.__version__ < "1.31", reason="the lowest botocore has no endpoint for all services")
@pytest.mark.usefixtures("default_session")
def test_options_hold_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """--region and --endpoint-url win over the environment, also over a service's own endpoint."""
    monkeypatch.setitem(os.environ, "AWS_ENDPOINT_URL_SQS", "http://localhost:1")
    start_session(Namespace(region="eu-north-1", endpoint_url="http://localhost:2"))
    sqs = clients_of()("sqs")
    assert (sqs.meta.region_name, sqs.meta.endpoint_url) == ("eu-north-1", "http://localhost:2")


@pytest.mark.usefixtures("default_session")
def test_a_profile_wins_over_the_environments_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--profile names the credentials, as in the AWS CLI, although the environment has others."""
    config = tmp_path / "config"
    config.write_text("[profile orders]\naws_access_key_id = FROMPROFILE\naws_secret_access_key = x\n")
    monkeypatch.setitem(os.environ, "AWS_CONFIG_FILE", str(config))
    start_session(Namespace(profile="orders", region="eu-north-1"))
    signer: Any = clients_of()("sqs")._request_signer
    assert signer._credentials.access_key == "FROMPROFILE"


@pytest.mark.usefixtures("default_session")
def test_an_unknown_profile_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown profile is named, with exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["parked", "list", "t", "--profile", "nobody"])
    assert stopped.value.code == 2
    assert "nobody" in capsys.readouterr().err


def test_a_client_is_created_once() -> None:
    """A service's client is the same each time, and makes five attempts."""
    clients = clients_of(boto3.Session(region_name="eu-north-1"))
    assert clients("sqs") is clients("sqs")
    assert clients("sqs").meta.config.retries["total_max_attempts"] == 5
