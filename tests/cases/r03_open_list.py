"""Broken responses with on_expired_lease="raise": every exception that is not safe to retry is an unknown outcome.

The exceptions are those of botocore and of other clients. A commit, too, takes botocore's for an unknown outcome.
"""

import http.client

from botocore.exceptions import ChecksumError, ClientError, ConnectionClosedError, IncompleteReadError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from common import *

quiet()
SERVER_ERROR = {"Error": {"Code": "InternalServerError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}


class Declined(Exception): ...


def status_after(error, policy):
    """Return the status of the record of a call that raised."""
    clock, db = world()
    store = IdempotencyStore("seen", client=db, clock=clock)

    @idempotent(store, key="id", scope="charge", on_expired_lease=policy)
    def charge(payload):
        raise error

    try:
        charge({"id": "1"})
    except type(error):
        return db.scan(TableName="seen")["Items"][0]["status"]["S"]


def commit_after(error):
    """Return what a transaction raises whose responses all break off with this error."""
    clock, db = world()

    def broken(real, request):
        raise error

    try:
        with outbox(Wrap(db, transact_write_items=broken), clock).transaction() as tx:
            tx.put("orders", {"id": "1"})
    except Exception as raised:
        return type(raised).__name__


for error in (
    ReadTimeoutError(endpoint_url="x"),
    ConnectionClosedError(endpoint_url="x"),
    ResponseParserError("x"),
    ChecksumError(checksum_type="crc32", expected_checksum=1, actual_checksum=2),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    http.client.IncompleteRead(b""),
    http.client.BadStatusLine("x"),
    ClientError(SERVER_ERROR, "PutItem"),
    UnicodeDecodeError("utf8", b"x", 0, 1, "x"),
    Declined(),
):
    policies = ("raise", AtMostOnce(safe_to_retry=(Declined,)))
    print(f"{type(error).__name__:22}", *(status_after(error, policy) for policy in policies), commit_after(error))

# Prints:
# ReadTimeoutError       IN_PROGRESS IN_PROGRESS CommitUnknownError
# ConnectionClosedError  IN_PROGRESS IN_PROGRESS CommitUnknownError
# ResponseParserError    IN_PROGRESS IN_PROGRESS CommitUnknownError
# ChecksumError          IN_PROGRESS IN_PROGRESS CommitUnknownError
# IncompleteReadError    IN_PROGRESS IN_PROGRESS CommitUnknownError
# IncompleteRead         IN_PROGRESS IN_PROGRESS CommitUnknownError
# BadStatusLine          IN_PROGRESS IN_PROGRESS CommitUnknownError
# ClientError            IN_PROGRESS IN_PROGRESS CommitUnknownError
# UnicodeDecodeError     IN_PROGRESS IN_PROGRESS CommitUnknownError
# Declined               IN_PROGRESS RELEASED CommitUnknownError
