"""The Custom Event Bus of a template: the kit's, because the engine's CloudFormation does not know the service."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from dynamo_outbox import Clock
from dynamo_outbox.testing import (
    CustomBusServer,
    Exchange,
    FakeCustomBus,
    FaultProxy,
    MiniStack,
    Phase,
    lambda_target,
)

from .failure import hop
from .stack import Stack, resources_in

OnPhase: TypeAlias = Callable[[Phase, Exchange], None]
ENDPOINT = "AWS_ENDPOINT_URL_EVENTBRIDGEV2"
"""The variable by which boto3 finds the bus: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html"""
_RESOURCE = re.compile(r"^  \w+:\n    Type: AWS::EventsV2::.*\n(?:    .*\n)+", re.MULTILINE)


def without_bus(template: str, arn: str) -> str:
    """Return a template's text without the bus and its subscribers, and with the ARN in place of references to it."""
    return _RESOURCE.sub("", template).replace("!Ref 'Bus'", f"'{arn}'")


@hop("deploy")
def serve_bus(
    engine: MiniStack, stack: Stack, template: Path, bus: FakeCustomBus, running: ExitStack, on_phase: OnPhase | None
) -> None:
    """Serve the bus to the deployed functions, with the template's subscribers, until `running` is closed.

    `on_phase` can give each of their requests a fault, as of `FaultProxy`.
    """
    server = running.enter_context(CustomBusServer(bus))
    proxy = running.enter_context(FaultProxy(server.url, on_phase=on_phase))
    functions = engine.client("lambda")
    for name in stack.functions().values():
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": {**variables, ENDPOINT: proxy.endpoint_url}}
        )
    for each in resources_in(template).values():
        if each["Type"] == "AWS::EventsV2::Subscriber":
            subscriber = each["Properties"]
            target = subscriber["InvokeConfiguration"]["TargetArn"].removesuffix(".Arn")
            (pattern,) = (json.loads(each["Pattern"]) for each in subscriber["FilterConfiguration"]["Filters"])
            bus.subscribe(
                lambda_target(functions, stack.physical_ids[target]),
                pattern=pattern,
                fifo=subscriber["Type"] == "FIFO",
                max_batch=subscriber["BatchConfiguration"]["MaxBatchSize"],
                retries=subscriber["RetryPolicy"]["MaxRetryAttempts"],
            )


def new_bus(engine: MiniStack) -> FakeCustomBus:
    """Return a bus in the engine's Region."""
    return FakeCustomBus(clock=Clock(), region=engine.region)
