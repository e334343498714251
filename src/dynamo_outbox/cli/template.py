"""The command that prints an outbox's infrastructure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..operations.definition import Consumer, Infrastructure
from ..operations.template import to_template, to_yaml
from .frame import UsageError, add_command, refusing

if TYPE_CHECKING:
    import argparse

__all__ = ["add_commands"]


def add_commands(commands: Any) -> None:
    """Add ``template``."""
    parser = add_command(
        commands,
        "template",
        "print the infrastructure of an outbox as a SAM or CloudFormation template",
        "Prints the events table, the relay, pipe or change processor, parking, failure bucket and dead letters, the "
        "consumers with their dedup table, the alarms, a dashboard, and one role for each function. Calls nothing.",
        "dynamo-outbox template --mode relay --consumer Billing:OrderPlaced,OrderCancelled",
        _template,
        calls_aws=False,
    )
    parser.add_argument("--mode", choices=("relay", "pipe", "cdc"), default="relay", help="default: relay")
    parser.add_argument(
        "--name", default="", help="prefix of the tables' names, and the bus's name; default: the stack's"
    )
    parser.add_argument("--stream-arn", default="", metavar="ARN", help="the stream of an existing table")
    parser.add_argument("--bus", default="", metavar="NAME", help="name or ARN of an existing bus")
    parser.add_argument(
        "--consumer",
        action="append",
        default=[],
        metavar="NAME[:TYPE,…]",
        help="a consumer's function and its event types; by default it gets all events; repeatable",
    )
    parser.add_argument(
        "--delivery",
        choices=("direct", "queue", "fifo"),
        default="direct",
        help="how events reach the consumers; default: direct",
    )
    parser.add_argument("--handler", default="relay.handler", help="the relay's or processor's; default: relay.handler")
    parser.add_argument("--redrive", default="relay.redrive", help="the function that redrives; default: relay.redrive")
    parser.add_argument(
        "--redrive-rate",
        default="rate(1 hour)",
        metavar="RATE",
        help='its schedule; default: rate(1 hour); "" for none',
    )
    parser.add_argument("--no-parking", action="store_true", help="don't park records that can't be published")
    parser.add_argument("--alarm-topic", default="", metavar="ARN", help="the SNS topic that the alarms notify")
    parser.add_argument("--delete-data", action="store_true", help="delete tables and bucket together with the stack")
    parser.add_argument(
        "--cloudformation", action="store_true", help="CloudFormation instead of SAM: code as a zip in S3"
    )
    parser.add_argument("--format", choices=("yaml", "json"), default="yaml", help="default: yaml")


@refusing
def _template(known: argparse.Namespace) -> int:
    outbox = Infrastructure(
        mode=known.mode,
        name=known.name,
        stream_arn=known.stream_arn,
        bus=known.bus,
        consumers=tuple(_consumer(each, known.delivery) for each in known.consumer),
        handler=known.handler,
        redrive="" if known.no_parking else known.redrive,
        redrive_rate=known.redrive_rate,
    )
    template = to_template(
        outbox, sam=not known.cloudformation, keep=not known.delete_data, alarm_topic=known.alarm_topic
    )
    if known.format == "json":
        print(json.dumps(template, indent=2))
        return 0
    try:
        print(to_yaml(template), end="")
    except ImportError as error:
        raise UsageError(
            f"YAML needs PyYAML: pip install 'dynamo-outbox[cli]', or add --format json ({error})"
        ) from None
    return 0


def _consumer(text: str, delivery: Any) -> Consumer:
    name, _, types = text.partition(":")
    return Consumer(name, f"{name.lower()}.handler", tuple(filter(None, types.split(","))), delivery=delivery)
