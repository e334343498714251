"""Read what is deployed around an outbox: from a stack, or from names. Nothing is changed and no data are read.

The checks of `dynamo_outbox.operations.checks` need no AWS: they read a `Deployment`, whose parts are AWS's responses.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from ..aws.buses import is_custom_bus
from ..aws.errors import error_code
from .clients import clients_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from .clients import Clients

__all__ = ["Deployment", "Names", "Unknown", "bus_name", "function_name", "last_part", "read", "table_of_stream"]

VARIABLES = {"EVENTS_TABLE": "events", "PARKING_TABLE": "parking", "DEDUP_TABLE": "dedup"}
"""Environment variables of functions that name a table, and its kind; ``EVENT_BUS`` names a bus."""

_FATAL = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, NoRegionError)
_NO_IDENTITY = {
    *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"),
    *("InvalidSignatureException", "SignatureDoesNotMatch"),
}
_FUNCTION = re.compile(r"(?:(?:arn:[^:]*:lambda:[^:]*:)?(?:[0-9]{12}:)?function:)?([^:]+)(?::(.+))?")
_STREAM_OF = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)/stream/.+")


@dataclass(frozen=True)
class Unknown:
    """Something that can't be known.

    Attributes:
        subject: The resource.
        needed: The action that was refused or is not offered, ``lambda:GetPolicy``; or what to state.
        why: AWS's error, or the reason.
    """

    subject: str
    needed: str
    why: str


class Names(NamedTuple):
    """Names or ARNs of the resources to read; a stack with its nested stacks, a table with its kind.

    A table's kind is ``events``, ``entities`` (read in CDC mode), ``parking``, ``dedup``, or ``""`` if it is unknown.
    """

    stacks: Sequence[str] = ()
    tables: Mapping[str, str] = {}
    functions: Sequence[str] = ()
    pipes: Sequence[str] = ()
    buses: Sequence[str] = ()
    queues: Sequence[str] = ()


@dataclass(frozen=True)
class Deployment:
    """AWS's responses, with AWS's names, by the resource's name; None if a resource does not exist.

    A field that could not be read is absent, and `unknown` says why.

    Attributes:
        kinds: Stated kinds of tables.
        tables: DescribeTable, with ``TimeToLiveDescription`` and ``PointInTimeRecoveryDescription``.
        functions: GetFunctionConfiguration by ``name`` or ``name:qualifier``, with ``ReservedConcurrentExecutions``,
            ``EventInvokeConfig`` and ``Policy``, both ``{}`` if there is none.
        mappings: Event source mappings by UUID.
        pipes: DescribePipe.
        buses: DescribeEventBus; a Custom Event Bus by its ARN.
        rules: ListRules by ARN, with ``Targets``.
        queues: GetQueueAttributes.
        alarms: DescribeAlarms, metric and composite alarms; None if they could not be read.
        rights: Evaluation results of SimulatePrincipalPolicy, each with ``Role``.
        replicas: The readers of a global table's streams in other Regions, by table and Region.
        stated: Settings that are in code: ``park_after``, ``event_ttl``, ``dedup_ttl``, ``lease``.
        unknown: What could not be read.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    functions: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    mappings: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    pipes: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    buses: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    queues: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    alarms: Sequence[Mapping[str, Any]] | None = None
    rights: Sequence[Mapping[str, Any]] = ()
    replicas: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    stated: Mapping[str, timedelta] = field(default_factory=dict)
    unknown: Sequence[Unknown] = ()


def last_part(name: str) -> str:
    """Return the name at the end of an ARN, a URL or a ``bus|rule``."""
    return re.split(r"[:/|]", name)[-1]


def bus_name(name: str) -> str:
    """Return a bus's name from its name or ARN; a partner's has slashes."""
    return name.rpartition(":event-bus/")[2]


def table_of_stream(arn: str | None) -> str:
    """Return the table's name of a stream's ARN; ``""`` for anything else."""
    found = _STREAM_OF.fullmatch(arn or "")
    return found[1] if found else ""


def function_name(name: str) -> str:
    """Return ``name`` or ``name:qualifier`` of a function's name or ARN, whole or partial."""
    found = _FUNCTION.fullmatch(name)
    if found is None:
        return name
    return found[1] if found[2] in (None, "$LATEST") else f"{found[1]}:{found[2]}"


def read(
    names: Names, *, clients: Clients | None = None, elsewhere: Callable[[str], Clients] | None = None
) -> Deployment:
    """Read resources, those of stacks, and those that they name.

    Arguments:
        names: Where to start.
        clients: AWS's clients.
        elsewhere: Returns the clients of another Region, to look for a global table's other readers.

    Raises:
        botocore.exceptions.ClientError: A stack can't be read, or the credentials are refused.
        botocore.exceptions.BotoCoreError: Credentials or Region are missing.
    """
    return _Reader(clients or clients_of(), names.tables, elsewhere).read(names)


class _Reader:
    """Reads each resource once, and then the resources that it names."""

    def __init__(self, clients: Clients, kinds: Mapping[str, str], elsewhere: Callable[[str], Clients] | None) -> None:
        self.clients, self.elsewhere = clients, elsewhere
        self.kinds = {_table_name(name): kind for name, kind in kinds.items() if kind}
        self.unknown: dict[tuple[str, str], Unknown] = {}
        self.tables, self.functions, self.mappings, self.pipes = _found(), _found(), _found(), _found()
        self.buses, self.rules, self.queues = _found(), _found(), _found()
        self.replicas: dict[str, dict[str, list[str]]] = {}
        self.unreachable: dict[str, str] = {}
        self.loose_rules: list[str] = []
        self.region = str(clients("dynamodb").meta.region_name)
        self.account = (self.ask("sts", "get_caller_identity", "the account") or {}).get("Account", "")

    def read(self, names: Names) -> Deployment:
        reads: tuple[tuple[Callable[[str], None], Iterable[str]], ...] = (
            *((self.stack, names.stacks), (self.table, names.tables), (self.function, names.functions)),
            *((self.pipe, names.pipes), (self.bus, names.buses), (self.source_queue, names.queues)),
            (self.loose_rule, self.loose_rules),  # after the buses with the same rules
        )
        for read, found in reads:
            for name in found:
                read(name)
        kinds = ["MetricAlarm", "CompositeAlarm"]
        alarms = self.ask("cloudwatch", "describe_alarms", "the alarms", AlarmTypes=kinds)
        is_unknown = ("the alarms", "cloudwatch:DescribeAlarms") in self.unknown
        return Deployment(
            *(self.kinds, self.tables, self.functions, self.mappings, self.pipes, self.buses, self.rules, self.queues),
            alarms=None if is_unknown else [each for kind in kinds for each in (alarms or {}).get(f"{kind}s", ())],
            replicas=self.replicas,
            unknown=tuple(self.unknown.values()),
        )

    # --- calls -------------------------------------------------------------------------------------------------------

    def ask(self, service: str, operation: str, subject: str, *, clients: Clients | None = None, **request: Any) -> Any:
        """Return the response; None if the resource does not exist; ``{}`` if that can't be known."""
        action = _action(service, operation)
        if clients is None and service in self.unreachable:
            return self.unknowable(subject, action, self.unreachable[service])
        try:
            client = (clients or self.clients)(service)
            if client.can_paginate(operation):
                return client.get_paginator(operation).paginate(**request).build_full_result()
            return getattr(client, operation)(**request)
        except _FATAL:
            raise
        except Exception as error:  # botocore raises anything at a response that is not AWS's
            code = error_code(error)
            if code in _NO_IDENTITY:
                raise
            if isinstance(error, ClientError) and re.search("NotFound|NonExistent|DoesNotExist", code):
                return None
            why = f"{error}" if isinstance(error, ClientError) else f"{type(error).__name__}: {error}"
            if isinstance(error, (EndpointConnectionError, BotocoreConnectionError)) and clients is None:
                self.unreachable[service] = why
            return self.unknowable(subject, action, why)

    def pages(self, service: str, operation: str, member: str, subject: str, **request: Any) -> list[Any] | None:
        """Return all pages' members; None if they are unknown."""
        response = self.ask(service, operation, subject, **request)
        if response == {} and (subject, _action(service, operation)) in self.unknown:
            return None
        return list((response or {}).get(member, ()))

    def unknowable(self, subject: str, needed: str, why: str) -> dict[str, Any]:
        self.unknown[subject, needed] = Unknown(subject, needed, why)
        return {}

    def is_elsewhere(self, arn: str) -> bool:
        """Return whether an ARN is of another account or Region, which these clients can't ask."""
        parts = arn.split(":")
        if not arn.startswith("arn:") or len(parts) < 6:
            return False
        other = (parts[3] not in ("", self.region)) or (self.account and parts[4] not in ("", self.account))
        if other:
            self.unknowable(arn, "the resource's own account and Region", "it is in another account or Region")
        return bool(other)

    # --- resources ---------------------------------------------------------------------------------------------------

    def stack(self, name: str) -> None:
        pages = self.clients("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
        reads: dict[str, Callable[[str], None]] = {
            "AWS::DynamoDB::Table": self.table,
            "AWS::DynamoDB::GlobalTable": self.table,
            "AWS::Lambda::Function": self.function,
            "AWS::Lambda::Alias": self.function,
            "AWS::Lambda::EventSourceMapping": self.mapping,
            "AWS::Pipes::Pipe": self.pipe,
            "AWS::Events::EventBus": self.bus,
            "AWS::EventsV2::EventBus": self.bus,
            "AWS::Events::Rule": self.loose_rules.append,
            "AWS::SQS::Queue": self.queue,
            "AWS::CloudFormation::Stack": self.nested,
        }
        for page in pages:
            for each in page.get("StackResourceSummaries", ()):
                physical, read = each.get("PhysicalResourceId"), reads.get(each.get("ResourceType"))
                if read and physical and each.get("ResourceStatus") != "DELETE_COMPLETE":
                    read(physical)

    def nested(self, name: str) -> None:
        try:
            self.stack(name)
        except ClientError as error:
            self.unknowable(last_part(name), "cloudformation:ListStackResources", f"{error}")

    def table(self, name: str) -> None:
        if self.is_elsewhere(name):
            return
        name = _table_name(name)
        if name in self.tables:
            return
        described = self.ask("dynamodb", "describe_table", name, TableName=name)
        self.tables[name] = found = described and dict(described["Table"])
        if not found:
            return
        ttl = self.ask("dynamodb", "describe_time_to_live", name, TableName=name)
        backups = self.ask("dynamodb", "describe_continuous_backups", name, TableName=name)
        found |= {key: each for key, each in (ttl or {}).items() if key == "TimeToLiveDescription"}
        found |= (backups or {}).get("ContinuousBackupsDescription", {})
        if arn := found.get("LatestStreamArn"):
            self.mappings_of(name, EventSourceArn=arn)
            for each in self.pages("pipes", "list_pipes", "Pipes", name, SourcePrefix=arn) or ():
                self.pipe(each["Name"])
        for each in found.get("Replicas", ()):
            if each.get("RegionName") not in (None, self.region):
                self.replica(name, each["RegionName"])

    def replica(self, name: str, region: str) -> None:
        subject = f"{name} in {region}"
        if self.elsewhere is None:
            self.unknowable(subject, f"clients for {region}", "the readers there are not listed")
            return
        there = self.elsewhere(region)
        table = (self.ask("dynamodb", "describe_table", subject, clients=there, TableName=name) or {}).get("Table", {})
        if not (arn := table.get("LatestStreamArn")):
            return
        listed = (
            self.ask("lambda", "list_event_source_mappings", subject, clients=there, EventSourceArn=arn),
            self.ask("pipes", "list_pipes", subject, clients=there, SourcePrefix=arn),
        )
        mappings, pipes = ((each or {}) for each in listed)
        readers = [each["FunctionArn"] for each in mappings.get("EventSourceMappings", ())]
        self.replicas.setdefault(name, {})[region] = [*readers, *(each["Arn"] for each in pipes.get("Pipes", ()))]

    def function(self, name: str) -> None:
        if self.is_elsewhere(name):
            return
        name = function_name(name)
        if name in self.functions:
            return
        plain, _, qualifier = name.partition(":")
        of: dict[str, Any] = {"FunctionName": plain} | ({"Qualifier": qualifier} if qualifier else {})
        read = self.ask("lambda", "get_function_configuration", name, **of)
        self.functions[name] = found = read and dict(read)
        if not found:
            return
        found |= self.ask("lambda", "get_function_concurrency", name, FunctionName=plain) or {}
        invoke, policy = (
            self.ask("lambda", operation, name, **of)
            for operation in ("get_function_event_invoke_config", "get_policy")
        )
        if invoke is None and not qualifier:  # SAM and CloudFormation set it for $LATEST
            latest: dict[str, Any] = {"FunctionName": plain, "Qualifier": "$LATEST"}
            invoke = self.ask("lambda", "get_function_event_invoke_config", name, **latest)
        if invoke != {}:
            found["EventInvokeConfig"] = invoke or {}
        if policy != {}:
            found["Policy"] = _document((policy or {}).get("Policy"))
        self.mappings_of(name, FunctionName=found.get("FunctionArn", name))
        environment = found.get("Environment") or {}
        if refused := environment.get("Error"):
            self.unknowable(name, "kms:Decrypt on the key of its environment", refused.get("Message", ""))
        variables = environment.get("Variables") or {}
        for variable, kind in VARIABLES.items():
            if value := variables.get(variable):
                self.kinds.setdefault(_table_name(value), kind)
                self.table(value)
        if bus := variables.get("EVENT_BUS"):
            self.bus(bus)
        for destination in (
            ((found.get("EventInvokeConfig") or {}).get("DestinationConfig") or {})
            .get("OnFailure", {})
            .get("Destination"),
            (found.get("DeadLetterConfig") or {}).get("TargetArn"),
        ):
            self.target(destination)

    def mappings_of(self, subject: str, **by: str) -> None:
        for each in self.pages("lambda", "list_event_source_mappings", "EventSourceMappings", subject, **by) or ():
            self.add_mapping(each)

    def mapping(self, uuid: str) -> None:
        if uuid in self.mappings:
            return
        found = self.ask("lambda", "get_event_source_mapping", f"mapping {uuid}", UUID=uuid)
        if found:
            self.add_mapping(found)
        else:
            self.mappings[uuid] = found

    def add_mapping(self, found: Mapping[str, Any]) -> None:
        if self.mappings.get(found["UUID"]):
            return
        self.mappings[found["UUID"]] = found
        self.function(found.get("FunctionArn", ""))
        self.source(found.get("EventSourceArn"))
        self.target(((found.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination"))

    def pipe(self, name: str) -> None:
        if self.is_elsewhere(name) or last_part(name) in self.pipes:
            return
        name = last_part(name)
        self.pipes[name] = found = self.ask("pipes", "describe_pipe", name, Name=name)
        if found:
            self.source(found.get("Source"))
            self.target(found.get("Target"))
            stream = (found.get("SourceParameters") or {}).get("DynamoDBStreamParameters") or {}
            self.target((stream.get("DeadLetterConfig") or {}).get("Arn"))

    def source(self, arn: str | None) -> None:
        """Read the table of a stream, or a queue."""
        table = table_of_stream(arn)
        if not (arn and table):
            self.target(arn)
        elif not self.is_elsewhere(arn):
            self.table(table)

    def target(self, arn: str | None) -> None:
        """Read a queue, a function or a bus; nothing else."""
        service = (arn or "").split(":")[2:3]
        if arn and service == ["sqs"]:
            self.queue(arn)
        elif arn and service == ["lambda"]:
            self.function(arn)
        elif arn and ":event-bus" in arn:
            self.bus(arn)

    def bus(self, name: str) -> None:
        if self.is_elsewhere(name):
            return
        if is_custom_bus(name):
            self.custom_bus(name)
            return
        name = bus_name(name)
        if name in self.buses:
            return
        self.buses[name] = found = self.ask("events", "describe_event_bus", name, Name=name)
        if found and name != "default":  # the default bus has rules of everybody
            for rule in self.pages("events", "list_rules", "Rules", name, EventBusName=name) or ():
                self.add_rule(rule)

    def custom_bus(self, arn: str) -> None:
        if arn in self.buses:
            return
        self.buses[arn] = self.ask("eventbridgev2", "describe_event_bus", arn, EventBusArn=arn)

    def loose_rule(self, name: str) -> None:
        """Read a rule by ``bus|rule``, ARN or name; a name alone is looked for among the rules that were read."""
        bus, _, rule = name.split(":rule/")[-1].replace("|", "/").rpartition("/")
        known = [each for each in self.rules.values() if each and each["Name"] == rule]
        if self.is_elsewhere(name) or any(bus in ("", each.get("EventBusName")) for each in known):
            return
        if bus and bus != "default":
            self.bus(bus)
            if any(each and each["Name"] == rule for each in self.rules.values()):
                return
        found = self.ask("events", "describe_rule", rule, Name=rule, EventBusName=bus or "default")
        if found:
            self.add_rule(found)
        else:
            self.rules[name] = found

    def add_rule(self, rule: Mapping[str, Any]) -> None:
        if rule.get("ManagedBy") or rule["Arn"] in self.rules:
            return
        self.rules[rule["Arn"]] = found = dict(rule)
        of = {"Rule": rule["Name"], "EventBusName": rule.get("EventBusName", "default")}
        targets = self.pages("events", "list_targets_by_rule", "Targets", rule["Name"], **of)
        if targets is None:
            return
        found["Targets"] = targets
        for each in targets:
            self.target((each.get("DeadLetterConfig") or {}).get("Arn"))
            (self.source_queue if ":sqs:" in each["Arn"] else self.target)(each["Arn"])

    def source_queue(self, name: str) -> None:
        """Read a queue and the functions that read it."""
        self.queue(name)
        arn = name if name.startswith("arn:") else (self.queues.get(last_part(name)) or {}).get("QueueArn")
        if arn and not self.is_elsewhere(arn):
            self.mappings_of(last_part(name), EventSourceArn=arn)

    def queue(self, name: str) -> None:
        if self.is_elsewhere(name) or last_part(name) in self.queues:
            return
        url, name = name if "://" in name else "", last_part(name)
        if not url:
            answer = self.ask("sqs", "get_queue_url", name, QueueName=name)
            if not answer:
                self.queues[name] = answer
                return
            url = answer["QueueUrl"]
        answer = self.ask("sqs", "get_queue_attributes", name, QueueUrl=url, AttributeNames=["All"])
        self.queues[name] = found = answer and dict(answer.get("Attributes", {}))
        if found:
            for key in ("Policy", "RedrivePolicy", "RedriveAllowPolicy"):
                found |= {key: _document(found[key])} if key in found else {}
            self.target((found.get("RedrivePolicy") or {}).get("deadLetterTargetArn"))


def _found() -> dict[str, Any]:
    return {}


def _action(service: str, operation: str) -> str:
    prefix = {"eventbridgev2": "events"}.get(service, service)
    return f"{prefix}:{''.join(word.title() for word in operation.split('_'))}"


def _table_name(name: str) -> str:
    """Return a table's name from ``NAME``, ``NAME:PREFIX`` or an ARN."""
    return name.split(":table/")[-1].split("/")[0] if name.startswith("arn:") else name.partition(":")[0]


def _document(text: Any) -> Any:
    """Return a policy's document; ``{}`` if it is not an object of JSON."""
    try:
        document = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
