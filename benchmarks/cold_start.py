"""Cold start: a fresh interpreter imports a function, creates its clients and answers one event.

Inside the timed region: CPU time of the interpreter, from after the imports that both sides share (json, decimal, re,
enum, functools, logging) to the function's response. A canned server answers. The functions are the example's relay and
writer, against functions written by hand: the relay is a loop over records without guarantees, the writer has the same
pydantic model. The relay's floor is the loop with a question to the parking table, as order requires: a second client
and a second call. Each round runs at another depth of the Python stack, from 0 to 60, because at some depths CPython
allocates and frees a chunk of frames thousands of times inside an import.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calls import expect
from .canned_server import canned_server
from .harness import SOURCE, Benchmark
from .imports import EXAMPLE, VARIABLES
from .payloads import outbox_records

if TYPE_CHECKING:
    from .canned_server import CannedServer
    from .harness import Measure

__all__ = ["rows"]

DEPTHS = tuple(range(0, 61, 2))
"""One for each round."""
START = """
import json, decimal, re, enum, functools, logging, sys, time
event = json.load(open(sys.argv[1]))
def at(depth, work):
    return at(depth - 1, work) if depth else work()
def work():
    from {module} import handler
    return handler(event, None)
begin = time.process_time()
response = at(int(sys.argv[2]), work)
print(time.process_time() - begin)
"""
RELAY = """
import json, os
from datetime import datetime
import boto3
from boto3.dynamodb.types import TypeDeserializer
client = boto3.client("events")
deserialize = TypeDeserializer().deserialize
def entry(record):
    item = {name: deserialize(value) for name, value in record["dynamodb"]["NewImage"].items()}
    metadata = {"id": item["eventId"], "type": item["eventType"], "version": int(item["eventVersion"])}
    metadata |= {"time": item["eventTime"], "aggregateType": item["aggregateType"], "aggregateId": item["aggregateId"]}
    detail = {"metadata": metadata | json.loads(item["eventContext"]), "data": json.loads(item["eventData"])}
    return {
        "EventBusName": os.environ["EVENT_BUS"],
        "Source": item["source"],
        "DetailType": item["eventType"],
        "Detail": json.dumps(detail),
        "Time": datetime.fromisoformat(item["eventTime"]),
    }
def handler(event, context):
    entries = [entry(record) for record in event["Records"] if record["eventName"] == "INSERT"]
    for start in range(0, len(entries), 10):
        client.put_events(Entries=entries[start : start + 10])
"""
ASKING_RELAY = f"""{RELAY}
dynamodb = boto3.client("dynamodb")
publish = handler
def handler(event, context):
    keys = {{record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]}}
    asked = {{"Keys": [{{"pk": {{"S": key}}, "sk": {{"S": "0"}}}} for key in keys], "ConsistentRead": True}}
    dynamodb.batch_get_item(RequestItems={{os.environ["PARKING_TABLE"]: asked}})
    publish(event, context)
"""
WRITER = """
import json, os, uuid
from datetime import UTC, datetime, timedelta
import boto3
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError
from books.book import Book
client = boto3.client("dynamodb")
serialize = TypeSerializer().serialize
def typed(item):
    return {name: serialize(value) for name, value in item.items()}
def handler(event, context):
    book = Book.model_validate_json(event["body"])
    now, event_id = datetime.now(UTC), str(uuid.uuid4())
    item = {
        "pk": "Book#" + book.name, "sk": event_id, "eventId": event_id, "eventType": "BookAdded",
        "eventTime": now.isoformat(), "source": "OutboxDemo.Books", "eventVersion": 1, "aggregateType": "Book",
        "aggregateId": book.name, "eventData": book.model_dump_json(), "eventContext": "{}",
        "expiresAt": int((now + timedelta(days=7)).timestamp()), "outboxFormat": 1,
    }
    put = {"ConditionExpression": "attribute_not_exists(#k)"}
    first = {"TableName": os.environ["BOOKS_TABLE"], "Item": typed(book.model_dump()), **put}
    second = {"TableName": os.environ["EVENTS_TABLE"], "Item": typed(item), **put}
    first["ExpressionAttributeNames"], second["ExpressionAttributeNames"] = {"#k": "name"}, {"#k": "pk"}
    try:
        client.transact_write_items(TransactItems=[{"Put": first}, {"Put": second}])
    except ClientError as error:
        if error.response["Error"]["Code"] != "TransactionCanceledException":
            raise
        return {"statusCode": 409, "body": json.dumps({"message": "exists"})}
    return {"statusCode": 201, "body": book.model_dump_json()}
"""
BODY = {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019}
POST = {"version": "2.0", "headers": {"content-type": "application/json"}, "body": json.dumps(BODY)}


class Function:
    """A function that fresh interpreters run, each at the next depth of the stack."""

    def __init__(self, module: str, event: Path, path: str, server: CannedServer) -> None:
        self._command = [sys.executable, "-c", START.format(module=module), str(event)]
        self._environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **VARIABLES}
        self._environment["AWS_ENDPOINT_URL"] = server.url
        self._depths = cycle(DEPTHS)

    def __call__(self) -> float:
        command = [*self._command, str(next(self._depths))]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True)  # noqa: S603  # this interpreter
        return float(done.stdout)


def rows() -> list[Benchmark]:
    """Return the rows of relay and writer; they share a server, which ends with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(canned_server())
    server.answer("BatchGetItem", {"Responses": {VARIABLES["PARKING_TABLE"]: []}, "UnprocessedKeys": {}})
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (folder / "relay_by_hand.py").write_text(RELAY, encoding="utf-8")
    (folder / "relay_with_parking_by_hand.py").write_text(ASKING_RELAY, encoding="utf-8")
    (folder / "writer_by_hand.py").write_text(WRITER, encoding="utf-8")
    path = os.pathsep.join([str(SOURCE), str(EXAMPLE), str(folder)])
    one = {"Records": outbox_records()["Records"][:1]}
    cases: tuple[tuple[str, float, str, str, Any], ...] = (
        ("cold start of the books' relay", 0.9, "books.outbox_mode.outbox_relay", "relay_by_hand", one),
        ("cold start of the books' writer", 1.0, "books.outbox_mode.add_book", "writer_by_hand", POST),
    )
    return [_row(*case, folder / f"{number}.json", path, server) for number, case in enumerate(cases)]


def _row(
    what: str, target: float, ours: str, by_hand: str, event: object, file: Path, path: str, server: CannedServer
) -> Benchmark:
    file.write_text(json.dumps(event), encoding="utf-8")
    measures: dict[str, Measure] = {
        "ours": Function(ours, file, path, server),
        "peer": Function(by_hand, file, path, server),
    }

    if "relay" in what:
        measures["floor"] = Function("relay_with_parking_by_hand", file, path, server)

    def check() -> None:
        for name, measure in measures.items():
            expect(server, 1 if name == "peer" or "floor" not in measures else 2, measure)

    return Benchmark(
        what=f"{what}, CPU",
        against="by hand",
        target=target,
        sense="≤",
        measures=measures,
        check=check,
        rounds=len(DEPTHS),
    )
