"""``python -m tests.proof.fuzz.guided [-runs=N] [CORPUS]``: atheris on all targets; the arguments are libFuzzer's.

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
    """Whatever goes through is a finding."""
    exercise(payload_of(data))


def mutation(data: bytes, max_size: int, seed: int) -> bytes:
    """A payload with its structure kept in part; now and then its bytes, or a fresh sample, instead."""
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
