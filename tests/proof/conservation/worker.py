"""Process of the run: ``python -m tests.proof.conservation.worker SETTINGS``, with a pipe as standard input.

It ends at once when the pipe closes, because its driver has ended. After the line ``stop`` it finishes its current work
and ends. It reports to standard output, one JSON object per line.
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
from dynamo_outbox.errors import CommitUnknownError, TransactionCanceledError, TransactionVoidedError

from .mappings import Checkpoints, QueueMapping, StreamMapping
from .settings import TIMEOUT, Settings
from .world import CHANGED, COUNTED, SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    publisher = EventBridgePublisher(settings.world.bus, client=settings.client("events"), clock=BriefClock())
    checkpoints = Checkpoints(Path(settings.folder) / f"{settings.name}.json")
    streams = settings.client("dynamodbstreams", timeout=5, proxied=False)
    serve(StreamMapping(streams, settings.world.stream_arn, OutboxRelay(publisher), checkpoints), stopping)


def consume(settings: Settings, stopping: Flag) -> None:
    """Count each entity's changes and emit a follow-up event for each."""
    world = settings.world
    store = IdempotencyStore(world.handled, client=settings.client("dynamodb"))

    @Inbox(store, outbox_of(settings)).handler(consumer="counter")
    def handle(event: Event, tx: InboxTransaction) -> None:
        name = event.data["entity"]
        tx.update(world.effects, {"pk": name}, add={"applied": 1})
        tx.emit(Event(COUNTED, {"entity": name, "of": event.id}, aggregate_type="Counter", aggregate_id=name))

    serve(QueueMapping(settings.client("sqs", timeout=1 + TIMEOUT), world.queue, handle), stopping)


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


ROLES: Mapping[str, Any] = {"writer": write, "relay": relay, "consumer": consume}


def obey(stopping: Flag) -> None:
    """Wait for the line ``stop``; end this process if the pipe closes."""
    while told := os.read(sys.stdin.fileno(), 1024):
        if b"stop" in told:
            stopping.set()
    os._exit(1)


def main(settings: Settings) -> None:
    """Run the role until stopped."""
    logging.disable()  # failures are reported and counted
    stopping = Flag()
    Thread(target=obey, args=(stopping,), daemon=True).start()
    ROLES[settings.role](settings, stopping)


if __name__ == "__main__":
    main(Settings.from_json(sys.argv[1]))
