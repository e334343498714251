"""A commit whose response is lost; botocore's own resend can't be signed, because the refresh of credentials fails.

The transaction is committed: the caller gets CommitUnknownError, not a credentials error.
"""

import http.server
import json
import threading
from datetime import timedelta

import botocore.credentials
import botocore.exceptions
import botocore.session
from botocore.config import Config
from common import *

quiet()
clock, db = world()
received = []


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].split(".")[1]
        received.append(operation)
        if operation == "TransactWriteItems":
            commit(**body)
        self.close_connection = True  # no response


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
refreshed = []


def refresh():
    refreshed.append(True)
    if len(refreshed) > 1:
        raise botocore.exceptions.MetadataRetrievalError(error_msg="the metadata service does not answer")
    expiry = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    return {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": expiry}


session = botocore.session.get_session()
session._credentials = botocore.credentials.RefreshableCredentials.create_from_metadata(
    metadata=refresh(), refresh_using=refresh, method="x"
)
session._credentials._mandatory_refresh_timeout = 0
session._credentials._advisory_refresh_timeout = 0
client = session.create_client(
    "dynamodb",
    region_name="eu-west-1",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    config=Config(proxies={}),
)


def commit(**request):
    """Commit, and let the credentials expire before botocore's resend."""
    db.transact_write_items(**request)
    session._credentials._expiry_time = datetime.now(UTC) - timedelta(seconds=1)


ob = outbox(client, clock)
try:
    with ob.transaction() as tx:
        tx.put("orders", {"id": "1"}, must_not_exist=True)
        tx.emit(Event("OrderPlaced", {}))
    print("no error")
except Exception as error:
    print(type(error).__name__, "because of", type(error.__cause__).__name__)
found = "Item" in db.get_item(TableName="orders", Key={"id": {"S": "1"}})
print("the server got", received[0], "| the order is there:", found)

# Prints:
# CommitUnknownError because of MetadataRetrievalError
# the server got TransactWriteItems | the order is there: True
