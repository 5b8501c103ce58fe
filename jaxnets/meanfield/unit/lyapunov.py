"""How fast nearby trajectories of a stationary state separate: the largest Lyapunov exponent."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._numerics import Root, polish_root
from .state import Stationary


def largest_lyapunov(state: Stationary) -> Root:
    r"""The largest Lyapunov exponent, per tau, of networks in a stationary state without echo.

    $$ \lambda = -1 + \sqrt{1 - E_0}, \qquad \Big[-\frac{d^2}{d\tau^2} + 1 - g^2 \langle \phi'\phi' \rangle(\tau)\Big]
       \psi = E_0\, \psi $$

    E_0 is the ground state on the whole line, even in tau. Numerov's scheme (fourth order) on the lags of the state,
    from 0 outwards and from an exponential at the last lag inwards, met at the turning point. With E_0 = U_inf - q^2
    the unknown is q, the decay rate of psi. `residual` is the error of lambda estimated from every second lag, and the
    depth that is left at the last lag; `converged` asks for 1e-5, and a converged state. Differentiable.
    Valid without memory kernel and echo.

    Raises:
        ValueError: for the state of a shift, or one from sampled paths, where this equation is not the right one.

    Source: Sompolinsky, Crisanti & Sommers 1988; with noise, Schuecker et al. 2018.
    """
    if state.site is None or state.site.echo is not None:
        raise ValueError("`state` must be that of an ensemble without memory kernel and echo: none is derived there")
    U_inf = state.decay_rate**2  # 1 - g^2 <phi'>^2
    well = state.site.strength * state.c_slope - (1 - U_inf)
    spacing = state.lags[1] - state.lags[0]
    kink = state.site.strength * state.c_slope_kink
    q, missed = _ground_decay(well, kink, spacing)
    coarse, _ = _ground_decay(well[::2], kink, 2 * spacing)

    def exponent(q):
        return -1 + jnp.sqrt(1 - U_inf + q**2)

    value = exponent(q)
    # Fourth order: the error is a fifteenth of the difference. The well beyond the last lag is left out.
    misses = [jnp.abs(value - exponent(coarse)) / 15, jnp.abs(well[-1]), missed]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    return Root(value, residual, state.converged & (residual <= 1e-5))


@jax.jit
def _ground_decay(
    well: Float[Array, " T"], kink: Float[Array, ""], h: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """q > 0 where psi'' = (q^2 - well) psi is even, has no node and decays as e^{-q tau}; and what is left to match.

    The well is given at lags 0, h, 2h..., with its slope at 0+, its kink.
    """

    def ratios(q, well, kink, h):
        """psi_{n+1} / psi_n from the left, n < T - 1 (negative beyond a node), and psi_n / psi_{n+1} from the right."""
        t = h**2 / 12 * (q**2 - well)  # Numerov's (1 - t_n) psi_n = F_n, F_{n+1} - w_n F_n + F_{n-1} = 0
        w = (2 + 10 * t) / (1 - t)

        def step(ratio, w):
            ratio = w - 1 / ratio
            return ratio, ratio

        # Half of the scheme at 0, and what the kink of an even well adds there.
        first = w[0] / 2 - h**3 / 12 * kink / (1 - t[0])
        _, left = jax.lax.scan(step, first, w[1:-1])
        _, right = jax.lax.scan(step, jnp.exp(q * h), w[1:-1], reverse=True)
        left = jnp.concatenate([first[None], left])
        return left, jnp.concatenate([right, jnp.exp(q * h)[None]])

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        left, _ = ratios(middle, *fixed)
        # Too small a q: psi has a node, or falls at the end faster than e^{-q tau}.
        low_side = jnp.any(left <= 0) | (left[-1] < jnp.exp(-middle * fixed[2]))
        return jnp.where(low_side, middle, low), jnp.where(low_side, high, middle)

    fixed = jax.lax.stop_gradient((well, kink, h))
    bracket = (jnp.zeros_like(h), jnp.sqrt(jnp.maximum(jnp.max(fixed[0]), 0)))
    low, high = jax.lax.fori_loop(0, 50, halve, bracket)
    q = (low + high) / 2
    meet = jnp.argmax(fixed[0][:-1] <= q**2)

    def mismatch(q, args):
        left, right = ratios(q[0], *args)
        return ((left[meet] * right[meet] - 1) / args[2])[None]

    root = polish_root(mismatch, q[None], (well, kink, h))
    return root.value[0], root.residual
