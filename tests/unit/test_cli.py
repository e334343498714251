"""The command: what it prints, how it exits, and what it says of what a user got wrong."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, OutboxRelay, ParkingTable, TransactionalOutbox
from dynamo_outbox.aws.clients import _clients
from dynamo_outbox.cli import main
from dynamo_outbox.pipes import outbox_pipe

from .test_parking import UNREADABLE, Lot, batch
from .test_processors import outbox_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDS = ["--role", "PipeRole.Arn", "--source", "Events.StreamArn", "--target", "Bus.Arn", "--dead-letter", "Dead.Arn"]
ARN = "arn:aws:iam::123456789012:role/pipe"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command; gives its exit status, its JSON lines and what it said on standard error."""

    def run(*arguments: str, given: object = None) -> tuple[int, list[Any], str]:
        text = given if isinstance(given, str) else json.dumps(given)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        try:
            status = main(arguments)
        except SystemExit as exit_:  # argparse's
            status = int(str(exit_.code))
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()] if status < 2 else [], err

    return run


def test_a_pipe_is_printed_for_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    """The resource is the library's own definition, with functions where the ends are resources of the template."""
    assert main(["pipe", *ENDS]) == 0
    functions = [{"Fn::GetAtt": [*end.split(".")]} for end in ENDS[1::2]]
    assert json.loads(capsys.readouterr().out) == outbox_pipe().cloudformation(*functions)


def test_a_resource_is_named_by_its_ref(capsys: pytest.CaptureFixture[str]) -> None:
    """An end without an attribute is a Ref, and an ARN stays one."""
    assert main(["pipe", *ENDS, "--role", ARN, "--target", "BusArn"]) == 0
    properties = json.loads(capsys.readouterr().out)["Properties"]
    assert (properties["RoleArn"], properties["Target"]) == (ARN, {"Ref": "BusArn"})


def test_a_pipe_is_printed_for_create_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """With a name it is the request, for which each end is an ARN."""
    ends = [part if part.startswith("--") else ARN for part in ENDS]
    assert main(["pipe", "--name", "orders", *ends]) == 0
    assert json.loads(capsys.readouterr().out) == outbox_pipe().create_pipe_request("orders", ARN, ARN, ARN, ARN)


def test_a_request_needs_arns(said: Callable[..., Any]) -> None:
    """A template's resource in a request is a mistake in the call."""
    status, _, err = said("pipe", "--name", "orders", *ENDS)
    assert status == 2
    assert "each end is an ARN, and these are none: PipeRole.Arn" in err


DELIVERIES = [f"eventbridge_{way}" for way in ("from_relay", "from_templated_pipe", "from_bare_pipe", "cloudevents")]


@pytest.mark.parametrize("name", DELIVERIES)
def test_what_a_consumer_gets_is_decoded(name: str, said: Callable[..., Any], load_event: Callable[..., Any]) -> None:
    """However the event came, its metadata and its data are shown on one line."""
    status, [line], err = said("decode", given=load_event(name))
    assert (status, err) == (0, "")
    assert line["event"].keys() >= {"id", "type", "version", "time", "source", "aggregate_type", "data"}


def test_messages_are_decoded_one_by_one(said: Callable[..., Any], load_event: Callable[..., Any]) -> None:
    """A message that holds no event is an error on its own line, and the exit status says so."""
    body = json.dumps(load_event("eventbridge_from_relay"))
    status, lines, _ = said("decode", given={"Records": [{"messageId": "1", "body": body}, {"body": "no JSON"}]})
    assert status == 1
    assert [next(iter(line)) for line in lines] == ["event", "error"]
    assert (lines[1]["error"]["path"], lines[1]["error"]["index"]) == ("body", 1)


def test_stream_records_are_events_or_changes(said: Callable[..., Any]) -> None:
    """An inserted outbox item is its event, anything else a change, and what can't be read is named by its place."""
    change = {**outbox_record("A", "3", "a"), "eventName": "REMOVE"}
    records = [outbox_record("A", "1", "a"), outbox_record("A", "2", "a", **UNREADABLE), change]
    status, lines, _ = said("decode", given=batch(*records))
    assert status == 1
    assert [next(iter(line)) for line in lines] == ["event", "error", "change"]
    assert (lines[1]["error"]["index"], lines[1]["error"]["sequence_number"]) == (1, "2")
    assert lines[1]["error"]["path"].startswith("dynamodb.NewImage.")
    assert lines[2]["change"]["event_name"] == "REMOVE"


def test_a_change_is_shown_in_jsons_types(said: Callable[..., Any]) -> None:
    """Numbers keep their digits; sets are lists, in order, and binary is base64."""
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
    """Images are read here and not when somebody looks."""
    change = {"ApproximateCreationDateTime": 1764000000, "Keys": {"n": {"N": "abc"}}}
    record = {"eventID": "e", "eventName": "MODIFY", "dynamodb": change}
    status, [line], _ = said("decode", given=record)
    assert status == 1
    assert line["error"]["path"] == "dynamodb.Keys.n.N"


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_outbox_item_is_decoded(tmp_path: Path, said: Callable[..., Any], *, wrapped: bool) -> None:
    """An item as GetItem shows it, or bare, out of a file; its data are shown as they were written."""
    outbox = TransactionalOutbox("events", source="Orders")
    item = outbox.transact_item(Event("OrderPlaced", {"total": "1.10", "n": 3}))["Put"]["Item"]
    file = tmp_path / "item.json"
    file.write_text(json.dumps({"Item": item} if wrapped else item))
    status, [line], _ = said("decode", str(file))
    assert (status, line["event"]["data"]) == (0, {"total": "1.10", "n": 3})


def test_a_broken_outbox_item_is_named(said: Callable[..., Any]) -> None:
    """The path says which attribute is wrong."""
    status, [line], _ = said("decode", given={"outboxFormat": {"N": "1"}})
    assert (status, line["error"]["path"]) == (1, "eventType")


@pytest.mark.parametrize("given", ["no JSON", {"books": 1}, 7, {"Records": 1}, "[" * 100_000])
def test_what_is_no_payload_is_refused_without_a_traceback(said: Callable[..., Any], given: object) -> None:
    """A document that is none of the shapes is one line on standard error."""
    status, lines, err = said("decode", given=given)
    assert (status, lines) == (1, [])
    assert err.startswith("dynamo-outbox: DecodeError: ")
    assert err.count("\n") == 1


def test_an_event_that_is_none_is_an_error_line(said: Callable[..., Any]) -> None:
    """A detail without metadata is named where it is missing."""
    status, [line], _ = said("decode", given={"source": "Orders", "detail": {}})
    assert (status, line["error"]["path"]) == (1, "detail.metadata")


def test_a_missing_file_is_a_failure(said: Callable[..., Any], tmp_path: Path) -> None:
    """It is named, without a traceback."""
    status, _, err = said("decode", str(tmp_path / "none.json"))
    assert status == 1
    assert err.startswith("dynamo-outbox: FileNotFoundError: ")


@pytest.fixture
def lot(monkeypatch: pytest.MonkeyPatch) -> Lot:
    """A parking table, which the command's own clients find too."""
    made = Lot()
    monkeypatch.setitem(_clients, "dynamodb", made.dynamodb)
    return made


def test_what_is_parked_is_listed(said: Callable[..., Any], lot: Lot) -> None:
    """One line for each order key: how many wait, and the first with its reason."""
    OutboxRelay(lot.publisher, parking=lot.parking)(
        batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("A", "2", "a"))
    )
    status, [line], _ = said("parked", lot.parking.table)
    assert (status, line["parked"], line["first"]["sequence_number"]) == (0, 2, "1")
    assert (line["first"]["code"], line["first"]["parked_by"]) == ("DecodeError", "OutboxRelay")


def test_nothing_parked_is_nothing_listed(said: Callable[..., Any], lot: Lot) -> None:
    """An empty table is no failure."""
    assert said("parked", lot.parking.table) == (0, [], "")


def test_what_a_newer_version_parked_is_an_error_line(said: Callable[..., Any], lot: Lot) -> None:
    """One record that can't be read doesn't hide the others."""
    OutboxRelay(lot.publisher, parking=lot.parking)(
        batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b", **UNREADABLE))
    )
    newer = next(item for item in lot.items if item.get("sequenceNumber") == {"S": "1"})
    lot.dynamodb.put_item(TableName=lot.parking.table, Item={**newer, "parkedFormat": {"N": "9"}})
    status, lines, _ = said("parked", lot.parking.table)
    assert status == 1
    assert sorted(line.keys() - {"order_key", "parked"} == {"error"} for line in lines) == [False, True]


@pytest.mark.usefixtures("lot")
def test_a_table_that_is_not_there_is_a_failure(said: Callable[..., Any]) -> None:
    """What AWS answers is said on one line."""
    status, lines, err = said("parked", "nowhere")
    assert (status, lines) == (1, [])
    assert "ResourceNotFoundException" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("region", ["", "no region"])
def test_a_wrong_region_is_said_on_a_line(
    said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    """What botocore says of the surroundings comes without a traceback, whichever of its exceptions it takes."""
    monkeypatch.delitem(_clients, "dynamodb", raising=False)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, region)
    status, lines, err = said("parked", "parking")
    assert (bool(status), lines) == (True, [])
    assert "dynamo-outbox: " in err
    assert "Traceback" not in err


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the user's, in the working folder."""
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
    """The processor comes from the working folder; once its bus takes the event, nothing is parked."""
    monkeypatch.setitem(_clients, "events", lot.bus)
    lot.bus._refused = {"A": "MalformedDetail"}
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "a")))
    status, [summary, failure], _ = said("redrive", "shop_relay:relay")
    assert (status, summary) == (1, {"sent": 0, "failed": 1, "finished": True})
    assert (failure["order_key"], failure["code"]) == ("Book#a", "MalformedDetail")
    lot.bus._refused = {}
    status, [summary], _ = said("redrive", "shop_relay:relay", "--limit", "1")
    assert (status, summary) == (1, {"sent": 1, "failed": 0, "finished": False})
    status, [summary], _ = said("redrive", "shop_relay:relay")
    assert (status, summary, lot.items) == (0, {"sent": 1, "failed": 0, "finished": True}, [])


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "required: command"),
        (["redrive", "shop_relay"], "is not of the form module:attribute"),
        (["redrive", "nowhere:relay"], "there is no module nowhere"),
        (["redrive", "shop_relay:nothing"], "shop_relay has no nothing"),
        (["redrive", "shop_relay:unparked"], "has no parking"),
        (["redrive", "shop_relay:settings"], "is a NoneType, not an OutboxRelay"),
        (["redrive", "shop_relay:relay", "--limit", "0"], "needs a whole number above zero, not '0'"),
        (["parked", ""], "table needs a name"),
        (["parked", "t", "--sort-key", "pk"], "needs a different name for each attribute"),
    ],
)
def test_a_wrong_call_exits_with_two(said: Callable[..., Any], arguments: list[str], problem: str) -> None:
    """What a user got wrong in the call is said, with the usage and without a traceback."""
    status, _, err = said(*arguments)
    assert status == 2
    assert problem in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("module")
def test_what_breaks_in_the_users_module_is_shown_whole(said: Callable[..., Any]) -> None:
    """A module that is there and can't be imported is a fault of its own, so its traceback is kept."""
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        said("redrive", "shop_broken:relay")


def test_heads_are_as_many_as_order_keys() -> None:
    """The table tells what waits without anything of it being sent; a head that counts nothing isn't told."""
    lot = Lot()
    relay = OutboxRelay(lot.publisher, parking=lot.parking)
    relay(batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b", **UNREADABLE)))
    gone = next(item for item in lot.items if item.get("orderKey") == {"S": "Book#a"} and "parts" not in item)
    lot.dynamodb.put_item(
        TableName="parking", Item={**gone, "sk": {"S": "Book#c"}, "orderKey": {"S": "Book#c"}, "parked": {"N": "0"}}
    )
    parking = ParkingTable(lot.parking.table, client=lot.dynamodb)
    assert sorted((head.order_key, head.parked) for head in parking.heads()) == [("Book#a", 1), ("Book#b", 1)]
