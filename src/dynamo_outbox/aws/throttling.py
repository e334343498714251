"""Error codes of requests that AWS refused because of their rate, as botocore's standard mode knows them.

https://github.com/boto/botocore/blob/develop/botocore/retries/standard.py
"""

from __future__ import annotations

__all__ = ["THROTTLED"]

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
