"""Generate the tables and diagrams in the docs from the code: ``python docs/pictures.py`` updates the pages."""

from __future__ import annotations

from pathlib import Path

from dynamo_outbox.consuming.claims import AT_MOST_ONCE, LIFE, ON_MEETING
from dynamo_outbox.consuming.inbox_records import AfterFailure
from dynamo_outbox.operations.checks import CHECKS
from dynamo_outbox.operations.definition import Consumer, Infrastructure, Right
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


def alarms() -> str:
    """Return all alarms of the infrastructure's definition by kind, as a table."""
    consumers = (Consumer("Consumer"), Consumer("Queued", delivery="queue"))
    rows = {}
    for mode in ("relay", "pipe"):
        for each in Infrastructure(mode, consumers=consumers).alarms():
            if each.statistic == "SampleCount":
                test = "no data"
            elif each.unless_idle:
                test = "0, while the table is written to"
            else:
                test = f"{each.statistic.lower()} over {each.threshold}"
            watched = f"`{each.metric}` of `{each.namespace or 'the stack'}`"
            rows[each.kind, each.metric] = (
                f"| [{each.kind}](#{each.kind.lower()}) | {watched} | {test} | {each.periods * 5} minutes |"
            )
    return "\n".join(["| alarm | metric | fires at | for |", "|---|---|---|---|", *rows.values()])


def rights() -> str:
    """Return what the roles of the infrastructure's definition allow, as a table."""

    def row(name: str, right: Right) -> str:
        who = "AWS in its name" if right.by_service else "the function"
        return f"| `{name}` | `{right.on}` | {', '.join(f'`{each}`' for each in right.actions)} | {who} |"

    dedup = ("inbox", "idempotent")
    consumers = (
        *(Consumer(each.title(), dedup=each) for each in dedup),
        Consumer("Queued", delivery="queue", dedup="none"),
    )
    pipe, relay = Infrastructure("pipe"), Infrastructure("relay", consumers=consumers)
    rows = [row("EventsPipe", right) for right in pipe.reader_rights()]
    rows += [row(each.name, right) for each in relay.functions() for right in each.rights]
    return "\n".join(["| role of | on | actions | used by |", "|---|---|---|---|", *rows])


def checks() -> str:
    """Return the checks of doctor in their order, as a table."""
    rows = [f"| `{each.name}` | {each.severity} | {each.cost} | {each.fix} |" for each in CHECKS]
    return "\n".join(["| check | severity | what it may cost | fix |", "|---|---|---|---|", *rows])


PICTURES = {
    "alarms": alarms,
    "checks": checks,
    "rights": rights,
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
