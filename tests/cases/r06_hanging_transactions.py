"""Only TransactWriteItems gets no answer; PutItem (the void marker) is answered at once. When is the caller told?

With the argument ``unscaled`` the library's own timeouts hold: after some ten seconds.
"""

import http.server
import sys
import threading
import time
import zlib
from datetime import timedelta

from common import *

from dynamo_outbox.aws import clients, service
from dynamo_outbox.writing import commit

scale = 1 if "unscaled" in sys.argv else 0.05
clients.READ_TIMEOUT *= scale
service.SHORTEST_RESPONSE_TIME *= scale
commit.RESPONSE_TIME *= scale
commit.DOUBT_WAITS = tuple(wait * scale for wait in commit.DOUBT_WAITS)
operations = []
ended = threading.Event()


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].split(".")[1]
        operations.append(operation)
        if operation == "TransactWriteItems":
            ended.wait()
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("x-amz-crc32", str(zlib.crc32(b"{}")))
        self.end_headers()
        self.wfile.write(b"{}")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
ob = TransactionalOutbox("ev", source="s", keys={"o": "id"}, retry=Retry(timeout=timedelta(seconds=5 * scale)))
start = time.monotonic()
try:
    with ob.transaction() as tx:
        tx.put("o", {"id": "1"})
        tx.emit(Event("T", {}))
except Exception as error:
    print(type(error).__name__)
took = time.monotonic() - start
print(operations[-1], f"{took:.1f} s" if scale == 1 else "in time" if took < 12 * scale else f"{took / scale:.1f} s")
ended.set()

# Prints:
# TransactionVoidedError
# PutItem in time
