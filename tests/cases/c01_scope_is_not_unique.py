"""powertools-lambda-python#318: one table for several Lambda functions. A scope is required, so both run.

Also closures, inherited methods, instances and reused names: each has a scope of its own, or `self` in its key.
"""

import subprocess
import sys
from pathlib import Path

from kit import *

from dynamo_outbox import Event, idempotent

run = [sys.executable, str(Path(__file__).parent / "scope_case/run.py")]
print(subprocess.run(run, capture_output=True, text=True, check=True).stdout, end="")
s, e = store(), Event("OrderPlaced", {"n": 1}, id="1")
print("without a scope:", told(idempotent, s))


def make(channel):
    @idempotent(s, scope=f"send.{channel}")
    def send(event):
        return f"sent by {channel}"

    return send


print("closures       :", make("mail")(e), "|", make("sms")(e))


class Base:
    @idempotent(s, scope="handle", key=lambda self, event: [type(self).__name__, event.id])
    def handle(self, event):
        return type(self).__name__


class Mail(Base): ...


class Sms(Base): ...


print("inherited      :", Mail().handle(e), "|", Sms().handle(e))


class Sender:
    def __init__(self, to):
        self.to = to

    @idempotent(s, scope="sender", key=lambda self, event: [self.to, event.id])
    def send(self, event):
        return f"to {self.to}"


print("two instances  :", Sender("a").send(e), "|", Sender("b").send(e))


@idempotent(s, scope="first")
def _(event):
    return "first"


first = _


@idempotent(s, scope="second")
def _(event):
    return "second"


print("a name reused  :", first(e), "|", _(e))

# Prints:
# billing: charged
# mail   : mailed
# ran: ['billing charged', 'mail sent'] keys: ['call#billing#Shop#i1', 'call#mail#Shop#i1']
# without a scope: !! TypeError: ...'scope'
# closures       : sent by mail | sent by sms
# inherited      : Mail | Sms
# two instances  : to a | to b
# a name reused  : first | second
