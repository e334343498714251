"""The command ``dynamo-outbox``: print the pipe, decode payloads, list and redrive parked records.

Exit status: 0 for success; 1 if something failed or can't be read; 2 for invalid arguments; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .errors import DecodeError, OutboxError
from .events.outbox_item import time_text
from .operations.decode import decoded, json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .relaying.parking_table import ParkedHead

__all__ = ["main"]

DESCRIPTION = "Print the EventBridge Pipe, decode payloads, list and redrive parked records. Exits with 1 on a failure."
FAILED = 1
INTERRUPTED = 130
"""The shell's exit status for a command that Ctrl-C interrupted."""


class UsageError(Exception):
    """The command's arguments are invalid."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, by default with the process's arguments; return the exit status."""
    parser = _parser()
    known = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # JSON is UTF-8; half of a surrogate pair becomes JSON's own escape
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        status: int = known.run(known)
        sys.stdout.flush()
    except UsageError as error:
        parser.error(str(error))
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OutboxError, OSError) as error:
        return _fail(error)
    except Exception as error:
        if not _is_of_boto(error):
            raise
        return _fail(error)
    return status


def _fail(error: Exception) -> int:
    print(f"dynamo-outbox: {type(error).__name__}: {error}", file=sys.stderr)
    return FAILED


def _is_of_boto(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dynamo-outbox", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('dynamo-outbox')}")
    commands = parser.add_subparsers(required=True, metavar="command")

    pipe = _command(
        commands,
        "pipe",
        "print the EventBridge Pipe from an events table's stream to a bus",
        "Prints the pipe as a CloudFormation resource or, with --name, as the input of `aws pipes create-pipe "
        "--cli-input-json`. Each end is an ARN or, in a template, Resource.Attribute (GetAtt) or Resource (Ref).",
    )
    for end, example in PIPE_ENDS.items():
        pipe.add_argument(f"--{end}", required=True, metavar="ARN", help=f"for example {example}")
    pipe.add_argument("--name", help="print the input of create-pipe for a pipe with this name; needs ARNs")
    pipe.set_defaults(run=_pipe)

    decode = _command(
        commands,
        "decode",
        "decode events, stream records and outbox items",
        "Reads a JSON document, or several, one after another: a consumer's event from EventBridge, CloudEvents, "
        "messages of SQS or SNS (Lambda's event, a pipe's array, ReceiveMessage's response, one message, also from a "
        "dead-letter queue), stream records (Lambda's event, GetRecords' response, Kinesis, Firehose, a pipe's array, "
        "one record, a failure destination's object in S3), Lambda's record of an asynchronous call, or an outbox item "
        "as GetItem or an export returns it. Prints a JSON line for each event or record: "
        '{"event": …}, {"change": …} or {"error": …}. Exits with 1 if one of them is an error.',
    )
    decode.add_argument("file", nargs="?", default="-", help="the document's path; default: - (standard input)")
    decode.set_defaults(run=_decode)

    parked = _command(
        commands,
        "parked",
        "list the records parked in a table, with the reason",
        "Prints a JSON line for each order key: the number of its parked records, and the first one with its reason.",
    )
    parked.add_argument("table", help="the parking table's name")
    parked.add_argument("--partition-key", default="pk", help="the partition key attribute; default: %(default)s")
    parked.add_argument("--sort-key", default="sk", help="the sort key attribute; default: %(default)s")
    parked.add_argument("--key-prefix", default="", help="the prefix in the table_keys of the processor's ParkingTable")
    parked.set_defaults(run=_parked)

    redrive = _command(
        commands,
        "redrive",
        "publish a processor's parked records again and remove them",
        "Imports the OutboxRelay or ChangeProcessor, with the working folder on the path, and redrives its records. "
        "Prints the number of records sent and a JSON line for each failure. Exits with 1 unless every one was sent.",
    )
    redrive.add_argument("processor", metavar="module:attribute", help="for example books.outbox_relay:relay")
    redrive.add_argument("--limit", type=_positive, help="the maximum number of records to publish")
    redrive.set_defaults(run=_redrive)
    return parser


def _command(commands: Any, name: str, purpose: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=description)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above zero, not {text!r}")
    return int(text)


def _print(**line: object) -> None:
    print(json.dumps(line, ensure_ascii=False, default=str))


PIPE_ENDS = {
    "role": "PipeRole.Arn",
    "source": "EventsTable.StreamArn",
    "target": "Bus.Arn",
    "dead-letter": "PipeDeadLetters.Arn",
}


def _pipe(known: argparse.Namespace) -> int:
    from .pipes.definition import outbox_pipe

    ends = [getattr(known, end.replace("-", "_")) for end in PIPE_ENDS]
    if known.name is None:
        made = outbox_pipe().cloudformation(*(_reference(end) for end in ends))
    elif wrong := [end for end in ends if not end.startswith("arn:")]:
        raise UsageError(f"with --name each end must be an ARN; not an ARN: {', '.join(wrong)}")
    else:
        made = outbox_pipe().create_pipe_request(known.name, *ends)
    print(json.dumps(made, indent=2, ensure_ascii=False))
    return 0


def _reference(end: str) -> object:
    """Return an ARN, or the CloudFormation function that gives it."""
    if end.startswith("arn:"):
        return end
    resource, _, attribute = end.partition(".")
    return {"Fn::GetAtt": [resource, attribute]} if attribute else {"Ref": resource}


def _decode(known: argparse.Namespace) -> int:
    if known.file == "-":
        content = getattr(sys.stdin, "buffer", sys.stdin).read()
    else:
        with open(known.file, "rb") as file:
            content = file.read()
    failed = False
    documents = _documents(content, "standard input" if known.file == "-" else known.file)
    for document in documents:
        for found in decoded(document) if len(documents) == 1 else _decoded_or_error(document):
            failed |= isinstance(found, DecodeError)
            print(json_line(found))
    return FAILED if failed else 0


def _decoded_or_error(document: Any) -> Iterator[Any]:
    """Yield what a document contains, or its error, so that the next document is decoded too."""
    try:
        yield from decoded(document)
    except DecodeError as error:
        yield error


def _documents(content: bytes | str, name: str) -> list[Any]:
    """Return the JSON documents of a file, one after another, as the lines of a table's export are."""
    if isinstance(content, bytes) and content.startswith(b"\x1f\x8b"):
        raise DecodeError("", f"{name} is compressed; unpack it with gunzip -c, into `dynamo-outbox decode -`")
    documents: list[Any] = []
    decode = json.JSONDecoder().raw_decode
    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
        text, start = text.removeprefix("\ufeff").strip(), 0
        while start < len(text) or not documents:
            document, end = decode(text, start)
            documents.append(document)
            start = next(at for at in range(end, len(text) + 1) if not text[at : at + 1].isspace())
    except (ValueError, RecursionError) as error:
        raise DecodeError("", f"{name} is not readable JSON: {error}") from None
    return documents


def _parked(known: argparse.Namespace) -> int:
    from .aws.clients import shared_client
    from .options import TableKeys
    from .relaying.parking_table import ParkingTable

    try:
        parking = ParkingTable(known.table, table_keys=TableKeys(known.partition_key, known.sort_key, known.key_prefix))
        shared_client("dynamodb")
    except ValueError as error:  # also botocore's, for an invalid Region or endpoint
        raise UsageError(str(error)) from None
    readable = True
    for head in parking.heads():
        readable &= not isinstance(head.first, OutboxError)
        _print(order_key=head.order_key, parked=head.parked, **_first(head))
    return 0 if readable else FAILED


def _first(head: ParkedHead) -> dict[str, Any]:
    if head.first is None:
        return {}
    if isinstance(head.first, OutboxError):
        return {"error": str(head.first)}
    first = head.first
    about = {
        "sequence_number": first.sequence_number,
        "event_ids": first.event_ids,
        "code": first.reason.code,
        "message": first.reason.message,
        "path": first.reason.path,
        "parked_at": time_text(first.parked_at),
        "parked_by": first.parked_by,
    }
    return {"first": about}


def _redrive(known: argparse.Namespace) -> int:
    from .relaying.processors import ChangeProcessor, OutboxRelay

    processor = _imported(known.processor)
    if not isinstance(processor, (OutboxRelay, ChangeProcessor)):
        raise UsageError(f"{known.processor} is a {type(processor).__name__}, not an OutboxRelay or a ChangeProcessor")
    parking: Any = processor.parking
    if parking is None:
        raise UsageError(f"{known.processor} has no parking, so there is nothing to redrive")
    result = parking.redrive(processor, limit=known.limit)
    _print(sent=result.sent, failed=len(result.failures), finished=result.finished)
    for failure in result.failures:
        _print(**{name: getattr(failure, name) for name in failure.__slots__})
    return 0 if result.finished and not result.failures else FAILED


def _imported(name: str) -> object:
    """Import the object that ``module:attribute`` names; the working folder comes first on the path."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"{name!r} is not of the form module:attribute")
    sys.path.insert(0, os.getcwd())
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"no module {module_name} found in {os.getcwd()} or on Python's path") from None
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"the module {module_name} has no attribute {attribute}") from None
    return found
