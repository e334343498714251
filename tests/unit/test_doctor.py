"""`doctor` finds each planted mistake in what the template deploys, and nothing in the template itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.operations.checks import CHECKS
from dynamo_outbox.operations.definition import Consumer, Infrastructure
from dynamo_outbox.operations.deployment import Names, read
from dynamo_outbox.operations.doctor import Finding, examine, with_rights
from dynamo_outbox.operations.template import to_template

from .deployed import HERE, STACK, Aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.operations.deployment import Unknown

    Plant = Callable[[Aws], Any]

CONSUMERS = (
    Consumer("Direct", event_types=("OrderPlaced",)),
    Consumer("Standard", delivery="queue", dedup="idempotent"),
    Consumer("Fifo", delivery="fifo"),
)
EVENTS, DEDUP, PARKING = f"{STACK}-EventsTable", f"{STACK}-DedupTable", f"{STACK}-ParkingTable"
RELAY, DIRECT, PIPE = f"{STACK}-OutboxRelay", f"{STACK}-Direct", f"{STACK}-EventsPipe"
QUEUE, DEAD = f"{STACK}-StandardQueue", f"{STACK}-ConsumerDeadLetters"
STREAM = f"arn:aws:dynamodb:{HERE}:table/{EVENTS}/stream/2026-11-01T08:00:00.123"


def relay() -> Aws:
    return Aws(to_template(Infrastructure(consumers=CONSUMERS), sam=False))


def piped() -> Aws:
    return Aws(to_template(Infrastructure("pipe", consumers=CONSUMERS), sam=False))


def found_in(aws: Aws, *, roles: bool = False, **stated: timedelta) -> tuple[list[Finding], list[Unknown]]:
    """Return the findings and unknowns of the stack."""
    deployment = replace(read(Names([STACK]), clients=aws), stated=stated)
    return examine(with_rights(deployment, aws) if roles else deployment)


def mapping(aws: Aws, function: str = RELAY) -> dict[str, Any]:
    """Return a function's only mapping."""
    [found] = [each for each in aws.mappings if each["FunctionArn"].endswith(f":{function}")]
    return found


def stream_of(aws: Aws) -> dict[str, Any]:
    """Return the pipe's parameters of the stream."""
    parameters: dict[str, Any] = aws.pipes[PIPE]["SourceParameters"]["DynamoDBStreamParameters"]
    return parameters


def alarm(aws: Aws, name: str) -> dict[str, Any]:
    return next(each for each in aws.alarms if each["AlarmName"] == f"{STACK}-{name}")


def second_reader(aws: Aws, count: int) -> Any:
    for number in range(count):
        other = f"other-{number}"
        aws.functions[other] = {
            **aws.functions[RELAY],
            "FunctionName": other,
            "FunctionArn": f"arn:aws:lambda:{HERE}:function:{other}",
        }
        aws.mappings.append({**mapping(aws), "UUID": other, "FunctionArn": f"arn:aws:lambda:{HERE}:function:{other}"})
        aws.alarms += [
            {
                **each,
                "AlarmName": f"{other}-{each['AlarmName']}",
                "Dimensions": [{"Name": pair["Name"], "Value": other}],
            }
            for each in [*aws.alarms]
            for pair in each.get("Dimensions", ())
            if pair["Value"] in (RELAY, mapping(aws)["UUID"])
        ]


def unread(aws: Aws) -> None:
    aws.mappings.remove(mapping(aws))
    drop_resource(aws, "RelayStream")


def without(name: str) -> Plant:
    return lambda aws: aws.alarms.remove(alarm(aws, name))


def of(part: str, name: str, **fields: Any) -> Plant:
    """Return the planting of fields in a part of the state."""
    return lambda aws: getattr(aws, part)[name].update(fields)


def of_mapping(**fields: Any) -> Plant:
    return lambda aws: mapping(aws).update(fields)


def of_pipe(**fields: Any) -> Plant:
    return lambda aws: stream_of(aws).update(fields)


def on_failure(arn: str) -> dict[str, Any]:
    return {"OnFailure": {"Destination": arn}}


def deny(queue: str) -> str:
    return json.dumps({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": queue}]})


HOUR = timedelta(hours=1)
STREAM_PARAMETERS = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}

PLANTED: dict[str, tuple[str, Plant]] = {
    "the stream is off": ("stream-off", of("tables", EVENTS, StreamSpecification={"StreamEnabled": False})),
    "the stream has no images": ("stream-without-images", of("tables", EVENTS, StreamSpecification=STREAM_PARAMETERS)),
    "the stream was enabled again": ("reads-an-old-stream", of("tables", EVENTS, LatestStreamArn=f"{STREAM}4")),
    "a key is a number": (
        "wrong-keys",
        of(
            "tables",
            EVENTS,
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "N"},
            ],
        ),
    ),
    "TTL is off": ("ttl-off", lambda aws: aws.ttl.update({EVENTS: {"TimeToLiveStatus": "DISABLED"}})),
    "TTL of the dedup table is off": ("ttl-off", lambda aws: aws.ttl.update({DEDUP: {"TimeToLiveStatus": "DISABLED"}})),
    "TTL is on another attribute": (
        "ttl-on-another-attribute",
        lambda aws: aws.ttl[EVENTS].update(AttributeName="ttl"),
    ),
    "recovery is off": ("recovery-off", lambda aws: aws.recovery[EVENTS].update(PointInTimeRecoveryStatus="DISABLED")),
    "a strongly consistent global table": ("strong-consistency", of("tables", EVENTS, MultiRegionConsistency="STRONG")),
    "three readers": ("too-many-readers", lambda aws: second_reader(aws, 2)),
    "two readers of a global table": (
        "too-many-readers",
        lambda aws: [second_reader(aws, 1), aws.tables[EVENTS].update(Replicas=[{"RegionName": "eu-central-1"}])],
    ),
    "no reader": ("no-reader", unread),
    "the mapping is disabled": ("reader-stopped", of_mapping(State="Disabled", StateTransitionReason="User action")),
    "the mapping of a queue is disabled": (
        "reader-stopped",
        lambda aws: mapping(aws, f"{STACK}-Standard").update(State="Disabled"),
    ),
    "it starts at LATEST": ("starts-at-latest", of_mapping(StartingPosition="LATEST")),
    "no ReportBatchItemFailures": ("failures-not-reported", of_mapping(FunctionResponseTypes=[])),
    "no ReportBatchItemFailures of a queue": (
        "failures-not-reported",
        lambda aws: mapping(aws, f"{STACK}-Standard").pop("FunctionResponseTypes"),
    ),
    "parallel batches of a shard": ("order-broken", of_mapping(ParallelizationFactor=10)),
    "few retries": ("gives-up-early", of_mapping(MaximumRetryAttempts=3)),
    "an age below park_after": ("gives-up-early", of_mapping(MaximumRecordAgeInSeconds=3600)),
    "an age below the stated park_after": (
        "gives-up-early",
        lambda aws: aws.functions[RELAY]["Environment"]["Variables"].update(PARK_AFTER_HOURS="23"),
    ),
    "no age": ("never-gives-up", of_mapping(MaximumRecordAgeInSeconds=-1)),
    "no failure destination": ("no-failure-destination", of_mapping(DestinationConfig={"OnFailure": {}})),
    "a destination that keeps pointers": (
        "destination-keeps-pointers",
        of_mapping(DestinationConfig=on_failure(f"arn:aws:sqs:{HERE}:{DEAD}")),
    ),
    "a filter that drops events": (
        "filter-drops-events",
        of_mapping(FilterCriteria={"Filters": [{"Pattern": '{"eventName":["MODIFY"]}'}]}),
    ),
    "no metrics of the mapping": ("no-event-count", of_mapping(MetricsConfig={"Metrics": []})),
    "no table": ("missing", lambda aws: aws.tables.pop(PARKING)),
    "no queue": ("missing", lambda aws: aws.queues.pop(f"{STACK}-FifoDeadLetters.fifo")),
    "no rule": (
        "missing",
        lambda aws: [aws.rules.pop(f"{STACK}-Fifo"), aws.queues[f"{STACK}-FifoQueue.fifo"].update(Policy="{}")],
    ),
    "another bus": (
        "bus-missing",
        lambda aws: aws.functions[RELAY]["Environment"]["Variables"].update(EVENT_BUS="no-such-bus"),
    ),
    "a bus without rules": (
        "bus-without-rules",
        lambda aws: [
            aws.buses.update(quiet={"Name": "quiet", "Arn": f"arn:aws:events:{HERE}:event-bus/quiet"}),
            aws.functions[RELAY]["Environment"]["Variables"].update(EVENT_BUS="quiet"),
        ],
    ),
    "a disabled rule": ("rule-disabled", of("rules", f"{STACK}-Direct", State="DISABLED")),
    "a disabled schedule": ("rule-disabled", of("rules", f"{STACK}-RedriveRule", State="DISABLED")),
    "a target without a dead-letter queue": (
        "rule-drops-failures",
        lambda aws: aws.targets[f"{STACK}-Direct"][0].pop("DeadLetterConfig"),
    ),
    "a function that refuses EventBridge": ("function-refuses-eventbridge", lambda aws: aws.policies.pop(DIRECT)),
    "a queue that refuses EventBridge": ("queue-refuses-eventbridge", of("queues", QUEUE, Policy=deny(QUEUE))),
    "a queue that allows another rule": (
        "queue-refuses-eventbridge",
        lambda aws: aws.queues[QUEUE].update(Policy=aws.queues[QUEUE]["Policy"].replace("/shop-Standard", "/other")),
    ),
    "no failure destination of a consumer": ("consumer-drops-failures", lambda aws: aws.invoke_configs.clear()),
    "a function without concurrency": (
        "no-concurrency",
        lambda aws: aws.concurrency.update({RELAY: {"ReservedConcurrentExecutions": 0}}),
    ),
    "a relay with a short timeout": ("timeout-too-short", of("functions", RELAY, Timeout=3)),
    "dead letters that are forgotten": ("dead-letters-forgotten", of("queues", DEAD, MessageRetentionPeriod="345600")),
    "a queue without dead letters": (
        "queue-without-dead-letters",
        lambda aws: [
            aws.queues[QUEUE].pop("RedrivePolicy"),
            aws.queues.pop(f"{STACK}-StandardDeadLetters"),
            drop_resource(aws, f"{STACK}-StandardDeadLetters"),
        ],
    ),
    "few receives": (
        "few-receives",
        lambda aws: aws.queues[QUEUE].update(RedrivePolicy=aws.queues[QUEUE]["RedrivePolicy"].replace("5}", "1}")),
    ),
    "a short visibility timeout": ("visibility-too-short", of("queues", QUEUE, VisibilityTimeout="20")),
    "a visibility timeout that allows no retries": ("visibility-short", of("queues", QUEUE, VisibilityTimeout="60")),
    "dedup records that expire too early": (
        "dedup-record-expires",
        of("queues", QUEUE, MessageRetentionPeriod="1209600"),
    ),
    "a lease below the timeout": (
        "lease-too-short",
        lambda aws: aws.functions[DIRECT]["Environment"]["Variables"].update(LEASE_SECONDS="10"),
    ),
    "TTL too short": (
        "ttl-too-short",
        lambda aws: aws.functions[RELAY]["Environment"]["Variables"].update(EVENT_TTL_HOURS="1"),
    ),
    "no alarm on a stopped relay": ("alarm-missing", without("OutboxRelayStopped")),
    "no alarm on a rule": ("alarm-missing", without("DirectRuleLostEvents")),
    "no alarm on dead letters": ("alarm-missing", without("ConsumerDeadLettersArrived")),
    "an alarm without an action": ("alarm-silent", lambda aws: alarm(aws, "OutboxRelayStopped").pop("AlarmActions")),
    "an alarm whose actions are off": (
        "alarm-silent",
        lambda aws: alarm(aws, "DirectLate").update(ActionsEnabled=False),
    ),
    "an alarm that ignores silence": (
        "alarm-ignores-silence",
        lambda aws: alarm(aws, "OutboxRelayStopped").update(TreatMissingData="notBreaching"),
    ),
    "a role without a right": ("right-missing", lambda aws: aws.decisions.update({"events:PutEvents": "implicitDeny"})),
}
"""Mistakes in what the template with a relay deploys, each with the check that finds it."""

PLANTED_PIPE: dict[str, tuple[str, Plant]] = {
    "the pipe is stopped": ("reader-stopped", of("pipes", PIPE, CurrentState="STOPPED")),
    "the pipe failed": ("reader-stopped", of("pipes", PIPE, CurrentState="START_FAILED", StateReason="no role")),
    "the pipe starts at LATEST": ("starts-at-latest", of_pipe(StartingPosition="LATEST")),
    "the pipe has no age": ("never-gives-up", of_pipe(MaximumRecordAgeInSeconds=-1)),
    "the pipe retries a few times": ("gives-up-early", of_pipe(MaximumRetryAttempts=3)),
    "the pipe has no dead letters": (
        "no-failure-destination",
        lambda aws: [stream_of(aws).pop("DeadLetterConfig"), drop_resource(aws, f"{STACK}-RelayDeadLetters")],
    ),
    "the pipe's filter drops events": (
        "filter-drops-events",
        lambda aws: aws.pipes[PIPE]["SourceParameters"].update(
            FilterCriteria={"Filters": [{"Pattern": '{"dynamodb":{"NewImage":{"eventType":{"S":["OrderPlaced"]}}}}'}]}
        ),
    ),
    "the pipe has another template": (
        "pipe-changes-events",
        lambda aws: aws.pipes[PIPE]["TargetParameters"].update(InputTemplate="<$.dynamodb>"),
    ),
    "the pipe inserts the data as text": (
        "pipe-changes-events",
        lambda aws: aws.pipes[PIPE]["TargetParameters"].update(
            InputTemplate='{"metadata":{"id":<$.dynamodb.NewImage.eventId.S>},"data":<$.dynamodb.NewImage.eventData.S>}'
        ),
    ),
    "no alarm on the pipe": ("alarm-missing", without("EventsPipeNotRunning")),
}
"""Mistakes in what the template with a pipe deploys."""


def drop_resource(aws: Aws, name: str) -> Any:
    aws.resources[:] = [each for each in aws.resources if not each["PhysicalResourceId"].endswith(name)]


@pytest.mark.parametrize(
    "infrastructure",
    [
        Infrastructure(consumers=CONSUMERS),
        Infrastructure("pipe", consumers=CONSUMERS),
        Infrastructure("cdc", "books", consumers=CONSUMERS),
        Infrastructure(redrive=""),
        Infrastructure(redrive_rate=""),
        Infrastructure("pipe", "orders"),
    ],
    ids=["relay", "pipe", "cdc", "no parking", "no schedule", "names, no consumers"],
)
@pytest.mark.parametrize("partition", ["aws", "aws-cn"])
def test_nothing_is_wrong_with_the_template(infrastructure: Infrastructure, partition: str) -> None:
    """In what the template deploys, doctor finds nothing, whichever partition it is in."""
    findings, unknown = found_in(Aws(to_template(infrastructure, sam=False), partition=partition), roles=True)
    assert findings == []
    assert {each.needed.split(",")[0] for each in unknown} <= {"--park-after", "--event-ttl", "--dedup-ttl", "--lease"}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    """One mistake in a clean deployment with a relay is one kind of finding."""
    name, plant = PLANTED[mistake]
    aws = relay()
    plant(aws)
    findings, _ = found_in(aws, roles=name == "right-missing")
    assert {each.check for each in findings} == {name}


@pytest.mark.parametrize("mistake", PLANTED_PIPE)
def test_a_planted_mistake_of_a_pipe_is_found(mistake: str) -> None:
    """One mistake in a clean deployment with a pipe is one kind of finding."""
    name, plant = PLANTED_PIPE[mistake]
    aws = piped()
    plant(aws)
    findings, _ = found_in(aws, roles=name == "right-missing")
    assert {each.check for each in findings} == {name}


def test_every_check_is_planted() -> None:
    """At least 25 mistakes are planted, and each check finds one of them, or has a test of its own."""
    planted = [name for name, _ in (*PLANTED.values(), *PLANTED_PIPE.values())]
    assert len(planted) >= 25
    own = {"nothing-examined", "two-relays", "rule-without-target", "bus-outlives-dedup"}
    assert {each.name for each in CHECKS} == {*planted, *own}
