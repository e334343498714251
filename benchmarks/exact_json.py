"""Writing JSON with exact numbers.

Inside the timed region: a detail of some 430 bytes with 13 Decimals to its JSON text. The peer, ``json.dumps`` with
``default=float``, is not exact, but it is common and the fastest way in the standard library.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from dynamo_outbox.codec.json_text import dumps

from .harness import Benchmark, timed

__all__ = ["rows"]

DETAIL: dict[str, Any] = {
    "metadata": {"id": "01936d4a-7f5c-7001-8000-0123456789ab", "type": "OrderPlaced"},
    "data": {
        "order": "00000042",
        "customer": {"id": "c-1017", "discount": Decimal("0.05")},
        "lines": [
            {"sku": "978-1942788812", "price": Decimal("24.95"), "count": Decimal(2), "tax": Decimal("2.06")},
            {"sku": "978-1942788331", "price": Decimal("19.50"), "count": Decimal(1), "tax": Decimal("1.61")},
            {"sku": "978-0321125217", "price": Decimal("54.25"), "count": Decimal(3), "tax": Decimal("4.48")},
        ],
        "total": Decimal("232.15"),
        "paid": Decimal("232.15"),
        "rate": Decimal("1.0875"),
    },
}


def check() -> None:
    """Raise an error unless the text is exact and equals the peer's within a float's precision."""
    text = dumps(DETAIL)
    if json.loads(text, parse_float=Decimal) != DETAIL:
        raise AssertionError("the text is not exact")
    if json.loads(text) != json.loads(json.dumps(DETAIL, default=float)):
        raise AssertionError("the texts differ")


def rows() -> list[Benchmark]:
    """Return the row."""
    return [
        Benchmark(
            what="JSON of 13 Decimals",
            against="json.dumps(default=float)",
            target=1.7,
            sense="≥",
            measures={
                "ours": timed(lambda: dumps(DETAIL), repeat=500),
                "peer": timed(lambda: json.dumps(DETAIL, default=float), repeat=500),
            },
            check=check,
        )
    ]
