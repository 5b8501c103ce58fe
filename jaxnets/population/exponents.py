r"""The distribution of all Lyapunov exponents of a large network, and what follows from it.

The share of exponents below s is the equal-time response of the tangent operator shifted by s, K = d/dt + 1 + s - J D,
to a force that its bounded solutions follow: the projector on the perturbations that decay faster than e^{st},

$$ F(s) = \lim_{\eta \to 0} \frac1N \mathrm{tr}\, \big[K^\dagger (K K^\dagger + \eta^2)^{-1}\big](t + 0, t)
        = \frac12 + \int \frac{dw}{2 \pi}\, \mathrm{Re}\, R(w). $$

`tangent_field` has the equations of R, `gains` the paths on which they average, `shares` their solution. F is linear in
small eta, and two rings of times, with and without a change of sign after one turn, have errors of opposite sign.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from .._arguments import positive, real_array, require, require_instance, require_key, require_whole, vector
from .._numerics import as_complex, as_program, is_concrete
from .._results import Result
from ..couplings import Ensemble
from ..meanfield import Stationary, largest_lyapunov
from ..meanfield.unit.onset import rest_onset
from ..transfer import Transfer
from .gains import gaussian_gains
from .shares import TOLERANCE, shares

# Groups of paths, each solved alone: their scatter gives the errors, known to 40 %.
_GROUPS = 4
# A converged distribution rises up to this error, and the regulator changes it by less than this.
_FALLS, _SHIFT = 1e-3, 0.03
# Default thresholds, and points of integrals over them.
_THRESHOLDS, _FINE = 11, 1024


class LyapunovDistribution(
    Result,
    axes={"S": "thresholds", "G": "group"},
    units={"thresholds": "1 / tau", "edge": "1 / tau"},
):
    """The distribution of Lyapunov exponents for N to infinity, made by `lyapunov_distribution`.

    `cdf` is the share of exponents up to each of the `thresholds`, per tau, `error` its standard error, and `edge` the
    largest exponent. `of_groups` is the cdf of each group of paths alone. If the law is `mirrored`, exponents -1 + a
    are as frequent as -1 - a. Methods interpolate the cdf between thresholds and the edge, and are NaN where they need
    it elsewhere.
    """

    thresholds: Float[Array, " S"]
    cdf: Float[Array, " S"]
    error: Float[Array, " S"]
    edge: Float[Array, ""]
    of_groups: Float[Array, "G S"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    mirrored: bool = eqx.field(static=True)

    def above(self, s: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The share of exponents above s, 1 - F(s); raises `ValueError` unless s are finite real numbers."""
        s = real_array("s", s).astype(self.cdf.dtype)
        require("s", s, np.isfinite, "finite")
        return self._each(lambda d: _above(d, s.ravel()).reshape(s.shape))

    def quantile(self, p: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """The exponent with a share p of all exponents below it; raises `ValueError` unless 0 <= p <= 1."""
        p = real_array("p", p).astype(self.cdf.dtype)
        require("p", p, lambda p: (p >= 0) & (p <= 1), "in [0, 1]")
        return self._each(lambda d: _quantile(d, p.ravel()).reshape(p.shape))

    def positive_fraction(self) -> Float[Array, ""]:
        """The share of positive exponents."""
        return self.above(0.0)

    def entropy_rate(self) -> Float[Array, ""]:
        r"""The entropy rate h_KS / N, per tau: the sum of positive exponents, over N (Pesin).

        $$ h_{KS} / N = \int_0^{\lambda_1} (1 - F(s))\, ds $$
        """
        return self._each(_entropy_rate)

    def kaplan_yorke(self) -> Float[Array, ""]:
        r"""The dimension of the attractor, D_KY / N (Kaplan & Yorke 1979): the share 1 - F(s) whose exponents sum to 0.

        $$ s\, (1 - F(s)) + \int_s^{\lambda_1} (1 - F(s'))\, ds' = 0 $$
        """
        return self._each(_kaplan_yorke)

    def standard_error(self, read) -> Float[Array, "..."]:
        """The standard error of what ``read(distribution)`` returns, as `LyapunovDistribution.kaplan_yorke`."""
        groups = [eqx.tree_at(lambda d: d.cdf, self, self.of_groups[..., k, :]) for k in range(_GROUPS)]
        return jnp.std(jnp.stack([read(group) for group in groups]), 0, ddof=1) / math.sqrt(_GROUPS)

    def _each(self, read) -> Any:
        for _ in range(self.edge.ndim):
            read = jax.vmap(read)
        return read(self)


def lyapunov_distribution(
    state: Stationary,
    ensemble: Ensemble | None,
    transfer: Transfer,
    *,
    key: PRNGKeyArray,
    thresholds: Float[ArrayLike, " S"] | None = None,
    num_paths: int = 256,
    period: float = 32.0,
    points: int = 80,
) -> LyapunovDistribution:
    r"""The distribution of all Lyapunov exponents, per tau, of networks in a stationary state for N to infinity.

    $$ F(s) = \frac12 + \int \frac{dw}{2 \pi}\, \mathrm{Re}\, R(w), \qquad
       R = \lim_{\eta \to 0} \frac1N \mathrm{tr}\, K^\dagger (K K^\dagger + \eta^2)^{-1}, \qquad
       K = \frac{d}{dt} + 1 + s - J\, \mathrm{diag}\, \phi'(x(t)) $$

    is the share of exponents below s. The R-transform of the `ensemble` acts at each frequency, on the response of
    single units whose gains phi' follow sampled paths of the state. `ensemble` is that of the state if None; another
    one with the same r and kappa has the same state, and another distribution: what fixes the largest exponent and the
    dimension of activity (g and PR^D) does not fix the dimension of the attractor. `transfer` is that of the state.

    `key` draws `num_paths` paths, at `points` times of a ring of length `period`, in tau. `error` is their standard
    error, from four groups of paths: for 256 paths 1e-4 of the cdf, 1e-3 of D_KY. `thresholds` rise; if None there are
    11 from -1 to the largest exponent, denser there, and as many below -1 unless the law is mirrored. Near the onset of
    chaos activity is slow and needs a longer period, and the edge a smaller eta: at g = 1.5 and period 64 D_KY is 1 %
    and h_KS 4 % above published values, beyond their errors.

    `residual` is the largest relative miss of the equations. `converged` asks for 3e-6, which needs double precision,
    for a cdf that rises, for an extrapolation in eta that changes it by less than .03, and for a converged state.
    Differentiable once, at fixed random numbers; thresholds too, so that dF/ds is the density of exponents.

    Valid where units are alike, for independent weights, random modes of any amplitudes, partial symmetry, the shift
    and sums of these. Checked against networks without noise. Couplings of rank alpha N < N leave a share 1 - alpha of
    exponents at -1: thresholds within .1 of it need a longer period, and do not converge else. `SingularModes` know
    their R-transform outside of the support and in its outer part alone: below some s it is NaN there, and `converged`
    is False. States at rest have the distribution of real parts of the spectrum of phi'(0) J, less 1.

    Raises:
        ValueError: for a state with types or row gains, an active state with a memory kernel, an `ensemble` or
            `transfer` of another type, thresholds that do not rise, num_paths < 64 or no multiple of 4, an odd number
            of points or less than 16, and a period that is not positive.

    Source: for independent weights, Clark 2025 (github.com/davidclark1/rnn-lyapunov); for other ensembles derived here.
    """
    ensemble = _checked(state, ensemble, transfer, key, num_paths, period, points)
    if thresholds is not None:
        thresholds = vector("thresholds", thresholds).astype(state.beta.dtype)
        require("thresholds", thresholds, np.isfinite, "finite")
        require("thresholds", thresholds, lambda s: np.all(np.diff(s) > 0), "rising")
    shape = (_GROUPS, num_paths // _GROUPS, points)
    mirrored, has_memory = _symmetries(ensemble)
    edge, of_law = _edge(state, transfer), (float(period), mirrored, has_memory)
    return _distribution(state, ensemble, transfer, key, thresholds, edge, shape, *of_law)


def _checked(state, ensemble, transfer, key, num_paths: int, period: float, points: int) -> Ensemble:
    require_instance("state", state, Stationary, "a state of `jaxnets.meanfield.stationary` whose units have one type")
    if state.units is not None:
        raise ValueError("`state` must be without row gains: how they enter is not derived")
    ensemble = state.ensemble if ensemble is None else ensemble
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`, or None")
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    require_key("key", key)
    require_whole("num_paths", num_paths, least=16 * _GROUPS)
    if num_paths % _GROUPS:
        raise ValueError(f"`num_paths` must be a multiple of {_GROUPS}, got {num_paths}")
    require_whole("points", points, least=16)
    if points % 2:
        raise ValueError(f"`points` must be even, got {points}")
    require("period", period, positive, "a finite number > 0")
    return ensemble


def _edge(state: Stationary, transfer: Transfer) -> Float[Array, ""]:
    """The largest exponent; where the ensemble has a memory kernel, that of rest alone."""
    if state.site is not None:
        return largest_lyapunov(state).value
    active = state.variance > 0
    if is_concrete(active) and active:
        raise ValueError(
            "`state` must come from an ensemble without memory kernel, and without noise if it has an echo, or be at "
            "rest: the largest exponent of others is not derived"
        )
    return jnp.where(active, jnp.nan, 1 / rest_onset(state.ensemble, transfer).value - 1)


def _symmetries(ensemble: Ensemble) -> tuple[bool, bool]:
    """Whether -J^T has the law of J, so that exponents lie symmetrically about -1; and whether s_12 may differ from 0.

    The R-transform at one point that is nothing special tells; a traced one is what its site says it is.
    """
    if not is_concrete(ensemble):
        site = ensemble.site()
        return site is not None, site is None or site.echo is not None
    with jax.ensure_compile_time_eval():
        variance = np.asarray(ensemble.variance())
        unit = 1 / np.sqrt(variance) if variance > 0 else 1.0

        def blocks(*args):
            args = (jnp.asarray(z, as_complex(ensemble.variance()).dtype) for z in args)
            return [np.asarray(block) for block in ensemble.blocks(*args)]

        t12, t21, p = (0.03 - 0.02j) * unit, (0.04 + 0.01j) * unit, -2e-3 * unit**2
        s12, _, h = blocks(t12, t21, p)
        _, s21, other = blocks(-t21, -t12, p)
        small = 1e-4 * np.abs(h)
        is_mirrored = np.abs(s12 + s21) <= small * unit and np.abs(h - other) <= small
        return bool(is_mirrored), bool(np.abs(s12) > 1e-3 * small * unit)


@as_program
def _distribution(
    state: Stationary,
    ensemble: Ensemble,
    transfer: Transfer,
    key: PRNGKeyArray,
    thresholds: Float[Array, " S"] | None,
    edge: Float[Array, ""],
    shape: tuple[int, int, int],
    period: float,
    mirrored: bool,
    has_memory: bool,
) -> LyapunovDistribution:
    if thresholds is None:
        thresholds = _default_thresholds(edge, mirrored)
    gains = gaussian_gains(state, transfer, key, shape, period)
    found = shares(ensemble, gains, thresholds, period, has_memory, state.variance == 0)
    # Exponents at -1 itself, of the directions that no coupling reaches, count half in F there.
    atom = 1 - jnp.minimum(ensemble.rank_fraction(), 1)
    below = found.below + jnp.where(thresholds == -1, atom / 2, 0)[:, None]
    cdf = jnp.mean(below, 1)
    fixed = jax.lax.stop_gradient(cdf)
    rises = jnp.all(jnp.diff(fixed) >= -_FALLS) & jnp.all((fixed >= -_FALLS) & (fixed <= 1 + _FALLS))
    residual = jax.lax.stop_gradient(jnp.max(found.miss))
    converged = (residual <= TOLERANCE) & rises & jnp.all(found.shift <= _SHIFT) & state.converged
    error = jax.lax.stop_gradient(jnp.std(below, 1, ddof=1) / math.sqrt(_GROUPS))
    return LyapunovDistribution(thresholds, cdf, error, edge, below.T, residual, converged, mirrored)


def _default_thresholds(edge: Float[Array, ""], mirrored: bool) -> Float[Array, " S"]:
    """From -1 up to the edge, where exponents are sparse, and as far below -1 unless the law is mirrored."""
    u = np.linspace(1, 0, _THRESHOLDS + 1)[:-1]
    upper = edge - (edge + 1) * jnp.asarray(u**2, edge.dtype)
    upper = upper.at[0].set(-1)
    return upper if mirrored else jnp.concatenate([-2 - upper[:0:-1], upper])


# --- what a distribution says -------------------------------------------------------------------------------------


@as_program
def _above(d: LyapunovDistribution, s: Float[Array, " k"]) -> Float[Array, " k"]:
    """1 - F(s). Its power 2/3 is smooth at the edge, where the density falls as a square root."""
    if d.mirrored:
        flipped = s < -1
        r = _above_of_knots(d, jnp.where(flipped, -2 - s, s))
        return jnp.where(flipped, 1 - r, r)
    return _above_of_knots(d, s)


def _above_of_knots(d: LyapunovDistribution, s: Float[Array, " k"]) -> Float[Array, " k"]:
    inside = d.thresholds < d.edge
    # Thresholds beyond the edge become knots behind it, where nothing is left.
    last = jnp.where(inside, d.thresholds, d.edge + 1 + jnp.arange(d.thresholds.shape[0], dtype=d.edge.dtype))
    x = jnp.concatenate([last, d.edge[None]])
    r = jnp.where(inside, jnp.maximum(1 - d.cdf, 0), 0)
    y = jnp.concatenate([jnp.where(r > 0, jnp.where(r > 0, r, 1) ** (2 / 3), 0), jnp.zeros(1, r.dtype)])
    order = jnp.argsort(x)
    z = _monotone(x[order], y[order], jnp.minimum(s, d.edge))
    z = jnp.where(z > 0, jnp.where(z > 0, z, 1) ** 1.5, 0)
    return jnp.where(s < d.thresholds[0], jnp.nan, z)


def _monotone(x: Float[Array, " n"], y: Float[Array, " n"], at: Float[Array, " k"]) -> Float[Array, " k"]:
    """The monotone cubic interpolant through knots x, y (Fritsch & Butland 1984)."""
    h = jnp.diff(x)
    slope = jnp.diff(y) / h
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    same = slope[:-1] * slope[1:] > 0
    left, right = (jnp.where(same, part, 1) for part in (slope[:-1], slope[1:]))
    inner = jnp.where(same, (w1 + w2) / (w1 / left + w2 / right), 0)
    tangent = jnp.concatenate([slope[:1], inner, slope[-1:]])
    i = jnp.clip(jnp.searchsorted(x, at, side="right") - 1, 0, x.shape[0] - 2)
    u = (at - x[i]) / h[i]
    a, b = y[i], y[i + 1]
    return a + u * (h[i] * tangent[i] * (1 - u) ** 2 + u * ((b - a) * (3 - 2 * u) - h[i] * tangent[i + 1] * (1 - u)))


def _tail(d: LyapunovDistribution) -> tuple[Float[Array, " k"], Float[Array, " k"], Float[Array, " k"]]:
    """Falling s from the edge to the lowest threshold, 1 - F(s), and its integral from s to the edge."""
    # A square spacing: dense at the edge.
    s = d.edge - (d.edge - d.thresholds[0]) * jnp.asarray(np.linspace(0, 1, _FINE) ** 2, d.edge.dtype)
    r = _above(d, s)
    parts = (r[1:] + r[:-1]) / 2 * -jnp.diff(s)
    return s, r, jnp.concatenate([jnp.zeros(1, r.dtype), jnp.cumsum(parts)])


@as_program
def _entropy_rate(d: LyapunovDistribution) -> Float[Array, ""]:
    s, _, integral = _tail(d)
    at_zero = jnp.interp(0.0, s[::-1], integral[::-1], left=jnp.nan)
    return jnp.where(d.edge > 0, at_zero, 0)


@as_program
def _kaplan_yorke(d: LyapunovDistribution) -> Float[Array, ""]:
    s, r, integral = _tail(d)
    total = s * r + integral  # the sum of the largest exponents down to s: rises to s = 0, then falls
    below = (s < 0) & (total < 0)
    i = jnp.maximum(jnp.argmax(below), 1)
    part = total[i - 1] / (total[i - 1] - total[i])
    found = r[i - 1] + part * (r[i] - r[i - 1])
    return jnp.where(d.edge > 0, jnp.where(jnp.any(below), found, jnp.nan), 0)


@as_program
def _quantile(d: LyapunovDistribution, p: Float[Array, " k"]) -> Float[Array, " k"]:
    s, r, _ = _tail(d)
    upper = lambda p: jnp.interp(1 - p, r, s, left=jnp.nan, right=jnp.nan)
    if not d.mirrored:
        return jnp.where((p >= 0) & (p <= 1), upper(p), jnp.nan)
    flipped = jnp.maximum(p, 1 - p)
    a = upper(flipped)
    # Within the share that lies at -1 itself.
    a = jnp.where((1 - flipped > r[-1]) & (d.thresholds[0] == -1), -1, a)
    return jnp.where(p >= 0.5, a, -2 - a)
