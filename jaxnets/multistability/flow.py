r"""Exact flow of threshold networks, from event to event: trajectories, attractors, basins, transitions.

$$ \dot x = -x + f, \quad f = W h + b, \qquad h_i = 1 \ (x_i > 0), \quad h_i = 0 \ (x_i < 0), \quad
   h_i \in [0, 1] \ (x_i = 0) $$

Between two events h is constant and x(t) = f + (x(0) - f) e^{-t}; the next event is the first crossing of x_i = 0,
at t_i = ln(1 - x_i / f_i) with x_i f_i < 0. A unit with x_i = 0 whose field would drive it back from either side
slides (Filippov): it stays there, with the h_i that keeps f_i = 0. Several units may slide at once; their h solve a
linear system, W_SS h_S + W_SA h_A + b_S = 0.

At an event the units at 0 must be on, off or sliding consistently, which is a linear complementarity problem in
[0, 1]. It is solved by principal pivoting from the sides that the units were about to enter; each pivot updates the
inverse of W_SS by a term of rank one. Where the matrix -W of these units has positive principal minors (one unit:
W_ii < 0) there is one consistent choice, else there may be several, of which one is taken.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) between events; Filippov 1988 for sliding.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, real_array, require, require_whole
from ..couplings.operators import Operator
from .patterns import as_bias, as_coupling, as_patterns, is_stable, require_concrete, stable_patterns

# Units that may slide at once; with more a flow ends undecided.
MAX_SLIDING = 32


class Trajectory(eqx.Module):
    """The recorded events: from `times[k]`, at `states[k]`, the flow goes towards `fields[k]`, by `activities[k]`.

    The first entry is the start; entries after the last event have infinite times and repeat it.
    """

    times: Float[Array, " num"]
    states: Float[Array, "num n"]
    fields: Float[Array, "num n"]
    activities: Float[Array, "num n"]

    def at(self, t: Float[ArrayLike, ""]) -> Float[Array, " n"]:
        """x(t) = f + (x_k - f) e^{-(t - t_k)}, exact from the start to the end of the record."""
        t = jnp.asarray(t, self.times.dtype)
        k = jnp.maximum(jnp.searchsorted(self.times, t, side="right") - 1, 0)
        return self.fields[k] + (self.states[k] - self.fields[k]) * jnp.exp(self.times[k] - t)


class Flow(eqx.Module):
    """Where a start went.

    `fixed`: a fixed point, `state` = W `activity` + b, in whose orthant the flow remains from `time` on. `activity`
    is the pattern, with values between 0 and 1 in units that slide (`sliding`). `cycle`: a limit cycle of this `period`
    (0 at fixed points, NaN when undecided); `activity` is then that of the last event. Neither: undecided after
    `max_events`, or earlier where no consistent sides were found or more than 32 units would slide at once.
    `mean_activity` is the average of h over the attractor, the same from whichever start it was reached, and
    `itinerary` a number (0 at fixed points) that also tells the order in which a cycle visits its orthants. `events` is
    the number of events, `trajectory` what was recorded.
    """

    state: Float[Array, " n"]
    activity: Float[Array, " n"]
    sliding: Bool[Array, " n"]
    mean_activity: Float[Array, " n"]
    time: Float[Array, ""]
    events: Int[Array, ""]
    fixed: Bool[Array, ""]
    cycle: Bool[Array, ""]
    period: Float[Array, ""]
    itinerary: Float[Array, ""]
    trajectory: Trajectory | None


def flow(
    W: Operator | Float[ArrayLike, "n n"],
    x0: Float[ArrayLike, " n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    max_events: int = 1000,
    record: int = 0,
    tolerance: float = 1e-9,
) -> Flow:
    r"""The exact flow of x' = -x + W H(x) + b from x0 to its attractor; times are in units of tau.

    One start x0 (n,); map over more with `vmap`. An event costs O(n^2). The first `record` events are kept with the
    start. A limit cycle is a recurrence of the activity at an event together with a return of x: no unit differs by
    more than `tolerance` times the largest |x_i| at events of the cycle; the period is as good as that. States closer
    to 0 than rounding errors (1e-13 of the sum of |W_ij| and |b_i| in float64) count as 0, so that switches at one
    time are taken together, and spirals that reach an intersection of walls in finite time slide on; fields as small
    count as 0 too, and are marginal: a unit there decays to 0 on its side and never switches. A spiral that takes
    infinite time, as of two units with W_ii = 0 around x = 0, ends undecided.

    Raises:
        ValueError: if ``W`` is not one finite square matrix, ``x0`` or ``bias`` does not fit or is not finite,
            ``max_events`` is not a whole number >= 1 or ``record`` not one >= 0, or ``tolerance`` is not positive.

    Sources: Tournoy & Doiron 2022 (arXiv 2210.03241); Filippov, Differential Equations with Discontinuous Righthand
    Sides (1988).
    """
    W = as_coupling(W)
    b = as_bias(bias, W)
    x0 = real_array("x0", x0).astype(W.dtype)
    if x0.shape != b.shape:
        raise ValueError(f"`x0` must have shape {b.shape}, got {x0.shape}: map over more with `jax.vmap`")
    require("x0", x0, np.isfinite, "finite numbers")
    require_whole("max_events", max_events)
    require_whole("record", record, 0)
    require("tolerance", tolerance, positive, "a finite number > 0")
    with jax.default_matmul_precision("highest"):
        return _flow(W.dense(), b, x0, max_events, record, tolerance)


class _Sides(eqx.Module):
    """What units do: `h` in [0, 1], the fields f = W h + b, who slides, and W_SS^{-1} for these.

    They have places, `slots`; rows and columns of `inverse` for places that are not `used` are 0.
    """

    h: Float[Array, " n"]
    f: Float[Array, " n"]
    sliding: Bool[Array, " n"]
    slots: Int[Array, " m"]
    used: Bool[Array, " m"]
    inverse: Float[Array, "m m"]


class _State(eqx.Module):
    x: Float[Array, " n"]
    sides: _Sides
    consistent: Bool[Array, ""]
    time: Float[Array, ""]
    charge: Float[Array, " n"]  # integral of h over time
    path: Float[Array, ""]  # sum over events of a number that tells which orthant followed which
    events: Int[Array, ""]
    reference: "_Reference"
    cycle: Bool[Array, ""]
    trajectory: Trajectory | None


class _Reference(eqx.Module):
    """An earlier event to which later ones are compared, and the largest |x_i| that a switching unit had since."""

    x: Float[Array, " n"]
    h: Float[Array, " n"]
    sliding: Bool[Array, " n"]
    time: Float[Array, ""]
    charge: Float[Array, " n"]
    path: Float[Array, ""]
    expires: Int[Array, ""]
    switched: Bool[Array, " n"]
    amplitude: Float[Array, ""]


@eqx.filter_jit
def _flow(W, b, x0, max_events: int, record: int, tolerance: float) -> Flow:
    n = len(b)
    scale = jnp.sum(jnp.abs(W), 1) + jnp.abs(b)
    # States and fields below are zero: rounding errors of sums, with room for those of a few pivots.
    zero = 512 * jnp.finfo(W.dtype).eps * jnp.maximum(scale, jnp.finfo(W.dtype).tiny)
    tolerance = max(tolerance, 1e4 * float(jnp.finfo(W.dtype).eps))

    def fields(h, sliding):
        f = W @ h + b
        return jnp.where(sliding | (jnp.abs(f) <= zero), 0, f)

    def settled(sides):
        """With h of the sliding units solved for: f = 0 there, given the others."""
        h = jnp.where(sides.sliding, 0, sides.h)
        for _ in range(2):  # the second time for the rounding errors of the inverse
            h = h.at[sides.slots].add(-(sides.inverse @ (W @ h + b)[sides.slots]))
        return _Sides(h, fields(h, sides.sliding), sides.sliding, sides.slots, sides.used, sides.inverse)

    def contradicted(sides, at_zero):
        """Units at 0 that would not stay on their side, or whose sliding h is none."""
        slack = 64 * jnp.finfo(W.dtype).eps
        wrong_side = jnp.where(sides.h > 0.5, sides.f < 0, sides.f > 0)
        return at_zero & jnp.where(sides.sliding, (sides.h < -slack) | (sides.h > 1 + slack), wrong_side)

    def patience(at_zero):
        """Pivots in the first order, which a few for every unit at 0 suffice for if there is one solution."""
        return 4 * jnp.sum(at_zero, dtype=jnp.int32) + 4

    def pivot(sides, at_zero, count):
        """A contradicted unit changes: slides where that attracts, else takes a side.

        The first one, by which matrices with positive principal minors are solved. For others this may go round, and
        after a while the order changes with every pivot, and repelling units slide in between.
        """
        ordered = count < patience(at_zero)
        unit = jnp.arange(n, dtype=W.dtype)
        shuffled = jnp.mod((unit + 1) * (count + 1).astype(W.dtype) * ((math.sqrt(5) - 1) / 2), 1)
        rank = jnp.where(ordered, unit, shuffled)
        i = jnp.argmin(jnp.where(contradicted(sides, at_zero), rank, jnp.inf)).astype(jnp.int32)
        P, slots, slides = sides.inverse, sides.slots, sides.sliding[i]
        # Its own place, or the first that is free.
        k = jnp.where(slides, jnp.argmax(sides.used & (slots == i)), jnp.argmin(sides.used))
        column, row = P @ W[slots, i], W[i, slots] @ P
        # Slope of f_i with h_i, the other sliding units answering.
        d = jnp.where(slides, 1 / P[k, k], W[i, i] - W[i, slots] @ column)
        # A unit leaves the wall to where its field then points; one that enters it needs f_i to fall with h_i.
        on = jnp.where(slides, (sides.h[i] > 1) == (d < 0), sides.h[i] < 0.5)
        attracts = jnp.where(ordered | (count % 3 > 0), d < -zero[i], jnp.abs(d) > zero[i])
        enters = ~slides & attracts & ~jnp.all(sides.used)
        # Bordering by a row and a column, or taking them out: one update of rank one.
        place = jnp.arange(len(slots)) == k
        u = jnp.where(slides, P[:, k], jnp.where(place, -1, column))
        v = jnp.where(slides, P[k], jnp.where(place, -1, row))
        weight = jnp.where(slides, -d, jnp.where(enters, 1 / jnp.where(enters, d, 1), 0))
        left = slides & (place[:, None] | place[None])
        chosen, moves = jnp.arange(n, dtype=i.dtype) == i, place & (slides | enters)
        return settled(
            _Sides(
                h=jnp.where(chosen, on.astype(W.dtype), sides.h),
                f=sides.f,
                sliding=jnp.where(chosen, enters, sides.sliding),
                slots=jnp.where(moves, jnp.where(enters, i, 0), slots),
                used=jnp.where(moves, enters, sides.used),
                inverse=jnp.where(left, 0, P + weight * jnp.outer(u, v)),
            )
        )

    def resolve(sides, at_zero):
        """Sides that contradict nothing, and whether they were found."""

        def wrong(carry):
            sides, count = carry
            return (count < 16 * patience(at_zero)) & jnp.any(contradicted(sides, at_zero))

        sides, _ = jax.lax.while_loop(
            wrong, lambda carry: (pivot(carry[0], at_zero, carry[1]), carry[1] + 1), (sides, jnp.zeros((), jnp.int32))
        )
        # NaN, from a singular system, compares as no contradiction.
        return sides, jnp.all(jnp.isfinite(sides.h)) & ~jnp.any(contradicted(sides, at_zero))

    def waiting(x, sides):
        """Time to the crossing of x_i = 0 of every unit."""
        towards = (x * sides.f < 0) & ~sides.sliding
        return jnp.where(towards, jnp.log1p(-x / jnp.where(towards, sides.f, 1)), jnp.inf)

    def goes_on(state):
        return (
            (state.events < max_events)
            & state.consistent
            & ~state.cycle
            & jnp.any(jnp.isfinite(waiting(state.x, state.sides)))
        )

    def event(state):
        wait = waiting(state.x, state.sides)
        first = jnp.min(wait)
        f, h = state.sides.f, state.sides.h
        arrived = f + (state.x - f) * jnp.exp(-first)
        crossing = (wait == first) | (jnp.isfinite(wait) & (jnp.abs(arrived) <= zero))
        at_zero = crossing | (jnp.abs(arrived) <= zero)
        x = jnp.where(at_zero, 0, arrived)
        # Switching units enter the other side, unless their field there sends them back.
        h_next = jnp.where(crossing, (f > 0).astype(h.dtype), h)
        sides, consistent = resolve(settled(eqx.tree_at(lambda sides: sides.h, state.sides, h_next)), at_zero)

        time, charge, events = state.time + first, state.charge + first * h, state.events + 1
        path = state.path + (probes[0] @ h) * (probes[1] @ sides.h)
        past = state.reference
        switched = past.switched | crossing
        amplitude = jnp.maximum(past.amplitude, jnp.max(jnp.where(switched, jnp.abs(x), 0)))
        same_sides = jnp.all(jnp.abs(sides.h - past.h) <= tolerance) & jnp.all(sides.sliding == past.sliding)
        cycle = consistent & same_sides & (jnp.max(jnp.abs(x - past.x)) <= tolerance * amplitude)
        # Brent: references ever further apart, so that a cycle of any length is met.
        expired = ~cycle & (events >= past.expires)
        renewed = _Reference(x, sides.h, sides.sliding, time, charge, path, 2 * events, none, jnp.zeros_like(time))
        kept = eqx.tree_at(lambda past: (past.switched, past.amplitude), past, (switched, amplitude))
        reference = jax.tree.map(lambda new, old: jnp.where(expired, new, old), renewed, kept)
        trajectory = _recorded(state.trajectory, events, time, x, sides)
        return _State(x, sides, consistent, time, charge, path, events, reference, cycle, trajectory)

    none, zeros, never = jnp.zeros(n, bool), jnp.zeros_like(x0), jnp.zeros((), bool)
    now, count = jnp.zeros((), x0.dtype), jnp.zeros((), jnp.int32)
    # Fixed and generic.
    probes = jnp.cos(jnp.outer(jnp.array([1, math.sqrt(2)], x0.dtype), jnp.arange(1, n + 1, dtype=x0.dtype)))
    at_zero = jnp.abs(x0) <= zero
    x = jnp.where(at_zero, 0, x0)
    h, m = (x > 0).astype(x.dtype), min(n, MAX_SLIDING)
    free = jnp.zeros(m, jnp.int32), jnp.zeros(m, bool), jnp.zeros((m, m), x.dtype)
    sides, consistent = resolve(settled(_Sides(h, h, none, *free)), at_zero)
    reference = _Reference(x, sides.h, sides.sliding, now, zeros, now, count + 1, none, now)
    room = jnp.zeros((record + 1, n), x.dtype)
    empty = Trajectory(jnp.full(record + 1, jnp.inf, x.dtype), room, room, room) if record else None
    trajectory = _recorded(empty, count, now, x, sides)
    start = _State(x, sides, consistent, now, zeros, now, count, reference, never, trajectory)
    end = jax.lax.while_loop(goes_on, event, start)

    fixed = end.consistent & ~jnp.any(jnp.isfinite(waiting(end.x, end.sides)))
    since = end.time - end.reference.time
    over_cycle = (end.charge - end.reference.charge) / jnp.where(end.cycle, since, 1)
    nan = jnp.full((), jnp.nan, x.dtype)
    return Flow(
        state=jnp.where(fixed, end.sides.f, end.x),
        activity=end.sides.h,
        sliding=end.sides.sliding,
        mean_activity=jnp.where(fixed, end.sides.h, jnp.where(end.cycle, over_cycle, nan)),
        time=end.time,
        events=end.events,
        fixed=fixed,
        cycle=end.cycle,
        period=jnp.where(fixed, 0, jnp.where(end.cycle, since, nan)),
        itinerary=jnp.where(fixed, 0, jnp.where(end.cycle, end.path - end.reference.path, nan)),
        trajectory=_filled(end.trajectory, end.events),
    )


def _recorded(trajectory: Trajectory | None, k, time, x, sides: _Sides) -> Trajectory | None:
    """With event k, if there is room."""
    if trajectory is None:
        return None
    entry = Trajectory(time, x, sides.f, sides.h)
    return jax.tree.map(lambda rows, value: rows.at[k].set(value, mode="drop"), trajectory, entry)


def _filled(trajectory: Trajectory | None, events) -> Trajectory | None:
    """With what follows the last event repeating it."""
    if trajectory is None:
        return None
    k = jnp.minimum(jnp.arange(len(trajectory.times), dtype=events.dtype), events)
    rows = (trajectory.states[k], trajectory.fields[k], trajectory.activities[k])
    return Trajectory(trajectory.times, *rows)


# --- attractors and their basins


class Basins(eqx.Module):
    """Attractors by falling share of the starts, and where each start went.

    `activities` is the mean activity of each attractor (the pattern, at a fixed point), `periods` its period (0 at a
    fixed point), `itineraries` as in `Flow`; `shares` of the m starts and their `standard_errors`, sqrt(p (1 - p) / m).
    `index` is the attractor of each start, -1 for undecided ones, whose share is `undecided`.
    """

    activities: Float[np.ndarray, "k n"]
    periods: Float[np.ndarray, " k"]
    itineraries: Float[np.ndarray, " k"]
    shares: Float[np.ndarray, " k"]
    standard_errors: Float[np.ndarray, " k"]
    index: Int[np.ndarray, " m"]
    undecided: float


def basins(
    W: Operator | Float[ArrayLike, "n n"],
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
    Attractors whose mean activity, period and order of visits differ by at most `same` are one. See `flow` for what
    is decided; there is no promise that all attractors are found.

    Raises:
        ValueError: if ``W`` is not one finite square matrix, ``bias`` does not fit, one of them is traced,
            ``num_starts`` or ``max_events`` is not a whole number >= 1, or ``spread`` or ``same`` is not positive.
    """
    require_concrete(W, bias, "transform `flow` instead")
    W = as_coupling(W)
    b = as_bias(bias, W)
    require_whole("num_starts", num_starts)
    require("spread", spread, positive, "a finite number > 0")
    require("same", same, positive, "a finite number > 0")
    require_whole("max_events", max_events)
    ends = _flows(W, b, spread * jax.random.normal(key, (num_starts, W.shape[-1]), W.dtype), max_events)
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
        standard_errors=np.sqrt(shares * (1 - shares) / num_starts),
        index=np.append(np.argsort(order), -1)[index],
        undecided=float(np.mean(index < 0)),
    )


def _flows(W: Operator, b: Float[Array, " n"], starts: Float[Array, "m n"], max_events: int) -> Flow:
    """Each start's flow, as many together as their matrices leave room for."""
    together = max(1, 2**24 // W.shape[-1] ** 2)
    parts = [_many(W, b, starts[k : k + together], max_events) for k in range(0, len(starts), together)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@eqx.filter_jit
def _many(W: Operator, b: Float[Array, " n"], starts: Float[Array, "m n"], max_events: int) -> Flow:
    return jax.vmap(lambda x0: flow(W, x0, b, max_events=max_events))(starts)


def _labels(ends: Flow) -> Float[np.ndarray, "m n+2"]:
    """What tells attractors apart; NaN for undecided flows."""
    return np.column_stack([ends.mean_activity, ends.period, ends.itinerary])


def _merged(
    known: Float[np.ndarray, "k width"], labels: Float[np.ndarray, "m width"], same: float
) -> tuple[Float[np.ndarray, "l width"], Int[np.ndarray, " m"]]:
    """The known labels, followed by new ones, each once, and which of them each of ``labels`` is (-1 for NaN)."""
    # Few are distinct: equal ones first, then those within `same`.
    distinct, inverse = np.unique(labels, axis=0, return_inverse=True)
    kept, index = list(known), np.full(len(distinct), -1)
    for position, label in enumerate(distinct):
        if np.any(np.isnan(label)):
            continue
        for k, other in enumerate(kept):
            if np.all(np.abs(label - other) <= same * np.maximum(1, np.abs(other))):
                index[position] = k
                break
        else:
            index[position] = len(kept)
            kept.append(label)
    return np.array(kept).reshape(-1, labels.shape[1]), index[inverse.reshape(-1)]


class StateGraph(eqx.Module):
    """Attractors as nodes, and where flips of single units lead from the stable patterns, which come first.

    `activities` (k, n), `periods` and `itineraries` of the nodes as in `Basins`, `num_stable` of which are stable
    patterns; `shares` of random starts with `standard_errors`. `targets[a, i]` is the node reached from stable pattern
    a when unit i is flipped, -1 when undecided; `edges[a, c]` is the number of units that lead from a to c.
    """

    activities: Float[np.ndarray, "k n"]
    periods: Float[np.ndarray, " k"]
    itineraries: Float[np.ndarray, " k"]
    num_stable: int
    shares: Float[np.ndarray, " k"]
    standard_errors: Float[np.ndarray, " k"]
    targets: Int[np.ndarray, "num_stable n"]
    edges: Int[np.ndarray, "num_stable k"]


def state_graph(
    W: Operator | Float[ArrayLike, "n n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    num_starts: int,
    key: PRNGKeyArray,
    patterns: Bool[ArrayLike, "K n"] | None = None,
    kick: float = 2.0,
    spread: float = 1.0,
    max_events: int = 1000,
    same: float = 1e-4,
) -> StateGraph:
    r"""How the stable patterns, and what else attracts, are connected by single flips, with the sizes of basins.

    From the fixed point f = W s + b of a stable pattern, unit i is kicked to x_i = (1 - kick) f_i: to the mirror image
    of its state with `kick` = 2, and not across 0 with `kick` < 1. The exact flow tells where this leads. Further nodes
    (limit cycles, sliding fixed points) are those that kicks or random starts reach; the latter, and `spread`,
    `max_events` and `same`, are those of `basins`. `patterns` are the stable ones to begin with, those of
    `stable_patterns` if None.

    Raises:
        ValueError: where `basins` and `margins` do, and if ``patterns`` are not stable or ``kick`` is not positive.
    """
    require_concrete(W, bias, "transform `flow` instead")
    W = as_coupling(W)
    b = as_bias(bias, W)
    require("kick", kick, positive, "a finite number > 0")
    if patterns is None:
        patterns = stable_patterns(W, b).patterns
    s = as_patterns(patterns, W)
    require("patterns", is_stable(W, s, b), np.asarray, "stable in every row")
    num, n = s.shape

    found = basins(W, b, num_starts=num_starts, key=key, spread=spread, max_events=max_events, same=same)
    stable = np.column_stack([s, np.zeros((num, 2), W.dtype)])
    reached = np.column_stack([found.activities, found.periods, found.itineraries])
    nodes, node_of = _merged(stable, reached, same)
    targets = np.zeros((0, n), int)
    if num:
        points = (W @ s.T).T + b[None]
        kicked = points[:, None] * (1 - kick * jnp.eye(n, dtype=W.dtype)[None])
        nodes, targets = _merged(nodes, _labels(_flows(W, b, kicked.reshape(-1, n), max_events)), same)
    targets = targets.reshape(num, n)

    shares, errors = np.zeros((2, len(nodes)))
    shares[node_of], errors[node_of] = found.shares, found.standard_errors
    edges = np.sum(targets[:, :, None] == np.arange(len(nodes))[None, None], axis=1)
    return StateGraph(nodes[:, :-2], nodes[:, -2], nodes[:, -1], num, shares, errors, targets, edges)
