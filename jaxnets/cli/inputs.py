"""Input of the command: expressions in the notation of the Python API, weights and recordings in files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .. import _expressions
from .._expressions import vocabulary
from .._files import rates
from .._files.rates import read_rates
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
        values, names, times, said, _ = read_rates(path, name, transpose)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.replace("say which by its name", "say which by `--name`")
        raise InputError(f"cannot read {path}: {reason or type(error).__name__}") from error
    unknown = [unit for unit in columns if unit not in names]
    if unknown:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"`--columns`: {path} has no unit {', '.join(unknown)}; it has {shown}")
    print(f"{path}: {said}")
    return Recording(values[:, [names.index(unit) for unit in columns]] if columns else values, times)


def sampling_interval(given: float | None, times: tuple[str, ...] | None) -> float:
    """The time between samples (see `_files.rates.sampling_interval`), or an `InputError`."""
    try:
        return rates.sampling_interval(given, times)
    except ValueError as error:
        raise InputError(str(error).replace("`interval`", "`--interval`")) from error
