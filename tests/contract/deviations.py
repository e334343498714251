"""Known deviations of the engines from AWS: the only place where a scenario may differ by engine.

A scenario asserts its deviation. When an engine is fixed, the scenario fails, and the deviation must be removed here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["DEVIATIONS", "Instead", "Unasked"]


class Instead(NamedTuple):
    """The engine's deviating result, as the scenario observes it."""

    instead: Any


class Unasked(NamedTuple):
    """The scenario is skipped: the engine's result varies, or the scenario breaks the engine."""

    reason: str


def _cases(engine: str, test: str, instead: Any, *cases: str) -> dict[tuple[str, str], Instead | Unasked]:
    """Return one deviation for several cases of a scenario."""
    return {(engine, f"{test}[{case}]"): Instead(instead) for case in cases}


DEVIATIONS: dict[tuple[str, str], Instead | Unasked] = {
    # MiniStack 1.5.33
    # It doesn't check the types of operands and arguments: an invalid condition fails, or even holds.
    **_cases(
        "ministack",
        "test_a_condition",
        "ConditionalCheckFailedException",
        "attribute_exist(n)",
        "attribute_type(n, :odd)",
        "attribute_type(n, :10)",
        "n < :true",
        "n > :set",
        "n BETWEEN :9 AND :text",
    ),
    **_cases("ministack", "test_a_condition", "ok", "n = n"),
    # In a transaction it puts items without their key, and doesn't check a Delete's key.
    **_cases("ministack", "test_a_key_that_is_not_the_tables", ("ok", 2), "Put-no sort key", "Put-no partition key"),
    **_cases(
        "ministack",
        "test_a_key_that_is_not_the_tables",
        ("ok", 1),
        "Delete-no sort key",
        "Delete-no partition key",
        "Delete-2049 bytes",
        "Delete-sort key of 1025 bytes",
    ),
    # It keeps one item, but doesn't find it by another notation of its number.
    ("ministack", "test_a_number_is_one_key_however_it_is_written"): Instead((1, None)),
    # It treats another order of a set as a change.
    **_cases(
        "ministack", "test_a_put_that_changes_nothing_is_not_told", ["INSERT", "MODIFY"], "a set in another order"
    ),
    # It accepts any condition as a key condition.
    **_cases("ministack", "test_a_query", ["0", "1", "10", "9", "a", "ba"], "pk = :p AND sk <> :b-invalid"),
    **_cases("ministack", "test_a_query", ["0", "1", "10", "9", "a", "b", "ba"], "pk = :p OR sk = :b-invalid"),
    **_cases("ministack", "test_a_query", ["b", "ba"], "pk = :p AND contains(sk, :b)-invalid"),
    # SizeBytes is always 0.
    ("ministack", "test_a_record_has_the_shape_that_boto3_gives_it"): Instead(["a size"]),
    # It doesn't check the sizes of events.
    **_cases("ministack", "test_a_request_is_smaller_than_1_mb", "ok", "one at the limit", "two at the limit"),
    # The same deviation.
    **_cases("ministack", "test_time_and_resources_count_too", ["ok", "ok"], "Time", "Resources"),
    # It renumbers the list after each removal.
    **_cases("ministack", "test_an_update", {"l": {"L": [{"S": "1"}, {"S": "2"}]}}, "REMOVE l[0], l[2]"),
    # It skips the invalid parts of an update and doesn't check the types of operands.
    **_cases(
        "ministack",
        "test_an_update_that_is_refused",
        ("ok", "as before"),
        "update_item-SET",
        "update_item-SET x",
        "update_item-SET n = n + :text",
        "update_item-REMOVE absent.k",
        "transact_write_items-x = :one",
        "transact_write_items-SET",
        "transact_write_items-SET x",
        "transact_write_items-SET n = n + :text",
        "transact_write_items-SET s.k = :one",
        "transact_write_items-SET l.k = :one",
        "transact_write_items-REMOVE absent.k",
    ),
    **_cases(
        "ministack",
        "test_an_update_that_is_refused",
        ("ok", "changed"),
        "update_item-SET x = :one,",
        "update_item-SET x = :one SET y = :one",
        "update_item-SET x = :one, x = :one",
        "update_item-SET nest.k = :one, nest = :one",
        "update_item-SET x = n + n + :one",
        "update_item-SET x = s + :one",
        "update_item-SET x = list_append(l, :text)",
        "update_item-SET x = list_append(s, :list)",
        "update_item-SET x = n * :one",
        "update_item-ADD n = :one",
        "transact_write_items-SET x = :one,",
        "transact_write_items-SET x = :one SET y = :one",
        "transact_write_items-SET x = :one, x = :one",
        "transact_write_items-SET nest.k = :one, nest = :one",
        "transact_write_items-SET x = n + n + :one",
        "transact_write_items-SET x = s + :one",
        "transact_write_items-SET x = list_append(l, :text)",
        "transact_write_items-SET x = list_append(s, :list)",
        "transact_write_items-SET x = n * :one",
        "transact_write_items-SET pk = :text",
        "transact_write_items-REMOVE pk",
        "transact_write_items-ADD n = :one",
    ),
    # It checks only the source's prefix.
    **_cases(
        "ministack",
        "test_one_bad_entry_fails_alone",
        ("ok", [True, True, True]),
        "text",
        "list",
        "number",
        "null",
        "NaN",
        "no Detail",
        "no Source",
        "no DetailType",
    ),
    # moto 5.2.5
    ("moto", "test_of_eight_at_once_each_acknowledged_write_stands"): Unasked(
        "it loses acknowledged writes, but not every time"
    ),
    # An invalid condition raises inside moto, operands' types are not checked, and begins_with fails for binary.
    **_cases(
        "moto",
        "test_a_condition",
        "ConditionalCheckFailedException",
        "begins_with(bytes, :b)",
        "begins_with(title, :10)",
        "attribute_type(n, :odd)",
        "attribute_type(n, :10)",
        "n < :true",
        "n BETWEEN :11 AND :9",
        "n = 10",
        "n.#n.[0] = :1",
    ),
    **_cases(
        "moto",
        "test_a_condition",
        "breaks",
        "size(n) = :2",
        "size(absent) > :1",
        "title < :10",
        "n",
        "n =",
        "n == :10",
        "n = :10 AND",
        "(n = :10",
        "n = :10)",
        "n = :undefined",
        "#undefined = :10",
        "attribute_exists(n, title)",
        "attribute_exists(:10)",
        "attribute_exist(n)",
        "begins_with(title)",
        "size(n)",
        "n > :set",
        "n BETWEEN :9 AND :text",
        "title = 'text'",
        "many[x] = :1",
    ),
    **_cases("moto", "test_a_condition", "ok", "empty", "n = n", "contains(title, title)"),
    # An unknown bus is an error.
    ("moto", "test_a_bus_that_is_not_there_takes_its_events_and_drops_them"): Instead(
        ("ResourceNotFoundException", [])
    ),
    # It doesn't check a Delete's key, and a Put without one raises inside moto.
    **_cases(
        "moto",
        "test_a_key_that_is_not_the_tables",
        ("cancelled: None, KeyError", 0),
        "Put-no sort key",
        "Put-no partition key",
    ),
    **_cases(
        "moto",
        "test_a_key_that_is_not_the_tables",
        ("ok", 1),
        "Delete-another type",
        "Delete-empty text",
        "Delete-empty sort key",
        "Delete-2049 bytes",
        "Delete-sort key of 1025 bytes",
    ),
    # It accepts an empty key in an Update or a Delete. In a transaction it refuses an Update's, but keeps other writes.
    **_cases(
        "moto",
        "test_an_empty_key_fails_the_request",
        (["ok", "ValidationException"], 1),
        "pk-Update",
        "sk-Update",
    ),
    **_cases("moto", "test_an_empty_key_fails_the_request", (["ok", "ok"], 1), "pk-Delete", "sk-Delete"),
    **_cases(
        "moto",
        "test_an_empty_key_fails_the_request",
        (["ValidationException", "ok"], 1),
        "pk-ConditionCheck",
        "sk-ConditionCheck",
    ),
    # It finds nothing for a key of another type.
    **_cases("moto", "test_a_batch_read_that_is_refused", "ok", "another type"),
    # It keeps numbers as they were written.
    ("moto", "test_a_number_is_one_key_however_it_is_written"): Instead((1, {"pk": {"N": "1.0"}})),
    # The same deviation.
    **{
        ("moto", f"test_a_number_is_kept_in_one_plain_form[{number}]"): Instead(("ok", {"N": number}))
        for number in (
            "1.50",
            "007",
            "+5",
            "-0",
            "0.0",
            "1e2",
            "1.20E1",
            ".5",
            "-1.10",
            "1E125",
            "1E-130",
            "9.9999999999999999999999999999999999999E125",
        )
    },
    # It ignores an unused value, and an empty map of names raises inside moto.
    **_cases("moto", "test_a_placeholder_that_nothing_uses", "ok", "value"),
    **_cases("moto", "test_a_placeholder_that_nothing_uses", "breaks", "no names"),
    # It treats every write as a change.
    **_cases(
        "moto",
        "test_a_put_that_changes_nothing_is_not_told",
        ["INSERT", "MODIFY"],
        "an equal item",
        "a number written otherwise",
        "a set in another order",
    ),
    # The same deviation.
    **_cases(
        "moto",
        "test_an_update_that_changes_nothing_is_not_told",
        ["INSERT", "MODIFY"],
        "SET n = n",
        "SET n = :same",
        "REMOVE absent",
        "DELETE absent :tags",
    ),
    # Times have fractions of seconds.
    ("moto", "test_a_record_has_the_shape_that_boto3_gives_it"): Instead(["a time in seconds"]),
    # It doesn't count the bytes of events.
    **_cases("moto", "test_a_request_is_smaller_than_1_mb", "ok", "one at the limit", "two at the limit"),
    # The same deviation.
    **_cases("moto", "test_time_and_resources_count_too", ["ok", "ok"], "Time", "Resources"),
    # It doesn't add up the items' sizes.
    ("moto", "test_a_transaction_has_at_most_4_mb"): Instead("ok"),
    # It doesn't check sets' members and nested values.
    **_cases(
        "moto",
        "test_a_value_is_refused",
        "ok",
        "empty binary set",
        "a text twice in a set",
        "a number twice in a set",
        "two types",
        "an empty set in a list",
        "a bad number in a set",
        "33 levels",
    ),
    **_cases("moto", "test_a_value_is_refused", "breaks", "no type"),
    # Its limit is some bytes lower.
    **_cases("moto", "test_an_item_has_at_most_400_kb", "invalid", "0-ok-put_item", "0-ok-transact_write_items"),
    # It accepts some invalid key conditions and then fails internally.
    **_cases("moto", "test_a_query", "breaks", "pk = :p AND sk <> :b-invalid", "pk = :p OR sk = :b-invalid"),
    # It keeps numbers as they were written, and the digits of a sum.
    **_cases("moto", "test_an_update", {"n": {"N": "9.50"}}, "SET n = n - :half"),
    **_cases("moto", "test_an_update", {"ns": {"NS": ["1", "2", "3.0"]}}, "ADD ns :ns"),
    # It skips a path into a value that is not a map, and sums have no limit. An undefined placeholder raises in moto.
    **_cases(
        "moto",
        "test_an_update_that_is_refused",
        ("ok", "changed"),
        "update_item-SET x = n + n + :one",
        "update_item-SET n = n + :max",
        "update_item-SET x = :max + :max",
        "transact_write_items-SET x = n + n + :one",
        "transact_write_items-SET n = n + :max",
        "transact_write_items-SET x = :max + :max",
    ),
    **_cases(
        "moto",
        "test_an_update_that_is_refused",
        ("ok", "as before"),
        "update_item-SET s.k = :one",
        "update_item-SET l.k = :one",
        "transact_write_items-SET s.k = :one",
        "transact_write_items-SET l.k = :one",
    ),
    **_cases("moto", "test_an_update_that_is_refused", ("breaks", "as before"), "transact_write_items-empty"),
    **_cases(
        "moto",
        "test_an_update_that_is_refused",
        ("cancelled: TypeError", "as before"),
        "transact_write_items-SET x = :undefined",
        "transact_write_items-SET x = #undefined",
    ),
    # It records an update that creates an item twice, first with an empty item.
    ("moto", "test_each_change_of_an_item_is_told_in_order"): Instead(
        [
            ("INSERT", None, "1"),
            ("MODIFY", "1", "2"),
            ("MODIFY", "2", "3"),
            ("REMOVE", "3", None),
            ("INSERT", None, "no n"),
            ("INSERT", None, "1"),
        ]
    ),
    # The same deviation.
    ("moto", "test_every_change_of_a_transaction_is_told_once"): Instead(
        [
            ("INSERT", None, "1"),
            ("INSERT", None, "1"),
            ("INSERT", None, "1"),
            ("INSERT", None, "no n"),
            ("MODIFY", "1", "2"),
        ]
    ),
    # A Detail that is not an object raises inside moto. It accepts NaN and a source that is reserved for AWS.
    **_cases("moto", "test_one_bad_entry_fails_alone", ("breaks", []), "list", "number", "null"),
    **_cases("moto", "test_one_bad_entry_fails_alone", ("ok", [True, True, True]), "NaN", "aws"),
    # It ignores tokens.
    ("moto", "test_the_same_token_and_body_again_write_nothing"): Instead(
        (["ok", "ok"], {"pk": {"S": "a"}, "n": {"N": "2"}}, 3)
    ),
    # The same deviation.
    ("moto", "test_the_same_token_with_another_body_is_refused"): Instead((["ok", "ok"], {"pk": {"S": "b"}})),
    # It doesn't check an expression's values.
    ("moto", "test_the_value_of_an_expression_is_checked_too"): Instead(("ok", {"pk": {"S": "a"}, "x": {"SS": []}})),
    # It accepts any number that Python accepts, without limits.
    **_cases(
        "moto", "test_what_is_no_number_is_refused", "ok", "1_000", "123456789012345678901234567890123456789", "1E126"
    ),
}
