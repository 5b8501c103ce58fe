"""Cholesky factors of few dimensions: written out where few operations on many matrices beat many calls of LAPACK."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Up to so many rows factors are written out. At rank 4 that is 20 operations on all particles at once; each further row
# makes programs longer to compile.
_WRITTEN_OUT = 4


def cholesky(P: Float[Array, "R R"]) -> Float[Array, "R R"]:
    """The lower triangular U with P = U U^T; NaN if P is not positive definite."""
    R = P.shape[0]
    if R > _WRITTEN_OUT:
        return jnp.linalg.cholesky(P)
    U = [[jnp.zeros((), P.dtype)] * R for _ in range(R)]
    for j in range(R):
        U[j][j] = jnp.sqrt(P[j, j] - sum((U[j][k] ** 2 for k in range(j)), jnp.zeros((), P.dtype)))
        for i in range(j + 1, R):
            U[i][j] = (P[i, j] - sum((U[i][k] * U[j][k] for k in range(j)), jnp.zeros((), P.dtype))) / U[j][j]
    return jnp.stack([jnp.stack(row) for row in U])


def solve_lower(U: Float[Array, "R R"], b: Float[Array, " R"]) -> Float[Array, " R"]:
    """x with U x = b, for U lower triangular."""
    R = U.shape[0]
    if R > _WRITTEN_OUT:
        return jax.scipy.linalg.solve_triangular(U, b, lower=True)
    x: list[Array] = []
    for i in range(R):
        x.append((b[i] - sum((U[i, k] * x[k] for k in range(i)), jnp.zeros((), b.dtype))) / U[i, i])
    return jnp.stack(x)


def solve_upper(U: Float[Array, "R R"], b: Float[Array, " R"]) -> Float[Array, " R"]:
    """x with U^T x = b, for U lower triangular."""
    if U.shape[0] > _WRITTEN_OUT:
        return jax.scipy.linalg.solve_triangular(U, b, trans=1, lower=True)
    # The transpose with both axes turned round is lower triangular again.
    return solve_lower(U.T[::-1, ::-1], b[::-1])[::-1]


def log_determinant(U: Float[Array, "R R"]) -> Float[Array, ""]:
    """log det U of a triangular U with a positive diagonal."""
    return jnp.sum(jnp.log(jnp.diagonal(U)))


def as_factor(noise: Float[Array, "*R"], rank: int) -> Float[Array, "R R"]:
    """The factor L of the covariance L L^T: of a standard deviation, of one for each dimension, or L itself."""
    return noise if noise.ndim == 2 else jnp.diag(jnp.broadcast_to(noise, (rank,)))
