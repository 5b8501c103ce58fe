"""Sparse couplings: an operator that keeps the weights that are not 0, and what one pass over them says."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .._arguments import real_array, require_square
from .operators import Dense, Operator, per_network, require_one_network

# Weights in a piece of a row. Of 8 to 64, on a CPU, 16 was fastest for 1e7 weights at random among 1e5 units: 3.5 times
# the time of SciPy's product, where a sum over single weights takes 7 times. Padding adds some half of it to each row.
_PIECE = 16


class Pieces(eqx.Module):
    """Rows cut into pieces of one length: the `weights`, the `columns` they stand in, and the row of each piece."""

    weights: Float[Array, "*batch pieces w"]
    columns: Int[Array, "*batch pieces w"]
    rows: Int[Array, "*batch pieces"]  # increasing
    n: int = eqx.field(static=True)

    @classmethod
    def of(cls, matrix: scipy.sparse.csr_array) -> "Pieces":
        counts = np.diff(matrix.indptr)
        n = len(counts)
        pieces = -(-counts // _PIECE)
        first = np.cumsum(pieces) - pieces
        within = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
        place = np.repeat(first, counts) * _PIECE + within
        weights = np.zeros(_PIECE * int(pieces.sum()), matrix.dtype)
        columns = np.zeros(weights.shape, np.int32)
        weights[place], columns[place] = matrix.data, matrix.indices
        return cls(
            real_array("matrix", weights.reshape(-1, _PIECE)),
            jnp.asarray(columns.reshape(-1, _PIECE)),
            jnp.asarray(np.repeat(np.arange(n, dtype=np.int32), pieces)),
            n,
        )


class Sparse(Operator):
    """J given by its weights that are not 0, with the rows in pieces of 16 weights, the last one of each row padded.

    `matrix` is a sparse matrix of SciPy or JAX (BCOO, BCSR), or an array whose zeros are left out; weights given twice
    are added. `symmetric=True` promises J = J^T, which is not checked; `transposed` takes
    the transpose of `matrix`. Of 100 weights a row, float32 takes 9 bytes a
    weight and float64 13. Products with the transpose are slower.

    Raises `ValueError` when `matrix` is not square, not real or not finite.
    """

    pieces: Pieces
    _symmetric: bool = eqx.field(static=True)
    _transposed: bool = eqx.field(static=True)

    def __init__(self, matrix: Any, symmetric: bool = False, *, transposed: bool = False):
        self.pieces = matrix if isinstance(matrix, Pieces) else Pieces.of(as_csr("matrix", matrix))
        self._symmetric = symmetric
        self._transposed = transposed

    @property
    def shape(self):
        return (*self.pieces.weights.shape[:-2], self.pieces.n, self.pieces.n)

    @property
    def dtype(self):
        return self.pieces.weights.dtype

    @property
    def symmetric(self):
        return self._symmetric

    def __matmul__(self, x):
        require_one_network(self)
        x = jnp.asarray(x)
        if x.ndim == 1:
            return self._times(x)
        # One vector after the other: all at once would gather as many copies of the weights.
        columns = jax.lax.map(self._times, x.reshape(x.shape[0], -1).T)
        return columns.T.reshape(x.shape)

    def _times(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        weights, columns, rows = self.pieces.weights, self.pieces.columns, self.pieces.rows
        inside = "promise_in_bounds"
        if self._transposed:
            spread = weights * x.at[rows].get(mode=inside)[:, None]
            return jnp.zeros_like(spread, shape=self.pieces.n).at[columns].add(spread, mode=inside)
        sums = jnp.sum(weights * x.at[columns].get(mode=inside), axis=-1)
        return jax.ops.segment_sum(sums, rows, self.pieces.n, indices_are_sorted=True, mode=inside)

    @property
    def T(self):
        return self if self._symmetric else Sparse(self.pieces, transposed=not self._transposed)

    @per_network
    def dense(self):
        rows = jnp.broadcast_to(self.pieces.rows[:, None], self.pieces.columns.shape)
        matrix = jnp.zeros(self.shape, self.dtype).at[rows, self.pieces.columns].add(self.pieces.weights)
        return matrix.T if self._transposed else matrix

    def low_rank(self):
        return None

    def scaled(self, factor):
        pieces = eqx.tree_at(lambda p: p.weights, self.pieces, factor.astype(self.dtype) * self.pieces.weights)
        return Sparse(pieces, self._symmetric, transposed=self._transposed)

    def to_scipy(self) -> scipy.sparse.csr_array:
        """The matrix in SciPy's form, zeros left out."""
        weights, columns = np.asarray(self.pieces.weights), np.asarray(self.pieces.columns)
        rows = np.repeat(np.asarray(self.pieces.rows), _PIECE)
        matrix = scipy.sparse.coo_array((weights.ravel(), (rows, columns.ravel())), shape=self.shape).tocsr()
        matrix.eliminate_zeros()
        return matrix.T.tocsr() if self._transposed else matrix


def as_operator(name: str, J: Any) -> Operator:
    """Couplings in any form as an operator: an operator, an array or a sparse matrix of SciPy or JAX, never made dense.

    Raises `ValueError` for anything else, and for what is not square.
    """
    if isinstance(J, Operator):
        require_square(name, J.shape)
        return J
    if is_sparse(J):
        return Sparse(as_csr(name, J))
    array = real_array(name, J)
    require_square(name, array.shape)
    return Dense(array)


def is_sparse(J: Any) -> bool:
    """Whether J is a sparse matrix of SciPy or JAX, or a `MatrixFile` that holds one."""
    return scipy.sparse.issparse(getattr(J, "matrix", J)) or hasattr(J, "todense")


def as_csr(name: str, matrix: Any) -> scipy.sparse.csr_array:
    """Rows of weights, checked, in SciPy's form."""
    if scipy.sparse.issparse(getattr(matrix, "matrix", None)):
        matrix = matrix.matrix
    if not scipy.sparse.issparse(matrix) and hasattr(matrix, "indices"):
        matrix = _of_jax(matrix)
    if not scipy.sparse.issparse(matrix):
        matrix = np.asarray(real_array(name, matrix))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"`{name}` must be a square matrix, got shape {matrix.shape}")
    if scipy.sparse.issparse(matrix) and matrix.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must be real numbers, got dtype {matrix.dtype}")
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64)
    matrix = scipy.sparse.csr_array(matrix)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    wrong = np.flatnonzero(~np.isfinite(matrix.data))
    if len(wrong):
        row, column = np.searchsorted(matrix.indptr, wrong[0], side="right") - 1, matrix.indices[wrong[0]]
        raise ValueError(f"`{name}` must be finite, got {matrix.data[wrong[0]]} in row {row}, column {column}")
    return matrix


def _of_jax(matrix: Any) -> scipy.sparse.coo_array | scipy.sparse.csr_array:
    data, indices = np.asarray(matrix.data), np.asarray(matrix.indices)
    if hasattr(matrix, "indptr"):
        return scipy.sparse.csr_array((data, indices, np.asarray(matrix.indptr)), shape=matrix.shape)
    inside = np.all(indices < np.array(matrix.shape), axis=-1)  # JAX pads with indices beyond the shape
    return scipy.sparse.coo_array((data[inside], (indices[inside, 0], indices[inside, 1])), shape=matrix.shape)
