"""The description of a sweep: a function, a grid, realisations and an output, as a dataclass and as TOML.

A `Sweep` checks, when it is made, all that can be checked without importing the function. The values of points are
computed from their indices, so that a grid takes no more memory than its axes.
"""

import difflib
import hashlib
import json
import keyword
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .._arguments import require_whole

MAX_POINTS = 10**9  # the whole sweep; a global index must also fit 32 bits
MAX_AXIS = 10**7
MAX_FILE = 2**24
MAX_COMBINATIONS = 1000  # of static values, each compiled for itself
RESULT_NAME = r"\w[\w.]*"
RESERVED = {"key", "realisation", "status"}

_RULES: dict[str, Callable[[float, float, int], np.ndarray]] = {"linspace": np.linspace, "logspace": np.geomspace}


@dataclass(frozen=True)
class Sweep:
    """A function evaluated at every point of a grid, times realisations.

    `function` is "module:name" of a function of one point that JAX can trace: f(**point, **static, **fixed, key=key)
    with scalars of the axes, returning an array, or a dict, tuple, dataclass or module of arrays. It gets a `key` only
    if it has a parameter of that name.

    - `axes`: name -> a list of numbers, {"linspace": [a, b, num]}, {"logspace": [a, b, num]} (from a to b, both
      included, evenly spaced in the logarithm), or {"zip": {name: list or rule, ...}} for parameters that move together
      along one axis. They reach the function as floating-point scalars of the sweep's precision.
    - `static`: as `axes`, but the values (numbers, strings, lists) reach the function as they are, and may change
      shapes, such as n: each combination is compiled once.
    - `fixed`: arguments that stay: numbers, strings, true or false, and lists of them, which arrive as tuples.
    - `realisations`: how often each point is repeated with another key.
    - `batch`: points in one vmapped call, and `chunk`: points in one file; rounded up to powers of two, so that a file
      holds whole calls or a call whole files; chosen by a probe if None.
    - `output`: a folder below the current one.

    The key of a point depends on the seed, on its values along all axes and on its realisation, but not on the other
    points: a sweep may be extended by values or realisations, and what was computed stays as it is.

    Raises `ValueError`, naming the field, for whatever cannot be run.
    """

    function: str
    axes: Mapping[str, Any] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    realisations: int = 1
    seed: int = 0
    precision: str = "float64"
    batch: int | None = None
    chunk: int | None = None
    output: str | None = None

    def __post_init__(self):
        if not isinstance(self.function, str) or not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", self.function):
            raise ValueError(f'`function` must be "module:name", got {self.function!r}')
        for name in ("axes", "static", "fixed"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"`{name}` must be a table of names, got {getattr(self, name)!r}")
        seen: set[str] = set()
        canonical = {
            "axes": {name: _axis(f"axes.{name}", name, spec, _number, seen) for name, spec in self.axes.items()},
            "static": {
                name: _axis(f"static.{name}", name, spec, _constant, seen) for name, spec in self.static.items()
            },
            "fixed": {name: _fixed(f"fixed.{name}", name, value, seen) for name, value in self.fixed.items()},
        }
        for name, value in canonical.items():
            object.__setattr__(self, name, value)
        for name, least in (("realisations", 1), ("seed", 0), ("batch", 1), ("chunk", 1)):
            value = getattr(self, name)
            if name in ("batch", "chunk") and value is None:
                continue
            require_whole(name, value, least)
            object.__setattr__(self, name, int(value))
        if self.seed >= 2**32:
            raise ValueError(f"`seed` must be below 2^32 = {2**32}, got {self.seed}")
        if self.precision not in ("float64", "float32"):
            raise ValueError(f'`precision` must be "float64" or "float32", got {self.precision!r}')
        for name in ("batch", "chunk"):
            value = getattr(self, name)
            if value is None:
                continue
            if value > MAX_FILE:
                raise ValueError(f"`{name}` must be a whole number up to {MAX_FILE}, got {_short(value)}")
            object.__setattr__(self, name, 1 << (value - 1).bit_length())
        if self.output is not None:
            _require_below("output", self.output)
        _require_size(self.grid)

    @cached_property
    def grid(self) -> "Grid":
        """All points: static axes, axes and realisations, with their values."""
        return Grid(expanded(self.static), expanded(self.axes), range(self.realisations))

    def configuration(self) -> dict[str, Any]:
        """All fields on which results depend, as plain JSON: neither the output nor the sizes of calls and files."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("batch", "chunk", "output")}


def to_text(sweep: Sweep) -> str:
    """The configuration as JSON, from which `from_text` makes the same sweep in another process."""
    return json.dumps(sweep.configuration())


def from_text(text: str) -> Sweep:
    return Sweep(**json.loads(text))


def read(path: str | Path) -> Sweep:
    """The sweep of the TOML file at `path`.

    Raises `ValueError` when it is no TOML, or not the description of a sweep; `OSError` when it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"`path` must be a text file in UTF-8, got {path}: {error}") from None
    return parse(text)


def parse(text: str) -> Sweep:
    """The sweep that a text in TOML describes: the fields of `Sweep`, with tables [axes], [static] and [fixed].

    Raises `ValueError` when it is no TOML, or not the description of a sweep.
    """
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))  # a byte-order mark, as editors on Windows write it
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"`text` must be TOML: {error}") from None
    known = [f.name for f in fields(Sweep)]
    for name in table:
        if name not in known:
            raise ValueError(f"`{name}` is no field of a sweep{nearest(name, known)}")
    if "function" not in table:
        raise ValueError('`function` is missing: "module:name"')
    return Sweep(**table)


def nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f": did you mean `{close[0]}`?" if close else f"; there are {', '.join(known)}"


# --- the grid


@dataclass(frozen=True)
class Axis:
    """One dimension of the grid, and the values along it of the parameters that it moves."""

    name: str
    values: dict[str, Any]  # a vector of numbers, or for a static axis a list

    def __len__(self):
        return len(next(iter(self.values.values())))

    def identity(self, k: int) -> tuple[str, ...]:
        """The k-th values as texts, which are the same on every machine and for every way to write the axis."""
        return tuple(f"{name}={_text(values[k])}" for name, values in sorted(self.values.items()))

    def identities(self) -> list[tuple[str, ...]]:
        return [self.identity(k) for k in range(len(self))]

    def part(self, positions: Sequence[int]) -> dict[str, Any]:
        """The entry of a table of axes that has the values at these positions alone."""
        lists = {name: [_plain(values[k]) for k in positions] for name, values in self.values.items()}
        return {self.name: lists[self.name] if set(lists) == {self.name} else {"zip": lists}}


def _text(value: Any) -> str:
    # Twelve digits: the last bits of evenly spaced numbers depend on the processor and on how many there are.
    return f"{value + 0.0:.12g}" if isinstance(value, float | np.floating) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Grid:
    """The points of a sweep, or of a part of it, by index: row-major over static axes, then axes, then realisations."""

    static: tuple[Axis, ...]
    axes: tuple[Axis, ...]
    realisations: range

    @property
    def static_shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.static)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes and of the realisations, of points that share their static values."""
        return (*(len(axis) for axis in self.axes), len(self.realisations))

    @property
    def combinations(self) -> int:
        return math.prod(self.static_shape)

    @property
    def points(self) -> int:
        """Points that share their static values."""
        return math.prod(self.shape)

    @property
    def total(self) -> int:
        return self.combinations * self.points

    def static_values(self, combination: int) -> dict[str, Any]:
        where = np.unravel_index(combination, self.static_shape) if self.static else ()
        return {name: _plain(value) for name, value in _at(self.static, where).items()}

    def values(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters of the points of those indices, counted within one combination of static values."""
        if not self.axes:
            return {}
        return _at(self.axes, np.unravel_index(indices, self.shape)[:-1])

    def describe(self, combination: int, index: int) -> dict[str, Any]:
        """The parameters of one point and its realisation, to be read by people."""
        values = {name: value.item() for name, value in self.values(np.array(index)).items()}
        return self.static_values(combination) | values | {"realisation": self.realisations[index % self.shape[-1]]}

    def identities(self, combination: int, indices: np.ndarray) -> np.ndarray:
        """What the keys of points are made of, three whole numbers each: 64 bits of its values, and its realisation."""
        where = np.unravel_index(indices, self.shape)
        codes = np.zeros(indices.shape, np.uint64)
        if self.static:
            for axis, k in zip(self.static, np.unravel_index(combination, self.static_shape), strict=True):
                codes ^= _code(axis, int(k))
        for axis, positions in zip(self.axes, where[:-1], strict=True):
            used, inverse = np.unique(positions, return_inverse=True)
            codes ^= np.array([_code(axis, int(k)) for k in used])[inverse.reshape(indices.shape)]
        realisations = self.realisations.start + where[-1]
        return np.stack([codes >> np.uint64(32), codes & np.uint64(2**32 - 1), realisations], -1).astype(np.uint32)


def _code(axis: Axis, k: int) -> np.uint64:
    code = 0
    for text in axis.identity(k):  # each parameter for itself, so that it does not matter which of them are zipped
        code ^= int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return np.uint64(code)


def _at(axes, positions) -> dict[str, Any]:
    return {name: values[k] for axis, k in zip(axes, positions, strict=True) for name, values in axis.values.items()}


def _require_size(grid: Grid) -> None:
    limits = (("static", grid.combinations, MAX_COMBINATIONS), ("axes", grid.total, MAX_POINTS))
    for name, count, most in limits:
        if count > most:
            sizes = [f"{axis.name} {len(axis)}" for axis in (*grid.static, *grid.axes)]
            sizes = ", ".join([*sizes, f"realisations {len(grid.realisations)}"])
            what = "combinations of static values" if name == "static" else "points"
            raise ValueError(f"`{name}` must give at most {most} {what}, got {count} ({sizes})")


# --- checks of one entry, each giving it back as plain JSON


def _axis(where: str, name: str, spec: Any, entry: Callable[[str, Any], Any], seen: set[str]) -> Any:
    if isinstance(spec, Mapping) and "zip" in spec:
        _require_name(where, name, seen)
        if len(spec) != 1 or not isinstance(spec["zip"], Mapping) or not spec["zip"]:
            raise ValueError(f"`{where}` must be {{zip = {{name = list, ...}}}}, got {_short(spec)}")
        parts = {inner: _values(f"{where}.{inner}", inner, part, entry, seen) for inner, part in spec["zip"].items()}
        lengths = {inner: _length(part) for inner, part in parts.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"`{where}` must zip lists of one length, got {lengths}")
        _require_distinct(where, zip(*(_expanded_values(part) for part in parts.values()), strict=True))
        return {"zip": parts}
    found = _values(where, name, spec, entry, seen)
    # Of a rule the ends will do: they differ unless all values are the same.
    _require_distinct(where, found if isinstance(found, list) else next(iter(found.values()))[: min(2, _length(found))])
    return found


def _require_distinct(where: str, values: Iterable[Any]) -> None:
    seen = set()
    for value in values:
        text = json.dumps(value)
        if text in seen:
            raise ValueError(f"`{where}` must hold each value once, got {text} twice; `realisations` repeats points")
        seen.add(text)


def _values(where: str, name: str, spec: Any, entry: Callable[[str, Any], Any], seen: set[str]) -> Any:
    _require_name(where, name, seen)
    if isinstance(spec, Mapping):
        rule = next(iter(spec), None)
        if len(spec) != 1 or rule not in _RULES:
            found = nearest(str(rule), [*_RULES, "zip"]) if rule not in _RULES else ""
            raise ValueError(
                f"`{where}` must be a list or one of {', '.join(_RULES)} and zip, got {_short(spec)}{found}"
            )
        ends = spec[rule]
        if not isinstance(ends, list | tuple) or len(ends) != 3:
            raise ValueError(f"`{where}.{rule}` must be [first, last, number], got {_short(ends)}")
        first, last = (_number(f"{where}.{rule}", end) for end in ends[:2])
        require_whole(f"{where}.{rule}", ends[2])
        if ends[2] > MAX_AXIS:
            raise ValueError(f"`{where}` must have at most {MAX_AXIS} values, got {ends[2]}")
        if rule == "logspace" and not (first > 0 and last > 0):
            raise ValueError(f"`{where}.{rule}` must run between positive numbers, got {first!r} to {last!r}")
        if not math.isfinite(last - first):
            raise ValueError(f"`{where}.{rule}` must have a finite length, got {first!r} to {last!r}")
        return {rule: [first, last, int(ends[2])]}
    spec = _from_array(spec)
    if not isinstance(spec, list | tuple) or not spec:
        raise ValueError(f"`{where}` must be a list that is not empty, linspace, logspace or zip, got {_short(spec)}")
    if len(spec) > MAX_AXIS:
        raise ValueError(f"`{where}` must have at most {MAX_AXIS} values, got {len(spec)}")
    return [entry(where, value) for value in spec]


def _fixed(where: str, name: str, value: Any, seen: set[str]) -> Any:
    _require_name(where, name, seen)
    return _constant(where, value)


def _from_array(value: Any) -> Any:
    """Ranges, and arrays of any library, as lists or numbers."""
    if isinstance(value, range):
        return list(value) if len(value) <= MAX_AXIS else value
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def _number(where: str, value: Any) -> float:
    value = _from_array(value)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"`{where}` must hold numbers, got {_short(value)}; other values belong to `static`")
    if isinstance(value, int | np.integer) and abs(int(value)) > 2**53:
        raise ValueError(f"`{where}` must hold numbers that float64 can hold, got {_short(value)}")
    if not math.isfinite(value):
        raise ValueError(f"`{where}` must hold finite numbers, got {value}")
    return float(value)


def _constant(where: str, value: Any) -> Any:
    value = _from_array(value)
    if isinstance(value, list | tuple):
        return [_constant(where, part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{where}` must be finite, got {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"`{where}` must fit 64 bits, got {_short(value)}")
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"`{where}` must be made of numbers, strings, true, false and lists, got {_short(value)}")
    return value


def _require_name(where: str, name: Any, seen: set[str]) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"`{where}` must be the name of a parameter, got {name!r}")
    if name in RESERVED:
        raise ValueError(f"`{where}`: the name `{name}` is taken by the sweep itself")
    if name in seen:
        raise ValueError(f"`{where}`: the name `{name}` is used twice")
    seen.add(name)


def _require_below(name: str, value: Any) -> None:
    path = Path(value) if isinstance(value, str) and value and "\0" not in value else None
    if path is None or path.is_absolute() or ".." in path.parts or path == Path():
        raise ValueError(
            f"`{name}` must be a folder below the current one, got {value!r}; `run(sweep, output)` takes any"
        )


def _length(spec: Any) -> int:
    return next(iter(spec.values()))[2] if isinstance(spec, Mapping) else len(spec)


def expanded(table: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The axes of a table of a sweep, with their values."""
    return tuple(_expanded(name, spec) for name, spec in table.items())


def _expanded(name: str, spec: Any) -> Axis:
    parts = spec["zip"] if isinstance(spec, Mapping) and "zip" in spec else {name: spec}
    return Axis(name, {inner: _expanded_values(part) for inner, part in parts.items()})


def _expanded_values(spec: Any) -> Any:
    if isinstance(spec, Mapping):
        ((rule, ends),) = spec.items()
        return _RULES[rule](*ends)
    if all(isinstance(value, float) for value in spec):
        return np.array(spec)
    return [as_argument(value) for value in spec]


def as_argument(value: Any) -> Any:
    """A constant as the function receives it: lists as tuples, which static arguments have to be."""
    return tuple(as_argument(part) for part in value) if isinstance(value, list) else value


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
