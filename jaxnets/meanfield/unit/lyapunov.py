"""The largest Lyapunov exponent of a stationary state: how fast nearby trajectories separate.

Perturbations grow as the ground state of a particle in the well -g^2 <phi' phi'>(tau) says, an even function of the
lag that is known on the lags of the state. Numerov's scheme follows its wave function from both ends.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._numerics import Root, as_program, bisect, polish_root
from ...couplings import Site
from ..types.lyapunov import typed_lyapunov
from ..types.state import TypedStationary
from .state import Stationary

# Largest residual of a converged exponent, per tau: exponents of chaotic states are above 1e-4 but for g < 1.01.
_TOLERANCE = 1e-5
# Halvings of the bracket of the decay rate: to rounding.
_HALVINGS = 50


def largest_lyapunov(state: Stationary | TypedStationary) -> Root:
    r"""The largest Lyapunov exponent, per tau, of networks in a stationary state without memory kernel.

    $$ \lambda = -1 + \sqrt{a \beta^2 - E_0}, \qquad
       \Big[-\frac{d^2}{d\tau^2} - g^2 \langle \phi'\phi' \rangle(\tau)\Big] \psi = E_0\, \psi $$

    E_0 is the lowest eigenvalue on the whole line, and a the echo: gamma^2 for the shift, else 0. psi is even, and
    followed on the lags of the state by Numerov's scheme, of fourth order. `residual` is the largest of the error of
    lambda, estimated from every second lag, of the depth of the well at the last lag, and of the mismatch of psi.
    `converged` asks for 1e-5 and a converged state.
    Differentiable. Valid without memory kernel; with an echo also without noise.

    For a state with types lambda, 1 / time, is where the positive operator

    $$ \big[(1 + \lambda \tau_a)^2 - \tau_a^2\, d^2/d\tau^2\big]^{-1}\, f_b\, g_{ab}^2\,
       \langle\phi'\phi'\rangle_b(\tau) $$

    has the spectral radius 1. It is differentiable once. At a fixed point modes of means count as well.

    Raises:
        ValueError: for a state with memory kernel, or with echo and noise, for which this equation does not hold.

    Source: Sompolinsky, Crisanti & Sommers 1988; with noise, Schuecker et al. 2018; with echo, derived here.
    """
    if isinstance(state, TypedStationary):
        if state.impulse is not None:
            raise ValueError("`state` must come from types without memory kernel: no exponent is derived with one")
        return typed_lyapunov(state)
    site = state.site
    if site is None:
        raise ValueError(
            "`state` must come from an ensemble without memory kernel, and without noise if it has an echo: no "
            "exponent is derived for others"
        )
    return _exponent(site, state.c_slope, state.c_slope_kink, state.lags, state.decay_rate, state.converged)


@as_program
def _exponent(
    site: Site,
    c_slope: Float[Array, " T"],
    slope_kink: Float[Array, ""],
    lags: Float[Array, " T"],
    decay_rate: Float[Array, ""],
    converged: Bool[Array, ""],
) -> Root:
    U_inf = decay_rate**2  # 1 - (g^2 + a) <phi'>^2
    well = site.strength * c_slope - (1 - U_inf) * site.strength / jnp.where(site.total > 0, site.total, 1)
    spacing = lags[1] - lags[0]
    kink = site.strength * slope_kink
    # The search takes every second lag, and so does the error.
    coarse, missed = _ground_decay(well[::2], kink, 2 * spacing)
    q, missed_by_all = _polished(coarse, well, kink, spacing)

    def exponent(q):
        return -1 + jnp.sqrt(1 - U_inf + q**2)

    value = exponent(q)
    # Fourth order: the error is a fifteenth of the difference.
    misses = [jnp.abs(value - exponent(coarse)) / 15, jnp.abs(well[-1]), missed, missed_by_all]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    return Root(value, residual, converged & (residual <= _TOLERANCE))


def _ground_decay(
    well: Float[Array, " T"], kink: Float[Array, ""], h: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """q > 0 where psi'' = (q^2 - well) psi is even, has no node and decays as e^{-q tau}; and the mismatch left.

    The well is given at lags 0, h, 2h..., and ``kink`` is its slope at 0+.
    """
    fixed = jax.lax.stop_gradient((well, kink, h))

    def is_below(q, args):
        left, _ = _ratios(q, *args)
        # Too small a q: psi has a node, or falls at the end faster than e^{-q tau}.
        return jnp.any(left <= 0) | (left[-1] < jnp.exp(-q * args[2]))

    deepest = jnp.sqrt(jnp.maximum(jnp.max(fixed[0]), 0))
    low, high = bisect(is_below, jnp.zeros_like(h), deepest, fixed, _HALVINGS)
    return _polished((low + high) / 2, well, kink, h)


def _polished(
    q: Float[Array, ""], well: Float[Array, " T"], kink: Float[Array, ""], h: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """As `_ground_decay`, from a guess of q."""
    # Each solution is stable where psi grows along its way: the two meet at the turning point.
    meet = jax.lax.stop_gradient(jnp.argmax(well[:-1] <= q**2))

    def mismatch(q, args):
        left, right = _ratios(q[0], *args)
        return ((left[meet] * right[meet] - 1) / args[2])[None]

    root = polish_root(mismatch, q[None], (well, kink, h))
    return root.value[0], root.residual


def _ratios(
    q: Float[Array, ""], well: Float[Array, " T"], kink: Float[Array, ""], h: Float[Array, ""]
) -> tuple[Float[Array, " T-1"], Float[Array, " T-1"]]:
    """psi_{n+1} / psi_n followed from lag 0 (negative beyond a node), and psi_n / psi_{n+1} from the last lag."""
    t = h**2 / 12 * (q**2 - well)  # Numerov's (1 - t_n) psi_n = F_n, F_{n+1} - w_n F_n + F_{n-1} = 0
    w = (2 + 10 * t) / (1 - t)

    def step(ratio, w):
        ratio = w - 1 / ratio
        return ratio, ratio

    # Half of the scheme at 0, since psi is even, with the term that a kink of the well adds there.
    first = w[0] / 2 - h**3 / 12 * kink / (1 - t[0])
    _, left = jax.lax.scan(step, first, w[1:-1])
    _, right = jax.lax.scan(step, jnp.exp(q * h), w[1:-1], reverse=True)
    left = jnp.concatenate([first[None], left])
    return left, jnp.concatenate([right, jnp.exp(q * h)[None]])
