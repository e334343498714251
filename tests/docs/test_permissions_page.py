"""The permissions page lists what the example's templates allow."""

from __future__ import annotations

import re
from pathlib import Path

from ..books.test_templates import of_type, resources_of, statements_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "permissions.md"
BY_LAMBDA_ITSELF = re.compile(r"logs:.*|s3:.*|sqs:.*|dynamodb:(DescribeStream|GetRecords|GetShardIterator|ListStreams)")
TITLES = {"template.yaml": "outbox", "template.cdc.yaml": "CDC"}


def table() -> str:
    """Return the page's table from the templates: each function's own actions by resource."""
    modes: dict[tuple[str, str, str], list[str]] = {}
    for template, title in TITLES.items():
        resources = resources_of(template)
        for name, _ in of_type("AWS::Serverless::Function", template):
            for statement in statements_of(resources[f"{name}Role"]):
                actions = ", ".join(f"`{each}`" for each in statement["Action"] if not BY_LAMBDA_ITSELF.fullmatch(each))
                for resource in statement["Resource"] if actions else []:
                    modes.setdefault((name, resource.removesuffix(".Arn"), actions), []).append(title)
    rows = [
        f"| `{name}` | {' and '.join(where)} | `{thing}` | {actions} |"
        for (name, thing, actions), where in modes.items()
    ]
    return "\n".join(["| function | mode | on | actions |", "|---|---|---|---|", *sorted(rows)])


def test_the_functions_actions_match_the_templates() -> None:
    """The page lists exactly the actions that the templates give each function."""
    between = re.search(r"<!-- functions -->\n(.*?)\n<!-- /functions -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert between is not None
    assert between[1] == table()
