"""Renders the definition of an outbox's infrastructure as a SAM or CloudFormation template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..options import TableKeys
from ..pipes import outbox_pipe
from .cost import MEMORY_MB
from .definition import NUMBERS, Right

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .definition import Alarm, Consumer, Function, Infrastructure

__all__ = ["RUNTIME", "to_template", "to_yaml"]

RUNTIME = "python3.13"
"""Supported until June 2029: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html"""
ARCHITECTURE = "arm64"
_STACK = "${AWS::StackName}"
_HERE = "${AWS::Region}:${AWS::AccountId}"
_KEYS = TableKeys()


def to_template(
    outbox: Infrastructure,
    *,
    sam: bool = True,
    keep: bool = True,
    alarm_topic: str = "",
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the template, ready for JSON or YAML.

    Args:
        outbox: The infrastructure.
        sam: Whether functions are SAM's, with their code in the folder ``src/``. If not, they are CloudFormation's,
            with their code in S3: parameters ``CodeBucket`` and ``CodeKey``.
        keep: Whether tables and the failure bucket stay when the stack is deleted, and tables are protected.
        alarm_topic: Default of the parameter ``AlarmTopic``.
        names: Logical ids to use instead of the definition's.

    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
    """
    parameters = {"AlarmTopic": {**_TOPIC, "Default": alarm_topic}} | ({} if sam else _CODE)
    template = _Template(outbox, sam, keep, names or {})
    template.add_all()
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        **({"Transform": "AWS::Serverless-2016-10-31"} if sam else {}),
        "Parameters": parameters,
        "Conditions": {"Notifies": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]}},
        "Resources": template.resources,
        "Outputs": template.outputs(),
    }


class _Template:
    """One template; each method adds the resources of a part."""

    def __init__(self, outbox: Infrastructure, sam: bool, keep: bool, names: Mapping[str, str]) -> None:
        self.outbox = outbox
        self.sam = sam
        self.keep = keep
        self.stays = {"DeletionPolicy": "Retain" if keep else "Delete", "UpdateReplacePolicy": "Retain"}
        self.names = names
        self.resources: dict[str, Any] = {}

    def add_all(self) -> None:
        """Add all resources, in the order of an event's path."""
        outbox = self.outbox
        self._source()
        if outbox.mode == "pipe":
            self._pipe()
        for function in outbox.functions():
            self._function(function)
        if outbox.mode != "pipe":
            self._reader()
        for consumer in outbox.consumers:
            self._consumer(consumer)
        if outbox.has_custom_bus:
            self._subscribers()
        elif rules := [f"{each.name}Rule" for each in outbox.consumers]:
            self._queue("ConsumerDeadLetters", NUMBERS.dead_letter_retention, rules)
        if any(each.dedup != "none" for each in outbox.consumers):
            self._table("DedupTable", "dedup", sort=False, ttl=True)
        for alarm in outbox.alarms():
            self._alarm(alarm)
        self._dashboard()

    def outputs(self) -> dict[str, Any]:
        """Return the names of the tables and of the bus."""
        names = [self._id(name) for name in (self.outbox.table, "ParkingTable", "DedupTable", "Bus")]
        return {name: {"Value": {"Ref": name}} for name in names if name in self.resources}

    def _id(self, name: str) -> str:
        return self.names.get(name, name)

    def _ref(self, name: str) -> Any:
        if name == "Bus" and self.outbox.bus:
            return self.outbox.bus
        if name == self.outbox.table and self.outbox.stream_arn:
            return self.outbox.table_arn.rpartition("/")[2]
        return {"Ref": self._id(name)}

    def _att(self, path: str) -> Any:
        """Return the value of a definition's path: ``EventsTable.StreamArn``, ``RelayFailures.Arn/*``."""
        attribute, slash, suffix = path.partition("/")
        name, _, attribute = attribute.partition(".")
        if name == self.outbox.table and self.outbox.stream_arn:
            return self.outbox.stream_arn if attribute == "StreamArn" else f"{self.outbox.table_arn}{slash}{suffix}"
        if name == "Bus" and self.outbox.has_custom_bus:
            return self._ref("Bus")
        if name == "Bus" and (bus := self.outbox.bus):
            return bus if bus.startswith("arn:") else _sub(f"arn:${{AWS::Partition}}:events:{_HERE}:event-bus/{bus}")
        if slash:
            return _sub(f"${{{self._id(name)}.{attribute}}}/{suffix}")
        return {"Fn::GetAtt": [self._id(name), attribute]}

    def _add(self, name: str, kind: str, properties: Mapping[str, Any], **more: Any) -> None:
        self.resources[self._id(name)] = {"Type": f"AWS::{kind}", **more, "Properties": dict(properties)}

    def _physical(self, key: str, suffix: str) -> dict[str, str]:
        return {key: f"{self.outbox.name}-{suffix}"} if self.outbox.name else {}

    def _table(self, name: str, suffix: str, *, sort: bool = True, ttl: bool = False, view: str = "") -> None:
        keys = {_KEYS.partition_key: "HASH"} | ({_KEYS.sort_key: "RANGE"} if sort else {})
        recovery = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": NUMBERS.recovery_days}
        properties = {
            **self._physical("TableName", suffix),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in keys],
            "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            **({"StreamSpecification": {"StreamViewType": view}} if view else {}),
            **({"TimeToLiveSpecification": {"AttributeName": _KEYS.ttl_attribute, "Enabled": True}} if ttl else {}),
            "PointInTimeRecoverySpecification": recovery,
            **({"DeletionProtectionEnabled": True} if self.keep else {}),
        }
        self._add(name, "DynamoDB::Table", properties, **self.stays)

    def _source(self) -> None:
        if not self.outbox.stream_arn:
            if self.outbox.mode == "cdc":
                self._table(self.outbox.table, "entities", view="NEW_AND_OLD_IMAGES")
            else:
                self._table(self.outbox.table, "events", ttl=True, view="NEW_IMAGE")
        if not self.outbox.bus and self.outbox.has_custom_bus:
            days = {"RetentionPeriodInDays": NUMBERS.subscriber_retention // DAY}
            named = {"Name": self.outbox.name or _sub(_STACK), "StorageConfiguration": days}
            self._add("Bus", "EventsV2::EventBus", named)
        elif not self.outbox.bus:
            self._add("Bus", "Events::EventBus", {"Name": self.outbox.name or _sub(_STACK)})

    def _pipe(self) -> None:
        self._queue("RelayDeadLetters", NUMBERS.dead_letter_retention)
        self._role("PipeRole", "pipes.amazonaws.com", self.outbox.reader_rights())
        pipe = outbox_pipe()
        properties = {
            "RoleArn": self._att("PipeRole.Arn"),
            "Source": self._att(f"{self.outbox.table}.StreamArn"),
            "SourceParameters": pipe.source_parameters(self._att("RelayDeadLetters.Arn")),
            "Target": self._att("Bus.Arn"),
            "TargetParameters": pipe.target_parameters(),
        }
        self._add(self.outbox.reader, "Pipes::Pipe", {**self._physical("Name", "events"), **properties})

    def _role(self, name: str, service: str, rights: Iterable[Right]) -> None:
        statements = [
            {"Effect": "Allow", "Action": [*right.actions], "Resource": self._att(right.on)} for right in rights
        ]
        trust: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        if not service.startswith("lambda"):
            trust["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        if service.startswith("events"):
            source = _sub(f"arn:${{AWS::Partition}}:events:{_HERE}:subscriber/*")
            trust["Condition"]["ArnLike"] = {"aws:SourceArn": source}
        policy = {"PolicyName": "what-it-needs", "PolicyDocument": _policy(*statements)}
        self._add(name, "IAM::Role", {"AssumeRolePolicyDocument": _policy(trust), "Policies": [policy]})

    def _function(self, function: Function) -> None:
        name = function.name
        logs = Right(("logs:CreateLogStream", "logs:PutLogEvents"), f"{name}Log.Arn", by_service=True)
        self._add(f"{name}Log", "Logs::LogGroup", {"RetentionInDays": NUMBERS.log_days})
        self._role(f"{name}Role", "lambda.amazonaws.com", (*function.rights, logs))
        zipped = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}
        properties = {
            **({"CodeUri": "src/"} if self.sam else {"Code": zipped}),
            "Handler": function.handler,
            "Runtime": RUNTIME,
            "Architectures": [ARCHITECTURE],
            "MemorySize": MEMORY_MB,
            "Timeout": function.timeout,
            "Role": self._att(f"{name}Role.Arn"),
            "LoggingConfig": {"LogGroup": self._ref(f"{name}Log")},
            "Environment": {"Variables": {key: self._ref(each) for key, each in function.variables.items()}},
        }
        self._add(name, "Serverless::Function" if self.sam else "Lambda::Function", properties)

    def _reader(self) -> None:
        outbox = self.outbox
        mapping = {
            "EventSourceArn": self._att(f"{outbox.table}.StreamArn"),
            "FunctionName": self._ref(outbox.reader),
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": NUMBERS.batch_size,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": NUMBERS.retry_attempts,
            "MaximumRecordAgeInSeconds": NUMBERS.record_age,
            "ParallelizationFactor": NUMBERS.parallelization_factor,
            "MetricsConfig": {"Metrics": ["EventCount"]},
            "DestinationConfig": {"OnFailure": {"Destination": self._att("RelayFailures.Arn")}},
        }
        self._add(f"{outbox.reader}Stream", "Lambda::EventSourceMapping", mapping)
        self._bucket("RelayFailures")
        if not outbox.parks:
            return
        self._table("ParkingTable", "parking")
        counted = {"MetricNamespace": {"Ref": "AWS::StackName"}, "MetricName": "ParkedRecords", "MetricValue": "1"}
        metric_filter = {
            "LogGroupName": self._ref(f"{outbox.reader}Log"),
            "FilterPattern": '"is parked:"',
            "MetricTransformations": [{**counted, "DefaultValue": 0}],
        }
        self._add("ParkedLines", "Logs::MetricFilter", metric_filter)
        if outbox.redrive_rate:
            target = {"Id": "redrive", "Arn": self._att("Redrive.Arn")}
            self._add("RedriveRule", "Events::Rule", {"ScheduleExpression": outbox.redrive_rate, "Targets": [target]})
            self._permission("Redrive", "RedriveRule")

    def _bucket(self, name: str) -> None:
        encryption = [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        expiry = {"Id": "expire", "Status": "Enabled", "ExpirationInDays": NUMBERS.failure_days}
        blocks = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        properties = {
            "BucketEncryption": {"ServerSideEncryptionConfiguration": encryption},
            "LifecycleConfiguration": {"Rules": [expiry]},
            "PublicAccessBlockConfiguration": dict.fromkeys(blocks, True),
        }
        self._add(name, "S3::Bucket", properties, **self.stays)
        deny = _tls("s3:*", [self._att(f"{name}.Arn"), self._att(f"{name}.Arn/*")])
        self._add(f"{name}Policy", "S3::BucketPolicy", {"Bucket": self._ref(name), "PolicyDocument": _policy(deny)})

    def _queue(self, name: str, retention: int, rules: Iterable[str] = (), **more: Any) -> None:
        encrypted = {"MessageRetentionPeriod": retention, "SqsManagedSseEnabled": True}
        self._add(name, "SQS::Queue", {**encrypted, **more})
        arn = self._att(f"{name}.Arn")
        statements = [_tls("sqs:*", arn)]
        if arns := [self._att(f"{rule}.Arn") for rule in rules]:
            allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
            statements.append({**allow, "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": arns}}})
        policy = {"Queues": [self._ref(name)], "PolicyDocument": _policy(*statements)}
        self._add(f"{name}Policy", "SQS::QueuePolicy", policy)

    def _permission(self, function: str, rule: str) -> None:
        permission = {"Action": "lambda:InvokeFunction", "FunctionName": self._ref(function)}
        source = {"Principal": "events.amazonaws.com", "SourceArn": self._att(f"{rule}.Arn")}
        self._add(f"{function}Permission", "Lambda::Permission", {**permission, **source})

    def _consumer(self, consumer: Consumer) -> None:
        name, is_custom = consumer.name, self.outbox.has_custom_bus
        dead_letters = {"Arn": self._att("ConsumerDeadLetters.Arn")}
        target: dict[str, Any] = {"Id": "consumer", "DeadLetterConfig": dead_letters}
        if consumer.delivery == "direct" and is_custom:
            return
        if consumer.delivery == "direct":
            target["Arn"] = self._att(f"{name}.Arn")
            self._permission(name, f"{name}Rule")
            invoke = {
                "FunctionName": self._ref(name),
                "Qualifier": "$LATEST",
                "MaximumRetryAttempts": NUMBERS.invoke_attempts,
                "DestinationConfig": {"OnFailure": {"Destination": dead_letters["Arn"]}},
            }
            self._add(f"{name}EventInvokeConfig", "Lambda::EventInvokeConfig", invoke)
        else:
            target["Arn"] = self._att(f"{name}Queue.Arn")
            # A rule sends one group and no deduplication id.
            fifo: dict[str, Any] = {}
            if consumer.delivery == "fifo":
                fifo = {"FifoQueue": True, "ContentBasedDeduplication": True}
                target["SqsParameters"] = {"MessageGroupId": name}
            self._queue(f"{name}DeadLetters", NUMBERS.dead_letter_retention, **fifo)
            arn = self._att(f"{name}DeadLetters.Arn")
            more = {
                "VisibilityTimeout": NUMBERS.visibility_factor * NUMBERS.function_timeout,
                "RedrivePolicy": {"deadLetterTargetArn": arn, "maxReceiveCount": NUMBERS.max_receive_count},
            }
            senders = [] if is_custom else [f"{name}Rule"]  # a subscriber sends with a role
            self._queue(f"{name}Queue", NUMBERS.queue_retention, senders, **more, **fifo)
            mapping = {
                "EventSourceArn": target["Arn"],
                "FunctionName": self._ref(name),
                "BatchSize": NUMBERS.queue_batch_size,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
            }
            self._add(f"{name}Messages", "Lambda::EventSourceMapping", mapping)
        if is_custom:
            return
        pattern = _pattern(consumer)
        rule = {"Name": _sub(f"{_STACK}-{name}"), "EventBusName": self._ref("Bus"), "EventPattern": pattern}
        self._add(f"{name}Rule", "Events::Rule", {**rule, "Targets": [target]})

    def _subscribers(self) -> None:
        """Add the subscribers of a Custom Event Bus, one after the other: it takes one change at a time."""
        previous = ""
        for consumer in self.outbox.consumers:
            name, in_order = consumer.name, consumer.delivery != "queue"
            fifo: dict[str, Any] = {"FifoQueue": True, "ContentBasedDeduplication": True} if in_order else {}
            self._queue(f"{name}Undelivered", NUMBERS.subscriber_retention, **fifo)
            self._role(f"{name}DeliveryRole", "events.amazonaws.com", self.outbox.delivery_rights(consumer))
            target = name if consumer.delivery == "direct" else f"{name}Queue"
            invoke = {"TargetArn": self._att(f"{target}.Arn"), "RoleArn": self._att(f"{name}DeliveryRole.Arn")}
            if consumer.delivery == "direct":
                invoke["LambdaParameters"] = _WAITS
            elif consumer.delivery == "fifo":
                invoke["SqsParameters"] = _GROUPED
            properties = {
                "Name": f"{self.outbox.name}-{name}" if self.outbox.name else _sub(f"{_STACK}-{name}"),
                "EventBusArn": self._ref("Bus"),
                "Type": "FIFO" if in_order else "UNORDERED",
                "FilterConfiguration": {"Filters": [{"Scope": "DATA", "Pattern": json.dumps(_pattern(consumer))}]},
                "InvokeConfiguration": invoke,
                # What more than one event in a call means for a partial failure is not documented.
                "BatchConfiguration": {"MaxBatchSize": 1, "MaxBatchWindowInSeconds": 0},
                "RetryPolicy": {"MaxRetryAttempts": 185, "MaxEventAgeInSeconds": DAY, "RetryStrategy": "ALL"},
                "OnFailureConfiguration": {"Arn": self._att(f"{name}Undelivered.Arn")},
            }
            after = {"DependsOn": self._id(previous)} if previous else {}
            previous = f"{name}Subscriber"
            self._add(previous, "EventsV2::Subscriber", properties, **after)

    def _alarm(self, alarm: Alarm) -> None:
        namespace: Any = alarm.namespace or {"Ref": "AWS::StackName"}
        watched = _metric(namespace, alarm.metric, self._dimensions(alarm))
        how = {"Period": NUMBERS.period, "Stat": alarm.statistic}
        if alarm.unless_idle:
            table = {"TableName": self._ref(alarm.unless_idle)}
            both = (_metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", table), watched)
            metrics = [
                {"Id": f"m{n}", "ReturnData": False, "MetricStat": {"Metric": each, **how}}
                for n, each in enumerate(both, 1)
            ]
            watched = {"Metrics": [{"Id": "idle", "ReturnData": True, "Expression": _UNLESS_IDLE}, *metrics]}
        else:
            watched |= {"Period": how["Period"], "Statistic": how["Stat"]}
        stops = alarm.statistic == "SampleCount"
        properties = {
            "AlarmDescription": f"{alarm.meaning} What to do: docs/operations/alarms.md#{alarm.kind.lower()}.",
            **watched,
            "EvaluationPeriods": alarm.periods,
            "DatapointsToAlarm": alarm.periods,
            "ComparisonOperator": "LessThanThreshold" if stops else "GreaterThanThreshold",
            "Threshold": 1 if stops else alarm.threshold,
            "TreatMissingData": "breaching" if stops else "notBreaching",
            "AlarmActions": {"Fn::If": ["Notifies", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]},
        }
        self._add(alarm.name, "CloudWatch::Alarm", properties)

    def _dimensions(self, alarm: Alarm) -> dict[str, Any]:
        if not alarm.dimension:
            return {}
        if alarm.dimension == "RuleName":
            bus = self.outbox.bus.rpartition("/")[2] or self._ref("Bus")
            return {"EventBusName": bus, "RuleName": _sub(f"{_STACK}-{alarm.of.removesuffix('Rule')}")}
        if alarm.dimension == "QueueName":
            return {"QueueName": self._att(f"{alarm.of}.QueueName")}
        mapping = "Stream" if alarm.dimension == "EventSourceMappingUUID" else ""
        return {alarm.dimension: self._ref(f"{alarm.of}{mapping}")}

    def _dashboard(self) -> None:
        arns = {name: f"${{{name}.Arn}}" for name in (self._id(each.name) for each in self.outbox.alarms())}
        states = {"type": "alarm", "width": 24, "properties": {"title": "Alarms", "alarms": [*arns.values()]}}
        region = {"region": "${AWS::Region}"}
        graphs = [
            {"type": "metric", "properties": {"title": name, "annotations": {"alarms": [arn]}, **region}}
            for name, arn in arns.items()
        ]
        body = json.dumps({"widgets": [states, *graphs]}, separators=(",", ":"))
        self._add("Dashboard", "CloudWatch::Dashboard", {"DashboardBody": _sub(body)})


DAY = 86_400
_WAITS = {"InvocationType": "REQUEST_RESPONSE", "InvocationTimeoutSeconds": "30"}
"""The next event of a group follows the function's success. The longest timeout, as text.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-target-lambda.html"""
_GROUPED = {
    "MessageGroupId": "{% $events.SystemMetadata.EventGroupId %}",
    "MessageDeduplicationId": '{% $events.SystemMetadata."aws:EventId" %}',
}
"""SQS deduplicates by the bus's id in the whole queue; a DeduplicationId is unique only in its group."""


def _pattern(consumer: Consumer) -> dict[str, Any]:
    pattern: dict[str, Any] = {"source": [*consumer.sources] or [{"prefix": ""}]}
    if consumer.event_types:
        pattern["detail-type"] = [*consumer.event_types]
    return pattern


_TOPIC = {"Type": "String", "Description": "ARN of an SNS topic that the alarms notify; empty: none."}
_CODE = {
    "CodeBucket": {"Type": "String", "Description": "The S3 bucket of the functions' zip."},
    "CodeKey": {"Type": "String", "Description": "The zip's key in the bucket."},
}
_UNLESS_IDLE = "IF(FILL(m1, 0) > 0 AND FILL(m2, 0) == 0, 1, 0)"


def _sub(text: str) -> dict[str, str]:
    return {"Fn::Sub": text}


def _metric(namespace: Any, name: str, dimensions: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": pairs}


def _policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def _tls(actions: str, resource: Any) -> dict[str, Any]:
    """Return the statement that denies requests without TLS."""
    deny = {"Effect": "Deny", "Principal": "*", "Action": actions, "Resource": resource}
    return {**deny, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


def to_yaml(template: Mapping[str, Any]) -> str:
    """Return a template as YAML with CloudFormation's short tags, ``!Ref`` and ``!GetAtt``.

    Raises:
        ImportError: PyYAML is not installed; the extra ``cli`` has it.
    """
    import yaml

    class Dumper(yaml.SafeDumper): ...

    def node(dumper: Dumper, value: dict[str, Any]) -> yaml.Node:
        name, inner = next(iter(value.items()), ("", ""))
        tag = f"!{name.removeprefix('Fn::')}"
        if len(value) > 1 or not (name == "Ref" or name.startswith("Fn::")):
            return dumper.represent_dict(value)
        if name == "Fn::GetAtt":
            inner = ".".join(inner)
        return dumper.represent_scalar(tag, inner) if isinstance(inner, str) else dumper.represent_sequence(tag, inner)

    Dumper.add_representer(dict, node)
    copied = json.loads(json.dumps(template))  # two references to one object would become an anchor and an alias
    return yaml.dump(copied, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
