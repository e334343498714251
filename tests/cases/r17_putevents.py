"""Responses of PutEvents that EventBridge doesn't document: no crash, nothing taken for published, an end in time."""

from collections import Counter
from datetime import timedelta

from botocore.exceptions import ClientError
from common import *

quiet()


class Bus:
    def __init__(self, respond):
        self.respond = respond
        self.sizes = []

    def put_events(self, Entries):
        self.sizes.append(len(Entries))
        return self.respond(Entries)


class Context:
    def __init__(self, clock, seconds):
        self.clock = clock
        self.end = clock.now() + timedelta(seconds=seconds)

    def get_remaining_time_in_millis(self):
        return (self.end - self.clock.now()) / timedelta(milliseconds=1)


def show(name, respond, n=25, one_aggregate=False, time_left=None):
    clock = FakeClock(random=0.5)
    bus = Bus(respond)
    start = clock.now()
    events = [Event("T", {"i": i}, aggregate_type="A", aggregate_id="1" if one_aggregate else str(i)) for i in range(n)]
    result = EventBridgePublisher("b", source="s", client=bus, clock=clock).publish(
        events, in_order=True, on_failure="return", context=time_left and Context(clock, time_left)
    )
    codes = dict(Counter(failure.code for failure in result.failed))
    refused = sum(failure.event_refused for failure in result.failed)
    took = "in time" if clock.now() - start <= timedelta(seconds=time_left or 10) else "too late"
    print(f"{name}: published {len(result.published)} failed {codes} refused {refused} calls {len(bus.sizes)} {took}")


def ok(entry):
    return {"EventId": "x"}


def error(code, status=400, above=0):
    def respond(entries):
        if len(entries) <= above:
            return {"Entries": [ok(entry) for entry in entries]}
        response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, "PutEvents")

    return respond


def results(result):
    return lambda entries: {"FailedEntryCount": 0, "Entries": [result for _ in entries]}


show("fewer", lambda entries: {"FailedEntryCount": 0, "Entries": [ok(entry) for entry in entries[:-1]]})
show("more", lambda entries: {"FailedEntryCount": 0, "Entries": [*map(ok, entries), {"EventId": "y"}]})
show("none", lambda entries: {"FailedEntryCount": 0})
show("both", results({"EventId": "x", "ErrorCode": "InternalFailure"}))
show("empty", results({}))
show("null", results(None))
show("count", lambda entries: {"FailedEntryCount": len(entries), "Entries": [ok(entry) for entry in entries]})
show("413", error("413", 413))
show("413 for more than 3 entries", error("413", 413, above=3))
show("throttled", error("ThrottlingException"))
show("throttled, 6 s left", error("ThrottlingException"), time_left=6)
throttled = results({"ErrorCode": "ThrottlingException"})
show("2,000 throttled", throttled, n=2000)
show("2,000 throttled, in order", throttled, n=2000, one_aggregate=True)

# Prints:
# fewer: published 0 failed {'IncompleteAnswer': 25} refused 0 calls 12 in time
# more: published 0 failed {'IncompleteAnswer': 25} refused 0 calls 12 in time
# none: published 0 failed {'IncompleteAnswer': 25} refused 0 calls 12 in time
# both: published 0 failed {'InternalFailure': 25} refused 0 calls 12 in time
# empty: published 0 failed {'Unknown': 25} refused 0 calls 12 in time
# null: published 0 failed {'IncompleteAnswer': 25} refused 0 calls 12 in time
# count: published 25 failed {} refused 0 calls 3 in time
# 413: published 0 failed {'413': 25} refused 25 calls 28 in time
# 413 for more than 3 entries: published 25 failed {} refused 0 calls 28 in time
# throttled: published 0 failed {'ThrottlingException': 25} refused 0 calls 12 in time
# throttled, 6 s left: published 0 failed {'ThrottlingException': 25} refused 0 calls 12 in time
# 2,000 throttled: published 0 failed {'ThrottlingException': 2000} refused 0 calls ... in time
# 2,000 throttled, in order: published 0 failed {'ThrottlingException': 1, 'HeldBack': 1999} refused 0 calls 4 in time
