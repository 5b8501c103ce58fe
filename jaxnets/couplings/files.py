"""Weights of a network from a file, whatever program wrote it."""

import dataclasses
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from .. import _files
from .._files.containers import BINARY, TEXT, kind_of
from .._files.tables import Labelled, square
from .edges import edges_in, matrix_of_edges


@dataclasses.dataclass(frozen=True, repr=False)
class MatrixFile:
    """Weights as they stand in a file, made by `read_matrix`; taken wherever an array is, or sparse couplings are.

    `matrix` is an array, or sparse if the file is (a list of edges, a sparse file); J[i, j] is the weight from j to i.
    `labels` name the units, if the file does. `said` is what was read, and what was taken as labels.
    """

    matrix: Float[np.ndarray, "n n"] | scipy.sparse.csr_array
    labels: tuple[str, ...] | None
    said: str

    def __repr__(self) -> str:
        return self.said

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.dense(), dtype=dtype)

    def dense(self) -> Float[np.ndarray, "n n"]:
        """The matrix as an array."""
        return np.asarray(self.matrix) if isinstance(self.matrix, np.ndarray) else self.matrix.toarray()


def read_matrix(
    path: str | Path, *, name: str | None = None, transpose: bool = False, kind: str | None = None
) -> MatrixFile:
    """The weights of a network in the file at `path`: a square matrix or a list of edges.

    Tables of text (.csv, .tsv, .txt and so on, or packed as .gz) may have commas, semicolons, tabs or white space,
    quotes, decimal commas, comments, any encoding and end of line, and a first row or column of labels, numbers too.
    Lists of edges have columns for the sender, the receiver and perhaps the weight, in this order or under such names
    (pre, post, weight; source, target; from, to). .npy, .npz (of NumPy or SciPy), .mat and .mtx are read as well;
    pickles never are. Where a .npz or .mat file holds several matrices, `name` says which, a field of a structure as
    "data.W".

    A row of `matrix` holds what a unit receives; `transpose` turns a file with the senders in rows. `kind` ("matrix"
    or "edges") overrides what the table looks like. Print the result to see what was read.

    Raises:
        ValueError: if the file cannot be read, holds several matrices or none, is not square, or holds anything but
            finite real numbers: it names the row and the column.
    """
    path = Path(path)
    if kind not in (None, "matrix", "edges"):
        raise ValueError(f'`kind` must be "matrix", "edges" or None, got {kind!r}')
    try:
        matrix, labels, said = _read(path, name, kind)
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"cannot read {path}: {reason or type(error).__name__}") from error
    if transpose:
        matrix, said = matrix.T, f"{said}, transposed"
    return MatrixFile(scipy.sparse.csr_array(matrix) if scipy.sparse.issparse(matrix) else matrix, labels, said)


def read_types(path: str | Path, num_units: int, labels: Sequence[str] | None = None) -> tuple[str, ...]:
    """The type of each of `num_units` units in the text file at `path`, in the order of the units.

    The file has one type for each unit, in one column or row, or two columns: a unit and its type. Then units are found
    by the `labels` of the network (`MatrixFile.labels`), or without them are in its order. A line of titles may be the
    first one.

    Raises:
        ValueError: if the file cannot be read, has another number of types, or no type for one of the units.
    """
    path = Path(path)
    try:
        table = _files.table_of_text(path)
        rows, columns = table.numbers.shape
        cells = [[table.label(i, j) for j in range(columns)] for i in range(rows)]
        return _types_of(cells[0] if rows == 1 else cells, num_units, labels)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"cannot read {path}: {reason or type(error).__name__}") from error


def _types_of(cells: list[Any], num_units: int, labels: Sequence[str] | None) -> tuple[str, ...]:
    """Types from one row, or from lines with one cell or two."""
    lines = [[cell] if isinstance(cell, str) else cell for cell in cells]
    if len(lines[0]) > 2:
        raise ValueError(f"it must have types in one row or column, or units and types, got {len(lines[0])} columns")
    if len(lines[0]) == 2 and labels is not None:
        found = {unit: kind for unit, kind in lines}
        missing = next((label for label in labels if label not in found), None)
        if missing is not None:
            raise ValueError(f"it must have a type for each unit, got none for {missing}")
        types = [found[label] for label in labels]
    else:
        types = [line[-1] for line in (lines[1:] if len(lines) == num_units + 1 else lines)]
    if len(types) != num_units:
        raise ValueError(f"it must have one type for each of {num_units} units, got {len(types)}")
    if "" in types:
        raise ValueError(f"it must have a type for each unit, got none for unit {types.index('')}")
    return tuple(types)


def _read(path: Path, name: str | None, kind: str | None) -> tuple[Any, tuple[str, ...] | None, str]:
    if kind_of(path) in BINARY:
        found = _files.open_container(
            path, name, lambda shape: len(shape) == 2 and len(set(shape)) == 1, "a square one"
        )
        said = [f"array {found.name}"] if kind_of(path) in (".mat", ".npz") and found.name != path.stem else []
        said += ["labels beside it"] if found.labels else []
        return _checked(found.values, found.labels, found.labels, said)
    if kind_of(path) not in TEXT:
        known = ", ".join((*TEXT[:3], *BINARY))
        raise ValueError(f"its name must end in {known} or .edges, got {path.suffix or 'no ending'}")
    table = _files.table_of_text(path)
    edges = edges_in(table, kind == "edges") if kind != "matrix" else None
    if edges is not None:
        matrix, labels, said = matrix_of_edges(table, edges)
        return (*_checked(matrix, labels, labels, [])[:2], ", ".join([said, *table.notes]))
    if kind == "edges":
        raise ValueError("it must have columns for the sender, the receiver and perhaps the weight of each edge")
    found = square(table)
    matrix, rows, columns, notes = _in_one_order(found)
    return _checked(matrix, rows, columns, [*filter(None, [found.said]), *notes, *table.notes])


def _in_one_order(found: Labelled) -> tuple[np.ndarray, tuple[str, ...] | None, tuple[str, ...] | None, list[str]]:
    """Columns in the order of the rows, where both have the same labels."""
    matrix, rows, columns = found.values, found.rows, found.columns
    if rows is None or columns is None or rows == columns or len(set(rows)) < len(rows) or set(rows) != set(columns):
        return matrix, rows, columns, []
    order = [columns.index(label) for label in rows]
    return matrix[:, order], rows, rows, ["columns put into the order of the rows"]


def _checked(
    matrix: Any, rows: tuple[str, ...] | None, columns: tuple[str, ...] | None, said: list[str]
) -> tuple[Any, tuple[str, ...] | None, str]:
    """The matrix in float64, its labels, and what was read; `ValueError` unless it is square, real and finite."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"it must hold a square matrix, got shape {matrix.shape}")
    if matrix.shape[0] == 0:
        raise ValueError("it must hold a matrix, got an empty one")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"it must hold real numbers, got {matrix.dtype}")
    sparse = scipy.sparse.issparse(matrix)
    if sparse:
        matrix = scipy.sparse.coo_array(matrix).astype(np.float64)
        matrix.sum_duplicates()
        wrong = np.flatnonzero(~np.isfinite(matrix.data))
        bad = [(int(matrix.row[k]), int(matrix.col[k])) for k in wrong[:1]]
        matrix = matrix.tocsr()
    else:
        matrix = np.asarray(matrix).astype(np.float64)
        bad = [tuple(map(int, index)) for index in np.argwhere(~np.isfinite(matrix))[:1]]
    if bad:
        i, j = bad[0]
        where = _files.place(i, j, rows, columns)
        raise ValueError(f"it must hold finite numbers, got {matrix[i, j]} in {where}")
    n = matrix.shape[0]
    size = f"{n} x {n} weights" + (f", sparse, {matrix.nnz} stored" if sparse else "")
    return matrix, rows if rows is not None else columns, ", ".join([size, *said])
