"""Each function of the example calls exactly the actions that its role allows; a proxy records the calls."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.testing import RESET, FaultProxy, MiniStack, error_response, partial_failure
from local.demo import Journey, request
from local.http_api import HttpApi
from local.packaging import build_zip
from local.stage import MODES, eventually, standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dynamo_outbox.testing import Exchange, Fault
    from local.stage import Stage

pytestmark = pytest.mark.engine

IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html"""
BY_LAMBDA_ITSELF = {
    # to write a function's output: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
    *("logs:CreateLogStream", "logs:PutLogEvents"),
    # to read the stream: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb.html
    *("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
    # to store records that it stops retrying: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    *("s3:ListBucket", "s3:PutObject"),
    # and events that it stops retrying: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    "sqs:SendMessage",
}
"""Actions in a role that Lambda itself calls with that role; no engine shows these calls."""
IN_DOUBT = (RESET, error_response("ValidationException"))
"""A request with an unknown outcome, and a rejection of its retry."""

Allowed = set[tuple[str, str]]
"""Actions, each with the logical id of its resource."""


class Recorder:
    """Recorder of the requests between one function and the engine."""

    def __init__(self, engine: MiniStack) -> None:
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.proxy = FaultProxy(engine.endpoint_url, script=self._next)

    def _next(self, operation: str, _count: int) -> Fault | None:
        return self.faults[operation].pop(0) if self.faults[operation] else None

    def called(self, logical_ids: Mapping[str, str]) -> Allowed:
        """Return the actions that the function's requests need."""
        return {(action, logical_ids[name]) for each in self.proxy.exchanges for action, name in needed(each)}


def needed(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Yield the actions that a request needs, each with the physical name of its resource."""
    match exchange.operation:
        case "TransactWriteItems":
            for action in exchange.request["TransactItems"]:
                ((kind, parameters),) = action.items()
                yield f"dynamodb:{IN_TRANSACTIONS[kind]}", parameters["TableName"]
        case "BatchGetItem":
            yield from (("dynamodb:BatchGetItem", table) for table in exchange.request["RequestItems"])
        case "PutEvents":
            yield from (("events:PutEvents", entry["EventBusName"]) for entry in exchange.request["Entries"])
        case operation:
            yield f"dynamodb:{operation}", exchange.request["TableName"]


def allowed(stage: Stage, role: str) -> Allowed:
    """Return the actions that a deployed role allows."""
    found = set()
    for policy in stage.stack.resources[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in as_list(statement["Action"]):
                found |= {(action, logical_id(resource)) for resource in as_list(statement["Resource"])}
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def logical_id(resource: Any) -> str:
    return str(resource["Fn::GetAtt"][0] if "Fn::GetAtt" in resource else resource["Fn::Sub"].split(".")[0].strip("${"))


def lambdas_own(stage: Stage, name: str) -> Allowed:
    """Return the actions that Lambda itself calls with a function's role."""
    own = {("logs:CreateLogStream", f"{name}Log"), ("logs:PutLogEvents", f"{name}Log")}
    if f"{name}EventInvokeConfig" in stage.stack.resources:
        own.add(("sqs:SendMessage", "ConsumerDeadLetters"))
    if name == stage.mode.carrier:
        own |= {("s3:ListBucket", "RelayFailures"), ("s3:PutObject", "RelayFailures")}
        reading = (
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
        )
        own |= {(action, stage.mode.source_table) for action in reading}
    return own


def what_fails(stage: Stage, recorders: Mapping[str, Recorder]) -> None:
    """Exercise what the demo leaves out: reads, uncertain commits, handlers that raise, parked and redriven events."""
    book = {"name": "Domain-Driven Design", "authors": ["Eric Evans"], "year": 2003}
    url = f"{stage.url}/book"
    assert request("POST", url, json.dumps(book).encode())[0] == 201
    assert request("GET", url, b"")[0] == request("GET", f"{url}/Domain-Driven%20Design", b"")[0] == 200
    if stage.mode.source_table == "EventsTable":
        for name, method, body in (("AddBook", "POST", {**book, "name": "Lost"}), ("RemoveBook", "DELETE", book)):
            recorders[name].faults["TransactWriteItems"] += IN_DOUBT
            assert request(method, url, json.dumps(body).encode())[0] == 500
            assert recorders[name].proxy.exchanges[-1].operation == "PutItem", "the function wrote no void marker"
    event = next(event for event in stage.bus_events() if event["detail-type"] == "BookAdded")
    recorders["BookAdded"].faults["TransactWriteItems"] += IN_DOUBT
    stage.invoke("BookAdded", {**event, "detail": renamed(event["detail"], "unheard")})
    assert recorders["BookAdded"].faults["TransactWriteItems"] == []
    removed = {**renamed(event["detail"], "unreadable"), "data": "{}"}
    assert "errorType" in stage.invoke("BookRemoved", {**event, "detail-type": "BookRemoved", "detail": removed})
    if stage.mode.carrier is not None:
        park_and_redrive(stage, recorders[stage.mode.carrier])


def renamed(detail: dict[str, Any], event_id: str) -> dict[str, Any]:
    return {**detail, "metadata": {**detail["metadata"], "id": event_id}}


def park_and_redrive(stage: Stage, carrier: Recorder) -> None:
    """Check that a rejected event is parked, that its log line matches the alarm's filter, and that it is redriven."""
    before = len(stage.bus_events())
    carrier.faults["PutEvents"].append(partial_failure({0: "MalformedDetail"}))
    body = {"name": "Release It", "authors": ["Michael Nygard"], "year": 2007}
    assert request("POST", f"{stage.url}/book", json.dumps(body).encode())[0] == 201

    pattern = stage.stack.the_only("AWS::Logs::MetricFilter")["FilterPattern"].strip('"')

    def is_parked() -> bool | None:
        lines = [line for line in stage.printed(str(stage.mode.carrier)) if "Release It" in line]
        return any(pattern in line for line in lines) or None

    eventually("parking", "the refused event's line in the log", is_parked)
    assert stage.invoke("Redrive", {})["sent"] == 1
    eventually("bus", "the parked event", lambda: len(stage.bus_events()) > before or None)


def table_of(calls: Mapping[str, Allowed]) -> str:
    """Return a readable table of the functions and their calls."""
    rows = [(name, action, thing) for name in sorted(calls) for action, thing in sorted(calls[name])]
    return "\n".join(f"{name:<16} {action:<28} {thing}" for name, action, thing in rows)


@pytest.mark.parametrize("name", ["outbox-relay", "cdc"])  # with the pipe: the same without relay and redrive
def test_each_function_may_do_what_it_does_and_nothing_else(name: str, tmp_path: Path) -> None:
    """In the demo and in failures, each function makes every call that its role allows, and no other call."""
    mode = MODES[name]
    with MiniStack() as engine, HttpApi() as api, ExitStack() as proxies:
        stage = standing(engine, mode, build_zip(tmp_path / "books.zip"), api)
        recorders = {name: Recorder(engine) for name in stage.stack.functions()}
        for function, recorder in recorders.items():
            proxies.enter_context(recorder.proxy)
            stage.send_through(function, recorder.proxy)
        Journey(stage, lambda *_: None).run()
        what_fails(stage, recorders)
        logical_ids = {physical: logical for logical, physical in stage.stack.physical_ids.items()}
        calls = {function: recorder.called(logical_ids) for function, recorder in recorders.items()}
    print(f"\n{mode.title}\n{table_of(calls)}")
    for function in recorders:
        role = allowed(stage, f"{function}Role")
        own = {(action, thing) for action, thing in role if action in BY_LAMBDA_ITSELF}
        assert calls[function] == role - own, function
        assert own == lambdas_own(stage, function), function
