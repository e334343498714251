"""Alarms of the template: each fault's alarms fire on simulated metrics, and none fires in a quiet week."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.operations.definition import Consumer, Infrastructure
from dynamo_outbox.operations.template import to_template

from .cloudwatch_alarms import fires, state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PERIODS_A_DAY = 24 * 12
WEEK = range(7 * PERIODS_A_DAY)
FAULT = range(2 * PERIODS_A_DAY + 120, 2 * PERIODS_A_DAY + 144)
"""Two hours of the third day, from ten o'clock on."""
AROUND = range(FAULT.start - 24, FAULT.stop)

BUSY: Mapping[str, Sequence[float]] = {
    # written while there is work; an empty sequence: only when it is not zero
    **dict.fromkeys(("Errors", "Throttles", "FailedInvokeEventCount", "ParkedRecords"), (0, 0)),
    **dict.fromkeys(("OnFailureDestinationDeliveredEventCount", "DroppedEventCount"), (0,)),
    **dict.fromkeys(("ExecutionFailed", "ExecutionPartiallyFailed", "ExecutionTimeout"), (0,)),
    **dict.fromkeys(("DestinationDeliveryFailures", "FailedInvocations", "InvocationsFailedToBeSentToDlq"), ()),
    "IteratorAge": (700, 1200),
    "AsyncEventAge": (40, 180_000),
    "Invocations": (1, 1),
    "ConsumedWriteCapacityUnits": (9,),
    "ApproximateAgeOfOldestMessage": (2,),
    "ApproximateNumberOfMessagesVisible": (0,),
    "PolledEventCount": (4,) * 5,
}
ALWAYS = {
    "PolledEventCount": (0,) * 5,
    "ApproximateNumberOfMessagesVisible": (0,),
    "ApproximateAgeOfOldestMessage": (0,),
}
"""Metrics that are written at night, too."""
ONCE = {
    # What goes away by itself, each on a day of its own: a cold start that times out, a lost response, a void marker.
    "Errors": (1,),
    "Throttles": (3,),
    "FailedInvokeEventCount": (100,),
    "IteratorAge": (1_000_000,),
    "ExecutionFailed": (1,),
    "ExecutionPartiallyFailed": (1,),
    "ExecutionTimeout": (1,),
}


def quiet(metric: str, _of: str, period: int) -> Sequence[float]:
    """Return a metric's samples in a period of a week with busy days, idle nights, and a few errors that pass."""
    day, at = divmod(period, PERIODS_A_DAY)
    if metric == "ConsumedWriteCapacityUnits" and at in (30, 31):  # at night, and not an event
        return (1,)
    if not 72 <= at < 264:
        return ALWAYS.get(metric, ())
    return ONCE[metric] if at == 100 + day and metric in ONCE else BUSY[metric]


RELAY = ("OutboxRelay", "OutboxRelayStream")
NOTHING: dict[str, Sequence[float]] = dict.fromkeys(
    (
        "PolledEventCount",
        "IteratorAge",
        "Errors",
        "Throttles",
        "FailedInvokeEventCount",
        "OnFailureDestinationDeliveredEventCount",
    ),
    (),
)
NO_PIPE: dict[str, Sequence[float]] = dict.fromkeys(
    ("Invocations", "ExecutionFailed", "ExecutionPartiallyFailed", "ExecutionTimeout"), ()
)
Fault = tuple[str, tuple[str, ...], "Mapping[str, Sequence[float]]", set[str]]
FAULTS: dict[str, Fault] = {
    # mode, what is at fault, the metrics that change, the alarms that fire
    "relay stopped": ("relay", RELAY, NOTHING, {"OutboxRelayStopped"}),
    "change processor stopped": (
        "cdc",
        ("ChangeProcessor", "ChangeProcessorStream"),
        NOTHING,
        {"ChangeProcessorStopped"},
    ),
    "partial batch failures": ("relay", RELAY, {"FailedInvokeEventCount": (5,)}, {"OutboxRelayRetrying"}),
    "relay raising": (
        "relay",
        RELAY,
        {"Errors": (1,), "FailedInvokeEventCount": (100,)},
        {"OutboxRelayFailing", "OutboxRelayRetrying"},
    ),
    "relay throttled": ("relay", RELAY, {"Throttles": (1,)}, {"OutboxRelayThrottled"}),
    "relay late": ("relay", RELAY, {"IteratorAge": (2_000_000,)}, {"OutboxRelayBehind"}),
    "records given up": ("relay", RELAY, {"OnFailureDestinationDeliveredEventCount": (1,)}, {"OutboxRelayGaveUp"}),
    "records dropped": ("relay", RELAY, {"DroppedEventCount": (1,)}, {"OutboxRelayDropped"}),
    "failure destination refuses": (
        "relay",
        RELAY,
        {"DestinationDeliveryFailures": (1,), "DroppedEventCount": (1,)},
        {"OutboxRelayNotStored", "OutboxRelayDropped"},
    ),
    "record parked": ("relay", ("",), {"ParkedRecords": (0, 1)}, {"ParkedRecords"}),
    "redrive raising": ("relay", ("Redrive",), {"Errors": (1,)}, {"RedriveFailing"}),
    "redrive throttled": ("relay", ("Redrive",), {"Throttles": (1,)}, {"RedriveThrottled"}),
    "pipe stopped": ("pipe", ("EventsPipe",), NO_PIPE, {"EventsPipeNotRunning"}),
    "pipe failing": ("pipe", ("EventsPipe",), {"ExecutionFailed": (1,)}, {"EventsPipeFailing"}),
    "pipe failing for some": ("pipe", ("EventsPipe",), {"ExecutionPartiallyFailed": (1,)}, {"EventsPipePartlyFailing"}),
    "pipe timing out": ("pipe", ("EventsPipe",), {"ExecutionTimeout": (1,)}, {"EventsPipeTimingOut"}),
    "pipe giving up": (
        "pipe",
        ("RelayDeadLetters",),
        {"ApproximateNumberOfMessagesVisible": (1,)},
        {"RelayDeadLettersArrived"},
    ),
    "rule target refusing": ("pipe", ("${AWS::StackName}-A",), {"FailedInvocations": (1,)}, {"ARuleNotDelivering"}),
    "rule of a queue refusing": ("pipe", ("${AWS::StackName}-B",), {"FailedInvocations": (1,)}, {"BRuleNotDelivering"}),
    "rule losing events": (
        "pipe",
        ("${AWS::StackName}-A",),
        {"FailedInvocations": (1,), "InvocationsFailedToBeSentToDlq": (1,)},
        {"ARuleNotDelivering", "ARuleLostEvents"},
    ),
    "rule of a queue losing events": (
        "pipe",
        ("${AWS::StackName}-B",),
        {"InvocationsFailedToBeSentToDlq": (1,)},
        {"BRuleLostEvents"},
    ),
    "consumer raising": ("pipe", ("A",), {"Errors": (1,)}, {"AFailing"}),
    "consumer throttled": ("pipe", ("A",), {"Throttles": (1,), "AsyncEventAge": (2e6,)}, {"AThrottled", "ALate"}),
    "consumer's destination refusing": ("pipe", ("A",), {"DestinationDeliveryFailures": (1,)}, {"ANotStored"}),
    "queue's consumer raising": ("pipe", ("B",), {"Errors": (1,)}, {"BFailing"}),
    "queue's consumer throttled": ("pipe", ("B",), {"Throttles": (1,)}, {"BThrottled"}),
    "queue's consumer late": ("pipe", ("BQueue",), {"ApproximateAgeOfOldestMessage": (1000,)}, {"BQueueLate"}),
    "queue's dead letters growing": (
        "pipe",
        ("BDeadLetters",),
        {"ApproximateNumberOfMessagesVisible": (3,)},
        {"BDeadLettersArrived"},
    ),
    "dead letters growing": (
        "pipe",
        ("ConsumerDeadLetters",),
        {"ApproximateNumberOfMessagesVisible": (1,)},
        {"ConsumerDeadLettersArrived"},
    ),
}


@cache
def alarms(mode: Any) -> dict[str, dict[str, Any]]:
    """Return the alarms of a mode's template; the pipe's has a direct consumer and one with a queue."""
    consumers = (Consumer("A"), Consumer("B", delivery="queue")) if mode == "pipe" else ()
    resources = to_template(Infrastructure(mode, consumers=consumers))["Resources"]
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_raises_its_alarm_and_no_other(name: str) -> None:
    """A fault that lasts for two busy hours raises the alarms that name it, and no other."""
    mode, of, changed, expected = FAULTS[name]

    def samples(metric: str, thing: str, period: int) -> Sequence[float]:
        during = period in FAULT and thing in of and metric in changed
        return changed[metric] if during else quiet(metric, thing, period)

    assert {name for name, alarm in alarms(mode).items() if fires(alarm, samples, AROUND)} == expected


@pytest.mark.parametrize("mode", ["relay", "pipe", "cdc"])
def test_no_alarm_fires_in_a_quiet_week(mode: str) -> None:
    """Nights without events and errors that a retry heals raise no alarm."""
    assert [name for name, alarm in alarms(mode).items() if fires(alarm, quiet, WEEK)] == []


@pytest.mark.parametrize("mode", ["relay", "pipe"])
def test_each_alarm_fires_for_a_fault(mode: str) -> None:
    """Each alarm of a template fires for one of the faults."""
    raised = {alarm for each in FAULTS.values() if each[0] == mode for alarm in each[3]}
    assert raised == alarms(mode).keys()


@pytest.mark.parametrize(
    ("points", "datapoints", "breaching", "not_breaching"),
    [
        ("0 - X - X", 3, "OK", "OK"),
        ("0 - - - -", 3, "OK", "OK"),
        ("- - - - -", 3, "ALARM", "OK"),
        ("0 X X - X", 3, "ALARM", "ALARM"),
        ("- - - - X", 3, "ALARM", "OK"),
        ("X - - - -", 3, "ALARM", "OK"),
        ("0 - X - X", 2, "ALARM", "ALARM"),
        ("0 0 X 0 X", 2, "ALARM", "ALARM"),
        ("0 - X - -", 2, "ALARM", "OK"),
        ("- - - - 0", 2, "ALARM", "OK"),
        ("- - - - X", 2, "ALARM", "OK"),
    ],
)
def test_alarms_are_evaluated_as_cloudwatch_does(
    points: str, datapoints: int, breaching: str, not_breaching: str
) -> None:
    """The evaluator gives the states in the tables on AWS's page, for three evaluation periods."""
    given = [{"0": False, "X": True, "-": None}[each] for each in points.split()]
    assert state(given, 3, datapoints, "breaching") == breaching
    assert state(given, 3, datapoints, "notBreaching") == not_breaching
