"""Process of the run: ``python -m tests.proof.conservation.worker SETTINGS``, with a pipe as standard input.

It ends at once when the pipe closes, because its driver has ended. After the line ``stop`` it finishes its current work
and ends. Other lines call a function. It reports to standard output, one JSON object per line.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from datetime import timedelta
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from dynamo_outbox import (
    Clock,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    OutboxRelay,
    Retry,
    TransactionalOutbox,
)
from dynamo_outbox.aws.buses import is_custom_bus
from dynamo_outbox.errors import CommitUnknownError, TransactionCanceledError, TransactionVoidedError

from .mappings import Checkpoints, QueueMapping, StreamMapping
from .settings import CALLED, TIMEOUT, Settings
from .world import CHANGED, COUNTED, SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamo_outbox import InboxTransaction, Transaction

LONGEST_WAIT, IDLE = 0.05, 0.02
"""The maximum seconds between attempts of the library, and the seconds between polls that found nothing."""


class BriefClock(Clock):
    """Real time with short waits."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_WAIT))  # ok: polling


def outbox_of(settings: Settings) -> TransactionalOutbox:
    """Return the outbox of a writer or a consumer."""
    world = settings.world
    return TransactionalOutbox(
        world.events,
        source=SOURCE,
        client=settings.client("dynamodb"),
        keys={world.entities: "pk", world.effects: "pk", world.handled: "pk"},
        retry=Retry(timeout=timedelta(seconds=settings.retry_timeout)),
        clock=BriefClock(),
    )


def tell(**facts: object) -> None:
    """Report to the driver."""
    print(json.dumps(facts), flush=True)


def write(settings: Settings, stopping: Flag) -> None:
    """Change entities one after the other, and report the outcome of each intent."""
    chance = random.Random(settings.seed)  # noqa: S311  # chooses entities; not for secrets
    outbox, world = outbox_of(settings), settings.world

    @outbox.transactional(attempts=6)
    def change(tx: Transaction, name: str, intent: str) -> None:
        key = {"pk": name}
        tx.get(world.entities, key, version="version")
        tx.update(world.entities, key, set={"intent": intent}, add={"changes": 1})
        tx.emit(Event(CHANGED, {"entity": name, "intent": intent}, aggregate_type="Entity", aggregate_id=name))

    for number in count():
        if stopping.is_set():
            return
        intent = f"{settings.name}-{settings.seed}-{number}"
        try:
            change(f"entity-{chance.randrange(settings.entities)}", intent)
            outcome = "committed"
        except CommitUnknownError as error:
            outcome = "settled as committed" if settled(outbox, error) else "settled as void"
        except TransactionVoidedError:
            outcome = "void"
        except TransactionCanceledError:
            outcome = "refused"
        except (BotoCoreError, ClientError) as error:
            outcome = f"not sent: {type(error).__name__}"
        tell(intent=intent, outcome=outcome)


def settled(outbox: TransactionalOutbox, error: CommitUnknownError) -> bool:
    """Call `settle` until it returns whether an uncertain transaction was committed."""
    while True:
        try:
            return outbox.settle(error)
        except CommitUnknownError:
            tell(outcome="settle called again")
            time.sleep(LONGEST_WAIT)  # ok: polling


def relay(settings: Settings, stopping: Flag) -> None:
    """Publish the stream's events to the bus."""
    service = "eventbridgev2" if is_custom_bus(settings.world.bus) else "events"
    publisher = EventBridgePublisher(settings.world.bus, client=settings.client(service), clock=BriefClock())
    checkpoints = Checkpoints(Path(settings.folder) / f"{settings.name}.json")
    streams = settings.client("dynamodbstreams", timeout=5, proxied=False)
    serve(StreamMapping(streams, settings.world.stream_arn, OutboxRelay(publisher), checkpoints), stopping)


def counter(settings: Settings) -> Callable[[object], Mapping[str, Any]]:
    """Return a handler that counts each entity's changes and emits a follow-up event for each."""
    world = settings.world
    store = IdempotencyStore(world.handled, client=settings.client("dynamodb"))

    @Inbox(store, outbox_of(settings)).handler(consumer="counter")
    def handle(event: Event, tx: InboxTransaction) -> None:
        name = event.data["entity"]
        tx.update(world.effects, {"pk": name}, add={"applied": 1})
        data = {"entity": name, "of": event.id, "sequence": event.sequence}
        tx.emit(Event(COUNTED, data, aggregate_type="Counter", aggregate_id=name))

    return handle


def consume(settings: Settings, stopping: Flag) -> None:
    """Handle the events of the queue."""
    sqs = settings.client("sqs", timeout=1 + TIMEOUT)
    serve(QueueMapping(sqs, settings.world.queue, counter(settings)), stopping)


def answer(settings: Settings, stopping: Flag) -> None:
    """Handle the driver's calls, and report each one's outcome."""
    handle = counter(settings)
    while not stopping.is_set():
        try:
            call = CALLS.get(timeout=IDLE)
        except Empty:
            continue
        outcome = CALLED
        try:
            handle(call["payload"])
        except Exception as error:
            outcome = f"call failed: {type(error).__name__}"
        tell(call=call["number"], outcome=outcome)


def serve(mapping: StreamMapping | QueueMapping, stopping: Flag) -> None:
    """Poll until stopped, through any exception: unfinished work is redelivered."""
    while not stopping.is_set():
        try:
            done = mapping.poll()
        except Exception as error:
            tell(outcome=f"poll failed: {type(error).__name__}")
            done = 0
        if not done:
            time.sleep(IDLE)  # ok: polling


ROLES: Mapping[str, Any] = {"writer": write, "relay": relay, "consumer": consume, "function": answer}
CALLS: SimpleQueue[dict[str, Any]] = SimpleQueue()


def obey(stopping: Flag) -> None:
    """Wait for the line ``stop``, and for calls; end this process if the pipe closes."""
    with open(sys.stdin.fileno(), closefd=False) as lines:
        for line in lines:
            if line == "stop\n":
                stopping.set()
            else:
                CALLS.put(json.loads(line))
    os._exit(1)


def main(settings: Settings) -> None:
    """Run the role until stopped."""
    logging.disable()  # failures are reported and counted
    stopping = Flag()
    Thread(target=obey, args=(stopping,), daemon=True).start()
    ROLES[settings.role](settings, stopping)


if __name__ == "__main__":
    main(Settings.from_json(sys.argv[1]))
