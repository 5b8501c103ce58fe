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
from ..couplings import larva_connectome, read_matrix
from .refusals import InputError
from .source import Measured

__all__ = ["InputError", "evaluate", "read_recording", "read_weights", "vocabulary"]


# --- expressions


def evaluate(text: str, words: Mapping[str, Callable], kind: type, option: str) -> Any:
    """The object of class `kind` that `text` describes (see `_expressions.evaluate`), or an `InputError`."""
    try:
        return _expressions.evaluate(text, words, kind, option)
    except ValueError as error:
        raise InputError(str(error)) from error


# --- matrices


class Weights(NamedTuple):
    """The weights of a network, and the `labels` of its neurons, None if nothing names them."""

    matrix: Float[np.ndarray, "n n"]
    labels: tuple[str, ...] | None


def read_weights(source: Measured) -> Weights:
    """`scale` times a shipped connectome, larva-left or larva-right, or the matrix in a file; says what was read.

    Raises `InputError` for what `couplings.read_matrix` refuses, and for a matrix that is not finite, or 0 everywhere.
    """
    shipped = {"larva-left": "left", "larva-right": "right"}
    said = labels = None
    if source.matrix in shipped:
        weights = np.asarray(larva_connectome(shipped[source.matrix]))
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
    return Weights(weights, labels)


def read_recording(
    path: Path, columns: Sequence[str], *, transpose: bool = False, name: str | None = None
) -> Float[np.ndarray, "time n"]:
    """Rates, time x units, in a file of any kind; `columns` of them; says what was read.

    A column of times is set apart. Missing numbers are NaN. `transpose` is for files with units x time, and `name` says
    which array of several. Raises `InputError` for what cannot be read, is no table of numbers or has no such column.
    """
    try:
        values, names, said = _recording(path, name, transpose)
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
    return values[:, [names.index(unit) for unit in columns]] if columns else values


def _recording(path: Path, name: str | None, transpose: bool) -> tuple[np.ndarray, list[str], str]:
    """The numbers, the names of units, and what was read."""
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
    return values, names, ", ".join([f"{values.shape[0]} times of {values.shape[1]} units", *notes])
