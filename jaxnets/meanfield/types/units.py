r"""Units of one type differ by the static part of their fields: how the rate of each fluctuates around its own mean.

A unit of type a has the field mu_a + sqrt(static_x) z + (fluctuations of covariance C_a - static_x), with z a standard
normal number that stays. Given z, its rate has a mean, a covariance and a slope beta(z) of its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...transfer import Transfer
from .averages import facts, fluctuations, rule
from .state import TypedStationary

# A type counts as without static disorder up to this part of its variance.
STATIC = 1e-6
# Points of Gaussian averages over the fluctuations of one unit: for tanh enough up to variances of 70.
_POINTS = 401


class SingleUnits(NamedTuple):
    """Covariances of rates around their own means, and slopes <phi'>, of units at each z."""

    c_phi: Float[Array, "K q T"]
    beta: Float[Array, "K q"]


def static_part(state: TypedStationary) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """The static parts of the covariances of x and phi, exactly 0 where they count as 0."""
    known = state.static_x > STATIC * state.c_x[:, 0]
    return jnp.where(known, state.static_x, 0), jnp.where(known, state.static_phi, 0)


def units_at(state: TypedStationary, z: Float[Array, " q"]) -> SingleUnits:
    """Units whose static fields are z standard deviations from the mean of their type."""
    static, _ = static_part(state)
    moving = state.c_x - static[:, None]
    moves, differs = moving[:, 0] > 0, static > 0
    variance, spread = jnp.where(moves, moving[:, 0], 1), jnp.sqrt(jnp.where(differs, static, 1))

    def of(transfer: Transfer, breaks, mean, spread, variance):
        return jax.vmap(lambda z: _of_unit(transfer, breaks, variance, mean + spread * z))(z)

    series, beta = state.functions.of_types(of, state.mean, spread, variance)
    c = fluctuations(series, jnp.where(moves[:, None], moving / variance[:, None], 0))
    alike = state.c_phi[:, None], state.beta[:, None]
    return SingleUnits(jnp.where(differs[:, None, None], c, alike[0]), jnp.where(differs[:, None], beta, alike[1]))


def _of_unit(transfer: Transfer, breaks, variance, mean):
    """The series of the covariance of one unit, and its mean slope."""
    z, weights = rule(breaks, variance, mean, _POINTS)
    return facts(transfer, breaks, variance, mean, _POINTS)[2:], weights @ transfer.slope(mean + jnp.sqrt(variance) * z)
