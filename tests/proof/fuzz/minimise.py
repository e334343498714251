"""Add the inputs of a folder that reach new code to the corpus: ``python -m tests.proof.fuzz.minimise FOLDER``.

An input reaches new code if it takes a new step from one line of the library to another, or ends in a new way in a
target. Shorter inputs are tried first. An input that reaches nothing beyond shorter ones is removed from the corpus.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dynamo_outbox

from .executions import CORPUS
from .payloads import payload_of
from .targets import TARGETS

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["reached_by"]

LIBRARY = str(Path(dynamo_outbox.__file__).parent)
LONGEST = 8192


def reached_by(data: bytes) -> set[Any]:
    """Return the steps between lines that an input takes, and the way it ends."""
    payload = payload_of(data)
    reached: set[Any] = set()
    for name, target in TARGETS.items():
        last: dict[FrameType, int] = {}

        def local(frame: FrameType, event: str, _argument: object, last: dict[FrameType, int] = last) -> Any:
            if event == "line":
                reached.add((frame.f_code.co_filename, last.get(frame), frame.f_lineno))
                last[frame] = frame.f_lineno
            return local

        def tracer(frame: FrameType, _event: str, _argument: object, local: Any = local) -> Any:
            return local if frame.f_code.co_filename.startswith(LIBRARY) else None

        sys.settrace(tracer)
        try:
            target(payload)
        except Exception as error:
            reached.add((name, type(error).__name__))
        finally:
            sys.settrace(None)
    return reached


def main(folder: Path) -> None:
    """Update the corpus."""
    inputs = {path.read_bytes() for place in (CORPUS, folder) for path in place.iterdir()}
    reached: set[Any] = set()
    kept = []
    for data in sorted((each for each in inputs if len(each) <= LONGEST), key=lambda each: (len(each), each)):
        new = reached_by(data)
        if not new <= reached:
            reached |= new
            kept.append(data)
    for path in CORPUS.iterdir():
        path.unlink()
    for data in kept:
        (CORPUS / f"{sha256(data).hexdigest()[:16]}.json").write_bytes(data)
    print(f"{len(kept)} of {len(inputs)} inputs, {sum(map(len, kept)):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
