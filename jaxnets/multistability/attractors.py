"""Attractors of threshold networks, their basins, and where the flip of a single unit leads: by exact flows.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) for the flow; the counts are made here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, require, require_key, require_whole
from .._numerics import merge
from .._results import Result
from ..couplings.operators import Operator
from .flows import Flow, flow
from .patterns import as_couplings, cast_bias, cast_patterns, is_stable, require_concrete, stable_patterns


class Basins(Result, axes={"k": "attractor", "m": "start", "n": "unit"}):
    """Attractors by falling share of the starts, and where each start went.

    `activities` (k, n) are the mean activities of the attractors; of a fixed point this is its pattern of 0 and 1.
    `periods` are 0 at fixed points; `Flow` documents `itineraries`. `shares` are parts of the m starts, with their
    standard `error`, sqrt(p (1 - p) / m). `index` is the attractor of each start, -1 for an undecided start; the share
    of undecided starts is `undecided`.
    """

    activities: Float[np.ndarray, "k n"]
    periods: Float[np.ndarray, " k"]
    itineraries: Float[np.ndarray, " k"]
    shares: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    index: Int[np.ndarray, " m"]
    undecided: float


def basins(
    J: Operator | Float[ArrayLike, "n n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    num_starts: int,
    key: PRNGKeyArray,
    spread: float = 1.0,
    max_events: int = 1000,
    same: float = 1e-4,
) -> Basins:
    """The attractors that random starts reach, each once, with the shares of the starts that reach them.

    Starts are independent normal x_i of standard deviation `spread`, so that all orthants are equally likely.
    Two attractors are one if no mean activity differs by more than `same`, and neither period nor itinerary by more
    than `same` times the larger of 1 and their size. `flow` says which starts stay undecided after `max_events`. There
    is no promise that all attractors are found. The numbers come from the random `key`.

    Raises:
        ValueError: if ``J`` is not one finite square matrix, ``bias`` does not fit, one of them is traced,
            ``num_starts`` or ``max_events`` is not a whole number >= 1, or ``spread`` or ``same`` is not positive.
    """
    require_concrete(J, bias, "transform `flow` instead")
    J = as_couplings(J)
    b = cast_bias(bias, J)
    require_key("key", key)
    require_whole("num_starts", num_starts)
    require("spread", spread, positive, "a finite number > 0")
    require("same", same, positive, "a finite number > 0")
    require_whole("max_events", max_events)
    ends = _flows(J, b, spread * jax.random.normal(key, (num_starts, J.shape[-1]), J.dtype), max_events)
    labels = _labels(ends)
    kept, index = _merged(np.zeros((0, labels.shape[1])), labels, same)

    counts = np.bincount(index[index >= 0], minlength=len(kept))
    order = np.argsort(-counts, kind="stable")
    kept, shares = kept[order], counts[order] / num_starts
    return Basins(
        activities=kept[:, :-2],
        periods=kept[:, -2],
        itineraries=kept[:, -1],
        shares=shares,
        error=np.sqrt(shares * (1 - shares) / num_starts),
        index=np.append(np.argsort(order), -1)[index],
        undecided=float(np.mean(index < 0)),
    )


def _flows(J: Operator, b: Float[Array, " n"], starts: Float[Array, "m n"], max_events: int) -> Flow:
    """Each start's flow, in NumPy arrays."""
    return jax.tree.map(np.asarray, flow(J, starts, b, max_events=max_events))


def _labels(ends: Flow) -> Float[np.ndarray, "m n+2"]:
    """What tells attractors apart; NaN for undecided flows."""
    return np.column_stack([ends.mean_activity, ends.period, ends.itinerary])


def _merged(
    known: Float[np.ndarray, "k width"], labels: Float[np.ndarray, "m width"], same: float
) -> tuple[Float[np.ndarray, "l width"], Int[np.ndarray, " m"]]:
    """The known labels, followed by new ones, each once, and which of them each of ``labels`` is (-1 for NaN)."""
    # Few labels are distinct, so equal ones are put together before they are compared one by one.
    distinct, inverse = np.unique(labels, axis=0, return_inverse=True)
    lost = np.any(np.isnan(distinct), axis=1)
    new, index = merge(distinct, np.where(lost, np.inf, 0.0), same, relative=same, known=known)
    return np.concatenate([known, distinct[new]]), index[inverse.reshape(-1)]


class StateGraph(Result, axes={"k": "attractor", "num_stable": "fixed_point", "n": "unit"}):
    """Attractors as nodes, and where flips of single units lead from the stable patterns, which come first.

    `Basins` documents `activities` (k, n), `periods` and `itineraries` of the nodes, and the `shares` of
    random starts with their standard `error`. The first `num_stable` nodes are the stable patterns. `targets[a, i]` is
    the node reached from stable pattern a when unit i is flipped, -1 when undecided. `edges[a, c]` is the number of
    units whose flips lead from a to c.
    """

    activities: Float[np.ndarray, "k n"]
    periods: Float[np.ndarray, " k"]
    itineraries: Float[np.ndarray, " k"]
    num_stable: int
    shares: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    targets: Int[np.ndarray, "num_stable n"]
    edges: Int[np.ndarray, "num_stable k"]


def state_graph(
    J: Operator | Float[ArrayLike, "n n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    num_starts: int,
    key: PRNGKeyArray,
    patterns: Bool[ArrayLike, "P n"] | None = None,
    kick: float = 2.0,
    spread: float = 1.0,
    max_events: int = 1000,
    same: float = 1e-4,
) -> StateGraph:
    r"""How stable patterns and other attractors are connected by single flips, with the sizes of basins.

    From the fixed point f = J s + b of a stable pattern, unit i is kicked to x_i = (1 - kick) f_i: to the mirror image
    of its state with `kick` = 2, and not across 0 with `kick` < 1. The exact flow tells where this leads. Further nodes
    (limit cycles, sliding fixed points) are the attractors that kicks or random starts reach. `basins` documents
    `num_starts`, `spread`, `key`, `max_events` and `same`. `patterns` (P, n) of 0 and 1 are the stable patterns to
    begin with; if None, `stable_patterns` finds them.

    Raises:
        ValueError: where `basins` and `margins` do, and if ``patterns`` are not stable or ``kick`` is not positive.
    """
    require_concrete(J, bias, "transform `flow` instead")
    J = as_couplings(J)
    b = cast_bias(bias, J)
    require_key("key", key)
    require("kick", kick, positive, "a finite number > 0")
    if patterns is None:
        patterns = stable_patterns(J, b).patterns
    s = cast_patterns(patterns, J)
    if s.ndim != 2:
        raise ValueError(f"`patterns` must have shape (P, {len(b)}), got {s.shape}")
    require("patterns", is_stable(J, s, b), np.asarray, "stable in every row")

    found = basins(J, b, num_starts=num_starts, key=key, spread=spread, max_events=max_events, same=same)
    stable = np.column_stack([s, np.zeros((len(s), 2), J.dtype)])
    reached = np.column_stack([found.activities, found.periods, found.itineraries])
    nodes, node_of = _merged(stable, reached, same)
    targets = np.zeros(s.shape, int)
    if len(s):
        nodes, targets = _merged(nodes, _labels(_kicked(J, b, s, kick, max_events)), same)
        targets = targets.reshape(s.shape)

    shares, error = np.zeros((2, len(nodes)))
    shares[node_of], error[node_of] = found.shares, found.error
    edges = np.sum(targets[:, :, None] == np.arange(len(nodes))[None, None], axis=1)
    return StateGraph(nodes[:, :-2], nodes[:, -2], nodes[:, -1], len(s), shares, error, targets, edges)


def _kicked(J: Operator, b: Float[Array, " n"], s: Float[Array, "P n"], kick: float, max_events: int) -> Flow:
    """The P n flows from the fixed points of the patterns with one unit kicked, the units of a pattern in a row."""
    n = s.shape[1]
    points = (J @ s.T).T + b[None]
    starts = points[:, None] * (1 - kick * jnp.eye(n, dtype=J.dtype)[None])
    return _flows(J, b, starts.reshape(-1, n), max_events)
