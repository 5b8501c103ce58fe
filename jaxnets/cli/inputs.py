"""Input of the command: expressions in the notation of the Python API, weights and recordings in files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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

__all__ = ["InputError", "evaluate", "read_recording", "read_weights", "vocabulary"]


# --- expressions


def evaluate(text: str, words: Mapping[str, Callable], kind: type, option: str) -> Any:
    """The object of class `kind` that `text` describes (see `_expressions.evaluate`), or an `InputError`."""
    try:
        return _expressions.evaluate(text, words, kind, option)
    except ValueError as error:
        raise InputError(str(error)) from error


# --- matrices


def read_weights(name: str, scale: float, transpose: bool = False) -> Float[np.ndarray, "n n"]:
    """`scale` times a shipped connectome, larva-left or larva-right, or the matrix in a file; says what was read.

    `transpose` is for files with the senders in rows. Raises `InputError` for what `couplings.read_matrix` refuses,
    and for a matrix that is not finite, or 0 everywhere.
    """
    shipped = {"larva-left": "left", "larva-right": "right"}
    if name in shipped:
        weights = np.asarray(larva_connectome(shipped[name]))
        weights, said = weights.T if transpose else weights, None
    else:
        try:
            found = read_matrix(name, transpose=transpose)
        except ValueError as error:
            raise InputError(str(error)) from error
        said, weights = found.said, found.dense()
    with np.errstate(over="ignore", invalid="ignore"):
        weights = scale * weights
    if not (np.isfinite(weights).all() and weights.any()):
        raise InputError(f"`--matrix` times `--scale` must be finite and not 0 everywhere, got {name} times {scale}")
    if said is not None:
        print(f"{name}: {said}")
    return weights


def read_recording(path: Path, columns: Sequence[str]) -> Float[np.ndarray, "time n"]:
    """Rates, time x units, in a file of any kind; `columns` of them; says what was read.

    A column of times is set apart. Missing numbers are NaN. Raises `InputError` for what cannot be read, is no table
    of numbers or has no such column.
    """
    try:
        values, names, said = _recording(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read {path}: {reason or type(error).__name__}") from error
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold real numbers, time x units, got {values.dtype} of shape {values.shape}")
    unknown = [name for name in columns if name not in names]
    if unknown:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"`--columns`: {path} has no column {', '.join(unknown)}; it has {shown}")
    print(f"{path}: {said}")
    return values[:, [names.index(name) for name in columns]] if columns else values


def _recording(path: Path) -> tuple[np.ndarray, list[str], str]:
    """The numbers, the names of units, and what was read."""
    if kind_of(path) in BINARY:
        found = open_container(path, None, lambda shape: len(shape) == 2, "a table")
        values = found.values.toarray() if scipy.sparse.issparse(found.values) else np.asarray(found.values)
        rows, columns, notes = None, None, [f"array {found.name}"] if found.name != path.stem else []
    elif kind_of(path) in TEXT:
        table = table_of_text(path)
        values, rows, columns, _, said = recording(table)
        notes = [*filter(None, [said.replace("column", "column of times" if rows else "column")]), *table.notes]
    else:
        raise ValueError(f"the recording must be a {', '.join((*TEXT[:3], *BINARY))} file")
    if values.ndim != 2:
        raise ValueError(f"it must be time x units, got shape {values.shape}")
    names = list(columns) if columns is not None else [str(k) for k in range(values.shape[1])]
    return values, names, ", ".join([f"{values.shape[0]} times of {values.shape[1]} units", *notes])
