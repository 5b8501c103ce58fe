r"""Exact flow of threshold networks, from event to event.

$$ \dot x = -x + f, \quad f = J h + b, \qquad h_i = 1 \ (x_i > 0), \quad h_i = 0 \ (x_i < 0), \quad
   h_i \in [0, 1] \ (x_i = 0) $$

Between two events h is constant and x(t) = f + (x(0) - f) e^{-t}; the next event is the first crossing of x_i = 0,
at t_i = ln(1 - x_i / f_i) with x_i f_i < 0. `sliding` decides what the units at 0 do then. An event consists of three
steps, each a function here: the time to the next crossing (`_waiting`), the switch (`_switch`), and the comparison with
an earlier event that finds limit cycles (`_compare`).

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) between events; Filippov 1988 for sliding.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._arguments import positive, real_array, require, require_whole
from .._results import Result
from ..couplings.operators import Operator
from .patterns import as_couplings, cast_bias
from .sliding import Network, Sides, resolve, settle

# Returns are compared to at least this many roundings: states carry the rounding of every event since.
_RETURN_ROUNDINGS = 1e4


class Trajectory(Result, axes={"num": "times", "n": "unit"}):
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


class Flow(Result, axes={"n": "unit"}):
    """Where a start went.

    `fixed`: a fixed point, `state` = J `activity` + b, in whose orthant the flow remains from `time` on. `activity`
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
    J: Operator | Float[ArrayLike, "n n"],
    x0: Float[ArrayLike, " n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    max_events: int = 1000,
    record: int = 0,
    tolerance: float = 1e-9,
) -> Flow:
    r"""The exact flow of x' = -x + J H(x) + b from x0 to its attractor; times are in units of tau.

    One start x0 (n,); map over more with `vmap`. An event costs O(n^2). The first `record` events are kept with the
    start. A limit cycle is a recurrence of the activity at an event together with a return of x: no unit differs by
    more than `tolerance` times the largest |x_i| at events of the cycle; the period is as good as that. States closer
    to 0 than rounding errors (1e-13 of the sum of |J_ij| and |b_i| in float64) count as 0, so that switches at one
    time are taken together, and spirals that reach an intersection of walls in finite time slide on; fields as small
    count as 0 too, and are marginal: a unit there decays to 0 on its side and never switches. A spiral that takes
    infinite time, as of two units with J_ii = 0 around x = 0, ends undecided.

    Raises:
        ValueError: if ``J`` is not one finite square matrix, ``x0`` or ``bias`` does not fit or is not finite,
            ``max_events`` is not a whole number >= 1 or ``record`` not one >= 0, or ``tolerance`` is not positive.

    Sources: Tournoy & Doiron 2022 (arXiv 2210.03241); Filippov, Differential Equations with Discontinuous Righthand
    Sides (1988).
    """
    J = as_couplings(J)
    b = cast_bias(bias, J)
    x0 = real_array("x0", x0).astype(J.dtype)
    if x0.shape != b.shape:
        raise ValueError(f"`x0` must have shape {b.shape}, got {x0.shape}: map over more with `jax.vmap`")
    require("x0", x0, np.isfinite, "finite numbers")
    require_whole("max_events", max_events)
    require_whole("record", record, 0)
    require("tolerance", tolerance, positive, "a finite number > 0")
    with jax.default_matmul_precision("highest"):
        return _flow(J.dense(), b, x0, max_events, record, tolerance)


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


class _State(eqx.Module):
    """The network after some `events`.

    `charge` is the integral of h over time, and `path` a sum over events of a number that tells which orthant followed
    which.
    """

    x: Float[Array, " n"]
    sides: Sides
    consistent: Bool[Array, ""]
    time: Float[Array, ""]
    charge: Float[Array, " n"]
    path: Float[Array, ""]
    events: Int[Array, ""]
    reference: _Reference
    cycle: Bool[Array, ""]
    trajectory: Trajectory | None


@eqx.filter_jit
def _flow(J, b, x0, max_events: int, record: int, tolerance: float) -> Flow:
    net = Network.of(J, b)
    tolerance = max(tolerance, _RETURN_ROUNDINGS * float(jnp.finfo(J.dtype).eps))

    def goes_on(state):
        left = jnp.any(jnp.isfinite(_waiting(state.x, state.sides)))
        return (state.events < max_events) & state.consistent & ~state.cycle & left

    # Two fixed and generic vectors, whose products with h tell orthants apart.
    probes = jnp.cos(jnp.outer(jnp.array([1, math.sqrt(2)], x0.dtype), jnp.arange(1, len(x0) + 1, dtype=x0.dtype)))
    event = lambda state: _event(net, probes, state, tolerance)
    return _end(jax.lax.while_loop(goes_on, event, _start(net, x0, record)))


def _start(net: Network, x0: Float[Array, " n"], record: int) -> _State:
    n, dtype = len(x0), x0.dtype
    at_zero = jnp.abs(x0) <= net.zero
    x = jnp.where(at_zero, 0, x0)
    sides, consistent = resolve(net, settle(net, Sides.none_sliding((x > 0).astype(dtype))), at_zero)
    now, count = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
    none, zeros, never = jnp.zeros(n, bool), jnp.zeros_like(x0), jnp.zeros((), bool)
    reference = _Reference(x, sides.h, sides.sliding, now, zeros, now, count + 1, none, now)
    room = jnp.zeros((record + 1, n), dtype)
    empty = Trajectory(jnp.full(record + 1, jnp.inf, dtype), room, room, room) if record else None
    trajectory = _recorded(empty, count, now, x, sides)
    return _State(x, sides, consistent, now, zeros, now, count, reference, never, trajectory)


def _waiting(x: Float[Array, " n"], sides: Sides) -> Float[Array, " n"]:
    """Time to the crossing of x_i = 0 of every unit."""
    towards = (x * sides.f < 0) & ~sides.sliding
    return jnp.where(towards, jnp.log1p(-x / jnp.where(towards, sides.f, 1)), jnp.inf)


def _event(net: Network, probes: Float[Array, "2 n"], state: _State, tolerance: float) -> _State:
    """The state after the next event."""
    wait, x, crossing, sides, consistent = _switch(net, state.x, state.sides)
    h = state.sides.h
    time, charge, events = state.time + wait, state.charge + wait * h, state.events + 1
    path = state.path + (probes[0] @ h) * (probes[1] @ sides.h)
    trajectory = _recorded(state.trajectory, events, time, x, sides)
    moved = _State(x, sides, consistent, time, charge, path, events, state.reference, state.cycle, trajectory)
    reference, cycle = _compare(moved, crossing, tolerance)
    return eqx.tree_at(lambda state: (state.reference, state.cycle), moved, (reference, cycle))


def _switch(net: Network, x: Float[Array, " n"], sides: Sides):
    """The next crossing: how long it takes, x then, which units cross, and the sides, with whether they were found."""
    wait = _waiting(x, sides)
    first = jnp.min(wait)
    f, h = sides.f, sides.h
    arrived = f + (x - f) * jnp.exp(-first)
    small = jnp.abs(arrived) <= net.zero
    crossing = (wait == first) | (jnp.isfinite(wait) & small)
    at_zero = crossing | small
    # Switching units enter the other side, unless their field there sends them back.
    entered = eqx.tree_at(lambda sides: sides.h, sides, jnp.where(crossing, (f > 0).astype(h.dtype), h))
    sides, consistent = resolve(net, settle(net, entered), at_zero)
    return first, jnp.where(at_zero, 0, arrived), crossing, sides, consistent


def _compare(state: _State, crossing: Bool[Array, " n"], tolerance: float) -> tuple[_Reference, Bool[Array, ""]]:
    """The event for later ones to be compared to, and whether this one closes a limit cycle.

    The references of Brent's algorithm lie ever further apart, so that a cycle of any length is met.
    """
    past, sides, x = state.reference, state.sides, state.x
    switched = past.switched | crossing
    amplitude = jnp.maximum(past.amplitude, jnp.max(jnp.where(switched, jnp.abs(x), 0)))
    same_sides = jnp.all(jnp.abs(sides.h - past.h) <= tolerance) & jnp.all(sides.sliding == past.sliding)
    cycle = state.consistent & same_sides & (jnp.max(jnp.abs(x - past.x)) <= tolerance * amplitude)
    expired = ~cycle & (state.events >= past.expires)
    renewed = _Reference(
        x,
        sides.h,
        sides.sliding,
        state.time,
        state.charge,
        state.path,
        expires=2 * state.events,
        switched=jnp.zeros_like(crossing),
        amplitude=jnp.zeros_like(state.time),
    )
    kept = eqx.tree_at(lambda past: (past.switched, past.amplitude), past, (switched, amplitude))
    return jax.tree.map(lambda new, old: jnp.where(expired, new, old), renewed, kept), cycle


def _end(end: _State) -> Flow:
    fixed = end.consistent & ~jnp.any(jnp.isfinite(_waiting(end.x, end.sides)))
    since = end.time - end.reference.time
    over_cycle = (end.charge - end.reference.charge) / jnp.where(end.cycle, since, 1)
    nan = jnp.full((), jnp.nan, end.x.dtype)
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


def _recorded(trajectory: Trajectory | None, k, time, x, sides: Sides) -> Trajectory | None:
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
