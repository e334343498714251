"""The EventBridge Pipe from an events table's stream to a bus: its definition, and how it renders a record.

Templates deploy, tests render and `dynamo_outbox.testing.PipeRunner` runs the same definition.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..aws.buses import is_custom_bus
from ..errors import InvalidPatternError, RenderError
from .patterns import compile_pattern, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PipeDefinition", "outbox_pipe", "render"]

MAX_TEMPLATE_LENGTH = 8192
"""https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_PipeTargetParameters.html"""

MAX_FILTERS = 5
"""https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_FilterCriteria.html"""

RESERVED_VARIABLES = frozenset(
    f"aws.pipes.{name}"
    for name in (
        *("pipe-arn", "pipe-name", "source-arn", "enrichment-arn", "target-arn"),
        *("event.ingestion-time", "event", "event.json"),
    )
)
"""Variables that a template can use besides paths; a pipe without enrichment has no ``enrichment-arn``."""

_IMAGE = "$.dynamodb.NewImage"
_PLACEHOLDER = re.compile(r"<(\$[^<>]*|aws\.[^<>]*)>")
_QUOTE = re.compile(r'\\.|(")', re.DOTALL)
_PATH = re.compile(r"\$(?:\.[\w/-]+(?:\[(?:[0-9]{1,9}|\*)\])*)*", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_STEP = re.compile(r"\.([\w/-]+)|\[([0-9]{1,9}|\*)\]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeDefinition:
    """A pipe's filters, template and parameters; created by `outbox_pipe`, or from a template by `from_parameters`.

    Attributes:
        patterns: The filters, at most five, combined with OR; without filters every record passes.
        input_template: The event's detail, at most 8,192 characters, with ``<$.path>`` for values of the record and
            ``<aws.pipes.…>`` for the pipe's variables. None sends the unchanged record.
        detail_type, source: Text, or one path into the untransformed record as the whole value.
        starting_position: ``TRIM_HORIZON``, because ``LATEST`` can miss changes while the pipe is being created.
        batch_size: Records per call; an event bus takes at most 10.
        maximum_retry_attempts: -1 means no limit.
        maximum_record_age: The age at which the pipe sends the record's pointer to the dead-letter queue. Less than the
            stream's 24 hours, so that the record can still be read. None means no limit.
        time: The event's time: one path into the record, or None for the time at which the bus receives the event.
        resources: ARNs, or paths to ARNs, at most ten.
        maximum_batching_window, parallelization_factor: As in AWS's page; None leaves AWS's default.
        on_partial_batch_item_failure: ``AUTOMATIC_BISECT``: a failed batch is split in half. None: it is sent again.

    Raises:
        InvalidPatternError: CreatePipe would refuse the definition, or a placeholder could never be filled in.
    """

    patterns: tuple[Mapping[str, Any], ...]
    input_template: str | None
    detail_type: str
    source: str
    starting_position: str = "TRIM_HORIZON"
    batch_size: int = 10
    maximum_retry_attempts: int = -1
    maximum_record_age: timedelta | None = timedelta(hours=23)
    time: str | None = None
    resources: tuple[str, ...] = ()
    maximum_batching_window: timedelta | None = None
    parallelization_factor: int | None = None
    on_partial_batch_item_failure: str | None = "AUTOMATIC_BISECT"

    def __post_init__(self) -> None:
        self._check_ranges()
        if len(self.patterns) > MAX_FILTERS:
            raise InvalidPatternError(f"a pipe has at most {MAX_FILTERS} filters, not {len(self.patterns)}")
        for pattern in self.patterns:
            compile_pattern(pattern, service="pipe")
        if self.input_template is not None:
            if len(self.input_template) > MAX_TEMPLATE_LENGTH:
                raise InvalidPatternError(f"an input template has at most {MAX_TEMPLATE_LENGTH:,} characters")
            for name in _PLACEHOLDER.findall(self.input_template):
                _check_placeholder(name)
        if self.time is not None and not _PATH.fullmatch(self.time):
            raise InvalidPatternError(f"Time: must be one path, not {self.time!r}")
        texts = [("DetailType", self.detail_type), ("Source", self.source), *(("Resources", r) for r in self.resources)]
        for parameter, value in texts:
            if "$." in value and not _PATH.fullmatch(value):
                raise InvalidPatternError(f"{parameter}: a path must be the whole value, not a part of it: {value!r}")

    def _check_ranges(self) -> None:
        """Refuse numbers and texts that CreatePipe would refuse.

        https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_PipeSourceDynamoDBStreamParameters.html
        https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_PipeTargetEventBridgeEventBusParameters.html
        """
        if self.starting_position not in ("TRIM_HORIZON", "LATEST"):
            raise InvalidPatternError(
                f"StartingPosition: must be TRIM_HORIZON or LATEST, not {self.starting_position!r}"
            )
        if self.on_partial_batch_item_failure not in (None, "AUTOMATIC_BISECT"):
            raise InvalidPatternError(
                f"OnPartialBatchItemFailure: must be AUTOMATIC_BISECT, not {self.on_partial_batch_item_failure!r}"
            )
        for name, value, least, most in (
            ("BatchSize", self.batch_size, 1, 10_000),
            ("MaximumRetryAttempts", self.maximum_retry_attempts, -1, 10_000),
            ("MaximumRecordAgeInSeconds", _seconds(self.maximum_record_age), 60, 604_800),
            ("MaximumBatchingWindowInSeconds", _seconds(self.maximum_batching_window), 0, 300),
            ("ParallelizationFactor", self.parallelization_factor, 1, 10),
            ("Source: characters", len(self.source), 1, 256),
            ("DetailType: characters", len(self.detail_type), 1, 128),
            ("Time: characters", None if self.time is None else len(self.time), 1, 256),
            ("Resources: entries", len(self.resources), 0, 10),
            *(("Resources: characters", len(each), 1, 1600) for each in self.resources),
        ):
            if value is not None and not least <= value <= most:
                raise InvalidPatternError(f"{name}: must be from {least:,} to {most:,}, not {value:,}")

    @classmethod
    def from_parameters(
        cls, source_parameters: Mapping[str, Any], target_parameters: Mapping[str, Any]
    ) -> PipeDefinition:
        """Return the definition in a pipe's ``SourceParameters`` and ``TargetParameters``.

        Args:
            source_parameters, target_parameters: As in a CreatePipe request or a CloudFormation resource.

        Raises:
            InvalidPatternError: A filter's pattern is not JSON, a parameter is unknown or a CloudFormation function, or
                AWS would refuse the definition.
        """
        source = _known("SourceParameters", source_parameters, _SOURCE_PARAMETERS)
        target = _known("TargetParameters", target_parameters, _TARGET_PARAMETERS)
        if "DynamoDBStreamParameters" not in source:
            raise InvalidPatternError(
                "DynamoDBStreamParameters is missing: the pipe's source must be a DynamoDB stream"
            )
        stream = _known("DynamoDBStreamParameters", source["DynamoDBStreamParameters"], _STREAM_PARAMETERS)
        bus = _known("EventBridgeEventBusParameters", target.get("EventBridgeEventBusParameters", {}), _BUS_PARAMETERS)
        filters = _known("FilterCriteria", source.get("FilterCriteria", {}), {"Filters": list})
        resources = bus.get("Resources", [])
        for position, each in enumerate(resources):
            if not isinstance(each, str):
                raise _function(f"EventBridgeEventBusParameters.Resources[{position}]", each)
        age = stream.get("MaximumRecordAgeInSeconds", -1)
        window = stream.get("MaximumBatchingWindowInSeconds")
        return cls(
            patterns=_patterns(filters.get("Filters", [])),
            input_template=target.get("InputTemplate"),
            detail_type=bus.get("DetailType", "Event from aws:dynamodb"),
            source=bus.get("Source", "Pipe"),
            starting_position=stream.get("StartingPosition", ""),
            batch_size=stream.get("BatchSize", 100),
            maximum_retry_attempts=stream.get("MaximumRetryAttempts", -1),
            maximum_record_age=None if age == -1 else timedelta(seconds=age),
            time=bus.get("Time"),
            resources=tuple(resources),
            maximum_batching_window=None if window is None else timedelta(seconds=window),
            parallelization_factor=stream.get("ParallelizationFactor"),
            on_partial_batch_item_failure=stream.get("OnPartialBatchItemFailure"),
        )

    def source_parameters(self, dead_letter_arn: Any) -> dict[str, Any]:
        """Return ``SourceParameters`` for CreatePipe or CloudFormation.

        Args:
            dead_letter_arn: The queue for pointers to expired records: text or a CloudFormation function.
        """
        age = _seconds(self.maximum_record_age)
        stream = {
            "StartingPosition": self.starting_position,
            "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": _seconds(self.maximum_batching_window),
            "MaximumRetryAttempts": self.maximum_retry_attempts,
            "MaximumRecordAgeInSeconds": -1 if age is None else age,
            "ParallelizationFactor": self.parallelization_factor,
            "OnPartialBatchItemFailure": self.on_partial_batch_item_failure,
            "DeadLetterConfig": {"Arn": dead_letter_arn},
        }
        return {
            "DynamoDBStreamParameters": {name: value for name, value in stream.items() if value is not None},
            "FilterCriteria": {
                "Filters": [
                    {"Pattern": json.dumps(each, ensure_ascii=False, separators=(",", ":"))} for each in self.patterns
                ]
            },
        }

    def target_parameters(self) -> dict[str, Any]:
        """Return ``TargetParameters`` for CreatePipe or CloudFormation."""
        bus: dict[str, Any] = {"DetailType": self.detail_type, "Source": self.source}
        if self.time is not None:
            bus["Time"] = self.time
        if self.resources:
            bus["Resources"] = list(self.resources)
        parameters: dict[str, Any] = {"EventBridgeEventBusParameters": bus}
        if self.input_template is not None:
            parameters["InputTemplate"] = self.input_template
        return parameters

    def create_pipe_request(
        self, name: str, role_arn: str, source_arn: str, target_arn: str, dead_letter_arn: str
    ) -> dict[str, Any]:
        """Return the arguments of boto3's ``create_pipe``.

        https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_CreatePipe.html

        Args:
            name: The pipe's name.
            role_arn: The pipe's role: it reads the stream, puts events on the bus, sends to the dead-letter queue.
            source_arn: The stream.
            target_arn: The bus.
            dead_letter_arn: The queue for pointers to expired records.

        Raises:
            ValueError: The target is a Custom Event Bus.
        """
        return {"Name": name, **self._properties(role_arn, source_arn, target_arn, dead_letter_arn)}

    def cloudformation(self, role: Any, source: Any, target: Any, dead_letter: Any) -> dict[str, Any]:
        """Return the resource for a CloudFormation or SAM template.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-pipes-pipe.html

        Args:
            role, source, target, dead_letter: ARNs as in `create_pipe_request`, each as text or a CloudFormation
                function: ``{"Fn::GetAtt": ["EventsTable", "StreamArn"]}``.
        """
        return {"Type": "AWS::Pipes::Pipe", "Properties": self._properties(role, source, target, dead_letter)}

    def _properties(self, role: Any, source: Any, target: Any, dead_letter: Any) -> dict[str, Any]:
        if isinstance(target, str) and is_custom_bus(target):
            raise ValueError(f"a pipe can't publish to a Custom Event Bus, {target}; use OutboxRelay")
        return {
            "RoleArn": role,
            "Source": source,
            "SourceParameters": self.source_parameters(dead_letter),
            "Target": target,
            "TargetParameters": self.target_parameters(),
        }


_STREAM_PARAMETERS = {
    **dict.fromkeys(("StartingPosition", "OnPartialBatchItemFailure"), str),
    **dict.fromkeys(("BatchSize", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds"), int),
    **dict.fromkeys(("MaximumRetryAttempts", "ParallelizationFactor"), int),
    "DeadLetterConfig": object,
}
_BUS_PARAMETERS = {"DetailType": str, "Source": str, "Time": str, "Resources": list}
_SOURCE_PARAMETERS = {"DynamoDBStreamParameters": dict, "FilterCriteria": dict}
_TARGET_PARAMETERS = {"EventBridgeEventBusParameters": dict, "InputTemplate": str}
"""The known parameters, and their types."""


def _known(name: str, parameters: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the members of a parameter; refuse those that would get lost."""
    found: dict[str, Any] = {}
    for member, value in parameters.items():
        if member == "Ref" or member.startswith("Fn::"):
            raise _function(name, parameters)
        if member not in kinds:
            raise InvalidPatternError(f"{name}.{member} is not supported")
        kind = kinds[member]
        if kind is int and isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)  # as YAML or a template's parameter may have it
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _function(f"{name}.{member}", value)
        found[member] = value
    return found


def _function(name: str, value: object) -> InvalidPatternError:
    """Return the error for a value that is only known when a template is deployed, or of the wrong type."""
    if isinstance(value, dict):
        return InvalidPatternError(f"{name} is {value!r}: put the values of CloudFormation's functions in first")
    return InvalidPatternError(f"{name} has the wrong type: {value!r}")


def _patterns(filters: Any) -> tuple[Any, ...]:
    patterns = []
    for position, each in enumerate(filters):
        where = f"Filters[{position}].Pattern"
        if not isinstance(each, dict):
            raise _function(f"Filters[{position}]", each)
        text = _known(f"Filters[{position}]", each, {"Pattern": object}).get("Pattern")
        if not isinstance(text, str):
            raise _function(where, text)
        try:
            patterns.append(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise InvalidPatternError(f"{where} is not JSON: {error}") from None
    return tuple(patterns)


def _seconds(duration: timedelta | None) -> int | None:
    return None if duration is None else int(duration.total_seconds())


def outbox_pipe() -> PipeDefinition:
    """Return the pipe of an outbox table, which sends inserted outbox items as events that `parse_event` reads.

    The filter passes every format, so that an unknown format fails at the consumer instead of being dropped in silence.
    The template inserts the item as one object, and as text only what can't contain a quote, a backslash or a control
    character: AWS does not say whether a pipe escapes these inside a text.
    """
    metadata = {"id": "eventId.S", "type": "eventType.S", "version": "eventVersion.N", "time": "eventTime.S"}
    members = ", ".join(f'"{name}":<{_IMAGE}.{attribute}>' for name, attribute in metadata.items())
    return PipeDefinition(
        patterns=({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"outboxFormat": {"N": [{"exists": True}]}}}},),
        input_template=f'{{"metadata":{{{members}}}, "outboxItem":<{_IMAGE}>}}',
        detail_type=f"{_IMAGE}.eventType.S",
        source=f"{_IMAGE}.source.S",
    )


def render(
    record: Mapping[str, Any],
    definition: PipeDefinition | None = None,
    variables: Mapping[str, Any] | None = None,
    *,
    escapes: bool = True,
) -> dict[str, Any] | None:
    """Return the PutEvents entry, without its bus, that a pipe makes of a stream record; None if the filter drops it.

    Args:
        record: The record, in the JSON form that Pipes and Lambda deliver.
        definition: The pipe; by default `outbox_pipe`.
        variables: Values of the template's reserved variables, by name: ``{"aws.pipes.pipe-name": "books"}``.
        escapes: Whether the pipe escapes quotes, backslashes and control characters in a text that it inserts; AWS's
            pages can be read either way.

    A path without a value gives nothing here; what a pipe inserts for it is not documented (a rule inserts ``""``).

    Raises:
        InvalidPatternError: The template uses a reserved variable that is not in `variables`.
        RenderError: PutEvents would refuse the entry: its detail is not a JSON object, or its detail type or source is
            missing. AWS would retry such a record and then send its pointer to the dead-letter queue.
    """
    pipe = definition or outbox_pipe()
    if pipe.patterns and not any(matches(pattern, record, service="pipe") for pattern in pipe.patterns):
        return None
    detail = json.dumps(record) if pipe.input_template is None else _fill_in(pipe, record, variables, escapes)
    try:
        is_object = isinstance(json.loads(detail), dict)
    except ValueError as error:
        raise RenderError(f"the input template does not give JSON for this record: {error}: {detail}") from None
    if not is_object:
        raise RenderError(f"an event's detail must be a JSON object, but the input template gives {detail}")
    entry: dict[str, Any] = {
        "Source": _parameter("Source", pipe.source, record),
        "DetailType": _parameter("DetailType", pipe.detail_type, record),
        "Detail": detail,
    }
    if pipe.time is not None:
        entry["Time"] = _parameter("Time", pipe.time, record)
    if pipe.resources:
        entry["Resources"] = [_parameter("Resources", each, record) for each in pipe.resources]
    return entry


def _parameter(name: str, value: str, record: Mapping[str, Any]) -> str:
    found = _at(value, record) if value.startswith("$.") else [value]
    if len(found) != 1 or not isinstance(found[0], str) or not found[0]:
        raise RenderError(f"{name}: {value!r} gives {found} for this record, but EventBridge needs text")
    return found[0]


def _check_placeholder(name: str) -> None:
    if name.startswith("$") and not _PATH.fullmatch(name):
        raise InvalidPatternError(
            f"<{name}> is not a path: use $, then .name with letters, digits, _, - and /, each followed by any number "
            "of [0] or [*]"
        )
    if name.startswith("aws.") and name not in RESERVED_VARIABLES:
        raise InvalidPatternError(f"<{name}> is not one of a pipe's variables: {', '.join(sorted(RESERVED_VARIABLES))}")


def _fill_in(
    pipe: PipeDefinition, record: Mapping[str, Any], variables: Mapping[str, Any] | None, escapes: bool
) -> str:
    """Fill in a template: values as JSON outside quotes, as escaped text inside; nothing for a path without a value.

    AWS advises against quotes around an object or an array, because the result is rarely JSON.
    """
    template = pipe.input_template or ""
    out: list[str] = []
    quoted = False
    end = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        before = template[end : placeholder.start()]
        quoted ^= "".join(_QUOTE.findall(before)).count('"') % 2 == 1
        end = placeholder.end()
        name = placeholder[1]
        if name.startswith("$"):
            found = _at(name, record)
        elif variables and name in variables:
            found = [variables[name]]
        else:
            raise InvalidPatternError(f"the reserved variable <{name}> is used; give its value in `variables`")
        out.append(before)
        for value in found:
            text = json.dumps(value, ensure_ascii=False)
            if isinstance(value, str):
                text = text if escapes else f'"{value}"'
                text = text[1:-1] if quoted else text
            out.append(text)
    return "".join([*out, template[end:]])


def _at(path: str, record: Mapping[str, Any]) -> list[Any]:
    """Return a list with the value at a path, empty if there is none; from ``[*]`` on, the value is a list of all."""
    found: list[Any] = [record]
    starred = False
    for name, index in _STEP.findall(path):
        if name:
            found = [each[name] for each in found if isinstance(each, dict) and name in each]
        elif index == "*":
            arrays = [each for each in found if isinstance(each, list)]
            if not arrays and not starred:
                return []
            found = [member for array in arrays for member in array]
            starred = True
        else:
            found = [each[int(index)] for each in found if isinstance(each, list) and int(index) < len(each)]
    return [found] if starred else found
