"""What all commands share: arguments, AWS's session, output, confirmation, and the texts of errors."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from functools import cache, wraps
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ..operations.clients import Clients, clients_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "UsageError",
    "add_command",
    "aws",
    "confirm",
    "explained",
    "print_line",
    "print_rows",
    "refusing",
    "start_session",
    "whole_number",
]

FAILED = 1
INTERRUPTED = 130
"""The shell's exit status for a command that Ctrl-C interrupted."""
WIDTH = 100
ACTIONS = {"Invoke": "InvokeFunction", "ListObjectsV2": "ListBucket"}
"""IAM's names of actions that differ from the operation's."""


class UsageError(Exception):
    """The command's arguments are invalid."""


def add_command(
    commands: Any,
    name: str,
    purpose: str,
    description: str,
    example: str,
    run: Callable[[argparse.Namespace], int],
    *,
    calls_aws: bool = True,
) -> argparse.ArgumentParser:
    """Add a command, with its line in --help, its description and an example; return its parser.

    Arguments:
        commands: What `ArgumentParser.add_subparsers` returned.
        name: The command's name.
        purpose: What it does, for the list of commands.
        description: What it reads, prints and changes.
        example: A command line.
        run: The function that runs the command; its result is the exit status.
        calls_aws: Whether the command has the AWS CLI's options --region, --profile and --endpoint-url.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=fill(description, WIDTH),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if calls_aws:
        group = parser.add_argument_group("AWS", "by default as the AWS CLI: environment variables, then the profile")
        group.add_argument("--region", help="the Region")
        group.add_argument("--profile", help="the profile in AWS's configuration files")
        group.add_argument("--endpoint-url", metavar="URL", help="the endpoint of all services, for a local engine")
    parser.set_defaults(run=run)
    return parser


def refusing(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return a command's function, whose ValueError is about the arguments: a table without a sort key, a Region."""

    @wraps(run)
    def checked(known: argparse.Namespace) -> int:
        try:
            return run(known)
        except ValueError as error:
            raise UsageError(str(error)) from error

    return checked


def whole_number(low: int, text: str) -> int:
    """Return the whole number of an argument's text; refuse one below `low`."""
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {low}, not {text!r}")
    return int(text)


def start_session(known: argparse.Namespace) -> None:
    """Make the options --region, --profile and --endpoint-url hold for all clients of this process."""
    region, profile, endpoint = (getattr(known, name, None) for name in ("region", "profile", "endpoint_url"))
    if endpoint:
        import botocore

        if tuple(map(int, botocore.__version__.split(".")[:2])) < (1, 31):
            raise UsageError(f"--endpoint-url needs botocore 1.31 or newer; installed is {botocore.__version__}")
        for name in [each for each in os.environ if each.startswith("AWS_ENDPOINT_URL_")]:
            del os.environ[name]  # the option holds for all services
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    if region or profile:
        import boto3
        from botocore.exceptions import ProfileNotFound

        try:
            boto3.setup_default_session(region_name=region, profile_name=profile)
        except ProfileNotFound as error:
            raise UsageError(f"--profile: {error}") from None


@cache
def aws() -> Clients:
    """Return the process's clients."""
    return clients_of()


def print_line(**line: object) -> None:
    """Print a JSON line to standard output."""
    print(json.dumps(line, ensure_ascii=False, default=str), flush=True)


def print_rows(rows: Iterable[Mapping[str, object]], *, as_json: bool = False) -> None:
    """Print rows with the same columns: a table in a terminal, otherwise a JSON line for each row.

    The table is Rich's if it is installed (the extra ``cli``), and aligned text otherwise.
    """
    if as_json or not sys.stdout.isatty():
        for row in rows:
            print_line(**row)
        return
    filled = list(rows)
    columns = list(filled[0]) if filled else []
    cells = [[_cell(row[name]) for name in columns] for row in filled]
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        _print_aligned(columns, cells)
        return
    table = Table(*columns)
    for each in cells:
        table.add_row(*map(Text, each))  # texts, because brackets in a cell are no markup
    Console().print(table)


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text)  # a name from AWS can't move the cursor


def _print_aligned(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    lines = [columns, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on standard error whether to go on; without a terminal the answer has to be given by ``--yes``."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} Add --yes: there is no terminal to answer in")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def explained(error: Exception) -> str | None:
    """Return the text for an error of botocore's, with what to do; None for an error of something else."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
    )

    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return f"{error}. Name a profile by --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, NoRegionError):
        return f"{error} Name it by --region or AWS_DEFAULT_REGION"
    if isinstance(error, EndpointConnectionError) and "streams-ddb" in str(error):
        return f"{error} A closed network may need AWS_ACCOUNT_ID_ENDPOINT_MODE=disabled"
    if isinstance(error, BotoCoreError):
        return f"{type(error).__name__}: {error}"
    if not isinstance(error, ClientError):
        return None
    code, text = error.response.get("Error", {}).get("Code", ""), f"{error}"
    if "AccessDenied" in code or code in ("UnauthorizedOperation", "AuthorizationError"):
        action = ACTIONS.get(error.operation_name, error.operation_name)
        return f"{text}. The credentials lack the permission for {action}: docs/permissions.md"
    if "NotFound" in code or "NonExistent" in code:
        return f"{text}. Check the name, the Region and the account"
    return text
