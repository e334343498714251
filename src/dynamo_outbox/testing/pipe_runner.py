"""A substitute for EventBridge Pipes on engines without Pipes: sends a stream's records through a pipe to a bus."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import RenderError
from ..pipes.definition import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..pipes.definition import PipeDefinition
    from ..typing import EventBridgeClient, StreamsClient


__all__ = ["PassedRecord", "PipeRunner", "wire_record"]


class PassedRecord(NamedTuple):
    """A record that a pipe processed, and EventBridge's id of its event; None if the filter dropped the record."""

    record: Mapping[str, Any]
    event_id: str | None


class PipeRunner:
    """Reads a stream from its beginning and puts the events on a bus that a pipe would.

    Args:
        definition: The pipe.
        stream_arn: The source.
        bus: The target's name or ARN.
        streams, events: Low-level clients of DynamoDB Streams and EventBridge.

    It evaluates filter, input template and dynamic parameters with `dynamo_outbox.pipes.render`. It does not retry: a
    record that can't be sent raises an error.
    """

    def __init__(
        self,
        definition: PipeDefinition,
        *,
        stream_arn: str,
        bus: str,
        streams: StreamsClient,
        events: EventBridgeClient,
    ) -> None:
        self.definition = definition
        self.stream_arn = stream_arn
        self.bus = bus
        self._streams = streams
        self._events = events
        self._iterators: dict[str, str | None] = {}
        self._waiting: list[dict[str, Any]] = []

    def poll(self) -> list[PassedRecord]:
        """Process the records added since the last call.

        Raises:
            RenderError: The bus would refuse a record's event. The records before it were sent; the next call starts
                with this record again, as a pipe does with a shard.
        """
        self._waiting += self._new_records()
        passed = []
        while self._waiting:
            passed.append(PassedRecord(self._waiting[0], self.send(self._waiting[0])))
            self._waiting.pop(0)
        return passed

    def send(self, record: Mapping[str, Any]) -> str | None:
        """Process one record; return EventBridge's id of the event, or None if the filter dropped the record."""
        entry = render(record, self.definition)
        if entry is None:
            return None
        answer = self._events.put_events(Entries=[{**entry, "EventBusName": self.bus}])
        outcome = answer["Entries"][0]
        if "EventId" not in outcome:
            raise RenderError(f"EventBridge refused {entry}: {outcome.get('ErrorCode')}: {outcome.get('ErrorMessage')}")
        event_id: str = outcome["EventId"]
        return event_id

    def _new_records(self) -> list[dict[str, Any]]:
        description = self._streams.describe_stream(StreamArn=self.stream_arn)["StreamDescription"]
        records: list[dict[str, Any]] = []
        for shard in description["Shards"]:
            shard_id = shard["ShardId"]
            if shard_id not in self._iterators:
                start = self._streams.get_shard_iterator(
                    StreamArn=self.stream_arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
                )
                self._iterators[shard_id] = start["ShardIterator"]
            while (iterator := self._iterators[shard_id]) is not None:
                answer = self._streams.get_records(ShardIterator=iterator)
                self._iterators[shard_id] = answer.get("NextShardIterator")
                if not answer["Records"]:
                    break
                records += [wire_record(record, self.stream_arn) for record in answer["Records"]]
        return records


def wire_record(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """Convert a record of boto3's GetRecords to the JSON form that Lambda and Pipes deliver.

    The time becomes epoch seconds, binary becomes base64 text, the names in ``userIdentity`` begin in lower case, and
    the stream's ARN is added.
    """
    shaped: dict[str, Any] = _json_form(record)
    if isinstance(identity := shaped.get("userIdentity"), dict):
        shaped["userIdentity"] = {f"{name[0].lower()}{name[1:]}": value for name, value in identity.items()}
    return {**shaped, "eventSourceARN": stream_arn}


def _json_form(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_form(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_json_form(member) for member in value]
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    return value.timestamp() if isinstance(value, datetime) else value
