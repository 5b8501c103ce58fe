"""All fixed points that are found from random guesses, each once, with its stability."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ..._arguments import positive, require, require_whole, scalar
from ..._numerics import is_concrete, merge
from ..._results import Result
from ...couplings import Ensemble
from ...transfer import Transfer
from .stability import StaticStability, static_stability
from .state import Input, Problem, StaticState, problem_of, solve


class StaticStates(Result, axes={"k": "solution"}, batch={"state": "k", "stability": "k"}):
    """Distinct solutions, sorted by the variance of their field, then by kappa; made by `static_states`.

    Every array of `state` (its problem too) and of `stability` has a leading axis (k,); `counts` starts arrived at each
    solution, `failed` at none.
    """

    state: StaticState
    stability: StaticStability
    counts: Int[Array, " k"]
    failed: Int[Array, ""]  # starts that arrived nowhere


def static_states(
    ensemble: Ensemble,
    transfer: Transfer,
    input: Input | None = None,
    *,
    key: PRNGKeyArray,
    starts: int = 64,
    scale: Float[ArrayLike, ""] = 2.0,
    nodes: int = 100,
    same: float = 1e-6,
) -> StaticStates:
    """All solutions of `static_state` found from random guesses, each once, with its stability.

    The first guess is no field beside the input, from which the rest state is found. The others have kappa_k Gaussian
    of standard deviation `scale`, and log-normal variances around `scale`^2, over three orders of magnitude. Two
    results of which no order parameter differs by more than `same`, relative to 1 + its size, are one. There is no
    promise that all are found: compare with more `starts`. Solutions that are not isolated, as the points of a ring,
    are returned as many as were found.

    Merging depends on values: under `jit` and `vmap`, and for derivatives, use `static_state`.

    Raises:
        ValueError: for traced arguments, starts < 1, a scale or `same` that is not positive, where no start arrives at
            a solution, and where `static_state` does.

    Source: as `static_state`.
    """
    problem = problem_of(ensemble, transfer, input)
    if not is_concrete(problem):
        raise ValueError("`ensemble` and `input` must be concrete to merge solutions: transform `static_state` instead")
    require_whole("starts", starts)
    require_whole("nodes", nodes, least=20)
    scale = scalar("scale", scale)
    require("scale", scale, positive, "a finite number > 0")
    require("same", same, positive, "a finite number > 0")

    K, dtype = problem.modes.noise.shape[0], problem.modes.noise.dtype
    key_kappa, key_variance = jax.random.split(key)
    scale = scale.astype(dtype)
    kappa = scale * jax.random.normal(key_kappa, (starts, K), dtype)
    variance = scale**2 * jnp.exp(2 * jax.random.normal(key_variance, (starts,), dtype))
    found = _solve_many(problem, kappa.at[0].set(0), variance.at[0].set(0), nodes)

    y = np.concatenate([found.kappa, np.stack([found.rate_power, found.response], -1)], -1)
    kept, index = merge(y, np.where(found.converged, found.residual, np.inf), same, relative=same)
    if not len(kept):
        raise ValueError(f"`starts` must reach a solution, got none from {starts}: try others, or more `nodes`")
    order = np.lexsort((*y[kept, :K].T[::-1], np.round(np.asarray(found.variance)[kept] / same)))
    kept = kept[order]
    state = jax.tree.map(lambda leaf: leaf[kept], found)
    return StaticStates(
        state=state,
        stability=jax.vmap(static_stability)(state),
        counts=jnp.asarray(np.bincount(index[index >= 0], minlength=len(kept))[order]),
        failed=jnp.asarray(np.sum(index < 0)),
    )


@eqx.filter_jit
def _solve_many(problem: Problem, kappa: Float[Array, "m K"], variance: Float[Array, " m"], nodes: int) -> StaticState:
    return jax.vmap(lambda kappa, variance: solve(problem, kappa, variance, nodes))(kappa, variance)
