"""Relations between a deployment's resources: tables by kind, readers, consumers, dead letters, settings."""

from __future__ import annotations

import re
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..consuming.idempotency import DEFAULT_LEASE
from ..options import TableKeys
from .definition import NUMBERS
from .deployment import function_name, last_part, table_of_stream
from .replay import DEDUP_TTL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .deployment import Deployment

    Resource: TypeAlias = Mapping[str, Any]

__all__ = [
    "SETTINGS",
    "Reader",
    "allows",
    "consumers",
    "dead_letters",
    "existing",
    "kind_of",
    "on_failure",
    "queue_of",
    "queue_readers",
    "readers",
    "rules",
    "setting",
    "tables",
    "targets",
    "variables_of",
]


def existing(group: Mapping[str, Resource | None]) -> dict[str, Resource]:
    """Return the resources that exist and could be read."""
    return {name: each for name, each in group.items() if each}


# --- tables and their readers ----------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """A mapping or a pipe on a source; `parameters` has the fields that both have, empty if they are unknown."""

    name: str
    source: str
    function: str
    described: Resource
    parameters: Resource
    filters: list[str]

    @property
    def table(self) -> str:
        """The table whose stream it reads; or ``""``."""
        return table_of_stream(self.source)

    @property
    def destination(self) -> str:
        """The ARN that gets what it gives up; or ``""``."""
        return on_failure(self.parameters) or (self.parameters.get("DeadLetterConfig") or {}).get("Arn") or ""


def readers(d: Deployment, table: str = "") -> Iterator[Reader]:
    """Yield the mappings and pipes on streams of tables, or of one table."""
    pipes = []
    for name, each in existing(d.pipes).items():
        source = each.get("SourceParameters") or {}
        parameters = source.get("DynamoDBStreamParameters") or {}
        pipes.append(Reader(f"pipe {name}", each.get("Source", ""), "", each, parameters, _filters(source)))
    return (each for each in (*_mappings(d), *pipes) if each.table and table in ("", each.table))


def queue_readers(d: Deployment) -> Iterator[Reader]:
    """Yield the mappings on queues."""
    return (each for each in _mappings(d) if ":sqs:" in each.source)


def _mappings(d: Deployment) -> Iterator[Reader]:
    for uuid, each in existing(d.mappings).items():
        function = function_name(each.get("FunctionArn", ""))
        yield Reader(
            f"mapping {uuid} of {function}", each.get("EventSourceArn", ""), function, each, each, _filters(each)
        )


def _filters(owner: Resource) -> list[str]:
    return [each.get("Pattern", "") for each in (owner.get("FilterCriteria") or {}).get("Filters") or ()]


def on_failure(owner: Resource) -> str:
    """Return the ARN of a failure destination, or ``""``: ``{"OnFailure": {}}`` is none."""
    return ((owner.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") or ""


def tables(d: Deployment, *kinds: str) -> Iterator[tuple[str, Resource]]:
    """Yield the tables of some kinds."""
    return ((name, each) for name, each in existing(d.tables).items() if kind_of(d, name) in kinds)


def kind_of(d: Deployment, table: str) -> str:
    """Return a table's kind: as stated, or by its readers' filters, stream, keys and TTL; or ``""``."""
    if table in d.kinds:
        return d.kinds[table]
    found, default, reading = d.tables.get(table) or {}, TableKeys(), list(readers(d, table))
    keys = {each["AttributeName"]: each["KeyType"] for each in found.get("KeySchema") or ()}
    has_ttl = (found.get("TimeToLiveDescription") or {}).get("AttributeName") == default.ttl_attribute
    stream = found.get("StreamSpecification") or {}
    if not reading and not stream.get("StreamEnabled"):
        return "dedup" if has_ttl else ""
    has_default_keys = keys == {default.partition_key: "HASH", default.sort_key: "RANGE"}
    is_events = (
        any("outboxFormat" in pattern for each in reading for pattern in each.filters)
        or (has_ttl and "RANGE" in keys.values())
        or (has_default_keys and stream.get("StreamViewType") == "NEW_IMAGE")
    )
    return "events" if is_events else "entities"


# --- rules, consumers and queues -------------------------------------------------------------------------------------


def rules(d: Deployment, *, schedules: bool = False) -> Iterator[tuple[str, Resource]]:
    """Yield the rules with an event pattern, and perhaps those with a schedule, each with its name for reports."""
    for each in existing(d.rules).values():
        if schedules or each.get("EventPattern"):
            yield f"rule {each['Name']}", each


def targets(d: Deployment, *, schedules: bool = False) -> Iterator[tuple[str, Resource, Resource, str]]:
    """Yield each target of a rule: the rule's name for reports, the rule, the target, its dead-letter queue's ARN."""
    for name, rule in rules(d, schedules=schedules):
        for each in rule.get("Targets", ()):
            yield name, rule, each, (each.get("DeadLetterConfig") or {}).get("Arn") or ""


def consumers(d: Deployment) -> dict[str, Resource]:
    """Return the functions that rules call, which Lambda does asynchronously."""
    names = {function_name(each["Arn"]) for _, _, each, _ in targets(d) if ":lambda:" in each["Arn"]}
    return {name: each for name, each in existing(d.functions).items() if name in names}


def queue_of(d: Deployment, arn: str) -> Resource:
    """Return a queue's attributes; empty if it is not a queue, or could not be read."""
    return (d.queues.get(last_part(arn)) if ":sqs:" in arn else None) or {}


def dead_letters(d: Deployment) -> set[str]:
    """Return the names of the queues that take what failed."""
    arns = {each.destination for each in readers(d)} | {arn for *_, arn in targets(d)}
    for each in existing(d.functions).values():
        arns |= {
            on_failure(each.get("EventInvokeConfig") or {}),
            (each.get("DeadLetterConfig") or {}).get("TargetArn", ""),
        }
    for each in existing(d.queues).values():
        arns.add((each.get("RedrivePolicy") or {}).get("deadLetterTargetArn", ""))
    return {last_part(arn) for arn in arns if ":sqs:" in arn}


def allows(policy: Resource, action: str, source: str) -> bool:
    """Return whether a resource's policy lets EventBridge take an action for a rule.

    Conditions on other keys than the source's ARN and account count as met; a statement that denies counts if it has
    no condition.
    """
    statements, effects = policy.get("Statement") or (), set()
    for each in [statements] if isinstance(statements, dict) else statements:
        principal = each.get("Principal")
        who = principal.get("Service") or principal.get("AWS") if isinstance(principal, dict) else principal
        actions = [wanted.lower() for wanted in _listed(each.get("Action"))]
        if {"events.amazonaws.com", "*"}.isdisjoint(_listed(who)):
            continue
        if not any(fnmatchcase(action.lower(), wanted) for wanted in actions):
            continue
        tests = [item for test in (each.get("Condition") or {}).values() for item in test.items()]
        conditions = {key.lower(): _listed(values) for key, values in tests}
        fits = any(fnmatchcase(source, arn) for arn in conditions.get("aws:sourcearn", ["*"]))
        account = conditions.get("aws:sourceaccount")
        if each.get("Effect") == "Deny" and not conditions:
            effects.add("Deny")
        elif each.get("Effect") == "Allow" and fits and (account is None or source.split(":")[4] in account):
            effects.add("Allow")
    return effects == {"Allow"}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [each for each in value or () if isinstance(each, str)]


# --- settings in code ------------------------------------------------------------------------------------------------


class _Setting(NamedTuple):
    variable: str
    unit: timedelta
    default: timedelta


SETTINGS = {
    "park_after": _Setting("PARK_AFTER_HOURS", timedelta(hours=1), timedelta(seconds=NUMBERS.park_after)),
    "event_ttl": _Setting("EVENT_TTL_HOURS", timedelta(hours=1), timedelta(days=7)),
    "dedup_ttl": _Setting("DEDUP_TTL_DAYS", timedelta(days=1), DEDUP_TTL),
    "lease": _Setting("LEASE_SECONDS", timedelta(seconds=1), DEFAULT_LEASE),
}
"""Settings that only the code has: the variable of a function that states it, its unit, and the library's default."""


def variables_of(function: Resource) -> Mapping[str, str]:
    """Return a function's environment variables."""
    return (function.get("Environment") or {}).get("Variables") or {}


def setting(d: Deployment, name: str, function: str = "") -> tuple[timedelta, str]:
    """Return a setting and what to call it, "the default …" if nothing states it.

    Arguments:
        d: The deployment.
        name: A name in `SETTINGS`.
        function: The function whose variable states it. Default: the lowest of all functions.
    """
    variable, unit, default = SETTINGS[name]
    if name in d.stated:
        return d.stated[name], name
    owners = [d.functions.get(function) or {}] if function else existing(d.functions).values()
    texts = [variables_of(each).get(variable, "") for each in owners]
    if stated := [float(text) for text in texts if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text)]:
        return min(stated) * unit, variable
    return default, f"the default {name}"
