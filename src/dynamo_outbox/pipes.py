"""The EventBridge Pipe from an events table's stream to a bus: its definition, and what it makes of a record.

One definition is what a template deploys, what the tests render and what a stand-in for Pipes runs.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .core.patterns import matches
from .errors import InvalidPatternError, RenderError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["InvalidPatternError", "PipeDefinition", "RenderError", "matches", "outbox_pipe", "render"]

MAX_TEMPLATE_LENGTH = 8192
"""https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_PipeTargetParameters.html"""

_IMAGE = "$.dynamodb.NewImage"
_PLACEHOLDER = re.compile(r"<(\$[^<>]*|aws\.[^<>]*)>")
_STEP = re.compile(r"\.([A-Za-z0-9_/-]+)|\[([0-9]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeDefinition:
    """What a pipe does with a record; made by `outbox_pipe`, or read from a template by `from_parameters`.

    Attributes:
        patterns: The filters, ORed; none lets every record pass.
        input_template: The event's detail, with ``<$.path>`` where the record's values go; None sends the record bare.
        detail_type, source: Text, or one path into the record.
        starting_position: ``TRIM_HORIZON``: ``LATEST`` can miss what changes while the pipe is being made.
        batch_size: Records a call; an event bus takes 10.
        maximum_retry_attempts: -1: without end.
        maximum_record_age: After which a record is given up and its pointer sent to the dead letters. Less than the
            stream's 24 hours, so that what the pointer points at can still be read.
    """

    patterns: tuple[Mapping[str, Any], ...]
    input_template: str | None
    detail_type: str
    source: str
    starting_position: str = "TRIM_HORIZON"
    batch_size: int = 10
    maximum_retry_attempts: int = -1
    maximum_record_age: timedelta = field(default=timedelta(hours=23))

    def __post_init__(self) -> None:
        if self.input_template is not None and len(self.input_template) > MAX_TEMPLATE_LENGTH:
            raise InvalidPatternError(f"an input template has at most {MAX_TEMPLATE_LENGTH:,} characters")

    @classmethod
    def from_parameters(
        cls, source_parameters: Mapping[str, Any], target_parameters: Mapping[str, Any]
    ) -> PipeDefinition:
        """The definition in the two parts of a pipe's request or template.

        Args:
            source_parameters: ``SourceParameters``, as CreatePipe and CloudFormation spell them.
            target_parameters: ``TargetParameters``, likewise.

        Raises:
            InvalidPatternError: A filter's pattern is no JSON.
        """
        stream = source_parameters.get("DynamoDBStreamParameters", {})
        bus = target_parameters.get("EventBridgeEventBusParameters", {})
        filters = source_parameters.get("FilterCriteria", {}).get("Filters", [])
        try:
            patterns = tuple(json.loads(each["Pattern"]) for each in filters)
        except ValueError as error:
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
                "Filters": [{"Pattern": json.dumps(each, separators=(",", ":"))} for each in self.patterns]
            },
        }

    def target_parameters(self) -> dict[str, Any]:
        """``TargetParameters``, for CreatePipe or CloudFormation."""
        parameters: dict[str, Any] = {
            "EventBridgeEventBusParameters": {"DetailType": self.detail_type, "Source": self.source}
        }
        if self.input_template is not None:
            parameters["InputTemplate"] = self.input_template
        return parameters


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


def render(record: Mapping[str, Any], definition: PipeDefinition | None = None) -> dict[str, Any] | None:
    """The PutEvents entry, without its bus, that a pipe makes of a stream record; None where its filter drops it.

    Args:
        record: The record, in the JSON shape in which a pipe or Lambda sees it.
        definition: The pipe; by default `outbox_pipe`.

    Raises:
        RenderError: What comes out is nothing that PutEvents would take: the detail is no JSON object, or the detail
            type or the source is missing. AWS would retry such a record and then send its pointer to the dead letters.
    """
    pipe = definition or outbox_pipe()
    if pipe.patterns and not any(matches(pattern, record, service="pipe") for pattern in pipe.patterns):
        return None
    detail = json.dumps(record) if pipe.input_template is None else _fill_in(pipe.input_template, record)
    try:
        is_object = isinstance(json.loads(detail), dict)
    except ValueError as error:
        raise RenderError(f"the input template gives no JSON for this record: {error}: {detail}") from None
    if not is_object:
        raise RenderError(f"an event's detail is a JSON object, and the input template gives {detail}")
    return {
        "Source": _parameter("Source", pipe.source, record),
        "DetailType": _parameter("DetailType", pipe.detail_type, record),
        "Detail": detail,
    }


def _parameter(name: str, value: str, record: Mapping[str, Any]) -> str:
    found = _at(value, record) if value.startswith("$.") else value
    if not isinstance(found, str) or not found:
        raise RenderError(f"{name}: {value!r} gives {found!r} for this record, and EventBridge needs text")
    return found


def _fill_in(template: str, record: Mapping[str, Any]) -> str:
    """Put values into a template: JSON outside quotes, bare text inside; a path that leads nowhere vanishes."""
    out: list[str] = []
    quoted = False
    end = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        before = template[end : placeholder.start()]
        quoted ^= before.replace('\\"', "").count('"') % 2 == 1
        end = placeholder.end()
        path = placeholder[1]
        if path.startswith("aws."):
            raise InvalidPatternError(f"the reserved variable <{path}> isn't known here")
        value = _at(path, record)
        text = "" if value is None else json.dumps(value, ensure_ascii=False)
        out += [before, text[1:-1] if quoted and isinstance(value, str) else text]
    return "".join([*out, template[end:]])


def _at(path: str, record: Mapping[str, Any]) -> Any:
    value: Any = record
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise InvalidPatternError(f"{path!r} is no path of names and indices")
        name, index = step.groups()
        if name is not None:
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        position = step.end()
    return value
