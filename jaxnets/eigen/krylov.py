"""The leading eigenvalues of one network, from products with vectors alone."""

import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._arguments import require_whole
from .._numerics import binary_scale
from .._results import Result
from ..couplings.operators import Operator
from ..couplings.sparse import Sparse, as_operator
from .values import host_eigenvalues

_SMALL = 64  # units: all eigenvalues of so small a matrix take a few milliseconds
_ORDER = {"magnitude": "LM", "real": "LR"}


class Leading(Result, axes={"k": "mode"}):
    """Leading eigenvalues, the first of the order first; made by `leading`.

    `residual` is |J v - lambda v| for the eigenvector v of length 1: in units of J, and no bound on the error where
    eigenvectors are far from orthogonal. `converged`: all were found to the accuracy asked for.
    """

    values: Complex[Array, " k"]
    residual: Float[Array, " k"]
    converged: Bool[Array, ""]


def leading(
    J: Operator | Float[ArrayLike, "n n"] | Any,
    num: int = 6,
    *,
    order: str = "magnitude",
    accuracy: float = 1e-8,
    max_restarts: int = 1000,
) -> Leading:
    """The `num` eigenvalues of J that are largest in `order`, "magnitude" or "real" part, by a restarted Krylov method.

    J is an operator, an array or a sparse matrix, of which products with vectors alone are taken: 1e7 weights of 1e5
    units need no more memory than they have. Where a pair of conjugates would be cut, both are given. Runs on the CPU
    (ARPACK, in float64) and starts from a fixed vector, so that a second call gives the same. It stops at the relative
    `accuracy`, or with a warning after `max_restarts`. Valid for any real J; within the bulk of a random matrix
    eigenvalues are dense, and few converge, while outliers do at once. Not for `jit`, `vmap` or derivatives.

    Raises `ValueError` for `num` < 1 or not below n, an unknown order, and for J as `eigenvalues`.
    """
    operator = as_operator("J", J)
    *batch, n, _ = operator.shape
    if batch:
        raise ValueError(f"`J` must be one network, got a batch of shape {operator.shape}")
    require_whole("num", num)
    if num >= max(n, 2):
        raise ValueError(f"`num` must be below the number of units {n}, got {num}: `eigenvalues` gives all")
    if order not in _ORDER:
        raise ValueError(f'`order` must be "magnitude" or "real", got {order!r}')
    if n <= _SMALL or num + 2 >= n:
        values = _first(host_eigenvalues(operator), num, order)
        zero = np.zeros(len(values))
        return Leading(jnp.asarray(values), jnp.asarray(zero), jnp.asarray(True))
    product, scale = _product(operator)
    start = np.random.default_rng(0).standard_normal(n)
    library: Any = scipy.sparse.linalg  # whose annotations are narrower than what it takes
    linear = library.LinearOperator((n, n), product, dtype=np.float64)
    converged = True
    try:
        values, vectors = library.eigs(
            linear, num + 1, which=_ORDER[order], v0=start, tol=accuracy, maxiter=max_restarts
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        values, vectors, converged = error.eigenvalues, error.eigenvectors, False
        warnings.warn(
            f"{len(values)} of {num} leading eigenvalues converged in {max_restarts} restarts",
            RuntimeWarning,
            stacklevel=2,
        )
    kept = _first(values, num, order, index=True)
    values, vectors = np.asarray(values)[kept], np.asarray(vectors)[:, kept]
    images = np.array([product(v.real) + 1j * product(v.imag) for v in vectors.T]).reshape(-1, n).T
    residual = np.linalg.norm(images - values * vectors, axis=0)
    return Leading(jnp.asarray(values * scale), jnp.asarray(residual * scale), jnp.asarray(converged))


def _first(values: Any, num: int, order: str, index: bool = False) -> np.ndarray:
    """The first `num` in their order, one more where that keeps a pair of conjugates together."""
    size = np.abs(values) if order == "magnitude" else values.real
    ranks = np.lexsort((-values.imag, -np.round(size / max(np.max(np.abs(size), initial=0), 1e-300), 9)))
    count = min(num, len(values))
    if 0 < count < len(values):
        last, after = values[ranks[count - 1]], values[ranks[count]]
        pair = last.imag != 0 and abs(after - np.conj(last)) <= 1e-6 * abs(last)
        count += int(pair and not any(abs(values[k] - np.conj(last)) <= 1e-6 * abs(last) for k in ranks[: count - 1]))
    return ranks[:count] if index else values[ranks[:count]]


def _product(operator: Operator) -> tuple[Any, float]:
    """x -> J x / scale in float64 on the host, and the scale, of order of the largest weight of a sparse or dense J."""
    if isinstance(operator, Sparse):
        matrix = operator.to_scipy().astype(np.float64)
        scale = float(np.ldexp(0.5, np.frexp(np.max(np.abs(matrix.data), initial=0.0) or 1.0)[1]))
        matrix = matrix / scale
        return matrix.__matmul__, scale
    dtype = operator.dtype
    image = _times(operator, jnp.ones(operator.shape[-1], dtype))
    scale = float(binary_scale(image)[0])
    return lambda x: np.asarray(_times(operator, jnp.asarray(x, dtype)), np.float64).ravel() / scale, scale


@eqx.filter_jit
def _times(operator: Operator, x: Float[Array, " n"]) -> Float[Array, " n"]:
    return operator @ x.reshape(-1)
