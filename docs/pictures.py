"""Generate the tables and diagrams in the docs from the code: ``python docs/pictures.py`` updates the pages."""

from __future__ import annotations

from pathlib import Path

from dynamo_outbox.consuming.claims import AT_MOST_ONCE, LIFE, ON_MEETING
from dynamo_outbox.consuming.inbox_records import AfterFailure
from dynamo_outbox.writing.commit_rules import ON_ANSWER, SENT_AGAIN

DOCS = Path(__file__).parent


def record_life() -> str:
    """Return the states of an idempotency record as a mermaid diagram."""
    ids = {
        "none": "[*]",
        "in progress": "InProgress",
        "completed": "Completed",
        "failed": "Failed",
        "released": "Released",
    }
    lines = [f"    {ids[start]} --> {ids[end]}: {event}" for start, event, end in LIFE]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def on_meeting() -> str:
    """Return the outcome of a call by the record that it finds, as a table."""
    rows = [
        f"| {met} | {outcome} | {'the same' if AT_MOST_ONCE[met] is outcome else AT_MOST_ONCE[met]} |"
        for met, outcome in ON_MEETING.items()
    ]
    return "\n".join(['| record found | the call | with `on_expired_lease="raise"` |', "|---|---|---|", *rows])


def on_answer() -> str:
    """Return the writer's step after each response, as a table."""
    rows = [
        f"| {answer} | {'yes' if answer in SENT_AGAIN else 'no'} | {plain} | {doubtful} |"
        for answer, (plain, doubtful) in ON_ANSWER.items()
    ]
    heading = (
        "| response | repeated, if in time | otherwise, if every request got a response | otherwise, if one did not |"
    )
    return "\n".join([heading, "|---|---|---|---|", *rows])


def after_failure() -> str:
    """Return the consequences of a failed handler or inbox transaction, as a list; the first that applies counts."""
    return "\n".join(f"{number}. {case}" for number, case in enumerate(AfterFailure, start=1))


def decisions() -> str:
    """Return the decisions and the conditions for reopening them, as a table."""
    rows = []
    for path in sorted((DOCS / "decisions").glob("0*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        sign = " ".join(text.rpartition("\nReopen ")[2].split("\n\n")[0].split()).rstrip(".")
        rows.append(f"| {path.name[:4]} | [{title}]({path.name}) | {sign} |")
    return "\n".join(["| | decision | reopen |", "|---|---|---|", *rows])


PICTURES = {
    "record-life": record_life,
    "on-meeting": on_meeting,
    "on-answer": on_answer,
    "after-failure": after_failure,
    "decisions": decisions,
}


def drawn(page: str) -> str:
    """Return a page with the content between its markers generated again."""
    for name, draw in PICTURES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if start in page:
            before, _, rest = page.partition(start)
            page = f"{before}{start}{draw()}\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    for path in DOCS.rglob("*.md"):
        path.write_text(drawn(path.read_text()))
