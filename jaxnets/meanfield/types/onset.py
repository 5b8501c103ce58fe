"""Where chaos begins in a network with types: where the bulk of its fixed point gets unstable as couplings grow."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._numerics import Root, as_program, bisect, frozen, in_parts, is_concrete
from ..._numerics.host import from_host
from ...couplings import Ensemble
from ...spectra import law
from .problem import Problem, Transfers, growth, known_memory, problem_of
from .static import TypedStaticState, fixed_point, scale_of_all

# Scales that are looked at, from half the scale at which units of the largest slope are unstable, up to 1000 times it.
_SCALES, _FIRST, _LAST, _HALVINGS = 64, 0.5, 1000.0, 45
_NODES, _TOLERANCE = 100, 1e-6
# Points, over the scale of phi, among which the largest slope is sought.
_POINTS, _WIDE = 401, 8.0


def typed_onset(ensemble: Ensemble, transfer: Transfers, input: Float[ArrayLike, "*K"] | None) -> Root:
    """The first scale of J at which the bulk of the fixed point reached from rest is unstable."""
    heard = known_memory(ensemble)
    problem = problem_of(ensemble, transfer, 0.0, None, input, memory=bool(heard))
    if is_concrete(problem.input, problem.functions):
        with jax.ensure_compile_time_eval():
            silent = [float(phi(jnp.zeros((), problem.tau.dtype))) == 0 for phi in problem.functions.transfers]
        if all(silent) and not np.any(np.asarray(problem.input)):
            return _edge_of_rest(ensemble, problem) if heard else _rest(problem)
    if heard:
        raise ValueError(
            "`input` must be None, and phi(0) = 0, for types with a memory kernel: only the onset from rest is derived"
        )
    return _onset(problem, scale_of_all(problem))


@as_program
def _rest(problem: Problem) -> Root:
    """x = 0 at any scale."""
    slopes = problem.functions.of_types(lambda phi, _, a: phi.slope(jnp.zeros_like(a)), problem.input)
    bulk = growth(problem.W, slopes**2)
    exists = bulk > 0
    residual = jnp.where(exists, 0, jnp.inf)
    value = jnp.where(exists, 1 / jnp.sqrt(jnp.where(exists, bulk, 1)), jnp.inf)
    return Root(value, residual, exists & problem.memoryless)


def _edge_of_rest(ensemble: Ensemble, problem: Problem) -> Root:
    """1 over the right edge of the spectrum of J phi'(0)."""
    slopes = problem.functions.of_types(lambda phi, _, a: phi.slope(jnp.zeros_like(a)), problem.input)
    edge = law(ensemble, [slope[None] for slope in slopes]).rightmost()
    right = edge.z.real
    exists = right > 0
    value = jnp.where(exists, 1 / jnp.where(exists, right, 1), jnp.inf)
    return Root(value, jnp.where(exists, 0, jnp.inf).astype(value.dtype), exists & edge.converged)


def _scaled(problem: Problem, s: Float[Any, ""], scale: Float[Array, ""]) -> TypedStaticState:
    more = eqx.tree_at(lambda p: (p.W, p.means), problem, (s * s * problem.W, s * problem.means))
    return fixed_point(more, scale, more.input, jnp.zeros_like(more.input), _NODES)


@in_parts
def _onset(problem: Problem, scale: Float[Array, ""]) -> Root:
    scales = _scales(problem, scale)
    if is_concrete(problem, scale):
        return from_host(_on_host(problem, scale, np.asarray(scales)))
    fixed = frozen(problem)

    def bulk(s):
        state = _scaled(fixed, s, scale)
        return jnp.where(state.converged, state.bulk, jnp.nan)

    above = jax.lax.map(bulk, scales) > 1
    first = jnp.argmax(above)
    exists = above[first] & (first > 0)
    low, high = scales[jnp.maximum(first - 1, 0)], scales[first]
    low, high = bisect(lambda s, _: ~(bulk(s) > 1), low, high, None, _HALVINGS)
    s = (low + high) / 2
    value, slope = jax.jvp(lambda s: _scaled(fixed, s, scale).bulk, (s,), (jnp.ones_like(s),))
    exact = s - (_scaled(problem, s, scale).bulk - 1) / jax.lax.stop_gradient(slope)
    residual = jax.lax.stop_gradient(jnp.abs(value - 1))
    converged = exists & (residual <= _TOLERANCE) & problem.memoryless
    return Root(jnp.where(exists, exact, jnp.inf), jnp.where(exists, residual, jnp.inf), converged)


@as_program
def _scales(problem: Problem, scale: Float[Array, ""]) -> Float[Array, " s"]:
    """Where the bulk is looked at."""
    x = scale * jnp.linspace(-_WIDE, _WIDE, _POINTS, dtype=scale.dtype)
    fixed = frozen(problem)
    steepest = fixed.functions.of_types(lambda phi, _, a: jnp.max(jnp.abs(phi.slope(x))), fixed.input)
    least = 1 / jnp.sqrt(growth(fixed.W, steepest**2))
    return least * jnp.geomspace(_FIRST, _LAST, _SCALES, dtype=scale.dtype)


def _on_host(problem: Problem, scale: Float[Array, ""], scales: Float[np.ndarray, " s"]) -> Root:
    """`_onset` of one concrete problem."""
    from scipy.optimize import brentq  # here, as it takes long to import

    def excess(s):
        state = _scaled(problem, np.asarray(s, scales.dtype), scale)
        known = bool(state.converged) and state.bulk > 0
        return float(np.log(state.bulk)) if known else -1.0

    first = next((k for k, s in enumerate(scales) if excess(s) > 0), 0)
    value = residual = np.inf
    if first > 0:
        value = brentq(excess, scales[first - 1], scales[first], xtol=1e-300, rtol=4 * np.finfo(float).eps)
        residual = abs(np.expm1(excess(value)))
    converged = (residual <= _TOLERANCE) and bool(problem.memoryless)
    found: Any = np.asarray(value, scales.dtype), np.asarray(residual, scales.dtype), np.asarray(converged)
    return Root(found[0], found[1], found[2])
