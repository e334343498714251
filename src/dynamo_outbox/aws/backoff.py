"""Wait before another attempt: exponential backoff with full jitter.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

__all__ = ["full_jitter"]


def full_jitter(attempt: int, *, draw: float, base: float = 0.05, cap: float = 2.0) -> float:
    """Return the seconds to wait after a failed attempt.

    Args:
        attempt: Which attempt failed, from 0.
        draw: A random number from 0 to 1.
        base: The longest wait after the first attempt, in seconds; it doubles with each.
        cap: The longest wait of all, in seconds.
    """
    return draw * min(cap, base * 2.0 ** min(attempt, 32))
