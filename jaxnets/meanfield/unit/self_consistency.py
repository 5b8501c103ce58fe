"""Self-consistent unknowns: Anderson's acceleration, and the way to a solution from one without memory.

The random numbers of paths are drawn once, so that the averages over paths are a function of the unknowns, whose fixed
point is sought. The plain iteration moves away from a chaotic state.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._numerics import as_program, iterate
from .field import Averages, Problem, Unit, Unknowns, field_of, gaussian_averages
from .paths import path_averages

# Steps that the acceleration combines: the directions in which the plain iteration moves away are few. Differences of
# steps below this part of the largest are noise.
_WINDOW, _RANK = 10, 1e-6
# No step changes C^phi by more than this part of its size, so that C^phi(0) stays positive.
_LARGEST_CHANGE = 0.5
# The way from no memory and an additional noise: stages, steps at each, and the part of the paths they take. Their
# solutions are starting points, which need few digits. It is not `branches.follow`, which takes back a step that fails:
# after two steps of the acceleration on a part of the paths nothing tells a failure, so that each stage is taken once.
_STAGES, _STEPS_PER_STAGE, _FEWER_PATHS = 10, 2, 4


class Solution(NamedTuple):
    """Unknowns, and their largest difference from the answer of units, relative to their values at lag 0."""

    unknowns: Unknowns
    residual: Float[Array, ""]


def answer(problem: Problem, unknowns: Unknowns) -> Averages:
    """The averages over units of each type in the field that units with these unknowns make."""

    def of_type(transfer, _, tau, field):
        unit = Unit(transfer, tau, problem.grid, problem.nodes)
        if problem.normal is None:
            return gaussian_averages(unit, field)
        return path_averages(unit, field, problem.normal)

    return problem.functions.of_types(of_type, problem.tau, field_of(problem, unknowns))


def update(problem: Problem, unknowns: Unknowns) -> Unknowns:
    """The unknowns that units in this field have."""
    found = answer(problem, unknowns)
    return Unknowns(problem.grid.taper()[None] * found.c_phi, found.response)


@as_program
def follow(problem: Problem, start: Unknowns, tolerance: float, max_steps: int, noise: Float[Array, ""]) -> Solution:
    """The solution reached from ``start``, a state without memory whose noise is larger by ``noise``.

    The noise falls to its value while the memory grows, in stages with a part of the paths; then as `solve`.
    """
    few = None if problem.normal is None else problem.normal[:, : problem.normal.shape[1] // _FEWER_PATHS]
    eased = eqx.tree_at(lambda p: p.normal, problem, few, is_leaf=lambda x: x is None)
    parts = jnp.linspace(0, 1, _STAGES + 1, dtype=problem.sigma.dtype)[1:]

    def eased_by(unknowns, part):
        at = (problem.sigma + noise * (1 - part), part)
        stage = eqx.tree_at(lambda p: (p.sigma, p.memory), eased, at)
        return _accelerated(stage, unknowns, jnp.zeros_like(part), _STEPS_PER_STAGE).unknowns, None

    unknowns, _ = jax.lax.scan(eased_by, start, parts)
    return solve(problem, unknowns, tolerance, max_steps)


@as_program
def solve(problem: Problem, start: Unknowns, tolerance: float, max_steps: int) -> Solution:
    """The self-consistent unknowns near ``start``. Steps stop at a residual of ``tolerance``."""
    return _accelerated(problem, start, jnp.asarray(tolerance, problem.sigma.dtype), max_steps)


def _accelerated(problem: Problem, start: Unknowns, tolerance: Float[Array, ""], max_steps: int) -> Solution:
    r"""Anderson's acceleration of u <- G(u).

    With misses f = G(u) - u, and differences of the last steps in the rows of dU and dF, the next u is

    $$ u + f - (dU + dF)^T \gamma, \qquad \gamma = \mathrm{argmin}\, |f - dF^T \gamma|: $$

    a secant step along the directions of the last steps, a plain step along all others.
    """
    u, unravel = ravel_pytree(start)

    def miss(u):
        return ravel_pytree(update(problem, unravel(u)))[0] - u

    def relative(u, f):
        sizes = [jnp.max(jnp.abs(a) / jnp.abs(b[:, :1])) for a, b in zip(unravel(f), unravel(u), strict=True)]
        return jnp.max(jnp.stack(sizes))

    def step(state, _):
        u, f, dU, dF = state
        gamma = jnp.linalg.lstsq(dF.T, f, rcond=_RANK)[0]
        change = f - (dU + dF).T @ gamma
        growth = jnp.max(jnp.abs(unravel(change).c_phi) / jnp.abs(unravel(u).c_phi[:, :1]))
        change *= jnp.minimum(1, _LARGEST_CHANGE / growth)
        f_next = miss(u + change)
        dU, dF = (jnp.roll(a, 1, 0).at[0].set(b) for a, b in ((dU, change), (dF, f_next - f)))
        return (u + change, f_next, dU, dF), relative(u + change, f_next)

    none = jnp.zeros((_WINDOW, len(u)), u.dtype)
    (u, *_), residual = iterate(step, (u, miss(u), none, none), None, tolerance, max_steps)
    return Solution(unravel(u), residual)
