"""Print the table or write it to the page: ``python -m tests.proof.comparison [--write]``."""

from __future__ import annotations

import logging
import sys

from . import PAGE, TABLE, cells, table

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    counted = table(cells())
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(TABLE.sub(lambda _: counted, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(counted)
