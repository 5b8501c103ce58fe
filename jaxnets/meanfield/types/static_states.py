"""All fixed points of a network with types that are found from random guesses, each once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ..._numerics import is_concrete, least_squares_from_host, merge
from ..._numerics.host import from_host, on_host
from ..._results import Result
from ...couplings import Ensemble
from .problem import Transfers, problem_of
from .static import TypedStaticState, linear, near, out_of_scale, scale_of_all

# Guesses of variances are scale^2 e^{2 z}, z a standard normal number: most lie within three orders of magnitude.
_LOG_SPREAD = 2.0
# Where a search stops: Newton's method goes on from there. Steps of a search.
_SEARCHED, _MOST_STEPS = 1e-8, 200


class TypedStaticStates(Result, axes={"k": "solution"}, batch={"state": "k"}):
    """Distinct fixed points with types, sorted by the mean variance of the fields; made by `static_states`.

    Every array of `state` has a leading axis (k,); its `stable` and `modes` say what each does in time. `counts` is how
    many searches ended at each solution, `failed` how many found none.
    """

    state: TypedStaticState
    counts: Int[Array, " k"]
    failed: Int[Array, ""]


def typed_static_states(
    ensemble: Ensemble,
    transfer: Transfers,
    input: Any,
    tau: Float[ArrayLike, "*K"] | None,
    key: PRNGKeyArray,
    num_starts: int,
    scale: Float[Array, ""],
    nodes: int,
    same: float,
) -> TypedStaticStates:
    """The fixed points; the arguments are those of `static_states`."""
    problem = problem_of(ensemble, transfer, 0.0, tau, input)
    if not is_concrete(problem):
        raise ValueError("`ensemble` and `input` must be concrete to merge solutions: transform `static_state` instead")
    K, dtype = problem.tau.shape[0], problem.tau.dtype
    key_mean, key_variance = jax.random.split(key)
    z, y = (np.asarray(jax.random.normal(k, (num_starts, K), dtype)) for k in (key_mean, key_variance))
    problem, unit, spread = on_host((problem, scale_of_all(problem), scale.astype(dtype)))
    # Both parts of a law of fields in units of the scale of phi.
    laws = np.concatenate([problem.input + spread * z, spread**2 * np.exp(_LOG_SPREAD * y)], axis=1)
    laws[0] = np.concatenate([problem.input, 0 * problem.input])
    laws = laws / np.repeat([unit, unit**2], K)
    evaluate = lambda rows: tuple(map(np.stack, zip(*(linear(problem, unit, row, nodes) for row in rows), strict=True)))
    searched = max(_SEARCHED, 300 * float(np.finfo(dtype).eps))
    laws = least_squares_from_host(evaluate, laws.astype(dtype), np.asarray(searched, dtype), _MOST_STEPS)[0]
    found = near(problem, unit, np.stack([out_of_scale(y, unit) for y in laws]), nodes)
    every = jax.tree.map(lambda *leaves: np.stack(leaves), *found)

    points = np.concatenate([every.mean / unit, every.variance / unit**2], axis=1)
    kept, index = merge(points, np.where(every.converged, every.residual, np.inf), same, relative=same)
    if not len(kept):
        raise ValueError(f"`num_starts` must reach a solution, got none from {num_starts}: try others, or more `nodes`")
    total = np.round(every.variance[kept] @ problem.fractions / unit**2 / same)
    order = np.lexsort((*points[kept].T[::-1], total))
    state = jax.tree.map(lambda leaf: leaf[kept[order]], every)
    counts = np.bincount(index[index >= 0], minlength=len(kept))[order]
    return TypedStaticStates(from_host(state), jnp.asarray(counts), jnp.asarray(np.sum(index < 0)))
