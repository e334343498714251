"""The checks of ``dynamo-outbox doctor``: pure functions from a `Deployment` to what is wrong with it.

To add a check, write a function that yields each subject with its problem, or an `Unknown`, and decorate it with its
severity, what the problem may cost, and the fix. The table in docs/operations/doctor.md is generated from these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeAlias

from ..aws.buses import is_custom_bus
from ..errors import InvalidPatternError, OutboxError
from ..events.bus_event import parse_event
from ..events.event import Event
from ..events.outbox_item import encode_event
from ..options import TableKeys
from ..pipes.definition import RESERVED_VARIABLES, PipeDefinition, render
from ..pipes.patterns import matches
from ..writing.outbox import SHORTEST_TTL
from .definition import NUMBERS, Alarm, Consumer, Infrastructure
from .deployment import Deployment, Unknown, bus_name, function_name, last_part
from .topology import (
    SETTINGS,
    allows,
    consumers,
    dead_letters,
    existing,
    kind_of,
    on_failure,
    queue_of,
    queue_readers,
    readers,
    rules,
    setting,
    tables,
    targets,
    variables_of,
)

__all__ = ["CHECKS", "Check", "Severity", "settings_not_stated"]

Severity = Literal["error", "warning"]
Results: TypeAlias = Iterator[tuple[str, str] | Unknown]

STREAM_SECONDS = 24 * 3600
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html"""
RULE_RETRIES = timedelta(hours=24)
"""A rule's default: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html"""


class Check(NamedTuple):
    """A check.

    Attributes:
        name: Its name in reports.
        severity: ``error``: events are lost, late or handled twice, now or at the next failure. ``warning``: a failure
            goes unnoticed, or is harder to repair.
        cost: What the problem may cost.
        fix: What to do.
        find: Yields each subject with its problem.
    """

    name: str
    severity: Severity
    cost: str
    fix: str
    find: Callable[[Deployment], Results]


CHECKS: list[Check] = []
"""All checks, in the order of the report."""


def _check(
    severity: Severity, cost: str, fix: str
) -> Callable[[Callable[[Deployment], Results]], Callable[[Deployment], Results]]:
    def add(find: Callable[[Deployment], Results]) -> Callable[[Deployment], Results]:
        CHECKS.append(Check(find.__name__.replace("_", "-"), severity, cost, fix, find))
        return find

    return add


def _span(time: timedelta) -> str:
    """Return a duration as its largest whole unit: 12 hours."""
    for unit in ("days", "hours", "minutes"):
        count, rest = divmod(time, timedelta(**{unit: 1}))
        if count and not rest:
            return f"{count} {unit if count > 1 else unit[:-1]}"
    return f"{time.total_seconds():.0f} seconds"


error, warning = partial(_check, "error"), partial(_check, "warning")


@error("Nothing is known of the deployment.", "Check names, Region, account and permissions.")
def nothing_examined(d: Deployment) -> Results:
    groups = (d.tables, d.functions, d.pipes, d.buses, d.queues)
    if not any(each is None or each for group in groups for each in group.values()):
        yield "the deployment", "no table, function, pipe, bus or queue could be read"


@error("What it should do is not done.", "Deploy it, or correct what names it.")
def missing(d: Deployment) -> Results:
    groups = (d.tables, d.functions, d.mappings, d.pipes, d.rules, d.queues)
    for kind, group in zip(("table", "function", "mapping", "pipe", "rule", "queue"), groups, strict=True):
        yield from ((f"{kind} {name}", "does not exist") for name, each in group.items() if each is None)


@error(
    "Nothing is published. A Classic bus that is missing answers 200 and drops the event.",
    "Create the bus, or correct its name.",
)
def bus_missing(d: Deployment) -> Results:
    yield from ((f"bus {name}", "does not exist") for name, each in d.buses.items() if each is None)


# --- tables ----------------------------------------------------------------------------------------------------------


@error("Nothing is published.", "Enable the stream with NEW_IMAGE, and create its reader again.")
def stream_off(d: Deployment) -> Results:
    for name, table in tables(d, "events", "entities"):
        if not (table.get("StreamSpecification") or {}).get("StreamEnabled"):
            yield f"table {name}", "its stream is off"


@error("Records lack the item: nothing is published.", "Use NEW_IMAGE or, in CDC mode, NEW_AND_OLD_IMAGES.")
def stream_without_images(d: Deployment) -> Results:
    for name, table in tables(d, "events", "entities"):
        stream = table.get("StreamSpecification") or {}
        if stream.get("StreamEnabled") and stream.get("StreamViewType") in ("KEYS_ONLY", "OLD_IMAGE"):
            yield f"table {name}", f"its stream has {stream['StreamViewType']}"


@error("Writes and parking fail.", "Create the table with a partition key and a sort key of type S.")
def wrong_keys(d: Deployment) -> Results:
    for name, table in tables(d, "events", "parking"):
        types = {each["AttributeName"]: each["AttributeType"] for each in table.get("AttributeDefinitions", ())}
        found = [f"{each['KeyType']} {types.get(each['AttributeName'])}" for each in table.get("KeySchema", ())]
        if found and sorted(found) != ["HASH S", "RANGE S"]:
            yield f"table {name}", f"its keys are {', '.join(found)}"


@warning("The table keeps growing.", "Enable TTL on the attribute in TableKeys, by default expiresAt.")
def ttl_off(d: Deployment) -> Results:
    for name, table in tables(d, "events", "dedup"):
        if (table.get("TimeToLiveDescription") or {}).get("TimeToLiveStatus") in ("DISABLED", "DISABLING"):
            yield f"table {name}", "TTL is off"


@warning("The table keeps growing.", "Enable TTL on expiresAt, or pass TableKeys(ttl_attribute=).")
def ttl_on_another_attribute(d: Deployment) -> Results:
    expected = TableKeys().ttl_attribute
    for name, table in tables(d, "events", "dedup"):
        ttl = table.get("TimeToLiveDescription") or {}
        if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and ttl.get("AttributeName") != expected:
            yield f"table {name}", f"TTL is on {ttl.get('AttributeName')!r}; the default is {expected!r}"


@error("TTL deletes events that are not published yet.", "Raise TransactionalOutbox(ttl=).")
def ttl_too_short(d: Deployment) -> Results:
    ttl, said = setting(d, "event_ttl")
    for name, _ in tables(d, "events"):
        if ttl < SHORTEST_TTL:
            yield (
                f"table {name}",
                f"{said} is {_span(ttl)}; the stream's 24 hours and a margin are {_span(SHORTEST_TTL)}",
            )


@warning("A mistake that deletes events can't be undone.", "Enable point-in-time recovery.")
def recovery_off(d: Deployment) -> Results:
    for name, table in tables(d, "events", "entities", "parking"):
        recovery = table.get("PointInTimeRecoveryDescription") or {}
        if recovery.get("PointInTimeRecoveryStatus") == "DISABLED":
            yield f"table {name}", "point-in-time recovery is off"


@error("DynamoDB refuses every transaction.", "Use a global table with eventual consistency.")
def strong_consistency(d: Deployment) -> Results:
    for name, table in tables(d, "events", "entities"):
        if table.get("MultiRegionConsistency") == "STRONG":
            yield f"table {name}", "is a global table with strong consistency"


@error("Each Region publishes every event.", "Keep the reader in one Region.")
def two_relays(d: Deployment) -> Results:
    for name, regions in d.replicas.items():
        others = [region for region, found in regions.items() if found]
        if others and any(readers(d, name)):
            yield f"table {name}", f"is read here and in {', '.join(others)}"


@error("Reads are throttled and events are late.", "Remove a reader: a shard bears two, a global table's one.")
def too_many_readers(d: Deployment) -> Results:
    for name, table in tables(d, "events", "entities"):
        found = [each.name for each in readers(d, name)]
        if len(found) > (1 if table.get("Replicas") else 2):
            yield f"table {name}", f"at least {len(found)} readers: {', '.join(found)}"


@error("Nothing is published.", "Create a mapping or a pipe on the stream.")
def no_reader(d: Deployment) -> Results:
    listings = ("lambda:ListEventSourceMappings", "pipes:ListPipes")
    for name, table in tables(d, "events"):
        if (table.get("StreamSpecification") or {}).get("StreamEnabled") and not any(readers(d, name)):
            if refused := [each.needed for each in d.unknown if each.subject == name and each.needed in listings]:
                yield Unknown(f"table {name}", " and ".join(refused), "whether a mapping or a pipe reads its stream")
            else:
                yield f"table {name}", "no mapping and no pipe reads its stream"


@error("Nothing is published: a new stream has a new ARN.", "Create the reader again on LatestStreamArn.")
def reads_an_old_stream(d: Deployment) -> Results:
    for each in readers(d):
        latest = (d.tables.get(each.table) or {}).get("LatestStreamArn")
        if latest and latest != each.source:
            yield each.name, f"reads {each.source}; the table's stream is {latest}"


# --- readers of streams ----------------------------------------------------------------------------------------------


@error("Nothing is published, and after 24 hours the records are gone.", "Start it; the reason says why it stopped.")
def reader_stopped(d: Deployment) -> Results:
    for each in (*readers(d), *queue_readers(d)):
        state = each.described.get("State") or each.described.get("CurrentState") or ""
        if re.fullmatch("Disabl.*|Deleting|DELET.*|STOP.*|.*_FAILED", state):
            reason = each.described.get("StateTransitionReason") or each.described.get("StateReason")
            yield each.name, f"is {state}: {reason or 'no reason given'}"


@warning("Events written while the reader is created are missed.", "Create it with TRIM_HORIZON.")
def starts_at_latest(d: Deployment) -> Results:
    yield from (
        (each.name, "starts at LATEST") for each in readers(d) if each.parameters.get("StartingPosition") == "LATEST"
    )


@error("What the function reports as failed counts as handled.", "FunctionResponseTypes: [ReportBatchItemFailures]")
def failures_not_reported(d: Deployment) -> Results:
    for each in (*readers(d), *queue_readers(d)):
        if each.function and "ReportBatchItemFailures" not in (each.parameters.get("FunctionResponseTypes") or ()):
            yield each.name, "lacks ReportBatchItemFailures"


@error("An event can overtake an earlier one of its aggregate.", "ParallelizationFactor: 1")
def order_broken(d: Deployment) -> Results:
    for each in readers(d):
        if (factor := each.parameters.get("ParallelizationFactor") or 1) > NUMBERS.parallelization_factor:
            yield each.name, f"ParallelizationFactor is {factor}"


@error("Records are given up before they are parked.", "MaximumRetryAttempts: -1, and an age above park_after.")
def gives_up_early(d: Deployment) -> Results:
    for each in readers(d):
        park_after, said = setting(d, "park_after", each.function)
        attempts, age = (each.parameters.get(f"Maximum{name}") for name in ("RetryAttempts", "RecordAgeInSeconds"))
        if attempts is not None and attempts != NUMBERS.retry_attempts:
            yield each.name, f"gives a record up after {attempts} retries"
        if each.function and age is not None and 0 <= age <= park_after.total_seconds():
            yield each.name, f"gives a record up after {_span(timedelta(seconds=age))}; {said} is {_span(park_after)}"


@error("After 24 hours, what still fails is gone without a trace.", "MaximumRecordAgeInSeconds: 82800")
def never_gives_up(d: Deployment) -> Results:
    for each in readers(d):
        age = each.parameters.get("MaximumRecordAgeInSeconds")
        if age is not None and not 0 <= age < STREAM_SECONDS:
            yield each.name, f"MaximumRecordAgeInSeconds is {age}; the stream keeps a record for {STREAM_SECONDS}"


@error("Records that are given up are lost.", "Name a destination: a bucket for a mapping, a queue for a pipe.")
def no_failure_destination(d: Deployment) -> Results:
    yield from ((each.name, "has none") for each in readers(d) if each.parameters and not each.destination)


@warning("What is given up can be read for 24 hours only.", "Use an S3 bucket as the failure destination.")
def destination_keeps_pointers(d: Deployment) -> Results:
    for each in readers(d):
        if each.function and re.match("arn:[^:]*:(sqs|sns):", each.destination):
            yield each.name, f"its destination {each.destination} gets pointers, not records"


@error("The events that it drops are never published.", "Remove the filter, or use that of `dynamo-outbox pipe`.")
def filter_drops_events(d: Deployment) -> Results:
    for each in readers(d):
        if each.described.get("FilterCriteriaError"):
            yield Unknown(each.name, "kms:Decrypt on the filter's key", f"{each.described['FilterCriteriaError']}")
        elif each.filters and kind_of(d, each.table) == "events":
            try:
                if not any(matches(json.loads(pattern), _record(d, each.table)) for pattern in each.filters):
                    yield each.name, f"drops an outbox item: {' or '.join(each.filters)}"
            except (InvalidPatternError, ValueError, TypeError) as problem:
                yield Unknown(each.name, "a filter that can be evaluated", f"{problem}")


def _record(d: Deployment, table: str) -> dict[str, Any]:
    """Return the stream record of the sample event's item in a table."""
    schema = {each["KeyType"]: each["AttributeName"] for each in (d.tables.get(table) or {}).get("KeySchema", ())}
    item = encode_event(_SAMPLE, expires_at=0, keys=TableKeys(schema.get("HASH", "pk"), schema.get("RANGE", "sk")))
    change = {"Keys": {name: item[name] for name in schema.values()}, "NewImage": item, "StreamViewType": "NEW_IMAGE"}
    return {"eventName": "INSERT", "eventSource": "aws:dynamodb", "eventVersion": "1.1", "dynamodb": change}


_NAME = "dynamo-outbox.doctor"
_SAMPLE = Event(_NAME, {"text": 'a "quoted" \\'}, source=_NAME, id=_NAME, time=datetime(2026, 1, 1, tzinfo=UTC))


@warning("No alarm can tell that the relay has stopped.", "MetricsConfig: {Metrics: [EventCount]}")
def no_event_count(d: Deployment) -> Results:
    for each in readers(d):
        if each.function and "EventCount" not in (each.parameters.get("MetricsConfig") or {}).get("Metrics", ()):
            yield each.name, "does not send its EventCount metrics"


@error("parse_event can't read the pipe's events.", "Deploy the pipe that `dynamo-outbox pipe` prints.")
def pipe_changes_events(d: Deployment) -> Results:
    for each in readers(d):
        if ":event-bus/" in each.described.get("Target", "") and kind_of(d, each.table) == "events":
            source, target = (each.described.get(f"{name}Parameters") for name in ("Source", "Target"))
            if not (source and target):
                yield Unknown(each.name, "pipes:DescribePipe", "the service does not return the pipe's parameters")
                continue
            try:
                definition = replace(PipeDefinition.from_parameters(source, target), patterns=())
                if not all(_read_back(definition, _record(d, each.table), escapes) for escapes in (True, False)):
                    yield each.name, "its events are not those that were written"
            except InvalidPatternError as problem:
                yield Unknown(each.name, "a pipe that can be evaluated", f"{problem}")
            except OutboxError as problem:
                yield each.name, f"its events can't be read: {problem}"


def _read_back(pipe: PipeDefinition, record: Mapping[str, Any], escapes: bool) -> bool:
    entry = render(record, pipe, dict.fromkeys(RESERVED_VARIABLES, ""), escapes=escapes) or {}
    event = {"source": entry["Source"], "detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])}
    return parse_event(event) == _SAMPLE


# --- functions -------------------------------------------------------------------------------------------------------


@error("The function never runs.", "Remove its reserved concurrency, or raise it.")
def no_concurrency(d: Deployment) -> Results:
    for name, each in existing(d.functions).items():
        if each.get("ReservedConcurrentExecutions") == 0:
            yield f"function {name}", "its reserved concurrency is 0"


@warning("Lambda ends it before it has parked what it can't publish.", f"Timeout: {NUMBERS.function_timeout} or more")
def timeout_too_short(d: Deployment) -> Results:
    for name in {each.function for each in readers(d)}:
        timeout = (d.functions.get(name) or {}).get("Timeout", NUMBERS.function_timeout)
        if timeout < NUMBERS.function_timeout:
            yield f"function {name}", f"its timeout is {timeout} seconds"


@error("After three attempts, the event is lost.", "Name the function's failure destination, or its dead-letter queue.")
def consumer_drops_failures(d: Deployment) -> Results:
    for name, each in consumers(d).items():
        kept = on_failure(each.get("EventInvokeConfig") or {}) or (each.get("DeadLetterConfig") or {}).get("TargetArn")
        if "EventInvokeConfig" in each and not kept:
            yield f"function {name}", "a rule calls it, and it has no failure destination"


@error("A second call runs while the first one still does.", "Raise the store's lease, or lower the timeout.")
def lease_too_short(d: Deployment) -> Results:
    for name in {*consumers(d), *(each.function for each in queue_readers(d))}:
        timeout, (lease, said) = (d.functions.get(name) or {}).get("Timeout", 0), setting(d, "lease", name)
        if timeout > lease.total_seconds():
            yield f"function {name}", f"its timeout is {_span(timedelta(seconds=timeout))}; {said} is {_span(lease)}"


@error("A late delivery is handled again.", "Raise the store's ttl, or lower the queues' retention.")
def dedup_record_expires(d: Deployment) -> Results:
    ttl, said = setting(d, "dedup_ttl")
    kept = [int(queue_of(d, each.source).get("MessageRetentionPeriod", 0)) for each in queue_readers(d)]
    last = RULE_RETRIES + timedelta(seconds=max(kept, default=0))
    for name, _ in tables(d, "dedup"):
        if ttl < last:
            yield f"table {name}", f"{said} is {_span(ttl)}; the last delivery can come after {_span(last)}"


@warning("A replay from the bus repeats effects.", "Raise the store's ttl, or lower the bus's retention.")
def bus_outlives_dedup(d: Deployment) -> Results:
    ttl, said = setting(d, "dedup_ttl")
    for arn, bus in existing(d.buses).items():
        kept = timedelta(days=(bus.get("StorageConfiguration") or {}).get("RetentionPeriodInDays", 0))
        if kept > ttl:
            yield f"bus {arn}", f"it keeps events for {_span(kept)}; {said} is {_span(ttl)}"


# --- buses, rules and queues -----------------------------------------------------------------------------------------


@error("Events don't reach its targets.", "Enable the rule.")
def rule_disabled(d: Deployment) -> Results:
    yield from ((name, "is disabled") for name, rule in rules(d, schedules=True) if rule.get("State") == "DISABLED")


@error("Events that match are dropped.", "Give the rule a target.")
def rule_without_target(d: Deployment) -> Results:
    yield from ((name, "has no target") for name, rule in rules(d, schedules=True) if rule.get("Targets") == [])


@error("No rule gets the events.", "Publish to the bus of the rules.")
def bus_without_rules(d: Deployment) -> Results:
    with_rules = {rule.get("EventBusName", "default") for _, rule in rules(d)}
    named = [variables_of(each).get("EVENT_BUS") for each in existing(d.functions).values()]
    named += [each.described.get("Target") for each in readers(d) if ":event-bus/" in each.described.get("Target", "")]
    for name in {bus_name(each) for each in named if each and not is_custom_bus(each)} - with_rules - {"default"}:
        if d.buses.get(name) and with_rules:
            yield f"bus {name}", f"has no rule; the rules are on {', '.join(sorted(with_rules))}"


@warning("What can't be delivered for 24 hours is dropped.", "Give the target a DeadLetterConfig.")
def rule_drops_failures(d: Deployment) -> Results:
    yield from (
        (name, f"its target {each.get('Arn')} has no dead-letter queue")
        for name, _, each, dead in targets(d)
        if not dead
    )


@error("EventBridge can't call the function.", "Allow events.amazonaws.com lambda:InvokeFunction for the rule's ARN.")
def function_refuses_eventbridge(d: Deployment) -> Results:
    for name, rule, each, _ in targets(d, schedules=True):
        policy = (
            (d.functions.get(function_name(each["Arn"])) or {}).get("Policy") if ":lambda:" in each["Arn"] else None
        )
        if policy is not None and not each.get("RoleArn") and not allows(policy, "lambda:InvokeFunction", rule["Arn"]):
            yield name, f"the policy of {each['Arn']} does not allow it"


@error("EventBridge can't send to the queue.", "Allow events.amazonaws.com sqs:SendMessage for the rule's ARN.")
def queue_refuses_eventbridge(d: Deployment) -> Results:
    for name, rule, each, dead in targets(d):
        for arn in {each["Arn"], dead}:
            queue = queue_of(d, arn)
            if queue and not allows(queue.get("Policy") or {}, "sqs:SendMessage", rule["Arn"]):
                yield name, f"the policy of queue {last_part(arn)} does not allow it"
            if key := queue.get("KmsMasterKeyId"):
                yield Unknown(f"queue {last_part(arn)}", "the key's policy", f"whether EventBridge may use {key}")


@warning(
    "Dead letters expire before an operator sees them.", f"MessageRetentionPeriod: {NUMBERS.dead_letter_retention}"
)
def dead_letters_forgotten(d: Deployment) -> Results:
    for name in dead_letters(d):
        kept = int((d.queues.get(name) or {}).get("MessageRetentionPeriod", NUMBERS.dead_letter_retention))
        if kept < NUMBERS.dead_letter_retention:
            yield f"queue {name}", f"keeps dead letters for {_span(timedelta(seconds=kept))}"


@error("A message that always fails is lost when it expires.", "Give the queue a RedrivePolicy.")
def queue_without_dead_letters(d: Deployment) -> Results:
    for arn in {each.source for each in queue_readers(d)}:
        if (queue := queue_of(d, arn)) and not queue.get("RedrivePolicy"):
            yield f"queue {last_part(arn)}", "has no dead-letter queue"


@warning("A failure that passes makes a dead letter.", f"maxReceiveCount: {NUMBERS.max_receive_count} or more")
def few_receives(d: Deployment) -> Results:
    for arn in {each.source for each in queue_readers(d)}:
        receives = int((queue_of(d, arn).get("RedrivePolicy") or {}).get("maxReceiveCount", NUMBERS.max_receive_count))
        if receives < NUMBERS.max_receive_count:
            yield f"queue {last_part(arn)}", f"maxReceiveCount is {receives}"


@error("A message comes again during its first call.", f"VisibilityTimeout: {NUMBERS.visibility_factor} times Timeout")
def visibility_too_short(d: Deployment) -> Results:
    return _visible_within(d, 0, 1)


@warning("A throttled message becomes a dead letter.", f"VisibilityTimeout: {NUMBERS.visibility_factor} times Timeout")
def visibility_short(d: Deployment) -> Results:
    return _visible_within(d, 1, NUMBERS.visibility_factor)


def _visible_within(d: Deployment, low: int, high: int) -> Results:
    for each in queue_readers(d):
        timeout = (d.functions.get(each.function) or {}).get("Timeout")
        hidden = int(queue_of(d, each.source).get("VisibilityTimeout", -1))
        if timeout and hidden >= 0 and low * timeout <= hidden < high * timeout:
            problem = f"hides a message for {hidden} seconds; {each.function} runs for up to {timeout}"
            yield f"queue {last_part(each.source)}", problem


# --- alarms and rights -----------------------------------------------------------------------------------------------


@warning("The failure goes unnoticed.", "Add the alarm that `dynamo-outbox template` prints.")
def alarm_missing(d: Deployment) -> Results:
    wanted: dict[str, list[str]] = {}
    for of, alarm, found in _alarms(d):
        if not found:
            wanted.setdefault(of, []).append(alarm.metric)
    yield from ((of, f"no alarm on {', '.join(metrics)}") for of, metrics in wanted.items())


@warning("The failure goes unnoticed.", "Give the alarm an action, and enable its actions.")
def alarm_silent(d: Deployment) -> Results:
    rung = " ".join(each["AlarmRule"] for each in d.alarms or () if each.get("AlarmActions") and "AlarmRule" in each)
    watching = {each["AlarmName"]: each for _, _, found in _alarms(d) for each in found}
    for name, each in watching.items():
        if not (each.get("ActionsEnabled", True) and each.get("AlarmActions")) and name not in rung:
            yield f"alarm {name}", "has no action"


@warning("A stopped reader sends no metric: no alarm fires.", "TreatMissingData: breaching")
def alarm_ignores_silence(d: Deployment) -> Results:
    for _, alarm, found in _alarms(d):
        for each in found if alarm.statistic == "SampleCount" else ():
            if each.get("TreatMissingData") != "breaching":
                yield f"alarm {each['AlarmName']}", f"missing data are {each.get('TreatMissingData', 'missing')}"


@cache
def _template_alarms() -> tuple[Alarm, ...]:
    called, queued = Consumer("Called"), Consumer("Queued", delivery="queue")
    found = [Infrastructure(mode, consumers=(called, queued)).alarms() for mode in ("pipe", "relay")]
    return tuple(dict.fromkeys((*found[0], *found[1])))


def _alarms(d: Deployment) -> Iterator[tuple[str, Alarm, list[Mapping[str, Any]]]]:
    """Yield each alarm that the template would have, with those on its metric; nothing if the alarms are unknown."""
    for of, name, dimensions in _watched(d) if d.alarms is not None else ():
        for alarm in _template_alarms():
            if alarm.of == name and alarm.dimension in dimensions:
                wanted = {alarm.dimension: dimensions[alarm.dimension]}
                if dimensions.get("EventBusName", "default") != "default":
                    wanted = dimensions
                yield of, alarm, [each for each in d.alarms or () if _is_on(each, alarm, wanted)]


def _watched(d: Deployment) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield what needs alarms: its name for reports, its like in the template, its dimensions."""
    for each in readers(d):
        function, uuid = each.function.partition(":")[0], each.described.get("UUID", "")
        if function:
            yield f"function {function}", "OutboxRelay", {"EventSourceMappingUUID": uuid, "FunctionName": function}
        else:
            yield each.name, "EventsPipe", {"PipeName": each.name.removeprefix("pipe ")}
    for name in consumers(d):
        yield f"function {name}", "Called", {"FunctionName": name.partition(":")[0]}
    for name, rule in rules(d):
        yield name, "CalledRule", {"EventBusName": rule.get("EventBusName", "default"), "RuleName": rule["Name"]}
    for name in {each.function for each in queue_readers(d)}:
        yield f"function {name}", "Queued", {"FunctionName": name.partition(":")[0]}
    for queue in {last_part(each.source) for each in queue_readers(d)}:
        yield f"queue {queue}", "QueuedQueue", {"QueueName": queue}
    for queue in dead_letters(d):
        yield f"queue {queue}", "ConsumerDeadLetters", {"QueueName": queue}


def _is_on(found: Mapping[str, Any], wanted: Alarm, dimensions: Mapping[str, str]) -> bool:
    metrics = [found, *((each.get("MetricStat") or {}).get("Metric") or {} for each in found.get("Metrics") or ())]
    return any(
        (each.get("Namespace"), each.get("MetricName")) == (wanted.namespace, wanted.metric)
        and {pair["Name"]: pair["Value"] for pair in each.get("Dimensions") or ()} == dimensions
        for each in metrics
    )


@error("The call fails, and its work is not done.", "Allow the action in the role.")
def right_missing(d: Deployment) -> Results:
    for each in d.rights:
        if each.get("EvalDecision", "allowed") != "allowed":
            what = f"{each['EvalActionName']} on {each.get('EvalResourceName', '*')}"
            yield f"role {last_part(each['Role'])}", f"{what} is {each['EvalDecision']}"


def settings_not_stated(d: Deployment) -> Iterator[Unknown]:
    """Yield the settings that only the code has, and that nothing states."""
    events, dedup = ([name for name, _ in tables(d, kind)] for kind in ("events", "dedup"))
    parks = sorted({each.function for each in readers(d) if each.function})
    for name, subjects in (("park_after", parks), ("event_ttl", events), ("dedup_ttl", dedup), ("lease", dedup)):
        default, said = setting(d, name)
        if subjects and "default" in said:
            needed = f"--{name.replace('_', '-')}, or {SETTINGS[name].variable} in a function's environment"
            yield Unknown(", ".join(subjects), needed, f"{name} is in code; its default, {_span(default)}, is assumed")
