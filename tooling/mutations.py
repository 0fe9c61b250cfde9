"""Small faults in Python source, one at a time: what a test suite that notices nothing would let pass.

Our own rather than a library's: mutmut leaves out module constants, class attributes and so every bound of a pydantic model; cosmic-ray starts
a process a mutant and never returns an empty value. Here both kinds matter, and a mutant costs the tests alone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_COMPARED: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_LOGGED = {"debug", "info", "warning", "error", "exception", "log"}


@dataclass(frozen=True)
class Mutant:
    """One fault in one place."""

    line: int
    what: str
    """What was changed into what."""
    source: str
    """The whole module with it."""


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, from its first line to its last.

    Example:
        >>> [mutant.what for mutant in mutants_of("def twice(n: int) -> int:\\n    return 2 * n\\n")]
        ['return 2 * n → return None', '2 * n → 2 / n', '2 → 3']
    """
    tree = ast.parse(source)
    _Ignored().visit(tree)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.expr | ast.stmt) or getattr(node, "ignored", False):
                    continue
                for fault in _FAULTS.get(type(node), _none)(node):
                    replacement = ast.fix_missing_locations(ast.copy_location(fault, node))
                    put = {name: [*value[:index], replacement, *value[index + 1 :]] if isinstance(value, list) else replacement}
                    before = {name: value}
                    _set(parent, put)
                    yield Mutant(node.lineno, f"{_short(node)} → {_short(replacement)}", ast.unparse(tree))
                    _set(parent, before)


def _none(node: Any) -> Iterator[ast.AST]:
    yield from ()


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    if len(node.ops) == 1:
        for other in _COMPARED[type(node.ops[0])]:
            yield _with(node, ops=[other()])


def _calculation(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in _CALCULATED:
        yield _with(node, op=_CALCULATED[type(node.op)]())


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _negation(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not):
        yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool(value):
            yield ast.Constant(not value)
        case int(number):
            yield ast.Constant(number + 1)
        case float(number):
            yield ast.Constant(number * 6 if number else 1.0)
        case str(text):
            yield ast.Constant(f"{text}?")


def _answer(node: ast.Return) -> Iterator[ast.AST]:
    match node.value:
        case None | ast.Constant(value=None):
            return
        case ast.Dict(keys=[_, *_]):
            yield ast.Return(ast.Dict([], []))
        case _:
            yield ast.Return(ast.Constant(None))


def _condition(node: ast.If) -> Iterator[ast.AST]:
    if isinstance(node.test, ast.Call | ast.Name | ast.Attribute) and ast.unparse(node.test) != "TYPE_CHECKING":
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _left_out(node: ast.Raise | ast.Expr) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise) or isinstance(node.value, ast.Call | ast.Await):
        yield ast.Pass()


_FAULTS: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Compare: _compare,
    ast.BinOp: _calculation,
    ast.AugAssign: _calculation,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _negation,
    ast.Constant: _constant,
    ast.Return: _answer,
    ast.If: _condition,
    ast.Raise: _left_out,
    ast.Expr: _left_out,
}
"""Kind of node → what may stand in its place."""


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    _set(changed, fields)
    return changed


def _set(node: ast.AST, fields: Mapping[str, object]) -> None:
    for name, value in fields.items():
        setattr(node, name, value)


def _short(node: ast.AST) -> str:
    line = " ".join(ast.unparse(node).split())
    return line if len(line) <= 60 else f"{line[:57]}…"


class _Ignored(ast.NodeVisitor):
    """Marks what no test should have to notice: docstrings, words for people, types, what is logged."""

    def visit_Expr(self, node: ast.Expr) -> None:
        """Mark docstrings, and calls that only log."""
        logs = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute) and node.value.func.attr in _LOGGED
        if isinstance(node.value, ast.Constant) or logs:
            _mark(node)
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Mark the words of an error; that it is raised stays."""
        if node.exc is not None:
            _mark(node.exc)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Mark text with values in it."""
        _mark(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Mark the type of an argument."""
        if node.annotation is not None:
            _mark(node.annotation)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Mark the type that is returned, and decorators."""
        for ignored in (node.returns, *node.decorator_list):
            if ignored is not None:
                _mark(ignored)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Mark words in a type (`Literal`); numbers in one are bounds."""
        for part in ast.walk(node.annotation):
            if not (isinstance(part, ast.Constant) and isinstance(part.value, int | float)):
                part.ignored = True  # type: ignore[attr-defined]
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Mark `__all__` and the like."""
        if any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets):
            _mark(node)
        self.generic_visit(node)


def _mark(node: ast.AST) -> None:
    for part in ast.walk(node):
        part.ignored = True  # type: ignore[attr-defined]
