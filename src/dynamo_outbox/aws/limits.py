"""DynamoDB's limits on items and transactions.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

__all__ = ["CONTENTION", "MAX_ACTIONS", "MAX_ITEM_BYTES", "MAX_TRANSACTION_BYTES"]

MAX_ACTIONS = 100
"""Actions in one transaction."""
MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
CONTENTION = frozenset({"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"})
"""If every cancellation reason is one of these, the same transaction is worth another attempt."""
