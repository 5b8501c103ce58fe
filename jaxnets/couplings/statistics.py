"""What one pass over the weights of a network says: strength, means, degrees and reciprocity."""

import typing
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .._results import Result
from .operators import Operator
from .sparse import Sparse, as_csr
from .type_statistics import TypeStatistics, statistics_by_type


class WeightStatistics(Result, axes={"n": "unit"}):
    r"""Numbers of all weights of one network, zeros included; made by `weight_statistics`.

    `g` is the strength, g^2 = N Var J_ij, and `mean` the mean weight. `row_means` (of what a unit receives) and
    `column_means` (of what it sends) are over all N units, `in_degree` and `out_degree` count weights that are not 0.
    `density` is the part of such weights. `reciprocity` is the part of connections i <- j, i != j, with a connection
    back; by chance it is the density. `symmetry` is the correlation of J_ij and J_ji over i != j, as in `Elliptic`.
    """

    g: Float[Array, ""]
    mean: Float[Array, ""]
    density: Float[Array, ""]
    reciprocity: Float[Array, ""]
    symmetry: Float[Array, ""]
    row_means: Float[Array, " n"]
    column_means: Float[Array, " n"]
    in_degree: Int[Array, " n"]
    out_degree: Int[Array, " n"]


@typing.overload
def weight_statistics(J: Any, types: None = None) -> WeightStatistics: ...
@typing.overload
def weight_statistics(J: Any, types: Any) -> TypeStatistics: ...
def weight_statistics(J: Any, types: Any = None) -> WeightStatistics | TypeStatistics:
    r"""Strength, means, degrees and reciprocity of one network, or of each pair of types in it.

    $$ g^2 = N\, \overline{(J_{ij} - \bar J)^2}, \qquad
       \mathrm{symmetry} = \frac{\overline{(J_{ij} - \bar J)(J_{ji} - \bar J)}}{\overline{(J_{ij} - \bar J)^2}}
       \quad (i \ne j) $$

    J is a sparse matrix of SciPy or JAX, an operator, an array or what `read_matrix` gives. Sparse ones are never made
    dense: 1e7 weights of 1e5 units take four CPU seconds and 0.7 GB. On the host, in float64 and in any unit.
    `reciprocity` and `symmetry` are NaN where nothing off the diagonal is connected, or varies.

    With `types`, a text or whole number for each unit, a `TypeStatistics` has the same of each pair of types, and the
    variances of degrees within types, all with standard errors. Blocks of a sparse J are then made dense, one by one.

    Raises `ValueError` if J is not one square matrix of finite real numbers, and unless there is one type for each unit
    and two units for each type.
    """
    if isinstance(J, Operator):
        if len(J.shape) > 2:
            raise ValueError(f"`J` must be one network, got a batch of shape {J.shape}")
        J = J.to_scipy() if isinstance(J, Sparse) else J.dense()
    if types is not None:
        return statistics_by_type(J, types)
    matrix = scipy.sparse.csr_array(as_csr("J", J), dtype=np.float64, copy=True)
    matrix.eliminate_zeros()
    n = len(matrix.indptr) - 1
    scale = float(np.ldexp(0.5, np.frexp(np.max(np.abs(matrix.data), initial=0.0) or 1.0)[1]))
    matrix.data = np.divide(matrix.data, scale)  # squares of weights in any unit
    out, into = np.bincount(matrix.indices, minlength=n), np.diff(matrix.indptr)
    rows, columns = matrix.sum(axis=1) / n, matrix.sum(axis=0) / n
    mean = np.mean(rows)
    variance = (np.sum((matrix.data - mean) ** 2) + (n**2 - matrix.nnz) * mean**2) / n**2
    reciprocity, symmetry = _reciprocal(matrix)
    numbers = {
        "g": scale * np.sqrt(n * variance),
        "mean": scale * mean,
        "density": matrix.nnz / n**2,
        "reciprocity": reciprocity,
        "symmetry": symmetry,
        "row_means": scale * rows,
        "column_means": scale * columns,
    }
    numbers = {name: jnp.asarray(value, jnp.result_type(float)) for name, value in numbers.items()}
    degrees = {"in_degree": into, "out_degree": out}
    degrees = {name: jnp.asarray(count, jnp.result_type(int)) for name, count in degrees.items()}
    return WeightStatistics(**numbers, **degrees)


def _reciprocal(matrix: scipy.sparse.csr_array) -> tuple[float, float]:
    """The part of connections that are returned, and the correlation of J_ij and J_ji, both off the diagonal."""
    n = len(matrix.indptr) - 1
    rows = np.repeat(np.arange(n, dtype=matrix.indices.dtype), np.diff(matrix.indptr))
    off = rows != matrix.indices
    weights, ends = matrix.data[off], (rows[off], matrix.indices[off])
    if weights.size == 0:
        return float("nan"), float("nan")
    ordered, back = (scipy.sparse.csr_array((weights, x), shape=(n, n)) for x in (ends, ends[::-1]))
    pairs = n * (n - 1)
    mean = np.sum(weights) / pairs
    variance = np.sum(weights**2) / pairs - mean**2
    covariance = ordered.multiply(back).sum() / pairs - mean**2
    ordered.data[:] = back.data[:] = 1
    returned = ordered.multiply(back).nnz
    # All weights may be alike, to rounding.
    varies = variance > 1e-14 * np.sum(weights**2) / pairs
    return float(returned / weights.size), float(covariance / variance) if varies else float("nan")
