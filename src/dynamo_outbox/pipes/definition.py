"""The EventBridge Pipe from an events table's stream to a bus: its definition, and what it makes of a record.

One definition is what a template deploys, what the tests render and what a stand-in for Pipes runs.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

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
"""What a template can name beside paths; a pipe without enrichment has no ``enrichment-arn``."""

_IMAGE = "$.dynamodb.NewImage"
_PLACEHOLDER = re.compile(r"<(\$[^<>]*|aws\.[^<>]*)>")
_QUOTE = re.compile(r'\\.|(")', re.DOTALL)
_PATH = re.compile(r"\$(?:\.[\w/-]+(?:\[(?:[0-9]{1,9}|\*)\])*)*", re.ASCII)
_STEP = re.compile(r"\.([\w/-]+)|\[([0-9]{1,9}|\*)\]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeDefinition:
    """What a pipe does with a record; made by `outbox_pipe`, or read from a template by `from_parameters`.

    Its filters, its template's paths and its parameters are checked when it is made, whatever the records hold.

    Attributes:
        patterns: The filters, at most five, ORed; none lets every record pass.
        input_template: The event's detail, with ``<$.path>`` where the record's values go and ``<aws.pipes.…>`` for
            what the pipe knows; at most 8,192 characters. None sends the record bare.
        detail_type, source: Text, or one whole path into the untransformed record.
        starting_position: ``TRIM_HORIZON``: ``LATEST`` can miss what changes while the pipe is being made.
        batch_size: Records a call; an event bus takes 10.
        maximum_retry_attempts: -1: without end.
        maximum_record_age: After which a record is given up and its pointer sent to the dead letters. Less than the
            stream's 24 hours, so that what the pointer points at can still be read.
        time: The event's time: one path into the record, or None for the time at which the bus takes it.
        resources: ARNs, or paths to them.

    Raises:
        InvalidPatternError: What CreatePipe would refuse, or what could never be filled in.
    """

    patterns: tuple[Mapping[str, Any], ...]
    input_template: str | None
    detail_type: str
    source: str
    starting_position: str = "TRIM_HORIZON"
    batch_size: int = 10
    maximum_retry_attempts: int = -1
    maximum_record_age: timedelta = field(default=timedelta(hours=23))
    time: str | None = None
    resources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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
            raise InvalidPatternError(f"Time: takes one path, not {self.time!r}")
        texts = [("DetailType", self.detail_type), ("Source", self.source), *(("Resources", r) for r in self.resources)]
        for parameter, value in texts:
            if "$." in value and not _PATH.fullmatch(value):
                raise InvalidPatternError(f"{parameter}: a path is the whole value and not a part of it: {value!r}")

    @classmethod
    def from_parameters(
        cls, source_parameters: Mapping[str, Any], target_parameters: Mapping[str, Any]
    ) -> PipeDefinition:
        """The definition in the two parts of a pipe's request or template.

        Args:
            source_parameters: ``SourceParameters``, as CreatePipe and CloudFormation spell them.
            target_parameters: ``TargetParameters``, likewise.

        Raises:
            InvalidPatternError: A filter's pattern is no JSON, or the definition is nothing that AWS would take.
        """
        stream = source_parameters.get("DynamoDBStreamParameters", {})
        bus = target_parameters.get("EventBridgeEventBusParameters", {})
        filters = source_parameters.get("FilterCriteria", {}).get("Filters", [])
        if unknown := bus.keys() - {"DetailType", "Source", "Time", "Resources"}:
            raise InvalidPatternError(f"EventBridgeEventBusParameters: {', '.join(sorted(unknown))} isn't known here")
        try:
            patterns = tuple(json.loads(each["Pattern"]) for each in filters)
        except (ValueError, RecursionError) as error:
            raise InvalidPatternError(f"a filter's pattern is no JSON: {error}") from None
        return cls(
            patterns=patterns,
            input_template=target_parameters.get("InputTemplate"),
            detail_type=bus.get("DetailType", "Event from aws:dynamodb"),
            source=bus.get("Source", ""),
            starting_position=stream.get("StartingPosition", "LATEST"),
            batch_size=int(stream.get("BatchSize", 100)),
            maximum_retry_attempts=int(stream.get("MaximumRetryAttempts", -1)),
            maximum_record_age=timedelta(seconds=int(stream.get("MaximumRecordAgeInSeconds", -1))),
            time=bus.get("Time"),
            resources=tuple(bus.get("Resources", ())),
        )

    def source_parameters(self, dead_letter_arn: Any) -> dict[str, Any]:
        """``SourceParameters``, for CreatePipe or CloudFormation.

        Args:
            dead_letter_arn: The queue for pointers to records that were given up; text or a CloudFormation function.
        """
        return {
            "DynamoDBStreamParameters": {
                "StartingPosition": self.starting_position,
                "BatchSize": self.batch_size,
                "MaximumRetryAttempts": self.maximum_retry_attempts,
                "MaximumRecordAgeInSeconds": int(self.maximum_record_age.total_seconds()),
                "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
                "DeadLetterConfig": {"Arn": dead_letter_arn},
            },
            "FilterCriteria": {
                "Filters": [
                    {"Pattern": json.dumps(each, ensure_ascii=False, separators=(",", ":"))} for each in self.patterns
                ]
            },
        }

    def target_parameters(self) -> dict[str, Any]:
        """``TargetParameters``, for CreatePipe or CloudFormation."""
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
        """The arguments of boto3's ``create_pipe``.

        https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_CreatePipe.html

        Args:
            name: The pipe's.
            role_arn: What the pipe may do: read the stream, put events on the bus, send to the dead letters.
            source_arn: The stream.
            target_arn: The bus.
            dead_letter_arn: The queue for pointers to records that were given up.
        """
        return {"Name": name, **self._properties(role_arn, source_arn, target_arn, dead_letter_arn)}

    def cloudformation(self, role: Any, source: Any, target: Any, dead_letter: Any) -> dict[str, Any]:
        """The resource for a CloudFormation or SAM template.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-pipes-pipe.html

        Args:
            role, source, target, dead_letter: ARNs as in `create_pipe_request`, each as text or as a CloudFormation
                function: ``{"Fn::GetAtt": ["EventsTable", "StreamArn"]}``.
        """
        return {"Type": "AWS::Pipes::Pipe", "Properties": self._properties(role, source, target, dead_letter)}

    def _properties(self, role: Any, source: Any, target: Any, dead_letter: Any) -> dict[str, Any]:
        return {
            "RoleArn": role,
            "Source": source,
            "SourceParameters": self.source_parameters(dead_letter),
            "Target": target,
            "TargetParameters": self.target_parameters(),
        }


def outbox_pipe() -> PipeDefinition:
    """The pipe of an outbox table: insertions of outbox items only, as events that `parse_event` reads.

    The filter lets every format pass, so that one which a consumer doesn't know fails there instead of vanishing here.
    Data and context arrive as JSON text, because a pipe doesn't look into a text attribute.
    """
    metadata = {
        "id": "eventId.S",
        "type": "eventType.S",
        "version": "eventVersion.N",
        "time": "eventTime.S",
        "aggregateType": "aggregateType.S",
        "aggregateId": "aggregateId.S",
        "context": "eventContext.S",
        "outboxFormat": "outboxFormat.N",
    }
    members = ", ".join(f'"{name}":<{_IMAGE}.{attribute}>' for name, attribute in metadata.items())
    return PipeDefinition(
        patterns=({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"outboxFormat": {"N": [{"exists": True}]}}}},),
        input_template=f'{{"metadata":{{{members}}}, "data":<{_IMAGE}.eventData.S>}}',
        detail_type=f"{_IMAGE}.eventType.S",
        source=f"{_IMAGE}.source.S",
    )


def render(
    record: Mapping[str, Any], definition: PipeDefinition | None = None, variables: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The PutEvents entry, without its bus, that a pipe makes of a stream record; None where its filter drops it.

    Args:
        record: The record, in the JSON shape in which a pipe or Lambda sees it.
        definition: The pipe; by default `outbox_pipe`.
        variables: What the template's reserved variables stand for, by name: ``{"aws.pipes.pipe-name": "books"}``.
            They are put in like the values at paths.

    Raises:
        InvalidPatternError: The template names a reserved variable that isn't given.
        RenderError: What comes out is nothing that PutEvents would take: the detail is no JSON object, or the detail
            type or the source is missing. AWS would retry such a record and then send its pointer to the dead letters.
    """
    pipe = definition or outbox_pipe()
    if pipe.patterns and not any(matches(pattern, record, service="pipe") for pattern in pipe.patterns):
        return None
    detail = json.dumps(record) if pipe.input_template is None else _fill_in(pipe.input_template, record, variables)
    try:
        is_object = isinstance(json.loads(detail), dict)
    except ValueError as error:
        raise RenderError(f"the input template gives no JSON for this record: {error}: {detail}") from None
    if not is_object:
        raise RenderError(f"an event's detail is a JSON object, and the input template gives {detail}")
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
        raise RenderError(f"{name}: {value!r} gives {found} for this record, and EventBridge needs text")
    return found[0]


def _check_placeholder(name: str) -> None:
    if name.startswith("$") and not _PATH.fullmatch(name):
        raise InvalidPatternError(
            f"<{name}> is no path: $, then .name with letters, digits, _, - and /, each with any number of [0] or [*]"
        )
    if name.startswith("aws.") and name not in RESERVED_VARIABLES:
        raise InvalidPatternError(f"<{name}> is none of a pipe's variables: {', '.join(sorted(RESERVED_VARIABLES))}")


def _fill_in(template: str, record: Mapping[str, Any], variables: Mapping[str, Any] | None) -> str:
    """Put values into a template: JSON outside quotes, bare text inside; a path that leads nowhere vanishes.

    AWS asks for no quotes around an object or an array: what comes of them is rarely JSON.
    """
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
            raise InvalidPatternError(f"the reserved variable <{name}> is used, and no value is given for it")
        out.append(before)
        for value in found:
            text = json.dumps(value, ensure_ascii=False)
            out.append(text[1:-1] if quoted and isinstance(value, str) else text)
    return "".join([*out, template[end:]])


def _at(path: str, record: Mapping[str, Any]) -> list[Any]:
    """What is at a path: one value or, where it leads nowhere, none. From ``[*]`` on, one list of all that is there."""
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
