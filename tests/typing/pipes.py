"""The pipe: its definition, and rendering of a record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_type

from dynamo_outbox.pipes import InvalidPatternError, PipeDefinition, RenderError, matches, outbox_pipe, render


def defined() -> None:
    assert_type(outbox_pipe(), PipeDefinition)
    definition = PipeDefinition(
        patterns=({"eventName": ["INSERT"]},),
        input_template='{"name": <$.dynamodb.NewImage.name.S>}',
        detail_type="BookAdded",
        source="books",
        starting_position="LATEST",
        batch_size=5,
        maximum_retry_attempts=3,
        maximum_record_age=timedelta(hours=1),
        time="$.dynamodb.NewImage.eventTime.S",
        resources=("$.eventSourceARN",),
        maximum_batching_window=timedelta(seconds=20),
        parallelization_factor=2,
        on_partial_batch_item_failure="AUTOMATIC_BISECT",
    )
    assert_type(definition, PipeDefinition)
    PipeDefinition(patterns=(), input_template=None, detail_type="BookChanged", source="books")


def refused_definitions(definition: PipeDefinition) -> None:
    # The source is required.
    PipeDefinition(patterns=(), input_template=None, detail_type="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # All arguments are keyword arguments.
    PipeDefinition((), None, "x", "books")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A pattern is a mapping, not JSON text.
    PipeDefinition(patterns=("{}",), input_template=None, detail_type="x", source="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A definition is immutable.
    definition.source = "shelves"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def fields(definition: PipeDefinition) -> None:
    assert_type(definition.patterns, tuple[Mapping[str, Any], ...])
    assert_type(definition.input_template, str | None)
    assert_type(definition.detail_type, str)
    assert_type(definition.source, str)
    assert_type(definition.starting_position, str)
    assert_type(definition.batch_size, int)
    assert_type(definition.maximum_retry_attempts, int)
    assert_type(definition.maximum_record_age, timedelta | None)
    assert_type(definition.maximum_batching_window, timedelta | None)
    assert_type(definition.parallelization_factor, int | None)
    assert_type(definition.on_partial_batch_item_failure, str | None)
    assert_type(definition.time, str | None)
    assert_type(definition.resources, tuple[str, ...])


def deployed(definition: PipeDefinition, template: dict[str, Any]) -> None:
    assert_type(PipeDefinition.from_parameters(template, template), PipeDefinition)
    PipeDefinition.from_parameters(source_parameters=template, target_parameters=template)
    assert_type(definition.source_parameters("arn"), dict[str, Any])
    definition.source_parameters(dead_letter_arn={"Fn::GetAtt": ["DeadLetters", "Arn"]})
    assert_type(definition.target_parameters(), dict[str, Any])
    assert_type(definition.create_pipe_request("name", "role", "source", "target", "dead"), dict[str, Any])
    definition.create_pipe_request(name="n", role_arn="r", source_arn="s", target_arn="t", dead_letter_arn="d")
    assert_type(definition.cloudformation("role", {"Ref": "Stream"}, "target", "dead"), dict[str, Any])
    definition.cloudformation(role="r", source="s", target="t", dead_letter="d")
    # CreatePipe takes ARNs, not CloudFormation functions.
    definition.create_pipe_request("n", {"Ref": "Role"}, "s", "t", "d")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The dead-letter ARN is required.
    definition.source_parameters()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def rendered(record: Mapping[str, Any], definition: PipeDefinition) -> None:
    assert_type(render(record), dict[str, Any] | None)
    render(record, definition)
    render(record, definition=definition, variables={"aws.pipes.pipe-name": "books"})
    render(record, None, None)
    render(record, escapes=False)
    # The result is None if the filter dropped the record.
    render(record)["Detail"]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]
    # The reading of AWS's page is a keyword argument.
    render(record, None, None, False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The definition comes before the variables.
    render(record, {"aws.pipes.pipe-name": "books"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def matched(pattern: Mapping[str, Any], event: Mapping[str, Any], service: str) -> None:
    assert_type(matches(pattern, event), bool)
    matches(pattern, event, service="rule")
    matches(pattern=pattern, event=event, service="pipe")
    # A pattern is a mapping, not JSON text.
    matches('{"source": ["books"]}', event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The service is one of two literals.
    matches(pattern, event, service="bus")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    matches(pattern, event, service=service)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The service is a keyword argument.
    matches(pattern, event, "pipe")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def errors() -> None:
    _: list[Exception] = [InvalidPatternError("no pattern"), RenderError("no JSON")]
