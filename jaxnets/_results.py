"""How results speak: `print(result)` shows numbers, `result.to_xarray()` gives a dataset with named axes.

What a solver returns is a `Result`: an `equinox.Module` whose class line says what its axes mean,

    class Stationary(Result, axes={"T": "lags"}, units={"lags": "tau"}):
        lags: Float[Array, " T"]
        c_x: Float[Array, " T"]

The shapes are read from the annotations of the fields, so a new field needs no declaration. `axes` maps a letter of
these annotations to the field that holds the coordinates along it, or else to a name for the dimension. `units` gives
the unit of a field. `batch` maps a field that holds a whole batch of results to the letter of its leading axis.

Inheritance rather than a class decorator: type checkers see `to_xarray`, and `isinstance(x, Result)` says whether x
speaks. Class keywords rather than class attributes: fields may be called `axes`, `units` or `batch` themselves.

Ensembles, operators and networks take `one_line` as their `__repr__`. This module knows no room and no physics.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import AbstractArray, ArrayLike

if TYPE_CHECKING:
    import xarray

_MOST_LINES = 20  # of a printed result: it fits on a screen beside the call that made it
_WIDTH = 100  # columns of a line of scalars
_FIRST = 4  # values of an array that are shown
_LARGE = 10**6  # elements; larger arrays are searched for their range on their own device
_DEPTH = 2  # results within results that are shown in full


class Result(eqx.Module):
    """What a solver found, with a text that shows its numbers and a dataset with named axes."""

    _axes: ClassVar[Mapping[str, str]] = {}
    _units: ClassVar[Mapping[str, str]] = {}
    _batch: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(
        cls,
        axes: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        batch: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init_subclass__(**kwargs)
        # A subclass adds to what its bases declare.
        cls._axes = {**cls._axes, **(axes or {})}
        cls._units = {**cls._units, **(units or {})}
        cls._batch = {**cls._batch, **(batch or {})}

    def __repr__(self) -> str:
        lines = list(_lines(self, 0))
        if len(lines) > _MOST_LINES:
            left = len(lines) - _MOST_LINES + 1
            lines = [*lines[: _MOST_LINES - 1], f"  ... and {left} lines more"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return repr(self)

    def to_xarray(self, **coordinates: ArrayLike) -> "xarray.Dataset":
        r"""The fields as an `xarray.Dataset`, whose dimensions have the coordinates and units that the result knows.

        A result that was vmapped has batch axes in front. They are named, outermost first, by `coordinates`, as in
        `jax.vmap(solve)(gs).to_xarray(g=gs)`; without any they are called batch, or batch_0, batch_1, ... A dimension
        is called by the field with its coordinates. Where that field differs along a batch, the dimension keeps the
        letter of the annotations and the field is a coordinate with batch axes. Fields of a result within the result
        have names with a dot. Text and numbers that are no arrays, ensembles and functions become attributes.

        Raises:
            ValueError: for traced arrays, which have no values yet, and for coordinates that do not fit the batch.
        """
        return _Dataset(self, dict(coordinates)).made()


# --- text


def one_line(self: Any) -> str:
    """`IID(g=1.5)`: the class and its fields, numbers as numbers, arrays by shape; meant as a `__repr__`."""
    shown = (f"{name}={_inline(value)}" for name, value in _fields(self) if value is not None)
    return f"{type(self).__name__}({', '.join(shown)})"


def _fields(thing: Any) -> list[tuple[str, Any]]:
    return [(f.name, getattr(thing, f.name, None)) for f in dataclasses.fields(thing) if f.name[0] != "_"]


def _lines(result: Any, depth: int) -> Iterator[str]:
    """A head with `converged` and `residual`, then scalars side by side and a line for each array."""
    fields = dict(_fields(result))
    ends = [_entry(name, fields.pop(name)) for name in ("converged", "residual") if fields.get(name) is not None]
    yield type(result).__name__ + (f": {', '.join(ends)}" if ends else "")
    row = ""
    for name, value in list(fields.items()):
        if name not in fields or value is None:
            continue
        if isinstance(value, Result) and depth < _DEPTH:
            entry, *rest = _lines(value, depth + 1)
            entry = f"{name}: {entry}"
        elif isinstance(value, tuple) and value and isinstance(value[0], Result) and depth < _DEPTH:
            entry, rest = f"{name}: {len(value)} in all", [f"  {_clipped(inner, depth + 1)}" for inner in value]
        else:
            entry, rest = _entry(name, value), []
            error = next((e for e in (f"{name}_error", "error" * (name == "value")) if e in fields), None)
            if error and _is_number(value) and _is_number(fields[error]):
                entry += f" +- {_text(fields.pop(error))}"
        alone = not _is_number(value)
        if row and (alone or len(row) + len(entry) > _WIDTH):
            yield f"  {row}"
            row = ""
        if alone:
            yield f"  {entry}"
            yield from (f"  {line}" for line in rest)
        else:
            row = f"{row}, {entry}" if row else entry
    if row:
        yield f"  {row}"


def _clipped(result: Result, depth: int) -> str:
    """As much of a result as fits in one line."""
    return _cut(", ".join(line.strip() for line in _lines(result, depth)))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _entry(name: str, value: Any) -> str:
    return f"{name} = {_text(value)}"


def _text(value: Any) -> str:
    """A value in one line; never raises, for a result is printed most when something went wrong."""
    try:
        if _is_array(value):
            return _array_text(value)
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, (tuple, list)):
            shown = [_inline(inner) for inner in value[:_FIRST]] + ["..."] * (len(value) > _FIRST)
            return f"({', '.join(shown)})" + f", {len(value)} in all" * (len(value) > _FIRST)
        return _inline(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _inline(value: Any) -> str:
    """A value within a line of others: a number, a name, or the shape of an array."""
    if _is_array(value):
        known = isinstance(value, (jax.Array, np.ndarray)) and not isinstance(value, Tracer)
        if known and value.ndim == 1 and value.size <= _FIRST:
            return f"[{', '.join(map(_number, np.asarray(value).tolist()))}]"
        return _array_text(value) if value.shape == () else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, (float, complex)):
        return _number(value)
    if isinstance(value, (tuple, list)) and len(value) <= _FIRST:
        return f"({', '.join(map(_inline, value))})"
    if isinstance(value, (tuple, list, dict)):
        return f"{len(value)} entries"
    if isinstance(value, Result):
        return type(value).__name__
    if isinstance(value, eqx.Module):
        own = type(value).__repr__ is not eqx.Module.__repr__
        return _cut(repr(value) if own else one_line(value))
    return getattr(value, "__name__", None) or str(value)


def _is_array(value: Any) -> bool:
    # Operators have a shape and a dtype too.
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, eqx.Module)


def _is_number(value: Any) -> bool:
    return getattr(value, "shape", None) == () or isinstance(value, (bool, int, float, complex))


def _array_text(value: Any) -> str:
    if isinstance(value, Tracer) or not isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return f"{value.dtype}{list(value.shape)}, traced" if value.shape else f"{value.dtype}, traced"
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return f"{value.dtype}{list(value.shape)}"
    if value.shape == ():
        return _number(np.asarray(value).item())
    if value.size == 0:
        return f"{tuple(value.shape)} empty"
    # Slices along the first axis of a large array stay on its device.
    first = np.asarray(value[(0,) * (value.ndim - 1)][:_FIRST])  # pyright: ignore[reportIndexIssue]
    shown = ", ".join(map(_number, first.tolist())) + ", ..." * (value.size > first.size)
    return f"{tuple(value.shape)} {_range(value)}: {shown}"


def _range(value: Any) -> str:
    on = jnp if isinstance(value, jax.Array) and value.size > _LARGE else np
    value = on.asarray(value)
    if value.dtype == bool:
        return f"{int(on.sum(value))} true"
    if value.dtype.kind not in "iufc":
        return str(value.dtype)
    size = on.abs(value) if value.dtype.kind == "c" else value
    bad = int(on.sum(~on.isfinite(size)))
    note = f" ({bad} not finite)" if bad else ""
    if bad == size.size:
        return f"none finite of {bad}"
    low = on.min(on.where(on.isfinite(size), size, on.inf)) if bad else on.min(size)
    high = on.max(on.where(on.isfinite(size), size, -on.inf)) if bad else on.max(size)
    sign = "|.| " if value.dtype.kind == "c" else ""
    return f"{sign}{_number(low.item())} to {_number(high.item())}{note}"


def _number(value: Any) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, complex):
        sign = "-" if math.copysign(1, value.imag) < 0 else "+"
        return f"{value.real:.6g}{sign}{abs(value.imag):.6g}j"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# --- datasets


class _Dataset:
    """A dataset while it is made of the fields of one result."""

    def __init__(self, result: Result, coordinates: dict[str, Any], leading: tuple[str, ...] = ()):
        self.result = result
        self.values = {name: value for name, value in _fields(result) if value is not None}
        self.shapes = {f.name: _letters(f.type) for f in dataclasses.fields(result)}
        for name, value in self.values.items():
            if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
                raise ValueError(f"a result can become a dataset outside of `jit` and `vmap` only, got traced `{name}`")
        self.coordinates = coordinates
        self.batch = (*coordinates,) or leading
        self.num_batch = self._count_batch_axes()
        self.sizes: dict[str, int] = {}
        self.variables: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}

    def _count_batch_axes(self) -> int:
        """How many axes are in front of the annotated ones, as fields tell whose number of axes is fixed."""
        extra = []
        for name, value in self.values.items():
            letters = self.shapes[name]
            if letters is not None and not any(map(_is_variadic, letters)):
                extra.append(np.ndim(value) - len(letters))
        return max(extra, default=len(self.batch))

    def made(self) -> "xarray.Dataset":
        import xarray  # here alone: it costs a start that theory does not need

        kind = type(self.result)
        for name, value in self.values.items():
            letter = kind._batch.get(name)
            along = self._leading(self.num_batch) + ((kind._axes.get(letter, letter),) if letter else ())
            self._add(name, value, self.shapes[name], along)
        for name, along in self.coordinates.items():
            along = np.asarray(along)
            if along.shape != (self.sizes.get(name, along.size),):
                raise ValueError(
                    f"`{name}` must have shape ({self.sizes.get(name)},), as the batch has, got {along.shape}"
                )
            self.variables[name] = xarray.Variable((name,), along)
        coords = {*kind._axes.values(), *self.coordinates} & set(self.variables)
        coords |= {name for name, variable in self.variables.items() if variable.dims == (name,)}
        data = {name: variable for name, variable in self.variables.items() if name not in coords}
        return xarray.Dataset(data, {name: self.variables[name] for name in coords}, self.attributes)

    def _add(self, name: str, value: Any, letters: list[str] | None, leading: tuple[str, ...]) -> None:
        if isinstance(value, Result):
            inner = _Dataset(value, {}, leading).made()
            inner = inner.rename({d: f"{name}.{d}" for d in {*inner.dims, *inner.variables} - {*leading}})
            self.variables |= {str(key): inner.variables[key] for key in inner.variables}
            self.attributes |= {f"{name}.{key}": text for key, text in inner.attrs.items()}
        elif _is_array(value) or (letters == [] and isinstance(value, (bool, int, float, complex))):
            self._add_array(name, np.asarray(value), letters)
        elif isinstance(value, (str, bool, int, float)):
            self.attributes[name] = value
        elif isinstance(value, tuple) and all(isinstance(entry, (str, bool, int, float)) for entry in value):
            self.attributes[name] = list(value)
        else:
            self.attributes[name] = _text(value)
            for key, inner in _entries(value):
                self._add(f"{name}.{key}", inner, None, leading)

    def _add_array(self, name: str, array: np.ndarray, letters: list[str] | None) -> None:
        import xarray

        dims = self._dims(name, array, letters)
        if name in dims and dims != (name,):  # coordinates that are the same all over the batch
            array, dims = array.reshape(-1, array.shape[-1])[0], (name,)
        unit = type(self.result)._units.get(name)
        self.variables[name] = xarray.Variable(dims, array, {"units": unit} if unit else None)

    def _leading(self, count: int) -> tuple[str, ...]:
        if self.batch:
            if count > len(self.batch) or (self.coordinates and self.num_batch and self.num_batch != len(self.batch)):
                raise ValueError(f"the result has {count} batch axes, got coordinates for {list(self.batch)}")
            return self.batch[len(self.batch) - count :] if count else ()
        return ("batch",) if count == 1 else tuple(f"batch_{k}" for k in range(count))

    def _dims(self, name: str, array: np.ndarray, letters: list[str] | None) -> tuple[str, ...]:
        """A name for each axis: batch axes first, then the annotated ones."""
        if letters is None:
            front = self.num_batch if array.ndim >= self.num_batch else 0
            letters = [f"{name}_{k}" for k in range(array.ndim - front)]
        free = array.ndim - sum(not _is_variadic(letter) for letter in letters)
        if free < 0:
            return tuple(f"{name}_{k}" for k in range(array.ndim))
        variadic = next((letter.strip("*#.") for letter in letters if _is_variadic(letter)), None)
        if variadic == "batch" and _is_variadic(letters[0]):
            front, inner = 0, self._leading(free)
        else:
            front = min(free, self.num_batch) if variadic is not None else free
            called = type(self.result)._axes.get(str(variadic), variadic or "axis")
            inner = tuple(f"{called}_{k}" if free - front > 1 else called for k in range(free - front))
        names = [*self._leading(front)]
        for letter in letters:
            if _is_variadic(letter):
                names += inner
            else:
                names.append(self._dimension(letter.strip("#"), name, len(names)))
        for k, (dim, size) in enumerate(zip(names, array.shape, strict=True)):
            if dim in names[:k]:
                dim = f"{dim}_2"
            names[k] = dim if self.sizes.setdefault(dim, size) == size else f"{name}_{dim}"
        return tuple(names)

    def _dimension(self, letter: str, name: str, position: int) -> str:
        """The dimension of an annotated axis: the field of its coordinates, if these are one row, or its letter."""
        if letter.isdecimal() or letter == "_":
            return f"{name}_{position}"
        called = type(self.result)._axes.get(letter, letter)
        if called not in self.values:
            return called
        if (self.shapes[called] or [""])[-1] == letter:
            along = np.asarray(self.values[called])
            rows = along.reshape(-1, along.shape[-1]) if along.size else along.reshape(0, 0)
            if (rows == rows[:1]).all():
                return called
        return letter if letter not in self.values else f"{letter}_index"


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """The results and arrays in a tree of other things, with the way to each."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(value, is_leaf=lambda leaf: isinstance(leaf, Result)):
        if isinstance(leaf, Result) or _is_array(leaf):
            yield (
                ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path),
                leaf,
            )


def _is_variadic(letter: str) -> bool:
    return letter.startswith("*") or letter == "..."


def _letters(annotation: Any) -> list[str] | None:
    """The axes that an annotation names, [] of a scalar; None where it names no array."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [_letters(part) for part in typing.get_args(annotation) if part is not type(None)]
        return next((letters for letters in found if letters is not None), None)
    if annotation in (bool, int, float, complex):
        return []
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return annotation.dim_str.split()
    return None
