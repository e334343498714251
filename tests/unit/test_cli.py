"""The command `dynamo-outbox`: its output, its exit status, and its messages for mistakes in the call."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, OutboxRelay, ParkingTable, TransactionalOutbox
from dynamo_outbox.aws.clients import _clients
from dynamo_outbox.cli import _parser, main, parking
from dynamo_outbox.cli.frame import aws
from dynamo_outbox.operations import cost
from dynamo_outbox.pipes import outbox_pipe

from .test_parking import UNREADABLE, Lot, batch
from .test_processors import outbox_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDS = ["--role", "PipeRole.Arn", "--source", "Events.StreamArn", "--target", "Bus.Arn", "--dead-letter", "Dead.Arn"]
ARN = "arn:aws:iam::123456789012:role/pipe"


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command and subcommand, with its full name."""
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for part, below in group.choices.items():
            yield from leaves(below, f"{name} {part}".strip())


COMMANDS = dict(leaves(_parser()))
CALLS_NOTHING = {"pipe", "decode", "cost", "template"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_is_valid(name: str) -> None:
    """Each command's --help ends with an example of it, which the parser accepts."""
    _, _, example = COMMANDS[name].format_help().partition("example:\n")
    arguments = shlex.split(example.rpartition("|")[2])
    assert arguments[:1] == ["dynamo-outbox"]
    assert arguments[1:][: len(name.split())] == name.split()
    assert _parser().parse_args(arguments[1:]).run


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_call_aws_take_the_options_of_its_own_command(name: str) -> None:
    """--region, --profile and --endpoint-url are options of each command, unless it calls nothing."""
    options = {"--region", "--profile", "--endpoint-url"} & COMMANDS[name]._option_string_actions.keys()
    assert len(options) == (0 if name in CALLS_NOTHING else 3)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_of_a_command_is_explained(name: str) -> None:
    """Each argument has a text in --help."""
    assert [each.dest for each in COMMANDS[name]._actions if not each.help] == []


def test_costs_add_up(said: Callable[..., Any]) -> None:
    """`cost` prints each part and the total, for a million events and for a month; consumers are counted."""
    status, lines, err = said("cost", "--events-per-month", "2000000", "--size-kb", "4", "--consumers", "3")
    assert (status, err) == (0, "")
    *parts, whole = lines
    one = cost.parts(cost.OUTBOX_RELAY, 4, 10, cost.INBOX)
    assert [line["part"] for line in parts] == list(cost.PARTS)
    assert whole["per_month"] == pytest.approx(2 * whole["per_million"], abs=0.01)
    assert whole["per_million"] == pytest.approx(sum(line["per_million"] for line in parts), abs=0.001)
    effect = next(line for line in parts if line["part"] == "effect and dedup record")
    assert effect["per_million"] == pytest.approx(3 * one["effect and dedup record"])
    _, [*_, pipe], _ = said("cost", "--events-per-month", "1", "--relay", "pipe", "--consumers", "0")
    _, [*_, cdc], _ = said("cost", "--events-per-month", "1", "--relay", "cdc", "--consumer", "idempotent")
    custom = ("cost", "--events-per-month", "1", "--bus", "custom", "--size-kb", "3", "--consumers", "2")
    _, lines, _ = said(*custom)
    assert [line["per_million"] for line in lines if line["part"] == "bus"] == [cost.custom_bus_cost(4, 2)]
    status, _, err = said(*custom, "--relay", "pipe")
    assert status == 2
    assert "--bus custom: a pipe can't send to a Custom Event Bus; use --relay relay or --relay cdc" in err
    assert pipe["per_million"] == pytest.approx(sum(cost.parts(cost.PIPE, 1, 10).values()), abs=0.001)
    assert cdc["per_million"] == pytest.approx(
        sum(cost.parts(cost.PROCESSOR, 1, 10, cost.IDEMPOTENT).values()), abs=0.001
    )


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs the command and returns exit status, JSON lines and standard error."""

    def run(*arguments: str, given: object = None) -> tuple[int, list[Any], str]:
        text = given if isinstance(given, (str, bytes)) else json.dumps(given)
        content = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))
        try:
            status = main(arguments)
        except SystemExit as exit_:  # raised by argparse
            status = int(str(exit_.code))
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()] if status < 2 else [], err

    return run


def test_a_pipe_is_printed_for_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    """`pipe` prints the library's own definition, with Fn::GetAtt for attributes of the template's resources."""
    assert main(["pipe", *ENDS]) == 0
    functions = [{"Fn::GetAtt": [*end.split(".")]} for end in ENDS[1::2]]
    assert json.loads(capsys.readouterr().out) == outbox_pipe().cloudformation(*functions)


def test_a_resource_is_named_by_its_ref(capsys: pytest.CaptureFixture[str]) -> None:
    """An end without an attribute becomes a Ref, and an ARN is unchanged."""
    assert main(["pipe", *ENDS, "--role", ARN, "--target", "BusArn"]) == 0
    properties = json.loads(capsys.readouterr().out)["Properties"]
    assert (properties["RoleArn"], properties["Target"]) == (ARN, {"Ref": "BusArn"})


def test_a_pipe_is_printed_for_create_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--name`, `pipe` prints a CreatePipe request; each end must be an ARN."""
    ends = [part if part.startswith("--") else ARN for part in ENDS]
    assert main(["pipe", "--name", "orders", *ends]) == 0
    assert json.loads(capsys.readouterr().out) == outbox_pipe().create_pipe_request("orders", ARN, ARN, ARN, ARN)


def test_a_request_needs_arns(said: Callable[..., Any]) -> None:
    """A resource of a template is refused in a CreatePipe request."""
    status, _, err = said("pipe", "--name", "orders", *ENDS)
    assert status == 2
    assert "each end must be an ARN; not an ARN: PipeRole.Arn" in err


DELIVERIES = [f"eventbridge_{way}" for way in ("from_relay", "from_templated_pipe", "from_bare_pipe", "cloudevents")]


@pytest.mark.parametrize("name", DELIVERIES)
def test_what_a_consumer_gets_is_decoded(name: str, said: Callable[..., Any], load_event: Callable[..., Any]) -> None:
    """`decode` prints metadata and data on one line, for each form of delivery."""
    status, [line], err = said("decode", given=load_event(name))
    assert (status, err) == (0, "")
    assert line["event"].keys() >= {"id", "type", "version", "time", "source", "aggregate_type", "data"}


def test_messages_are_decoded_one_by_one(said: Callable[..., Any], load_event: Callable[..., Any]) -> None:
    """A message without an event becomes an error line, and the exit status is 1."""
    body = json.dumps(load_event("eventbridge_from_relay"))
    status, lines, _ = said("decode", given={"Records": [{"messageId": "1", "body": body}, {"body": "no JSON"}]})
    assert status == 1
    assert [next(iter(line)) for line in lines] == ["event", "error"]
    assert (lines[1]["error"]["path"], lines[1]["error"]["index"]) == ("body", 1)


def test_stream_records_are_events_or_changes(said: Callable[..., Any]) -> None:
    """An inserted outbox item is printed as an event, another record as a change, an unreadable one as an error."""
    change = {**outbox_record("A", "3", "a"), "eventName": "REMOVE"}
    records = [outbox_record("A", "1", "a"), outbox_record("A", "2", "a", **UNREADABLE), change]
    status, lines, _ = said("decode", given=batch(*records))
    assert status == 1
    assert [next(iter(line)) for line in lines] == ["event", "error", "change"]
    assert (lines[1]["error"]["index"], lines[1]["error"]["sequence_number"]) == (1, "2")
    assert lines[1]["error"]["path"].startswith("dynamodb.NewImage.")
    assert lines[2]["change"]["event_name"] == "REMOVE"


def test_a_change_is_shown_in_jsons_types(said: Callable[..., Any]) -> None:
    """A change is printed as JSON: sets become sorted lists, binary becomes base64."""
    image = {"n": {"N": "0.12345678901234567890"}, "s": {"SS": ["b", "a"]}, "b": {"B": "AAE="}, "l": {"L": []}}
    record = {
        "eventID": "e",
        "eventName": "MODIFY",
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026",
        "dynamodb": {"ApproximateCreationDateTime": 1764000000, "Keys": {"n": {"N": "1"}}, "NewImage": image},
    }
    status, [line], _ = said("decode", given=record)
    assert status == 0
    assert line["change"]["new_image"] == {"n": 0.12345678901234568, "s": ["a", "b"], "b": "AAE=", "l": []}
    assert (line["change"]["table"], line["change"]["time"]) == ("books", "2025-11-24T16:00:00.000000Z")


def test_an_image_that_cannot_be_read_is_an_error(said: Callable[..., Any]) -> None:
    """An unreadable image is an error line, because `decode` reads all images."""
    change = {"ApproximateCreationDateTime": 1764000000, "Keys": {"n": {"N": "abc"}}}
    record = {"eventID": "e", "eventName": "MODIFY", "dynamodb": change}
    status, [line], _ = said("decode", given=record)
    assert status == 1
    assert line["error"]["path"] == "dynamodb.Keys.n.N"


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_outbox_item_is_decoded(tmp_path: Path, said: Callable[..., Any], *, wrapped: bool) -> None:
    """An outbox item is decoded from a file, with or without GetItem's wrapper; its data are unchanged."""
    outbox = TransactionalOutbox("events", source="Orders")
    item = outbox.transact_item(Event("OrderPlaced", {"total": "1.10", "n": 3}))["Put"]["Item"]
    file = tmp_path / "item.json"
    file.write_text(json.dumps({"Item": item} if wrapped else item))
    status, [line], _ = said("decode", str(file))
    assert (status, line["event"]["data"]) == (0, {"total": "1.10", "n": 3})


def test_a_broken_outbox_item_is_named(said: Callable[..., Any]) -> None:
    """An error line has the path of the wrong attribute."""
    status, [line], _ = said("decode", given={"outboxFormat": {"N": "1"}})
    assert (status, line["error"]["path"]) == (1, "eventType")


PRETTY = '{\r\n  "a":\n    "x  y"\r}'


def test_each_event_is_one_line(said: Callable[..., Any]) -> None:
    """Data with line breaks are printed on one line, and their text is unchanged."""
    item = TransactionalOutbox("events", source="Orders").transact_item(Event("OrderPlaced", {}))["Put"]["Item"]
    status, [line], _ = said("decode", given={**item, "eventData": {"S": PRETTY}})
    assert (status, line["event"]["data"]) == (0, {"a": "x  y"})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "is not JSON text"),
        ('{"a":' + "9" * 10_000 + "}", "is not JSON text"),
        ('{"a":1e999999}', "holds 1e999999"),
        ('{"a":NaN}', "holds NaN"),
        ("[]", "holds a JSON list"),
    ],
    ids=["nested", "digits", "exponent", "NaN", "list"],
)
def test_a_bomb_is_an_error_line(said: Callable[..., Any], data: str, problem: str) -> None:
    """Data that JSON's readers can't hold are an error line."""
    item = TransactionalOutbox("events", source="Orders").transact_item(Event("OrderPlaced", {}))["Put"]["Item"]
    status, [line], err = said("decode", given={**item, "eventData": {"S": data}})
    assert (status, err, line["error"]["path"]) == (1, "", "eventData")
    assert problem in line["error"]["problem"]


def test_text_that_is_not_unicode_is_escaped(said: Callable[..., Any]) -> None:
    """Half of a surrogate pair in a value or a name is printed as JSON's escape; other text is UTF-8."""
    keys = {"id": {"S": "\ud800 \u00e9 \u2713"}}
    change = {"eventID": "e", "eventName": "REMOVE", "dynamodb": {"Keys": keys}}
    broken = {**change, "dynamodb": {"Keys": {"\ud800": {"N": "x"}}}}
    status, lines, _ = said("decode", given=[change, broken])
    assert status == 1
    assert lines[0]["change"]["keys"] == {"id": keys["id"]["S"]}
    assert lines[1]["error"]["path"] == "dynamodb.Keys.\ud800.N"


def test_several_documents_are_decoded(said: Callable[..., Any], tmp_path: Path) -> None:
    """The lines of a table's export are decoded one by one; one without an event is an error line."""
    item = TransactionalOutbox("events", source="Orders").transact_item(Event("OrderPlaced", {}))["Put"]["Item"]
    lines = [json.dumps(each) for each in ({"Item": item}, {"Item": {"id": {"S": "1"}}}, {"Item": item})]
    file = tmp_path / "export.json"
    file.write_text("\n".join(lines) + "\n")
    status, printed, err = said("decode", str(file))
    assert (status, err, [next(iter(line)) for line in printed]) == (1, "", ["event", "error", "event"])
    assert "is an item, not its change; decode_item reads its Item" in printed[1]["error"]["problem"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_in_any_unicode_encoding_is_read(said: Callable[..., Any], encoding: str) -> None:
    """The encoding is detected: PowerShell writes UTF-16, and the process's own encoding doesn't matter."""
    change = {"eventID": "e", "eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "\u00e9"}}}}
    status, [line], _ = said("decode", given=json.dumps(change, ensure_ascii=False).encode(encoding))
    assert (status, line["change"]["keys"]) == (0, {"id": "\u00e9"})


def test_a_compressed_file_is_named(said: Callable[..., Any]) -> None:
    """A compressed export is refused, and the message says how to unpack it."""
    status, lines, err = said("decode", given=gzip.compress(b"{}"))
    assert (status, lines) == (1, [])
    assert "standard input is compressed; unpack it with gunzip -c" in err


def test_messages_and_failure_records_are_decoded(said: Callable[..., Any], load_event: Callable[..., Any]) -> None:
    """`decode` reads a received message, a pipe's array, a failed batch in S3, and says what a pointer points to."""
    for name, kinds in (
        ("lambda_dlq_sqs", ["event"]),
        ("async_destination_sqs", ["event"]),
        ("replayed_event", ["event"]),
        ("esm_s3_payload_text", ["event", "event"]),
        ("esm_s3_payload_object", ["event", "event"]),
        ("pipe_dlq_sqs", ["error"]),
    ):
        status, lines, err = said("decode", given=load_event(f"failures/{name}"))
        assert (status, err, [next(iter(line)) for line in lines]) == (int("error" in kinds), "", kinds)
    assert "read shard shardId-00000001763890000000-0a1b2c3d" in lines[0]["error"]["problem"]


def test_redrives_help_names_limit_and_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    """The help says that the limit counts records published, and what a Custom Event Bus takes twice."""
    with pytest.raises(SystemExit):
        main(["parked", "redrive", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "the maximum number of records to publish" in text
    assert "again after 300 s, for every subscriber" in text


NO_PAYLOAD = ["no JSON", "", {"books": 1}, 7, {"Records": 1}, "[" * 100_000, "9" * 5000, "NaN", '{"Item": 5}', "[{]"]


@pytest.mark.parametrize("given", [*NO_PAYLOAD, b"\xff\xfe\x00", b'{"a": "\xff"}', b"\x00"])
def test_what_is_no_payload_is_refused_without_a_traceback(said: Callable[..., Any], given: object) -> None:
    """An unknown document causes one line on standard error and no traceback."""
    status, lines, err = said("decode", given=given)
    assert (status, lines) == (1, [])
    assert err.startswith("dynamo-outbox: DecodeError: ")
    assert err.count("\n") == 1


def test_an_event_that_is_none_is_an_error_line(said: Callable[..., Any]) -> None:
    """A detail without metadata is an error line with the path of the missing field."""
    status, [line], _ = said("decode", given={"source": "Orders", "detail": {}})
    assert (status, line["error"]["path"]) == (1, "detail.metadata")


def test_a_missing_file_is_a_failure(said: Callable[..., Any], tmp_path: Path) -> None:
    """A missing file is named on standard error, without a traceback."""
    status, _, err = said("decode", str(tmp_path / "none.json"))
    assert status == 1
    assert err.startswith("dynamo-outbox: FileNotFoundError: ")


@pytest.fixture
def lot(monkeypatch: pytest.MonkeyPatch) -> Lot:
    """A parking table that the command's own clients use too."""
    made = Lot()
    monkeypatch.setitem(_clients, "dynamodb", made.dynamodb)
    monkeypatch.setattr(parking, "aws", lambda: {"dynamodb": made.dynamodb}.__getitem__)
    return made


def test_what_is_parked_is_listed(said: Callable[..., Any], lot: Lot) -> None:
    """`parked` prints a line per order key with the number of parked records, the first one and its reason."""
    OutboxRelay(lot.publisher, parking=lot.parking)(
        batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("A", "2", "a"))
    )
    status, [line], _ = said("parked", "list", lot.parking.table)
    assert (status, line["parked"], line["first"]["sequence_number"]) == (0, 2, "1")
    assert (line["first"]["code"], line["first"]["parked_by"]) == ("DecodeError", "OutboxRelay")


def test_nothing_parked_is_nothing_listed(said: Callable[..., Any], lot: Lot) -> None:
    """An empty parking table prints nothing, with exit status 0."""
    assert said("parked", "list", lot.parking.table) == (0, [], "")


def test_what_a_newer_version_parked_is_an_error_line(said: Callable[..., Any], lot: Lot) -> None:
    """A record that can't be read is an error line; the other order keys are still listed."""
    OutboxRelay(lot.publisher, parking=lot.parking)(
        batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b", **UNREADABLE))
    )
    newer = next(item for item in lot.items if item.get("sequenceNumber") == {"S": "1"})
    lot.dynamodb.put_item(TableName=lot.parking.table, Item={**newer, "parkedFormat": {"N": "9"}})
    status, lines, _ = said("parked", "list", lot.parking.table)
    assert status == 1
    assert sorted(line.keys() - {"order_key", "parked"} == {"error"} for line in lines) == [False, True]


@pytest.mark.usefixtures("lot")
def test_a_table_that_is_not_there_is_a_failure(said: Callable[..., Any]) -> None:
    """An error from AWS is reported without a traceback."""
    status, lines, err = said("parked", "list", "nowhere")
    assert (status, lines) == (1, [])
    assert "ResourceNotFoundException" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("region", ["", "no region"])
def test_a_wrong_region_is_said_on_a_line(
    said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    """A missing or invalid region is reported without a traceback."""
    aws.cache_clear()
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, region)
    status, lines, err = said("parked", "list", "parking")
    assert (bool(status), lines) == (True, [])
    assert "dynamo-outbox: " in err
    assert "Traceback" not in err


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write two of the user's modules to the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop_relay.py").write_text(RELAY)
    (tmp_path / "shop_broken.py").write_text("import not_installed_anywhere\n")
    yield
    for name in ("shop_relay", "shop_broken"):
        sys.modules.pop(name, None)


RELAY = """
from dynamo_outbox import ChangeProcessor, EventBridgePublisher, OutboxRelay, ParkingTable

publisher = EventBridgePublisher("books")
relay = OutboxRelay(publisher, parking=ParkingTable("parking"))
unparked = ChangeProcessor(publisher, lambda record: None)
settings = None
"""


@pytest.mark.usefixtures("module")
def test_what_is_parked_is_sent_again(said: Callable[..., Any], lot: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    """`redrive` imports the processor from the working folder and publishes the parked records."""
    monkeypatch.setitem(_clients, "events", lot.bus)
    lot.bus._refused = {"A": "MalformedDetail"}
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "a")))
    status, [summary, failure], _ = said("parked", "redrive", "--yes", "shop_relay:relay")
    assert (status, summary) == (1, {"sent": 0, "failed": 1, "finished": True})
    assert (failure["order_key"], failure["code"]) == ("Book#a", "MalformedDetail")
    lot.bus._refused = {}
    status, [summary], _ = said("parked", "redrive", "--yes", "shop_relay:relay", "--limit", "1")
    assert (status, summary) == (1, {"sent": 1, "failed": 0, "finished": False})
    status, [summary], _ = said("parked", "redrive", "--yes", "shop_relay:relay")
    assert (status, summary, lot.items) == (0, {"sent": 1, "failed": 0, "finished": True}, [])


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "required: command"),
        (["parked", "redrive", "shop_relay"], "is not of the form module:attribute"),
        (["parked", "redrive", "nowhere:relay"], "no module nowhere found"),
        (["parked", "redrive", "shop_relay:nothing"], "shop_relay has no attribute nothing"),
        (["parked", "redrive", "shop_relay:unparked"], "has no parking"),
        (["parked", "redrive", "shop_relay:relay"], "parked by shop_relay:relay to the bus books? Add --yes"),
        (["parked", "redrive", "shop_relay:settings"], "is a NoneType, not an OutboxRelay"),
        (
            ["cost", "--events-per-month", "1", "--relay", "pipe", "--batch", "11"],
            "the model of EventBridge Pipe has batches of at most 10",
        ),
        (["cost", "--events-per-month", "-1"], "--events-per-month"),
        (["cost"], "--events-per-month"),
        (["parked", "redrive", "shop_relay:relay", "--limit", "0"], "must be a whole number of at least 1, not '0'"),
    ],
)
def test_a_wrong_call_exits_with_two(said: Callable[..., Any], arguments: list[str], problem: str) -> None:
    """A mistake in the call is reported with the usage, exit status 2 and no traceback."""
    status, _, err = said(*arguments)
    assert status == 2
    assert problem in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("module")
def test_what_breaks_in_the_users_module_is_shown_whole(said: Callable[..., Any]) -> None:
    """If the user's module can't be imported, its exception is raised with the traceback."""
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        said("parked", "redrive", "shop_broken:relay")


def test_heads_are_as_many_as_order_keys() -> None:
    """`heads` lists each order key with parked records and omits those with a count of zero."""
    lot = Lot()
    relay = OutboxRelay(lot.publisher, parking=lot.parking)
    relay(batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b", **UNREADABLE)))
    gone = next(item for item in lot.items if item.get("orderKey") == {"S": "Book#a"} and "parts" not in item)
    lot.dynamodb.put_item(
        TableName="parking", Item={**gone, "sk": {"S": "Book#c"}, "orderKey": {"S": "Book#c"}, "parked": {"N": "0"}}
    )
    parking = ParkingTable(lot.parking.table, client=lot.dynamodb)
    assert sorted((head.order_key, head.parked) for head in parking.heads()) == [("Book#a", 1), ("Book#b", 1)]
