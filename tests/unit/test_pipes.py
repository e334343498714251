"""Pipes: patterns, templates, and what a pipe makes of a record."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.errors import InvalidPatternError, RenderError
from dynamo_outbox.pipes import PipeDefinition, matches, outbox_pipe, render

if TYPE_CHECKING:
    from collections.abc import Callable

BOOK: dict[str, Any] = {
    "name": "Team Topologies",
    "year": 2019,
    "inPrint": True,
    "edition": None,
    "authors": ["Matthew Skelton", "Manuel Pais"],
    "publisher": {"name": "IT Revolution"},
}


def pipe(template: str | None, **options: Any) -> PipeDefinition:
    """A pipe without filters."""
    return PipeDefinition(
        **{"patterns": (), "input_template": template, "detail_type": "Book", "source": "OutboxDemo.Books", **options}
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"name": ["Team Topologies"]}, True),
        ({"name": ["Accelerate", "Team Topologies"]}, True),
        ({"name": ["Accelerate"]}, False),
        ({"name": ["Team Topologies"], "year": [2018]}, False),
        ({"year": [2019.0]}, True),
        ({"year": ["2019"]}, False),
        ({"inPrint": [True]}, True),
        ({"inPrint": [1]}, False),
        ({"edition": [None]}, True),
        ({"missing": [None]}, False),
        ({"authors": ["Manuel Pais"]}, True),
        ({"publisher": {"name": ["IT Revolution"]}}, True),
        ({"publisher": {"name": {"first": ["IT"]}}}, False),
        ({"name": {"first": ["Team"]}}, False),
        ({"name": [{"prefix": "Team"}]}, True),
        ({"name": [{"prefix": "team"}]}, False),
        ({"name": [{"suffix": "Topologies"}]}, True),
        ({"name": [{"suffix": "Team"}]}, False),
        ({"year": [{"prefix": "2"}]}, False),
        ({"name": [{"equals-ignore-case": "TEAM topologies"}]}, True),
        ({"name": [{"equals-ignore-case": "TEAM"}]}, False),
        ({"name": [{"exists": True}]}, True),
        ({"name": [{"exists": False}]}, False),
        ({"missing": [{"exists": False}]}, True),
        ({"missing": {"deeper": [{"exists": False}]}}, True),
        ({"missing": [{"exists": True}]}, False),
        ({"publisher": [{"exists": True}]}, False),
        ({"name": [{"anything-but": "Accelerate"}]}, True),
        ({"name": [{"anything-but": ["Accelerate", "Team Topologies"]}]}, False),
        ({"year": [{"anything-but": [2018]}]}, True),
        ({"missing": [{"anything-but": "Accelerate"}]}, False),
        ({"name": ["Accelerate", {"prefix": "Team"}]}, True),
    ],
)
@pytest.mark.parametrize("service", ["rule", "pipe"])
def test_a_pattern_matches_as_eventbridge_would(pattern: dict[str, Any], service: Any, *, expected: bool) -> None:
    """Fields are ANDed, a field's values ORed, and each operator does what AWS documents."""
    assert matches(pattern, BOOK, service=service) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        [],
        "name",
        {"name": "Team Topologies"},
        {"name": []},
        {"publisher": {}},
        {"name": [{}]},
        {"name": [{"prefix": "a", "suffix": "b"}]},
        {"name": [{"prefix": 1}]},
        {"name": [{"exists": "true"}]},
        {"name": [{"anything-but": []}]},
        {"name": [{"anything-but": [True]}]},
        {"name": [{"resembles": "a"}]},
        {"missing": {"deeper": "no list"}},
        {"name": ["Team Topologies", {"resembles": "a"}]},
        {"name": ["Accelerate"], "year": [{"resembles": "a"}]},
    ],
)
def test_a_pattern_that_aws_would_refuse_is_refused(pattern: Any) -> None:
    """A mistake in a pattern is an InvalidPatternError, whatever the event holds."""
    with pytest.raises(InvalidPatternError):
        matches(pattern, BOOK)


def test_a_pattern_belongs_to_a_rule_or_a_pipe() -> None:
    """An unknown service is refused."""
    with pytest.raises(ValueError, match="service is 'rule' or 'pipe', not 'bus'"):
        matches({"name": ["a"]}, BOOK, service="bus")  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize(
    ("template", "detail"),
    [
        ('{"name": <$.name>, "year": <$.year>}', {"name": "Team Topologies", "year": 2019}),
        ('{"text": "<$.name> (<$.year>)", "n": <$.year>}', {"text": "Team Topologies (2019)", "n": 2019}),
        ('{"text": "say \\"<$.name>\\""}', {"text": 'say "Team Topologies"'}),
        ('{"text": "<$.quote>"}', {"text": 'a "quoted" word'}),
        ('{"quote": <$.quote>}', {"quote": 'a "quoted" word'}),
        ('{"first": <$.authors[0]>, "all": <$.authors>}', {"first": "Matthew Skelton", "all": BOOK["authors"]}),
        ('{"publisher": <$.publisher>}', {"publisher": {"name": "IT Revolution"}}),
        ('{"name": <$.publisher.name>}', {"name": "IT Revolution"}),
        ('{"text": "<$.missing>-<$.authors[9]>-<$.name.first>-<$.publisher[0]>"}', {"text": "---"}),
        ("<$>", BOOK | {"quote": 'a "quoted" word'}),
        (None, BOOK | {"quote": 'a "quoted" word'}),
    ],
)
def test_a_template_is_filled_in_as_pipes_do(template: str | None, detail: dict[str, Any]) -> None:
    """A path stands for JSON outside quotes and for bare text inside; one that leads nowhere vanishes."""
    entry = render(BOOK | {"quote": 'a "quoted" word'}, pipe(template))
    assert entry is not None
    assert json.loads(entry["Detail"]) == detail


@pytest.mark.parametrize("template", ['{"name": <$.missing>}', "<$.name>", "[]", "{"])
def test_a_detail_that_is_no_object_is_refused(template: str) -> None:
    """What comes out of a template is a JSON object, or a RenderError."""
    with pytest.raises(RenderError):
        render(BOOK, pipe(template))


@pytest.mark.parametrize("template", ['{"a": <$.na me>}', '{"a": <$name>}', '{"a": <aws.pipes.event>}'])
def test_a_template_that_is_not_known_here_is_refused(template: str) -> None:
    """A malformed path or a reserved variable is an InvalidPatternError."""
    with pytest.raises(InvalidPatternError):
        render(BOOK, pipe(template))


def test_a_template_has_8192_characters_at_most() -> None:
    """A longer template is refused when the definition is made."""
    pipe("x" * 8192)
    with pytest.raises(InvalidPatternError, match="at most 8,192 characters"):
        pipe("x" * 8193)


def test_detail_type_and_source_are_text_or_a_path() -> None:
    """A path is read from the untransformed record; text stands for itself."""
    entry = render(BOOK, pipe(None, detail_type="$.publisher.name"))
    assert entry is not None
    assert (entry["DetailType"], entry["Source"]) == ("IT Revolution", "OutboxDemo.Books")


@pytest.mark.parametrize("parameter", ["detail_type", "source"])
@pytest.mark.parametrize("value", ["$.missing", "$.year", "$.publisher", ""])
def test_a_parameter_that_gives_no_text_is_refused(parameter: str, value: str) -> None:
    """Without a detail type or a source PutEvents takes nothing."""
    with pytest.raises(RenderError):
        render(BOOK, pipe(None, **{parameter: value}))


@pytest.mark.parametrize(
    ("patterns", "passes"),
    [
        ((), True),
        (({"year": [2018]}, {"year": [2019]}), True),
        (({"year": [2018]}, {"name": ["Accelerate"]}), False),
    ],
)
def test_a_record_passes_where_one_of_the_filters_matches(patterns: Any, *, passes: bool) -> None:
    """Filters are ORed, none lets everything pass, and what is dropped gives None."""
    assert (render(BOOK, pipe(None, patterns=patterns)) is not None) is passes


def test_the_outbox_pipe_carries_insertions_of_outbox_items(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Of an INSERT, a MODIFY, a REMOVE and a removal by TTL, the INSERT becomes the event of the sample."""
    rendered = [render(record) for record in load_event("stream_of_events_table")["Records"]]
    sample = load_event("eventbridge_from_templated_pipe")
    entry = rendered[0]
    assert entry is not None
    assert (entry["Source"], entry["DetailType"]) == (sample["source"], sample["detail-type"])
    assert json.loads(entry["Detail"]) == sample["detail"]
    assert rendered[1:] == [None] * 3


def test_the_outbox_pipe_drops_items_of_others(load_event: Callable[[str], dict[str, Any]]) -> None:
    """An inserted item that is no outbox item doesn't pass."""
    assert render(load_event("stream_of_books_table")["Records"][0]) is None


def test_the_outbox_pipe_lets_every_format_pass(load_event: Callable[[str], dict[str, Any]]) -> None:
    """An unknown format reaches the consumer, which refuses it, instead of vanishing in the filter."""
    record = load_event("stream_of_events_table")["Records"][0]
    record["dynamodb"]["NewImage"]["outboxFormat"] = {"N": "2"}
    entry = render(record)
    assert entry is not None
    assert json.loads(entry["Detail"])["metadata"]["outboxFormat"] == "2"


@pytest.mark.parametrize(
    "definition",
    [
        outbox_pipe(),
        replace(
            outbox_pipe(),
            patterns=(),
            input_template=None,
            starting_position="LATEST",
            batch_size=1,
            maximum_retry_attempts=3,
            maximum_record_age=timedelta(minutes=5),
        ),
    ],
    ids=["outbox", "other"],
)
def test_a_definition_comes_back_from_its_parameters(definition: PipeDefinition) -> None:
    """What CreatePipe is given, through JSON, is read back as the same definition."""
    parameters = [definition.source_parameters("arn:aws:sqs:eu-west-1:1:dead"), definition.target_parameters()]
    assert PipeDefinition.from_parameters(*json.loads(json.dumps(parameters))) == definition


def test_the_outbox_pipe_misses_nothing_and_never_ends_retrying_in_vain() -> None:
    """It starts at the stream's oldest record, bisects failures, and gives a record up before the stream forgets it."""
    parameters = outbox_pipe().source_parameters("arn:aws:sqs:eu-west-1:1:dead")
    assert parameters["DynamoDBStreamParameters"] == {
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 10,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 23 * 3600,
        "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
        "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:1:dead"},
    }


def test_what_a_request_leaves_out_has_awss_defaults() -> None:
    """Parameters without settings are read as AWS would take them."""
    definition = PipeDefinition.from_parameters({}, {})
    assert (definition.patterns, definition.input_template, definition.source) == ((), None, "")
    assert (definition.starting_position, definition.batch_size) == ("LATEST", 100)
    assert (definition.maximum_retry_attempts, definition.maximum_record_age) == (-1, timedelta(seconds=-1))
    assert definition.detail_type == "Event from aws:dynamodb"


def test_a_filter_that_is_no_json_is_refused() -> None:
    """A pattern is JSON text."""
    with pytest.raises(InvalidPatternError, match="a filter's pattern is no JSON"):
        PipeDefinition.from_parameters({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, {})
