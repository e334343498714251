"""The books service, deployed on the local engine: its operations and its observable state."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dynamo_outbox.pipes import PipeDefinition
from dynamo_outbox.testing import FakeCustomBus, FaultProxy, MiniStack, PassedRecord, PipeRunner, wire_record

from .custom_bus import OnPhase, new_bus, serve_bus, without_bus
from .failure import HopFailedError
from .http_api import HttpApi, Route, routes_of
from .packaging import EXAMPLE
from .stack import Stack, deploy

Found = TypeVar("Found")
PATIENCE = 20.0
"""Seconds that a hop may take, including a function's cold start."""


@dataclass(frozen=True)
class Mode:
    """A way to deploy the example.

    Attributes:
        name: The mode's name on the command line.
        title: The mode's name in the output.
        template: The template's file.
        parameters: The template's parameters.
        source_table: The table whose stream carries the event.
        carrier: The function that reads the stream; None if a pipe does.
        has_custom_bus: Whether the bus is a Custom Event Bus.
    """

    name: str
    title: str
    template: str
    parameters: Mapping[str, str]
    source_table: str
    carrier: str | None
    has_custom_bus: bool = False


MODES = {
    mode.name: mode
    for mode in (
        Mode("outbox-pipe", "outbox mode, pipe", "template.yaml", {"Relay": "pipe"}, "EventsTable", None),
        Mode("outbox-relay", "outbox mode, relay", "template.yaml", {"Relay": "lambda"}, "EventsTable", "OutboxRelay"),
        Mode(
            *("outbox-custom-bus", "outbox mode, relay, custom bus", "template.custom-bus.yaml", {}),
            *("EventsTable", "OutboxRelay", True),
        ),
        Mode("cdc", "CDC mode", "template.cdc.yaml", {}, "BooksTable", "ChangeProcessor"),
    )
}


class Stage:
    """A deployed mode, with its API served and a queue that receives a copy of each event on the bus.

    Attributes:
        mode: The deployed mode.
        stack: The deployed stack.
        url: The API's URL.
        pipe: What runs the deployed pipe; None if a function reads the stream.
        custom_bus: The Custom Event Bus; None if the bus is a Classic one.
    """

    def __init__(  # its parts
        self,
        engine: MiniStack,
        mode: Mode,
        stack: Stack,
        url: str,
        proxy: FaultProxy | None = None,
        custom_bus: FakeCustomBus | None = None,
    ) -> None:
        self.mode = mode
        self.stack = stack
        self.url = url
        self._dynamodb = engine.client("dynamodb")
        self._streams = engine.client("dynamodbstreams")
        self._events = (proxy or engine).client("events")
        self._lambda = engine.client("lambda")
        self._logs = engine.client("logs")
        self._sqs = engine.client("sqs")
        self.custom_bus = custom_bus
        self._tap = self._tap_the_bus() if custom_bus is None else ""
        self._tapped: list[dict[str, Any]] = []
        self.pipe = self._pipe_runner() if mode.carrier is None else None
        if proxy is not None:
            for function in stack.functions():
                self.send_through(function, proxy)

    def routes(self) -> list[Route]:
        """Return the API's routes, from the deployed template."""
        return routes_of(self.stack.the_only("AWS::ApiGatewayV2::Api"))

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke a deployed function, named by its logical id, and return its result."""
        answer = self._lambda.invoke(FunctionName=self.stack.physical_ids[function], Payload=json.dumps(event))
        document = json.loads(answer["Payload"].read() or b"null")
        return document if isinstance(document, dict) else {"body": json.dumps(document)}

    def send_through(self, function: str, proxy: FaultProxy) -> None:
        """Set a proxy as the AWS endpoint of a function, named by its logical id."""
        name = self.stack.physical_ids[function]
        variables = self._lambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL"] = proxy.endpoint_url
        self._lambda.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return all items of a table, named by its logical id, in DynamoDB's typed values."""
        items: list[dict[str, Any]] = self._dynamodb.scan(
            TableName=self.stack.physical_ids[table], ConsistentRead=True
        )["Items"]
        return items

    def stream_records(self) -> list[dict[str, Any]]:
        """Return all records of the stream that carries the events, as Lambda and a pipe receive them."""
        arn = self._stream_arn()
        records = []
        for shard in self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
            iterator = self._streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            records += self._streams.get_records(ShardIterator=iterator)["Records"]
        return [wire_record(record, arn) for record in records]

    def run_pipe(self) -> list[PassedRecord]:
        """Pass new stream records through the pipe and return them; an empty list if a function reads the stream."""
        return [] if self.pipe is None else self.pipe.poll()

    def carry_again(self, record: dict[str, Any]) -> None:
        """Send a stream record through the pipe or the function again, as after a lost response."""
        if self.pipe is not None:
            self.pipe.send(record)
            return
        carrier = str(self.mode.carrier)
        answer = self.invoke(carrier, {"Records": [record]})
        if answer != {"batchItemFailures": []}:
            raise HopFailedError(carrier, f"returned {answer} for a redelivered record")

    def invocations(self, function: str) -> int:
        """Return the number of completed runs of a function, from its log."""
        return sum(line.startswith("REPORT ") for line in self._log(function))

    def remove_outbox_item(self) -> None:
        """Remove the oldest outbox item, as its time to live would: a change in the stream that is not an event."""
        oldest = min(self.items("EventsTable"), key=lambda item: item["eventTime"]["S"])
        key = {name: oldest[name] for name in ("pk", "sk")}
        self._dynamodb.delete_item(TableName=self.stack.physical_ids["EventsTable"], Key=key)

    def write_unreadable_item(self) -> str:
        """Put an outbox item of an unknown format; return its partition key."""
        newest = max(self.items("EventsTable"), key=lambda item: item["eventTime"]["S"])
        key = {"pk": newest["pk"], "sk": {"S": f"{newest['sk']['S']}-later"}}
        self._dynamodb.put_item(
            TableName=self.stack.physical_ids["EventsTable"], Item={**newest, **key, "outboxFormat": {"N": "2"}}
        )
        return str(newest["pk"]["S"])

    def change_book(self, name: str) -> None:
        """Change an attribute of a book directly in the table: a change in the stream that is not an event."""
        self._dynamodb.update_item(
            TableName=self.stack.physical_ids["BooksTable"],
            Key={"name": {"S": name}},
            UpdateExpression="SET #shelf = :shelf",
            ExpressionAttributeNames={"#shelf": "shelf"},
            ExpressionAttributeValues={":shelf": {"N": "7"}},
        )

    def bus_events(self) -> list[dict[str, Any]]:
        """Return all events that the bus has delivered to the queue, in the order of arrival."""
        if self.custom_bus is not None:
            return [event.delivered() for event in self.custom_bus.events]
        while messages := self._sqs.receive_message(QueueUrl=self._tap, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._tapped.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._tap, ReceiptHandle=message["ReceiptHandle"])
        return self._tapped

    def printed(self, function: str) -> list[str]:
        """Return all lines that a function has printed or logged."""
        platform = ("START ", "END ", "REPORT ", "INIT_START ")
        return [line for line in self._log(function) if not line.startswith(platform)]

    def _log(self, function: str) -> list[str]:
        group = self.stack.physical_ids[f"{function}Log"]
        try:
            pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            return [event["message"].rstrip() for page in pages for event in page["events"]]
        except self._logs.exceptions.ResourceNotFoundException:
            return []

    def _stream_arn(self) -> str:
        table = self.stack.physical_ids[self.mode.source_table]
        arn: str = self._dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        return arn

    def _pipe_runner(self) -> PipeRunner:
        pipe = self.stack.the_only("AWS::Pipes::Pipe")
        wired = (pipe["Source"], pipe["Target"])
        expected = ({"Fn::GetAtt": [self.mode.source_table, "StreamArn"]}, {"Fn::GetAtt": ["Bus", "Arn"]})
        if wired != expected:
            raise HopFailedError("pipe", f"the deployed pipe connects {wired[0]} to {wired[1]}, expected {expected}")
        return PipeRunner(
            PipeDefinition.from_parameters(pipe["SourceParameters"], pipe["TargetParameters"]),
            stream_arn=self._stream_arn(),
            bus=self.stack.physical_ids["Bus"],
            streams=self._streams,
            events=self._events,
        )

    def _tap_the_bus(self) -> str:
        """Add a rule that copies every event on the bus to a queue; return the queue's URL."""
        bus = self.stack.physical_ids["Bus"]
        url: str = self._sqs.create_queue(QueueName=f"{self.stack.name}-tap")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        self._events.put_rule(Name="tap", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
        self._events.put_targets(Rule="tap", EventBusName=bus, Targets=[{"Id": "tap", "Arn": attributes["QueueArn"]}])
        return url


def standing(  # a stage's parts
    engine: MiniStack,
    mode: Mode,
    package: Path,
    api: HttpApi,
    proxy: FaultProxy | None = None,
    running: ExitStack | None = None,
    on_phase: OnPhase | None = None,
) -> Stage:
    """Deploy a mode and serve its API.

    Args:
        engine: The engine to deploy to.
        mode: The mode to deploy.
        package: The functions' zip.
        api: The server for the API.
        proxy: A proxy in front of the engine, for the functions and the pipe.
        running: Ends a Custom Event Bus when it is closed; otherwise the bus ends with the process.
        on_phase: Gives requests to a Custom Event Bus their faults.
    """
    template, name = EXAMPLE / mode.template, f"books-{mode.name}"
    if mode.has_custom_bus:
        bus = new_bus(engine)
        stack = deploy(engine, name, template, mode.parameters, package, lambda text: without_bus(text, bus.arn))
        serve_bus(engine, stack, template, bus, running or ExitStack(), on_phase)
        stage = Stage(engine, mode, stack, api.url, proxy, bus)
    else:
        stack = deploy(engine, name, template, mode.parameters, package)
        stage = Stage(engine, mode, stack, api.url, proxy)
    api.serve(stage.routes(), stage.invoke)
    return stage


def eventually(hop: str, what: str, look: Callable[[], Found | None], patience: float = PATIENCE) -> Found:
    """Call `look` until its result is not None, and return the result.

    Raises:
        HopFailedError: `look` returned None for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        if (found := look()) is not None:
            return found
        if time.monotonic() > deadline:
            raise HopFailedError(hop, f"{what} did not appear within {patience:.0f} seconds")
        time.sleep(0.02)  # ok: polling
