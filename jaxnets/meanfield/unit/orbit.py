r"""The orbit of the autocovariance C(tau) of one unit, once its variance C_0 is known.

An orbit followed in C is unstable. In l = -ln(C / C_0), with C^phi = C/C_0 G(t) and t = (C/C_0)^2 = e^{-2l},

$$ l'^2 = k - \frac{g^2}{C_0}\, \overline{G}(t), \qquad l'' = \frac{g^2}{C_0} \big[G(t) - \overline{G}(t)\big], \qquad
   \overline{G}(t) = \frac1t \int_0^t G, $$

it is stable: an error of l' does not grow, and the first equation measures it. phi is odd, so that G is a function of
t, analytic on [0, 1], which a Chebyshev series holds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._numerics import chebyshev
from .covariances import covariances
from .energy import Problem

# The last lag in decay times, where C has fallen to 1e-7 of C_0.
_DECAY_TIMES = 16
# Terms of the Chebyshev series of G, and Runge-Kutta steps between two lags, in proportion to the nodes: phi(x) gets
# steeper within the width of x, and G and the orbit follow. The residual measures both errors.
_NODES_PER_TERM, _FEWEST_TERMS, _NODES_PER_STEP, _FEWEST_STEPS = 8, 16, 200, 4


class Orbit(NamedTuple):
    """A state with C_0 > 0, by gains where they differ. `decays` is False where C turns back before it has decayed."""

    lags: Float[Array, " T"]
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    c_slope: Float[Array, " T"]
    c_slope_kink: Float[Array, ""]
    beta: Float[Array, " K"]  # <phi'>
    decay_rate: Float[Array, ""]
    residual: Float[Array, ""]
    decays: Bool[Array, ""]


def orbit(problem: Problem, variance: Float[Array, ""], found: Float[Array, "2 K 3"]) -> Orbit:
    """The state of this variance, a root of the energy, with the `averages` there."""
    site, gains, sigma, nodes = problem.site, problem.gains, problem.sigma, problem.nodes
    slopes = found[0, :, 0]
    k, pull = site.decay(gains.mean(slopes)), site.strength / variance
    rate = jnp.sqrt(k - site.strength * gains.mean(slopes**2))
    last = jax.lax.stop_gradient(_DECAY_TIMES / rate) if problem.max_lag is None else problem.max_lag
    lags = last * jnp.asarray(np.linspace(0, 1, problem.num_lags), sigma.dtype)

    grid = chebyshev.grid(max(nodes // _NODES_PER_TERM, _FEWEST_TERMS))
    G = _shares(problem, variance, np.sqrt(grid.nodes))
    # All linear functions of G at once: its series, its mean's, its slope's, and the slope of the slope of C^phi at 0.
    num = grid.series.shape[0]
    maps = np.concatenate([grid.series, grid.running_mean, grid.slope, np.zeros((1, num)), grid.at_one[None]])
    series = jnp.asarray(maps, variance.dtype) @ jnp.concatenate([gains.mean(G)[:, None], G.T], axis=1)
    share, mean, slope = series[: 3 * num, 0].reshape(3, num)
    log_c, speed = _followed(
        pull * (share - mean),
        sigma**2 / variance,
        last / (problem.num_lags - 1),
        problem.num_lags,
        max(nodes // _NODES_PER_STEP, _FEWEST_STEPS),
    )
    c = jnp.exp(-log_c)
    t = c**2
    at_lags = jnp.concatenate([share[None], mean[None], slope[None], series[:num, 1:].T]) @ chebyshev.basis(num, t)
    misses = [
        jnp.max(jnp.abs(found[1] / found[0] - 1)),
        jnp.max(jnp.abs(share[-2:])) / jnp.max(jnp.abs(share)),
        jnp.max(jnp.abs(speed**2 - (k - pull * at_lags[1]))) / rate**2,
    ]
    return Orbit(
        lags=lags,
        c_x=variance * gains.values[:, None] ** 2 * c[None],
        c_phi=c[None] * at_lags[3:],
        # C^phi = c G(t), and its slope by C.
        c_slope=(at_lags[0] + 2 * t * at_lags[2]) / variance,
        c_slope_kink=-(sigma**2) / variance**2 * series[-1, 0],
        beta=slopes / gains.values,
        decay_rate=rate,
        residual=jax.lax.stop_gradient(jnp.max(jnp.stack(misses))),
        decays=jnp.all(speed[1:] > 0),
    )


def _shares(problem: Problem, variance: Float[Array, ""], correlations: Float[np.ndarray, " n"]) -> Float[Array, "K n"]:
    """G of each gain at the correlations."""
    of = lambda gain: covariances(problem.transfer, gain**2 * variance, correlations, problem.nodes, problem.breaks)
    return jax.vmap(of)(problem.gains.values) / jnp.asarray(correlations, variance.dtype)[None]


# Nystroem's method of fourth order for l'' = f(l). A row for each of three values of f in a step h: f is taken at
# l + a h l' + b h^2 times the f before, and has the weights c h^2 and d h in the steps of l and l'.
_STAGES = np.array([[0, 0, 1 / 6, 1 / 6], [1 / 2, 1 / 8, 1 / 3, 2 / 3], [1, 1 / 2, 0, 1 / 6]])


def _followed(
    acceleration: Float[Array, " num"],
    start: Float[Array, ""],
    spacing: Float[Array, ""],
    num_lags: int,
    substeps: int,
) -> tuple[Float[Array, " T"], Float[Array, " T"]]:
    """l and l' on the lags: l'' = acceleration(e^{-2l}) from l = 0, l' = start."""
    h = spacing / substeps

    def step(_, state):
        l, v = state

        def stage(carry, weights):
            f, change_l, change_v = carry
            at_v, at_f, to_l, to_v = weights
            f = chebyshev.evaluate(acceleration, jnp.exp(-2 * (l + h * (at_v * v + at_f * h * f))))
            return (f, change_l + to_l * f, change_v + to_v * f), None

        none = jnp.zeros_like(l)
        (_, change_l, change_v), _ = jax.lax.scan(stage, (none, none, none), jnp.asarray(_STAGES, l.dtype))
        return l + h * (v + h * change_l), v + h * change_v

    @jax.checkpoint
    def lag(state, _):
        return jax.lax.fori_loop(0, substeps, step, state), state

    return jax.lax.scan(lag, (jnp.zeros_like(start), start), None, length=num_lags)[1]
