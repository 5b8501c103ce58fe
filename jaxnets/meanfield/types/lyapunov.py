r"""The largest Lyapunov exponent of a state with types: where a positive operator has the spectral radius 1.

$$ \psi_a = \big[(1 + \lambda \tau_a)^2 - \tau_a^2 d^2\big]^{-1} \sum_b f_b g_{ab}^2\,
   \langle\phi'\phi'\rangle_b(\tau)\, \psi_b $$

The radius falls with lambda. With one type this is the ground state of a particle in a well (`unit.lyapunov`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._numerics import Root, as_program, bisect, cubic_interpolation, frozen
from . import window
from .state import Phase, TypedStationary

# Steps of the power iteration at one lambda, started from the last one, and halvings of the bracket of lambda.
_POWERS, _HALVINGS = 60, 40
# Steps for the eigenvectors at the end, and the largest error of a converged exponent, in units of the slowest rate.
_LAST_POWERS, _TOLERANCE = 600, 1e-5


def typed_lyapunov(state: TypedStationary) -> Root:
    """The exponent, 1 / time, of a state with types; differentiable once."""
    return _exponent(state)


@as_program
def _exponent(state: TypedStationary) -> Root:
    win = window.window()
    length, dtype = state.lags[-1], state.tau.dtype
    K, n = state.tau.shape[0], len(win.lags)
    # Between lags by cubics; at a kink of lag 0, of noise, they are one-sided.
    slopes = cubic_interpolation(state.c_slope, jnp.asarray(win.lags, dtype) * (state.c_slope.shape[1] - 1))
    args = (state.W, slopes, state.tau, length)
    fixed = frozen(args)

    def is_below(rate, start):
        return jnp.log(_power(rate, start, fixed, _POWERS)[1]) > 0

    slowest = 1 / jnp.max(fixed[2])
    ones = jnp.ones((K, n), dtype)
    # (1 + lambda tau)^2 is at most the largest sum of a row over sources, at lag 0.
    most = jnp.sqrt(jnp.max(jnp.sum(fixed[0] * jnp.max(jnp.abs(fixed[1]), axis=1)[None], axis=1)))
    low, high = -slowest * (1 - 1e-6), jnp.maximum(most, 1) / jnp.min(fixed[2])
    low, high = bisect(is_below, low, high, ones, _HALVINGS)
    rate, right, left = (low + high) / 2, ones, ones
    for _ in range(2):  # the second time from a better rate, for the derivatives and the error
        right, left = _power(rate, right, fixed, _LAST_POWERS)[0], _left_power(rate, left, fixed, _LAST_POWERS)
        value, slope = _radius(rate, right, left, fixed)
        change = (value - 1) / slope
        rate = rate - change
    rate = jax.lax.stop_gradient(rate + change)
    exponent = rate - (_radius(rate, right, left, args)[0] - 1) / jax.lax.stop_gradient(slope)
    missed = jnp.max(jnp.abs(_apply(rate, right, fixed) - value * right)) / jnp.max(jnp.abs(right)) / jnp.abs(slope)
    # A state without any couplings or slopes relaxes at the slowest rate.
    idle = jnp.max(fixed[0] @ jnp.max(jnp.abs(fixed[1]), axis=1)) == 0
    exponent = jnp.where(idle, -1 / jnp.max(state.tau), exponent)
    still = (state.phase == Phase.FIXED) | (state.phase == Phase.SILENT)
    exponent = jnp.where(still, jnp.maximum(exponent, state.mean_modes[0].real), exponent)
    residual = jnp.where(idle, 0, jnp.maximum(jnp.abs(change), missed) / slowest)
    residual = jax.lax.stop_gradient(residual)
    return Root(exponent, residual, state.converged & (residual <= _TOLERANCE))


def _radius(rate, right, left, args) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The spectral radius from eigenvectors, and its slope by the rate."""
    at = lambda rate: jnp.sum(left * _apply(rate, right, args)) / jnp.sum(left * right)
    return jax.jvp(at, (rate,), (jnp.ones_like(rate),))


def _apply(rate: Float[Array, ""], psi: Float[Array, "K n"], args) -> Float[Array, "K n"]:
    W, slopes, tau, length = args
    factor = 1 + rate * tau
    field = W @ (slopes * psi)
    return window.leak(window.window(), tau / factor, length, field) / factor[:, None] ** 2


def _power(rate, start, args, steps: int):
    def step(_, carry):
        psi, _ = carry
        new = _apply(rate, psi, args)
        size = jnp.max(jnp.abs(new))
        return new / jnp.where(size > 0, size, 1), size

    return jax.lax.fori_loop(0, steps, step, (start, jnp.ones_like(rate)))


def _left_power(rate, start, args, steps: int):
    """The left eigenvector, by the transposed operator."""
    _, transposed = jax.vjp(lambda psi: _apply(rate, psi, args), start)

    def step(_, psi):
        new = transposed(psi)[0]
        return new / jnp.max(jnp.abs(new))

    return jax.lax.fori_loop(0, steps, step, start)
