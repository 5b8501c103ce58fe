"""Input of the command: expressions in the notation of the Python API, and matrices in files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from .. import _expressions
from .._expressions import vocabulary
from ..couplings import larva_connectome
from .refusals import InputError

__all__ = ["InputError", "evaluate", "read_matrix", "read_weights", "vocabulary"]


# --- expressions


def evaluate(text: str, words: Mapping[str, Callable], kind: type, option: str) -> Any:
    """The object of class `kind` that `text` describes (see `_expressions.evaluate`), or an `InputError`."""
    try:
        return _expressions.evaluate(text, words, kind, option)
    except ValueError as error:
        raise InputError(str(error)) from error


# --- matrices


def read_weights(name: str, scale: float) -> Float[np.ndarray, "n n"]:
    """`scale` times a shipped connectome, larva-left or larva-right, or the matrix in a file (see `read_matrix`).

    Raises `InputError` for a matrix that is not finite, or 0 everywhere.
    """
    shipped = {"larva-left": "left", "larva-right": "right"}
    weights = np.asarray(larva_connectome(shipped[name])) if name in shipped else read_matrix(Path(name))
    with np.errstate(over="ignore", invalid="ignore"):
        weights = scale * weights
    if not (np.isfinite(weights).all() and weights.any()):
        raise InputError(f"`--matrix` times `--scale` must be finite and not 0 everywhere, got {name} times {scale}")
    return weights


def read_matrix(path: Path) -> Float[np.ndarray, "n n"]:
    """The square matrix in a text table (.csv: comma, semicolon or white space), a .npy or a .npz file.

    A .npz file holds one dense array or one matrix as saved by scipy.sparse. Pickles are never loaded. Raises
    `InputError` when the file cannot be read or holds anything but finite real numbers in a square.
    """
    readers = {".csv": _read_table, ".txt": _read_table, ".npy": _read_npy, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"`--matrix` must be a .csv, .npy or .npz file, larva-left or larva-right, got {path}")
    try:
        matrix = readers[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read {path}: {reason or type(error).__name__}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{path} must hold a square matrix, got shape {matrix.shape}")
    if matrix.size == 0:
        raise InputError(f"{path} must hold a matrix, got an empty one")
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{path} must hold real numbers, got {matrix.dtype}")
    matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{path} must hold finite numbers, got {matrix[row, column]} in row {row}, column {column}")
    return matrix


def _read_table(path: Path) -> np.ndarray:
    text = path.read_text(encoding="utf-8-sig")
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not rows:
        raise ValueError("the table is empty")
    delimiter = next((mark for mark in ";," if mark in rows[0]), None)
    values = []
    for i, row in enumerate(rows, start=1):
        try:
            values.append([float(entry) for entry in row.split(delimiter)])
        except ValueError as error:
            raise ValueError(f"row {i} of the table: {error}; it must hold numbers alone") from error
        if len(values[-1]) != len(values[0]):
            raise ValueError(f"row {i} of the table has {len(values[-1])} entries, the first has {len(values[0])}")
    return np.array(values)


def _read_npy(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if "format" not in archive.files:
            if len(archive.files) != 1:
                raise ValueError(f"it must hold one array, got {len(archive.files)}: {', '.join(archive.files)}")
            return np.asarray(archive[archive.files[0]])
    sparse = scipy.sparse.load_npz(path)
    if len(set(sparse.shape)) != 1:
        raise ValueError(f"it must hold a square matrix, got shape {sparse.shape}")
    if hasattr(sparse, "check_format"):
        sparse.check_format(full_check=True)  # indices beyond the shape would be written beyond the array
    return sparse.toarray()
