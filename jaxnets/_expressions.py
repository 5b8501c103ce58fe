"""Ensembles and transfer functions as text in the notation of the Python API, which is read and never executed.

The command line and sweeps take such text. A new ensemble or transfer function can be written there as soon as its room
exports it; new syntax is one more case of `_Reader.value_of`.
"""

import ast
import inspect
import operator
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_NOTATION = "calls, numbers, strings, tuples, lists, `+`, `-`, and `*` and `/` by a number"
_NONE: Mapping[str, Any] = MappingProxyType({})


def vocabulary(module: ModuleType, base: type) -> dict[str, Callable]:
    """The final classes below `base` that `module` shows, by name, with their class methods: 'RandomModes.flat'."""
    words = {}
    for name, cls in vars(module).items():
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls):
            words[name] = cls
            methods = [method for method, value in vars(cls).items() if isinstance(value, classmethod)]
            words |= {f"{name}.{method}": getattr(cls, method) for method in methods if not method.startswith("_")}
    return words


def names_in(text: str) -> set[str]:
    """The names in `text` for which `evaluate` needs values: those it does not call. Empty if it is no expression."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except _UNREADABLE:
        return set()
    words = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    words |= {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in words}


class _Refused(ValueError):
    """What the notation or a constructor does not allow."""


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


# Under `jit`, a number that becomes an array there counts as traced. Then the checks of its value would be skipped, and
# quantities that depend on its value, such as the number of modes of a load, would be unknown. So the numbers in the
# text become arrays outside of the trace.


def _outside_of_traces(*operands: Any) -> AbstractContextManager:
    """Where nothing is traced, arrays are made at once."""
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(operands))
    return nullcontext() if traced else jax.ensure_compile_time_eval()


def _known(value: Any) -> Any:
    """A number that is not whole, as an array; whole ones may be asked for as they are."""
    if not isinstance(value, float):
        return value
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value, jnp.result_type(float))


def evaluate(
    text: str, words: Mapping[str, Callable], kind: type, option: str, values: Mapping[str, Any] = _NONE
) -> Any:
    """The object of class `kind` that `text` describes, as in "DeepHebbian(load=.8) + 0.5 * IID(g=1)".

    The text is never executed. Its syntax tree is walked, and may hold calls of `words`, names of `values` (which may
    be traced), numbers, strings, True, False, None, tuples, lists, unary minus, and the operations of numbers, `+ - *
    /`, and of terms, `+ -` and `*` and `/` by a number. Raises `ValueError`, naming `option`, for all else and for
    what the constructors refuse.
    """
    try:
        result = _Reader(words, kind, option, values).value_of(ast.parse(text.strip(), mode="eval").body)
    except _Refused:
        raise
    except _UNREADABLE as error:
        example = next(iter(words))
        raise ValueError(f"`{option}` must be an expression such as `{example}(...)`, got `{text}`") from error
    if not isinstance(result, kind):
        raise ValueError(f"`{option}` must be one of {', '.join(sorted(words))}, or made of them, got `{text}`")
    return result


class _Reader(NamedTuple):
    """Walks the syntax tree of one expression, whose terms are of one class `kind`."""

    words: Mapping[str, Callable]
    kind: type
    option: str
    values: Mapping[str, Any]

    def value_of(self, node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
                return value
            case ast.Name(id=name):
                return self._named(name)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return tuple(self.value_of(element) for element in elements)
            case ast.UnaryOp(op=ast.USub(), operand=operand) if self._is_term(value := self.value_of(operand)):
                return -value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                a, b = self.value_of(left), self.value_of(right)
                if self._is_term(a) and self._is_term(b) and _joins(op, _is_number(a), _is_number(b)):
                    return self._combined(node, op, a, b)
            case ast.Call(func=ast.Name() | ast.Attribute() as func, args=args, keywords=keywords):
                return self._call(node, func, [self.value_of(arg) for arg in args], keywords)
        raise self._refusal(node, f"is not part of the notation: {_NOTATION}")

    def _named(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        known = (
            f"known are {', '.join(sorted(self.values))}" if self.values else "a name must be called, or have a value"
        )
        raise _Refused(f"`{self.option}`: unknown name `{name}`; {known}")

    def _is_term(self, value: Any) -> bool:
        return isinstance(value, self.kind) or _is_number(value)

    def _combined(self, node: ast.AST, op: ast.operator, a: Any, b: Any) -> Any:
        try:
            with _outside_of_traces(a, b):
                if isinstance(op, ast.Div) and not _is_number(a):
                    return (1 / b) * a
                return _OPERATIONS[type(op)](a, b)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise self._refusal(node, f"is refused: {error}") from error

    def _call(self, node: ast.AST, func: ast.AST, args: list[Any], keywords: list[ast.keyword]) -> Any:
        name = ast.unparse(func)
        if name not in self.words:
            raise _Refused(f"`{self.option}`: unknown name `{name}`; known are {', '.join(sorted(self.words))}")
        named = {keyword.arg: self.value_of(keyword.value) for keyword in keywords if keyword.arg is not None}
        if len(named) < len(keywords):
            raise self._refusal(node, "must give each argument its own name")
        word = self.words[name]
        try:
            inspect.signature(word).bind(*args, **named)
            args, named = jax.tree.map(_known, (args, named))
            with _outside_of_traces(args, named):
                return word(*args, **named)
        except (TypeError, ValueError) as error:
            raise self._refusal(node, f"is refused: {error}") from error

    def _refusal(self, node: ast.AST, why: str) -> _Refused:
        return _Refused(f"`{self.option}`: `{ast.unparse(node)}` {why}")


def _is_number(value: Any) -> bool:
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return value.ndim == 0 and np.issubdtype(value.dtype, np.number) and not np.iscomplexobj(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _joins(op: ast.operator, left: bool, right: bool) -> bool:
    """Whether `op` joins two operands that are numbers or, if not, terms."""
    match op:
        case ast.Add() | ast.Sub():
            return left == right
        case ast.Mult():
            return left or right
    return right
