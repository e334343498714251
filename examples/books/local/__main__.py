"""Run the books example on a local engine: ``python -m local demo`` or ``python -m local start``."""

import argparse
import signal
import sys

from . import demo, start
from .stage import MODES


def main() -> int:
    """Parse the command line and run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demonstrate = commands.add_parser("demo", help="send a book through each mode, show each hop, and exit")
    demonstrate.add_argument("modes", nargs="*", metavar="MODE", help=f"any of {', '.join(MODES)}; all by default")
    serve = commands.add_parser("start", help="serve one mode until Ctrl-C")
    serve.add_argument("mode", choices=MODES)
    serve.add_argument("--port", type=_port, default=3000, help="the API's port on localhost")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may have it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Exit with an exception, so that context managers stop what was started.
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        if arguments.command == "start":
            return start.run(MODES[arguments.mode], arguments.port)
        unknown = [name for name in arguments.modes if name not in MODES]
        if unknown:
            parser.error(f"unknown mode {', '.join(unknown)}; choose from {', '.join(MODES)}")
        return demo.run([MODES[name] for name in arguments.modes or MODES])
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing is left running.", file=sys.stderr)
        return 130


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"the port must be from 0 to 65535, not {port}")
    return port


if __name__ == "__main__":
    sys.exit(main())
