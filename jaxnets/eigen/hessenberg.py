"""Reduction of a real matrix to Hessenberg form by orthogonal similarity, of one matrix or, by `vmap`, of many.

A batch on a GPU needs fixed shapes, loops of known length, and nearly all work in matrix products: the library's own
routines take one matrix after the other there.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Counted for an H200 and not timed there: README.md.
_PANEL = 32  # columns whose reflections are applied together
_CUT = 8  # panels after which the trailing matrix is cut to its size
_MOST_CUTS = 4  # since each shape is compiled anew


@jax.default_matmul_precision("highest")
def hessenberg(A: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""Q^T A Q with zeros below its first subdiagonal, Q orthogonal.

    $$ A \leftarrow (1 - V T^T V^T)\,(A - Y V^T), \qquad Y = A V T $$

    for each panel of columns, whose Householder reflections are 1 - V T V^T together. Of 10 n^3 / 3 operations, 80%
    are products of matrices and 20% products of A with one vector a column. Backward stable: the eigenvalues are those
    of A + E, |E| a small multiple of the machine precision times |A|. NaN in, NaN out. Source: Golub & Van Loan,
    section 7.4; Quintana-Orti & van de Geijn 2006.
    """
    n = A.shape[0]
    # By a power of two: then squares do not overflow, and only squares of negligible entries vanish.
    unit = jnp.ldexp(jnp.ones((), A.dtype), jnp.frexp(jnp.max(jnp.abs(A)))[1])
    unit = jnp.where(jnp.isfinite(unit) & (unit > 0), unit, 1)
    A = A / unit
    panels = max(0, -(-(n - 2) // _PANEL))
    size = panels * _PANEL + 2  # past n, columns of zeros, which need no reflection
    A = jnp.pad(A, (0, max(0, size - n)))
    start = 0  # panels reduced
    for left in range(min(panels, _MOST_CUTS, 1 + panels // _CUT), 0, -1):
        stop = start + -(-(panels - start) // left)
        first = start * _PANEL
        done, rest = A[:, :first], A[:, first:]
        rest = jax.lax.fori_loop(start, stop, lambda p, rest, first=first: _reduce_panel(rest, first, p), rest)
        A = jnp.concatenate([done, rest], 1)
        start = stop
    return A[:n, :n] * unit


def _reduce_panel(A: Float[Array, "n m"], first, panel) -> Float[Array, "n m"]:
    """One panel reduced, given the columns from `first` on, which hold all that is left to do."""
    n, m = A.shape
    row, column = jnp.arange(n), first + jnp.arange(m)
    start = panel * _PANEL

    def add_column(j, carry):
        V, Y, T, H = carry
        k = start + j
        a = A[:, k - first] - Y @ V[k]
        a = a - V @ (T.T @ (V.T @ a))
        v, tau, beta = _reflector(a, k + 1)
        overlap = V.T @ v
        y = tau * (A @ v[first:] - Y @ overlap)
        T = T.at[:, j].set(-tau * (T @ overlap)).at[j, j].set(tau)
        H = H.at[:, j].set(jnp.where(row <= k, a, jnp.where(row == k + 1, beta, 0)))
        return V.at[:, j].set(v), Y.at[:, j].set(y), T, H

    tall, square = jnp.zeros((n, _PANEL), A.dtype), jnp.zeros((_PANEL, _PANEL), A.dtype)
    V, Y, T, H = jax.lax.fori_loop(0, _PANEL, add_column, (tall, tall, square, tall))
    A = A - Y @ V[first:].T
    A = A - V @ (T.T @ (V.T @ A))
    # Below the subdiagonal there is only rounding, which must not enter the panels to come.
    A = jax.lax.dynamic_update_slice(A, H, (0, start - first))
    return jnp.where((row[:, None] > column[None] + 1) & (column[None] < start + _PANEL), 0, A)


def _reflector(a: Float[Array, " n"], pivot):
    """v, tau, beta: (1 - tau v v^T) a is `a` before `pivot`, beta there and 0 beyond; tau = 0 if `a` has this form."""
    tail = jnp.where(jnp.arange(a.shape[0]) > pivot, a, 0)
    rest = jnp.sum(tail**2)
    alpha = a[pivot]
    beta = -jnp.copysign(jnp.sqrt(alpha**2 + rest), alpha)
    idle = rest == 0
    v = jnp.where(idle, 0, tail / jnp.where(idle, 1, alpha - beta))
    tau = jnp.where(idle, 0, (beta - alpha) / jnp.where(idle, 1, beta))
    return v.at[pivot].set(1), tau, jnp.where(idle, alpha, beta)
