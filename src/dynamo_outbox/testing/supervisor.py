"""Runs MiniStack for another process: ``python supervisor.py COMMAND PORT``, with a pipe as standard input.

When the pipe closes, because its owner closed it or ended, the supervisor ends MiniStack and its workers and removes
its folder. It is a script of its own and imports only the standard library.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

LOG_TAIL = 20_000
"""Characters from the end of MiniStack's output that the supervisor prints when MiniStack has ended."""
KEPT = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "SYSTEMROOT"})


def main(command: str, port: str) -> int:
    """Run the command until standard input ends, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor ends, and cleans up, when its owner ends
    folder = Path(tempfile.mkdtemp(prefix="dynamo-outbox-ministack-"))
    log = folder / "ministack.log"
    try:
        with log.open("wb") as output:
            engine = subprocess.Popen(  # noqa: S603  # a command that the caller chose
                [command],
                env=environment(folder, port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while engine.poll() is None and not owner_ended():
                pass
        finally:
            end(engine)
            with suppress(OSError):  # the reader may have ended
                print(log.read_text(errors="replace")[-LOG_TAIL:], flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return engine.returncode or 0


def environment(folder: Path, port: str) -> dict[str, str]:
    """Return MiniStack's environment: loopback, its own folder, policies enforced.

    The user's settings for AWS, other engines and proxies (SERVICES, USE_SSL, AWS_PROFILE) are left out.
    """
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")}
    return kept | {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": port,
        "EDGE_PORT": port,
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def owner_ended() -> bool:
    """Return whether standard input has ended, after waiting for up to a quarter of a second."""
    readable, _, _ = select.select([sys.stdin], [], [], 0.25)
    return bool(readable) and os.read(sys.stdin.fileno(), 1024) == b""


def end(engine: subprocess.Popen[bytes]) -> None:
    """End MiniStack and its workers, which are in its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(engine.pid, number)
        with suppress(subprocess.TimeoutExpired):
            engine.wait(3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
