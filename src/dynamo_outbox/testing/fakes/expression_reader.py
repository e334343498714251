"""Common parts of all DynamoDB expressions: tokens, placeholders, document paths.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.Attributes.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ExpressionAttributeNames.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .client import invalid
from .reserved_words import RESERVED_WORDS
from .values import normalised

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExpressionReader", "Path", "Placeholders", "Value"]

MAX_BYTES = 4096
"""The maximum length of an expression."""

_TOKENS = re.compile(
    r"\s+|(?P<token>#[A-Za-z0-9_]+|:[A-Za-z0-9_]+|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|<>|<=|>=|[=<>()\[\],.+-])|(?P<bad>.)",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = {"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE"}


class Path(NamedTuple):
    """A document path: names and list indices."""

    steps: tuple[str | int, ...]


class Value(NamedTuple):
    """A value of ExpressionAttributeValues."""

    typed: dict[str, Any]


class Placeholders:
    """The placeholders of a request or of one action of a transaction, and which of them were used."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        for parameter in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            if parameter in request and not request[parameter]:
                raise invalid(f"{parameter} must not be empty")
        self.names: Mapping[str, str] = request.get("ExpressionAttributeNames", {})
        given: Mapping[str, Any] = request.get("ExpressionAttributeValues", {})
        for prefix, placeholders in (("#", self.names), (":", given)):
            for placeholder in placeholders:
                if re.fullmatch(prefix + "[A-Za-z0-9_]+", placeholder) is None:
                    raise invalid(f'Invalid key: Syntax error; key: "{placeholder}"')
        self.values = {placeholder: normalised(typed) for placeholder, typed in given.items()}
        self._used: set[str] = set()

    def name(self, placeholder: str) -> str:
        """Return the attribute name of a ``#placeholder``."""
        if placeholder not in self.names:
            raise invalid(
                f"An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
            )
        self._used.add(placeholder)
        return self.names[placeholder]

    def value(self, placeholder: str) -> Value:
        """Return the value of a ``:placeholder``."""
        if placeholder not in self.values:
            raise invalid(
                f"An expression attribute value used in expression is not defined; attribute value: {placeholder}"
            )
        self._used.add(placeholder)
        return Value(self.values[placeholder])

    def check_all_used(self) -> None:
        """Refuse placeholders that no expression used; call this after parsing all expressions."""
        for parameter, placeholders in (("Names", self.names), ("Values", self.values)):
            unused = sorted(placeholders.keys() - self._used)
            if unused:
                raise invalid(
                    f"Value provided in ExpressionAttribute{parameter} unused in expressions: "
                    f"keys: {{{', '.join(unused)}}}"
                )


class ExpressionReader:
    """Reads an expression's tokens, paths and values."""

    def __init__(self, kind: str, text: str, placeholders: Placeholders) -> None:
        self.kind = kind
        self._text = text
        self._placeholders = placeholders
        if not text.strip():
            self.refuse("The expression can not be empty;")
        if len(text.encode()) > MAX_BYTES:
            raise invalid(f"Expression size has exceeded the maximum allowed size; expression size: {len(text)}")
        matches = list(_TOKENS.finditer(text))
        for match in matches:
            if match["bad"]:
                self._syntax_error(match["bad"])
        self._tokens = [match["token"] for match in matches if match["token"]]
        self._at = 0

    def refuse(self, problem: str) -> NoReturn:
        raise invalid(f"Invalid {self.kind}: {problem}")

    def _syntax_error(self, token: str) -> NoReturn:
        self.refuse(f'Syntax error; token: "{token}", near: "{self._text[:40]}"')

    @property
    def at_end(self) -> bool:
        return self._at == len(self._tokens)

    def peek(self, ahead: int = 0) -> str:
        """Return the next token, a keyword in upper case; an empty text at the end."""
        position = self._at + ahead
        token = self._tokens[position] if position < len(self._tokens) else ""
        return token.upper() if token.upper() in _KEYWORDS else token

    def take(self) -> str:
        token = self.peek()
        if not token:
            self._syntax_error("<EOF>")
        self._at += 1
        return token

    def expect(self, wanted: str) -> None:
        if self.peek() != wanted:
            self.unexpected()
        self.take()

    def unexpected(self) -> NoReturn:
        self._syntax_error(self.peek() or "<EOF>")

    def accept(self, wanted: str) -> bool:
        """Take the next token if it is `wanted`; return whether it was."""
        if self.peek() != wanted:
            return False
        self.take()
        return True

    def calls_function(self) -> bool:
        """Return whether a function call comes next."""
        return _WORD.fullmatch(self.peek()) is not None and self.peek() not in _KEYWORDS and self.peek(1) == "("

    def path(self) -> Path:
        steps: list[str | int] = [self._name()]
        while True:
            if self.accept("."):
                steps.append(self._name())
            elif self.accept("["):
                index = self.take()
                if not index.isdigit():
                    self._syntax_error(index)
                steps.append(int(index))
                self.expect("]")
            else:
                return Path(tuple(steps))

    def _name(self) -> str:
        token = self.peek()
        if token.startswith("#"):
            return self._placeholders.name(self.take())
        if _WORD.fullmatch(token) is None:
            self.unexpected()
        if token.upper() in RESERVED_WORDS:
            self.refuse(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return self.take()

    def value_or_path(self) -> Value | Path:
        return self._placeholders.value(self.take()) if self.peek().startswith(":") else self.path()
