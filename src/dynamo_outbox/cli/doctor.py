"""The command ``doctor``, which examines what is deployed."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .frame import FAILED, UsageError, add_command, aws, print_line, print_rows, refusing, whole_number

if TYPE_CHECKING:
    import argparse

    from ..operations.clients import Clients

__all__ = ["add_commands"]

TABLES = {
    "--table": ("", "a table; its kind is found from its readers, keys and TTL"),
    "--events": ("events", "an events table"),
    "--entities": ("entities", "a table that a ChangeProcessor reads"),
    "--parking": ("parking", "a parking table"),
    "--dedup": ("dedup", "the table of an IdempotencyStore"),
}
OTHERS = {
    "--function": "a relay, a change processor, or a consumer; with an alias as NAME:ALIAS",
    "--pipe": "a pipe",
    "--bus": "an event bus; its rules, their targets and queues are examined too",
    "--queue": "a queue",
}
SETTINGS = {
    "--park-after": ("HOURS", "park_after of the relay or change processor"),
    "--event-ttl": ("HOURS", "ttl of the TransactionalOutbox"),
    "--dedup-ttl": ("DAYS", "ttl of the IdempotencyStore"),
    "--lease": ("SECONDS", "lease of the IdempotencyStore"),
}


def add_commands(commands: Any) -> None:
    """Add ``doctor``."""
    doctor = add_command(
        commands,
        "doctor",
        "examine what is deployed: what is wrong, what it may cost, and the fix",
        "Reads the configuration of a stack's resources, or of the named ones, and of those that they name. Changes "
        "nothing and reads no data. Prints a row for each finding, and on standard error what can't be known. Exits "
        "with 1 if a finding is an error; with --strict also for warnings and for what can't be known.",
        "dynamo-outbox doctor books",
        _doctor,
    )
    doctor.add_argument("stack", nargs="*", help="a CloudFormation stack's name; nested stacks belong to it")
    for option, (_, text) in TABLES.items():
        doctor.add_argument(option, action="append", default=[], metavar="TABLE", help=text)
    for option, text in OTHERS.items():
        doctor.add_argument(option, action="append", default=[], metavar="NAME", help=text)
    code = doctor.add_argument_group("settings that only your code has", "by default the library's defaults")
    for option, (unit, text) in SETTINGS.items():
        code.add_argument(option, metavar=unit, type=partial(whole_number, 1), help=text)
    doctor.add_argument("--check-roles", action="store_true", help="simulate the rights of the roles (IAM)")
    doctor.add_argument("--strict", action="store_true", help="exit with 1 for warnings and unknowns too")
    doctor.add_argument("--json", action="store_true", help="print JSON lines in a terminal too, unknowns among them")


@refusing
def _doctor(known: argparse.Namespace) -> int:
    from ..operations.deployment import Names, read
    from ..operations.doctor import examine, with_rights
    from ..operations.topology import SETTINGS as UNITS
    from ..operations.topology import existing, kind_of

    tables = {name: kind for option, (kind, _) in TABLES.items() for name in getattr(known, option.strip("-"))}
    names = Names(known.stack, tables, known.function, known.pipe, known.bus, known.queue)
    if not any(names):
        raise UsageError("name a stack, or at least one --table, --function, --pipe, --bus or --queue")
    deployment = read(names, clients=aws(), elsewhere=partial(_elsewhere, known.profile))
    stated = {name: getattr(known, name) * unit for name, (_, unit, _) in UNITS.items() if getattr(known, name)}
    deployment = replace(deployment, stated=stated)
    if known.check_roles:
        deployment = with_rights(deployment, aws())
    findings, unknown = examine(deployment)
    kinds = ", ".join(f"{name} ({kind_of(deployment, name) or 'of no kind'})" for name in existing(deployment.tables))
    print(f"dynamo-outbox: examined the tables {kinds or '(none)'}", file=sys.stderr)
    if findings:
        print_rows(map(asdict, findings), as_json=known.json)
    for each in unknown:
        if known.json or not sys.stdout.isatty():
            print_line(severity="unknown", **asdict(each))
        else:
            print(f"not known: {each.subject}: {each.why} (needed: {each.needed})", file=sys.stderr)
    errors = sum(each.severity == "error" for each in findings)
    counts = f"errors: {errors}, warnings: {len(findings) - errors}, not known: {len(unknown)}"
    print(f"dynamo-outbox: {counts}", file=sys.stderr)
    return FAILED if errors or (known.strict and (findings or unknown)) else 0


def _elsewhere(profile: str | None, region: str) -> Clients:
    import boto3

    from ..operations.clients import clients_of

    return clients_of(boto3.Session(region_name=region, profile_name=profile))
