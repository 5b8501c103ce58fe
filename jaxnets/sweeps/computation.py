"""The function of a sweep: imported, traced, compiled at one width for each combination of static values, and run.

Results are equal bit for bit however a sweep is cut into files. XLA may round differently for different widths of a
vmapped call: a mean-field state alone differs in its last digits from the same state among others. So a sweep has one
width: every call has exactly `batch` points a device, and each point has the same place among the same neighbours in
every run. A call that raises is repeated for halves of its points, each point in its old place and all other places
filled with a point of that half, until the failing points are alone.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import logging
import math
import os
import pkgutil
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from .specification import MAX_FILE, RESULT_NAME, Grid, Sweep, as_argument, from_text, nearest
from .store import Results

DONE, NOT_CONVERGED, NOT_FINITE, FAILED, MISSING = range(5)

MAX_WIDTH = 4096
MAX_CHUNKS = 10**6
_CPU_BUDGET = 64 * 2**20  # bytes of one call: more only leaves the caches of the processor
_DEVICE_BUDGET = 4 * 2**30  # enough to fill an accelerator
_CHUNK_BYTES = 16 * 2**20  # of which a process holds a few copies
_CHUNK_SECONDS = 5.0
_FEW_CHUNKS = 2**14  # files enough to divide the work and to lose little of it


class Plan(NamedTuple):
    """Results and batch of each combination of each region, points in a chunk, and device; from a probe."""

    results: tuple[tuple[Results, ...], ...]
    batches: tuple[tuple[int, ...], ...]
    takes_key: bool
    chunk: int
    device: str


class Outcome(NamedTuple):
    """Values and status of some points in a row, the error text of each failed point, and the width of the call."""

    values: dict[str, np.ndarray]
    status: np.ndarray
    errors: dict[int, str]
    width: int


class Computation:
    """The function of a sweep at any of its points.

    Raises `ValueError` when it cannot be imported, does not take the parameters of the sweep, or cannot be traced.
    """

    def __init__(self, sweep: Sweep):
        self.sweep = sweep
        self._programs: dict[tuple[str, int], Any] = {}
        self._known: dict[str, Results] = {}
        with self.precision():
            self._function = _imported(sweep.function)
            self.takes_key = _takes_key(self._function, sweep)
        _require_one_form(sweep, self.results(sweep.grid))

    def precision(self):
        return jax.enable_x64(self.sweep.precision == "float64")

    def results(self, grid: Grid) -> tuple[Results, ...]:
        """Of each combination of static values of the grid."""
        with self.precision():
            return tuple(self._traced(grid, k) for k in range(grid.combinations))

    def plan(self, grids: Sequence[Grid], batches: Sequence[Sequence[int | None]], chunk: int | None) -> Plan:
        """Batches and chunk as given or, for None, as a probe chooses: batches by memory alone, the chunk by time."""
        with self.precision():
            chosen = tuple(
                tuple(batch or self._width(grid, k) for k, batch in enumerate(given))
                for grid, given in zip(grids, batches, strict=True)
            )
            chunk = chunk or self._chunk(grids[0], chosen[0])
        chunks = sum(grid.combinations * -(-grid.points // chunk) for grid in grids)
        if chunks > MAX_CHUNKS:
            raise ValueError(f"`chunk` must give at most {MAX_CHUNKS} files, got {chunks} of {chunk} points")
        found = tuple(self.results(grid) for grid in grids)
        return Plan(found, chosen, self.takes_key, chunk, jax.local_devices()[0].device_kind)

    def seconds(self, grid: Grid, combination: int, width: int) -> float:
        """The time of one call on each device, measured after its compilation."""
        count = width * len(jax.local_devices())
        indices = np.arange(count) % grid.points
        with self.precision():
            program = self._program(grid, combination, width)
            # If one of the points raises, the time of the first of them in all places has to do.
            for chosen in (indices, np.zeros_like(indices)):
                began = time.perf_counter()
                with contextlib.suppress(Exception), _quiet():
                    jax.block_until_ready(program(*self._arguments(grid, combination, chosen)))
                    break
            return (time.perf_counter() - began) / len(jax.local_devices())

    def evaluate(self, grid: Grid, combination: int, start: int, stop: int, width: int) -> Iterator[Outcome]:
        """The points start..stop of a combination, call by call; `start` is a multiple of the width."""
        step = width * len(jax.local_devices())
        for first in range(start, stop, step):
            with self.precision():
                outcomes = list(self._call(grid, combination, first, min(first + step, stop), width))
            yield from outcomes

    # --- one call

    def _call(self, grid: Grid, combination: int, start: int, stop: int, width: int) -> Iterator[Outcome]:
        """One call; after running out of memory, two of half the width."""
        values = self._blank(grid, combination, stop - start)
        errors: dict[int, str] = {}

        def attempt(lanes: np.ndarray) -> None:
            indices = np.full(width * len(jax.local_devices()), start + lanes[0])
            indices[lanes] = start + lanes
            try:
                with _quiet():
                    found = jax.device_get(program(*self._arguments(grid, combination, indices)))
            except Exception as error:
                if "KeyboardInterrupt" in str(error):  # raised within a callback, which makes another error of it
                    raise KeyboardInterrupt from None
                if width > 1 and _out_of_memory(error):
                    raise
                if lanes.size == 1:
                    errors[int(lanes[0])] = _reason(error)
                    return
                for half in np.array_split(lanes, 2):
                    attempt(half)
                return
            for name, array in found.items():
                values[name][lanes] = array[lanes]

        try:
            program = self._program(grid, combination, width)
            attempt(np.arange(stop - start))
        except Exception as error:
            if width > 1 and _out_of_memory(error):
                step = width // 2 * len(jax.local_devices())
                for first in range(start, stop, step):
                    yield from self._call(grid, combination, first, min(first + step, stop), width // 2)
                return
            errors = dict.fromkeys(range(stop - start), _reason(error))
            values = self._blank(grid, combination, stop - start)
        yield Outcome(values, _status(values, errors), errors, width)

    def _blank(self, grid: Grid, combination: int, count: int) -> dict[str, np.ndarray]:
        found = self._traced(grid, combination)
        return {name: blank((count, *shape), dtype) for name, (shape, dtype) in found.items()}

    def _arguments(self, grid: Grid, combination: int, indices: np.ndarray):
        values = {name: value.astype(self.sweep.precision) for name, value in grid.values(indices).items()}
        return grid.identities(combination, indices), values

    # --- tracing and compiling

    def _point(self, constants: dict[str, Any]) -> Callable[..., dict[str, jax.Array]]:
        sweep = self.sweep
        constants = constants | {name: as_argument(value) for name, value in sweep.fixed.items()}

        def point(identity, values):
            arguments = dict(values)
            if self.takes_key:
                key = jax.random.key(np.uint32(sweep.seed), impl="threefry2x32")
                for number in identity:
                    key = jax.random.fold_in(key, number)
                arguments["key"] = key
            return _named(self._function(**arguments, **constants))

        return point

    def _shapes(self, width: tuple[int, ...]):
        values = self.sweep.grid.values(np.zeros(1, int))
        scalars = {name: jax.ShapeDtypeStruct(width, self.sweep.precision) for name in values}
        return jax.ShapeDtypeStruct((*width, 3), jnp.uint32), scalars

    def _traced(self, grid: Grid, combination: int) -> Results:
        constants = grid.static_values(combination)
        text = json.dumps(constants)
        if text not in self._known:
            self._known[text] = self._results_of(constants)
        return self._known[text]

    def _results_of(self, constants: dict[str, Any]) -> Results:
        name = self.sweep.function
        try:
            traced = jax.eval_shape(self._point(constants), *self._shapes(()))
        except Exception as error:
            at = f" at {constants}" if constants else ""
            advice = self._advice(constants) or _own_line(error, self._function)
            raise ValueError(f"`function`: {name} cannot be traced{at}: {_reason(error)}{advice}") from error
        results = {result: (leaf.shape, np.dtype(leaf.dtype).str) for result, leaf in traced.items()}
        if not results:
            raise ValueError(f"`function`: {name} returns no array")
        grid = self.sweep.grid
        taken = {"status", "realisation"}
        taken |= {name for axis in (*grid.static, *grid.axes) for name in (axis.name, *axis.values)}
        taken |= {dim for result, (shape, _) in results.items() for dim in inner_dimensions(result, len(shape))}
        for result in results:
            if result in taken or not re.fullmatch(RESULT_NAME, result):
                raise ValueError(f"`function`: {name} returns {result!r}, which cannot name a result of this sweep")
        return results

    def _advice(self, constants: dict[str, Any]) -> str:
        """Which axes the function needs as numbers, if it can be traced once they are."""
        firsts = {name: value.item() for name, value in self.sweep.grid.values(np.array(0)).items()}
        whole = {name: int(value) for name, value in firsts.items() if value == int(value)}
        identity, scalars = self._shapes(())
        for names in [*([name] for name in whole), *([list(whole)] if len(whole) > 1 else [])]:
            rest = {name: scalar for name, scalar in scalars.items() if name not in names}
            with contextlib.suppress(Exception):
                jax.eval_shape(self._point(constants | {name: whole[name] for name in names}), identity, rest)
                shown = " and ".join(f"`{name}`" for name in names)
                return f"; put {shown} under [static], whose values may change shapes: an axis gives traced numbers"
        return ""

    def _program(self, grid: Grid, combination: int, width: int):
        """Compiled, for `width` points on each device of this process."""
        constants = grid.static_values(combination)
        text = json.dumps(constants)
        if (text, width) not in self._programs:
            devices = jax.local_devices()
            mapped = jax.vmap(self._point(constants))
            if len(devices) > 1:
                mesh = jax.sharding.Mesh(np.array(devices), ("points",))
                along = PartitionSpec("points")
                mapped = jax.shard_map(mapped, mesh=mesh, in_specs=along, out_specs=along, check_vma=False)
            lowered = jax.jit(mapped).lower(*self._shapes((width * len(devices),)))
            self._programs[text, width] = lowered.compile()
        return self._programs[text, width]

    # --- the probe

    def _width(self, grid: Grid, combination: int) -> int:
        """The largest power of two whose call stays within the budget, by the compiler's own account of its memory."""
        limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        budget = min(_DEVICE_BUDGET, limit // 4) if limit else _CPU_BUDGET
        most = min(MAX_WIDTH, 1 << (grid.points - 1).bit_length())
        width = min(8, most)
        guess = width * budget // max(self._bytes(grid, combination, width), 1)
        width = min(most, 1 << max(guess, 1).bit_length() - 1)
        while width > 1 and self._bytes(grid, combination, width) > budget:
            width //= 2
        return width

    def _bytes(self, grid: Grid, combination: int, width: int) -> int:
        memory = self._program(grid, combination, width).memory_analysis()
        if memory is None:
            return 8 * width * self.point_bytes(grid, combination)
        return memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes

    def _chunk(self, grid: Grid, batches: tuple[int, ...]) -> int:
        """Points a file: some seconds of work, unless that gives too many files or too large ones."""
        seconds = max(self.seconds(grid, k, batches[k]) / batches[k] for k in {0, grid.combinations - 1})
        points = max(_CHUNK_SECONDS / max(seconds, 1e-9), grid.total / _FEW_CHUNKS)
        bytes_each = max(self.point_bytes(grid, k) for k in range(grid.combinations))
        points = min(points, _CHUNK_BYTES / bytes_each, MAX_FILE, 2 * grid.points)
        return 1 << max(int(points), 1).bit_length() - 1

    def point_bytes(self, grid: Grid, combination: int) -> int:
        results = self._traced(grid, combination).values()
        return 1 + sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in results)


@functools.lru_cache(maxsize=1)
def computation(text: str) -> Computation:
    """The computation of the sweep that `to_text` wrote. A process traces and compiles it once."""
    return Computation(from_text(text))


def inner_dimensions(result: str, ndim: int) -> tuple[str, ...]:
    """Names of the axes that a result has at one point."""
    return tuple(f"{result}_{k}" for k in range(ndim))


def blank(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """NaN, or 0 and False for types without NaN."""
    return np.full(shape, np.nan if np.dtype(dtype).kind in "fc" else 0, dtype)


def _status(values: dict[str, np.ndarray], errors: dict[int, str]) -> np.ndarray:
    """Results that do not converge or are not finite are kept and only marked: they may be intended."""
    count = len(next(iter(values.values())))
    status = np.full(count, DONE, np.uint8)
    for array in values.values():
        if array.dtype.kind in "fc":
            status[~np.isfinite(array).reshape(count, -1).all(-1)] = NOT_FINITE
    for name, array in values.items():
        if name.split(".")[-1] == "converged" and array.dtype == bool:
            status[~array.reshape(count, -1).all(-1)] = NOT_CONVERGED
    status[list(errors)] = FAILED
    return status


# --- the function and what it returns


def _imported(name: str) -> Callable[..., Any]:
    """The function of that name, from what can be imported or lies in the current folder."""
    folder = os.getcwd()
    added = folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        function = pkgutil.resolve_name(name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"`function`: cannot import {name}: {_reason(error)}") from error
    finally:
        if added:
            sys.path.remove(folder)
    if not callable(function):
        raise ValueError(f"`function` must be a function, got {name}, which is {type(function).__name__}")
    return function


def _takes_key(function: Callable[..., Any], sweep: Sweep) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise ValueError(f"`function`: {sweep.function} must have a signature that Python can read") from None
    named = {p.name: p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    grid = sweep.grid
    given = [("axes", name) for axis in grid.axes for name in axis.values]
    given += [("static", name) for axis in grid.static for name in axis.values]
    given += [("fixed", name) for name in sweep.fixed]
    for table, name in given:
        if name not in named and not takes_any:
            others = [other for other in named if other != "key"]
            raise ValueError(f"`{table}`: `{name}` is no parameter of {sweep.function}{nearest(name, others)}")
    for p in parameters.values():
        positional = p.kind is p.POSITIONAL_ONLY and p.default is p.empty
        if positional or (p.name in named and p.default is p.empty and p.name not in {"key", *(n for _, n in given)}):
            raise ValueError(f"`axes`: {sweep.function} needs `{p.name}`, which is not in `axes`, `static` or `fixed`")
    if sweep.realisations > 1 and "key" not in named:
        raise ValueError(
            f"`realisations` must be 1 for {sweep.function}, which takes no `key`, got {sweep.realisations}"
        )
    return "key" in named


def _named(returned: Any) -> dict[str, jax.Array]:
    """The arrays in the value of the function, by the path of names that leads to them."""
    if dataclasses.is_dataclass(returned) and jax.tree.structure(returned) == jax.tree.structure(0):
        returned = {field.name: getattr(returned, field.name) for field in dataclasses.fields(returned)}
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(returned):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        numbers = isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
        if not numbers or jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
            raise TypeError(f"it must return arrays, but its `{name}` is {type(leaf).__name__}")
        if name in named:
            raise TypeError(f"it returns two results of the name `{name}`")
        named[name] = jnp.asarray(leaf)
    return named


def _require_one_form(sweep: Sweep, results: tuple[Results, ...]) -> None:
    """Static values may change the lengths of results, but neither their names nor their number of axes."""
    first, *others = ({name: (len(shape), dtype) for name, (shape, dtype) in one.items()} for one in results)
    for k, other in enumerate(others, 1):
        if other != first:
            raise ValueError(
                f"`static`: {sweep.function} must return arrays of the same names, dimensions and types everywhere, "
                f"got {first} at {sweep.grid.static_values(0)} and {other} at {sweep.grid.static_values(k)}"
            )


# --- errors of a run


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def _reason(error: BaseException) -> str:
    """One line. What a callback raised, as `equinox.error_if` does, stands at the end of a printed traceback."""
    text = str(error)
    raised = re.findall(r"^(?:[\w.]*\.)?_?(\w*(?:Error|Exception)): (.+)$", text, re.MULTILINE)
    if raised and "Traceback" in text:
        return ": ".join(raised[-1])[:300]
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:300]


def _own_line(error: BaseException, function: Callable[..., Any]) -> str:
    """The last line of the user's own code before the error, in the file of the function or beside it."""
    here = Path(inspect.getsourcefile(inspect.unwrap(function)) or "").parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.line and Path(frame.filename).parent == here and _PACKAGE not in Path(frame.filename).parents:
            return f"; it is line {frame.lineno} of {Path(frame.filename).name}, `{frame.line[:120]}`"
    return ""


_PACKAGE = Path(__file__).parents[1]


@contextlib.contextmanager
def _quiet():
    """Keeps JAX from logging the traceback of what a callback raises, which is recorded with the point."""

    def keep(record: logging.LogRecord) -> bool:
        return "pure_callback failed" not in record.getMessage()

    logger = logging.getLogger("jax._src.callback")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
