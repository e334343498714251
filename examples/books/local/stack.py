"""Deploy a template of the example with the engine's CloudFormation and read the deployed resources back."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dynamo_outbox.testing import MiniStack

from .failure import HopFailedError, hop
from .packaging import Function

A_METRIC = {"Namespace": "AWS/EventBridge/Pipes", "MetricName": "Invocations", "Statistic": "Sum", "Period": "300"}


@dataclass(frozen=True)
class Stack:
    """A deployed stack.

    Attributes:
        name: The stack's name.
        resources: The deployed resources, from the processed template, by logical id.
        physical_ids: Their physical ids, by logical id.
    """

    name: str
    resources: Mapping[str, Mapping[str, Any]]
    physical_ids: Mapping[str, str]

    def functions(self) -> dict[str, str]:
        """Return the functions' physical names by logical id."""
        return {name: self.physical_ids[name] for name in self._of_type("AWS::Lambda::Function")}

    def the_only(self, resource_type: str) -> Mapping[str, Any]:
        """Return the properties of the only resource of a type."""
        (name,) = self._of_type(resource_type)
        properties: Mapping[str, Any] = self.resources[name]["Properties"]
        return properties

    def _of_type(self, resource_type: str) -> list[str]:
        return [name for name, resource in self.resources.items() if resource["Type"] == resource_type]


@hop("deploy")
def deploy(  # what a stack is made of
    engine: MiniStack,
    name: str,
    template: Path,
    parameters: Mapping[str, str],
    package: Path,
    change: Callable[[str], str] = str,
) -> Stack:
    """Deploy a template with the functions' code from the zip.

    The template is changed as ``aws cloudformation package`` does: the code's folder becomes its location in S3. An
    alarm on metric math, which MiniStack refuses, becomes one on a metric: alarms have no effect there. `change` makes
    further changes.

    Raises:
        HopFailedError: The stack was not created; the error contains CloudFormation's reasons.
    """
    s3, formation = engine.client("s3"), engine.client("cloudformation")
    bucket = f"{name}-code"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": engine.region})
    s3.upload_file(str(package), bucket, "books.zip")
    body, replaced = re.subn(r"CodeUri: src/", f"CodeUri: s3://{bucket}/books.zip", change(template.read_text()))
    if not replaced:
        raise HopFailedError("deploy", f"{template.name} has no 'CodeUri: src/' to replace with the package")
    plain = "".join(f"\\1{name}: {value}\n" for name, value in A_METRIC.items())
    body = re.sub(r"( +)Metrics:\n(?=\1- Id: )(?:\1[- ] .*\n)+", plain, body)
    # Above 51,200 bytes, CloudFormation takes a template only from S3, to which the SAM CLI uploads it, too.
    s3.put_object(Bucket=bucket, Key=template.name, Body=body.encode())
    formation.create_stack(
        StackName=name,
        TemplateURL=f"{engine.endpoint_url}/{bucket}/{template.name}",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    status = _settled(formation, name)
    if status["StackStatus"] != "CREATE_COMPLETE":
        events = formation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [each["ResourceStatusReason"] for each in events if each.get("ResourceStatusReason")]
        raise HopFailedError("deploy", f"{template.name}: {status['StackStatus']}: {'; '.join(reasons)}")
    deployed = formation.describe_stack_resources(StackName=name)["StackResources"]
    physical_ids = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in deployed}
    processed = formation.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
    resources = (json.loads(processed) if isinstance(processed, str) else processed)["Resources"]
    return Stack(name, {key: each for key, each in resources.items() if key in physical_ids}, physical_ids)


def _settled(formation: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        stack: dict[str, Any] = formation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        if time.monotonic() > deadline:
            raise HopFailedError("deploy", f"{name} is still {stack['StackStatus']} after a minute")
        time.sleep(0.05)  # ok: polling


def resources_in(template: Path) -> dict[str, dict[str, Any]]:
    """Return the resources of a template that is not deployed, without CloudFormation's tags."""
    document = yaml.load(template.read_text(), _TemplateLoader)  # noqa: S506  # a SafeLoader, with CloudFormation's tags
    resources: dict[str, dict[str, Any]] = document["Resources"]
    return resources


def functions_in(template: Path) -> list[Function]:
    """Return the functions of a template that is not deployed yet."""
    return [
        Function(name, properties["Handler"], tuple(properties.get("Environment", {}).get("Variables", ())))
        for name, resource in resources_in(template).items()
        if resource["Type"] == "AWS::Serverless::Function"
        for properties in [resource["Properties"]]
    ]


class _TemplateLoader(yaml.SafeLoader):
    """YAML loader that ignores CloudFormation's tags: ``!Ref x`` becomes ``x``."""


def _untagged(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_TemplateLoader.add_multi_constructor("!", _untagged)
