"""Rendering a pipe: template, reserved variables and dynamic parameters; and the CreatePipe request."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.errors import InvalidPatternError, RenderError
from dynamo_outbox.pipes import PipeDefinition, outbox_pipe, render
from dynamo_outbox.pipes.definition import MAX_TEMPLATE_LENGTH, RESERVED_VARIABLES

from ..strategies import json_values

if TYPE_CHECKING:
    from botocore.model import Shape

EC2: dict[str, Any] = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
    "detail": {"instance-id": "i-0123456789", "state": "RUNNING"},
}
RECORD: dict[str, Any] = {
    "text": 'a "quoted"\n\\ word: é',
    "number": 1.5,
    "yes": True,
    "nothing": None,
    "object": {"a/b": 1, "c-d_e": [10, [20, 21]]},
    "roles": {"L": [{"S": "admin"}, {"N": "1"}, {"S": "other"}]},
    "none": {"L": []},
    "matrix": {"L": [{"L": [{"S": "a"}, {"S": "b"}]}, {"L": [{"S": "c"}]}]},
}
STREAM: dict[str, Any] = {"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON"}}
VARIABLES: dict[str, Any] = {
    "aws.pipes.pipe-arn": "arn:aws:pipes:us-east-1:123456789012:pipe/example",
    "aws.pipes.pipe-name": "example",
    "aws.pipes.source-arn": "arn:aws:dynamodb:us-east-1:123456789012:table/events/stream/2026-11-23T00:00:00.000",
    "aws.pipes.target-arn": "arn:aws:events:us-east-1:123456789012:event-bus/books",
    "aws.pipes.event.ingestion-time": "2026-11-23T06:00:00Z",
    "aws.pipes.event": json.dumps(EC2),
    "aws.pipes.event.json": EC2,
}


def pipe(template: str | None, **options: Any) -> PipeDefinition:
    """Return a pipe without filters."""
    return PipeDefinition(**{"patterns": (), "input_template": template, "detail_type": "T", "source": "s", **options})


def detail(template: str, record: dict[str, Any] = RECORD, variables: dict[str, Any] | None = None) -> str:
    """Return the text of the rendered detail."""
    entry = render(record, pipe(template), variables)
    assert entry is not None
    text: str = entry["Detail"]
    return text


def test_awss_example_comes_out_as_documented() -> None:
    """The transformer on AWS's page gives the output on that page."""
    template = """{
      "instance" : <$.detail.instance-id>,
      "state": <$.detail.state>,
      "pipeArn" : <aws.pipes.pipe-arn>,
      "pipeName" : <aws.pipes.pipe-name>,
      "originalEvent" : <aws.pipes.event.json>
    }"""
    assert json.loads(detail(template, EC2, VARIABLES)) == {
        "instance": "i-0123456789",
        "state": "RUNNING",
        "pipeArn": "arn:aws:pipes:us-east-1:123456789012:pipe/example",
        "pipeName": "example",
        "originalEvent": EC2,
    }


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"v": <$.text>}', r'{"v": "a \"quoted\"\n\\ word: é"}'),
        ('{"v": "<$.text>"}', r'{"v": "a \"quoted\"\n\\ word: é"}'),
        ('{"v": "<$.roles.L[0].S>-<$.roles.L[2].S>", "w": <$.roles.L[0].S>}', '{"v": "admin-other", "w": "admin"}'),
        ('{"v": "\\"<$.roles.L[0].S>\\"", "w": "\\\\", "x": <$.yes>}', '{"v": "\\"admin\\"", "w": "\\\\", "x": true}'),
        ('{"v": <$.roles.L[*].S[*]>}', '{"v": []}'),
        ('{"v": "n=<$.number>, <$.yes>, <$.nothing>"}', '{"v": "n=1.5, true, null"}'),
        ('{"v": [<$.number>, <$.yes>, <$.nothing>]}', '{"v": [1.5, true, null]}'),
        ('{"v": <$.object>}', '{"v": {"a/b": 1, "c-d_e": [10, [20, 21]]}}'),
        ('{"v": <$.object.a/b>}', '{"v": 1}'),
        ('{"v": <$.object.c-d_e[0]>, "w": <$.object.c-d_e[1][1]>}', '{"v": 10, "w": 21}'),
        ('{"v": <$.roles.L[2].S>}', '{"v": "other"}'),
        ('{"v": <$.roles.L[*].S>}', '{"v": ["admin", "other"]}'),
        ('{"v": <$.matrix.L[*].L[*].S>}', '{"v": ["a", "b", "c"]}'),
        ('{"v": <$.object.c-d_e[1][*]>}', '{"v": [20, 21]}'),
        ('{"v": <$.none.L[*].S>, "w": <$.roles.L[*].B>}', '{"v": [], "w": []}'),
        ('{"v": [<$.missing[*].S>]}', '{"v": []}'),
        ('{"v": "<$.roles.L[3]>|<$.object[0]>|<$.text.a>|<$.roles.L.a>|<$.text[*]>"}', '{"v": "||||"}'),
        ('{"<$.object.a/b>": "<$.missing>", "a": "\\\\", "b": <$.yes>}', '{"1": "", "a": "\\\\", "b": true}'),
        ('{"v": "\\"<$.number>\\"", "w": <$.yes>}', '{"v": "\\"1.5\\"", "w": true}'),
        ('{"v": "<b> < $.text <x.y>"}', '{"v": "<b> < $.text <x.y>"}'),
        ("<$.object>", '{"a/b": 1, "c-d_e": [10, [20, 21]]}'),
    ],
)
def test_a_path_is_replaced_by_what_is_there(template: str, expected: str) -> None:
    """A value is JSON outside quotes and escaped text inside; a missing one is omitted; ``*`` collects a list."""
    assert detail(template) == expected


@pytest.mark.parametrize(
    "template", ['{"v": <$.missing>}', '{"v": <$.missing[*].S>}', '{"v": "<$.object>"}', "<$.text>"]
)
def test_what_is_no_json_object_is_refused(template: str) -> None:
    """A missing value, an object in quotes or bare text does not render to a JSON object and is refused."""
    with pytest.raises(RenderError):
        detail(template)


@given(st.dictionaries(st.sampled_from(["a", "b-c", "d/e"]), json_values))
def test_any_value_arrives_as_it_is(record: dict[str, Any]) -> None:
    """A path's value can be read back from the detail unchanged; text also inside quotes."""
    for name, value in record.items():
        assert json.loads(detail(f'{{"v": <$.{name}>}}', record)) == {"v": value}
        if isinstance(value, str):
            assert json.loads(detail(f'{{"v": "x<$.{name}>x"}}', record)) == {"v": f"x{value}x"}


@pytest.mark.parametrize(
    ("template", "escaped", "unescaped"),
    [
        ('{"v": <$.name>}', '{"v": "admin"}', '{"v": "admin"}'),
        ('{"v": "<$.name>"}', '{"v": "admin"}', '{"v": "admin"}'),
        ('{"v": <$.quote>}', r'{"v": "a \"b\""}', None),
        ('{"v": "<$.quote>"}', r'{"v": "a \"b\""}', None),
        ('{"v": <$.json>}', r'{"v": "{\"a\":1}"}', None),
        ('{"v": "\\"<$.escape>"}', r'{"v": "\"a\\u0041"}', r'{"v": "\"a\u0041"}'),
        ('{"v": <$.object>}', r'{"v": {"quote": "a \"b\"\n"}}', r'{"v": {"quote": "a \"b\"\n"}}'),
    ],
)
def test_a_template_is_rendered_under_both_readings(template: str, escaped: str, unescaped: str | None) -> None:
    """With `escapes=False`, a text is inserted as it is, and an object still as JSON; broken JSON is refused."""
    record = {
        "name": "admin",
        "quote": 'a "b"',
        "json": '{"a":1}',
        "escape": r"a\u0041",
        "object": {"quote": 'a "b"\n'},
    }
    entry = render(record, pipe(template))
    assert entry is not None
    assert entry["Detail"] == escaped
    if unescaped is None:
        with pytest.raises(RenderError):
            render(record, pipe(template), escapes=False)
    else:
        entry = render(record, pipe(template), escapes=False)
        assert entry is not None
        assert entry["Detail"] == unescaped


def test_the_outbox_pipes_texts_need_no_escape() -> None:
    """The template inserts as text only the id, the type, the version and the time; the item is an object."""
    template = outbox_pipe().input_template or ""
    assert re.findall(r"<[^>]*>", template) == [
        "<$.dynamodb.NewImage.eventId.S>",
        "<$.dynamodb.NewImage.eventType.S>",
        "<$.dynamodb.NewImage.eventVersion.N>",
        "<$.dynamodb.NewImage.eventTime.S>",
        "<$.dynamodb.NewImage>",
    ]


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_a_reserved_variable_is_replaced_like_a_value(name: str) -> None:
    """A reserved variable is replaced by its value: text with or without quotes, other values without."""
    assert json.loads(detail(f'{{"v": <{name}>}}', variables=VARIABLES)) == {"v": VARIABLES[name]}
    if isinstance(VARIABLES[name], str):
        assert json.loads(detail(f'{{"v": "<{name}>"}}', variables=VARIABLES)) == {"v": VARIABLES[name]}


def test_the_reserved_variables_are_awss() -> None:
    """The reserved variables are those of AWS's page: the ones above and the enrichment's ARN."""
    assert {*VARIABLES, "aws.pipes.enrichment-arn"} == RESERVED_VARIABLES


@pytest.mark.parametrize("variables", [None, {}, {"pipe-name": "x"}])
def test_a_reserved_variable_without_a_value_is_named(variables: dict[str, Any] | None) -> None:
    """A template that uses a variable without a value is refused, and the error names the variable."""
    with pytest.raises(InvalidPatternError, match=re.escape("<aws.pipes.pipe-name>")):
        detail('{"v": <aws.pipes.pipe-name>}', variables=variables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"input_template": '{"v": <aws.pipes.name>}'},
            "<aws.pipes.name> is not one of a pipe's variables: aws.pipes.enrichment-arn",
        ),
        ({"input_template": '{"v": <aws.events.event>}'}, "<aws.events.event> is not one of a pipe's variables"),
        ({"input_template": '{"v": <$.na me>}'}, "<$.na me> is not a path"),
        ({"input_template": '{"v": <$..a>}'}, "<$..a> is not a path"),
        ({"input_template": '{"v": <$.a.*>}'}, "<$.a.*> is not a path"),
        ({"input_template": "{\"v\": <$['a']>}"}, "<$['a']> is not a path"),
        ({"input_template": '{"v": <$[0]>}'}, "<$[0]> is not a path"),
        ({"input_template": '{"v": <$.a[-1]>}'}, "<$.a[-1]> is not a path"),
        ({"input_template": '{"v": <$.é>}'}, "<$.é> is not a path"),
        ({"input_template": '{"v": <$.a[' + "9" * 5000 + "]>}"}, "is not a path"),
        ({"input_template": "x" * (MAX_TEMPLATE_LENGTH + 1)}, "an input template has at most 8,192 characters"),
        ({"detail_type": "Book $.name"}, "DetailType: a path must be the whole value, not a part of it: 'Book $.name'"),
        ({"detail_type": "<$.name>"}, "DetailType: a path must be the whole value"),
        ({"source": "$.na me"}, "Source: a path must be the whole value"),
        ({"patterns": ({"a": "x"},)}, "a: needs a non-empty object or a non-empty list"),
        ({"patterns": ({"a": [{"wildcard": "*"}]},)}, "a: a pipe does not support wildcard"),
        ({"patterns": ({"a": ["x"]},) * 6}, "a pipe has at most 5 filters, not 6"),
    ],
)
def test_a_definition_that_could_not_work_is_not_made(options: dict[str, Any], message: str) -> None:
    """Mistakes in filters, template and parameters are refused when the definition is created."""
    with pytest.raises(InvalidPatternError, match=re.escape(message)):
        pipe(**({"template": options.pop("input_template", None)} | options))


def test_a_definition_is_made_at_its_limits() -> None:
    """Five filters and 8,192 characters are accepted, and so is text that only resembles a path."""
    pipe("x" * MAX_TEMPLATE_LENGTH, patterns=({"a": ["x"]},) * 5)
    entry = render({}, pipe(None, detail_type="$5 off", source="$"))
    assert entry is not None
    assert (entry["DetailType"], entry["Source"]) == ("$5 off", "$")


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "[" * 100_000, "1" * 5000])
def test_a_filter_that_can_not_be_parsed_is_refused(text: str) -> None:
    """A filter that is nested too deeply or has an oversized number raises InvalidPatternError."""
    with pytest.raises(InvalidPatternError):
        PipeDefinition.from_parameters(STREAM | {"FilterCriteria": {"Filters": [{"Pattern": text}]}}, {})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.detail.instance-id", "i-0123456789"),
        ("$.resources[0]", EC2["resources"][0]),
        ("$.detail-type", EC2["detail-type"]),
    ],
)
def test_a_parameter_is_one_path_into_the_record(path: str, expected: str) -> None:
    """Detail type and source are read from the untransformed record."""
    entry = render(EC2, pipe('{"detail": <$.id>}', detail_type=path, source=path))
    assert entry is not None
    assert (entry["DetailType"], entry["Source"]) == (expected, expected)


@pytest.mark.parametrize(
    "path", ["$.missing", "$.detail", "$.resources", "$.resources[*]", "$.resources[1]", "$.empty"]
)
@pytest.mark.parametrize("parameter", ["detail_type", "source"])
def test_a_parameter_that_is_no_text_is_refused(parameter: str, path: str) -> None:
    """If a parameter's path does not lead to text, the record is refused."""
    with pytest.raises(RenderError, match="EventBridge needs text"):
        render(EC2 | {"empty": ""}, pipe(None, **{parameter: path}))


ARNS: dict[str, Any] = {
    "role_arn": "arn:aws:iam::123456789012:role/pipe",
    "source_arn": VARIABLES["aws.pipes.source-arn"],
    "target_arn": VARIABLES["aws.pipes.target-arn"],
    "dead_letter_arn": "arn:aws:sqs:us-east-1:123456789012:dead",
}
DEFINITIONS = {
    "outbox": outbox_pipe(),
    "bare": replace(outbox_pipe(), patterns=(), input_template=None),
    "full": pipe("x" * MAX_TEMPLATE_LENGTH, patterns=({"a": ["é" * 4086]},) * 5, detail_type="$.a[0]", source="$.b[*]"),
}


def create_pipe() -> Shape:
    """Return the input shape of CreatePipe from botocore's model."""
    shape: Shape = botocore.session.get_session().get_service_model("pipes").operation_model("CreatePipe").input_shape  # type: ignore[assignment]  # it has one
    return shape


def problems(shape: Shape, value: Any, path: str = "") -> list[str]:
    """Return the violations of the lengths, ranges, patterns and names of a shape in botocore's model."""
    found: list[str] = []
    if isinstance(value, dict):
        members: dict[str, Shape] = shape.members  # type: ignore[attr-defined]  # of a structure
        found += [f"{path}.{name} is unknown" for name in value.keys() - members.keys()]
        for name in value.keys() & members.keys():
            found += problems(members[name], value[name], f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            found += problems(shape.member, each, f"{path}[]")  # type: ignore[attr-defined]  # of a list
    limits = shape.metadata
    size = value if isinstance(value, int) else len(value)
    if not limits.get("min", size) <= size <= limits.get("max", size):
        found.append(f"{path}: {size} is not from {limits.get('min')} to {limits.get('max')}")
    if isinstance(value, str) and not re.fullmatch(limits.get("pattern", ".*"), value, re.DOTALL):
        found.append(f"{path}: {value!r} doesn't fit {limits['pattern']}")
    if value not in limits.get("enum", [value]):
        found.append(f"{path}: {value!r} is none of {limits['enum']}")
    return found


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_request_is_one_that_create_pipe_takes(name: str) -> None:
    """The arguments for create_pipe fit botocore's model, and the definition can be read back from them."""
    request = DEFINITIONS[name].create_pipe_request("books", **ARNS)
    shape = create_pipe()
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert problems(shape, request) == []
    assert (request["Name"], request["RoleArn"]) == ("books", ARNS["role_arn"])
    assert (request["Source"], request["Target"]) == (ARNS["source_arn"], ARNS["target_arn"])
    dead_letters = request["SourceParameters"]["DynamoDBStreamParameters"]["DeadLetterConfig"]
    assert dead_letters == {"Arn": ARNS["dead_letter_arn"]}
    read = PipeDefinition.from_parameters(request["SourceParameters"], request["TargetParameters"])
    assert read == DEFINITIONS[name]


def test_the_check_of_requests_sees_mistakes() -> None:
    """The check reports a request that violates the model."""
    shape = create_pipe()
    request = outbox_pipe().create_pipe_request("a name", **(ARNS | {"role_arn": "role"}))
    request["SourceParameters"]["DynamoDBStreamParameters"]["BatchSize"] = 10_001
    assert len(problems(shape, request | {"Extra": "x"})) == 4


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_resource_is_the_request_in_cloudformations_words(name: str) -> None:
    """The CloudFormation resource has the request's properties and can hold intrinsic functions."""
    functions = {key: {"Fn::GetAtt": [key, "Arn"]} for key in ("role", "source", "target", "dead_letter")}
    resource = DEFINITIONS[name].cloudformation(**functions)
    request = DEFINITIONS[name].create_pipe_request("books", **{f"{key}_arn": text for key, text in functions.items()})  # type: ignore[arg-type]  # functions in place of ARNs, to compare
    assert resource == {
        "Type": "AWS::Pipes::Pipe",
        "Properties": {key: value for key, value in request.items() if key != "Name"},
    }


def test_a_resource_stands_in_a_template(tmp_path: Path) -> None:
    """cfn-lint reports no problem in a template with the resource."""
    resource = outbox_pipe().cloudformation(
        ARNS["role_arn"], ARNS["source_arn"], ARNS["target_arn"], ARNS["dead_letter_arn"]
    )
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Pipe": resource}}))
    command = Path(sys.executable).with_name("cfn-lint")
    arguments = [str(command), "--regions", "eu-central-1", "--", str(template)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603  # the project's linter
    assert (done.returncode, done.stdout) == (0, "")


def test_time_and_resources_are_dynamic_parameters_too() -> None:
    """Time and Resources are read, rendered and written back; Time must be a single path."""
    target = {
        "EventBridgeEventBusParameters": {
            "DetailType": "BookAdded",
            "Source": "Books",
            "Time": "$.dynamodb.NewImage.eventTime.S",
            "Resources": ["$.eventSourceARN", "arn:aws:s3:::books"],
        }
    }
    pipe = PipeDefinition.from_parameters(STREAM, target)
    assert pipe.target_parameters() == target
    record = {"eventSourceARN": "arn:stream", "dynamodb": {"NewImage": {"eventTime": {"S": "2026-11-23T09:30:00Z"}}}}
    entry = render(record, pipe)
    assert entry is not None
    assert (entry["Time"], entry["Resources"]) == ("2026-11-23T09:30:00Z", ["arn:stream", "arn:aws:s3:::books"])
    for parameter, problem in (("Time", "Time: must be one path"), ("EndpointId", "EndpointId is not supported")):
        wrong = {"EventBridgeEventBusParameters": {"Source": "Books", parameter: "2026"}}
        with pytest.raises(InvalidPatternError, match=problem):
            PipeDefinition.from_parameters(STREAM, wrong)
