"""The stack: the infrastructure that ``dynamo-outbox template`` prints, and probes beside it."""

from __future__ import annotations

import io
import json
import time
import zipfile
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typing_extensions
from botocore.exceptions import ClientError

import dynamo_outbox
from dynamo_outbox.operations.definition import Consumer, Infrastructure, Right
from dynamo_outbox.operations.template import to_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamo_outbox.operations.clients import Clients

__all__ = [
    "ALLOW",
    "PROBE",
    "SOURCE",
    "StackError",
    "bus_stack",
    "create",
    "created",
    "delete",
    "get_att",
    "outbox_template",
    "role",
    "stack_template",
    "upload",
]

SOURCE, PROBE = "VerifyAws.Books", "VerifyAws.Probe"
"""The sources of the counted events, and of a single one for the rule with an input transformer."""
MINUTES = 15
"""Longest wait for CloudFormation."""
ALLOW = {"Effect": "Allow"}


class StackError(Exception):
    """The stack was not created or not deleted."""


def bus_stack(name: str) -> str:
    """Return the name of the stack with the Custom Event Bus: apart, so that the others don't depend on it."""
    return f"{name}-bus"


def outbox_template() -> dict[str, Any]:
    """Return what ``dynamo-outbox template`` prints: relay, parking, a consumer with an inbox."""
    counts = Right(("dynamodb:UpdateItem",), "StateTable.Arn")
    consumer = Consumer("Effects", handler="handlers.effects", sources=(SOURCE,), rights=(counts,))
    outbox = Infrastructure(
        handler="handlers.relay", redrive="handlers.redrive", redrive_rate="", consumers=(consumer,)
    )
    return to_template(outbox, sam=False, keep=False)


def stack_template() -> dict[str, Any]:
    """Return the template of the stack: the outbox, and the probes."""
    template = outbox_template()
    resources = template["Resources"]
    resources["Effects"]["Properties"]["Environment"]["Variables"]["STATE_TABLE"] = {"Ref": "StateTable"}
    resources |= _probes(resources["Effects"]["Properties"])
    return template


def _probes(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**_tables(), **_queues(), **_rules(), **_pipes(), **_failing(function)}


def get_att(name: str, attribute: str = "Arn") -> dict[str, Any]:
    """Return a reference to a resource's attribute."""
    return {"Fn::GetAtt": [name, attribute]}


def _tables() -> dict[str, Any]:
    """Entities and effects in one table, which no relay reads; and items for the pipes."""
    properties = {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    }
    return {name: {"Type": "AWS::DynamoDB::Table", "Properties": properties} for name in ("StateTable", "ProbesTable")}


def _queues() -> dict[str, Any]:
    """Queues for answers and failures; ``Denied`` has no policy, so EventBridge may not send to it."""
    from_rules = {"Tap": "TapRule", "RuleAnswers": "ProbeRule", "RuleDeadLetters": "ProbeRule"}
    others = ("Denied", "PipeAnswers", "PipeDeadLetters", "AsyncFailures", "StreamFailures")
    queues: dict[str, Any] = {name: {"Type": "AWS::SQS::Queue"} for name in (*from_rules, *others)}
    for name, rule in from_rules.items():
        send = {**ALLOW, "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        statement = {**send, "Resource": get_att(name), "Condition": {"ArnEquals": {"aws:SourceArn": get_att(rule)}}}
        properties = {"Queues": [{"Ref": name}], "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
        queues[f"{name}Policy"] = {"Type": "AWS::SQS::QueuePolicy", "Properties": properties}
    return queues


def _rules() -> dict[str, Any]:
    transformer = {
        "InputPathsMap": {"there": "$.detail.there", "absent": "$.detail.absent"},
        "InputTemplate": '{"there": <there>, "absent": <absent>}',
    }
    dead_letters = {"DeadLetterConfig": {"Arn": get_att("RuleDeadLetters")}}
    targets = [
        {"Id": "answers", "Arn": get_att("RuleAnswers"), "InputTransformer": transformer},
        {"Id": "denied", "Arn": get_att("Denied"), "InputTransformer": transformer, **dead_letters},
    ]
    rules = {"TapRule": (SOURCE, [{"Id": "tap", "Arn": get_att("Tap")}]), "ProbeRule": (PROBE, targets)}
    return {
        name: {
            "Type": "AWS::Events::Rule",
            "Properties": {"EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": [source]}, "Targets": to},
        }
        for name, (source, to) in rules.items()
    }


def _pipes() -> dict[str, Any]:
    paths = {name: f"<$.dynamodb.NewImage.{name}.S>" for name in ("pk", "quoted", "absent")}
    template = "{" + ", ".join(f'"{name}": {path}' for name, path in paths.items()) + "}"
    source = get_att("ProbesTable", "StreamArn")
    reading = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
    rights: list[dict[str, Any]] = [
        {**ALLOW, "Action": reading, "Resource": source},
        {**ALLOW, "Action": "sqs:SendMessage", "Resource": [get_att("PipeAnswers"), get_att("PipeDeadLetters")]},
    ]
    once = {"MaximumRetryAttempts": 0, "DeadLetterConfig": {"Arn": get_att("PipeDeadLetters")}}
    pipes: dict[str, Any] = {"ProbePipeRole": role("pipes.amazonaws.com", rights)}
    for name, target in (("AnsweringPipe", "PipeAnswers"), ("FailingPipe", "Denied")):
        stream = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 1, **once}
        properties = {
            "RoleArn": get_att("ProbePipeRole"),
            "Source": source,
            "SourceParameters": {"DynamoDBStreamParameters": stream},
            "Target": get_att(target),
            "TargetParameters": {"InputTemplate": template},
        }
        pipes[name] = {"Type": "AWS::Pipes::Pipe", "Properties": properties}
    return pipes


def _failing(function: Mapping[str, Any]) -> dict[str, Any]:
    """Two functions that fail: one raises, one reports; each for one item of the table's stream."""
    stream = get_att("StateTable", "StreamArn")
    reading = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
    rights: list[dict[str, Any]] = [
        {**ALLOW, "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": get_att("ProbesLog")},
        {**ALLOW, "Action": reading, "Resource": stream},
        {**ALLOW, "Action": ["s3:PutObject", "s3:ListBucket"], "Resource": [get_att("RelayFailures"), _objects()]},
        {**ALLOW, "Action": "sqs:SendMessage", "Resource": [get_att("AsyncFailures"), get_att("StreamFailures")]},
    ]
    found: dict[str, Any] = {
        "ProbesLog": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 1}},
        "ProbesRole": role("lambda.amazonaws.com", rights),
    }
    for name, destination in (("Raises", "RelayFailures"), ("Reports", "StreamFailures")):
        properties = deepcopy(dict(function)) | {"Handler": f"handlers.{name.lower()}", "Role": get_att("ProbesRole")}
        properties |= {"LoggingConfig": {"LogGroup": {"Ref": "ProbesLog"}}, "Environment": {"Variables": {}}}
        found[name] = {"Type": "AWS::Lambda::Function", "Properties": properties}
        pattern = json.dumps({"dynamodb": {"Keys": {"pk": {"S": [name.lower()]}}}})
        mapping = {
            "EventSourceArn": stream,
            "FunctionName": {"Ref": name},
            "StartingPosition": "TRIM_HORIZON",
            "MaximumRetryAttempts": 0,
            "FilterCriteria": {"Filters": [{"Pattern": pattern}]},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "DestinationConfig": {"OnFailure": {"Destination": get_att(destination)}},
        }
        found[f"{name}Stream"] = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping}
    found["RaisesInvokeConfig"] = {
        "Type": "AWS::Lambda::EventInvokeConfig",
        "Properties": {
            "FunctionName": {"Ref": "Raises"},
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": 0,
            "DestinationConfig": {"OnFailure": {"Destination": get_att("AsyncFailures")}},
        },
    }
    return found


def _objects() -> dict[str, str]:
    return {"Fn::Sub": "${RelayFailures.Arn}/*"}


def role(service: str, rights: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a role for a service."""
    trust = {**ALLOW, "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    policy = {"PolicyName": "probes", "PolicyDocument": {"Version": "2012-10-17", "Statement": rights}}
    assume = {"Version": "2012-10-17", "Statement": [trust]}
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": assume, "Policies": [policy]}}


def upload(name: str, clients: Clients) -> None:
    """Create the bucket of the code and the templates, and store the code."""
    s3 = clients("s3")
    region = s3.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **place)
    s3.put_object(Bucket=name, Key="functions.zip", Body=_package())


def create(stack: str, template: Mapping[str, Any], bucket: str, clients: Clients) -> None:
    """Begin to create a stack; `created` waits for it."""
    s3 = clients("s3")
    s3.put_object(Bucket=bucket, Key=f"{stack}.json", Body=json.dumps(template).encode())
    parameters = {"CodeBucket": bucket, "CodeKey": "functions.zip"}
    clients("cloudformation").create_stack(
        StackName=stack,
        TemplateURL=f"{s3.meta.endpoint_url}/{bucket}/{stack}.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
        OnFailure="DO_NOTHING",
    )


def created(name: str, clients: Clients) -> dict[str, str]:
    """Wait until a stack is created; return the physical ids by logical id.

    Raises:
        StackError: The stack was not created; the error has CloudFormation's reasons.
    """
    formation = clients("cloudformation")
    if (status := _settled(formation, name)) != "CREATE_COMPLETE":
        events = formation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"{each['LogicalResourceId']}: {each['ResourceStatusReason']}"
            for each in events
            if "FAILED" in each["ResourceStatus"] and each.get("ResourceStatusReason")
        ]
        raise StackError(f"stack {name}: {status}: {'; '.join(reasons)}")
    return _physical_ids(formation, name)


def _package() -> bytes:
    """Return the functions' zip; boto3 is Lambda's."""
    library, own = Path(dynamo_outbox.__file__).parent, Path(__file__).with_name("handlers.py")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(library.rglob("*.py")):
            package.write(path, path.relative_to(library.parent))
        for path in (own, Path(typing_extensions.__file__)):
            package.write(path, path.name)
    return archive.getvalue()


def _physical_ids(formation: Any, name: str) -> dict[str, str]:
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
    found = [each for page in pages for each in page["StackResourceSummaries"]]
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found if "PhysicalResourceId" in each}


def _settled(formation: Any, name: str, *, is_deleted: bool = False) -> str:
    """Return the stack's status when it is final; empty if the stack is gone.

    A stack that `is_deleted` may still have its former status.
    """
    deadline = time.monotonic() + MINUTES * 60
    while True:
        try:
            status: str = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return ""
        is_final = status.startswith("DELETE_") if is_deleted else True
        if (is_final and not status.endswith("IN_PROGRESS")) or time.monotonic() > deadline:
            return "" if status == "DELETE_COMPLETE" else status
        time.sleep(1)


def delete(name: str, clients: Clients) -> None:
    """Delete the stacks, the contents of the first one's bucket, and the bucket of the code, however far they came.

    Raises:
        StackError: CloudFormation could not delete something.
    """
    formation, s3 = clients("cloudformation"), clients("s3")
    left = [
        f"stack {stack} is not deleted: {status}"
        for stack in (bus_stack(name), name)
        if (status := _delete(stack, formation, s3))
    ]
    if left:
        raise StackError(f"{'; '.join(left)}; run `make verify-aws ARGS='--delete {name}'`")
    try:
        _empty(s3, name)
        s3.delete_bucket(Bucket=name)
    except s3.exceptions.NoSuchBucket:
        pass


def _delete(stack: str, formation: Any, s3: Any) -> str:
    """Delete a stack; return its status, empty if it is gone."""
    status = "unknown"
    for _ in range(3):  # Lambda may store a record in the emptied bucket
        try:
            bucket = _physical_ids(formation, stack).get("RelayFailures")
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return ""
        if bucket is not None:
            with suppress(ClientError):  # CloudFormation then deletes the rest
                _empty(s3, bucket)
        formation.delete_stack(StackName=stack)
        if not (status := _settled(formation, stack, is_deleted=True)):
            break
    return status


def _empty(s3: Any, bucket: str) -> None:
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for each in page.get("Contents", ()):
                s3.delete_object(Bucket=bucket, Key=each["Key"])
    except s3.exceptions.NoSuchBucket:
        pass
