"""The sample events in every shape in which they may arrive, and random damage to them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

__all__ = ["BOMBS", "mutated", "samples"]

EVENTS = Path(__file__).parents[2] / "events"


def samples() -> dict[str, Any]:
    """Return valid payloads by name, in the form that `payloads.revived` takes."""
    found: dict[str, Any] = {}
    for path in sorted(EVENTS.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = document
        records = document.get("Records", ())
        if any("dynamodb" in record for record in records):
            found |= {f"{path.stem}_{name}": shape for name, shape in _shapes(records).items()}
        elif not records:
            found |= {f"{path.stem}_{name}": shape for name, shape in _messages(document).items()}
    return found


def _shapes(records: list[dict[str, Any]]) -> dict[str, Any]:
    read = deepcopy(records)
    for record in read:
        record["dynamodb"]["ApproximateCreationDateTime"] = {"$datetime": "2026-11-23T09:30:00+00:00"}
        record["userIdentity"] = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
        record["dynamodb"].get("NewImage", {})["binary"] = {"B": {"$bytes": "00ff"}}
    envelopes = [{"kinesis": {"sequenceNumber": str(n), "data": {"$base64": each}}} for n, each in enumerate(records)]
    return {
        "get_records": {"Records": read},
        "kinesis": {"Records": envelopes},
        "pipe": records[:1],
        "pipe_kinesis": [envelopes[0]["kinesis"]],
        "record": records[0],
        "image": records[0]["dynamodb"]["NewImage"],
    }


def _messages(event: dict[str, Any]) -> dict[str, Any]:
    text = {"$text": event}
    return {
        "sqs": {"Records": [{"messageId": "1", "body": text, "attributes": {"MessageGroupId": "a"}}]},
        "sns": {"Records": [{"Sns": {"MessageId": "1", "Message": text}}]},
        "sns_in_sqs": {
            "Records": [{"messageId": "1", "body": {"$text": {"Type": "Notification", "Message": text}}}],
        },
        "detail": event["detail"],
    }


def _notifications(levels: int) -> Any:
    message: Any = {"a": 1}
    for _ in range(levels):  # each level escapes the inner one again, so the text doubles
        message = {"Type": "Notification", "Message": {"$text": message}}
    return {"Records": [{"messageId": "1", "body": {"$text": message}}]}


def _envelopes(levels: int) -> Any:
    record: Any = {"dynamodb": {}}
    for _ in range(levels):
        record = {"kinesis": {"sequenceNumber": "1", "data": {"$base64": record}}}
    return {"Records": [record]}


BOMBS: tuple[Any, ...] = (
    {"$deep": ["L", 2_000]},
    {"$deep": ["M", 2_000]},
    {"$deep": ["[", 900]},
    {"$deep": ["[", 2_000]},
    {"$deep": ["{", 2_000]},
    {"$repeat": ["[", 10_000]},
    {"$repeat": ['{"a":', 2_000]},
    {"$repeat": ["1", 10_000]},
    {"$repeat": ["\\", 2_000]},
    {"$repeat": ["\\ud800", 2_000]},
    {"$repeat": ["\ud800", 3]},
    {"$int": [9, 5_000]},
    {"N": {"$repeat": ["1", 10_000]}},
    {"N": "1E999999999"},
    {"N": "-1e-9999"},
    {"NS": ["1", "1.0", "1E0"]},
    {"S": "\ud800"},
    {"S": {"$int": [9, 5_000]}},
    {"B": {"$repeat": ["A", 4_999]}},
    {"L": [{"$deep": ["[", 2_000]}]},
    {"a": {"$deep": ["M", 2_000]}},
    '{"a":1E999999999}',
    '{"a":"\\ud800"}',
    '{"a":NaN}',
    {"$text": {"a": {"$deep": ["[", 300]}}},
    _notifications(8),
    _envelopes(12),
    1e400,
    -0.0,
    2**63,
    "",
    "aws.",
    "#",
)
"""Values that replace a part: nesting, digits, escapes, unpaired surrogates."""


def mutated(payload: Any, chance: random.Random, *, others: tuple[Any, ...] = ()) -> Any:
    """Return a copy of a payload with one to three of its parts removed, doubled, renamed, swapped, or replaced.

    Args:
        payload: A payload as `payloads.revived` takes it, so that texts and envelopes are damaged too.
        chance: Chooses the parts and the damage.
        others: Payloads from which parts are taken.
    """
    holder: dict[str, Any] = {"payload": deepcopy(payload)}
    for _ in range(chance.randint(1, 3)):
        _damage(holder, chance, others)
    return holder["payload"]


def _damage(root: dict[str, Any], chance: random.Random, others: tuple[Any, ...]) -> None:
    places = _places(root)
    holder, key = chance.choice(places)
    match chance.randrange(7):
        case 0 if holder is not root:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, deepcopy(holder[key]))
        case 2 if isinstance(holder, dict) and holder is not root:
            holder[chance.choice(_NAMES)] = holder.pop(key)
        case 3:
            other_holder, other_key = chance.choice(places)
            holder[key] = deepcopy(other_holder[other_key])
        case 4 if others:
            elsewhere, name = chance.choice(_places({"payload": chance.choice(others)}))
            holder[key] = deepcopy(elsewhere[name])
        case 5:
            holder[key] = _bent(holder[key], chance)
        case _:
            holder[key] = deepcopy(chance.choice(BOMBS))


_NAMES = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS", "s", "", "dynamodb", "kinesis", "data", "detail",
          "metadata", "specversion", "Records", "body", "Sns", "outboxFormat", "NewImage", "\ud800")  # fmt: skip


def _bent(value: Any, chance: random.Random) -> Any:
    match value:
        case bool() | None:
            return chance.choice((True, False, None, 0, 1, "true"))
        case int() | float():
            return chance.choice((-value, value * 10**18, value + 0.5, str(value), 10**300, -1, 0))
        case str():
            at = chance.randint(0, len(value))
            return (
                value[:at] + chance.choice(("", "\0", "é", "\ud83d", '"', "\\", "1", "E5", ".", "=", " ")) + value[at:]
            )
        case list():
            return chance.choice(([], value * 2, dict(enumerate(map(str, value))), [value]))
        case dict():
            return chance.choice(({}, list(value.values()), [value], {"M": value}, {"L": [value]}, {"$text": value}))
        case _:
            return None


def _places(root: Any) -> list[tuple[Any, Any]]:
    """Return every part of a payload, as its container and its key."""
    places: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        for key, part in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            places.append((holder, key))
            if isinstance(part, (dict, list)):
                waiting.append(part)
    return places
