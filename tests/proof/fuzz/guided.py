"""Run atheris on all targets: ``python -m tests.proof.fuzz.guided [-runs=N] [CORPUS]``, with libFuzzer's arguments.

https://github.com/google/atheris
"""

from __future__ import annotations

import json
import random
import sys

import atheris

with atheris.instrument_imports(include=["dynamo_outbox"]):
    from .payloads import payload_of
    from .samples import mutated, samples
    from .targets import exercise

WHOLE = tuple(samples().values())


def one_input(data: bytes) -> None:
    """Exercise one input; an exception that leaves this function is a finding."""
    exercise(payload_of(data))


def mutation(data: bytes, max_size: int, seed: int) -> bytes:
    """Return a mutated payload that partly keeps its structure; sometimes mutated bytes or a fresh sample."""
    chance = random.Random(seed)  # noqa: S311  # libFuzzer's own seed
    if chance.random() < 0.2:
        mutated_bytes: bytes = atheris.Mutate(data, max_size)
        return mutated_bytes
    try:
        payload = json.loads(data) if chance.random() < 0.9 else chance.choice(WHOLE)
    except (ValueError, RecursionError):
        payload = chance.choice(WHOLE)
    try:
        return json.dumps(mutated(payload, chance, others=WHOLE)).encode()[:max_size]
    except (ValueError, RecursionError):
        return data[:max_size]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input, custom_mutator=mutation)
    atheris.Fuzz()
