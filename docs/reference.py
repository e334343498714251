"""Generate the reference from the docstrings: ``python docs/reference.py`` updates the pages in docs/reference.

A page keeps its own text. What follows ``<!-- api MODULE: NAME, NAME -->`` is generated, up to ``<!-- /api -->``.
griffe reads signatures and docstrings from the source, without importing it.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent
from typing import Any

import griffe

PAGES = Path(__file__).parent / "reference"
BLOCK = re.compile(r"(?P<start><!-- api (?P<module>[\w.]+): (?P<names>[\w, ]+) -->)\n.*?<!-- /api -->", re.DOTALL)
MARKUP = re.compile(r"``(?P<code>.+?)``|`(?P<name>[^`]+)`|(?P<url>https?://[^\s)>,;]*[^\s)>,;.])|\*\*|<", re.DOTALL)
LEAD = re.compile(r"(?:^|\n+|(?<=\.) )(Guarantee|Limits?|Cost): ")
TITLES = {"parameters": "Arguments", "attributes": "Attributes", "raises": "Raises"}
WIDTH = 100


class Reference:
    """The public names that the pages list."""

    def __init__(self, pages: dict[str, str]) -> None:
        options = {"returns_multiple_items": False, "returns_named_value": False, "warnings": False}
        source: Any = griffe.load(
            "dynamo_outbox",
            search_paths=[PAGES.parents[1] / "src"],
            docstring_parser="google",
            docstring_options=options,
        )
        self.public: dict[str, Any] = {}
        homes: dict[str, str] = {}
        for page, text in pages.items():
            for block in BLOCK.finditer(text):
                for name in block["names"].split(", "):
                    found = source[f"{block['module']}.{name}".removeprefix("dynamo_outbox.")]
                    self.public[name] = found.final_target if found.is_alias else found
                    homes[name] = page
        self.targets: dict[str, str] = {}
        for name, page in homes.items():
            for heading in (name, *(f"{name}.{key}" for key in self.methods(name))):
                anchor = (
                    f"{page}#{heading.replace('.', '').lower()}"  # as GitHub and MyST make it, with -1 if it is taken
                )
                self.targets[heading] = f"{anchor}-1" if anchor in self.targets.values() else anchor

    def page(self, page: str, text: str) -> str:
        """Return a page with its blocks generated again; headings are one level below the heading before the block."""

        def block(match: re.Match[str]) -> str:
            level = re.findall(r"^(#+) ", text[: match.start()], re.MULTILINE)[-1] + "#"
            parts = [part for name in match["names"].split(", ") for part in self.entry(name, level)]
            return "\n\n".join([match["start"], *parts, "<!-- /api -->"]).replace(f"]({page}#", "](#")

        return BLOCK.sub(block, text)

    def entry(self, name: str, level: str) -> list[str]:
        """Return a name's heading, signature, base classes, docstring, attributes and methods."""
        found = self.public[name]
        parts = [f"{level} `{name}`", signature(found)]
        if found.is_class:
            ours = {base.name for base in found.mro()} - self.public.keys() | {"Generic"}
            bases = [base for base in map(str, found.bases) if base.partition("[")[0] not in ours]
            parts += [f"Base: {', '.join(self.link(base, found) for base in bases)}."] if bases else []
        parts += self.sections(found)
        for key, method in self.methods(name).items():
            parts += [f"{level}# `{name}.{key}`", signature(method), *self.sections(method)]
        return parts

    def members(self, found: Any) -> dict[str, Any]:
        """Return the public members of a class, its own and those that it inherits from a class that is not public."""
        classes = [base for base in reversed(found.mro()) if base.name not in self.public] + [found]
        members = {key: each for base in classes for key, each in base.members.items()}
        return {key: each for key, each in members.items() if not key.startswith("_") or key == "__call__"}

    def methods(self, name: str) -> dict[str, Any]:
        """Return a class's methods that have a docstring; of a protocol, every method."""
        found = self.public[name]
        if not found.is_class:
            return {}
        functions = {key: each for key, each in self.members(found).items() if each.is_function}
        return {key: each for key, each in functions.items() if each.docstring or is_protocol(found)}

    def sections(self, found: Any) -> list[str]:
        """Return a docstring as Markdown, and the properties of a class that its docstring does not list."""
        docstring = found.docstring or (instance_class(found) and instance_class(found).docstring)
        parts, listed = [], set[str]()
        for each in docstring.parsed if docstring else ():
            kind, value = each.kind.value, each.value
            if kind == "text":
                text = self.markdown(value, found)
                parts.append(LEAD.sub(r"\n\n**\1:** ", text).strip())
            elif kind == "returns":
                kept = "" if str(value[0].annotation) == str(found.returns) else f"{value[0].annotation}: "
                parts.append(f"**Returns:** {self.markdown(kept + value[0].description, found)}")
            elif kind == "admonition" and ">>>" in value.contents:
                parts.append(f"**{each.title}**\n\n```python example\n{value.contents}\n```")
            else:
                items = named(value)
                listed |= {name for names, _ in items for name in names}
                lines = [f"- {', '.join(f'`{name}`' for name in names)}: {text}" for names, text in items]
                parts += [f"**{TITLES.get(kind, each.title)}**", self.markdown("\n".join(lines), found)]
        if found.is_class:
            parts += self.properties(found, listed)
        return parts

    def properties(self, found: Any, listed: set[str]) -> list[str]:
        """Return the list of a class's attributes with docstrings, of a protocol all, without those in `listed`."""
        lines = []
        for key, each in self.members(found).items():
            if each.is_attribute and key not in listed and (each.docstring or is_protocol(found)):
                text = indent(" ".join(self.sections(each)).replace("**Raises** - ", "Raises "), "  ").strip()
                lines.append(f"- `{key}` (`{each.annotation}`){': ' if text else ''}{text}")
        return ["**Properties**", "\n".join(lines)] if lines else []

    def markdown(self, text: str, found: Any) -> str:
        """Return a docstring's text as Markdown."""

        def replaced(match: re.Match[str]) -> str:
            if match["name"]:
                return self.link(match["name"], found)
            if match["code"]:
                return f"`{match['code']}`"
            return f"<{match['url']}>" if match["url"] else re.sub(r"(.)", r"\\\1", match[0])

        return MARKUP.sub(replaced, text)

    def link(self, name: str, found: Any) -> str:
        """Return a name as code, with a link if it is public."""
        parent = found if found.is_class else found.parent
        short = re.sub(r"^dynamo_outbox\.(errors\.|pipes\.|testing\.|typing\.)?", "", name)
        head, _, member = short.partition(".")
        if member and head in self.public and member not in self.public[head].all_members:
            raise SystemExit(f"{found.path}: `{name}` does not exist: correct the docstring")
        own = {each.name for each in getattr(found, "parameters", ())}
        keys = () if short in own else (f"{parent.name}.{short}", short, head)
        target = next((self.targets[key] for key in keys if key in self.targets), None)
        return f"[`{name}`]({target})" if target else f"`{name}`"


def is_protocol(found: Any) -> bool:
    """Return True for a protocol, whose members have no docstrings."""
    return "Protocol" in map(str, found.bases)


def instance_class(found: Any) -> Any:
    """Return the private class of a public instance."""
    return found.parent.members.get(str(found.value).removesuffix("()")) if found.is_attribute else None


def named(value: Any) -> list[tuple[list[str], str]]:
    """Return the items of a docstring's section: names and text, with the text's further lines indented."""
    if not isinstance(value, list):  # a section that griffe does not know
        pairs = re.findall(r"^(\w+): (.*(?:\n +.*)*)", value.contents, re.MULTILINE)
    else:
        pairs = [(getattr(each, "name", str(each.annotation)), each.description) for each in value]
        pairs = [
            (f"{name} {each.annotation}" if name.endswith(",") else name, text)
            for (name, text), each in zip(pairs, value, strict=True)
        ]
    return [(re.findall(r"[\w.]+", name), indent(text, "  ").strip()) for name, text in pairs]


def signature(found: Any) -> str:
    """Return the signatures of a name as a block of Python."""
    if found.is_attribute:
        lines = [found.name if instance_class(found) else f"{found.name} = {str(found.value).strip(chr(39))}"]
    elif found.is_class:
        fields = [each for each in found.members.values() if each.is_attribute and "property" not in each.labels]
        texts = [f"{each.name}: {each.annotation}" + (f" = {each.value}" if each.value else "") for each in fields]
        is_tuple = "NamedTuple" in map(str, found.bases)
        line = f"{found.name}({', '.join(texts)})" if is_tuple else found.signature() or found.name
        lines = [wrapped(f"class {line.removesuffix('()')}")]
    else:
        start = "".join(f"@{label}\n" for label in ("classmethod", "staticmethod") if label in found.labels)
        start += "async def " if "async" in found.labels else "def "
        lines = [start + wrapped(each.signature()) for each in found.overloads or [found]]
    text = re.sub(r"'([^'\"]*)'", r'"\1"', "\n".join(lines))
    text = re.sub(r"(?<= = )[A-Z][A-Z_]+\b", lambda name: str(found.module[name[0]].value), text)
    return f"```python signature\n{text}\n```"


def wrapped(line: str) -> str:
    """Return a signature with one parameter per line, if it is long."""
    if len(line) <= WIDTH:
        return line
    start, depth, parts = line.index("(") + 1, 0, [""]
    for at, char in enumerate(line[start:], start):
        depth += (char in "([") - (char in ")]")
        if depth < 0:
            return "\n".join([line[:start], *(f"    {part.strip()}," for part in parts), line[at:]])
        if (char, depth) == (",", 0):
            parts.append("")
        else:
            parts[-1] += char
    raise ValueError(f"{line!r} is not a signature")


def read() -> dict[str, str]:
    """Return the pages of the reference that have blocks."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))}
    return {page: text for page, text in pages.items() if BLOCK.search(text)}


def generated(pages: dict[str, str]) -> dict[str, str]:
    """Return the pages with their blocks generated again."""
    reference = Reference(pages)
    return {page: reference.page(page, text) for page, text in pages.items()}


if __name__ == "__main__":
    for page, text in generated(read()).items():
        (PAGES / page).write_text(text, encoding="utf-8")
