"""Commands that call nothing: print the pipe, decode payloads."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..operations.decode import decoded, json_line
from .frame import FAILED, UsageError, add_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["add_commands"]


def add_commands(commands: Any) -> None:
    """Add ``pipe`` and ``decode``."""
    pipe = add_command(
        commands,
        "pipe",
        "print the EventBridge Pipe from an events table's stream to a bus",
        "Prints the pipe as a CloudFormation resource or, with --name, as the input of `aws pipes create-pipe "
        "--cli-input-json`. Each end is an ARN or, in a template, Resource.Attribute (GetAtt) or Resource (Ref).",
        "dynamo-outbox pipe --role PipeRole.Arn --source EventsTable.StreamArn --target Bus.Arn --dead-letter Dead.Arn",
        _pipe,
        calls_aws=False,
    )
    for end, example in PIPE_ENDS.items():
        pipe.add_argument(f"--{end}", required=True, metavar="ARN", help=f"for example {example}")
    pipe.add_argument("--name", help="print the input of create-pipe for a pipe with this name; needs ARNs")

    decode = add_command(
        commands,
        "decode",
        "decode events, stream records and outbox items",
        "Reads a JSON document, or several, one after another: a consumer's event from EventBridge, CloudEvents, "
        "messages of SQS or SNS (Lambda's event, a pipe's array, ReceiveMessage's response, one message, also from a "
        "dead-letter queue), stream records (Lambda's event, GetRecords' response, Kinesis, Firehose, a pipe's array, "
        "one record, a failure destination's object in S3), Lambda's record of an asynchronous call, or an outbox item "
        "as GetItem or an export returns it. Prints a JSON line for each event or record: "
        '{"event": …}, {"change": …} or {"error": …}. Exits with 1 if one of them is an error.',
        "aws s3 cp s3://failures/aws/lambda/… - | dynamo-outbox decode",
        _decode,
        calls_aws=False,
    )
    decode.add_argument("file", nargs="?", default="-", help="the document's path; default: - (standard input)")


PIPE_ENDS = {
    "role": "PipeRole.Arn",
    "source": "EventsTable.StreamArn",
    "target": "Bus.Arn",
    "dead-letter": "PipeDeadLetters.Arn",
}


def _pipe(known: argparse.Namespace) -> int:
    from ..pipes.definition import outbox_pipe

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
