"""`doctor` on deployments that the template does not make: odd names, missing rights, responses and resources."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, UnknownServiceError

from dynamo_outbox import IdempotencyStore, OutboxRelay, TransactionalOutbox
from dynamo_outbox.operations.definition import Infrastructure
from dynamo_outbox.operations.deployment import Deployment, Names, function_name, last_part, read
from dynamo_outbox.operations.doctor import examine, needed_rights
from dynamo_outbox.operations.template import to_template
from dynamo_outbox.operations.topology import SETTINGS, kind_of

from .deployed import ACCOUNT, HERE, STACK, Aws, refusal
from .test_doctor import (
    CONSUMERS,
    DEAD,
    DEDUP,
    DIRECT,
    EVENTS,
    HOUR,
    PARKING,
    PIPE,
    QUEUE,
    RELAY,
    STREAM,
    alarm,
    found_in,
    mapping,
    of,
    of_mapping,
    piped,
    relay,
    unread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .test_doctor import Plant


def names_of(aws: Aws, names: Names, **options: Any) -> set[str]:
    """Return the checks with a finding, for names instead of a stack."""
    return {each.check for each in examine(read(names, clients=aws, **options))[0]}


def test_relays_in_two_regions_are_found() -> None:
    """A global table whose stream is read in another Region too is published twice; an unread replica is fine."""
    aws, there = relay(), Aws(to_template(Infrastructure(), sam=False), region="us-east-1")
    aws.tables[EVENTS]["Replicas"] = [{"RegionName": "us-east-1"}]
    assert names_of(aws, Names([STACK]), elsewhere=lambda region: {"us-east-1": there}[region]) == {"two-relays"}
    there.mappings.clear()
    assert names_of(aws, Names([STACK]), elsewhere=lambda _: there) == set()


def test_another_regions_readers_are_not_known_without_clients() -> None:
    """Without clients for a replica's Region, or without permission there, its readers are said to be unknown."""
    aws, there = relay(), relay()
    aws.tables[EVENTS]["Replicas"] = [{"RegionName": "us-east-1"}]
    there.refused = {"dynamodb:DescribeTable"}
    for elsewhere in (None, lambda _: there):
        findings, unknown = examine(read(Names([STACK]), clients=aws, elsewhere=elsewhere))
        assert findings == []
        assert f"{EVENTS} in us-east-1" in {each.subject for each in unknown}


def test_a_rule_without_a_target_is_found() -> None:
    """A rule whose targets are gone drops its events."""
    aws = Aws(to_template(Infrastructure(consumers=CONSUMERS[:1]), sam=False))
    aws.targets[f"{STACK}-Direct"] = []
    assert "rule-without-target" in names_of(aws, Names([STACK]))


def test_names_instead_of_a_stack() -> None:
    """Named resources lead to those that they name: the relay to table, bus, rules, consumers and queues."""
    deployment = read(Names(functions=[RELAY]), clients=relay())
    assert {*deployment.tables} == {EVENTS, PARKING, DEDUP}
    assert {*deployment.buses} == {STACK}
    assert len(deployment.rules) == len(CONSUMERS)
    assert {DEAD, QUEUE} < {*deployment.queues}
    assert examine(deployment)[0] == []


@pytest.mark.parametrize(
    "names",
    [
        Names(tables={EVENTS: ""}),
        Names(tables={f"arn:aws:dynamodb:{HERE}:table/{EVENTS}": "events"}),
        Names(tables={f"{EVENTS}:orders#": "events"}),
        Names(functions=[f"arn:aws:lambda:{HERE}:function:{RELAY}"]),
        Names(functions=[f"arn:aws:lambda:{HERE}:function:{RELAY}:$LATEST"]),
        Names(functions=[f"{ACCOUNT}:function:{RELAY}"]),
    ],
)
def test_a_name_an_arn_and_a_qualifier_are_the_same(names: Names) -> None:
    """However a resource is named, the same deployment is read, and nothing is wrong with it."""
    deployment = read(names, clients=relay())
    assert ({*deployment.functions} >= {RELAY}, EVENTS in deployment.tables) == (True, True)
    assert examine(deployment)[0] == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("relay", "relay"),
        ("relay:live", "relay:live"),
        ("relay:$LATEST", "relay"),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:relay:7", "relay:7"),
        ("function:relay", "relay"),
    ],
)
def test_function_names(given: str, name: str) -> None:
    """A function's key has a qualifier only if that is an alias or a version."""
    assert function_name(given) == name


def test_an_alias_is_read_as_itself() -> None:
    """A mapping on an alias leads to the alias's configuration."""
    aws = relay()
    mapping(aws)["FunctionArn"] += ":live"
    aws.functions[RELAY]["FunctionArn"] += ":live"
    deployment = read(Names([STACK]), clients=aws)
    assert f"{RELAY}:live" in deployment.functions
    assert examine(deployment)[0] == []


def test_what_belongs_to_others_is_not_known() -> None:
    """A resource of another account or Region is not asked for under its name here."""
    aws = relay()
    other = "arn:aws:sqs:us-east-1:999999999999:elsewhere"
    aws.targets[f"{STACK}-Direct"][0]["DeadLetterConfig"] = {"Arn": other}
    deployment = read(Names([STACK]), clients=aws)
    assert "elsewhere" not in deployment.queues
    assert other in {each.subject for each in deployment.unknown}
    assert not any("does not exist" in each.problem for each in examine(deployment)[0])


def test_nothing_examined_is_an_error() -> None:
    """If nothing can be read, the result is not a clean bill."""
    aws = relay()
    aws.refused = {"dynamodb", "lambda", "pipes", "events", "sqs", "cloudwatch"}
    findings, unknown = found_in(aws)
    assert [(each.severity, each.check) for each in findings] == [("error", "nothing-examined")]
    assert "lambda:GetFunctionConfiguration" in {each.needed for each in unknown}


def test_a_refused_action_is_named_and_not_fatal() -> None:
    """Without one permission, the action is named, and nothing is reported that isn't there."""
    aws = relay()
    read(Names([STACK]), clients=aws)
    for each in sorted(aws.called - {"cloudformation:ListStackResources", "sts:GetCallerIdentity"}):
        aws.refused = {each}
        findings, unknown = found_in(aws)
        assert findings == [], each
        assert each in {one.needed for one in unknown}


def test_a_refused_listing_is_no_proof_that_nobody_reads() -> None:
    """If readers can't be listed, doctor says so and not that there is none."""
    aws = relay()
    unread(aws)
    aws.refused = {"lambda:ListEventSourceMappings"}
    findings, unknown = found_in(aws)
    assert "no-reader" not in {each.check for each in findings}
    assert any(each.why == "whether a mapping or a pipe reads its stream" for each in unknown)


@pytest.mark.parametrize("error", [NoCredentialsError(), refusal("ExpiredTokenException", "DescribeTable")])
def test_credentials_that_are_refused_are_fatal(error: Exception) -> None:
    """Without valid credentials there is nothing to report."""

    def raising(_service: str) -> Any:
        client = relay()("dynamodb")
        client.describe_table = fail
        return client

    def fail(**_request: Any) -> Any:
        raise error

    with pytest.raises(type(error)):
        read(Names(tables={EVENTS: ""}), clients=raising)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        EndpointConnectionError(endpoint_url="http://x"),
        UnknownServiceError(service_name="x", known_service_names=""),
    ],
)
def test_a_service_that_is_missing_is_not_fatal(error: Exception) -> None:
    """A service that an engine, a Region or botocore lacks is named; what can be read is examined."""
    aws = relay()

    class Lacking:
        def __call__(self, service: str) -> Any:
            if service == "pipes":
                raise error
            return aws(service)

    findings, unknown = examine(read(Names([STACK]), clients=Lacking()))
    assert findings == []
    assert "pipes:ListPipes" in {each.needed for each in unknown}


def test_what_is_not_stated_is_assumed_and_said() -> None:
    """A setting in code is the library's default until an option or a variable states it."""
    aws = relay()
    needed = " ".join(each.needed for each in found_in(aws)[1])
    assert all(name in needed for name in ("--park-after", "EVENT_TTL_HOURS", "--dedup-ttl", "LEASE_SECONDS"))
    stated: dict[str, Any] = {"park_after": 12 * HOUR, "event_ttl": 170 * HOUR, "dedup_ttl": 192 * HOUR, "lease": HOUR}
    assert found_in(aws, **stated) == ([], [])


def test_a_table_of_unknown_kind_is_left_alone() -> None:
    """A table is only what its readers, keys, TTL or the caller say."""
    keys = [{"AttributeName": "id", "KeyType": "HASH"}]
    assert kind_of(Deployment(tables={"orders": {"TableName": "orders", "KeySchema": keys}}), "orders") == ""
    assert kind_of(Deployment(kinds={"orders": "dedup"}, tables={"orders": None}), "orders") == "dedup"


@pytest.mark.parametrize("hollow", [{}, {"Name": "x", "Arn": "a:b:c:d:e"}])
def test_empty_answers_are_no_findings(hollow: dict[str, Any]) -> None:
    """Checks survive responses that lack fields."""
    groups = {"tables", "functions", "pipes", "buses", "queues"}
    parts: dict[str, Any] = {name: {"x": hollow} for name in groups}
    findings, _ = examine(
        Deployment(**parts, rules={"x": hollow} if hollow else {}, mappings={"u": {"UUID": "u"}}, alarms=())
    )
    assert {each.check for each in findings} <= {"nothing-examined"}


def test_last_part() -> None:
    """ARNs, URLs and rule ids end with the name."""
    assert [last_part(each) for each in ("a:b/c", "https://x/1/q", "bus|rule", "n")] == ["c", "q", "rule", "n"]


def test_rights_are_those_of_the_template() -> None:
    """The simulated rights are the template's, on the deployed resources."""
    deployment = read(Names([STACK]), clients=relay())
    wanted = {(last_part(role), action) for role, right in needed_rights(deployment) for action in right.actions}
    assert {(f"{STACK}-OutboxRelayRole", "events:PutEvents"), (f"{STACK}-OutboxRelayRole", "s3:PutObject")} < wanted
    assert (f"{STACK}-StandardRole", "sqs:ReceiveMessage") in wanted
    assert (f"{STACK}-RedriveRole", "dynamodb:Query") in wanted


def test_a_refused_simulation_is_named() -> None:
    """Without iam:SimulatePrincipalPolicy, the roles' rights are not known."""
    aws = relay()
    aws.refused = {"iam"}
    _, unknown = found_in(aws, roles=True)
    assert "iam:SimulatePrincipalPolicy" in {each.needed for each in unknown}


CUSTOM = f"arn:aws:events:{HERE}:event-busv2/orders/EX1"


def test_a_custom_event_bus_is_read_by_its_own_client() -> None:
    """A relay on a Custom Event Bus is fine if the bus exists; an engine without the service is not fatal."""
    aws = Aws(to_template(Infrastructure(bus=CUSTOM), sam=False))
    assert [each.check for each in found_in(aws)[0]] == ["bus-missing"]
    aws.buses[CUSTOM] = {"State": "ACTIVE"}
    assert found_in(aws)[0] == []
    aws.buses[CUSTOM] = {"State": "ACTIVE", "StorageConfiguration": {"RetentionPeriodInDays": 9}}
    ((check, message),) = [(each.check, str(each)) for each in found_in(aws)[0]]
    assert check == "bus-outlives-dedup"
    assert "it keeps events for 9 days; the default dedup_ttl is 8 days" in message
    aws.refused = {"eventbridgev2"}
    findings, unknown = found_in(aws)
    assert findings == []
    assert "events:DescribeEventBus" in {each.needed for each in unknown}


def test_an_existing_table_and_bus_are_examined() -> None:
    """A table and a bus that the stack does not have are found by what reads and names them."""
    made = relay()
    stack = Infrastructure(stream_arn=STREAM, bus=STACK, consumers=CONSUMERS)
    aws = Aws(to_template(stack, sam=False))
    for part in ("tables", "ttl", "recovery", "buses"):
        getattr(aws, part).update(getattr(made, part))
    assert found_in(aws)[0] == []
    aws.tables[EVENTS]["LatestStreamArn"] += "4"
    assert {each.check for each in found_in(aws)[0]} == {"reads-an-old-stream"}


IDENTITIES = {
    *("TableName", "FunctionName", "FunctionArn", "UUID", "Name", "Arn", "AlarmName", "Value", "PhysicalResourceId"),
    *("AttributeName", "KeyType", "AttributeType", "EventBusName", "RegionName", "QueueUrl", "Source", "SourceArn"),
}
"""Fields that AWS always returns."""


def fields_of(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Return every field of a state, with the object that holds it."""
    if isinstance(value, list):
        return [each for member in value for each in fields_of(member)]
    if not isinstance(value, dict):
        return []
    return [(value, key) for key in value] + [each for member in value.values() for each in fields_of(member)]


@pytest.mark.parametrize("make", [relay, piped])
def test_a_missing_field_is_survived(make: Callable[[], Aws]) -> None:
    """Whichever optional field AWS or an engine leaves out, the other resources are examined."""
    parts = ("tables", "ttl", "recovery", "functions", "invoke_configs", "policies", "mappings", "pipes", "rules")
    aws = make()
    for part in (*parts, "targets", "queues", "alarms"):
        state = getattr(aws, part)
        holders = fields_of(state) if isinstance(state, list) else fields_of([*state.values()])
        for holder, key in holders:
            if key in IDENTITIES:
                continue
            kept = dict(holder)
            del holder[key]
            assert "responses as documented" not in {each.needed for each in found_in(aws)[1]}, key
            holder.clear()
            holder.update(kept)
    assert found_in(aws, roles=True)[0] == []


def test_a_pipe_may_differ_in_what_consumers_need_not() -> None:
    """A pipe with a time of its own, or without a template, still delivers the events."""
    aws = piped()
    target = aws.pipes[PIPE]["TargetParameters"]
    target["EventBridgeEventBusParameters"]["Time"] = "$.dynamodb.NewImage.eventTime.S"
    assert found_in(aws)[0] == []
    aws.pipes[PIPE]["TargetParameters"] = {"EventBridgeEventBusParameters": {"DetailType": "Change", "Source": "shop"}}
    assert found_in(aws)[0] == []


def test_a_pipe_that_is_not_returned_is_not_known() -> None:
    """An engine that keeps a pipe's parameters to itself is named; a parameter that is new is not evaluated."""
    aws = piped()
    parameters = aws.pipes[PIPE].pop("TargetParameters")
    assert "pipes:DescribePipe" in {each.needed for each in found_in(aws)[1]}
    aws.pipes[PIPE]["TargetParameters"] = {**parameters, "NewIn2027": {}}
    findings, unknown = found_in(aws)
    assert (findings, "a pipe that can be evaluated" in {each.needed for each in unknown}) == ([], True)


@pytest.mark.parametrize(
    ("plant", "needed"),
    [
        (of("queues", DEAD, KmsMasterKeyId="alias/own"), "the key's policy"),
        (of_mapping(FilterCriteriaError={"ErrorCode": "KMSAccessDenied"}), "kms:Decrypt on the filter's key"),
        (of_mapping(FilterCriteria={"Filters": [{"Pattern": "{"}]}), "a filter that can be evaluated"),
        (
            of("functions", RELAY, Environment={"Error": {"ErrorCode": "AccessDeniedException", "Message": "no"}}),
            "kms:Decrypt on the key of its environment",
        ),
    ],
)
def test_what_a_key_or_a_new_operator_hides_is_not_known(plant: Plant, needed: str) -> None:
    """Data that doctor may not decrypt, or can't evaluate, are unknown and not a finding."""
    aws = relay()
    plant(aws)
    findings, unknown = found_in(aws)
    assert "error" not in {each.severity for each in findings}
    assert needed in {each.needed for each in unknown}


def test_an_alarm_may_ring_through_a_composite_alarm() -> None:
    """An alarm without an action is fine if a composite alarm with an action has it in its rule."""
    aws = relay()
    silent = alarm(aws, "DirectLate")
    silent.pop("AlarmActions")
    rule = {
        "AlarmName": "any",
        "AlarmRule": f'ALARM("{silent["AlarmName"]}") OR ALARM(other)',
        "AlarmActions": ["topic"],
    }
    aws.alarms.append(rule)
    assert found_in(aws)[0] == []
    rule["AlarmRule"] = "ALARM(other)"
    assert {each.check for each in found_in(aws)[0]} == {"alarm-silent"}


def test_an_action_on_recovery_only_is_silent() -> None:
    """An alarm with an action on recovery only is silent at the failure."""
    aws = relay()
    watching = alarm(aws, "DirectLate")
    watching["OKActions"] = watching.pop("AlarmActions")
    assert {each.check for each in found_in(aws)[0]} == {"alarm-silent"}


def test_nested_stacks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nested stack's resources are examined; one that can't be read is named."""
    aws = relay()
    inner = aws.resources
    aws.resources = [
        {"ResourceType": "AWS::CloudFormation::Stack", "PhysicalResourceId": name, "ResourceStatus": "CREATE_COMPLETE"}
        for name in ("inner", "refused")
    ]
    listed = aws._list_stack_resources
    monkeypatch.setattr(
        aws,
        "_list_stack_resources",
        lambda StackName: {"StackResourceSummaries": inner} if StackName == "inner" else listed(StackName),  # noqa: N803
    )
    findings, unknown = found_in(aws)
    assert findings == []
    assert ("refused", "cloudformation:ListStackResources") in {(each.subject, each.needed) for each in unknown}


def test_a_deleted_resource_is_not_asked_for() -> None:
    """A resource that the stack has deleted is none of its resources."""
    aws = relay()
    queue = {"ResourceType": "AWS::SQS::Queue"}
    aws.resources.append({**queue, "ResourceStatus": "DELETE_COMPLETE", "PhysicalResourceId": "https://sqs/1/gone"})
    aws.resources.append({**queue, "ResourceStatus": "CREATE_FAILED"})
    assert found_in(aws)[0] == []


def test_an_api_destination_is_no_bus() -> None:
    """A rule's target that is neither queue, function nor bus is left alone."""
    aws = relay()
    aws.targets[f"{STACK}-Direct"][0]["Arn"] = f"arn:aws:events:{HERE}:api-destination/hook/1a2b"
    assert "bus-missing" not in {each.check for each in found_in(aws)[0]}


def test_a_partners_bus_keeps_its_slashes() -> None:
    """A bus and its rules are found by names with slashes too."""
    bus = "aws.partner/example.com/1/shop"
    aws = Aws(to_template(Infrastructure(bus=bus, consumers=CONSUMERS), sam=False))
    aws.buses[bus] = {"Name": bus, "Arn": f"arn:aws:events:{HERE}:event-bus/{bus}"}
    deployment = read(Names([STACK]), clients=aws)
    assert (bus in deployment.buses, len(deployment.rules)) == (True, 4)


def test_a_setting_is_each_functions_own() -> None:
    """A function's variable is compared with its own mapping, not with another function's."""
    aws = relay()
    aws.functions[DIRECT]["Environment"]["Variables"]["PARK_AFTER_HOURS"] = "23"
    assert found_in(aws)[0] == []


def test_a_queues_name_leads_to_its_consumer() -> None:
    """From a queue, doctor goes on to the function that reads it and to the dead letters."""
    deployment = read(Names(queues=[QUEUE]), clients=relay())
    assert f"{STACK}-Standard" in deployment.functions
    assert f"{STACK}-StandardDeadLetters" in deployment.queues


def test_a_response_that_is_not_as_documented_stops_one_check_only() -> None:
    """A value that a check can't read makes that check unknown; the others still find their mistakes."""
    aws = relay()
    aws.queues[QUEUE]["VisibilityTimeout"] = "soon"
    mapping(aws)["StartingPosition"] = "LATEST"
    findings, unknown = found_in(aws)
    assert {each.check for each in findings} == {"starts-at-latest"}
    assert "check visibility-too-short" in {each.subject for each in unknown}


def test_a_service_that_can_not_be_reached_is_asked_once() -> None:
    """After a failed connection, doctor calls the service no more: each attempt may take a minute."""
    aws, asked = relay(), list[str]()

    class Unreachable:
        def __call__(self, service: str) -> Any:
            if service == "lambda":
                asked.append(service)
                raise EndpointConnectionError(endpoint_url="https://lambda")
            return aws(service)

    findings, unknown = examine(read(Names([STACK]), clients=Unreachable()))
    assert (findings, asked) == ([], ["lambda"])
    assert {"lambda:GetFunctionConfiguration", "lambda:ListEventSourceMappings"} <= {each.needed for each in unknown}


def test_rules_of_aws_are_left_alone() -> None:
    """A rule that an AWS service manages, for example an archive's, is not examined."""
    aws = relay()
    archive = {"Name": "Events-Archive", "Arn": f"arn:aws:events:{HERE}:rule/{STACK}/Events-Archive"}
    aws.rules["Events-Archive"] = {
        **archive,
        "EventBusName": STACK,
        "State": "ENABLED",
        "EventPattern": "{}",
        "ManagedBy": "x",
    }
    assert found_in(aws)[0] == []


def test_the_assumed_defaults_are_the_librarys() -> None:
    """The assumed settings in code are the constructors' defaults."""

    def default(of: Any, name: str) -> Any:
        return inspect.signature(of).parameters[name].default

    assert {name: each.default for name, each in SETTINGS.items()} == {
        "park_after": default(OutboxRelay, "park_after"),
        "event_ttl": default(TransactionalOutbox, "ttl"),
        "dedup_ttl": default(IdempotencyStore, "ttl"),
        "lease": default(IdempotencyStore, "lease"),
    }


@pytest.mark.parametrize("make", [relay, piped])
def test_only_reading_actions_are_called(make: Callable[[], Aws]) -> None:
    """Doctor calls nothing that changes anything or reads items, records or messages."""
    aws = make()
    found_in(aws, roles=True)
    verbs = {verb for each in aws.called for verb in re.findall(":([A-Z][a-z]+)", each)}
    assert verbs == {"Describe", "Get", "List", "Simulate"}
    assert aws.called.isdisjoint({"dynamodb:GetItem", "dynamodb:GetRecords", "s3:GetObject"})


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"KeySchema": [("a", "HASH"), ("b", "RANGE")], "view": "NEW_IMAGE", "ttl": "expiresAt"}, "events"),
        ({"KeySchema": [("a", "HASH"), ("b", "RANGE")], "view": "NEW_IMAGE", "ttl": "ttl"}, "entities"),
        ({"KeySchema": [("a", "HASH")], "view": "NEW_IMAGE", "ttl": "expiresAt"}, "entities"),
        ({"KeySchema": [("pk", "HASH"), ("sk", "RANGE")], "view": "NEW_IMAGE", "ttl": ""}, "events"),
        ({"KeySchema": [("pk", "HASH"), ("sk", "RANGE")], "view": "NEW_AND_OLD_IMAGES", "ttl": ""}, "entities"),
        ({"KeySchema": [("pk", "HASH")], "view": "", "ttl": "expiresAt"}, "dedup"),
        ({"KeySchema": [("pk", "HASH"), ("sk", "RANGE")], "view": "", "ttl": ""}, ""),
    ],
)
def test_a_tables_kind_is_read_from_its_configuration(table: dict[str, Any], kind: str) -> None:
    """Stream, keys and TTL tell a table's kind, as the page lists."""
    found = {
        "KeySchema": [{"AttributeName": name, "KeyType": key} for name, key in table["KeySchema"]],
        "StreamSpecification": {"StreamEnabled": bool(table["view"]), "StreamViewType": table["view"]},
        "TimeToLiveDescription": {"AttributeName": table["ttl"]},
    }
    assert kind_of(Deployment(tables={"t": found}), "t") == kind
