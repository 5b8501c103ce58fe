r"""The dimension of activity, and how long covariances between units live: sums over pairs, over two frequencies.

With K(w_1, w_2) = (1/N) tr C(w_1) C(w_2) in units of the mean spectra C (see `sums`),

$$ \frac1N \sum_{ij} C_{ij}(\tau)^2 = \iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, e^{i (w_1 - w_2) \tau}\,
   \frac{dw_1\, dw_2}{(2 \pi)^2}, $$

and the participation ratio is PR / N = C(0)^2 over this at lag 0. K is symmetric and does not change when both
frequencies change sign, so one octant, w_1 > w_2 > 0 with both signs of w_2, holds the plane. There K has a ridge along
the diagonal, much narrower than C near onset, and K - 1 decays along the axes. In a = w_1 - w_2 and b = w_2 both lie
along the edges of a quadrant, where the trapezoid rule in (t, u), a = a_0 exp(t - e^{-t}), converges exponentially.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import require, require_whole, vector
from .._numerics import frozen
from ..couplings import Ensemble
from ..meanfield import Stationary
from ..meanfield.spectrum import spectra
from ._responses import r_and_power
from .sums import four_point_sum, four_point_sum_x


class Dimension(eqx.Module):
    """Participation ratios over N, of rates and of states. Made by `dimension`."""

    phi: Float[Array, ""]
    x: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class PairCovariance(eqx.Module):
    """(1/N) sum_ij C_ij(tau)^2, of rates and of states. Made by `pair_covariance`."""

    lags: Float[Array, " T"]
    phi: Float[Array, " T"]
    x: Float[Array, " T"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def dimension(state: Stationary, ensemble: Ensemble, *, nodes: int = 64) -> Dimension:
    r"""The dimension of activity, PR / N for N to infinity: which share of all directions it explores.

    $$ \frac{\mathrm{PR}}{N} = \frac{\big(\frac1N \mathrm{tr}\, C(0)\big)^2}{\frac1N \mathrm{tr}\, C(0)^2}
       = \frac{C(0)^2}{\iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, dw_1\, dw_2 / (2 \pi)^2} $$

    for the covariances of rates (phi) and of states (x) at lag 0; K is `four_point_sum` and `four_point_sum_x` at the
    responses of `state`, which is the stationary state of `ensemble`. Only sums over pairs of squared covariances are
    needed, so it holds for any ensemble whose units fluctuate independently but for their couplings.

    `nodes` is the number of frequencies in each of two directions. `residual` is the largest of the relative
    difference from half the nodes and every second lag, of what an exponential beyond the last lag leaves open, and of
    the residual of the state; `converged` asks for 1e-4, and a converged state. NaN, not converged, for a state at
    rest, and where kappa(S) |S|^2 >= 1 at some frequency. Differentiable in the floats of the state and the ensemble
    (the state depends on the ensemble: differentiate through both).

    Raises:
        ValueError: for an `ensemble` that is none, and nodes < 16.

    Source: Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373); with modes, Clark et al. 2024 (arXiv 2409.01969).
    """
    pairs = pair_covariance(state, ensemble, jnp.zeros(1, state.c_x.dtype), nodes=nodes)
    return Dimension(
        state.c_phi[0] ** 2 / pairs.phi[0], state.c_x[0] ** 2 / pairs.x[0], pairs.residual, pairs.converged
    )


def pair_covariance(
    state: Stationary, ensemble: Ensemble, lags: Float[ArrayLike, " L"], *, nodes: int = 64
) -> PairCovariance:
    r"""The squared covariances of all pairs of units at `lags`, for N to infinity: how long population modes live.

    $$ \frac1N \sum_{ij} C_{ij}(\tau)^2 = \iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, \cos((w_1 - w_2) \tau)\,
       \frac{dw_1\, dw_2}{(2 \pi)^2} $$

    Diagonal and pairs together: C(tau)^2 of single units is the part of order 1/N of it. Other arguments and results
    are those of `dimension`; long lags need more `nodes`, and lags beyond the last of the state are extrapolated.

    Raises:
        ValueError: for an `ensemble` that is none, `lags` that are not a 1-d array of finite numbers, and nodes < 16.

    Source: Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373).
    """
    if not isinstance(ensemble, Ensemble):
        raise ValueError(f"`ensemble` must be an ensemble of `jaxnets.couplings`, got {ensemble!r}")
    lags = vector("lags", lags).astype(state.c_x.dtype)
    require("lags", lags, np.isfinite, "finite")
    require_whole("nodes", nodes, least=16)
    return _pair_covariance(state, ensemble, lags, nodes)


@eqx.filter_jit
def _pair_covariance(state: Stationary, ensemble: Ensemble, lags: Float[Array, " L"], nodes: int) -> PairCovariance:
    total = _integral(state, ensemble, lags, nodes, stride=1)
    fixed_state, fixed_ensemble = frozen((state, ensemble))
    coarse = _integral(fixed_state, fixed_ensemble, lags, nodes // 2, stride=2)
    misses = [
        jnp.max(jnp.abs(coarse - total) / jnp.max(jnp.abs(total), axis=1, keepdims=True)),
        # A tail e^{-rate tau} has corrections of this relative order.
        (state.c_x[-1] / state.c_x[0]) ** 2,
        state.residual,
    ]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    return PairCovariance(lags, total[0], total[1], residual, state.converged & (residual <= 1e-4))


def _integral(
    state: Stationary, ensemble: Ensemble, lags: Float[Array, " L"], nodes: int, stride: int
) -> Float[Array, "2 L"]:
    """The double integral for rates and states, from every `stride`-th lag."""
    spacing = stride * (state.lags[1] - state.lags[0])
    c = jnp.stack([state.c_phi, state.c_x])[:, ::stride]
    spectra_at = lambda a, b: spectra(c, spacing, state.decay_rate, a, b)

    zero = jnp.zeros(1, c.dtype)
    width = jnp.pi * c[0, 0] / spectra_at(zero, zero)[0, 0, 0]
    b, db = _half_line(width, nodes)
    S2 = state.response(b)
    power = jax.vmap(lambda s: r_and_power(ensemble, s)[1])(S2)
    a, da = _half_line(jnp.clip(jnp.min(1 - power), 1e-8, 1), nodes)  # the width of the ridge
    S1 = state.response(b[:, None] + a[None])
    C2, C1 = spectra_at(zero, b)[:, 0].T, spectra_at(b, a).transpose(1, 2, 0)
    noise = 2 * state.noise**2

    def pair(a, b, s1, s2, c1, c2):
        """C C (K - 1) of rates and states, with both signs of w_2 and the cosines of each."""
        z1, z2 = noise / ((1 + (a + b) ** 2) * c1[1]), noise / ((1 + b**2) * c2[1])

        def excess(s2):
            K = jnp.stack([four_point_sum(ensemble, s1, s2), four_point_sum_x(ensemble, s1, s2, z1, z2)])
            return c1 * c2 * (K - 1)

        waves = jnp.cos(jnp.stack([a, a + 2 * b])[:, None] * lags[None])
        return jax.vmap(excess)(jnp.stack([s2, jnp.conj(s2)])).T @ waves

    @jax.checkpoint
    def row(at):
        """The integral over a."""
        b, s1, s2, c1, c2 = at
        terms = jax.vmap(pair, in_axes=(0, None, 0, None, 0, None))(a, b, s1, s2, c1, c2)
        return jnp.tensordot(da, terms, 1)

    rows = jax.lax.map(row, (b, S1, S2, C1, C2))
    # Eight octants, four of each sign; K = 1 gives the square of C.
    excess = 4 / (2 * jnp.pi) ** 2 * jnp.tensordot(db, rows, 1)
    return _at_lags(c, spacing, state.decay_rate, lags) ** 2 + excess


def _half_line(scale: Float[Array, ""], nodes: int) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Frequencies from 0 to the highest, dense up to `scale`, and the weights of an integral over them."""
    scale = jax.lax.stop_gradient(scale)
    t = jnp.linspace(_FIRST, jnp.log(_HIGHEST / scale), nodes)
    w = scale * jnp.exp(t - jnp.exp(-t))
    return w, (t[1] - t[0]) * w * (1 + jnp.exp(-t))


_FIRST = -3.0  # where t - e^{-t} is -23
_HIGHEST = 100.0  # per tau; K - 1 falls as w^-2 and C as w^-2 at least, so that 1e-6 of their integral is beyond


def _at_lags(
    c: Float[Array, "2 T"], spacing: Float[Array, ""], rate: Float[Array, ""], lags: Float[Array, " L"]
) -> Float[Array, "2 L"]:
    """C by cubics through four lags, and its exponential beyond the last."""
    last = c.shape[1] - 1
    x = jnp.minimum(jnp.abs(lags) / spacing, last)
    start = jnp.clip(jnp.floor(x).astype(int) - 1, 0, last - 3)
    u = x - start.astype(c.dtype)
    p, q = u * (u - 1), (u - 2) * (u - 3)
    weights = jnp.stack([(1 - u) * q / 6, u * q / 2, p * (3 - u) / 2, p * (u - 2) / 6])
    inside = jnp.sum(weights[None] * c[:, start[None] + jnp.arange(4)[:, None]], axis=1)
    return inside * jnp.exp(-rate * jnp.maximum(jnp.abs(lags) - last * spacing, 0))[None]
