"""Roots of equations: the one home of Newton, bisection and the derivatives of implicit functions.

Every solver of the package is made of these steps:

1. `bisect` narrows a bracket, `iterate` repeats a step of its own until it is short, `find_root` takes Newton steps.
   None of these three has gradients: each finds some digits, for values at hand.
2. `polish_root` makes these digits exact and differentiable, and says in a `Root` whether they were good enough.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, ArrayLike, Bool, Float

from .arrays import frozen


class Root(eqx.Module):
    """A root, the largest residual left there, and whether that is below the tolerance asked for."""

    value: Any
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def bisect(
    is_below: Callable[[Float[Array, "..."]], Bool[Array, "..."]],
    low: Float[Array, "..."],
    high: Float[Array, "..."],
    steps: int = 60,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """A bracket 2^-steps as wide: ``is_below(x)`` is true where the point that is sought lies above x. No gradients."""

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        below = is_below(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    bracket = jax.lax.stop_gradient((low, high))
    return jax.lax.fori_loop(0, steps, lambda i, b: jax.lax.stop_gradient(halve(i, b)), bracket)


def iterate(
    step: Callable[[Any], tuple[Any, Float[Array, ""]]], start: Any, tolerance: Float[ArrayLike, ""], max_steps: int
) -> tuple[Any, Float[Array, ""]]:
    """Repeats y, miss = step(y) until the miss is at most ``tolerance``: the last y and its miss. No gradients.

    For equations whose own step is better than `find_root`: in other coordinates, averaged, or of one complex number.
    """

    def unfinished(carry):
        _, miss, count = carry
        return ~(miss <= tolerance) & (count < max_steps)

    def again(carry):
        y, _, count = carry
        return *step(y), count + 1

    dtype = jnp.result_type(*(x.real.dtype for x in jax.tree.leaves(start)))
    y, miss, _ = jax.lax.while_loop(unfinished, again, (start, jnp.array(jnp.inf, dtype), 0))
    return y, miss


def find_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    start: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-10,
    max_steps: int = 30,
) -> Float[Array, " k"]:
    """A root y of fn(y, args) near ``start`` by Newton's method, without gradients; a failure shows in fn there."""
    tolerance = max(tolerance, 300 * float(jnp.finfo(start.dtype).eps))
    solver = optx.Newton(rtol=tolerance, atol=tolerance, linear_solver=lx.LU())
    start, args = frozen((start, args))
    return jax.lax.stop_gradient(optx.root_find(fn, solver, start, args, max_steps=max_steps, throw=False).value)


def polish_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    y: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-8,
    steps: int = 3,
) -> Root:
    """A root found to some digits, made exact and differentiable in ``args``; its residual is max |fn| one step before.

    Newton steps, and the derivatives of the implicit function, of any order and in both modes. (The implicit adjoint
    of optimistix raises inside jit if one of many mapped problems fails; here a failure is data.) ``fn`` should be
    scaled to order one.
    """

    def newton(fn, y):
        def step(y, _):
            jacobian, value = jax.jacfwd(lambda y: (fn(y),) * 2, has_aux=True)(y)
            return y - jnp.linalg.solve(jacobian, value), jnp.max(jnp.abs(value))

        y, misses = jax.lax.scan(step, y, None, length=steps)
        return y, misses[-1]

    def invert(linear, value):
        return jnp.linalg.solve(jax.jacfwd(linear)(value), value)

    y, miss = jax.lax.custom_root(lambda y: fn(y, args), jax.lax.stop_gradient(y), newton, invert, has_aux=True)
    residual = jax.lax.stop_gradient(miss)
    return Root(y, residual, residual <= max(tolerance, 3000 * float(jnp.finfo(y.dtype).eps)))
