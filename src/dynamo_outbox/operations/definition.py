"""The infrastructure of one outbox, as data: functions with their rights, consumers, numbers, and alarms.

The one source of ``dynamo-outbox template``, of the checks of ``dynamo-outbox doctor``, of the docs' tables and of the
books example. Resources are named by their logical ids in the template: ``EventsTable.StreamArn`` is a resource's
attribute, and ``RelayFailures.Arn/*`` adds text to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..aws.buses import is_custom_bus
from ..relaying.processors import DEFAULT_PARK_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "NUMBERS", "Alarm", "Consumer", "Function", "Infrastructure", "Numbers", "Right"]

Mode = Literal["pipe", "relay", "cdc"]
Delivery = Literal["direct", "queue", "fifo"]
Dedup = Literal["inbox", "idempotent", "none"]

_DAY = 86_400
_STREAM = re.compile(r"(arn:[\w-]+:dynamodb:[\w-]+:[0-9]{12}:table/([\w.-]+))/stream/.+")


@dataclass(frozen=True)
class Numbers:
    """The numbers of the infrastructure; times in seconds unless the name has another unit.

    Attributes:
        batch_size: Stream records of one call.
        record_age: The age at which Lambda or the pipe gives a record up: 23 of the stream's 24 hours, so that a
            pointer can still be followed.
        retry_attempts: -1, because the function parks what fails; retries must not run out first.
        parallelization_factor: 1, because more breaks the order of an aggregate with several items.
        park_after: The age at which the function parks a retryable failure.
        function_timeout: Settling a commit takes 10 seconds, a silent bus 17, and parking a few.
        redrive_timeout: The redrive ends before its function does, and continues at the next call.
        invoke_attempts: Retries of an asynchronous call.
        queue_batch_size: Messages of one call of a consumer with a queue.
        visibility_factor: Visibility timeout over the function's timeout:
            https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        max_receive_count: Receives before a message is a dead letter; the same page asks for at least 5.
        subscriber_timeout: Timeout of a function that a subscriber calls: the subscriber waits for 30 s at most.
        subscriber_retention: Retention of a Custom Event Bus and of what its subscribers could not deliver, which is
            read again from the bus: shorter than the 8 days of dedup records, so that a replay finds them.
        queue_retention: Retention of a consumer's queue.
        dead_letter_retention: SQS's longest retention.
        period: The period of all alarms.
        log_days: Retention of the functions' logs.
        failure_days: Retention of the records in the failure bucket.
        recovery_days: Days that point-in-time recovery reaches back.
    """

    batch_size: int = 100
    record_age: int = 82_800
    retry_attempts: int = -1
    parallelization_factor: int = 1
    park_after: int = int(DEFAULT_PARK_AFTER.total_seconds())
    function_timeout: int = 30
    redrive_timeout: int = 300
    invoke_attempts: int = 2
    queue_batch_size: int = 10
    visibility_factor: int = 6
    max_receive_count: int = 5
    subscriber_timeout: int = 25
    subscriber_retention: int = 7 * _DAY
    queue_retention: int = 4 * _DAY
    dead_letter_retention: int = 14 * _DAY
    period: int = 300
    log_days: int = 30
    failure_days: int = 90
    recovery_days: int = 35


NUMBERS = Numbers()


@dataclass(frozen=True)
class Right:
    """Actions that a role needs.

    Attributes:
        actions: IAM actions.
        on: The resource: a logical id's attribute, perhaps with a suffix.
        by_service: Whether AWS uses the actions in the role's name; the function's code doesn't call them.
    """

    actions: tuple[str, ...]
    on: str
    by_service: bool = False


@dataclass(frozen=True)
class Function:
    """A Lambda function; its role has the function's name with ``Role``, its log group with ``Log``.

    Attributes:
        name: Logical id.
        handler: Module and function.
        rights: What its role allows, without its log group.
        variables: Environment variables: the logical id whose name the function needs.
        timeout: In seconds.
    """

    name: str
    handler: str
    rights: tuple[Right, ...]
    variables: Mapping[str, str]
    timeout: int = NUMBERS.function_timeout


@dataclass(frozen=True)
class Consumer:
    """A function that handles events.

    Attributes:
        name: Logical id of the function, letters and digits.
        handler: Module and function.
        event_types: The event types of its rule. Default: all.
        sources: The sources of its rule. Default: all.
        delivery: The rule's target: the function (``direct``), or its queue, standard or FIFO.
        dedup: How it recognises duplicates: an `Inbox`, `idempotent`, or not at all.
        rights: What its effect needs.
        variables: Environment variables: the logical id whose name the function needs. Default: ``DEDUP_TABLE``.

    Raises:
        ValueError: The name can't be a logical id.
    """

    name: str
    handler: str = "app.handler"
    event_types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    delivery: Delivery = "direct"
    dedup: Dedup = "inbox"
    rights: tuple[Right, ...] = ()
    variables: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,39}", self.name):
            raise ValueError(
                f"a consumer's name must have 1 to 40 letters and digits, a letter first, not {self.name!r}"
            )


@dataclass(frozen=True)
class Alarm:
    """A CloudWatch alarm on a metric; its logical id is `of` and `kind` together.

    Attributes:
        kind: What has happened; its heading in docs/operations/alarms.md.
        namespace: ``AWS/Lambda``; empty for the stack's own.
        metric: The metric's name.
        dimension: The dimension whose value is `of`; a rule's metrics have ``EventBusName`` too.
        statistic: ``Sum``, ``Maximum``; or ``SampleCount`` for an alarm that fires when the metric is missing.
        threshold: In the metric's unit; more breaches it.
        periods: The number of periods, all of which must breach.
        of: Logical id of the function, pipe, rule or queue.
        unless_idle: The logical id of a table: the alarm fires when the table is written to and the metric is 0.
    """

    kind: str
    namespace: str
    metric: str
    dimension: str
    statistic: str = "Sum"
    threshold: float = 0
    periods: int = 1
    of: str = ""
    unless_idle: str = ""

    @property
    def name(self) -> str:
        """The logical id."""
        return f"{self.of}{self.kind}"

    @property
    def meaning(self) -> str:
        """The alarm's cause, in a sentence."""
        return f"{self.of}: {MEANINGS[self.kind]}".removeprefix(": ")


MEANINGS = {
    "Stopped": "no batch was read from the stream for 15 minutes.",
    "NotRunning": "events were written for 15 minutes, but the pipe has not run.",
    "Failing": "it has failed or timed out for 15 minutes, with retries.",
    "PartlyFailing": "it has failed for some events for 15 minutes, with retries.",
    "TimingOut": "it has timed out for 15 minutes, with retries.",
    "Throttled": "it lacked capacity to run for 15 minutes.",
    "Retrying": "it has reported failed records for 15 minutes; Lambda retries them.",
    "Behind": "it has been over 15 minutes behind the stream for 15 minutes.",
    "GaveUp": "Lambda gave records up and stored them in the failure bucket; they are not on the bus.",
    "Dropped": "Lambda gave records up and did not store them.",
    "NotStored": "Lambda could not store what it gave up in the failure destination.",
    "ParkedRecords": "a record can't be published and is parked; the log has the reason.",
    "NotDelivering": "EventBridge could not deliver an event to the rule's target.",
    "LostEvents": "neither the rule's target nor its dead-letter queue took an event.",
    "Late": "an event has waited over 15 minutes.",
    "Arrived": "the queue contains an event that was not handled.",
}
"""The cause that each kind of alarm names."""

_LATE = 15 * 60
_LAMBDA = "AWS/Lambda"  # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
_MAPPING = "EventSourceMappingUUID"
_FUNCTION = (  # for 15 minutes, because Lambda tries again
    Alarm("Failing", _LAMBDA, "Errors", "FunctionName", periods=3),
    Alarm("Throttled", _LAMBDA, "Throttles", "FunctionName", periods=3),
)
_NOT_STORED = Alarm("NotStored", _LAMBDA, "DestinationDeliveryFailures", "FunctionName")
_READER = (
    # A stopped mapping sends no metric at all, not even IteratorAge.
    Alarm("Stopped", _LAMBDA, "PolledEventCount", _MAPPING, "SampleCount", periods=3),
    *_FUNCTION,
    # Errors does not count a response with batchItemFailures.
    Alarm("Retrying", _LAMBDA, "FailedInvokeEventCount", _MAPPING, periods=3),
    Alarm("Behind", _LAMBDA, "IteratorAge", "FunctionName", "Maximum", _LATE * 1000, 3),
    Alarm("GaveUp", _LAMBDA, "OnFailureDestinationDeliveredEventCount", _MAPPING),
    Alarm("Dropped", _LAMBDA, "DroppedEventCount", _MAPPING),
    _NOT_STORED,
)
_PIPES = "AWS/EventBridge/Pipes"  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-monitoring.html
_PIPE = (
    # A stopped pipe sends no metric, and neither does an idle one: only writes tell them apart.
    Alarm("NotRunning", _PIPES, "Invocations", "PipeName", periods=3, unless_idle="EventsTable"),
    Alarm("Failing", _PIPES, "ExecutionFailed", "PipeName", periods=3),
    Alarm("PartlyFailing", _PIPES, "ExecutionPartiallyFailed", "PipeName", periods=3),
    Alarm("TimingOut", _PIPES, "ExecutionTimeout", "PipeName", periods=3),
)
_PARKED = Alarm("ParkedRecords", "", "ParkedRecords", "")
_RULE = (  # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    Alarm("NotDelivering", "AWS/Events", "FailedInvocations", "RuleName"),
    Alarm("LostEvents", "AWS/Events", "InvocationsFailedToBeSentToDlq", "RuleName"),
)
_DIRECT = (
    *_FUNCTION,
    Alarm("Late", _LAMBDA, "AsyncEventAge", "FunctionName", "Maximum", _LATE * 1000),
    _NOT_STORED,
)
_AGE = Alarm("Late", "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "Maximum", _LATE)
_DEAD = Alarm("Arrived", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "Maximum")


def _alarms(of: str, *alarms: Alarm) -> list[Alarm]:
    return [replace(each, of=of) for each in alarms]


@dataclass(frozen=True)
class Infrastructure:
    """Everything between the transaction and the consumers' effects.

    Attributes:
        mode: ``pipe`` or ``relay`` for an events table; ``cdc`` for a table of your own that a `ChangeProcessor` reads.
        name: Prefix of the physical names: ``books`` gives the table ``books-events`` and the bus ``books``. Default:
            CloudFormation's names; the bus has the stack's.
        stream_arn: The stream of an existing table. Default: the table is part of the infrastructure.
        bus: Name or ARN of an existing bus. Default: the bus is part of the infrastructure.
        consumers: The consumers.
        handler: Module and function of the relay or change processor.
        redrive: Module and function that publishes parked records, on a schedule. Empty: records are not parked.
        redrive_rate: The schedule's expression. Empty: the function is called by hand.
        custom_bus: Whether the bus is a Custom Event Bus; always if `bus` is the ARN of one. A consumer is a
            subscriber: ``direct`` and ``fifo`` are in order, ``queue`` is not.

    Raises:
        ValueError: Values that don't fit together; the error names them.
    """

    mode: Mode = "relay"
    name: str = ""
    stream_arn: str = ""
    bus: str = ""
    consumers: tuple[Consumer, ...] = ()
    handler: str = "relay.handler"
    redrive: str = "relay.redrive"
    redrive_rate: str = "rate(1 hour)"
    custom_bus: bool = False

    def __post_init__(self) -> None:
        names = [each.name for each in self.consumers]
        if len({*names}) < len(names):
            raise ValueError(f"consumers need different names, but they are {names}")
        if self.name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,39}", self.name):
            raise ValueError(f"name={self.name!r} must have 1 to 40 letters, digits and hyphens, a letter first")
        if self.stream_arn and not _STREAM.fullmatch(self.stream_arn):
            raise ValueError(f"stream_arn={self.stream_arn!r} is not the ARN of a table's stream: see LatestStreamArn")
        if self.has_custom_bus and self.mode == "pipe":
            raise ValueError("a pipe can't publish to a Custom Event Bus; use mode='relay'")
        if self.custom_bus and self.bus and not is_custom_bus(self.bus):
            raise ValueError(f"bus={self.bus!r} is not the ARN of a Custom Event Bus, which has :event-busv2/ in it")

    @property
    def has_custom_bus(self) -> bool:
        """True for a Custom Event Bus."""
        return self.custom_bus or is_custom_bus(self.bus)

    @property
    def table(self) -> str:
        """The logical id of the table whose stream carries the events."""
        return "EntityTable" if self.mode == "cdc" else "EventsTable"

    @property
    def table_arn(self) -> str:
        """The ARN of the existing table; empty if the table is part of the infrastructure."""
        found = _STREAM.fullmatch(self.stream_arn)
        return found[1] if found else ""

    @property
    def reader(self) -> str:
        """The logical id of the pipe or function that reads the stream."""
        return {"pipe": "EventsPipe", "relay": "OutboxRelay", "cdc": "ChangeProcessor"}[self.mode]

    @property
    def parks(self) -> bool:
        """True if a function parks records; a pipe can't."""
        return self.mode != "pipe" and bool(self.redrive)

    def reader_rights(self) -> tuple[Right, ...]:
        """Return what the role of the pipe or function that reads the stream allows."""
        reading = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
        rights = [
            Right(reading, f"{self.table}.StreamArn", by_service=True),
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/iam-policy-read-stream-only.html
            Right(("dynamodb:ListStreams",), f"{self.table}.Arn/stream/*", by_service=True),
        ]
        if self.mode == "pipe":
            dead_letters = Right(("sqs:SendMessage",), "RelayDeadLetters.Arn", by_service=True)
            return (*rights, Right(("events:PutEvents",), "Bus.Arn", by_service=True), dead_letters)
        rights += [
            Right(("s3:PutObject",), "RelayFailures.Arn/*", by_service=True),
            Right(("s3:ListBucket",), "RelayFailures.Arn", by_service=True),
            Right(("events:PutEvents",), "Bus.Arn"),
        ]
        if self.parks:
            rights.append(
                Right(("dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), "ParkingTable.Arn")
            )
        return tuple(rights)

    def functions(self) -> tuple[Function, ...]:
        """Return the functions with their rights: relay or processor, redrive, consumers."""
        found = []
        if self.mode != "pipe":
            variables = {"EVENT_BUS": "Bus"} | ({"PARKING_TABLE": "ParkingTable"} if self.parks else {})
            found.append(Function(self.reader, self.handler, self.reader_rights(), variables))
            if self.parks:
                rights = (
                    Right(("events:PutEvents",), "Bus.Arn"),
                    Right(("dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"), "ParkingTable.Arn"),
                )
                found.append(Function("Redrive", self.redrive, rights, variables, NUMBERS.redrive_timeout))
        return (*found, *map(self._consumer, self.consumers))

    def _consumer(self, consumer: Consumer) -> Function:
        own: tuple[Right, ...] = ()
        if consumer.delivery != "direct":
            receive = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
            own = (Right(receive, f"{consumer.name}Queue.Arn", by_service=True),)
        elif not self.has_custom_bus:
            own = (Right(("sqs:SendMessage",), "ConsumerDeadLetters.Arn", by_service=True),)
        dedup = {
            "inbox": (Right(("dynamodb:GetItem", "dynamodb:PutItem"), "DedupTable.Arn"),),
            "idempotent": (Right(("dynamodb:UpdateItem",), "DedupTable.Arn"),),
            "none": (),
        }[consumer.dedup]
        variables = consumer.variables
        if variables is None:
            variables = {"DEDUP_TABLE": "DedupTable"} if dedup else {}
        waits = self.has_custom_bus and consumer.delivery == "direct"
        timeout = NUMBERS.subscriber_timeout if waits else NUMBERS.function_timeout
        return Function(consumer.name, consumer.handler, (*own, *dedup, *consumer.rights), variables, timeout)

    def delivery_rights(self, consumer: Consumer) -> tuple[Right, ...]:
        """Return what the role of a consumer's subscriber allows."""
        if consumer.delivery == "direct":
            deliver = Right(("lambda:InvokeFunction",), f"{consumer.name}.Arn", by_service=True)
        else:
            deliver = Right(("sqs:SendMessage",), f"{consumer.name}Queue.Arn", by_service=True)
        return (deliver, Right(("sqs:SendMessage",), f"{consumer.name}Undelivered.Arn", by_service=True))

    def alarms(self) -> tuple[Alarm, ...]:
        """Return the alarms, from the stream to the consumers."""
        if self.mode == "pipe":
            found = [*_alarms(self.reader, *_PIPE), *_alarms("RelayDeadLetters", _DEAD)]
        else:
            found = _alarms(self.reader, *_READER)
        if self.parks:
            found += [_PARKED, *_alarms("Redrive", *_FUNCTION)]
        for name, delivery in ((each.name, each.delivery) for each in self.consumers):
            if self.has_custom_bus:  # the dimensions of AWS/EventsV2's metrics are not documented consistently
                found += _alarms(name, *_FUNCTION) + _alarms(f"{name}Undelivered", _DEAD)
            else:
                found += _alarms(name, *(_DIRECT if delivery == "direct" else _FUNCTION))
                found += _alarms(f"{name}Rule", *_RULE)
            if delivery != "direct":
                found += _alarms(f"{name}Queue", _AGE) + _alarms(f"{name}DeadLetters", _DEAD)
        return (*found, *(_alarms("ConsumerDeadLetters", _DEAD) if self.consumers and not self.has_custom_bus else ()))
