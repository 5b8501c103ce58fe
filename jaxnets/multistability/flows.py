r"""Exact flow of threshold networks, from event to event.

$$ \dot x = -x + f, \quad f = J h + b, \qquad h_i = 1 \ (x_i > 0), \quad h_i = 0 \ (x_i < 0), \quad
   h_i \in [0, 1] \ (x_i = 0) $$

Between two events h is constant and x(t) = f + (x(0) - f) e^{-t}; the next event is the first crossing of x_i = 0,
at t_i = ln(1 - x_i / f_i) with x_i f_i < 0. `sliding` decides what the units at 0 do then.

All of a flow is one loop, whose body `_step` either takes one pivot of an event whose sides are not consistent yet, or
completes that event (`_completed`, with the comparison that finds limit cycles, `_compare`) and goes on to the next
crossing (`_switched`). Many flows run in a few lanes of such loops: a lane whose flow has ended takes the next start.

Source: Tournoy & Doiron 2022 (arXiv 2210.03241) between events; Filippov 1988 for sliding.
"""

import dataclasses
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._arguments import positive, real_array, require, require_whole, scalar
from .._numerics import as_program, is_concrete
from .._results import Result
from ..couplings.operators import Operator
from .patterns import as_couplings, cast_bias
from .sliding import MAX_SLIDING, Network, Sides, contradictions, most_pivots, pivot, settle

# Numbers x_i in all lanes together. Each operation of a step takes some microseconds besides, and states should stay in
# the cache: for 1000 flows of 10 and of 30 units 2^12 to 2^14 differ by less than this machine's noise.
_TOGETHER = 2**13
# Lanes take new starts together, once this part of them is free.
_FREE = 1 / 4
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
        """x(t) = f + (x_k - f) e^{-(t - t_k)}, exact from the start to the end of the record.

        Raises `ValueError` if `t` is not one finite number.
        """
        t = scalar("t", t).astype(self.times.dtype)
        require("t", t, np.isfinite, "a finite number")
        k = jnp.maximum(jnp.searchsorted(self.times, t, side="right") - 1, 0)
        return self.fields[k] + (self.states[k] - self.fields[k]) * jnp.exp(self.times[k] - t)


class Flow(Result, axes={"n": "unit"}):
    """Where a start went.

    `fixed`: a fixed point, `state` = J `activity` + b, in whose orthant the flow remains from `time` on. `activity`
    is the pattern, with values between 0 and 1 in units that slide (`sliding`). `cycle`: a limit cycle of this `period`
    (0 at fixed points, NaN when undecided); `activity` is then h at the last event. Neither: undecided after
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
    x0: Float[ArrayLike, "*starts n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    max_events: int = 1000,
    record: int = 0,
    tolerance: float = 1e-9,
) -> Flow:
    r"""The exact flow of x' = -x + J H(x) + b from x0 to its attractor; times are in units of tau.

    x0 is one start (n,) or many (*starts, n), whose ends have these axes in front. Starts that end early make room for
    others, where with `vmap` they wait for the last one. An event costs O(n^2). The first `record` events are kept with
    the start. A limit cycle is a recurrence of the activity at an event together with a return of x: no unit differs by
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
    if x0.shape[-1:] != b.shape:
        raise ValueError(f"`x0` must have shape (..., {len(b)}), got {x0.shape}")
    require("x0", x0, np.isfinite, "finite numbers")
    require_whole("max_events", max_events)
    require_whole("record", record, 0)
    require("tolerance", tolerance, positive, "a finite number > 0")
    matrix = J.dense()
    options = max_events, record, tolerance
    with jax.default_matmul_precision("highest"):
        ends = None
        if is_concrete(matrix, b, x0) and np.all(np.diagonal(matrix) >= 0):
            # Units that do not inhibit themselves hardly ever slide: the program without places for them is smaller.
            ends = _ends(matrix, b, x0, *options, 0)
            fixed, cycle, events = (np.asarray(x) for x in (ends.fixed, ends.cycle, ends.events))
            given_up = ~(fixed | cycle) & (events < max_events)
            ends = None if np.any(given_up) else ends
        return _ends(matrix, b, x0, *options, min(len(b), MAX_SLIDING)) if ends is None else ends


def _ends(J, b, x0: Float[Array, "*starts n"], *options) -> Flow:
    if x0.ndim == 1:
        return _flow(J, b, x0, *options)
    ends = _flows(J, b, x0.reshape(-1, len(b)), *options)
    return jax.tree.map(lambda leaf: leaf.reshape(*x0.shape[:-1], *leaf.shape[1:]), ends)


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

    The last event is `pending` while its sides are not settled: units `at_zero` choose them, after `pivots` so far.
    Then `crossing` units have switched, and h was `left` behind. `charge` is the integral of h over time, and `path` a
    sum over events of a number that tells which orthant followed which.
    """

    x: Float[Array, " n"]
    sides: Sides
    pending: Bool[Array, ""]
    at_zero: Bool[Array, " n"]
    crossing: Bool[Array, " n"]
    pivots: Int[Array, ""]
    left: Float[Array, " n"]
    consistent: Bool[Array, ""]
    time: Float[Array, ""]
    charge: Float[Array, " n"]
    path: Float[Array, ""]
    events: Int[Array, ""]
    reference: _Reference
    cycle: Bool[Array, ""]
    trajectory: Trajectory | None


class _Problem(eqx.Module):
    """What is the same for all starts; `probes` are two fixed, generic vectors, whose products tell orthants apart."""

    net: Network
    probes: Float[Array, "2 n"]
    max_events: int = eqx.field(static=True)
    record: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    places: int = eqx.field(static=True)

    @classmethod
    def of(cls, J, b, max_events, record, tolerance, places):
        tolerance = max(tolerance, _RETURN_ROUNDINGS * float(jnp.finfo(J.dtype).eps))
        multiples = np.outer([1, math.sqrt(2)], np.arange(1, len(b) + 1))
        return cls(Network.of(J, b), jnp.asarray(np.cos(multiples), b.dtype), max_events, record, tolerance, places)


@as_program
def _flow(J, b, x0, *options) -> Flow:
    problem = _Problem.of(J, b, *options)
    goes_on = lambda state: ~_is_over(problem, state)
    return _end(jax.lax.while_loop(goes_on, lambda state: _step(problem, state), _start(problem, x0)))


class _Lanes(eqx.Module):
    """Flows under way, the start of each (the number of all starts for none), the next start, and ends so far."""

    state: _State
    start: Int[Array, " lanes"]
    next: Int[Array, ""]
    ends: Flow


@as_program
def _flows(J, b, starts: Float[Array, "m n"], *options) -> Flow:
    problem, m = _Problem.of(J, b, *options), len(starts)
    begin, step, end = jax.vmap(partial(_start, problem)), jax.vmap(partial(_step, problem)), jax.vmap(_end)
    over = jax.vmap(partial(_is_over, problem))
    index = jnp.arange(min(m, max(1, _TOGETHER // len(b))))

    def run(lanes: _Lanes) -> _Lanes:
        busy = lanes.start < m
        enough = jnp.where(lanes.next < m, max(1, round(_FREE * len(index))), jnp.sum(busy))
        state = jax.lax.while_loop(lambda state: jnp.sum(over(state) & busy) < enough, step, lanes.state)
        free = over(state) & busy
        row = jnp.where(free, lanes.start, m)
        ends = jax.tree.map(lambda all, new: all.at[row].set(new, mode="drop"), lanes.ends, end(state))
        start = jnp.where(free, jnp.minimum(lanes.next + jnp.cumsum(free) - 1, m), lanes.start)
        fresh = begin(starts[jnp.minimum(start, m - 1)])
        state = jax.tree.map(lambda new, old: jax.vmap(jnp.where)(free, new, old), fresh, state)
        return _Lanes(state, start, lanes.next + jnp.sum(free), ends)

    state = begin(starts[index])
    ends = jax.tree.map(lambda leaf: jnp.zeros((m, *leaf.shape[1:]), leaf.dtype), eqx.filter_eval_shape(end, state))
    lanes = _Lanes(state, index, jnp.asarray(len(index), index.dtype), ends)
    return jax.lax.while_loop(lambda lanes: jnp.any(lanes.start < m), run, lanes).ends


def _start(problem: _Problem, x0: Float[Array, " n"]) -> _State:
    n, dtype, net = len(x0), x0.dtype, problem.net
    at_zero = jnp.abs(x0) <= net.zero
    x = jnp.where(at_zero, 0, x0)
    sides = Sides.none_sliding(net, (x > 0).astype(dtype), problem.places)
    now, count = jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
    none, zeros = jnp.zeros(n, bool), jnp.zeros_like(x0)
    reference = _Reference(x, sides.h, none, now, zeros, now, count, none, now)
    room = jnp.zeros((problem.record + 1, n), dtype)
    empty = Trajectory(jnp.full(problem.record + 1, jnp.inf, dtype), room, room, room) if problem.record else None
    true, false = jnp.ones((), bool), jnp.zeros((), bool)
    return _State(
        x=x,
        sides=sides,
        pending=true,
        at_zero=at_zero,
        crossing=none,
        pivots=count,
        left=zeros,
        consistent=true,
        time=now,
        charge=zeros,
        path=now,
        events=count,
        reference=reference,
        cycle=false,
        trajectory=empty,
    )


def _is_over(problem: _Problem, state: _State) -> Bool[Array, ""]:
    left = jnp.any(_approaching(state.x, state.sides))
    return ~state.pending & ~((state.events < problem.max_events) & state.consistent & ~state.cycle & left)


def _step(problem: _Problem, state: _State) -> _State:
    """One pivot, or the end of an event and the next crossing; nothing where the flow is over."""
    net = problem.net
    wrong = contradictions(state.sides, state.at_zero)
    pivots = state.pending & jnp.any(wrong) & (state.pivots < most_pivots(state.sides, state.at_zero))
    pivoted = eqx.tree_at(
        lambda state: (state.sides, state.pivots),
        state,
        (pivot(net, state.sides, state.at_zero, wrong, state.pivots), state.pivots + 1),
    )
    completed = _choice(state.pending, _completed(problem, state, wrong), state)
    new = _choice(pivots, pivoted, _choice(_is_over(problem, completed), completed, _switched(net, completed)))
    # Fields of the new sides; where nothing is new they stay as they are.
    return eqx.tree_at(lambda state: state.sides, new, settle(net, new.sides))


def _choice(chosen: Bool[Array, ""], new: _State, old: _State) -> _State:
    return jax.tree.map(lambda new, old: jnp.where(chosen, new, old), new, old)


def _approaching(x: Float[Array, " n"], sides: Sides) -> Bool[Array, " n"]:
    """Units whose x_i will cross 0."""
    return (x * sides.f < 0) & ~sides.sliding


def _completed(problem: _Problem, state: _State, wrong: Bool[Array, " n"]) -> _State:
    """The state with its last event behind it, as far as its sides are consistent; the start is event 0."""
    sides = state.sides
    consistent = jnp.all(jnp.isfinite(sides.h)) & ~jnp.any(wrong)
    turn = (problem.probes[0] @ state.left) * (problem.probes[1] @ sides.h)
    changes = {
        "consistent": consistent,
        "path": state.path + jnp.where(state.events > 0, turn, 0),
        "pending": jnp.zeros((), bool),
        "trajectory": _recorded(state.trajectory, state.events, state.time, state.x, sides),
    }
    done = dataclasses.replace(state, **changes)
    reference, cycle = _compare(done, state.crossing, problem.tolerance)
    return dataclasses.replace(done, reference=reference, cycle=cycle)


def _switched(net: Network, state: _State) -> _State:
    """The state at the next crossing, with the sides that units are about to enter; their fields are to be settled."""
    x, f, h = state.x, state.sides.f, state.sides.h
    towards = _approaching(x, state.sides)
    wait = jnp.where(towards, jnp.log1p(-x / jnp.where(towards, f, 1)), jnp.inf)
    first = jnp.min(wait)
    arrived = f + (x - f) * jnp.exp(-first)
    small = jnp.abs(arrived) <= net.zero
    crossing = (wait == first) | (jnp.isfinite(wait) & small)
    # Switching units enter the other side, unless their field there sends them back.
    entered = eqx.tree_at(lambda sides: sides.h, state.sides, jnp.where(crossing, (f > 0).astype(h.dtype), h))
    return dataclasses.replace(
        state,
        x=jnp.where(crossing | small, 0, arrived),
        sides=entered,
        pending=jnp.ones((), bool),
        at_zero=crossing | small,
        crossing=crossing,
        pivots=jnp.zeros_like(state.pivots),
        left=h,
        time=state.time + first,
        charge=state.charge + first * h,
        events=state.events + 1,
    )


def _compare(state: _State, crossing: Bool[Array, " n"], tolerance: float) -> tuple[_Reference, Bool[Array, ""]]:
    """The event for later ones to be compared to, and whether this one closes a limit cycle.

    The references of Brent's algorithm lie ever further apart, so that a cycle of any length is met.
    """
    past, sides, x = state.reference, state.sides, state.x
    switched = past.switched | crossing
    amplitude = jnp.maximum(past.amplitude, jnp.max(jnp.where(switched, jnp.abs(x), 0)))
    same_sides = jnp.all(jnp.abs(sides.h - past.h) <= tolerance) & jnp.all(sides.sliding == past.sliding)
    cycle = (state.events > 0) & state.consistent & same_sides & (jnp.max(jnp.abs(x - past.x)) <= tolerance * amplitude)
    expired = ~cycle & (state.events >= past.expires)
    renewed = _Reference(
        x,
        sides.h,
        sides.sliding,
        state.time,
        state.charge,
        state.path,
        expires=jnp.maximum(2 * state.events, 1),
        switched=jnp.zeros_like(crossing),
        amplitude=jnp.zeros_like(state.time),
    )
    kept = eqx.tree_at(lambda past: (past.switched, past.amplitude), past, (switched, amplitude))
    return jax.tree.map(lambda new, old: jnp.where(expired, new, old), renewed, kept), cycle


def _end(end: _State) -> Flow:
    fixed = end.consistent & ~jnp.any(_approaching(end.x, end.sides))
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
