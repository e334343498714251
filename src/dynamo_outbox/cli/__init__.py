"""The command ``dynamo-outbox``, which operates an outbox.

Standard output has data, standard error has messages. Exit status: 0 for success; 1 if something failed or can't be
read; 2 for invalid arguments; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from ..errors import OutboxError
from . import doctor, parking, payloads, replay, stored, template
from .frame import FAILED, INTERRUPTED, UsageError, explained, start_session

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

DESCRIPTION = "Operate a transactional outbox. Exits with 1 on a failure, with 2 for invalid arguments."
GROUPS = (template, doctor, payloads, parking, replay, stored)
"""Modules with commands, in the order of --help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, by default with the process's arguments; return the exit status."""
    parser = _parser()
    known = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # JSON is UTF-8; half of a surrogate pair becomes JSON's own escape
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        start_session(known)
        status: int = known.run(known)
        sys.stdout.flush()
    except UsageError as error:
        parser.error(str(error))
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, (OutboxError, OSError)):
            text: str | None = f"{type(error).__name__}: {error}"
            if isinstance(error.__cause__, Exception) and (cause := explained(error.__cause__)):
                text = f"{text}. The cause: {cause}"
        else:
            text = explained(error)
        if text is None:
            raise
        print(f"dynamo-outbox: {text}", file=sys.stderr)
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dynamo-outbox", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('dynamo-outbox')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for group in GROUPS:
        group.add_commands(commands)
    return parser
