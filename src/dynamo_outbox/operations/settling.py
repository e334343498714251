"""End what is uncertain: a transaction whose response was lost, and a call whose outcome is unknown.

A table is given as ``NAME``, or as ``NAME:PREFIX`` if its partition keys have a prefix.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..codec.values import decode_item
from ..consuming.claims import Claim
from ..consuming.idempotency import IdempotencyStore
from ..writing.outbox import TransactionalOutbox
from .stored import table_options

if TYPE_CHECKING:
    from ..events.event import Event
    from .clients import Clients

__all__ = ["call_record", "forget", "resolve", "settle"]


def settle(
    table: str, uncertain: Event | str, *, ttl: timedelta = timedelta(days=7), clients: Clients | None = None
) -> bool:
    """Settle a transaction as `TransactionalOutbox.settle` does: by an event, or by the text of an error's ``to_json``.

    Arguments:
        table: The events table.
        uncertain: The event or the text.
        ttl: The outbox's: an older event may have expired, so it is only looked for.
        clients: AWS's clients. Default: those of boto3's default session.
    """
    return TransactionalOutbox(**table_options(table, clients), ttl=ttl).settle(uncertain)


def call_record(table: str, key: str, *, clients: Clients | None = None) -> dict[str, Any]:
    """Return the record of a call, for a look before it is resolved; empty if there is none."""
    return decode_item(_store(table, clients).records.read(Claim(key, "", "")))


def resolve(table: str, key: str, token: str, result: object, *, clients: Clients | None = None) -> bool:
    """Store a call's result as `IdempotencyStore.resolve` does; key and token are those of `UnknownOutcomeError`."""
    return _store(table, clients).resolve(key, result, token=token)


def forget(table: str, key: str, token: str, *, clients: Clients | None = None) -> bool:
    """Let the next call run as `IdempotencyStore.forget` does."""
    return _store(table, clients).forget(key, token=token)


def _store(table: str, clients: Clients | None) -> IdempotencyStore:
    return IdempotencyStore(**table_options(table, clients))
