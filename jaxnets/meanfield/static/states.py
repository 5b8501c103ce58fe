"""All fixed points that are found from random guesses, each once, with its stability."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ..._arguments import positive, require, require_instance, require_key, require_whole, scalar
from ..._numerics import is_concrete, merge
from ..._results import Result
from ...couplings import Ensemble
from ...transfer import Transfer
from ..types.static_states import typed_static_states
from .stability import StaticStability, static_stability
from .state import Input, StaticState, has_types, in_units, out_of_units, problem_of, solve_from_host

# Guesses of the variance are scale^2 e^{2 z}, z a standard normal number: most lie within three orders of magnitude.
_LOG_SPREAD = 2.0


class StaticStates(Result, axes={"k": "solution"}, batch={"state": "k", "stability": "k"}):
    """Distinct fixed points, sorted by the variance of their field, then by kappa; made by `static_states`.

    Every array of `state` (its problem too) and of `stability` has a leading axis (k,). `counts` is how many searches
    ended at each solution, `failed` how many found none.
    """

    state: StaticState
    stability: StaticStability
    counts: Int[Array, " k"]
    failed: Int[Array, ""]


def static_states(
    ensemble: Ensemble,
    transfer: Transfer | Sequence[Transfer],
    input: Input | Float[ArrayLike, "*K"] | None = None,
    *,
    key: PRNGKeyArray,
    tau: Float[ArrayLike, "*K"] | None = None,
    num_starts: int = 64,
    scale: Float[ArrayLike, ""] = 2.0,
    nodes: int = 100,
    same: float = 1e-6,
) -> Any:
    """All solutions of `static_state` found from `num_starts` random guesses, each once, with its stability.

    The first guess is a field of the input alone, from which the rest state is found. The others have Gaussian kappa_k
    of standard deviation `scale`, and log-normal variances around `scale`^2, over three orders of magnitude. Two
    results are one if no order parameter differs by more than `same`, relative to 1 + its size.

    With types, as in `static_state`, the result is a `TypedStaticStates`. Guesses of means are Gaussian around the
    inputs with standard deviation `scale`, guesses of variances as above, and two results are one by their means and
    variances, in units of the scale on which phi bends.

    Valid as `static_state`. Not all solutions need be found: compare with more starts. A continuous family of
    solutions, as a ring, is returned as the members that were found. Merging depends on values: under `jit` and `vmap`,
    and for derivatives, use `static_state`.

    Raises:
        ValueError: for traced arguments, num_starts < 1, a scale or `same` that is not positive, if no guess leads to a
            solution, and as `static_state`.

    Source: as `static_state`.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    require_key("key", key)
    require_whole("num_starts", num_starts)
    require_whole("nodes", nodes, least=20)
    scale = scalar("scale", scale)
    require("scale", scale, positive, "a finite number > 0")
    require("same", same, positive, "a finite number > 0")
    if has_types(ensemble, transfer, input, tau):
        return typed_static_states(ensemble, transfer, input, tau, key, num_starts, scale, nodes, same)
    problem = problem_of(ensemble, transfer, input)
    if not is_concrete(problem):
        raise ValueError("`ensemble` and `input` must be concrete to merge solutions: transform `static_state` instead")

    K, dtype = problem.modes.noise.shape[0], problem.modes.noise.dtype
    key_kappa, key_variance = jax.random.split(key)
    scale = scale.astype(dtype)
    kappa = scale * jax.random.normal(key_kappa, (num_starts, K), dtype)
    variance = scale**2 * jnp.exp(_LOG_SPREAD * jax.random.normal(key_variance, (num_starts,), dtype))
    problem, scaled, kappa, variance = in_units(problem, kappa.at[0].set(0), variance.at[0].set(0), scale)
    found = solve_from_host(scaled, np.asarray(kappa), np.asarray(variance), nodes=nodes)

    y = np.concatenate([found.kappa, np.stack([found.rate_power, found.response], -1)], -1)
    kept, index = merge(y, np.where(found.converged, found.residual, np.inf), same, relative=same)
    if not len(kept):
        raise ValueError(f"`num_starts` must reach a solution, got none from {num_starts}: try others, or more `nodes`")
    order = np.lexsort((*y[kept, :K].T[::-1], np.round(np.asarray(found.variance)[kept] / same)))
    kept = kept[order]
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[kept]), found)
    back = jax.vmap(lambda state: out_of_units(state, problem))
    return StaticStates(
        state=back(state),
        stability=jax.vmap(static_stability)(state),
        counts=jnp.asarray(np.bincount(index[index >= 0], minlength=len(kept))[order]),
        failed=jnp.asarray(np.sum(index < 0)),
    )
