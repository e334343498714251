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

CHOICES = {
    "mode": (("relay", "pipe", "cdc"), "what reads the stream"),
    "delivery": (("direct", "queue", "fifo"), "whether a consumer's rule calls its function or fills its queue"),
    "dedup": (("inbox", "idempotent", "none"), "how consumers recognise duplicates, for their roles"),
    "format": (("yaml", "json"), "the output's"),
}
"""The default is the first one."""
VALUES = {
    "name": ("", "prefix of the tables' names, and the bus's name; default: CloudFormation's names"),
    "stream-arn": ("", "ARN of the stream of an existing table"),
    "bus": ("", "name or ARN of an existing bus"),
    "handler": ("relay.handler", "module and function of the relay or change processor; default: relay.handler"),
    "redrive": ("relay.redrive", "module and function that publishes parked records; default: relay.redrive"),
    "redrive-rate": ("rate(1 hour)", 'when it runs; default: "rate(1 hour)"; "" for no schedule'),
    "alarm-topic": ("", "ARN of the SNS topic that the alarms notify"),
}


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
    for name, (choices, text) in CHOICES.items():
        parser.add_argument(f"--{name}", choices=choices, default=choices[0], help=f"{text}; default: {choices[0]}")
    for name, (default, text) in VALUES.items():
        parser.add_argument(f"--{name}", default=default, metavar="TEXT", help=text)
    what = "a consumer's function and its event types, by default all; repeatable"
    parser.add_argument("--consumer", action="append", default=[], metavar="NAME[:TYPE,…]", help=what)
    custom = "a Custom Event Bus with a subscriber for each consumer: in order, unless --delivery is queue"
    parser.add_argument("--custom-bus", action="store_true", help=custom)
    parser.add_argument("--no-parking", dest="redrive", action="store_const", const="", help="don't park records")
    parser.add_argument("--delete-data", action="store_true", help="delete tables and bucket together with the stack")
    parser.add_argument("--cloudformation", action="store_true", help="CloudFormation, not SAM: code as a zip in S3")


@refusing
def _template(known: argparse.Namespace) -> int:
    names = ("mode", "name", "stream_arn", "bus", "handler", "redrive", "redrive_rate", "custom_bus")
    consumers = []
    for text in known.consumer:
        name, _, types = text.partition(":")
        event_types = tuple(filter(None, types.split(",")))
        how = {"delivery": known.delivery, "dedup": known.dedup}
        consumers.append(Consumer(name, f"{name.lower()}.handler", event_types, **how))
    outbox = Infrastructure(**{name: getattr(known, name) for name in names}, consumers=tuple(consumers))
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
