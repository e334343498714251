"""The templates' alarms: each watches a deployed resource and notifies whom the user names."""

from __future__ import annotations

from typing import Any

import pytest

from .test_templates import TEMPLATES, of_type, resources_of

ALARM = "AWS::CloudWatch::Alarm"
KINDS = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    "ApiId": "AWS::Serverless::HttpApi",
    "EventBusName": "AWS::Events::EventBus",
    "RuleName": "AWS::Events::Rule",
    "PipeName": "AWS::Pipes::Pipe",
    "FunctionName": "AWS::Serverless::Function",
    "EventSourceMappingUUID": "AWS::Lambda::EventSourceMapping",
    "QueueName": "AWS::SQS::Queue",
    "TableName": "AWS::DynamoDB::Table",
}
"""Kind of resource that each dimension names."""


def dimensions(alarm: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the dimensions of an alarm's metrics, each with a resource's logical id or a rule's name."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each] or [alarm]
    return [
        (each["Name"], each["Value"].removesuffix(".QueueName")) for metric in metrics for each in metric["Dimensions"]
    ]


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_alarm_watches_what_there_is(template: str) -> None:
    """Each dimension names a resource of its kind that is deployed whenever the alarm is."""
    known = resources_of(template)
    known |= {each["Properties"]["Name"]: each for each in known.values() if "EventPattern" in each["Properties"]}
    for name, alarm in of_type(ALARM, template):
        for dimension, value in dimensions(alarm["Properties"]):
            assert known[value]["Type"] == KINDS[dimension], name
            assert known[value].get("Condition") in (None, alarm.get("Condition")), name


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_alarm_says_what_happened_and_notifies(template: str) -> None:
    """Every alarm has a description and notifies the topic that the user names."""
    for name, alarm in of_type(ALARM, template):
        properties = alarm["Properties"]
        assert properties["AlarmDescription"].endswith("."), name
        assert properties["AlarmActions"] == ["Notifies", ["AlarmTopic"], "AWS::NoValue"], name


@pytest.mark.parametrize("template", TEMPLATES)
def test_parked_records_are_counted_from_the_log_of_who_parks_them(template: str) -> None:
    """The metric filter searches the stream reader's log for the text that the library logs."""
    ((_, counted),) = of_type("AWS::Logs::MetricFilter", template)
    ((_, mapping),) = of_type("AWS::Lambda::EventSourceMapping", template)
    assert counted["Properties"]["LogGroupName"] == f"{mapping['Properties']['FunctionName']}Log"
    assert counted["Properties"]["FilterPattern"] == '"is parked:"'
    (metric,) = counted["Properties"]["MetricTransformations"]
    assert (metric["MetricNamespace"], metric["MetricName"]) == ("AWS::StackName", "ParkedRecords")
