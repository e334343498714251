"""The fuzzer's executions: the corpus, randomly damaged samples, and libFuzzer's search for new paths."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from ..report import Row
from .payloads import payload_of, revived
from .samples import mutated, samples
from .targets import exercise

__all__ = ["CORPUS", "mutated_samples", "replayed_corpus", "with_coverage"]

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[3]
CLAIM = "any input is read or raises a documented error"
SEED = 20261124


def replayed_corpus() -> Row:
    """Run every input of the corpus."""
    inputs = sorted(CORPUS.iterdir())
    for each in inputs:
        exercise(payload_of(each.read_bytes()))
    return Row(CLAIM, "the corpus, replayed", len(inputs), "read, or DecodeError")


def mutated_samples(executions: int) -> Row:
    """Run sample events with parts removed, swapped, changed or enlarged; the same ones each time."""
    chance = random.Random(SEED)  # noqa: S311  # for repetition, not for secrets
    whole = tuple(samples().values())
    undocumented: Counter[str] = Counter()
    for _ in range(executions):
        payload = mutated(chance.choice(whole), chance, others=whole)
        try:
            exercise(revived(payload))
        except Exception as error:
            undocumented[type(error).__name__] += 1
    return _row("samples with damaged structure", executions, undocumented)


def _row(fault: str, executions: int, undocumented: Counter[str]) -> Row:
    outcome = "read, or DecodeError" if not undocumented else f"undocumented: {dict(undocumented)}"
    return Row(CLAIM, fault, executions, outcome, lost=undocumented.total())


def with_coverage(executions: int) -> Row:
    """Run libFuzzer, guided by coverage and starting with the corpus; 0 runs if atheris is not installed."""
    fault = "atheris (libFuzzer), starting with the corpus"
    if find_spec("atheris") is None:
        return Row(CLAIM, fault, 0, "not tried: atheris is not installed")
    with tempfile.TemporaryDirectory() as folder:
        corpus = shutil.copytree(CORPUS, Path(folder) / "corpus")
        command = [sys.executable, "-m", "tests.proof.fuzz.guided", f"-runs={executions}", f"-seed={SEED}", str(corpus)]
        answer = subprocess.run(  # noqa: S603  # this interpreter
            [*command, f"-artifact_prefix={folder}/"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
    done = re.search(r"Done (\d+) runs", answer.stderr)
    if answer.returncode == 0 and done is not None:
        return Row(CLAIM, fault, int(done[1]), "read, or DecodeError")
    return Row(CLAIM, fault, 1, f"undocumented: {answer.stdout.strip()[-300:]}", lost=1)
