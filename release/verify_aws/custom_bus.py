"""Facts about the Custom Event Bus that an account can settle: as documented, as assumed, and as observed."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from dynamo_outbox import Event, EventBridgePublisher, parse_events
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.publishing.custom_bus import FIRST_BOTOCORE, MAX_REQUEST_BYTES, CustomBus

from .custom_bus_stack import ATTEMPTS, DESCRIBED
from .probes import Fact, NotObservedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dynamo_outbox.operations.clients import Clients

    from .probes import Site

__all__ = ["BUS_FACTS", "start_bus", "why_no_bus"]

SOURCE, SERVICE, NAMESPACE = "VerifyAws.CustomBus", "eventbridgev2", "AWS/EventsV2"
COPIES, GROUPS, GROUP_ENTRIES = 20, 5, 20
"""Events of an aggregate that are published one by one; calls with entries of one group, and entries in each."""
LIMIT, LARGE_ENTRIES = 1_048_576, 10
"""AWS's limit of a call, and the entries of a large one."""
PASSING = ("ThrottlingException", "InternalException")
"""Codes that say nothing about a request."""


def why_no_bus(clients: Clients, *, is_local: bool) -> str:
    """Return why the run goes without a Custom Event Bus; empty if it can have one."""
    if is_local:
        return "the engine has no Custom Event Bus"
    region = clients("sts").meta.region_name
    has_bus = region in boto3.session.Session().get_available_regions(SERVICE)
    return "" if has_bus else f"the Region {region} has no Custom Event Bus"


def entry(detail_type: str, detail: object, group: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return an entry of PutEvents."""
    ids = {} if group is None else {"SystemMetadata": {"EventGroupId": group}}
    return {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail), **ids, **changes}


def put(site: Site, *entries: Mapping[str, Any], **options: Any) -> list[Mapping[str, Any]]:
    """Call PutEvents; return the entries' results."""
    request = {"EventBusArn": site.ids["CustomBus"], "Entries": entries, **options}
    found: list[Mapping[str, Any]] = site.clients(SERVICE).put_events(**request)["Entries"]
    return found


def publish(site: Site, events: Sequence[Event]) -> list[str]:
    """Publish by the library; return each outcome, and keep the ids and the first refusal."""
    publisher = EventBridgePublisher(site.ids["CustomBus"], client=site.clients(SERVICE))
    result = publisher.publish(events, on_failure="return")
    for each in result.failed:
        site.sent.setdefault("refused", f"{each.event.id} was not published, {each.code}: {each.message[:200]}")
    site.sent.update({each.event.id: each.event_id for each in result.published if not each.deduplicated})
    return ["DEDUPLICATED" if each.deduplicated else "PUBLISHED" for each in result.published]


def sent_id(site: Site, event_id: str) -> str:
    """Return the bus's id of an event that was published."""
    if event_id not in site.sent:
        raise NotObservedError("it was not published")
    return str(site.sent[event_id])


def event(probe: str, number: int = 1, aggregate: str = "1", **data: object) -> Event:
    """Return an event of one of a probe's aggregates, whose events share a group."""
    about: Any = {"aggregate_type": probe, "aggregate_id": aggregate, "sequence": number}
    return Event(probe, {"n": number, **data}, id=f"{probe}-{number}", source=SOURCE, **about)


def start_bus(site: Site) -> None:
    """Publish what the facts observe, so that all of it is delivered at the same time."""
    if site.no_bus:
        return
    wanted = [event("Copied", number) for number in range(1, COPIES + 1)]
    try:
        site.sent["copies"], site.sent["outcomes"] = wanted, [*publish(site, wanted), *publish(site, wanted)]
        publish(site, [event("Copied", COPIES + 1), event("One")])
        publish(site, [event("Reported", 1, answer="its id"), event("Reported", 2)])
        publish(site, [event("Unknown", 1, answer="no-such-id"), event("Unknown", 2)])
        publish(site, [event("Failing", 1, answer="raise"), event("Failing", 2), event("Failing", 3)])
        publish(site, [event("Failing", 4, "2")])
        site.sent["ungrouped"] = put(site, entry("Copied", {"no": "group"}))[0].get("EventId")
        for group in range(GROUPS):
            entries = [entry("Copied", {"n": number}, f"call-{group}") for number in range(GROUP_ENTRIES)]
            site.sent[f"call-{group}"] = [str(each.get("SequenceNumber")) for each in put(site, *entries)]
    except ClientError as error:
        site.no_bus = str(error)
    site.begin()


def received(site: Site, queue: str) -> list[dict[str, Any]]:
    """Receive and delete a queue's messages; return all so far."""
    sqs, url, found = site.clients("sqs"), site.ids[queue], site.received.setdefault(queue, [])
    options: Any = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "MessageSystemAttributeNames": ["All"]}
    while messages := sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], **options).get("Messages"):
        found += messages
        for each in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return found


def copies(site: Site, group: str) -> list[dict[str, Any]]:
    """Return the bodies of a group's messages in the FIFO queue."""
    bodies = [json.loads(each["Body"]) for each in received(site, "Copies")]
    return [each for each in bodies if each["SystemMetadata"].get("EventGroupId") == group]


def first_copy(site: Site) -> tuple[Event, dict[str, Any]]:
    """Return the first event that was published, and its message."""
    return site.sent["copies"][0], site.wait(lambda: copies(site, "Copied#1") or None)[0]


def envelope(site: Site) -> dict[str, Any]:
    """Return the body of the first event's message in the queue of a RAW subscriber."""
    first = site.sent["copies"][0]

    def look() -> dict[str, Any] | None:
        bodies = (each["Body"] for each in received(site, "Envelopes"))
        return next((json.loads(each) for each in bodies if json.dumps(first.id) in each), None)

    return site.wait(look)


def calls(site: Site, probe: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the function's calls with a probe's events: what it stored, and the message's attributes."""
    found = [(json.loads(each["Body"]), each["Attributes"]) for each in received(site, "Calls")]
    return [each for each in found if f'"{probe}"' in json.dumps(each[0]["payload"])]


def numbers(call: tuple[dict[str, Any], dict[str, Any]]) -> list[int]:
    """Return the numbers of a call's events."""
    return [message.event.data["n"] for message in parse_events(call[0]["payload"])]


def in_order(site: Site) -> tuple[str, bool]:
    wanted: list[Event] = site.sent["copies"]

    def look() -> list[dict[str, Any]] | None:
        got = copies(site, "Copied#1")
        return got if f"Copied-{COPIES + 1}" in json.dumps(got[-1:]) else None  # it follows the duplicates

    if refused := site.sent.get("refused"):
        return refused, False
    try:
        got = site.wait(look)
    except NotObservedError:
        got = copies(site, "Copied#1")
    arrived = [message.event for message in parse_events({"Messages": [{"Body": json.dumps(each)} for each in got]})]
    outcomes, expected = site.sent["outcomes"], ["PUBLISHED"] * COPIES + ["DEDUPLICATED"] * COPIES
    equal, more = arrived[:COPIES] == wanted, len(arrived) - len({each.id for each in arrived})
    order = "equal and in order" if equal else "changed or in another order"
    text = f"{len(arrived)} of {COPIES + 1} arrived, {order}; published twice: {', '.join(dict.fromkeys(outcomes))}; "
    return f"{text}{more} arrived twice", equal and len(arrived) == COPIES + 1 and outcomes == expected


def order_in_a_call(site: Site) -> tuple[str, bool]:
    def look() -> list[list[int]] | None:
        got = [[each["Data"]["detail"]["n"] for each in copies(site, f"call-{group}")] for group in range(GROUPS)]
        return got if sum(map(len, got)) >= GROUPS * GROUP_ENTRIES else None

    kept = sum(each == sorted(each) for each in site.wait(look))
    sequences = [site.sent[f"call-{group}"] for group in range(GROUPS)]
    rising = sum(each == sorted(each, key=lambda text: (len(text), text)) for each in sequences)
    return f"{kept} of {GROUPS} calls were delivered in their order; sequence numbers rise in {rising}", True


def deduplicated_entry(site: Site) -> tuple[str, bool]:
    ids = {"EventGroupId": "twice", "DeduplicationId": "twice"}
    first, again = (put(site, entry("Sent", {}, SystemMetadata=ids))[0] for _ in range(2))
    same = [
        f"{name} {'absent' if name not in again else 'of the first' if again[name] == first[name] else 'of its own'}"
        for name in ("EventId", "SequenceNumber")
    ]
    return f"{again.get('SuccessCode')}: {', '.join(same)}", again.get("SuccessCode") == "DEDUPLICATED"


def id_and_content(site: Site) -> tuple[str, bool]:
    content: Any = {"DeduplicationConfiguration": {"DeduplicationType": "CONTENT_BASED"}}

    def code(id_: str, detail: str) -> str:
        ids = {"EventGroupId": "both", "DeduplicationId": id_}
        return outcome(put(site, entry("Sent", {"text": detail}, SystemMetadata=ids), **content)[0])

    try:
        codes = code("one", "a"), code("two", "a"), code("one", "b")
    except ClientError as error:
        return refusal(error), True
    return f"first: {codes[0]}; another id, the same content: {codes[1]}; the same id, other content: {codes[2]}", True


def outcome(result: Mapping[str, Any]) -> str:
    """Return an entry's code, with the message of a failure."""
    message = f": {result.get('ErrorMessage')}" if result.get("ErrorCode") else ""
    return f"{result.get('SuccessCode') or result.get('ErrorCode')}{message[:200]}"


def refusal(error: ClientError) -> str:
    """Return how a call was refused; raise the error again if that is not about the request."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in PASSING:
        raise error
    return f"the whole call is refused, {code}: {message[:200]}"


def refused(site: Site, wrong: Callable[[], Sequence[dict[str, Any]]]) -> tuple[str, bool]:
    """Send a good entry and wrong ones in one call."""
    try:
        good, *others = put(site, entry("Sent", {}), *wrong())
    except ClientError as error:
        return refusal(error), error.response["Error"]["Code"] in CustomBus.final_call_codes
    return f"the entry: {outcome(others[-1])}; the one before it: {outcome(good)}", True


def too_many() -> Sequence[dict[str, Any]]:
    return [entry("Sent", {"n": number}) for number in range(100)]


def wrong(**changes: Any) -> Callable[[], Sequence[dict[str, Any]]]:
    return lambda: [entry("Sent", {}, **changes)]


def failed_count(site: Site) -> tuple[str, bool]:
    answer = site.clients(SERVICE).put_events(EventBusArn=site.ids["CustomBus"], Entries=[entry("Sent", {})])
    return str(answer.get("FailedEntryCount", "absent")), True


def counted_characters(site: Site) -> tuple[str, bool]:
    """Send groups of 128 code points that are more UTF-16 units or more bytes."""

    def takes(group: str) -> bool:
        try:
            return "SuccessCode" in put(site, entry("Sent", {}, group))[0]
        except ClientError as error:
            refusal(error)
            return False

    if takes("\U0001f600" * 128):
        return "as code points", True
    if takes("ü" * 128):
        return "as UTF-16 units", True
    return ("as bytes of UTF-8" if takes("ü" * 64) else "only ASCII is accepted"), True


def largest_request(site: Site) -> tuple[str, bool]:
    """Find by halving how many bytes of details a call takes, from the most that the library sends."""
    bus, numbers_ = CustomBus(site.ids["CustomBus"], None, has_client=True), itertools.count(100_000)

    def entries(details: int) -> list[dict[str, Any]]:
        sizes = [details // LARGE_ENTRIES] * LARGE_ENTRIES
        sizes[-1] += details % LARGE_ENTRIES
        ids = [{"EventGroupId": f"group-{at}", "DeduplicationId": f"{at}"} for at in islice(numbers_, LARGE_ENTRIES)]
        common = {"Source": SOURCE, "DetailType": "Sent", "Time": datetime.now(UTC)}
        texts = [json.dumps({"text": "x" * (size - len('{"text": ""}'))}) for size in sizes]
        return [{**common, "Detail": text, "SystemMetadata": id_} for text, id_ in zip(texts, ids, strict=True)]

    def takes(details: int) -> bool:
        try:
            results = put(site, *entries(details))
        except ClientError as error:
            refusal(error)
            return False
        if failed := [each for each in results if "SuccessCode" not in each]:
            raise NotObservedError(outcome(failed[0]))
        return True

    rest = sum(map(bus.size, entries(LIMIT))) - LIMIT
    lower, upper = MAX_REQUEST_BYTES - rest, LIMIT + 1
    if not takes(lower):
        return f"{lower} bytes of details are refused, which the library sends", False
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if takes(middle) else (lower, middle)
    each = f"each of {LARGE_ENTRIES} entries has {(LIMIT - lower) / LARGE_ENTRIES:g} bytes beside its detail"
    return f"{lower} bytes of details: of 1 MB, {each}; by the library's formula {rest / LARGE_ENTRIES:g}", True


def envelope_id(site: Site) -> tuple[str, bool]:
    first, copy = first_copy(site)
    own = {"aws:EventId": copy["SystemMetadata"].get("aws:EventId"), "the response's EventId": sent_id(site, first.id)}
    id_ = envelope(site)["id"]
    return "; ".join(f"{'is' if id_ == other else 'is not'} {name}" for name, other in own.items()), True


def envelope_time(site: Site) -> tuple[str, bool]:
    """Look for the digits of a second in the envelope; the event's own time is in its detail."""
    body, (first, _) = envelope(site), first_copy(site)
    (message,) = parse_events({"Messages": [{"Body": json.dumps(body)}]})
    digits = len(body["time"].partition(".")[2].rstrip("Z"))
    return (
        f"{digits} digits of a second; {len(first.time.isoformat()[20:26])} were sent",
        message.event.time == first.time,
    )


def metadata(site: Site) -> tuple[str, bool]:
    first, copy = first_copy(site)
    system = copy["SystemMetadata"]
    others = sorted(name for name, value in system.items() if not isinstance(value, str))
    text = f"Metadata {json.dumps(copy['Metadata']) if 'Metadata' in copy else 'absent'}; "
    text += f"SystemMetadata {', '.join(sorted(system))}{f', not text: {others}' if others else ''}"
    (message,) = parse_events({"Messages": [{"Body": json.dumps(copy)}]})
    return text, message.event == first


def defaults(site: Site) -> tuple[str, bool]:
    found = site.clients(SERVICE).describe_subscriber(SubscriberArn=site.ids[DESCRIBED])
    names = ("Type", "State", "StartingPosition", "BatchConfiguration", "RetryPolicy", "Transformer")
    given = {name: found.get(name, "absent") for name in names}
    given["LambdaParameters"] = found.get("InvokeConfiguration", {}).get("LambdaParameters", "absent")
    return json.dumps(given, default=str), given["State"] == "RUNNING"


def one_event(site: Site) -> tuple[str, bool]:
    payload = site.wait(lambda: calls(site, "One") or None)[0][0]["payload"]
    shape = f"an array of {len(payload)}" if isinstance(payload, list) else "an object"
    try:
        parse_events(payload)
    except DecodeError as error:
        return f"{shape}; {error}", False
    return shape, True


def runtime(site: Site) -> tuple[str, bool]:
    version = site.wait(lambda: calls(site, "One") or None)[0][0]["botocore"]
    has_bus = tuple(map(int, version.split(".")[:3])) >= FIRST_BOTOCORE
    return f"botocore {version}, which {'has' if has_bus else 'does not have'} it", True


def delivered_again(probe: str, site: Site) -> tuple[str, bool]:
    """Find which of two events of an array came again after the function had reported the first one."""
    try:
        got = site.wait(lambda: found if len(found := calls(site, probe)) > 1 else None)
    except NotObservedError:
        got = calls(site, probe)
    if not got:
        raise NotObservedError("nothing arrived in time")
    first, *again = map(numbers, got)
    if first != [1, 2]:
        raise NotObservedError(f"the two events came in calls with {[first, *again]}")
    return f"delivered again: {', '.join(f'event {n}' for n in again[0]) if again else 'none in time'}", True


def failing_calls(site: Site) -> list[tuple[int, float]]:
    """Return the number and time of each delivery: the first event of a group fails, event 4 is of another group."""

    def look() -> list[tuple[int, float]] | None:
        got = [(numbers(each)[0], int(each[1]["SentTimestamp"]) / 1000) for each in calls(site, "Failing")]
        return got if {n for n, _ in got} == {1, 2, 3, 4} else None

    return site.wait(look)


def after_dead_letter(site: Site) -> tuple[str, bool]:
    order = [n for n, _ in failing_calls(site) if n != 4]
    text = f"deliveries of events {', '.join(map(str, order))}: "
    held = order[:ATTEMPTS] == [1] * ATTEMPTS and order[ATTEMPTS:] == sorted(order[ATTEMPTS:])
    return text + ("it goes on, in order" if held else "not in order"), held


def other_groups(site: Site) -> tuple[str, bool]:
    order = [n for n, _ in failing_calls(site)]
    before = order[: order.index(4)].count(1)
    text = "held back" if before == ATTEMPTS else "not held back"
    return f"{text}: another group's event was delivered after {before} of {ATTEMPTS} attempts", True


def retry_spacing(site: Site) -> tuple[str, bool]:
    times = [moment for n, moment in failing_calls(site) if n == 1]
    waits = [f"{later - earlier:.1f} s" for earlier, later in itertools.pairwise(times)]
    return f"{', '.join(waits)} between {len(times)} attempts", True


def dead_letter(site: Site, event_id: str) -> dict[str, Any]:
    """Return the dead letter that names an event."""

    def look() -> dict[str, Any] | None:
        return next((each for each in received(site, "Undelivered") if event_id in each["Body"]), None)

    return site.wait(look)


def dead_letter_record(site: Site) -> tuple[str, bool]:
    message = dead_letter(site, sent_id(site, "Failing-1"))
    body = json.loads(message["Body"])
    failed = body["failedMessages"][0]
    text = f"members {', '.join(sorted(body))}; of a failed message {', '.join(sorted(failed))}; "
    text += (
        f"code {body.get('errorCode')}; attributes {', '.join(sorted(message.get('MessageAttributes', {}))) or 'none'}"
    )
    return text, "busArn" in body and failed.get("deduplicationId") == f"{SOURCE}#Failing-1"


def dead_letter_ids(site: Site) -> tuple[str, bool]:
    event_id = sent_id(site, "Failing-1")
    message = dead_letter(site, event_id)
    given, attributes = message["Attributes"].get("MessageDeduplicationId", ""), message["Attributes"]
    is_content = given == sha256(message["Body"].encode()).hexdigest()
    kind = "made by SQS from the content" if is_content else "the EventId" if given == event_id else "an id of its own"
    group = "the event's" if attributes.get("MessageGroupId") == "Failing#1" else "another one"
    return f"{kind}; the message group is {group}", True


def without_group(site: Site) -> tuple[str, bool]:
    event_id = sent_id(site, "ungrouped")

    def look() -> str | None:
        for each in received(site, "Copies"):
            if event_id in each["Body"]:
                return f"delivered, in message group {each['Attributes'].get('MessageGroupId')}"
        for each in received(site, "Undelivered"):
            if event_id in each["Body"]:
                return f"a dead letter with {json.loads(each['Body']).get('errorCode')}"
        return None

    return site.wait(look), True


def metric_dimensions(site: Site) -> tuple[str, bool]:
    """List the dimensions of the bus's metrics, with its ARN, name and id as words."""
    arn = site.ids["CustomBus"]
    full, name = arn.partition("event-busv2/")[2], arn.split("/")[1]

    def look() -> list[str] | None:
        pages = site.clients("cloudwatch").get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
        sets = (
            [(each["Name"], each["Value"]) for each in one["Dimensions"]] for page in pages for one in page["Metrics"]
        )
        kinds = {arn: "ARN", full: "name/id", name: "name"}
        texts = {
            " + ".join(
                f"{key} = {kinds.get(value, 'ARN' if value.startswith('arn:') else 'another form')}"
                for key, value in sorted(one)
            )
            for one in sets
            if any(name in value for _, value in one)
        }
        return sorted(texts) or None

    return "; ".join(site.wait(look)), True


def on_bus(observe: Callable[[Site], tuple[str, bool]]) -> Callable[[Site], tuple[str, bool]]:
    """Return an observation that says why the bus is missing, if so."""

    def checked(site: Site) -> tuple[str, bool]:
        if site.no_bus:
            raise NotObservedError(site.no_bus)
        return observe(site)

    return checked


NOT_SENT = "never sent: checked first. If a call is refused, its entries are sent one by one"
_FACTS = (
    Fact(
        "Does a FIFO subscriber of a Custom Event Bus get an aggregate's events once, in order?",
        "in published order; duplicates within 300 s are dropped",
        "yes, with one event of an aggregate per call",
        in_order,
    ),
    Fact("Do the entries of one group in a call keep their order?", "not said", "nothing", order_in_a_call),
    Fact(
        "What is the EventId of a deduplicated entry?", "not said", "nothing: success needs no id", deduplicated_entry
    ),
    Fact(
        "What decides if an entry has a DeduplicationId, and the call is CONTENT_BASED?",
        "not said",
        "nothing: never asks for the latter",
        id_and_content,
    ),
    Fact(
        "How is a source that begins with aws. refused?",
        "not allowed; no code is named",
        NOT_SENT,
        partial(refused, wrong=wrong(Source="aws.verify")),
    ),
    Fact(
        "How is a detail that is a list refused?",
        "it is JSON; no code is named",
        NOT_SENT,
        partial(refused, wrong=wrong(Detail="[1]")),
    ),
    Fact(
        "How is a source of 257 characters refused?",
        "at most 256; no code is named",
        NOT_SENT,
        partial(refused, wrong=wrong(Source="s" * 257)),
    ),
    Fact(
        "How is a group of 129 characters refused?",
        "at most 128; no code is named",
        NOT_SENT,
        partial(refused, wrong=wrong(SystemMetadata={"EventGroupId": "g" * 129})),
    ),
    Fact(
        "How are 101 entries refused?",
        "at most 100; no code is named",
        "never sent: at most 100",
        partial(refused, wrong=too_many),
    ),
    Fact(
        "What is FailedEntryCount if all succeeded?", "0; it may be absent", "nothing: reads the entries", failed_count
    ),
    Fact("How are the 128 characters of a group counted?", "not said", "nothing: sends only ASCII", counted_characters),
    Fact(
        "What counts against the megabyte of a call?",
        "all event entries; no formula",
        "no more than the library counts",
        largest_request,
    ),
    Fact("Which id has the envelope of a RAW subscriber?", "not said", "nothing: uses the id in detail", envelope_id),
    Fact("Which precision has the envelope's time?", "not said", "nothing: uses the time in detail", envelope_time),
    Fact("What has an event WITH_METADATA beside its data?", "Metadata {} or none", "both are read", metadata),
    Fact(
        "What are the defaults of a subscriber?",
        "LATEST, 5 retries, 300 s, RAW; others are not said",
        "State RUNNING; the template sets the others, or they don't matter",
        defaults,
    ),
    Fact("What does Lambda get for one event, without a batch size?", "an array of one", "both are read", one_event),
    Fact("Does the Lambda runtime's botocore have the Custom Event Bus?", "not said", "no: package your own", runtime),
    Fact(
        "What is delivered again if batchItemFailures has the aws:EventId of event 1 of 2?",
        "only the reported items; what an itemIdentifier is is not said",
        "nothing: never sends one",
        partial(delivered_again, "Reported"),
    ),
    Fact(
        "What is delivered again if batchItemFailures has an unknown identifier?",
        "not said",
        "nothing: never sends one",
        partial(delivered_again, "Unknown"),
    ),
    Fact(
        "What does a FIFO group do after its event has become a dead letter?",
        "the group is held as long as an event is retried",
        "the same; then it goes on, with a gap",
        after_dead_letter,
    ),
    Fact(
        "Does an event that is retried hold back a FIFO subscriber's other groups?",
        "by one version of the page its group only, by another all groups",
        "nothing: the order in a group holds either way",
        other_groups,
    ),
    Fact("How long does the bus wait between retries?", "not said", "nothing", retry_spacing),
    Fact(
        "What does a dead letter of a subscriber look like?",
        "ids without the payload",
        "busArn and failedMessages, with the deduplication id that was sent",
        dead_letter_record,
    ),
    Fact(
        "Which deduplication id has a dead letter in a FIFO queue?",
        "not said",
        "nothing: the template turns on ContentBasedDeduplication",
        dead_letter_ids,
    ),
    Fact(
        "How does a FIFO subscriber deliver an event without a group to a FIFO queue?",
        "not said",
        "nothing: every event has a group",
        without_group,
    ),
    Fact(
        "Which dimensions have the metrics in AWS/EventsV2?",
        "EventBus and Subscriber; the form of their values differs by page",
        "nothing: no alarm uses them",
        metric_dimensions,
    ),
)
BUS_FACTS = tuple(fact._replace(observe=on_bus(fact.observe)) for fact in _FACTS)
