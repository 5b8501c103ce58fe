"""Input of the command: expressions in the notation of the Python API, weights and recordings in files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Float

from .. import _expressions
from .._expressions import vocabulary
from .._files import open_container, table_of_text
from .._files.containers import BINARY, TEXT, kind_of
from .._files.tables import recording
from ..couplings import larva_connectome, larva_types, read_matrix, read_types
from ..couplings.estimates import SHIPPED as SIDES
from ..couplings.type_statistics import type_indices
from .refusals import InputError
from .source import Measured

__all__ = ["InputError", "evaluate", "read_recording", "read_weights", "sampling_interval", "vocabulary"]


# --- expressions


def evaluate(text: str, words: Mapping[str, Callable], kind: type, option: str) -> Any:
    """The object of class `kind` that `text` describes (see `_expressions.evaluate`), or an `InputError`."""
    try:
        return _expressions.evaluate(text, words, kind, option)
    except ValueError as error:
        raise InputError(str(error)) from error


# --- matrices


class Weights(NamedTuple):
    """The weights of a network, and `labels` and `types` of its neurons, each None if nothing tells them."""

    matrix: Float[np.ndarray, "n n"]
    labels: tuple[str, ...] | None
    types: tuple[str, ...] | None


def read_weights(source: Measured) -> Weights:
    """`scale` times a shipped connectome, larva-left or larva-right, or the matrix in a file; says what was read.

    Types of neurons come from `--types`. Raises `InputError` for what `couplings.read_matrix` and `read_types` refuse,
    for a matrix that is not finite, or 0 everywhere, and for types that only one neuron has.
    """
    said = labels = None
    if source.matrix in SIDES:
        weights = np.asarray(larva_connectome(SIDES[source.matrix]))
        weights = weights.T if source.transpose else weights
    else:
        try:
            found = read_matrix(source.matrix, name=source.name, transpose=source.transpose, kind=source.kind)
        except ValueError as error:
            raise InputError(str(error).replace("say which by its name", "say which by `--name`")) from error
        said, labels, weights = found.said, found.labels, found.dense()
    with np.errstate(over="ignore", invalid="ignore"):
        weights = source.scale * weights
    if not (np.isfinite(weights).all() and weights.any()):
        given = f"{source.matrix} times {source.scale}"
        raise InputError(f"`--matrix` times `--scale` must be finite and not 0 everywhere, got {given}")
    if said is not None:
        print(f"{source.matrix}: {said}")
    return Weights(weights, labels, _types(source.types, len(weights), labels))


def _types(source: str | None, n: int, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if source is None:
        return None
    try:
        types = larva_types(SIDES[source]) if source in SIDES else read_types(source, n, labels)
        type_indices(types, n)
    except ValueError as error:
        raise InputError(f"`--types`: {str(error).removeprefix('`types` ')}") from error
    return types


class Recording(NamedTuple):
    """Rates, time x units, and the labels of times in the file, None if it has none."""

    rates: Float[np.ndarray, "time n"]
    times: tuple[str, ...] | None


def read_recording(
    path: Path, columns: Sequence[str], *, transpose: bool = False, name: str | None = None
) -> Recording:
    """The rates in a file of any kind; `columns` of them; says what was read.

    A column of times is set apart. Missing numbers are NaN. `transpose` is for files with units x time, and `name` says
    which array of several. Raises `InputError` for what cannot be read, is no table of numbers or has no such column.
    """
    try:
        values, names, times, said = _recording(path, name, transpose)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.replace("say which by its name", "say which by `--name`")
        raise InputError(f"cannot read {path}: {reason or type(error).__name__}") from error
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold real numbers, time x units, got {values.dtype} of shape {values.shape}")
    unknown = [unit for unit in columns if unit not in names]
    if unknown:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"`--columns`: {path} has no unit {', '.join(unknown)}; it has {shown}")
    print(f"{path}: {said}")
    return Recording(values[:, [names.index(unit) for unit in columns]] if columns else values, times)


# Of seconds in milliseconds, microseconds and nanoseconds: files and users choose their own.
_UNITS = [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9]
_SAME_STEP = 1e-3  # relative: times are written with few digits


def sampling_interval(given: float | None, times: tuple[str, ...] | None) -> float:
    """The time between samples: `given`, or the step of `times`, which may not contradict each other.

    Numbers 0, 1, 2, ... count samples and say nothing of time. Dates are in seconds. Raises `InputError` if neither is
    known, both are and differ by more than the unit, or the times are not evenly spaced.
    """
    step = None if times is None else _step(times)
    if given is None:
        if step is None:
            raise InputError("`--interval` must be given: the time between samples, which the file does not say")
        return step
    if step is None:
        return given
    if not any(abs(given / (unit * step) - 1) < _SAME_STEP for unit in _UNITS):
        raise InputError(f"`--interval` is {given:g}, but times in the file are {step:g} apart: leave the option out")
    return given


def _step(times: tuple[str, ...]) -> float | None:
    """The step of even times, None for numbers of samples and what is no time."""
    try:
        numbers = np.array(times, float)
    except ValueError:
        try:
            stamps = np.array(times, "datetime64[ns]")
        except ValueError:
            return None
        numbers = (stamps - stamps[0]).astype(np.int64) * 1e-9
    steps = np.diff(numbers)
    if len(steps) == 0 or np.all(steps == 1):
        return None
    least, most = float(steps.min()), float(steps.max())
    if not (least > 0 and most - least <= _SAME_STEP * most):
        raise InputError(
            f"times in the file must be evenly spaced, got steps from {least:g} to {most:g}: resample them"
        )
    return float(np.mean(steps))


def _recording(path: Path, name: str | None, transpose: bool) -> tuple[np.ndarray, list[str], Any, str]:
    """The numbers, the names of units, the labels of times, and what was read."""
    rows = columns = None
    if kind_of(path) in BINARY:
        found = open_container(path, name, lambda shape: len(shape) == 2, "a table", labelled=0 if transpose else 1)
        values = found.values.toarray() if scipy.sparse.issparse(found.values) else np.asarray(found.values)
        columns, notes = found.labels, [f"array {found.name}"] if found.name != path.stem else []
    elif kind_of(path) in TEXT:
        table = table_of_text(path).transposed() if transpose else table_of_text(path)
        values, rows, columns, _, said = recording(table)
        notes = [*filter(None, [said.replace("column", "column of times" if rows else "column")]), *table.notes]
    else:
        raise ValueError(f"the recording must be a {', '.join((*TEXT[:3], *BINARY))} file")
    if values.ndim != 2:
        raise ValueError(f"it must be time x units, got shape {values.shape}")
    if transpose:
        values = values.T if kind_of(path) in BINARY else values
        notes = ["transposed", *notes]
    names = list(columns) if columns is not None else [str(k) for k in range(values.shape[1])]
    return values, names, rows, ", ".join([f"{values.shape[0]} times of {values.shape[1]} units", *notes])
