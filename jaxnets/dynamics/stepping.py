"""One step of a network in time, with its noise, and the probability density of a step.

`simulation` and `tangents` repeat the step of this module, and filters of recordings need its density. Any fixed-step
scheme serves: white noise enters as an input that is constant within the step, so that a scheme sees dx/dt = f(t, x)
and nothing else.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import positive, real_array, require, require_key, scalar
from .._numerics import find_root, is_concrete, polish_root
from .network import RateNetwork, along_first, require_one, states_of
from .schemes import Drift, Scheme

# Largest miss, in standard deviations of the noise, with which the noise that made a step counts as found. Newton's
# method doubles the digits at every step, so the noise that the density uses is known to rounding.
_TOLERANCE = 1e-8


def step(
    net: RateNetwork,
    scheme: Scheme,
    t: Float[ArrayLike, ""],
    x: Float[ArrayLike, " n *k"],
    dt: Float[ArrayLike, ""],
    key: PRNGKeyArray | None,
) -> Float[Array, " n *k"]:
    r"""The state at t + dt, one step of the `scheme` after the state `x` at `t`, with its noise.

    $$ x(t + dt) = \text{scheme}(f, t, x, dt), \qquad
       f(t, x) = \text{drift}(t, x) + \frac{\sqrt{2}\, \sigma}{\tau \sqrt{dt}}\, \xi $$

    The normal numbers xi come from `key`, have the shape of `x`, and are constant within the step. The scheme is
    `heun`, `rk4` or a function of their signature. `x` is one state or columns of states. Step i of `simulate` is this
    step with `jax.random.fold_in(key, i)`. `vmap` maps it over networks.

    A network without noise takes the key None. If traced noise is not 0 and the key is None, the state is NaN.

    Raises:
        ValueError: if ``net`` is a batch, ``x`` is not (n,) or (n, k), ``x`` or ``t`` is not finite, ``dt`` is not
            positive, ``scheme`` is not a function, or a network with noise has no key.
    """
    _require_scheme(scheme)
    require("dt", scalar("dt", dt), positive, "a finite number > 0")
    require_one(net)
    x, t = real_array("x", x), scalar("t", t)
    if x.ndim not in (1, 2) or len(x) != net.size:
        raise ValueError(f"`x` must have shape ({net.size},) or ({net.size}, k), got {x.shape}")
    for name, value in (("x", x), ("t", t)):
        require(name, value, np.isfinite, "finite")
    if key is not None:
        require_key("key", key)
    x, t, dt = (jnp.asarray(value, net.dtype) for value in (x, t, dt))
    with jax.default_matmul_precision("highest"):
        after = advance(net, scheme, t, x, dt, key)
    if key is not None:
        return after
    if is_concrete(net.noise) and np.any(np.asarray(net.noise)):
        raise ValueError("`key` must be a random key for a network with noise, got None")
    return jnp.where(jnp.any(net.noise != 0), jnp.nan, after)


def advance(
    net: RateNetwork,
    scheme: Scheme,
    t: Float[Array, ""],
    x: Float[Array, "*networks n _"],
    dt: Float[Array, ""],
    key: PRNGKeyArray | None,
) -> Float[Array, "*networks n _"]:
    """`step` for arguments that are known to be good, and for a batch of networks; no key means no noise."""
    return scheme(noisy_drift(net, x, dt, key), t, x, dt)


def noisy_drift(
    net: RateNetwork, x: Float[Array, "*networks n _"], dt: Float[Array, ""], key: PRNGKeyArray | None
) -> Drift:
    """The velocity dx/dt within one step, drift and noise; the noise, in the shape of ``x``, does not change."""
    drift = over_networks(RateNetwork.drift, net, (None, 0))
    if key is None:
        return drift
    kick = over_networks(RateNetwork.kick, net, (0,))(white_noise(key, x, dt))
    return lambda t, x: drift(t, x) + kick


def white_noise(key: PRNGKeyArray, x: Float[Array, "..."], dt: Float[Array, ""]) -> Float[Array, "..."]:
    """The noise xi of one step, constant within it, in the shape of ``x``."""
    return jax.random.normal(key, x.shape, x.dtype) / jnp.sqrt(dt)


def over_networks(function: Callable, net: RateNetwork, in_axes: tuple, out_axes: Any = 0) -> Callable:
    """``function(net, ...)`` of one network, mapped over the networks of a batch, which share all but J."""

    def of_one(J, *args):
        return function(eqx.tree_at(lambda net: net.J, net, J), *args)

    for _ in net.J.shape[:-2]:
        of_one = jax.vmap(of_one, (0, *in_axes), out_axes)
    return lambda *args: of_one(net.J, *args)


def step_log_density(
    net: RateNetwork,
    scheme: Scheme,
    t: Float[ArrayLike, ""],
    x: Float[ArrayLike, " n"],
    x_next: Float[ArrayLike, " n"],
    dt: Float[ArrayLike, ""],
) -> Float[Array, ""]:
    r"""The logarithm of the probability density of `x_next`, one `step` after `x` at time `t`.

    $$ \ln p(x' \mid x) = \ln \mathcal{N}(\xi; 0, 1) - \ln \det \frac{\partial x'}{\partial \xi}, \qquad
       x' = \text{step}(x, \xi) $$

    This is the density of the step as it is taken, at any dt, and no expansion in small dt: Newton's method finds the
    noise xi that leads from x to x'. Where the step is linear in its noise, as for Euler's scheme or a linear network,
    it is Gaussian. In units of 1 / x^n. Differentiable in `x`, `x_next`, `t`, `dt` and all of `net`; `vmap` maps it
    over more. A step costs a few decompositions of n x n matrices.

    Valid where different noise leads to different states, for `heun` if dt times the norm of the Jacobian is below 2
    everywhere. NaN where Newton's method does not arrive, or the determinant is not positive; -inf or NaN
    where traced noise is 0.

    Raises:
        ValueError: if ``x`` or ``x_next`` is not (n,) or not finite, ``net`` a batch, ``net.noise`` 0 in a unit,
            ``dt`` not positive, or ``scheme`` not a function.
    """
    _require_scheme(scheme)
    require("dt", scalar("dt", dt), positive, "a finite number > 0")
    x, x_next = (states_of(net, name, value) for name, value in (("x", x), ("x_next", x_next)))
    if x.ndim != 1 or x_next.ndim != 1:
        raise ValueError(f"`x` and `x_next` must have shape ({net.size},), got {x.shape} and {x_next.shape}")
    require("noise", net.noise, positive, "finite numbers > 0, for a step without noise has no density")
    t, dt = scalar("t", t).astype(net.dtype), scalar("dt", dt).astype(net.dtype)
    require("t", t, np.isfinite, "finite")

    def miss(xi, args):
        """The distance to x', in standard deviations of the noise; its derivative is 1 to lowest order in dt."""
        net, t, x, x_next, dt = args
        kick = net.kick(xi / jnp.sqrt(dt))
        return (scheme(lambda t, x: net.drift(t, x) + kick, t, x, dt) - x_next) / _scale(net, x, dt)

    args = (net, t, x, x_next, dt)
    with jax.default_matmul_precision("highest"):
        found = polish_root(miss, find_root(miss, -miss(jnp.zeros_like(x), args), args), args, _TOLERANCE, num_steps=1)
        sign, log_volume = jnp.linalg.slogdet(jax.jacfwd(miss)(found.value, args))
    scales = jnp.sum(jnp.log(_scale(net, x, dt)))
    density = -jnp.sum(found.value**2) / 2 - net.size / 2 * math.log(2 * math.pi) - log_volume - scales
    return jnp.where(found.converged & (sign > 0), density, jnp.nan)


def _scale(net: RateNetwork, x: Float[Array, " n"], dt: Float[Array, ""]) -> Float[Array, " n"]:
    """The standard deviation that the noise of one step gives to each unit, to lowest order in dt."""
    return along_first(jnp.sqrt(2 * dt) * net.noise / net.tau, x) * jnp.ones_like(x)


def _require_scheme(scheme: Scheme) -> None:
    if not callable(scheme):
        raise ValueError(f"`scheme` must be a fixed-step scheme, such as `heun`, got {scheme!r}")
