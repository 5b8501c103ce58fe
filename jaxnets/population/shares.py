r"""The share of exponents below each of several thresholds: the equations of `tangent_field`, solved one after another.

One compiled loop takes all thresholds from above, at each of them the regulators and one ring of times or two. Each
solution is the start of the next. Derivatives are those of the implicit functions, by GMRES.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Bool, Float

from .._numerics import as_complex, frozen
from .._numerics.anderson import accelerated
from ..couplings import Ensemble
from .gains import Gains
from .tangent_field import Field, Ring, answer, waves

# Regulators eta: a first one, and the two from which F is extrapolated.
_EASY, _ETAS = 0.1, (0.003, 0.001)
# Acceleration: steps that it combines; the largest change of a logarithm; the largest miss, and steps. At g = 3 between
# 8 and 20 steps are needed at each regulator.
_DEPTH, _LARGEST, TOLERANCE, _STEPS = 6, 2.0, 3e-6, 120
# P and q do not fall below this part of themselves in one step.
_LEAST = 1e-2
# Beyond so many turns of decay one ring is enough: its error is e^{-|s + 1| period}.
_TURNS = 12.0
# Derivatives have this relative error.
_RELATIVE, _RESTART, _RESTARTS = 1e-5, 30, 6


class Shares(NamedTuple):
    """F at each threshold from each group of paths, the misses, and by how much the regulator changed F."""

    below: Float[Array, "S G"]
    miss: Float[Array, " S"]
    shift: Float[Array, " S"]


class _Equations(eqx.Module):
    """What all tasks share; `rings` have the two rings and the groups of paths as their first axes."""

    ensemble: Ensemble
    rings: Ring
    beta: Float[Array, ""]  # <phi'>, which sets the units of the unknowns
    shift: Float[Array, " S"]  # a = s + 1
    has_memory: bool = eqx.field(static=True)


class _Task(NamedTuple):
    """One solution: at which threshold, on which ring, with which regulator, from the last solution on which ring."""

    threshold: Any
    ring: Any
    eta: Any
    start: Any
    is_used: Any


def shares(
    ensemble: Ensemble,
    gains: Gains,
    thresholds: Float[Array, " S"],
    period: float,
    has_memory: bool,
    at_rest: Bool[Array, ""],
) -> Shares:
    """F at rising thresholds. With gains that are constant, `at_rest`, two rings are needed at all of them."""
    num = thresholds.shape[0]
    beta = jnp.mean(jnp.einsum("gn,gnm->gm", gains.weights, gains.values))
    equations = _Equations(ensemble, _rings(gains, period), beta, thresholds + 1, has_memory)
    tasks = _tasks(equations.shift, period, at_rest)
    response, _, miss = _solved(equations, tasks)
    by_kind = lambda x: x[1:].reshape(num, 2, 2, *x.shape[1:])[::-1]  # (threshold, ring, regulator)
    response, miss, used = by_kind(response), by_kind(miss), by_kind(tasks.is_used)[:, 1, 0]
    # Frequencies beyond the last: R falls as the response of a unit with the instantaneous part of its memory.
    first = ensemble.r_and_kappa(jnp.zeros((), as_complex(beta).dtype))[0].real if has_memory else 0.0
    highest = np.pi * gains.values.shape[-1] / period
    below = response + (0.5 + jnp.arctan((equations.shift - first * beta) / highest) / np.pi)[:, None, None, None]
    both = lambda x: jnp.where(used[:, None], (x[:, 0] + jnp.where(used[:, None], x[:, 1], 0)) / 2, x[:, 0])
    moved = (below[:, :, 1] - below[:, :, 0]) * (_ETAS[1] / (_ETAS[0] - _ETAS[1]))
    misses = jnp.max(miss, 2)
    return Shares(
        both(below[:, :, 1] + moved),
        jnp.maximum(misses[:, 0], jnp.where(used, misses[:, 1], 0)),
        jnp.max(jnp.abs(both(moved)), 1),
    )


def _rings(gains: Gains, period: float) -> Ring:
    def ring(twist):
        w = waves(gains.values.shape[-1], period, twist)
        of_time = jnp.asarray(w.of_time, gains.values.dtype)
        matrices = jnp.einsum("ia,gni,ib->gnab", of_time, gains.values, of_time)
        groups = gains.values.shape[0]
        spread = lambda x: jnp.broadcast_to(jnp.asarray(x), (groups, *np.shape(x)))
        frequency, sign = (spread(x.astype(of_time.dtype)) for x in (w.frequency, w.sign))
        length = spread(np.asarray(period, of_time.dtype))
        return Ring(matrices, gains.weights, frequency, spread(w.other), sign, length)

    return jax.tree.map(lambda *x: jnp.stack(x), ring(0.0), ring(0.5))


def _tasks(shift: Float[Array, " S"], period: float, at_rest: Bool[Array, ""]) -> _Task:
    """Thresholds from above, each on the first ring and then on the second, with falling regulators."""
    num = shift.shape[0]
    threshold = np.repeat(np.arange(num)[::-1], 4)
    ring, eta = np.tile([0, 0, 1, 1], num), np.tile(_ETAS, 2 * num)
    near = at_rest | (jnp.abs(shift) * period <= _TURNS)
    first = lambda x, of_first: jnp.concatenate([jnp.asarray([of_first], x.dtype), x])
    is_used = (ring == 0) | near[threshold]
    # The second ring starts from the first, where it has not been used at the threshold before.
    after = np.minimum(threshold + 1, num - 1)
    fresh = (ring == 1) & (eta == _ETAS[0]) & ~(near[after] & (threshold < num - 1))
    start = jnp.where(fresh, 0, ring)
    threshold, ring = jnp.asarray(threshold), jnp.asarray(ring)
    return _Task(
        first(threshold, num - 1),
        first(ring, 0),
        first(jnp.asarray(eta, shift.dtype), _EASY),
        first(start, 0),
        first(is_used, True),
    )


# --- solutions ----------------------------------------------------------------------------------------------------


def _pack(field: Field, has_memory: bool) -> Float[Array, " k"]:
    parts = [jnp.log(field.P), jnp.log(field.q)]
    return jnp.concatenate(parts + [field.t.real, field.t.imag] if has_memory else parts)


def _unpack(y: Float[Array, " k"], has_memory: bool) -> Field:
    parts = jnp.split(y, 4 if has_memory else 2)
    t = jax.lax.complex(*parts[2:]) if has_memory else as_complex(jnp.zeros_like(parts[0]))
    return Field(jnp.exp(parts[0]), jnp.exp(parts[1]), t)


def _update(
    equations: _Equations, task: _Task, y: Float[Array, "G k"]
) -> tuple[Float[Array, "G k"], Float[Array, " G"]]:
    """The next unknowns of each group, and its R at equal times."""
    a, memory = equations.shift[task.threshold], equations.has_memory

    def of_group(ring, y):
        field = _unpack(y, memory)
        found = answer(equations.ensemble, ring, a, task.eta, field, has_memory=memory)
        # tr P = tr Q holds at the solution, which the iteration alone approaches slowly.
        scale = jnp.sqrt(found.balance)
        # Far from the solution P may be negative with memory, and q where weights are.
        P, q = (jnp.maximum(new, _LEAST * old) for new, old in zip(found.field[:2], field[:2], strict=True))
        field = Field(P * scale, q / scale, found.field.t)
        return _pack(field, memory), found.response

    return jax.vmap(of_group)(jax.tree.map(lambda x: x[task.ring], equations.rings), y)


@eqx.filter_custom_jvp
def _solved(equations: _Equations, tasks: _Task):
    """R at equal times (tasks, groups), the unknowns and the misses of all tasks."""
    equations, tasks = frozen((equations, tasks))
    _, groups, m = equations.rings.frequency.shape
    dtype = equations.shift.dtype
    w = equations.rings.frequency[0, 0]
    ones, beta = jnp.ones_like(w), equations.beta
    t = as_complex(beta) / jax.lax.complex(ones, w)
    guess = _pack(Field(ones * np.exp(-1), ones * beta**2, t), equations.has_memory)
    guess = jnp.broadcast_to(guess, (2, groups, guess.shape[0]))
    # The second ring has one frequency for both waves of its first pair.
    nearest = np.arange(guess.shape[-1]) // 2 * 2

    def solve(last, task):
        def update(y):
            new, response = _update(equations, task, y.reshape(last.shape[1:]))
            return new.ravel(), response

        steps = jnp.where(task.is_used, _STEPS, 0)
        start = jnp.where(task.start == task.ring, last[task.ring], last[task.start][:, nearest]).ravel()
        nothing = jnp.zeros(groups, dtype)
        tolerance = jnp.asarray(TOLERANCE, dtype)
        y, response, miss = accelerated(update, start, nothing, tolerance, steps, depth=_DEPTH, largest=_LARGEST)
        y = y.reshape(last.shape[1:])
        # A failed solution is no start.
        kept = task.is_used & jnp.all(jnp.isfinite(y))
        return last.at[task.ring].set(jnp.where(kept, y, last[task.ring])), (response, y, miss)

    return jax.lax.scan(solve, guess, tasks)[1]


@_solved.def_jvp
def _(primals, tangents):
    equations, tasks = primals
    found = _solved(equations, tasks)
    _, ys, _ = found

    def moved(_, at):
        task, y = at
        return None, jax.lax.cond(task.is_used, _moved, lambda *args: jnp.zeros_like(y[:, 0]), task, y, *both)

    both = equations, tangents[0]
    _, response = jax.lax.scan(jax.checkpoint(moved), None, (tasks, ys))
    return found, (response, jnp.zeros_like(ys), jnp.zeros_like(found[2]))


def _moved(task: _Task, y: Float[Array, "G k"], equations: _Equations, tangent: Any) -> Float[Array, " G"]:
    """How R at equal times moves with the equations."""
    _, (forced, direct) = eqx.filter_jvp(lambda e: _update(e, task, y), (equations,), (tangent,))
    linear = jax.linearize(lambda y: _update(equations, task, y), y)[1]
    operator = lx.FunctionLinearOperator(lambda v: v - linear(v)[0], jax.eval_shape(lambda: y))
    solver = lx.GMRES(rtol=_RELATIVE, atol=_RELATIVE, restart=_RESTART, max_steps=_RESTART * _RESTARTS)
    dy = lx.linear_solve(operator, forced, solver, throw=False).value
    return direct + linear(dy)[1]
