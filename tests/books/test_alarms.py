"""The templates' alarms: each watches a deployed resource, and every resource that can fail has alarms."""

from __future__ import annotations

from typing import Any

import pytest

from .test_templates import TEMPLATES, of_type, resources_of

ALARM = "AWS::CloudWatch::Alarm"
METRICS = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    ("AWS/ApiGateway", "5xx"): {"ApiId": "AWS::Serverless::HttpApi"},
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
    ("AWS/Events", "FailedInvocations"): {"EventBusName": "AWS::Events::EventBus", "RuleName": "rule"},
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-monitoring.html
    ("AWS/EventBridge/Pipes", "ExecutionFailed"): {"PipeName": "AWS::Pipes::Pipe"},
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    ("AWS/Lambda", "Errors"): {"FunctionName": "AWS::Serverless::Function"},
    ("AWS/Lambda", "IteratorAge"): {"FunctionName": "AWS::Serverless::Function"},
    ("AWS/Lambda", "Throttles"): {"FunctionName": "AWS::Serverless::Function"},
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount"): {"EventSourceMappingUUID": "mapping"},
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName": "AWS::SQS::Queue"},
    # our own, from the log
    ("AWS::StackName", "ParkedRecords"): {},
}


def things(template: str) -> dict[str, tuple[str, str | None]]:
    """Return the resources that a dimension can name, each with its kind and condition."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, resource in resources_of(template).items():
        condition = resource.get("Condition")
        found[name] = (resource["Type"], condition)
        for event, each in resource["Properties"].get("Events", {}).items():
            if each["Type"] == "EventBridgeRule":
                found[each["Properties"]["RuleName"]] = ("rule", condition)
            elif each["Type"] == "DynamoDB":
                found[f"{name}{event}"] = ("mapping", condition)
    return found


def watched(alarm: dict[str, Any]) -> tuple[str, str]:
    """Return the metric's name and the watched resource; the latter is empty for our own metric."""
    dimensions = alarm["Properties"].get("Dimensions", [])
    return alarm["Properties"]["MetricName"], dimensions[-1]["Value"].removesuffix(".QueueName") if dimensions else ""


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_alarm_watches_what_there_is(template: str) -> None:
    """An alarm's metric and dimensions exist in AWS, and the watched resource is deployed whenever the alarm is."""
    known = things(template)
    for name, alarm in of_type(ALARM, template):
        properties = alarm["Properties"]
        kinds = METRICS[properties["Namespace"], properties["MetricName"]]
        dimensions = {
            each["Name"]: each["Value"].removesuffix(".QueueName") for each in properties.get("Dimensions", [])
        }
        assert dimensions.keys() == kinds.keys(), name
        for dimension, value in dimensions.items():
            kind, condition = known[value]
            assert kind == kinds[dimension], name
            assert condition in (None, alarm.get("Condition")), name


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_alarm_is_quiet_until_something_happens_and_says_what(template: str) -> None:
    """Every alarm has a description, treats missing data as healthy, and notifies the topic that the user names."""
    for name, alarm in of_type(ALARM, template):
        properties = alarm["Properties"]
        assert properties["AlarmDescription"].endswith("."), name
        assert properties["TreatMissingData"] == "notBreaching", name
        assert properties["ComparisonOperator"] == "GreaterThanThreshold", name
        assert properties["AlarmActions"] == ["SomebodyIsTold", ["AlarmTopic"], "AWS::NoValue"], name


@pytest.mark.parametrize("template", TEMPLATES)
def test_whatever_can_go_wrong_is_watched(template: str) -> None:
    """Every dead-letter queue, stream reader, rule, pipe, API and parking table has its alarms."""
    wanted = set()
    for name, resource in resources_of(template).items():
        match resource["Type"]:
            case "AWS::SQS::Queue":
                wanted.add(("ApproximateNumberOfMessagesVisible", name))
            case "AWS::Pipes::Pipe":
                wanted.add(("ExecutionFailed", name))
            case "AWS::Serverless::HttpApi":
                wanted.add(("5xx", name))
            case "AWS::Logs::MetricFilter":
                wanted.add(("ParkedRecords", ""))
        for event, each in resource["Properties"].get("Events", {}).items():
            if each["Type"] in ("EventBridgeRule", "DynamoDB"):
                wanted |= {("Errors", name), ("Throttles", name)}
            if each["Type"] == "EventBridgeRule":
                wanted.add(("FailedInvocations", each["Properties"]["RuleName"]))
            if each["Type"] == "DynamoDB":
                wanted |= {("IteratorAge", name), ("OnFailureDestinationDeliveredEventCount", f"{name}{event}")}
    assert {watched(alarm) for _, alarm in of_type(ALARM, template)} == wanted


@pytest.mark.parametrize("template", TEMPLATES)
def test_parked_records_are_counted_from_the_log_of_who_parks_them(template: str) -> None:
    """The metric filter searches the stream reader's log for the text that the library logs."""
    ((_, counted),) = of_type("AWS::Logs::MetricFilter", template)
    (reader,) = [
        name
        for name, function in of_type("AWS::Serverless::Function", template)
        if any(event["Type"] == "DynamoDB" for event in function["Properties"].get("Events", {}).values())
    ]
    assert counted["Properties"]["LogGroupName"] == f"{reader}Log"
    assert counted["Properties"]["FilterPattern"] == '"is parked:"'
    (metric,) = counted["Properties"]["MetricTransformations"]
    assert (metric["MetricNamespace"], metric["MetricName"]) == ("AWS::StackName", "ParkedRecords")
