"""CloudWatch's evaluation of an alarm, for the alarms of a template and simulated metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {"Sum": sum, "Maximum": max, "SampleCount": len}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
RETRIEVED_IN_ADDITION = 2
"""Data points that CloudWatch retrieves beyond the evaluation periods: five for three in AWS's example."""


def state(breaching: Sequence[bool | None], periods: int, datapoints: int, missing: str) -> str:
    """Return an alarm's state from the retrieved data points; None is a missing one.

    "CloudWatch fills in the missing data points […]. However, any real data points in the evaluation range […] are
    included in the evaluation. CloudWatch uses missing data points only as few times as possible."
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """
    real = [each for each in breaching if each is not None][-periods:]
    filled = [*real, *[{"breaching": True, "notBreaching": False}[missing]] * (periods - len(real))]
    return "ALARM" if sum(filled) >= datapoints else "OK"


def fires(alarm: dict[str, Any], samples: Callable[[str, str, int], Sequence[float]], periods: range) -> bool:
    """Return whether an alarm of a template is in the state ALARM in one of the periods."""
    count = alarm["EvaluationPeriods"]
    compare, threshold = COMPARISONS[alarm["ComparisonOperator"]], alarm["Threshold"]
    points = [None if (value := _value(alarm, samples, t)) is None else compare(value, threshold) for t in periods]
    seen = count + RETRIEVED_IN_ADDITION
    return any(
        state(points[end - seen : end], count, alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == "ALARM"
        for end in range(seen, len(points) + 1)
    )


def watched(metric: dict[str, Any]) -> tuple[str, str]:
    """Return a metric's name and the logical id that its last dimension names; the latter is empty without one."""
    value = metric["Dimensions"][-1]["Value"] if metric["Dimensions"] else {"Ref": ""}
    return metric["MetricName"], str(value["Fn::GetAtt"][0] if "Fn::GetAtt" in value else next(iter(value.values())))


def _value(alarm: dict[str, Any], samples: Callable[[str, str, int], Sequence[float]], t: int) -> float | None:
    if "Metrics" not in alarm:
        found = samples(*watched(alarm), t)
        return STATISTICS[alarm["Statistic"]](found) if found else None
    (expression,) = (each["Expression"] for each in alarm["Metrics"] if each["ReturnData"])
    values: dict[str, float | None] = {}
    for each in alarm["Metrics"]:
        if not each["ReturnData"]:
            found = samples(*watched(each["MetricStat"]["Metric"]), t)
            values[each["Id"]] = STATISTICS[each["MetricStat"]["Stat"]](found) if found else None
    if all(value is None for value in values.values()):
        return None
    functions = {
        "IF": lambda condition, yes, no: yes if condition else no,
        "FILL": lambda value, filler: filler if value is None else value,
    }
    text = expression.replace(" AND ", " and ")
    return float(eval(text, {"__builtins__": {}, **functions}, values))  # noqa: S307  # metric math of the template
