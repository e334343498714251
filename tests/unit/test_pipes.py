"""Pipes: patterns, templates and rendered records."""

from __future__ import annotations

import json
import re
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
    """Return a pipe without filters."""
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
    """Fields are combined with AND, a field's values with OR, and each operator works as AWS documents it."""
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
    """A mistake in a pattern raises InvalidPatternError for every event."""
    with pytest.raises(InvalidPatternError):
        matches(pattern, BOOK)


def test_a_pattern_belongs_to_a_rule_or_a_pipe() -> None:
    """An unknown service is refused."""
    with pytest.raises(ValueError, match="service must be 'rule', 'pipe' or 'subscriber', not 'bus'"):
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
    """A path becomes JSON outside quotes and bare text inside; a missing one is omitted."""
    entry = render(BOOK | {"quote": 'a "quoted" word'}, pipe(template))
    assert entry is not None
    assert json.loads(entry["Detail"]) == detail


@pytest.mark.parametrize("template", ['{"name": <$.missing>}', "<$.name>", "[]", "{"])
def test_a_detail_that_is_no_object_is_refused(template: str) -> None:
    """A template that does not render to a JSON object raises RenderError."""
    with pytest.raises(RenderError):
        render(BOOK, pipe(template))


@pytest.mark.parametrize("template", ['{"a": <$.na me>}', '{"a": <$name>}', '{"a": <aws.pipes.event>}'])
def test_a_template_that_is_not_known_here_is_refused(template: str) -> None:
    """A malformed path or a reserved variable without a value raises InvalidPatternError."""
    with pytest.raises(InvalidPatternError):
        render(BOOK, pipe(template))


def test_a_template_has_8192_characters_at_most() -> None:
    """A template of more than 8,192 characters is refused when the definition is created."""
    pipe("x" * 8192)
    with pytest.raises(InvalidPatternError, match="at most 8,192 characters"):
        pipe("x" * 8193)


def test_detail_type_and_source_are_text_or_a_path() -> None:
    """A path in a parameter is read from the untransformed record; text is used as it is."""
    entry = render(BOOK, pipe(None, detail_type="$.publisher.name"))
    assert entry is not None
    assert (entry["DetailType"], entry["Source"]) == ("IT Revolution", "OutboxDemo.Books")


@pytest.mark.parametrize("parameter", ["detail_type", "source"])
@pytest.mark.parametrize("value", ["$.missing", "$.year", "$.publisher"])
def test_a_parameter_that_gives_no_text_is_refused(parameter: str, value: str) -> None:
    """A detail type or source that is empty or not text is refused."""
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
    """A record passes if any filter matches or if there are none; otherwise `render` returns None."""
    assert (render(BOOK, pipe(None, patterns=patterns)) is not None) is passes


def test_the_outbox_pipe_carries_insertions_of_outbox_items(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Of an INSERT, a MODIFY, a REMOVE and a TTL deletion, only the INSERT becomes an event, with the complete item."""
    records = load_event("stream_of_events_table")["Records"]
    rendered = [render(record) for record in records]
    sample = load_event("eventbridge_from_templated_pipe")
    entry = rendered[0]
    assert entry is not None
    assert (entry["Source"], entry["DetailType"]) == (sample["source"], sample["detail-type"])
    assert json.loads(entry["Detail"]) == sample["detail"]
    assert sample["detail"]["outboxItem"] == records[0]["dynamodb"]["NewImage"]
    assert rendered[1:] == [None] * 3


def test_the_outbox_pipe_drops_items_of_others(load_event: Callable[[str], dict[str, Any]]) -> None:
    """An inserted item that is not an outbox item does not pass the filter."""
    assert render(load_event("stream_of_books_table")["Records"][0]) is None


def test_the_outbox_pipe_lets_every_format_pass(load_event: Callable[[str], dict[str, Any]]) -> None:
    """An unknown format passes the filter, so that the consumer can refuse it."""
    record = load_event("stream_of_events_table")["Records"][0]
    record["dynamodb"]["NewImage"]["outboxFormat"] = {"N": "2"}
    entry = render(record)
    assert entry is not None
    assert json.loads(entry["Detail"])["outboxItem"]["outboxFormat"] == {"N": "2"}


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
            maximum_batching_window=timedelta(seconds=20),
            parallelization_factor=3,
            on_partial_batch_item_failure=None,
            time="$.dynamodb.NewImage.eventTime.S",
            resources=("$.eventSourceARN", "arn:aws:s3:::books"),
        ),
        replace(outbox_pipe(), maximum_record_age=None, maximum_batching_window=timedelta(0)),
    ],
    ids=["outbox", "other", "without limit"],
)
def test_a_definition_comes_back_from_its_parameters(definition: PipeDefinition) -> None:
    """A definition can be read back from its CreatePipe parameters."""
    parameters = [definition.source_parameters("arn:aws:sqs:eu-west-1:1:dead"), definition.target_parameters()]
    assert PipeDefinition.from_parameters(*json.loads(json.dumps(parameters))) == definition


def test_the_outbox_pipe_misses_nothing_and_never_ends_retrying_in_vain() -> None:
    """The outbox pipe starts at TRIM_HORIZON, bisects failed batches, and drops a record after 23 hours."""
    parameters = outbox_pipe().source_parameters("arn:aws:sqs:eu-west-1:1:dead")
    assert parameters["DynamoDBStreamParameters"] == {
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 10,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 23 * 3600,
        "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
        "DeadLetterConfig": {"Arn": "arn:aws:sqs:eu-west-1:1:dead"},
    }


STREAM: dict[str, Any] = {"StartingPosition": "TRIM_HORIZON"}


def read(stream: Any = STREAM, bus: Any = None, **more: Any) -> PipeDefinition:
    """Return the definition in parameters; `more` are the filters and the input template."""
    source: dict[str, Any] = {name: more.pop(name) for name in ("FilterCriteria", "SqsQueueParameters") if name in more}
    target = more if bus is None else {"EventBridgeEventBusParameters": bus, **more}
    return PipeDefinition.from_parameters({"DynamoDBStreamParameters": stream, **source}, target)


def test_what_a_request_leaves_out_has_awss_defaults() -> None:
    """Missing parameters are read with AWS's defaults."""
    definition = read()
    assert (definition.patterns, definition.input_template, definition.source) == ((), None, "Pipe")
    assert (definition.starting_position, definition.batch_size) == ("TRIM_HORIZON", 100)
    assert (definition.maximum_retry_attempts, definition.maximum_record_age) == (-1, None)
    assert (definition.maximum_batching_window, definition.parallelization_factor) == (None, None)
    assert definition.on_partial_batch_item_failure is None
    assert definition.detail_type == "Event from aws:dynamodb"


def test_numbers_may_be_text() -> None:
    """A number that a YAML template has as text is read as a number."""
    definition = read(STREAM | {"BatchSize": "5", "MaximumRetryAttempts": "-1", "MaximumRecordAgeInSeconds": "600"})
    assert (definition.batch_size, definition.maximum_retry_attempts) == (5, -1)
    assert definition.maximum_record_age == timedelta(minutes=10)


SUB = {"Fn::Sub": "x"}
IF = {"Fn::If": ["Small", 1, 2]}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"InputTemplate": SUB}, "TargetParameters.InputTemplate"),
        ({"FilterCriteria": {"Filters": [{"Pattern": SUB}]}}, "Filters[0].Pattern"),
        ({"FilterCriteria": {"Filters": [IF]}}, "Filters[0]"),
        ({"FilterCriteria": {"Filters": IF}}, "FilterCriteria.Filters"),
        ({"FilterCriteria": IF}, "FilterCriteria"),
        ({"stream": IF}, "DynamoDBStreamParameters"),
        ({"stream": STREAM | {"BatchSize": {"Ref": "Size"}}}, "DynamoDBStreamParameters.BatchSize"),
        ({"stream": STREAM | {"OnPartialBatchItemFailure": {"Ref": "AWS::NoValue"}}}, "OnPartialBatchItemFailure"),
        ({"stream": {"StartingPosition": SUB}}, "DynamoDBStreamParameters.StartingPosition"),
        ({"bus": IF}, "EventBridgeEventBusParameters"),
        ({"bus": {"Source": SUB}}, "EventBridgeEventBusParameters.Source"),
        ({"bus": {"DetailType": SUB}}, "EventBridgeEventBusParameters.DetailType"),
        ({"bus": {"Time": SUB}}, "EventBridgeEventBusParameters.Time"),
        ({"bus": {"Resources": IF}}, "EventBridgeEventBusParameters.Resources"),
        ({"bus": {"Resources": ["arn:aws:s3:::a", SUB]}}, "EventBridgeEventBusParameters.Resources[1]"),
    ],
)
def test_a_cloudformation_function_is_refused_by_name(options: dict[str, Any], name: str) -> None:
    """A parameter whose value is only known on deployment is refused; the error names the parameter and the remedy."""
    with pytest.raises(InvalidPatternError) as caught:
        read(**options)
    assert re.search(re.escape(name) + r" is \{", str(caught.value))
    assert str(caught.value).endswith("put the values of CloudFormation's functions in first")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream": STREAM | {"FilterAge": 1}}, "DynamoDBStreamParameters.FilterAge is not supported"),
        ({"bus": {"EndpointId": "abc.def"}}, "EventBridgeEventBusParameters.EndpointId is not supported"),
        ({"FilterCriteria": {"Filter": []}}, "FilterCriteria.Filter is not supported"),
        ({"FilterCriteria": []}, "SourceParameters.FilterCriteria has the wrong type: []"),
        ({"FilterCriteria": {"Filters": {}}}, "FilterCriteria.Filters is {}: put the values of CloudFormation's"),
        ({"FilterCriteria": {"Filters": [{"Patern": "{}"}]}}, "Filters[0].Patern is not supported"),
        ({"SqsQueueParameters": {}}, "SourceParameters.SqsQueueParameters is not supported"),
        ({"HttpParameters": {}}, "TargetParameters.HttpParameters is not supported"),
        ({"stream": STREAM | {"BatchSize": True}}, "DynamoDBStreamParameters.BatchSize has the wrong type: True"),
        ({"stream": STREAM | {"BatchSize": "--5"}}, "DynamoDBStreamParameters.BatchSize has the wrong type: '--5'"),
        ({"stream": STREAM | {"BatchSize": 1.5}}, "DynamoDBStreamParameters.BatchSize has the wrong type: 1.5"),
        ({"stream": {}}, "StartingPosition: must be TRIM_HORIZON or LATEST, not ''"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "Filters[0].Pattern is not JSON"),
        ({"FilterCriteria": {"Filters": [{}]}}, "Filters[0].Pattern has the wrong type: None"),
        ({"FilterCriteria": {"Filters": ["{}"]}}, "Filters[0] has the wrong type: '{}'"),
    ],
)
def test_a_parameter_that_would_get_lost_is_refused(options: dict[str, Any], message: str) -> None:
    """A parameter that is unknown, of the wrong type or not JSON is refused by name."""
    with pytest.raises(InvalidPatternError, match=re.escape(message)):
        read(**options)


def test_the_source_of_the_pipe_must_be_a_stream() -> None:
    """Without DynamoDBStreamParameters, no starting position is made up."""
    with pytest.raises(InvalidPatternError, match="DynamoDBStreamParameters is missing"):
        PipeDefinition.from_parameters({"FilterCriteria": {"Filters": []}}, {})


@pytest.mark.parametrize(
    ("least", "most", "beyond"),
    [
        ({"batch_size": 1}, {"batch_size": 10_000}, [{"batch_size": 0}, {"batch_size": 10_001}]),
        (
            {"maximum_retry_attempts": -1},
            {"maximum_retry_attempts": 10_000},
            [{"maximum_retry_attempts": -2}, {"maximum_retry_attempts": 10_001}],
        ),
        (
            {"maximum_record_age": timedelta(seconds=60)},
            {"maximum_record_age": timedelta(days=7)},
            [{"maximum_record_age": timedelta(seconds=seconds)} for seconds in (-1, 0, 30, 59, 604_801)],
        ),
        (
            {"maximum_batching_window": timedelta(0)},
            {"maximum_batching_window": timedelta(minutes=5)},
            [{"maximum_batching_window": timedelta(seconds=seconds)} for seconds in (-1, 301)],
        ),
        (
            {"parallelization_factor": 1},
            {"parallelization_factor": 10},
            [{"parallelization_factor": 0}, {"parallelization_factor": 11}],
        ),
        ({"source": "s"}, {"source": "s" * 256}, [{"source": ""}, {"source": "s" * 257}]),
        ({"detail_type": "T"}, {"detail_type": "T" * 128}, [{"detail_type": ""}, {"detail_type": "T" * 129}]),
        ({"time": "$.t"}, {"time": "$." + "t" * 254}, [{"time": "$." + "t" * 255}, {"time": ""}]),
        (
            {"resources": ()},
            {"resources": ("arn:aws:s3:::" + "a" * 1587,) * 10},
            [{"resources": ("arn:aws:s3:::a",) * 11}, {"resources": ("",)}, {"resources": ("a" * 1601,)}],
        ),
        (
            {"starting_position": "LATEST"},
            {"starting_position": "TRIM_HORIZON"},
            [{"starting_position": position} for position in ("AT_TIMESTAMP", "latest", "")],
        ),
        (
            {"on_partial_batch_item_failure": None},
            {"on_partial_batch_item_failure": "AUTOMATIC_BISECT"},
            [{"on_partial_batch_item_failure": "BISECT"}],
        ),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_definition_keeps_to_create_pipes_ranges(
    least: dict[str, Any], most: dict[str, Any], beyond: list[dict[str, Any]]
) -> None:
    """A parameter is accepted from its least to its greatest value, comes back, and is refused beyond them by name."""
    for options in (least, most):
        definition = pipe(None, **options)
        back = PipeDefinition.from_parameters(definition.source_parameters("arn"), definition.target_parameters())
        assert back == definition
    for options in beyond:
        with pytest.raises(InvalidPatternError, match=r"^\w+(: characters|: entries)?: must be "):
            pipe(None, **options)


def test_a_pipe_to_a_custom_event_bus_is_refused() -> None:
    """The error names the relay instead of leaving the pipe without a target."""
    bus = "arn:aws:events:eu-west-1:123456789012:event-busv2/books/abcdefghijklmnopqrstuvwxy"
    with pytest.raises(ValueError, match=r"can't publish to a Custom Event Bus, .*; use OutboxRelay"):
        outbox_pipe().create_pipe_request("events", "role", "stream", bus, "queue")
