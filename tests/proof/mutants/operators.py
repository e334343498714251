"""Mutants of a module: each condition, comparison, sum, limit and number of its functions is changed once."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["Mutant", "functions_in", "mutants_of", "mutated_code"]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}


class Mutant(NamedTuple):
    """A change of one function, or of one constant.

    Attributes:
        line: The line of the change.
        function: The function's qualified name; the constant's name in a module's body.
        change: What is changed into what.
        number: The change's number within the module.
        is_constant: Whether it is a constant of the module.
    """

    line: int
    function: str
    change: str
    number: int
    is_constant: bool


class _Mutator(ast.NodeTransformer):
    """Numbers the possible changes of a module, and makes the one that is wanted."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted = wanted
        self.found: list[Mutant] = []
        self._scope: list[str] = []
        self._constant: str | None = None
        self._depth_of_functions = 0

    def _is_wanted(self, node: ast.AST, change: str) -> bool:
        """Note a possible change; return whether it is to be made."""
        if not self._depth_of_functions and self._constant is None:
            return False
        number = len(self.found)
        name = self._constant if not self._depth_of_functions else ".".join(self._scope)
        line = getattr(node, "lineno", 0)
        self.found.append(Mutant(line, name or "", change, number, is_constant=not self._depth_of_functions))
        return number == self.wanted

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self._scope.append(node.name)
        self._depth_of_functions += 1
        node.body = [self.visit(statement) for statement in node.body]
        self._depth_of_functions -= 1
        self._scope.pop()
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._scope.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._scope.pop()
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        target = node.targets[0]
        is_constant = not self._scope and isinstance(target, ast.Name) and target.id.isupper()
        if is_constant and isinstance(target, ast.Name) and _is_number(node.value):
            self._constant = target.id
            if self._is_wanted(node, f"{target.id} doubled"):
                node.value = ast.BinOp(node.value, ast.Mult(), ast.Constant(2))
            self._constant = None
            return node
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node  # the texts of errors, and what they show

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for index, operator in enumerate(node.ops):
            other = COMPARISONS[type(operator)]
            if self._is_wanted(node, f"{type(operator).__name__} to {other.__name__} in {ast.unparse(node)}"):
                node.ops[index] = other()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        if self._is_wanted(node, f"{type(node.op).__name__} to {other.__name__} in {ast.unparse(node)}"):
            node.op = other()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and self._is_wanted(node, f"without not in {ast.unparse(node)}"):
            return node.operand
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = ARITHMETIC.get(type(node.op))
        is_text = any(isinstance(side, (ast.JoinedStr, ast.List)) or _is_text(side) for side in (node.left, node.right))
        if other is None or is_text:
            return node
        if self._is_wanted(node, f"{type(node.op).__name__} to {other.__name__} in {ast.unparse(node)}"):
            node.op = other()
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and self._is_wanted(node, f"{value!r} to a number more"):
            return ast.BinOp(node, ast.Add(), ast.Constant(1))
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        other = CALLS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if other and self._is_wanted(node, f"{ast.unparse(node.func)} to {other} in {ast.unparse(node)}"):
            node.func = ast.Name(other, ast.Load())
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        node.test = self._negated(node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        node.test = self._negated(node.test)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.test = self._negated(node.test)
        return node

    def _negated(self, test: ast.expr) -> ast.expr:
        """Negate a condition that no other change covers."""
        if isinstance(test, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)):
            return test
        return ast.UnaryOp(ast.Not(), test) if self._is_wanted(test, f"not {ast.unparse(test)}") else test


def _is_number(value: ast.expr) -> bool:
    """Return whether an expression is a number or a duration."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "timedelta"
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, (str, bytes))


def mutants_of(source: str) -> list[Mutant]:
    """Return all changes of a module."""
    mutator = _Mutator()
    mutator.visit(ast.parse(source))
    return mutator.found


def mutated_code(source: str, mutant: Mutant, path: str) -> CodeType:
    """Return a module's code with one change."""
    tree = _Mutator(mutant.number).visit(ast.parse(source))
    return compile(ast.fix_missing_locations(tree), path, "exec")


def functions_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a module's functions, also of those in classes and in other functions."""
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield constant
            yield from functions_in(constant)
