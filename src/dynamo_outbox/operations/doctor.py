"""Examine what is deployed: run all checks on a deployment, and simulate the rights of its roles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .checks import CHECKS, settings_not_stated
from .definition import Consumer, Infrastructure, Right
from .deployment import Unknown, bus_name, function_name, last_part
from .topology import consumers, existing, on_failure, queue_readers, readers, targets, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .checks import Severity
    from .clients import Clients
    from .deployment import Deployment
    from .topology import Reader

__all__ = ["Finding", "examine", "needed_rights", "with_rights"]


@dataclass(frozen=True)
class Finding:
    """Problem of a deployment.

    Attributes:
        severity: ``error`` or ``warning``, as in `dynamo_outbox.operations.checks.Check`.
        check: The check's name.
        subject: The resource.
        problem: What is wrong with it.
        cost: What the problem may cost.
        fix: What to do.
    """

    severity: Severity
    check: str
    subject: str
    problem: str
    cost: str
    fix: str


def examine(deployment: Deployment) -> tuple[list[Finding], list[Unknown]]:
    """Return what is wrong with a deployment, errors first, and what can't be known. Calls nothing.

    Arguments:
        deployment: What `dynamo_outbox.operations.deployment.read` returned.
    """
    findings, unknown = [], [*deployment.unknown, *settings_not_stated(deployment)]
    for check in CHECKS:
        try:
            for found in sorted(check.find(deployment), key=str):  # the same order each time
                if isinstance(found, Unknown):
                    unknown.append(found)
                else:
                    findings.append(Finding(check.severity, check.name, *found, check.cost, check.fix))
        except Exception as error:  # at a response that is not as documented; the other checks go on
            unknown.append(
                Unknown(f"check {check.name}", "responses as documented", f"{type(error).__name__}: {error}")
            )
    return sorted(dict.fromkeys(findings), key=lambda each: each.severity), [*dict.fromkeys(unknown)]


def with_rights(deployment: Deployment, clients: Clients) -> Deployment:
    """Return the deployment with the simulated rights of its roles.

    IAM's simulation knows the roles' policies and boundaries, and not the policies of queues and buckets.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    results, unknown = [], [*deployment.unknown]
    for role, right in dict.fromkeys(needed_rights(deployment)):
        request: Any = {"PolicySourceArn": role, "ActionNames": [*right.actions], "ResourceArns": [right.on]}
        try:
            pages = clients("iam").get_paginator("simulate_principal_policy").paginate(**request)
            results += [{**each, "Role": role} for page in pages for each in page.get("EvaluationResults", ())]
        except Exception as error:  # of IAM, or of an engine without it
            unknown.append(Unknown(f"role {last_part(role)}", "iam:SimulatePrincipalPolicy", f"{error}"))
    return replace(deployment, rights=tuple(results), unknown=tuple(unknown))


def needed_rights(d: Deployment) -> Iterator[tuple[str, Right]]:
    """Yield what the template would allow each role, with the ARN of the role and of the resource.

    Rights on what a deployment does not tell, for example on the consumers' own tables, are left out.
    """
    read_streams = {each.function: each for each in readers(d) if each.function}
    scheduled = {
        function_name(each["Arn"]) for _, rule, each, _ in targets(d, schedules=True) if "EventPattern" not in rule
    }
    read_queues = {each.function: each.source for each in queue_readers(d)}
    called, queued = Consumer("Called", dedup="none"), Consumer("Queued", delivery="queue", dedup="none")
    like = {each.name: each.rights for each in Infrastructure("relay", consumers=(called, queued)).functions()}
    for pipe in readers(d):
        if not pipe.function:
            places = {"Bus.Arn": pipe.described.get("Target", ""), "RelayDeadLetters.Arn": pipe.destination}
            rights = Infrastructure("pipe").reader_rights()
            yield from _of_role(pipe.described.get("RoleArn"), rights, places | _stream_places(pipe))
    for name, function in existing(d.functions).items():
        variables = variables_of(function)
        bus, table = (
            (d.buses.get(bus_name(variables.get("EVENT_BUS", ""))) or {}).get("Arn", ""),
            (d.tables.get(variables.get("PARKING_TABLE", "")) or {}).get("TableArn", ""),
        )
        places, kind = {"Bus.Arn": bus, "ParkingTable.Arn": table}, ""
        if reader := read_streams.get(name):
            kind, places = "OutboxRelay", places | _stream_places(reader)
        elif name in scheduled:
            kind = "Redrive"
        elif name in read_queues:
            kind, places = "Queued", {"QueuedQueue.Arn": read_queues[name]}
        elif name in consumers(d):
            kind, places = "Called", {"ConsumerDeadLetters.Arn": on_failure(function.get("EventInvokeConfig") or {})}
        yield from _of_role(function.get("Role"), like.get(kind, ()), places)


def _stream_places(reader: Reader) -> dict[str, str]:
    table, destination = reader.source.partition("/stream/")[0], reader.destination
    is_bucket = ":s3:" in destination
    return {
        "EventsTable.StreamArn": reader.source,
        "EventsTable.Arn/stream/*": f"{table}/stream/*",
        "RelayFailures.Arn": destination if is_bucket else "",
        "RelayFailures.Arn/*": f"{destination}/*" if is_bucket else "",
    }


def _of_role(role: str | None, rights: Iterable[Right], places: Mapping[str, str]) -> Iterator[tuple[str, Right]]:
    return ((role, replace(each, on=places[each.on])) for each in rights if role and places.get(each.on))
