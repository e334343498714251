"""The second stack: a Custom Event Bus, subscribers to queues and to a function, and their dead letters."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from .stack import ALLOW, get_att, outbox_template, role

__all__ = ["ATTEMPTS", "DESCRIBED", "bus_template"]

ATTEMPTS = 3
"""Deliveries of an event that always fails, the retries included."""
DESCRIBED = "DefaultsSubscriber"
"""The subscriber with nothing but what CreateSubscriber requires."""
QUEUES = {"Copies": True, "Envelopes": False, "Calls": True, "Undelivered": True}
"""The queues, and whether each is a FIFO queue."""


def bus_template() -> dict[str, Any]:
    """Return the template. Its logical ids are not in the first stack's."""
    outbox = outbox_template()
    function = deepcopy(outbox["Resources"]["Effects"]["Properties"]) | {"Handler": "handlers.records"}
    function |= {"Role": get_att("RecordsRole"), "LoggingConfig": {"LogGroup": {"Ref": "RecordsLog"}}}
    function |= {"Timeout": 25, "Environment": {"Variables": {"CALLS_QUEUE": {"Ref": "Calls"}}}}
    logs = {**ALLOW, "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": get_att("RecordsLog")}
    sends = {**ALLOW, "Action": "sqs:SendMessage"}
    delivers: list[dict[str, Any]] = [
        {**ALLOW, "Action": "lambda:InvokeFunction", "Resource": get_att("Records")},
        {**sends, "Resource": [get_att(name) for name in ("Copies", "Envelopes", "Undelivered")]},
    ]
    resources: dict[str, Any] = {
        "CustomBus": {"Type": "AWS::EventsV2::EventBus", "Properties": {"Name": {"Ref": "AWS::StackName"}}},
        "RecordsLog": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 1}},
        "RecordsRole": role("lambda.amazonaws.com", [logs, {**sends, "Resource": get_att("Calls")}]),
        "Records": {"Type": "AWS::Lambda::Function", "Properties": function},
        "DeliveryRole": _delivery_role(delivers),
    }
    for name, is_fifo in QUEUES.items():
        properties = {"FifoQueue": True, "ContentBasedDeduplication": True} if is_fifo else {}
        resources[name] = {"Type": "AWS::SQS::Queue", "Properties": properties}
    parameters = {name: each for name, each in outbox["Parameters"].items() if name.startswith("Code")}
    return {"Parameters": parameters, "Resources": resources | _subscribers()}


def _delivery_role(rights: list[dict[str, Any]]) -> dict[str, Any]:
    delivers = role("events.amazonaws.com", rights)
    (trust,) = delivers["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    trust["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    return delivers


def _subscribers() -> dict[str, Any]:
    """Return the subscribers, each for one detail type; the bus takes one change at a time, so each awaits another."""
    fifo, waits = {"Type": "FIFO"}, {"LambdaParameters": {"InvocationType": "REQUEST_RESPONSE"}}
    whole = {"Transformer": {"Type": "WITH_METADATA"}}
    array = {"BatchConfiguration": {"MaxBatchSize": 10, "MaxBatchWindowInSeconds": 5}}
    single = {"BatchConfiguration": {"MaxBatchSize": 1, "MaxBatchWindowInSeconds": 0}}
    ids = {
        "MessageGroupId": "{% $events.SystemMetadata.EventGroupId %}",
        "MessageDeduplicationId": '{% $events.SystemMetadata."aws:EventId" %}',
    }
    made: tuple[tuple[str, str, str, dict[str, Any], dict[str, Any]], ...] = (
        ("Copies", "Copied", "Copies", {"SqsParameters": ids}, fifo | whole | _failing(1)),
        ("Envelopes", "Copied", "Envelopes", {}, {"Type": "UNORDERED"}),
        ("Defaults", "One", "Records", {}, {}),
        ("Reported", "Reported", "Records", waits, fifo | whole | array | _failing(1)),
        ("Unknown", "Unknown", "Records", waits, fifo | whole | array | _failing(1)),
        ("Failing", "Failing", "Records", waits, fifo | whole | single | _failing(ATTEMPTS - 1)),
    )
    found: dict[str, Any] = {}
    for name, detail_type, target, parameters, more in made:
        pattern = json.dumps({"detail-type": [detail_type]})
        properties = {
            "Name": {"Fn::Sub": f"${{AWS::StackName}}-{name}"},
            "EventBusArn": {"Ref": "CustomBus"},
            "FilterConfiguration": {"Filters": [{"Scope": "DATA", "Pattern": pattern}]},
            "InvokeConfiguration": {"TargetArn": get_att(target), "RoleArn": get_att("DeliveryRole"), **parameters},
            **more,
        }
        after = {"DependsOn": [*found][-1]} if found else {}
        found[f"{name}Subscriber"] = {"Type": "AWS::EventsV2::Subscriber", "Properties": properties, **after}
    return found


def _failing(retries: int) -> dict[str, Any]:
    """Return how failed deliveries end: after so many retries, in the queue of dead letters."""
    policy = {"MaxRetryAttempts": retries, "MaxEventAgeInSeconds": 3600, "RetryStrategy": "ALL"}
    return {"RetryPolicy": policy, "OnFailureConfiguration": {"Arn": get_att("Undelivered")}}
