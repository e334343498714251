"""Commands that call nothing: print the pipe, decode payloads, estimate the cost."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError
from ..operations import cost as costs
from ..operations.decode import decoded, decoded_or_error, json_line
from .frame import FAILED, UsageError, add_command, print_rows, whole_number

if TYPE_CHECKING:
    import argparse

__all__ = ["add_commands", "documents_in"]


def add_commands(commands: Any) -> None:
    """Add ``pipe``, ``decode`` and ``cost``."""
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

    cost = add_command(
        commands,
        "cost",
        "estimate what events cost",
        f"Prints a row for each part, in US dollars per million events and per month, from us-east-1's list prices of "
        f"{costs.AS_OF} and the assumptions in docs/what-it-costs.md: no free tier, no fixed costs. Prices of a "
        "Custom Event Bus are third-hand, and its events are kept for up to 24 hours.",
        "dynamo-outbox cost --events-per-month 5000000 --size-kb 2 --relay relay --batch 10 --consumers 2",
        _cost,
        calls_aws=False,
    )
    cost.add_argument("--events-per-month", type=partial(whole_number, 1), required=True, help="of one size")
    cost.add_argument("--size-kb", type=partial(whole_number, 1), default=1, help="of an item; default: %(default)s")
    cost.add_argument("--relay", choices=("relay", "pipe", "cdc"), default="relay", help="default: %(default)s")
    cost.add_argument("--bus", choices=("classic", "custom"), default="classic", help="default: %(default)s")
    cost.add_argument("--batch", type=partial(whole_number, 1), default=10, help="records; default: %(default)s")
    cost.add_argument("--consumers", type=partial(whole_number, 0), default=1, help="for each event; default: 1")
    cost.add_argument("--consumer", choices=("inbox", "idempotent"), default="inbox", help="default: %(default)s")


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


def _cost(known: argparse.Namespace) -> int:
    relay = {"relay": costs.OUTBOX_RELAY, "pipe": costs.PIPE, "cdc": costs.PROCESSOR}[known.relay]
    if known.batch > relay.most:
        raise UsageError(f"--batch {known.batch}: the model of {relay.name} has batches of at most {relay.most}")
    is_custom = known.bus == "custom"
    if is_custom and known.relay == "pipe":
        raise UsageError("--bus custom: a pipe can't send to a Custom Event Bus; use --relay relay or --relay cdc")
    consumer = costs.INBOX if known.consumer == "inbox" else costs.IDEMPOTENT
    parts = costs.parts(relay, known.size_kb, known.batch, consumer, consumers=known.consumers, is_custom_bus=is_custom)
    rows = [*parts.items(), ("total", sum(parts.values()))]
    monthly = known.events_per_month / costs.MILLION
    print_rows({"part": part, "per_million": round(usd, 4), "per_month": round(usd * monthly, 2)} for part, usd in rows)
    return 0


def _decode(known: argparse.Namespace) -> int:
    failed = False
    documents = documents_in(known.file)
    for document in documents:
        for found in decoded(document) if len(documents) == 1 else decoded_or_error(document):
            failed |= isinstance(found, DecodeError)
            print(json_line(found))
    return FAILED if failed else 0


def documents_in(file: str) -> list[Any]:
    """Return the JSON documents of a file, one after another, as an export's lines are; ``-`` is standard input."""
    name = "standard input" if file == "-" else file
    content = getattr(sys.stdin, "buffer", sys.stdin).read() if file == "-" else Path(file).read_bytes()
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
