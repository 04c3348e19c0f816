"""A small part of Python, run by walking its syntax tree: what is not allowed here does not exist.

Nothing is compiled, no attribute is looked up, and every number, every list and the whole run have a largest size.
"""

from __future__ import annotations

import ast
import math
import operator
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chains.tools.bounds import MOST_BITS, OPERATORS, Refused, joined, number, shown, weight

T = TypeVar("T")

_DEEPEST = 60
_UNIT_BITS = 256

_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


@dataclass(frozen=True, slots=True)
class Language:
    """What may be written.

    Attributes:
        functions: by name, dotted ones such as ``math.sqrt`` included.
        constants: by name, in the same way.
        programs: whether there are statements, lists, comparisons and conditions, or numbers alone.
        steps: most steps of a run; long lists and large numbers count as many.
        seconds: longest run.
        longest: most characters of what is written.
    """

    functions: Mapping[str, Callable[..., Any]]
    constants: Mapping[str, Any]
    programs: bool
    steps: int
    seconds: float
    longest: int


def evaluate(source: str, language: Language) -> Any:
    """The value of *source*: of its last statement, where it may have several.

    Raises:
        Refused: it cannot be evaluated.
    """
    if len(source) > language.longest:
        raise Refused(f"Too long: {len(source)} characters, and at most {language.longest} are read")
    try:
        return _Run(language).value_of(_parsed(source, "exec" if language.programs else "eval"))
    except Refused:
        raise
    except ZeroDivisionError:
        raise Refused("Division by zero") from None
    except OverflowError:
        raise Refused("The result is too large") from None
    except RecursionError:
        raise Refused("Nested too deeply") from None
    # What the functions say of their arguments.
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        raise Refused(f"{type(error).__name__}: {error}"[:200]) from None


def _parsed(source: str, mode: str) -> ast.AST:
    try:
        return ast.parse(source.strip(), mode=mode)
    except SyntaxError as error:
        raise Refused(f"Not readable: {error.msg} near {(error.text or source).strip()!r:.80}") from None
    except (ValueError, MemoryError):
        raise Refused("Not readable") from None


@dataclass
class _Run:
    language: Language
    spent: int = 0
    depth: int = 0
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.language.seconds

    def value_of(self, node: ast.AST) -> Any:
        """The value of a node, checked; None for a statement that has none."""
        self._spend(1)
        method = getattr(self, f"on_{type(node).__name__.lower()}", None)
        if method is None or (not self.language.programs and type(node).__name__ not in _ARITHMETIC):
            raise Refused(f"Not possible here: {_written(node)}")
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                raise Refused("Nested too deeply")
            return method(node)
        finally:
            self.depth -= 1

    def _spend(self, steps: int) -> None:
        self.spent += steps
        if self.spent > self.language.steps or time.monotonic() > self.deadline:
            raise Refused("That takes too many steps")

    def _checked(self, value: T) -> T:
        """*value*, if it is of a kind and size that there may be."""
        if isinstance(value, bool | str | None):
            return value
        if isinstance(value, int):
            bits = value.bit_length()
            if bits > MOST_BITS:
                raise Refused("The result is too large")
            self._spend(bits // _UNIT_BITS)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise Refused("The result is too large, or no number")
        elif isinstance(value, complex):
            raise Refused("The result is no real number")
        elif isinstance(value, list | tuple | dict | set | range):
            self._spend(weight(value))
        else:
            raise Refused(f"There are no values of the kind {type(value).__name__} here")
        return value

    # Numbers

    def on_expression(self, node: ast.Expression) -> Any:
        return self.value_of(node.body)

    def on_constant(self, node: ast.Constant) -> Any:
        if not self.language.programs and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
            raise Refused(f"Not a number: {_written(node)}")
        if not isinstance(node.value, int | float | str | None):
            raise Refused(f"Not possible here: {_written(node)}")
        return self._checked(node.value)

    def on_name(self, node: ast.Name) -> Any:
        for known in (self.names, self.language.constants):
            if node.id in known:
                return known[node.id]
        raise Refused(f"There is no {node.id!r:.60} here")

    def on_attribute(self, node: ast.Attribute) -> Any:
        name = _dotted(node)
        if name in self.language.constants:
            return self.language.constants[name]
        raise Refused(f"There is no {name!r:.60} here")

    def on_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.value_of(node.operand)
        if isinstance(node.op, ast.Not) and self.language.programs:
            return not value
        if type(node.op) not in _UNARY:
            raise Refused(f"Not possible here: {_written(node)}")
        return _UNARY[type(node.op)](number(value))

    def on_binop(self, node: ast.BinOp) -> Any:
        return self._combined(node.op, self.value_of(node.left), self.value_of(node.right), node)

    def _combined(self, op: ast.operator, left: Any, right: Any, node: ast.AST) -> Any:
        if type(op) not in OPERATORS:
            raise Refused(f"Not possible here: {_written(node)}; powers are written **")
        if isinstance(left, list | tuple) or isinstance(right, list | tuple):
            return self._checked(joined(op, left, right))
        return self._checked(OPERATORS[type(op)](number(left), number(right)))

    def on_call(self, node: ast.Call) -> Any:
        name = _dotted(node.func)
        if name not in self.language.functions:
            raise Refused(f"There is no function {name!r:.60} here")
        arguments = [self.value_of(argument) for argument in node.args]
        named = {_keyword(one): self.value_of(one.value) for one in node.keywords}
        return self._checked(self.language.functions[name](*arguments, **named))

    # Programs

    def on_module(self, node: ast.Module) -> Any:
        return self._block(node.body)

    def _block(self, body: list[ast.stmt]) -> Any:
        value = None
        for statement in body:
            value = self.value_of(statement)
        return value

    def on_expr(self, node: ast.Expr) -> Any:
        return self.value_of(node.value)

    def on_assign(self, node: ast.Assign) -> Any:
        value = self.value_of(node.value)
        for target in node.targets:
            self._assign(target, value)
        return value

    def on_augassign(self, node: ast.AugAssign) -> Any:
        if not isinstance(node.target, ast.Name):
            raise Refused(f"Only names can be assigned to, not {_written(node.target)}")
        value = self._combined(node.op, self.on_name(node.target), self.value_of(node.value), node)
        self._assign(node.target, value)
        return value

    def _assign(self, target: ast.AST, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            for part, item in zip(target.elts, self._items(value), strict=True):
                self._assign(part, item)
        else:
            raise Refused(f"Only names can be assigned to, not {_written(target)}")

    def on_if(self, node: ast.If) -> Any:
        return self._block(node.body if self.value_of(node.test) else node.orelse)

    def on_for(self, node: ast.For) -> Any:
        _refuse_else(node)
        value = None
        for item in self._items(self.value_of(node.iter)):
            self._assign(node.target, item)
            value = self._block(node.body)
        return value

    def on_while(self, node: ast.While) -> Any:
        _refuse_else(node)
        value = None
        while self.value_of(node.test):
            value = self._block(node.body)
        return value

    def on_boolop(self, node: ast.BoolOp) -> Any:
        value = None
        for part in node.values:
            value = self.value_of(part)
            if bool(value) != isinstance(node.op, ast.And):
                break
        return value

    def on_compare(self, node: ast.Compare) -> Any:
        left = self.value_of(node.left)
        for op, part in zip(node.ops, node.comparators, strict=True):
            if type(op) not in _COMPARISONS:
                raise Refused(f"Not possible here: {_written(node)}")
            right = self.value_of(part)
            if not _COMPARISONS[type(op)](left, right):
                return False
            left = right
        return True

    def on_ifexp(self, node: ast.IfExp) -> Any:
        return self.value_of(node.body if self.value_of(node.test) else node.orelse)

    def on_list(self, node: ast.List) -> Any:
        return self._checked([self.value_of(item) for item in node.elts])

    def on_tuple(self, node: ast.Tuple) -> Any:
        return self._checked(tuple(self.value_of(item) for item in node.elts))

    def on_set(self, node: ast.Set) -> Any:
        return self._checked({self.value_of(item) for item in node.elts})

    def on_dict(self, node: ast.Dict) -> Any:
        pairs = zip(node.keys, node.values, strict=True)
        return self._checked({self.value_of(_key(key)): self.value_of(value) for key, value in pairs})

    def on_subscript(self, node: ast.Subscript) -> Any:
        holder = self.value_of(node.value)
        if not isinstance(holder, list | tuple | dict):
            raise Refused(f"Not a list: {_written(node.value)}")
        if isinstance(node.slice, ast.Slice):
            part: Any = node.slice
            bounds = [one and self.value_of(one) for one in (part.lower, part.upper, part.step)]
            return self._checked(holder[slice(*bounds)])
        return holder[self.value_of(node.slice)]

    def on_listcomp(self, node: ast.ListComp) -> Any:
        return self._checked([self.value_of(node.elt) for _ in self._bound(node.generators)])

    on_generatorexp = on_listcomp

    def on_setcomp(self, node: ast.SetComp) -> Any:
        return self._checked({self.value_of(node.elt) for _ in self._bound(node.generators)})

    def on_dictcomp(self, node: ast.DictComp) -> Any:
        bound = self._bound(node.generators)
        return self._checked({self.value_of(node.key): self.value_of(node.value) for _ in bound})

    def _bound(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Once for every set of values of a comprehension's names, which are gone afterwards."""
        outside = dict(self.names)
        yield from self._nested(generators)
        self.names = outside

    def _nested(self, generators: list[ast.comprehension]) -> Iterator[None]:
        if not generators:
            yield
            return
        first, *rest = generators
        for item in self._items(self.value_of(first.iter)):
            self._assign(first.target, item)
            if all(self.value_of(test) for test in first.ifs):
                yield from self._nested(rest)

    def _items(self, value: Any) -> Any:
        if not isinstance(value, list | tuple | dict | set | range):
            raise Refused(f"Not a list: {shown(value)}")
        return value


_ARITHMETIC = frozenset({"Expression", "Constant", "Name", "UnaryOp", "BinOp", "Call"})


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else _written(node)


def _refuse_else(node: ast.For | ast.While) -> None:
    if node.orelse:
        raise Refused("A loop has no else here")


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise Refused("Not possible here: **")
    return keyword.arg


def _key(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise Refused("Not possible here: **")
    return key


def _written(node: ast.AST) -> str:
    """*node* as it may have been written; never long."""
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError):
        text = ""
    return f"{text!r:.80}" if text else type(node).__name__
