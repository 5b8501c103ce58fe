"""What `dir()` and `help()` show of a room: its public names, and types as they are written in the source.

The last line of a room is `__dir__ = public(__name__)`. A new room needs the same line.
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from typing import Any


def public(module: str) -> Callable[[], list[str]]:
    """The `__dir__` of a module, whose functions and classes get short signatures on the way.

    Its names are those of `__all__`, or else whatever it defines itself without an underscore, and its constants.
    """
    found = vars(sys.modules[module])
    names = found.get("__all__") or [name for name, thing in found.items() if _is_own(module, name, thing)]
    for name in names:
        thing = found[name]
        if getattr(thing, "__module__", "").startswith(f"{__package__}."):
            for function in vars(thing).values() if isinstance(thing, type) else [thing]:
                if isinstance(function, types.FunctionType):
                    function.__signature__ = _Later(function)
    return lambda: sorted(names)


def _is_own(module: str, name: str, thing: Any) -> bool:
    return name[0] != "_" and (name.isupper() or getattr(thing, "__module__", None) == module)


class _Later(inspect.Signature):
    """A signature that is shortened when somebody looks at it: to do it for all would double the time of an import."""

    __slots__ = ("_function",)

    def __init__(self, function: types.FunctionType):
        self._function = function

    def _shortened(self) -> inspect.Signature:
        # While the attribute is away, Python reads the signature from the function itself.
        if getattr(self._function, "__signature__", None) is self:
            del self._function.__signature__
            full = inspect.signature(self._function)
            parameters = [p.replace(annotation=_Short.of(p.annotation)) for p in full.parameters.values()]
            short = full.replace(parameters=parameters, return_annotation=_Short.of(full.return_annotation))
            self._function.__signature__ = short
        return self._function.__signature__

    @property
    def parameters(self):
        return self._shortened().parameters

    @property
    def return_annotation(self):
        return self._shortened().return_annotation

    def replace(self, **changes: Any) -> inspect.Signature:
        return self._shortened().replace(**changes)


class _Short(str):
    """An annotation that prints without the modules of its types: `Float[Array, 'n n'] | None`."""

    __repr__ = str.__str__

    @classmethod
    def of(cls, annotation: Any) -> Any:
        return annotation if annotation is inspect.Parameter.empty else cls(_text(annotation))


def _text(kind: Any) -> str:
    if kind is type(None):
        return "None"
    if kind is Ellipsis:
        return "..."
    if isinstance(kind, list):  # the arguments of a Callable
        return f"[{', '.join(map(_text, kind))}]"
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        # An ArrayLike has become a union of arrays of both libraries and of numbers.
        return _ARRAY_LIKE.sub(r"\1[ArrayLike, \2]", " | ".join(map(_text, inner)))
    if inner:
        return f"{_text(origin)}[{', '.join(map(_text, inner))}]"
    return re.sub(r"\bndarray", "np.ndarray", _MODULES.sub("", str(getattr(kind, "__name__", kind))))


_MODULES = re.compile(r"(?:\b[A-Za-z_]\w*\.)+(?=[A-Za-z_])")
_ARRAY_LIKE = re.compile(
    r"(\w+)\[Array, ('[^']*')\] \| \1\[np\.ndarray, \2\](?: \| (?:number|bool|int|float|complex)\b)*"
)
