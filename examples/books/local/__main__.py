"""``python -m local demo`` and ``python -m local start``, from the example's folder."""

import argparse
import signal
import sys

from . import demo, start
from .stage import MODES


def main() -> int:
    """Read the command line and run what it names."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demonstrate = commands.add_parser("demo", help="send a book through every mode, show each hop, and end")
    demonstrate.add_argument("modes", nargs="*", metavar="MODE", help=f"of {', '.join(MODES)}; all by default")
    serve = commands.add_parser("start", help="serve one mode until Ctrl-C")
    serve.add_argument("mode", choices=MODES)
    serve.add_argument("--port", type=_port, default=3000, help="the API's loopback port")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the shell had it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            number, lambda received, _: sys.exit(128 + received)
        )  # by an exception: what was started is ended
    try:
        if arguments.command == "start":
            return start.run(MODES[arguments.mode], arguments.port)
        unknown = [name for name in arguments.modes if name not in MODES]
        if unknown:
            parser.error(f"there is no mode {', '.join(unknown)}; there are {', '.join(MODES)}")
        return demo.run([MODES[name] for name in arguments.modes or MODES])
    except KeyboardInterrupt:
        print("\nInterrupted; everything that was started has been ended.", file=sys.stderr)
        return 130


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {port}")
    return port


if __name__ == "__main__":
    sys.exit(main())
