r"""The method of Levenberg and Marquardt: steps d that make half the sum of squares of residuals r(u) fall.

$$ (A^T A + \lambda\, \mathrm{diag}(s))\, d = -A^T r, \qquad A = \frac{\partial r}{\partial u}, \qquad
   s_k = \max |A_k|^2 \text{ so far} $$

lambda falls after a step that does what the linear model says, and rises after others (Nielsen 1999). The scales s make
the search independent of the units of u, and all tests are relative, so that it is independent of the unit of r.

A step is written once, for NumPy and for JAX. A search is driven from the host where all is concrete, so that only the
residuals and their slopes are compiled; where something is traced, it is one compiled loop.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float, Int

from .._numerics import is_concrete

# First lambda: steps of well-conditioned problems are Newton's to a thousandth. A step is taken if the sum of squares
# falls by this part of what the linear model says, as in MINPACK.
_DAMPING, _TAKEN = 1e-3, 1e-4
# Smallest tolerance, in roundings.
_ROUNDINGS = 30

Evaluate = Callable[[Float[Array, "s p"]], tuple[Float[Array, "s m"], Float[Array, "s m p"]]]


class Search(eqx.Module):
    """The best point so far, with its residuals and slopes, and the step that is tried next; one for each start."""

    u: Float[Array, "s p"]
    r: Float[Array, "s m"]
    A: Float[Array, "s m p"]
    loss: Float[Array, " s"]
    first_loss: Float[Array, " s"]
    scale: Float[Array, "s p"]
    damping: Float[Array, " s"]
    growth: Float[Array, " s"]  # of the damping after the next step that is not taken
    step: Float[Array, "s p"]
    num_steps: Int[Array, " s"]
    going: Bool[Array, " s"]
    converged: Bool[Array, " s"]


def search(evaluate: Evaluate, starts: Float[Array, "s p"], max_steps: int, tolerance: float) -> Search:
    """The ends of the searches from all `starts`, which step together; `evaluate` gives residuals and slopes."""
    tolerance = max(float(tolerance), _ROUNDINGS * float(jnp.finfo(starts.dtype).eps))
    dtype = np.dtype(starts.dtype)
    at_start = evaluate(starts) if is_concrete(starts) else None
    if at_start is None or not is_concrete(at_start):  # what the residuals close over may be traced too
        before = _before(starts, *jax.eval_shape(evaluate, starts))

        def again(state):
            r, A = (x.astype(dtype) for x in evaluate(state.u + state.step))
            return jax.vmap(lambda state, r, A: _advance(jnp, state, r, A, max_steps, tolerance))(state, r, A)

        return jax.lax.while_loop(lambda state: jnp.any(state.going), again, jax.tree.map(jnp.asarray, before))
    state, found = _before(np.asarray(starts), *at_start), at_start
    while True:
        each = [jax.tree.map(lambda x, k=k: np.asarray(x[k], x.dtype), (state, *found)) for k in range(len(starts))]
        with np.errstate(all="ignore"):
            ends = [_advance(np, one, r.astype(dtype), A.astype(dtype), max_steps, tolerance) for one, r, A in each]
        state = jax.tree.map(lambda *parts: np.stack(parts), *ends)
        if not np.any(state.going):
            return state
        found = jax.tree.map(np.asarray, evaluate(jnp.asarray(state.u + state.step)))


def _before(starts, r, A) -> Search:
    """The state before the starts are evaluated: any finite residuals are better."""
    s, p = starts.shape
    dtype = np.dtype(starts.dtype)
    number = lambda x: np.full(s, x, dtype)
    state: Any = Search  # of NumPy's arrays: nothing is compiled for them
    return state(
        u=starts if isinstance(starts, np.ndarray) else jax.lax.stop_gradient(starts),
        r=np.zeros(r.shape, dtype),
        A=np.zeros(A.shape, dtype),
        loss=number(np.inf),
        first_loss=number(np.inf),
        scale=np.zeros((s, p), dtype),
        damping=number(_DAMPING),
        growth=number(2),
        step=np.zeros((s, p), dtype),
        num_steps=np.zeros(s, np.dtype(jnp.result_type(int))),
        going=np.ones(s, bool),
        converged=np.zeros(s, bool),
    )


def _advance(xp: ModuleType, state: Search, r, A, max_steps: int, tolerance: float) -> Search:
    """One search after its step led to residuals `r` and slopes `A`; one that has ended stays as it is."""
    first = xp.isinf(state.loss)
    loss = xp.sum(r**2) / 2
    finite = xp.isfinite(loss) & xp.all(xp.isfinite(A))
    along = state.A @ state.step
    predicted = -xp.sum(along * (state.r + along / 2))
    ratio = (state.loss - loss) / xp.where(predicted > 0, predicted, 1)
    taken = finite & (first | ((predicted > 0) & (ratio > _TAKEN)))

    eased = state.damping * xp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
    damping = xp.where(first, state.damping, xp.where(taken, eased, state.damping * state.growth))
    growth = xp.where(taken, xp.full_like(state.growth, 2), 2 * state.growth)
    pairs = ((state.u + state.step, state.u), (r, state.r), (A, state.A), (loss, state.loss))
    u, r, A, loss = (xp.where(taken, new, before) for new, before in pairs)
    first_loss = xp.where(first, loss, state.first_loss)
    scale = xp.maximum(state.scale, xp.sum(A**2, axis=0))
    rounding = xp.asarray(xp.finfo(u.dtype).eps, u.dtype)
    step = _step(xp, A, r, scale, xp.maximum(damping, rounding))
    # As long as the linear model wants it, whatever the damping.
    longest = _step(xp, A, r, scale, rounding)
    size, gain, offset = (xp.sqrt(xp.sum(x**2)) for x in (r, A @ step, A @ longest))
    known = xp.all(xp.abs(longest) <= tolerance * xp.abs(u))
    exact = size <= tolerance * xp.sqrt(2 * first_loss)
    arrived = (offset <= tolerance * size) | known
    # Rounding of the residuals may leave no shorter step that makes them fall, and an offset.
    stalled = gain <= tolerance * size
    converged = arrived | (stalled & (exact | (offset <= tolerance**0.5 * size)))
    num_steps = state.num_steps + 1
    going = xp.isfinite(loss) & ~arrived & ~stalled & (num_steps < max_steps)
    ended: Any = Search
    ended = ended(
        u, r, A, loss, first_loss, scale, damping, growth, step, num_steps, going, xp.isfinite(loss) & converged
    )
    return jax.tree.map(lambda after, before: xp.where(state.going, after, before), ended, state)


def _step(xp: ModuleType, A, r, scale, damping) -> Any:
    """By the QR decomposition, since A^T A has the square of the condition of A."""
    rows = xp.sqrt(damping * xp.where(scale > 0, scale, xp.ones_like(scale)))
    Q, R = xp.linalg.qr(xp.concatenate([A, xp.diag(rows)]))
    right = Q[: r.shape[0]].T @ r
    if xp is np:
        return -scipy.linalg.solve_triangular(R, right, check_finite=False)
    return -jax.scipy.linalg.solve_triangular(R, right)
