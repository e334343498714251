"""``python -m dynamo_outbox``: the command ``dynamo-outbox``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
