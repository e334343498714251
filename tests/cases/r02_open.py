"""on_expired_lease="raise": a response that breaks off in its body leaves the outcome open; the effect is not repeated.

The effect on a server is counted. Whatever the HTTP client raises, the key stays taken.
"""

import http.client
import http.server
import json
import threading
import urllib.request
from datetime import timedelta

import urllib3
from common import *

quiet()
charges = [0]
ANSWERS = {
    "/half": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"charge": "ch_1"',
    "/badstatus": b"garbage\r\n\r\n",
    "/chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
    "/500": b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    "/close": b"",
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args): ...

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        charges[0] += 1
        self.wfile.write(ANSWERS[self.path])
        self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"


def by_urllib(mode):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(URL + mode, data=b"x"), timeout=3) as response:
        return json.load(response)


def by_urllib3(mode):
    return json.loads(urllib3.PoolManager(retries=False).request("POST", URL + mode, body=b"x", timeout=3).data)


def by_http_client(mode):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=3)
    connection.request("POST", mode, body=b"x")
    return json.loads(connection.getresponse().read())


for how in (by_urllib, by_urllib3, by_http_client):
    for mode in ("/close", "/half", "/chunk", "/badstatus", "/500"):
        clock, db = world()
        store = IdempotencyStore("seen", client=db, clock=clock)
        charges[0] = 0

        @idempotent(store, key="id", scope="charge", on_expired_lease="raise")
        def charge(payload):
            return how(mode)

        seen = []
        for _ in range(3):
            try:
                charge({"id": "1"})
            except Exception as error:
                seen.append(type(error).__name__)
            clock.advance(timedelta(minutes=10))
        print(f"{how.__name__:14} {mode:10} charged {charges[0]}x", seen[1:])

# Prints:
# by_urllib      /close     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib      /half      charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib      /chunk     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib      /badstatus charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib      /500       charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib3     /close     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib3     /half      charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib3     /chunk     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib3     /badstatus charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_urllib3     /500       charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_http_client /close     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_http_client /half      charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_http_client /chunk     charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_http_client /badstatus charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
# by_http_client /500       charged 1x ['AlreadyInProgressError', 'UnknownOutcomeError']
