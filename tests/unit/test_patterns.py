"""Event patterns: each operator that AWS documents, the patterns that are refused, and general properties."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import pairwise, product
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.errors import InvalidPatternError
from dynamo_outbox.pipes.patterns import MAX_PATTERN_LENGTH, matches

from ..strategies import json_objects, json_values

ENVELOPE: dict[str, Any] = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-10-02T18:43:48Z",
    "region": "us-west-1",
    "resources": [
        "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:eb56d16b:autoScalingGroupName/ASGTerminate",
        "arn:aws:ec2:us-east-1:123456789012:instance/i-b188560f",
    ],
}


class Case(NamedTuple):
    """A pattern, an event, and the expected outcome; the outcome is None if the pattern is refused."""

    pattern: Any
    event: dict[str, Any]
    outcome: bool | None


def case(pattern: Any, event: dict[str, Any], outcome: bool | None) -> Case:
    """Return a case about an event's detail."""
    return Case({"detail": pattern}, ENVELOPE | {"detail": event}, outcome)


def x(rule: Any, value: Any, outcome: bool | None) -> Case:
    """Return a case about the single field `x`."""
    return case({"x": [rule]}, {"x": value}, outcome)


EC2 = ENVELOPE | {"detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"}}
COUNTS = {"c-count": 5, "d-count": 3, "x-limit": 301.8, "source-ip": "10.0.0.33", "state": "running"}
NUMERIC = {"c-count": [{"numeric": [">", 0, "<=", 5]}], "d-count": [{"numeric": ["<", 10]}]}
OR = {"$or": [{"a": ["1"]}, {"b": ["2"], "c": ["3"]}]}
MEMBERS = {"employees": [{"first": "Anne", "last": "Brown"}, {"first": "Carl", "last": "Dean"}]}

DOCUMENTED = {
    "the EC2 example": Case(
        {"source": ["aws.ec2"], "detail-type": [ENVELOPE["detail-type"]], "detail": {"state": ["terminated"]}},
        EC2,
        True,
    ),
    "one source of two": Case({"source": ["aws.ec2", "aws.fargate"]}, EC2, True),
    "another source": Case({"source": ["aws.fargate"]}, EC2, False),
    "one array meets the other": Case(
        {"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-b188560f", "arn:aws:ec2:us-east-1:1:x"]},
        EC2,
        True,
    ),
    "arrays that don't meet": Case({"resources": ["arn:aws:ec2:us-east-1:1:x"]}, EC2, False),
    "prefix of time": Case({"time": [{"prefix": "2017-10-02"}]}, EC2, True),
    "null": x(None, None, True),
    "null is not empty": x(None, "", False),
    "empty": x("", "", True),
    "empty is not null": x("", None, False),
    "the Macie example": case(
        {"risk-score": [80], "trigger": {"risk": [8]}},
        {"risk-score": 80, "trigger": {"risk": 8, "created-at": "…"}},
        True,
    ),
    "prefix ignoring case": x({"prefix": {"equals-ignore-case": "EventB"}}, "eVENTbridge", True),
    "suffix": x({"suffix": ".png"}, "dir/a.png", True),
    "suffix, in another case": x({"suffix": ".png"}, "dir/a.PNG", False),
    "suffix ignoring case": x({"suffix": {"equals-ignore-case": ".png"}}, "dir/a.PNG", True),
    "anything-but text": x({"anything-but": "initializing"}, "running", True),
    "anything-but text, the text": x({"anything-but": "initializing"}, "initializing", False),
    "anything-but number": x({"anything-but": 123}, 124, True),
    "anything-but number, the number": x({"anything-but": 123}, 123, False),
    "anything-but texts": x({"anything-but": ["stopped", "overloaded"]}, "running", True),
    "anything-but texts, one of them": x({"anything-but": ["stopped", "overloaded"]}, "overloaded", False),
    "anything-but numbers": x({"anything-but": [100, 200, 300]}, 301.8, True),
    "anything-but numbers, one of them": x({"anything-but": [100, 200, 300]}, 200, False),
    "anything-but ignoring case": x({"anything-but": {"equals-ignore-case": "initializing"}}, "INITIALIZING", False),
    "anything-but ignoring case, others": x(
        {"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}, "running", True
    ),
    "anything-but prefix": x({"anything-but": {"prefix": "init"}}, "running", True),
    "anything-but prefix, with it": x({"anything-but": {"prefix": "init"}}, "initializing", False),
    "anything-but prefixes": x({"anything-but": {"prefix": ["init", "error"]}}, "error: 5", False),
    "anything-but suffix": x({"anything-but": {"suffix": ".txt"}}, "a.png", True),
    "anything-but suffixes": x({"anything-but": {"suffix": [".txt", ".rtf"]}}, "a.rtf", False),
    "anything-but wildcard": x({"anything-but": {"wildcard": "*/lib/*"}}, "/usr/lib/python", False),
    "anything-but wildcards": x({"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}, "/usr/share/python", True),
    "numbers in ranges": case(NUMERIC | {"x-limit": [{"numeric": ["=", 3.018e2]}]}, COUNTS, True),
    "a number out of its range": case(NUMERIC, COUNTS | {"c-count": 5.5}, False),
    "cidr": case({"source-ip": [{"cidr": "10.0.0.0/24"}]}, COUNTS, True),
    "cidr, next door": case({"source-ip": [{"cidr": "10.0.1.0/24"}]}, COUNTS, False),
    "exists": case({"c-count": [{"exists": True}]}, COUNTS, True),
    "exists false": case({"c-count": [{"exists": False}]}, {"state": ["initializing", "running"]}, True),
    "exists false, of no leaf": case({"c-count": [{"exists": False}]}, {"c-count": {"c1": 100}}, True),
    "equals ignoring case": x({"equals-ignore-case": "alice"}, "ALICE", True),
    "wildcard": x({"wildcard": "dir/*.png"}, "dir/sub/a.png", True),
    "wildcard, elsewhere": x({"wildcard": "dir/*.png"}, "other/a.png", False),
    "wildcard, escaped": x({"wildcard": r"a\*b\\c*"}, r"a*b\c", True),
    "wildcard, escaped and something else": x({"wildcard": r"a\*b"}, "axb", False),
    "or, the first": case(
        {"$or": [{"c-count": [{"numeric": [">", 0, "<=", 5]}]}, {"x-limit": [{"numeric": ["=", 5]}]}]}, COUNTS, True
    ),
    "or, none": case({"$or": [{"c-count": [6]}, {"d-count": [{"numeric": [">", 3]}]}]}, COUNTS, False),
    "several operators": case(
        NUMERIC | {"state": [{"anything-but": "initializing"}], "x-limit": [{"anything-but": [100, 200, 300]}]},
        COUNTS,
        True,
    ),
}
"""Examples from AWS's pages on event patterns, with events that do not match added."""

BEYOND = {
    "true": x(True, True, True),
    "true is not 1": x(True, 1, False),
    "1 is not true": x(1, True, False),
    "0 is not false": x(0, False, False),
    "true is not its text": x("true", True, False),
    "a number is not its text": x(300, "300", False),
    "text is not its number": x("300", 300, False),
    "300 and 300.0": x(300, 300.0, True),
    "numeric 300 and 300.0": x({"numeric": ["=", 300]}, 300.0, True),
    "numeric and text": x({"numeric": ["=", 300]}, "300", False),
    "numeric and true": x({"numeric": ["=", 1]}, True, False),
    "numeric at -5e9": x({"numeric": [">=", -5e9]}, -5e9, True),
    "numeric <": x({"numeric": ["<", 5]}, 5, False),
    "numeric <=": x({"numeric": ["<=", 5]}, 5, True),
    "numeric >": x({"numeric": [">", 5]}, 5, False),
    "numeric >=": x({"numeric": [">=", 5]}, 5, True),
    "numeric range, at its open end": x({"numeric": [">", 0, "<", 5]}, 5, False),
    "numeric range, below": x({"numeric": [">=", 0, "<", 5]}, -0.000001, False),
    "numeric with six digits": x({"numeric": ["=", 0.000001]}, 1e-6, True),
    "a number of eleven digits": x(12345678901, 12345678901, True),
    "numeric beyond 5e9": x({"numeric": ["<", 5_000_000_001]}, 1, True),
    "numeric with seven digits": x({"numeric": ["=", 0.0000001]}, 1e-7, True),
    "numeric with seven digits, another": x({"numeric": ["=", 0.0000001]}, 2e-7, False),
    "numeric and a value beyond 5e9": x({"numeric": [">", 0]}, 5_000_000_001, True),
    "numeric at the end of the doubles": x({"numeric": ["<=", 1.7e308]}, 1.7e308, True),
    "beyond 5e9 by its value": x(5_000_000_001, 5_000_000_001.0, True),
    "anything-but beyond 5e9 by its value": x({"anything-but": 5_000_000_001}, 5_000_000_001.0, False),
    "anything-but another type": x({"anything-but": [1, 2]}, "1", True),
    "anything-but and null": x({"anything-but": "a"}, None, True),
    "anything-but and nothing": case({"x": [{"anything-but": "a"}]}, {}, False),
    "anything-but and an object": x({"anything-but": "a"}, {"y": 1}, False),
    "anything-but and an empty array": x({"anything-but": "a"}, [], False),
    "anything-but in an array": x({"anything-but": "a"}, ["a", "b"], True),
    "anything-but in an array of it": x({"anything-but": "a"}, ["a", "a"], False),
    "anything-but prefix and a number": x({"anything-but": {"prefix": "a"}}, 5, True),
    "anything-but an empty text": x({"anything-but": ""}, "", False),
    "an empty prefix and text": x({"prefix": ""}, "a", True),
    "an empty prefix and a number": x({"prefix": ""}, 5, False),
    "prefix and a number": x({"prefix": "3"}, 300, False),
    "ß in upper case": x({"equals-ignore-case": "straße"}, "STRASSE", True),
    "ß in upper case, at the start": x({"prefix": {"equals-ignore-case": "ß"}}, "SSt", True),
    "ß in upper case, at the end": x({"suffix": {"equals-ignore-case": "ß"}}, "tSS", True),
    "ŉ in upper case, at the end": x({"suffix": {"equals-ignore-case": "ŉ"}}, "a" + "ŉ".upper(), True),
    "what ß is not": x({"suffix": {"equals-ignore-case": "ß"}}, "sS", False),
    "ignoring case, more after it": x({"equals-ignore-case": "a"}, "Ab", False),
    "a dot is not a wildcard": x({"equals-ignore-case": "a.c"}, "ABC", False),
    "only a star": x({"wildcard": "*"}, "", True),
    "only a star and a number": x({"wildcard": "*"}, 5, False),
    "no star": x({"wildcard": "a"}, "a", True),
    "no star, more after it": x({"wildcard": "a"}, "ab", False),
    "an empty wildcard": x({"wildcard": ""}, "a", False),
    "a star takes lines": x({"wildcard": "a*z"}, "a\n\nz", True),
    "a star takes nothing": x({"wildcard": "a*b*c"}, "abc", True),
    "wildcard parts overlap": x({"wildcard": "ab*ba"}, "aba", False),
    "wildcard parts overlap with the end": x({"wildcard": "a*b*b"}, "ab", False),
    "wildcard parts overlap with the start": x({"wildcard": "a*a*"}, "a", False),
    "wildcard parts overlap with each other": x({"wildcard": "*a*a*"}, "a", False),
    "wildcard parts in order": x({"wildcard": "*a*b*"}, "ba", False),
    "wildcard, the last of many": x({"wildcard": "*a*ab"}, "aaab", True),
    "? is not a wildcard": x({"wildcard": "a?c*"}, "abc", False),
    "cidr of a host": x({"cidr": "10.0.0.33/24"}, "10.0.0.1", True),
    "cidr of everything": x({"cidr": "0.0.0.0/0"}, "255.255.255.255", True),
    "cidr of everything, the other family": x({"cidr": "0.0.0.0/0"}, "::1", False),
    "cidr of IPv6": x({"cidr": "2001:db8::/32"}, "2001:DB8:1::5", True),
    "cidr of IPv6, elsewhere": x({"cidr": "2001:db8::/32"}, "2001:db9::5", False),
    "cidr and no address": x({"cidr": "10.0.0.0/8"}, "10.0.0.256", False),
    "cidr and a name": x({"cidr": "10.0.0.0/8"}, "localhost", False),
    "cidr and a number": x({"cidr": "10.0.0.0/8"}, 167772161, False),
    "an address in another spelling": x("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", True),
    "another address": x("2001:db8::1", "2001:db8::2", False),
    "an address in an array": x("::1", ["a", "0:0:0:0:0:0:0:1"], True),
    "anything-but compares texts, not addresses": x({"anything-but": "::1"}, "0:0:0:0:0:0:0:1", True),
    "prefix compares texts, not addresses": x({"prefix": "::"}, "0:0:0:0:0:0:0:1", False),
    "a dotted path": case({"a.b": ["x"]}, {"a": {"b": "x"}}, True),
    "a path to a dotted name": case({"a": {"b": ["x"]}}, {"a.b": "x"}, True),
    "a dotted name, found": case({"a.b": ["x"]}, {"a.b": "x"}, True),
    "dots in other places": case({"a.b": {"c": ["x"]}}, {"a": {"b.c": "x"}}, True),
    "three steps in one name": case({"a": {"b": {"c": ["x"]}}}, {"a.b.c": "x"}, True),
    "a name that only begins alike": case({"a": {"b": ["x"]}}, {"a.bc": "x", "ab": {"b": "x"}}, False),
    "a dotted path at the top": Case({"detail.a": ["x"]}, ENVELOPE | {"detail": {"a": "x"}}, True),
    "a dotted path, another value": case({"a.b": ["x"]}, {"a": {"b": "y"}}, False),
    "a dotted path into an array": case({"a.b": ["x"]}, {"a": [{"b": "y"}, {"b": "x"}]}, True),
    "dotted paths below one array": case({"a.b": [1], "a.c": [2]}, {"a": [{"b": 1}, {"c": 2}]}, False),
    "a dotted path in or": case({"$or": [{"a.b": ["x"]}, {"c": ["y"]}]}, {"a": {"b": "x"}}, True),
    "of two equal paths in a pattern the later counts": case({"a": {"b": [1]}, "a.b": [2]}, {"a": {"b": 2}}, True),
    "of two equal paths in a pattern the earlier does not": case({"a.b": [2], "a": {"b": [1]}}, {"a.b": 2}, False),
    "exists below a dotted name": case({"a": {"b": [{"exists": True}]}}, {"a.b": "x"}, True),
    "exists false below a dotted name": case({"a.b": [{"exists": False}]}, {"a": {"b": "x"}}, False),
    "exists false below an array": case({"x": {"y": [{"exists": False}]}}, {"x": [{"y": 1}, {"z": 2}]}, False),
    "exists false below an array, the last": case(
        {"x": {"y": [{"exists": False}]}}, {"x": [{"z": 2}, {"y": 1}]}, False
    ),
    "exists false below an array of arrays": case({"x": {"y": [{"exists": False}]}}, {"x": [[{"y": 1}], [{}]]}, False),
    "exists false below an empty array": case({"x": {"y": [{"exists": False}]}}, {"x": []}, True),
    "exists false in no member": case({"x": {"y": [{"exists": False}]}}, {"x": [{"z": 1}, {}]}, True),
    "exists false or a value below an array": case(
        {"x": {"y": [{"exists": False}, 2]}}, {"x": [{"y": 1}, {"z": 1}]}, False
    ),
    "exists false or a value below an array, the value": case(
        {"x": {"y": [{"exists": False}, 2]}}, {"x": [{"y": 1}, {"y": 2}]}, True
    ),
    "exists and null": x({"exists": True}, None, True),
    "exists and an empty array": x({"exists": True}, [], False),
    "exists and an array of objects": x({"exists": True}, [{"y": 1}], False),
    "exists and an array": x({"exists": True}, [[1]], True),
    "exists false below text": case({"x": {"y": [{"exists": False}]}}, {"x": "a"}, True),
    "exists false or a value": case({"x": [{"exists": False}, "a"]}, {"x": "a"}, True),
    "exists false or a value, another": case({"x": [{"exists": False}, "a"]}, {"x": "b"}, False),
    "a field too deep": case({"x": {"y": ["a"]}}, {"x": "a"}, False),
    "a field too shallow": case({"x": ["a"]}, {"x": {"y": "a"}}, False),
    "any member": x("b", ["a", "b"], True),
    "any member of a member": x("b", ["a", ["c", ["b"]]], True),
    "any object": case({"employees": {"first": ["Carl"]}}, MEMBERS, True),
    "one object": case({"employees": {"first": ["Anne"], "last": ["Brown"]}}, MEMBERS, True),
    "two objects": case({"employees": {"first": ["Anne"], "last": ["Dean"]}}, MEMBERS, False),
    "objects in an array of arrays": case({"x": {"y": ["a"]}}, {"x": [["b"], [{"y": "a"}]]}, True),
    "a field that one object lacks": case(
        {"x": {"y": [{"exists": False}], "z": [2]}}, {"x": [{"y": 1}, {"z": 2}]}, False
    ),
    "or, its second": case(OR, {"b": "2", "c": "3"}, True),
    "or, half of its second": case(OR, {"b": "2"}, False),
    "or and another field": case(OR | {"d": ["4"]}, {"a": "1", "d": "5"}, False),
    "or in an or": case(
        {"$or": [{"a": ["1"]}, {"b": ["2"], "$or": [{"c": ["3"]}, {"d": ["4"]}]}]}, {"b": "2", "d": "4"}, True
    ),
    "or in an or, half": case(
        {"$or": [{"a": ["1"]}, {"b": ["2"], "$or": [{"c": ["3"]}, {"d": ["4"]}]}]}, {"d": "4"}, False
    ),
    "or below a field": case({"x": OR}, {"x": {"a": "1"}}, True),
    "or below and beside": case({"x": OR, "$or": [{"y": [1]}, {"z": [2]}]}, {"x": {"a": "1"}, "z": 2}, True),
    "or asks of one object": case(
        {"employees": {"first": ["Anne"], "$or": [{"last": ["Dean"]}, {"last": ["Brown"]}]}}, MEMBERS, True
    ),
    "or asks of one object from outside": case(
        {"employees": {"first": ["Anne"]}, "$or": [{"employees": {"last": ["Dean"]}}, {"none": [1]}]}, MEMBERS, False
    ),
    "or overrides what stands before it": case({"a": ["1"]} | {"$or": [{"a": ["2"]}, {"b": ["3"]}]}, {"a": "2"}, True),
    "exists false below text, dotted": case({"a.b": [{"exists": False}]}, {"a": "x"}, True),
}
"""Details that follow from AWS's pages and its open-source engine and are easy to get wrong."""

NESTED: dict[str, Any] = {"x": ["a"]}
for _ in range(300):
    NESTED = {"x": NESTED}

REFUSED: dict[str, tuple[Any, str]] = {
    "empty": ({}, "a pattern must be an object with at least one field"),
    "no object": ([], "a pattern must be an object"),
    "text": ("name", "a pattern must be an object"),
    "an empty object": ({"a": {"b": {}}}, "a.b: needs a non-empty object or a non-empty list"),
    "a leaf that is not a list": ({"a": {"b": "x"}}, "a.b: needs a non-empty object or a non-empty list"),
    "an empty list": ({"a": []}, "a: needs a non-empty object or a non-empty list"),
    "a list in a list": ({"a": [["x"]]}, "a: a member must be text, a number, true, false, null"),
    "no operator": ({"a": [{}]}, "a: an operator must be the only member"),
    "two operators": ({"a": [{"prefix": "a", "suffix": "b"}]}, "a: an operator must be the only member"),
    "unknown operator": ({"a": [{"resembles": "x"}]}, "an operator must be one of exists, prefix, suffix, .*resembles"),
    "prefix of a number": ({"a": [{"prefix": 1}]}, "a: prefix takes text, not 1"),
    "suffix of a list": ({"a": [{"suffix": ["x"]}]}, "a: suffix takes text"),
    "prefix in another operator": ({"a": [{"prefix": {"suffix": "x"}}]}, "a: prefix takes text or equals-ignore-case"),
    "prefix of a number ignoring case": ({"a": [{"prefix": {"equals-ignore-case": 1}}]}, "a: prefix takes text"),
    "prefix of two": ({"a": [{"prefix": {"equals-ignore-case": "a", "x": "b"}}]}, "an operator must be the only"),
    "equals-ignore-case of a number": ({"a": [{"equals-ignore-case": 1}]}, "a: equals-ignore-case takes text"),
    "exists of text": ({"a": [{"exists": "true"}]}, "a: exists takes true or false"),
    "exists of 1": ({"a": [{"exists": 1}]}, "a: exists takes true or false"),
    "anything-but nothing": ({"a": [{"anything-but": []}]}, "a: anything-but takes text, a number, a list"),
    "anything-but mixed": ({"a": [{"anything-but": ["x", 1]}]}, "a: anything-but takes text, a number, a list"),
    "anything-but true": ({"a": [{"anything-but": True}]}, "a: anything-but takes text, a number, a list"),
    "anything-but null": ({"a": [{"anything-but": None}]}, "a: anything-but takes text, a number, a list"),
    "anything-but no name": ({"a": [{"anything-but": {}}]}, "a: an operator must be the only member"),
    "anything-but cidr": ({"a": [{"anything-but": {"cidr": "10.0.0.0/8"}}]}, "a: anything-but takes one of prefix, "),
    "anything-but numeric": ({"a": [{"anything-but": {"numeric": ["=", 1]}}]}, "a: anything-but takes one of prefix, "),
    "anything-but no prefix": ({"a": [{"anything-but": {"prefix": []}}]}, "anything-but prefix takes text or a list"),
    "anything-but prefix of 1": ({"a": [{"anything-but": {"prefix": 1}}]}, "anything-but prefix takes text or a list"),
    "anything-but an empty suffix": ({"a": [{"anything-but": {"suffix": [""]}}]}, "anything-but suffix does not take"),
    "anything-but a bad wildcard": ({"a": [{"anything-but": {"wildcard": ["a", "**"]}}]}, "a wildcard must not"),
    "numeric no list": ({"a": [{"numeric": 5}]}, "a: numeric takes a list of =, <, <=, > or >="),
    "numeric nothing": ({"a": [{"numeric": []}]}, "a: numeric takes a list of"),
    "numeric without a number": ({"a": [{"numeric": ["<"]}]}, "a: numeric takes a list of"),
    "numeric !=": ({"a": [{"numeric": ["!=", 5]}]}, "a: numeric takes a list of"),
    "numeric of text": ({"a": [{"numeric": ["<", "5"]}]}, "a: numeric takes numbers that an IEEE double can hold"),
    "numeric of true": ({"a": [{"numeric": ["<", True]}]}, "a: numeric takes numbers that an IEEE double can hold"),
    "numeric of no double": ({"a": [{"numeric": ["<", 10**400]}]}, "a: numeric takes numbers that an IEEE double can"),
    "numeric range downwards": ({"a": [{"numeric": ["<", 5, ">", 1]}]}, "a: numeric takes a list of"),
    "numeric range of one side": ({"a": [{"numeric": [">", 1, ">", 2]}]}, "a: numeric takes a list of"),
    "numeric range of three": ({"a": [{"numeric": [">", 1, "<", 5, "<", 9]}]}, "a: numeric takes a list of"),
    "numeric range of nothing": ({"a": [{"numeric": [">", 5, "<", 1]}]}, "a: a numeric range must begin below"),
    "numeric range of a point": ({"a": [{"numeric": [">=", 5, "<=", 5]}]}, "a: a numeric range must begin below"),
    "cidr of a number": ({"a": [{"cidr": 10}]}, "a: cidr takes an address and a mask"),
    "cidr without a mask": ({"a": [{"cidr": "10.0.0.0"}]}, "a: cidr takes an address and a mask"),
    "cidr of 32 bits": ({"a": [{"cidr": "10.0.0.0/32"}]}, "a: cidr takes an address and a mask of up to 31 bits"),
    "cidr of 128 bits": ({"a": [{"cidr": "::1/128"}]}, "a: cidr takes an address and a mask of up to 31 bits"),
    "cidr below no bits": ({"a": [{"cidr": "10.0.0.0/-1"}]}, "a: cidr takes an address and a mask"),
    "cidr with two masks": ({"a": [{"cidr": "10.0.0.0/8/8"}]}, "a: cidr takes an address and a mask"),
    "cidr of no address": ({"a": [{"cidr": "10.0.0/8"}]}, "a: cidr takes an address and a mask"),
    "cidr of 256": ({"a": [{"cidr": "10.0.0.256/8"}]}, "a: cidr takes an address and a mask"),
    "cidr of a zone": ({"a": [{"cidr": "fe80::1%eth0/64"}]}, "a: cidr takes an address and a mask"),
    "wildcard of a number": ({"a": [{"wildcard": 1}]}, "a: wildcard takes text"),
    "two stars": ({"a": [{"wildcard": "a**b"}]}, r"a: a wildcard must not contain \*\*"),
    "a star and an escaped one may follow, two not": ({"a": [{"wildcard": r"\***"}]}, "a wildcard must not contain"),
    "an unknown escape": ({"a": [{"wildcard": r"\a"}]}, "a: in a wildcard a backslash must be followed by"),
    "a backslash at the end": ({"a": [{"wildcard": "a\\"}]}, "a: in a wildcard a backslash must be followed by"),
    "or of one": ({"$or": [{"a": ["x"]}]}, r"\$or: takes a list of at least two objects"),
    "or of an empty object": ({"$or": [{"a": ["x"]}, {}]}, r"\$or\[1\]: an alternative must be an object"),
    "or of text": ({"$or": [{"a": ["x"]}, "b"]}, r"\$or\[1\]: an alternative must be an object"),
    "or of a bad leaf": ({"$or": [{"a": ["x"]}, {"b": "x"}]}, r"\$or\[1\].b: needs a non-empty object"),
    "or of operators": ({"$or": [{"numeric": [1]}, {"a": ["x"]}]}, r"\$or\[0\].numeric: a field inside \$or must"),
    "or of operators, deeper": ({"$or": [{"a": {"<": [1]}}, {"a": ["x"]}]}, r"\$or\[0\].a.<: a field inside \$or must"),
    "or of more than 1,000": (
        {"$or": [{"a": [n]} for n in range(1, 102)], "x": {"$or": [{"b": [n]} for n in range(1, 12)]}},
        r"x.\$or: the product of the lengths of all \$or must be at most 1,000",
    ),
    "after what doesn't match": ({"missing": ["x"], "a": "x"}, "a: needs a non-empty object or a non-empty list"),
    "nested too deeply": (NESTED, "a pattern may be nested at most 100 levels"),
}
"""Patterns that AWS refuses, with the expected message. The event's content makes no difference."""

CASES = DOCUMENTED | BEYOND | {f"refused: {name}": Case(pattern, {}, None) for name, (pattern, _) in REFUSED.items()}

NARROW = {
    "exactly": x({"exactly": "a"}, "a", None),
    "or as a field's name": case({"$or": ["a"]}, {"$or": "a"}, None),
    "or as a parent's name": case({"$or": {"a": ["x"]}}, {"$or": {"a": "x"}}, None),
    "cidr with zeros before its octets": x({"cidr": "010.0.0.0/8"}, "10.0.0.1", None),
    "an IPv4 address in IPv6": x("10.0.0.1", "::ffff:a00:1", True),
    "an IPv4 address in IPv6, in a network": x({"cidr": "10.0.0.0/8"}, "::ffff:a00:1", True),
    "both values of two equal paths, the first": case({"a.b": [1]}, {"a": {"b": 1}, "a.b": 2}, True),
    "both values of two equal paths, the second": case({"a.b": [2]}, {"a": {"b": 1}, "a.b": 2}, True),
    "text and a path through it": case({"a": ["x"], "a.b": [2]}, {"a": "x", "a.b": 2}, True),
    "members of two objects with one path": case(
        {"a": {"b": {"c": [1], "d": [2]}}}, {"a": {"b": {"c": 1}}, "a.b": {"d": 2}}, True
    ),
    "members of two objects with one path, deeper": case(
        {"a.b.c": {"p": [1], "q": [2]}}, {"a.b": {"c": {"p": 1}}, "a": {"b": {"c": {"q": 2}}}}, True
    ),
}
"""Cases that follow AWS's page or its open-source engine; another engine may answer differently."""


def ask(pattern: Any, event: Any, **options: Any) -> bool | None:
    """Return whether the pattern matches, or None if the pattern is refused."""
    try:
        return matches(pattern, event, **options)
    except InvalidPatternError:
        return None


@pytest.mark.parametrize("name", DOCUMENTED | BEYOND | NARROW)
def test_a_rule_matches_as_documented(name: str) -> None:
    """A rule's pattern matches as AWS's pages and its open-source engine say."""
    pattern, event, outcome = (DOCUMENTED | BEYOND | NARROW)[name]
    assert ask(pattern, event) is outcome


@pytest.mark.parametrize("name", DOCUMENTED | BEYOND | NARROW)
def test_a_pipe_matches_as_a_rule_or_refuses(name: str) -> None:
    """A pipe refuses wildcards and `anything-but` with an operator inside. Otherwise it matches like a rule."""
    pattern, event, outcome = (DOCUMENTED | BEYOND | NARROW)[name]
    beyond_pipes = re.search(r'"wildcard"|"anything-but": \{', json.dumps(pattern)) is not None
    assert ask(pattern, event, service="pipe") is (None if beyond_pipes else outcome)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("service", ["rule", "pipe"])
@pytest.mark.parametrize("event", [{}, {"a": "x"}], ids=["nothing", "a"])
def test_a_mistake_is_named(name: str, service: Any, event: dict[str, Any]) -> None:
    """A pattern that AWS refuses is refused for every event; the error names the path and what is allowed."""
    pattern, message = REFUSED[name]
    if service == "pipe" and re.search(r'"wildcard"|"anything-but": \{', json.dumps(pattern)):
        message = "a: a pipe does not support wildcard; anything-but takes text, a number or a list of either"
    with pytest.raises(InvalidPatternError, match=message):
        matches(pattern, event, service=service)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"a": ["x" * (MAX_PATTERN_LENGTH - 9)]}, "at most 4,096 characters, not 4,097"),
        ({"a": [float("nan")]}, "a pattern must be JSON"),
        ({"a": [10**5000]}, "a pattern must be JSON"),
        ({"a": [Decimal(1)]}, "a pattern must be JSON"),
        ({1: ["x"]}, "a field's name must be text, not 1"),
        ({".a" * 1500: ["x"]}, "a pattern may be nested at most 100 levels"),
    ],
)
def test_what_no_request_could_carry_is_refused(pattern: Any, message: str) -> None:
    """A pattern that is not JSON, is longer than 4,096 characters, or has a path of over 100 steps, is refused."""
    with pytest.raises(InvalidPatternError, match=message):
        matches(pattern, {})


def test_a_pattern_has_4096_characters_at_most() -> None:
    """A pattern of exactly 4,096 characters is accepted."""
    assert matches({"a": ["é" * (MAX_PATTERN_LENGTH - 10)]}, {"a": "é" * (MAX_PATTERN_LENGTH - 10)})


def test_a_message_is_short() -> None:
    """An error message shows only the beginning of a long operand."""
    with pytest.raises(InvalidPatternError) as caught:
        matches({"a": [{"exists": "x" * 4000}]}, {})
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("kind", [list, dict])
def test_a_nesting_bomb_is_refused_or_answered(kind: type) -> None:
    """Extremely deep nesting raises InvalidPatternError in a pattern and is handled in an event."""
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested] if kind is list else {"a": nested}
    for pattern in ({"a": nested}, {"a": [nested]}, {"a": [{"exists": nested}]}, {"$or": [nested, nested]}):
        with pytest.raises(InvalidPatternError):
            matches(pattern, {})
    assert matches({"a": ["x"]}, {"a": nested}) is (kind is list)
    assert matches({"a": {"b": ["x"]}}, {"a.b": nested}) is (kind is list)


def test_a_wildcard_tries_nothing_twice() -> None:
    """A text that almost matches many stars is rejected quickly, without trying each combination of lengths."""
    assert not matches({"a": [{"wildcard": "*a" * 500 + "*b"}]}, {"a": "a" * 50_000})
    assert not matches({"a": [{"equals-ignore-case": "1ß" * 500}]}, {"a": "1ß" * 499 + "1x"})


def test_only_objects_hold_fields() -> None:
    """An event that is not an object (AWS never delivers one) has no fields."""
    nothings: list[Any] = [["x", "a"], "a", None]
    for nothing in nothings:
        assert matches({"a": [{"exists": False}]}, nothing)
        assert not matches({"a": ["x"]}, nothing)


def test_numbers_compare_as_doubles() -> None:
    """A number's digits beyond an IEEE double do not count, as in AWS's engine; NaN equals nothing."""
    assert matches({"a": [0.1]}, {"a": Decimal("0.10000000")})
    assert matches({"a": [0.1]}, {"a": Decimal("0.1000000000000000000000000000000000001")})
    assert not matches({"a": [0.1]}, {"a": Decimal("0.100000000000001")})
    assert matches({"a": [2**53]}, {"a": 2**53 + 1})
    assert not matches({"a": [{"numeric": ["<", 0.1]}]}, {"a": Decimal("0.0999999999999999999999999999999999999")})
    for odd in ("NaN", "sNaN", "Infinity"):
        assert not matches({"a": [{"numeric": ["<", 5]}]}, {"a": Decimal(odd)})


def test_a_number_beyond_the_doubles_is_compared_exactly() -> None:
    """An integer that no double holds equals only itself."""
    assert matches({"a": [10**400]}, {"a": 10**400})
    assert not matches({"a": [10**400]}, {"a": 10**400 + 1})
    assert not matches({"a": [{"numeric": [">", 0]}]}, {"a": 10**400})


operators = st.sampled_from(
    ["prefix", "suffix", "equals-ignore-case", "exists", "anything-but", "numeric", "cidr", "wildcard", "$or", "a", "b"]
)
symbols = st.sampled_from(["=", "<", "<=", ">", ">=", "*", "\\", "10.0.0.0/8", "a"])
almost_patterns = st.recursive(
    json_values | symbols,
    lambda members: st.lists(members, max_size=4) | st.dictionaries(operators, members, max_size=2),
    max_leaves=20,
)


@given(json_values | almost_patterns, json_values | almost_patterns, st.sampled_from(["rule", "pipe"]))
def test_any_json_is_answered_or_refused(pattern: Any, event: Any, service: Any) -> None:
    """JSON patterns and events raise only InvalidPatternError, and whether they do does not depend on the event."""
    answer = ask(pattern, event, service=service)
    assert answer in (True, False, None)
    assert (answer is None) is (ask(pattern, {}, service=service) is None)


texts = st.text(alphabet="ab*\\.", max_size=8)


@given(texts, texts)
def test_prefix_and_suffix_are_those_of_text(operand: str, value: str) -> None:
    """`prefix`, `suffix` and `equals-ignore-case` agree with Python's slices and equality, in both forms."""
    for rule, expected in (
        ({"prefix": operand}, value[: len(operand)] == operand),
        ({"suffix": operand}, value[max(0, len(value) - len(operand)) :] == operand),
        ({"equals-ignore-case": operand}, value == operand),
        ({"prefix": {"equals-ignore-case": operand.upper()}}, value[: len(operand)] == operand),
        ({"suffix": {"equals-ignore-case": operand.upper()}}, value[max(0, len(value) - len(operand)) :] == operand),
    ):
        assert matches({"x": [rule]}, {"x": value}) is expected, rule


def naive(tokens: list[str], text: str) -> bool:
    """Return whether a wildcard matches, by trying each length for each star."""
    if not tokens:
        return not text
    if tokens[0] == "*":
        return any(naive(tokens[1:], text[length:]) for length in range(len(text) + 1))
    return text.startswith(tokens[0][-1]) and naive(tokens[1:], text[1:])


@given(st.lists(st.sampled_from(["a", "b", ".", "*", "\\*", "\\\\"]), max_size=8), texts)
def test_a_wildcard_agrees_with_trying_everything(tokens: list[str], value: str) -> None:
    """A wildcard matches exactly if some length of each star makes it match; `**` is refused."""
    doubled = any(pair == ("*", "*") for pair in pairwise(tokens))
    for rule, expected in (
        ({"wildcard": "".join(tokens)}, naive(tokens, value)),
        ({"anything-but": {"wildcard": "".join(tokens)}}, not naive(tokens, value)),
    ):
        assert ask({"x": [rule]}, {"x": value}) is (None if doubled else expected)


@given(st.lists(st.none() | st.booleans() | st.integers(-2, 2) | texts, max_size=5))
def test_an_array_matches_where_a_member_does(members: list[Any]) -> None:
    """A rule matches an array if it matches at least one member."""
    for rule in (None, True, 1, "a", {"prefix": "a"}, {"numeric": [">", 0]}, {"anything-but": ["a", "b"]}):
        assert matches({"x": [rule]}, {"x": members}) is any(matches({"x": [rule]}, {"x": each}) for each in members)


@given(json_objects)
def test_a_pattern_made_of_an_event_matches_it(event: dict[str, Any]) -> None:
    """A pattern made from an event's own leaves matches that event."""

    def pattern_of(value: Any) -> Any:
        return {name: pattern_of(each) for name, each in value.items()} if isinstance(value, dict) else [value]

    def leaves(value: dict[str, Any]) -> dict[str, Any]:
        deeper = {name: leaves(each) if isinstance(each, dict) else each for name, each in value.items()}
        return {name: each for name, each in deeper.items() if each != {} and type(each) is not list and name != "$or"}

    pattern = pattern_of(leaves(event))
    assert ask(pattern, event) is True or not pattern or len(json.dumps(pattern)) > MAX_PATTERN_LENGTH


def test_a_field_fits_where_one_of_its_rules_does() -> None:
    """Rules of one field are combined with OR, fields with AND."""
    for first, second in product(["a", "b", "c"], repeat=2):
        answer = matches({"x": ["a", {"prefix": "b"}], "y": ["a"]}, {"x": first, "y": second})
        assert answer is (first in ("a", "b") and second == "a")


@given(json_objects, st.data())
def test_dots_in_names_are_steps(event: dict[str, Any], data: st.DataObject) -> None:
    """An event matches the same patterns whether its names are nested or joined with dots, and so does a pattern."""
    name = st.text("ab", min_size=1, max_size=2)
    steps = data.draw(st.lists(name, min_size=2, max_size=4))
    split = data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))

    def nested(leaf: Any) -> Any:
        groups = [[steps[0]]]
        for step, again in zip(steps[1:], split, strict=False):
            groups = [*groups, [step]] if again else [*groups[:-1], [*groups[-1], step]]
        for group in reversed(groups):
            leaf = {".".join(group): leaf}
        return leaf

    plain: Any = [{"exists": True}]
    for step in reversed(steps):
        plain = {step: plain}
    assert matches(nested([{"exists": True}]), nested(1))
    assert matches(plain, nested(1))
    assert matches(plain, event | nested(1))
