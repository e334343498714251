"""A stand-in for AWS's reading calls: it answers as if a template were deployed.

Each part of its state has the form of AWS's response, so a test plants a mistake by changing a field.
"""

# ruff: noqa: N803  # boto3's names

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGION, ACCOUNT, STACK = "eu-central-1", "123456789012", "shop"
HERE = f"{REGION}:{ACCOUNT}"


def refusal(code: str, operation: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Aws:
    """Clients for one account and Region; calling it with a service's name returns its client."""

    def __init__(self, template: Mapping[str, Any], *, region: str = REGION, partition: str = "aws") -> None:
        self.template, self.region, self.partition = template, region, partition
        self.refused: set[str] = set()
        self.called: set[str] = set()
        self.tables: dict[str, Any] = {}
        self.ttl: dict[str, Any] = {}
        self.recovery: dict[str, Any] = {}
        self.functions: dict[str, Any] = {}
        self.concurrency: dict[str, Any] = {}
        self.invoke_configs: dict[str, Any] = {}
        self.policies: dict[str, Any] = defaultdict(lambda: {"Version": "2012-10-17", "Statement": []})
        self.mappings: list[dict[str, Any]] = []
        self.pipes: dict[str, Any] = {}
        self.buses: dict[str, Any] = {"default": {"Name": "default"}}
        self.rules: dict[str, Any] = {}
        self.targets: dict[str, list[dict[str, Any]]] = {}
        self.queues: dict[str, dict[str, str]] = {}
        self.alarms: list[dict[str, Any]] = []
        self.decisions: dict[str, str] = {}
        self.resources: list[dict[str, str]] = []
        self.clients: dict[str, Any] = {}
        order = {"AWS::SQS::QueuePolicy": 1, "AWS::Lambda::Permission": 1}
        for name, each in sorted(template["Resources"].items(), key=lambda item: order.get(item[1]["Type"], 0)):
            self._deploy(name, each["Type"], self._resolved(each["Properties"]))

    def __call__(self, service: str) -> Any:
        return self.clients.setdefault(service, _Client(self, service))

    # --- deployment --------------------------------------------------------------------------------------------------

    def _resolved(self, value: Any) -> Any:
        """Return a value of the template without CloudFormation's functions."""
        if isinstance(value, list):
            return [self._resolved(each) for each in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::GetAtt": str(path)}:
                return self._attribute(*path.split("."))
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: self._substitute(found[1]), text)
            case {"Fn::If": [_, then, _]}:
                return self._resolved(then)
        return {key: self._resolved(each) for key, each in value.items()}

    def _substitute(self, name: str) -> str:
        return self._attribute(*name.split(".")) if "." in name else self._ref(name)

    def _ref(self, name: str) -> str:
        known = {"AWS::StackName": STACK, "AWS::Region": self.region, "AWS::AccountId": ACCOUNT}
        known |= {"AWS::Partition": self.partition, "AlarmTopic": self._arn("sns", "on-call")}
        if name in known:
            return known[name]
        resource = self.template["Resources"].get(name)
        if resource is None:
            return name
        given = [
            key
            for key in ("Name", "TableName", "FunctionName", "QueueName", "AlarmName")
            if key in resource["Properties"]
        ]
        if given and not resource["Type"].startswith("AWS::Lambda::E"):
            return str(self._resolved(resource["Properties"][given[0]]))
        return f"{STACK}-{name}" + (".fifo" if resource["Properties"].get("FifoQueue") else "")

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{ACCOUNT}:{rest}"

    def _attribute(self, name: str, attribute: str) -> str:
        kind, physical = self.template["Resources"][name]["Type"], self._ref(name)
        if attribute in ("QueueName", "Name"):
            return physical
        match kind.removeprefix("AWS::"):
            case "DynamoDB::Table":
                stream = "/stream/2026-11-01T08:00:00.123" if attribute == "StreamArn" else ""
                return self._arn("dynamodb", f"table/{physical}{stream}")
            case "SQS::Queue":
                return self._arn("sqs", physical)
            case "Events::EventBus":
                return self._arn("events", f"event-bus/{physical}")
            case "Events::Rule":
                bus = self._resolved(self.template["Resources"][name]["Properties"].get("EventBusName", ""))
                return self._arn("events", "/".join(filter(None, ["rule", bus, physical])))
            case "Lambda::Function":
                return self._arn("lambda", f"function:{physical}")
            case "IAM::Role":
                return f"arn:{self.partition}:iam::{ACCOUNT}:role/{physical}"
            case "S3::Bucket":
                return f"arn:{self.partition}:s3:::{physical.lower()}"
        return self._arn("other", physical)

    def _deploy(self, name: str, kind: str, properties: dict[str, Any]) -> None:
        physical = self._ref(name)
        match kind:
            case "AWS::DynamoDB::Table":
                self._table(name, physical, properties)
            case "AWS::Lambda::Function":
                self.functions[physical] = {
                    "FunctionName": physical,
                    "FunctionArn": self._attribute(name, "Arn"),
                    "State": "Active",
                    "LastUpdateStatus": "Successful",
                    **{
                        key: properties[key]
                        for key in ("Role", "Timeout", "Environment", "Runtime")
                        if key in properties
                    },
                }
            case "AWS::Lambda::EventInvokeConfig":
                self.invoke_configs[properties["FunctionName"]] = properties
            case "AWS::Lambda::Permission":
                self.policies[properties["FunctionName"]]["Statement"].append(
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": properties["Principal"]},
                        "Action": properties["Action"],
                        "Condition": {"ArnLike": {"AWS:SourceArn": properties["SourceArn"]}},
                    }
                )
            case "AWS::Lambda::EventSourceMapping":
                arn = self._arn("lambda", f"function:{properties['FunctionName']}")
                given = {key: each for key, each in properties.items() if key != "FunctionName"}
                self.mappings.append({"UUID": physical, "State": "Enabled", "FunctionArn": arn, **given})
            case "AWS::Pipes::Pipe":
                running = {"DesiredState": "RUNNING", "CurrentState": "RUNNING"}
                self.pipes[physical] = {"Name": physical, "Arn": self._arn("pipes", physical), **running, **properties}
            case "AWS::Events::EventBus":
                self.buses[physical] = {"Name": physical, "Arn": self._attribute(name, "Arn")}
            case "AWS::Events::Rule":
                self.targets[physical] = properties.pop("Targets")
                pattern = (
                    {"EventPattern": json.dumps(properties.pop("EventPattern"))} if "EventPattern" in properties else {}
                )
                bus = {"EventBusName": properties.pop("EventBusName", "default")}
                arn = self._attribute(name, "Arn")
                self.rules[physical] = {
                    "Name": physical,
                    "State": "ENABLED",
                    "Arn": arn,
                    **bus,
                    **pattern,
                    **properties,
                }
                physical = physical if bus["EventBusName"] == "default" else f"{bus['EventBusName']}|{physical}"
            case "AWS::SQS::Queue":
                texts = {key: each if isinstance(each, str) else json.dumps(each) for key, each in properties.items()}
                defaults = {"VisibilityTimeout": "30", "ApproximateNumberOfMessages": "0"}
                self.queues[physical] = {**defaults, **texts, "QueueArn": self._attribute(name, "Arn")}
                physical = f"https://sqs.{self.region}.amazonaws.com/{ACCOUNT}/{physical}"
            case "AWS::SQS::QueuePolicy":
                for queue in properties["Queues"]:
                    self.queues[queue]["Policy"] = json.dumps(properties["PolicyDocument"])
            case "AWS::CloudWatch::Alarm":
                self.alarms.append({"AlarmName": physical, "ActionsEnabled": True, **properties})
        status = {"ResourceStatus": "CREATE_COMPLETE", "ResourceType": kind}
        self.resources.append({"LogicalResourceId": name, "PhysicalResourceId": physical, **status})

    def _table(self, name: str, physical: str, properties: dict[str, Any]) -> None:
        table = {key: properties[key] for key in ("KeySchema", "AttributeDefinitions")}
        table |= {"TableName": physical, "TableArn": self._attribute(name, "Arn"), "TableStatus": "ACTIVE"}
        if stream := properties.get("StreamSpecification"):
            table["StreamSpecification"] = {"StreamEnabled": True, **stream}
            table["LatestStreamArn"] = self._attribute(name, "StreamArn")
        self.tables[physical] = table
        ttl = properties.get("TimeToLiveSpecification")
        self.ttl[physical] = {"TimeToLiveStatus": "DISABLED"}
        if ttl:
            self.ttl[physical] = {"TimeToLiveStatus": "ENABLED", "AttributeName": ttl["AttributeName"]}
        is_on = properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
        self.recovery[physical] = {"PointInTimeRecoveryStatus": "ENABLED" if is_on else "DISABLED"}

    # --- answers -----------------------------------------------------------------------------------------------------

    def answer(self, service: str, operation: str, **request: Any) -> Any:
        """Return the response to a call, or raise AWS's refusal."""
        prefix = {"eventbridgev2": "events"}.get(service, service)
        action = f"{prefix}:{''.join(word.title() for word in operation.split('_'))}"
        self.called.add(action)
        if action in self.refused or service in self.refused:
            raise refusal("AccessDeniedException", operation, f"not authorized to perform: {action}")
        return getattr(self, f"_{operation}")(**request)

    def _list_stack_resources(self, StackName: str) -> Any:
        if StackName != STACK:
            raise refusal("ValidationError", "ListStackResources", f"Stack with id {StackName} does not exist")
        return {"StackResourceSummaries": self.resources}

    def _get_caller_identity(self) -> Any:
        return {"Account": ACCOUNT}

    def _describe_table(self, TableName: str) -> Any:
        return {"Table": _get(self.tables, TableName, "ResourceNotFoundException")}

    def _describe_time_to_live(self, TableName: str) -> Any:
        return {"TimeToLiveDescription": self.ttl[TableName]}

    def _describe_continuous_backups(self, TableName: str) -> Any:
        recovery = {"PointInTimeRecoveryDescription": self.recovery[TableName]}
        return {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED", **recovery}}

    def _get_function_configuration(self, FunctionName: str, Qualifier: str = "") -> Any:  # noqa: ARG002
        return _get(self.functions, FunctionName, "ResourceNotFoundException")

    def _get_function_concurrency(self, FunctionName: str) -> Any:
        return self.concurrency.get(FunctionName, {"ResponseMetadata": {}})

    def _get_function_event_invoke_config(self, FunctionName: str, Qualifier: str = "") -> Any:  # noqa: ARG002
        return _get(self.invoke_configs, FunctionName, "ResourceNotFoundException")

    def _get_policy(self, FunctionName: str, Qualifier: str = "") -> Any:  # noqa: ARG002
        if FunctionName not in self.policies:
            raise refusal("ResourceNotFoundException", "GetPolicy")
        return {"Policy": json.dumps(self.policies[FunctionName])}

    def _list_event_source_mappings(self, EventSourceArn: str = "", FunctionName: str = "") -> Any:
        key, wanted = ("EventSourceArn", EventSourceArn) if EventSourceArn else ("FunctionArn", FunctionName)
        return {"EventSourceMappings": [each for each in self.mappings if each.get(key) == wanted]}

    def _get_event_source_mapping(self, UUID: str) -> Any:
        return _get({each["UUID"]: each for each in self.mappings}, UUID, "ResourceNotFoundException")

    def _list_pipes(self, SourcePrefix: str) -> Any:
        return {"Pipes": [each for each in self.pipes.values() if each["Source"].startswith(SourcePrefix)]}

    def _describe_pipe(self, Name: str) -> Any:
        return _get(self.pipes, Name, "NotFoundException")

    def _describe_event_bus(self, Name: str = "", EventBusArn: str = "") -> Any:
        return _get(self.buses, Name or EventBusArn, "ResourceNotFoundException")

    def _list_rules(self, EventBusName: str) -> Any:
        return {"Rules": [each for each in self.rules.values() if each["EventBusName"] == EventBusName]}

    def _describe_rule(self, Name: str, EventBusName: str) -> Any:
        found = _get(self.rules, Name, "ResourceNotFoundException")
        if found["EventBusName"] != EventBusName:
            raise refusal("ResourceNotFoundException", "DescribeRule")
        return found

    def _list_targets_by_rule(self, Rule: str, EventBusName: str) -> Any:  # noqa: ARG002
        return {"Targets": self.targets[Rule]}

    def _get_queue_url(self, QueueName: str) -> Any:
        _get(self.queues, QueueName, "AWS.SimpleQueueService.NonExistentQueue")
        return {"QueueUrl": f"https://sqs.{self.region}.amazonaws.com/{ACCOUNT}/{QueueName}"}

    def _get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:  # noqa: ARG002
        return {"Attributes": _get(self.queues, QueueUrl.rpartition("/")[2], "AWS.SimpleQueueService.NonExistentQueue")}

    def _describe_alarms(self, AlarmTypes: list[str]) -> Any:  # noqa: ARG002
        composite = [each for each in self.alarms if "AlarmRule" in each]
        return {"MetricAlarms": [each for each in self.alarms if each not in composite], "CompositeAlarms": composite}

    def _simulate_principal_policy(self, PolicySourceArn: str, ActionNames: list[str], ResourceArns: list[str]) -> Any:
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": self.decisions.get(action) or self._decision(PolicySourceArn, action, resource),
                }
                for action in ActionNames
                for resource in ResourceArns
            ]
        }

    def _decision(self, role: str, action: str, resource: str) -> str:
        """Evaluate the template's role: its statements list actions and resources without wildcards but at the end."""
        for name, each in self.template["Resources"].items():
            if each["Type"] == "AWS::IAM::Role" and self._attribute(name, "Arn") == role:
                for policy in self._resolved(each["Properties"]["Policies"]):
                    for statement in policy["PolicyDocument"]["Statement"]:
                        allowed = statement["Resource"]
                        if action in statement["Action"] and resource in (
                            [allowed] if isinstance(allowed, str) else allowed
                        ):
                            return "allowed"
        return "implicitDeny"


def _get(found: Mapping[str, Any], name: str, code: str) -> Any:
    if name not in found:
        raise refusal(code, "Describe", f"{name} does not exist")
    return found[name]


class _Client:
    def __init__(self, aws: Aws, service: str) -> None:
        self.aws, self.service, self.meta = aws, service, SimpleNamespace(region_name=aws.region)

    def can_paginate(self, operation: str) -> bool:
        return operation.startswith(("list_", "describe_alarms", "simulate_"))

    def get_paginator(self, operation: str) -> _Paginator:
        return _Paginator(partial(self.aws.answer, self.service, operation))

    def __getattr__(self, operation: str) -> Any:
        return partial(self.aws.answer, self.service, operation)


class _Paginator:
    def __init__(self, call: Any) -> None:
        self.call = call

    def paginate(self, **request: Any) -> _Pages:
        return _Pages(self.call(**request))


class _Pages:
    def __init__(self, response: Any) -> None:
        self.response = response

    def __iter__(self) -> Iterator[Any]:
        return iter([self.response])

    def build_full_result(self) -> Any:
        return self.response
