"""Growth of the decoders' work with their input, measured in steps and not in time.

A step is one executed line of Python, or 64 characters of text passed to a function, so building a path for every part
of an input counts by its length. C code within one line has no steps. Therefore inputs of the largest size that Lambda
delivers are also read under a limit of CPU seconds that only quadratic work can reach.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..report import Row
from .samples import samples
from .targets import exercise

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["FAMILIES", "linear_steps", "steps_of", "within_a_cpu_budget"]

CLAIM = "decoding work is linear in the input"
SMALLEST = 512
GROWTH = 2.2
"""The maximum factor by which doubling the input may increase the steps: 2 and a tolerance."""
LEAST_CPU_SECONDS = 20
BYTES_A_CPU_SECOND = 10_000
CHARACTERS_A_STEP = 64

_RECORD = samples()["stream_of_books_table_record"]
_OUTBOX_RECORD = samples()["stream_of_events_table_record"]
_EVENT = samples()["eventbridge_from_relay"]
_PIPED = samples()["eventbridge_from_templated_pipe"]


def _record(image: Any, number: int = 1, **fields: Any) -> dict[str, Any]:
    return {**_RECORD, "dynamodb": {**_RECORD["dynamodb"], "NewImage": image, "SequenceNumber": str(number)}, **fields}


def _image(value: Any) -> dict[str, Any]:
    return {"Records": [_record({"a": value})]}


def _outbox(n: int, aggregate: Callable[[int], str]) -> dict[str, Any]:
    image = _OUTBOX_RECORD["dynamodb"]["NewImage"]
    return {
        "Records": [
            {**_OUTBOX_RECORD, "dynamodb": {**_OUTBOX_RECORD["dynamodb"], "SequenceNumber": str(each),
                                            "NewImage": {**image, "aggregateId": {"S": aggregate(each)}}}}
            for each in range(n)
        ]
    }  # fmt: skip


def _deep(n: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = []
    for _ in range(n):
        value = wrap(value)
    return value


def _event(data: Any) -> dict[str, Any]:
    return {**_EVENT, "detail": {**_EVENT["detail"], "data": data}}


def _outbox_data(text: str) -> dict[str, Any]:
    image = {**_OUTBOX_RECORD["dynamodb"]["NewImage"], "eventData": {"S": text}}
    return {"Records": [{**_OUTBOX_RECORD, "dynamodb": {**_OUTBOX_RECORD["dynamodb"], "NewImage": image}}]}


def _sqs(n: int, body: str) -> dict[str, Any]:
    return {"Records": [{"messageId": str(each), "body": body} for each in range(n)]}


def _kinesis(data: str) -> dict[str, Any]:
    return {"Records": [{"kinesis": {"sequenceNumber": "1", "data": data}}]}


FAMILIES: dict[str, Callable[[int], Any]] = {
    "records": lambda n: {"Records": [_record({"a": {"S": "b"}}, each) for each in range(n // 2)]},
    "broken records": lambda n: [_record({}, each, eventID=0) for each in range(n // 2)],
    "outbox items of one aggregate": lambda n: _outbox(n, lambda _: "a"),
    "outbox items of many": lambda n: _outbox(n // 2, str),
    "broken outbox items": lambda n: _outbox(n // 2, lambda _: ""),
    "messages": lambda n: _sqs(n // 2, json.dumps(_EVENT)),
    "broken messages": lambda n: _sqs(n, "{"),
    "attributes": lambda n: {"Records": [_record({str(each): {"S": "b"} for each in range(n)})]},
    "members": lambda n: _image({"L": [{"N": "1"}] * n}),
    "members under a long name": lambda n: {"Records": [_record({"a" * n: {"L": [{"N": "1"}] * n}})]},
    "distinct numbers of a set": lambda n: _image({"NS": [str(each) for each in range(n)]}),
    "a broken last member": lambda n: _image({"L": [{"N": "1"}] * n + [{}]}),
    "digits": lambda n: _image({"N": "1" * n}),
    "digits and a letter": lambda n: _image({"N": "1" * n + "x"}),
    "digits behind a point": lambda n: _image({"N": "." + "0" * n + "x"}),
    "digits of an exponent": lambda n: _image({"N": "1E" + "9" * n}),
    "digits of a sequence number": lambda n: _record({}, 10 ** (n % 4000)),
    "digits in JSON": lambda n: _outbox_data('{"a":' + "1" * n + "}"),
    "digits of a fraction in JSON": lambda n: _outbox_data('{"a":0.' + "1" * n + "}"),
    "exponents in JSON": lambda n: _outbox_data('{"a":[' + ",".join(["1E999999999"] * n) + "]}"),
    "base64": lambda n: _image({"B": "AAAA" * n}),
    "broken base64": lambda n: _image({"B": "AAAA" * n + "="}),
    "typed lists in lists": lambda n: _image(_deep(n, lambda inner: {"L": [inner]})),
    "typed maps in maps": lambda n: _image(_deep(n, lambda inner: {"M": {"m": inner}})),
    "lists in lists for a value": lambda n: _image({"L": [_deep(n, lambda inner: [inner])]}),
    "brackets in JSON text": lambda n: _outbox_data('{"a":' + "[" * n),
    "closed brackets in JSON text": lambda n: _outbox_data('{"a":' + "[" * n + "]" * n + "}"),
    "brackets in a piped event": lambda n: {**_PIPED, "detail": {**_PIPED["detail"], "data": '{"a":' + "[" * n}},
    "escapes": lambda n: _outbox_data('{"a":"' + "\\u00e9" * n + '"}'),
    "escaped halves of pairs": lambda n: _outbox_data('{"a":"' + "\\ud800" * n + '"}'),
    "backslashes": lambda n: _sqs(1, "\\" * n),
    "data of an event": lambda n: _event({str(each): each for each in range(n)}),
    "data under a long name": lambda n: _event({"a" * n: [1] * n}),
    "outbox data under a long name": lambda n: _outbox_data(json.dumps({"a" * n: [1] * n})),
    "lists in an event's data": lambda n: _event({"a": _deep(n, lambda inner: [inner])}),
    "lists for an event's time": lambda n: {**_EVENT, "detail": {"metadata": {"id": "a", "type": "b",
                                            "time": _deep(n, lambda inner: [inner])}, "data": {}}},
    "a Kinesis record's brackets": lambda n: _kinesis(b64encode(b"[" * n).decode()),
    "a Kinesis record's base64": lambda n: _kinesis("A" * n),
    "text for the context": lambda n: {**_EVENT, "detail": {"metadata": {"context": "[" * n}, "data": {}}},
    "text for the time": lambda n: {**_EVENT, "detail": {"metadata": {"id": "a", "type": "b", "time": "1" * n}}},
    "text for the type": lambda n: {**_EVENT, "detail": {"metadata": {"id": "a", "type": "b" * n}, "data": {}}},
}  # fmt: skip
"""Functions that return an input of a given size."""


def steps_of(function: Callable[[], object]) -> int:
    """Return the number of steps of a call."""
    steps = 0

    def local(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return local

    def tracer(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal steps
        texts = (value for value in frame.f_locals.values() if isinstance(value, (str, bytes)))
        steps += 1 + sum(len(text) for text in texts) // CHARACTERS_A_STEP
        return local

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        function()
    finally:
        sys.settrace(before)
    return steps


def growth_of(family: Callable[[int], Any], doublings: int) -> list[float]:
    """Return the factor by which each doubling of the input increases the steps."""
    payloads = [family(SMALLEST << doubling) for doubling in range(doublings + 1)]
    exercise(family(SMALLEST))  # the first call imports and compiles, which does not count
    steps = [steps_of(lambda payload=payload: exercise(payload)) for payload in payloads]  # type: ignore[misc]
    return [after / before for before, after in pairwise(steps)]


def linear_steps(doublings: int) -> Row:
    """Double the input of every family repeatedly."""
    worst = {name: max(growth_of(family, doublings)) for name, family in FAMILIES.items()}
    beyond = {name: round(growth, 2) for name, growth in worst.items() if growth > GROWTH}
    fault = f"{len(FAMILIES)} families of inputs, each doubled {doublings} times"
    outcome = f"at most {max(worst.values()):.2f} times the steps" if not beyond else f"not linear: {beyond}"
    return Row(CLAIM, fault, len(FAMILIES) * (doublings + 1), outcome, lost=len(beyond))


def within_a_cpu_budget(size: int) -> Row:
    """Read every family at a size in bytes, in a process with a limit of CPU seconds."""
    answer = subprocess.run(  # noqa: S603  # this interpreter, and this module
        [sys.executable, "-m", __spec__.name, str(size)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    done = answer.stdout.split("\n")[:-1]
    fault = f"each family at {size:,} bytes, {_cpu_seconds(size)} CPU seconds for all"
    if answer.returncode == 0:
        return Row(CLAIM, fault, len(done), "read in time")
    stuck = next((name for name in FAMILIES if name not in done), "the end")
    return Row(CLAIM, fault, len(done), f"ended at: {stuck} {answer.stderr[-200:]}", lost=1)


def _cpu_seconds(size: int) -> int:
    return max(LEAST_CPU_SECONDS, size // BYTES_A_CPU_SECOND)


def main(size: int) -> None:
    """Read every family once, and print its name after that."""
    resource.setrlimit(resource.RLIMIT_CPU, (_cpu_seconds(size), _cpu_seconds(size)))
    for name, family in FAMILIES.items():
        unit = max(1, (_length(family(2 * SMALLEST)) - _length(family(SMALLEST))) // SMALLEST)
        exercise(family(max(SMALLEST, size // unit)))
        print(name, flush=True)


def _length(payload: Any) -> int:
    try:
        return len(json.dumps(payload))
    except RecursionError:
        return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
