"""Saddle points of a replica-symmetric problem, exact to rounding and differentiable."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import require, require_instance, require_whole, vector
from .._numerics import as_program, frozen, is_concrete, last_steps
from .._numerics.host import from_host, light, namespace, newton_on_host, on_host
from .._results import Result
from .problem import Problem

R = TypeVar("R")

# Newton steps that complete the relaxation. From an error of .01 four are enough; two more are for flat directions.
SEARCH = 6
# At most so many on the host, where steps are halved if they lead away.
MOST_SEARCH = 40
# Newton steps with gradients. n of them make derivatives up to order n exact, and the last one measures the residual.
POLISH = 3
# Largest residual of a converged saddle point, or so many machine precisions where these are more (single precision).
TOLERANCE, ROUNDING = 1e-8, 3000


class Saddle(Result):
    """A saddle point with order parameters y, made by `saddle`.

    `free_energy`, `replicon` and `stability` are what these methods of the `Problem` give there.
    """

    y: Float[Array, " k"]
    free_energy: Float[Array, ""]
    replicon: Float[Array, ""]
    stability: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def saddle(problem: Problem, guess: Float[ArrayLike, " k"], *, num_steps: int = 30) -> Saddle:
    r"""The saddle point to which a `guess` of the order parameters leads.

    $$ F(y) = 0 $$

    The search takes `num_steps` of the problem's own iteration and then Newton's; with num_steps=0 it is Newton's
    method alone, which finds unstable saddle points too. The saddle point is differentiable in the fields of the
    problem; its `stability` is not. `residual` is the largest error of the equations and of the quadratures;
    `converged` asks for 1e-8, and for order parameters in the range that has a meaning. Neither `replicon` nor
    `stability` is asked for: valid as a state of equilibrium where both are positive.

    Raises:
        ValueError: for a `problem` of another class, and a guess that is no vector of finite numbers, or of another
            length.
    """
    require_instance("problem", problem, Problem, "a `Problem`")
    guess = vector("guess", guess)
    require("guess", guess, np.isfinite, "finite numbers")
    require_whole("num_steps", num_steps, least=0)
    precision = jnp.result_type(*(leaf for leaf in jax.tree.leaves(problem) if eqx.is_inexact_array(leaf)))
    try:
        fits = jax.eval_shape(problem.mismatch, jax.ShapeDtypeStruct(guess.shape, precision)).shape == guess.shape
    except (TypeError, ValueError):  # shapes within the equations do not fit
        fits = False
    if not fits:
        raise ValueError(f"`guess` must have as many entries as `problem` has order parameters, got {guess.shape[0]}")
    return solve(problem, guess.astype(precision), num_steps)


def solve(problem: Problem, guess: Float[Array, " k"], num_steps: int) -> Saddle:
    """`saddle` for arguments that are known to be right; NumPy arrays are answered by such."""
    if namespace(guess) is np:
        return _found_on_host(light(problem), guess, num_steps)
    return (_on_host(solve) if runs_on_host(problem, guess) else _found)(problem, guess, num_steps)


def either_way(solver: Callable[..., R]) -> Callable[..., R]:
    """A solver of a `Problem`, its first argument, that goes to the host where it can, and is compiled elsewhere."""
    compiled, hosted = as_program(solver), _on_host(solver)

    @functools.wraps(solver)
    def run(problem: Problem, *args: Any) -> R:
        return (hosted if runs_on_host(problem, *args) else compiled)(problem, *args)

    return run


def runs_on_host(problem: Problem, *others: Any) -> bool:
    """Whether a solver should take this one problem to the host."""
    return problem.in_numpy and is_concrete(problem, others)


def _on_host(solver: Callable[..., R]) -> Callable[..., R]:
    def run(*args: Any) -> R:
        with np.errstate(all="ignore"):  # failures are data
            return from_host(solver(*on_host(args)))

    return run


def _found_on_host(problem: Any, guess: Float[Any, " k"], num_steps: int) -> Saddle:
    y = problem.relaxed(guess, num_steps)
    y, _ = newton_on_host(problem.mismatch, y, MOST_SEARCH, problem.jacobian)
    return _described(problem, *_newton(problem, problem, y))


@as_program
def _found(problem: Problem, guess: Float[Array, " k"], num_steps: int) -> Saddle:
    fixed = frozen(problem)
    y = fixed.relaxed(jax.lax.stop_gradient(guess), num_steps)
    y = jax.lax.fori_loop(0, SEARCH, lambda _, y: _newton(fixed, fixed, y)[0], y)
    y, miss = last_steps(lambda y, problem: _newton(problem, fixed, y), y, problem, POLISH)
    return _described(problem, y, miss)


def _newton(problem: Problem, fixed: Problem, y: Float[Array, " k"]) -> tuple[Float[Array, " k"], Float[Array, ""]]:
    """The next y, and the length of the step.

    A Jacobian in closed form is several times quicker than one by differentiation, and has no part in a derivative,
    because it multiplies a mismatch of 0: it is taken of the `fixed` problem.
    """
    xp = namespace(y)
    jacobian, value = fixed.jacobian(y if xp is np else jax.lax.stop_gradient(y)), problem.mismatch(y)
    if xp is np and not np.all(np.isfinite(jacobian)):
        return y, xp.full((), np.nan, y.dtype)
    step = xp.linalg.solve(jacobian, value)
    return y - step, xp.max(xp.abs(step))


def _described(problem: Problem, y: Float[Array, " k"], last_step: Float[Array, ""]) -> Saddle:
    fixed, y_fixed = frozen((problem, y))
    residual = frozen(namespace(y).maximum(last_step, fixed.quadrature_error(y_fixed)))
    tolerance = max(TOLERANCE, ROUNDING * float(jnp.finfo(y.dtype).eps))
    return Saddle(
        y=y,
        free_energy=problem.free_energy(y),
        replicon=problem.replicon(y),
        stability=fixed.stability(y_fixed),
        residual=residual,
        converged=(residual <= tolerance) & fixed.is_admissible(y_fixed, tolerance),
    )
