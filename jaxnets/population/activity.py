r"""The dimension of activity, and how long covariances between units live: sums over pairs, over two frequencies.

With K(w_1, w_2) = (1/N) tr C(w_1) C(w_2) in units of the mean spectra C (see `sums`),

$$ \frac1N \sum_{ij} C_{ij}(\tau)^2 = \iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, e^{i (w_1 - w_2) \tau}\,
   \frac{dw_1\, dw_2}{(2 \pi)^2}, $$

and the participation ratio is PR / N = C(0)^2 over this integral at lag 0. K is symmetric and does not change when both
frequencies change sign, so one octant, w_1 > w_2 > 0 with both signs of w_2, holds the plane. There K has a ridge along
the diagonal, much narrower than C near onset, and K - 1 decays along the axes. In a = w_1 - w_2 and b = w_2 both lie
along the edges of a quadrant, where the trapezoid rule in (t, u), a = a_0 exp(t - e^{-t}), converges exponentially.
"""

from typing import Any, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._arguments import require, require_instance, require_whole, vector
from .._numerics import as_program, cubic_interpolation, frozen, is_concrete
from .._numerics.filon import spectra
from .._numerics.host import from_host, namespace, on_host
from .._results import Result
from ..couplings import Ensemble
from ..meanfield import Stationary, TypedStationary
from .pairs import Pairs, alike, unlike
from .types import TypedDimension, Units, dimension_of_types, pairs_of_types, units_of_types, with_units

# Largest residual of a converged result; with sampled paths it is far below their errors.
_TOLERANCE, _TOLERANCE_OF_PATHS = 1e-4, 1e-3
# The error is the difference from this part of the nodes, and every second lag. It falls exponentially with the nodes,
# so derivatives are taken there, where they cost 2.6 times less.
_COARSER, _STRIDE = 5 / 8, 2
# The first frequency, where t - e^{-t} is -23: 1e-10 of the scale. The highest, per shortest tau: K - 1 falls as
# w^-2, and C as w^-2 or faster, so that 1e-6 of their integral is beyond.
_FIRST, _HIGHEST = -3.0, 100.0
# Near onset the width of the ridge vanishes; no narrower one is resolved.
_NARROWEST = 1e-8


class Dimension(Result):
    """The dimension PR / N of rates (`phi`) and of states (`x`), made by `dimension`.

    `phi_error` and `x_error` are standard errors, 0 unless the state has sampling errors.
    """

    phi: Float[Array, ""]
    x: Float[Array, ""]
    phi_error: Float[Array, ""]
    x_error: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class PairCovariance(Result, axes={"T": "lags"}, units={"lags": "tau"}):
    """(1/N) sum_ij C_ij(tau)^2 at `lags`, of rates (`phi`) and of states (`x`); made by `pair_covariance`."""

    lags: Float[Array, " T"]
    phi: Float[Array, " T"]
    x: Float[Array, " T"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


@overload
def dimension(
    state: Stationary, ensemble: Ensemble | None = None, *, z_scored: bool = False, nodes: int = 64
) -> Dimension: ...


@overload
def dimension(
    state: TypedStationary, ensemble: None = None, *, z_scored: bool = False, nodes: int = 64
) -> TypedDimension: ...


def dimension(
    state: Stationary | TypedStationary,
    ensemble: Ensemble | None = None,
    *,
    z_scored: bool = False,
    nodes: int = 64,
) -> Dimension | TypedDimension:
    r"""The dimension of activity, PR / N for N to infinity: the share of all directions that it explores.

    $$ \frac{\mathrm{PR}}{N} = \frac{\big(\frac1N \mathrm{tr}\, C(0)\big)^2}{\frac1N \mathrm{tr}\, C(0)^2}
       = \frac{C(0)^2}{\iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, dw_1\, dw_2 / (2 \pi)^2} $$

    for the covariances of rates (phi) and of states (x) at lag 0. K is `four_point_sum`, and `four_point_sum_x`, at the
    responses of `state`. The theory needs sums over pairs of squared covariances alone. So it is valid for any ensemble
    whose units fluctuate independently but for their couplings.

    `ensemble` is the ensemble of the state if None. Another one with the same r and kappa has the same state: a solved
    state serves ensembles of one strength and any effective rank.

    `z_scored` measures the activity of each unit in units of its own standard deviation, which matters with row gains.
    Samples of N units then have more, by the part 4 (sum p^3 / sum p^2 - sum p^2) to leading order, with p the shares
    of the eigenvalues of their covariance: where PR / N is .015 a third at N = 1000, and an eighth at 4000.
    With row gains the ensemble must have no memory kernel.

    N is not known here, and a network of N units has PR >= 1: where PR / N is not far above 1 / N, as close to the
    onset of chaos, the limit says nothing of it. `couplings.finite_size(ensemble, N, dimension=phi)` says how far one
    network may be from it.

    A state with types gives a `TypedDimension`: of all units, of each type, and what types share. It serves no other
    `ensemble`. With inputs or means x_i and phi_i have constant parts that differ from unit to unit (`static_x` > 0).
    C is the covariance of fluctuations over time around these, in one network: the average over static fields is of
    products of two spectra of the same unit. z-scored rates without fluctuations, of silent units, count as 0.

    There are `nodes` frequencies in each of two directions, and half as many again static fields. `residual` is the
    largest of the relative difference from 5/8 of the nodes and every second lag, of the square of C at the last lag
    over C(0), of the residual of the state, and with static fields of the error of their averages. `converged` asks for
    1e-4 (1e-3 with a memory kernel), and a converged state. Standard errors are those that the sampling error of S
    brings, by far the largest: the sums have a pole at kappa(S) |S|^2 = 1.

    NaN, not converged, for a state at rest, and where kappa(S) |S|^2 >= 1 at some frequency; for x also where nothing
    recurs, J = 0. Differentiable in the floats of the state and the ensemble, with 5/8 of the nodes.

    Raises:
        ValueError: for an `ensemble` of another type or, with row gains, with a memory kernel or an echo, and
            nodes < 16; for a state with types, of another ensemble, or with a memory kernel.

    Source: Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373); with modes, Clark et al. 2024 (arXiv 2409.01969).
    """
    if isinstance(state, TypedStationary):
        found, sizes, residual = _shared(state, ensemble, jnp.zeros(1, state.tau.dtype), z_scored, nodes)
        return dimension_of_types(state, sizes, found, residual)
    ensemble = _checked(state, ensemble, nodes)
    W2_phi = W2_x = None
    mean_phi, mean_x = state.c_phi[0], state.c_x[0]
    if z_scored and state.units is not None:  # else all units have one variance
        W2_phi, W2_x = 1 / state.units.c_phi[:, 0], 1 / state.units.c_x[:, 0]
        mean_phi = mean_x = jnp.ones_like(mean_x)
    at_zero = jnp.zeros(1, state.c_x.dtype)
    pairs = _pair_covariance(state, ensemble, at_zero, W2_phi, W2_x, nodes)
    phi, x = mean_phi**2 / pairs.phi[0], mean_x**2 / pairs.x[0]
    phi_error = x_error = jnp.zeros_like(phi)
    if state.impulse is not None:
        more = 1 + state.response_error / jnp.abs(state.response(0.0))
        shifted = frozen(eqx.tree_at(lambda s: s.impulse, state, more * state.impulse))
        others = _pair_covariance(shifted, frozen(ensemble), at_zero, W2_phi, W2_x, nodes)
        phi_error, x_error = jnp.abs(mean_phi**2 / others.phi[0] - phi), jnp.abs(mean_x**2 / others.x[0] - x)
    return Dimension(phi, x, *jax.lax.stop_gradient((phi_error, x_error)), pairs.residual, pairs.converged)


def pair_covariance(
    state: Stationary | TypedStationary,
    ensemble: Ensemble | None,
    lags: Float[ArrayLike, " L"],
    *,
    nodes: int = 128,
) -> PairCovariance:
    r"""The squared covariances of all pairs of units at `lags`, for N to infinity: how long population modes live.

    $$ \frac1N \sum_{ij} C_{ij}(\tau)^2 = \iint C(w_1)\, C(w_2)\, K(w_1, w_2)\, \cos((w_1 - w_2) \tau)\,
       \frac{dw_1\, dw_2}{(2 \pi)^2} $$

    The sum is over all i and j. Pairs with i = j add C(tau)^2, averaged over units. Other arguments, validity and
    results are as in `dimension`. `residual` is the largest over lags, relative to the largest covariance. Long lags
    need more `nodes`; lags beyond the last of the state are extrapolated.

    Raises:
        ValueError: as `dimension`, and for `lags` that are not a 1-d array of finite numbers.

    Source: Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373).
    """
    lags = vector("lags", lags).astype(state.c_x.dtype)
    require("lags", lags, np.isfinite, "finite")
    if isinstance(state, TypedStationary):
        found, _, residual = _shared(state, ensemble, lags, False, nodes)
        phi, x = jnp.sum(found.reshape(2, -1, lags.shape[0]), axis=1)
        return PairCovariance(lags, phi, x, residual, state.converged & (residual <= _TOLERANCE))
    ensemble = _checked(state, ensemble, nodes)
    return _pair_covariance(state, ensemble, lags, None, None, nodes)


def _checked(state: Stationary, ensemble: Ensemble | None, nodes: int) -> Ensemble:
    ensemble = state.ensemble if ensemble is None else ensemble
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    require_whole("nodes", nodes, least=16)
    if state.units is not None:
        site = ensemble.site()
        if site is None or site.echo is not None:
            raise ValueError("`ensemble` must be without memory kernel and echo for a state with row gains")
    return ensemble


def _shared(
    state: TypedStationary, ensemble: Ensemble | None, lags: Float[Array, " L"], z_scored: bool, nodes: int
) -> tuple[Float[Array, "m L"], Float[Array, "3 K"], Float[Array, ""]]:
    """(1/N) sum C_ij(tau)^2 over units of each two types, of rates and of states, the sizes of units, and its error."""
    if ensemble is not None:
        raise ValueError("`ensemble` must be None for a state with types, which knows its own")
    if state.impulse is not None:
        raise ValueError(
            "`state` must come from types without memory kernel (symmetry 0, no overlaps): pairs of units are not "
            "derived with one, so measure `observables.participation_ratio` of a simulation"
        )
    require_whole("nodes", nodes, least=16)
    if not is_concrete(state, lags):
        return _shared_with_gradient(state, lags, z_scored, nodes)
    # Two small programs for both rules: the units, and the integral.
    units, others = (units_of_types(state, z_scored, nodes, part) for part in (1.0, _COARSER))
    total = _shared_alone(state, units, lags, nodes, np.asarray(nodes))
    thin = on_host(others)
    spacing, rate = np.asarray(state.lags[1]), np.asarray(state.decay_rate)
    thinned = [None if c is None else _thinned(c, spacing, rate) for c in (thin.c_x, thin.b, thin.d)]
    thin = eqx.tree_at(lambda u: (u.c_x, u.b, u.d), thin, thinned, is_leaf=lambda x: x is None)
    wider = eqx.tree_at(lambda s: s.lags, state, _STRIDE * np.asarray(state.lags))
    coarse = _shared_alone(wider, thin, lags, nodes, np.asarray(_fewer(nodes)))
    return total, units.sizes, from_host(_error_of_shared(*on_host((state, units, total, coarse))))


@as_program
def _shared_with_gradient(state: TypedStationary, lags: Float[Array, " L"], z_scored: bool, nodes: int):
    def of(units: Units):
        total = frozen(_shared_integral(frozen(state), frozen(units), lags, nodes, nodes, 1))
        # Derivatives with the static fields of the finer rule: those of the coarser one are farther from the limit.
        coarse = _shared_integral(state, units, lags, _fewer(nodes), _fewer(nodes), _STRIDE)
        value = jax.lax.stop_gradient(total - coarse) + coarse
        error = jax.lax.stop_gradient(_error_of_shared(state, units, total, coarse))
        return value, units.sizes, error

    return with_units(of, state, z_scored, nodes)


def _fewer(nodes: int) -> int:
    return int(_COARSER * nodes)


@as_program
def _shared_alone(state, units, lags, nodes, count):
    return _shared_integral(state, units, lags, nodes, count, 1)


def _shared_integral(state: TypedStationary, units: Units, lags, nodes: int, count: int | Int[Array, ""], stride: int):
    pairs = pairs_of_types(units)
    spacing = stride * (state.lags[1] - state.lags[0])
    rates = 1 / jnp.max(state.tau), 1 / jnp.min(state.tau)
    return integral(pairs, pairs.functions[:, ::stride], spacing, state.decay_rate, lags, nodes, count, *frozen(rates))


def _error_of_shared(state: TypedStationary, units: Units, total: Float[Any, "m L"], coarse: Float[Any, "m L"]) -> Any:
    xp = namespace(total)
    by_kind = lambda of: of.reshape(2, -1, of.shape[-1]).sum(1)
    missed = (abs(by_kind(coarse - total)) / abs(by_kind(total)).max(1, keepdims=True)).max()
    last = abs(state.c_x[:, -1] - state.static_x).max() / (state.c_x[:, 0] - state.static_x).max()
    return xp.stack([missed, last**2, state.residual, units.miss]).max()


def _pair_covariance(
    state: Stationary,
    ensemble: Ensemble,
    lags: Float[Array, " L"],
    W2_phi: Float[Array, " K"] | None,
    W2_x: Float[Array, " K"] | None,
    nodes: int,
) -> PairCovariance:
    """With squared output weights of each gain, 1 if None."""
    weights = (W2_phi, W2_x)
    if not is_concrete(state, ensemble, lags, weights):
        return _with_gradient(state, ensemble, lags, weights, nodes)
    # One small program for both rules.
    total = _alone(state, ensemble, lags, weights, nodes, np.asarray(nodes))
    coarse = _alone(_every_second_lag(state), ensemble, lags, weights, nodes, np.asarray(_fewer(nodes)))
    return _judged(state, lags, total, coarse)


@as_program
def _with_gradient(state, ensemble, lags, weights, nodes):
    fixed_state, fixed_ensemble = frozen((state, ensemble))
    total = _integral(fixed_state, fixed_ensemble, lags, weights, nodes, nodes, 1)
    coarse = _integral(state, ensemble, lags, weights, _fewer(nodes), _fewer(nodes), _STRIDE)
    # The value of `total`, with the derivatives of `coarse`.
    return _judged(state, lags, jax.lax.stop_gradient(total - coarse) + coarse, coarse)


@as_program
def _alone(state, ensemble, lags, weights, nodes, count):
    return _integral(state, ensemble, lags, weights, nodes, count, 1)


@as_program
def _judged(
    state: Stationary, lags: Float[Array, " L"], total: Float[Array, "2 L"], coarse: Float[Array, "2 L"]
) -> PairCovariance:
    misses = [
        jnp.max(jnp.abs(coarse - total) / jnp.max(jnp.abs(total), axis=1, keepdims=True)),
        # A tail e^{-rate tau} has corrections of this relative order.
        (state.c_x[-1] / state.c_x[0]) ** 2,
        state.residual,
    ]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack(misses)))
    tolerance = _TOLERANCE if state.impulse is None else _TOLERANCE_OF_PATHS
    return PairCovariance(lags, total[0], total[1], residual, state.converged & (residual <= tolerance))


def _every_second_lag(state: Stationary) -> Stationary:
    """The state on lags twice as far apart, as many as before: beyond the last lag functions decay exponentially."""
    lags, rate, units = np.asarray(state.lags), np.asarray(state.decay_rate), state.units
    fields = lambda s: (s.c_x, s.c_phi, *(() if units is None else (s.units.c_x, s.units.c_phi)))
    thinned = [_thinned(c, lags[1], rate) for c in fields(state)]
    return eqx.tree_at(lambda s: (s.lags, *fields(s)), state, (_STRIDE * lags, *thinned))


def _thinned(c: Float[Any, "... T"], spacing: Float[Any, ""], rate: Float[Any, ""]) -> Float[np.ndarray, "... T"]:
    c = np.asarray(c)
    kept, num = c[..., ::_STRIDE], c.shape[-1]
    last = (num - 1) // _STRIDE
    beyond = np.exp(-rate * spacing * _STRIDE * (np.arange(last + 1, num) - last))
    return np.concatenate([kept, kept[..., -1:] * beyond], axis=-1)


def _integral(
    state: Stationary,
    ensemble: Ensemble,
    lags: Float[Array, " L"],
    weights: tuple[Float[Array, " K"] | None, Float[Array, " K"] | None],
    nodes: int,
    count: int | Int[Array, ""],
    stride: int,
) -> Float[Array, "2 L"]:
    """The double integral for rates and states, from every ``stride``-th lag, with ``count`` of ``nodes`` nodes."""
    pairs = _pairs(state, ensemble, *weights)
    spacing = stride * (state.lags[1] - state.lags[0])
    return integral(pairs, pairs.functions[:, ::stride], spacing, state.decay_rate, lags, nodes, count)


def integral(
    pairs: Pairs,
    c: Float[Array, "s T"],
    spacing: Float[Array, ""],
    decay_rate: Float[Array, ""],
    lags: Float[Array, " L"],
    nodes: int,
    count: int | Int[Array, ""],
    slowest: float | Float[Array, ""] = 1.0,
    fastest: float | Float[Array, ""] = 1.0,
) -> Float[Array, "k L"]:
    """The double integral of `pairs`, whose functions are c, for units of rates between `slowest` and `fastest`."""
    # The scale of b need not be exact: a sum over the lags in place of the spectrum at 0.
    width = jnp.pi * c[0, 0] / (2 * spacing * (jnp.sum(c[0]) - c[0, 0] / 2) + 2 * c[0, -1] / decay_rate)
    b, db = _half_line(width, nodes, count, fastest)
    S2 = pairs.response(b)
    power = jax.vmap(pairs.power)(S2)
    ridge = slowest * jnp.clip(jnp.min(1 - power), _NARROWEST, 1)
    a, da = _half_line(ridge, nodes, count, fastest)
    S1 = pairs.response(b[:, None] + a[None])
    # At b, and at b + a.
    C = spectra(c, spacing, decay_rate, b, jnp.append(jnp.zeros(1, a.dtype), a)).transpose(1, 2, 0)
    C2, C1 = C[:, 0], C[:, 1:]

    def point(a, b, s1, s2, c1, c2):
        """The part of pairs, for both signs of w_2, times the cosines of each."""
        signs = jax.vmap(lambda w2, s2: pairs.added(a + b, w2, s1, s2, c1, c2))
        waves = jnp.cos(jnp.stack([a, a + 2 * b])[:, None] * lags[None])
        return signs(jnp.stack([b, -b]), jnp.stack([s2, jnp.conj(s2)])).T @ waves

    # A reverse pass would store all points of the plane: it computes each row again.
    @jax.checkpoint
    def row(at):
        """The integral over a."""
        b, s1, s2, c1, c2 = at
        terms = jax.vmap(point, in_axes=(0, None, 0, None, 0, None))(a, b, s1, s2, c1, c2)
        return jnp.tensordot(da, terms, 1)

    rows = jax.lax.map(row, (b, S1, S2, C1, C2))
    # Eight octants, four of each sign.
    excess = 4 / (2 * jnp.pi) ** 2 * jnp.tensordot(db, rows, 1)
    return pairs.single(_at_lags(c, spacing, decay_rate, lags)) + excess


def _pairs(
    state: Stationary, ensemble: Ensemble, W2_phi: Float[Array, " K"] | None, W2_x: Float[Array, " K"] | None
) -> Pairs:
    if state.units is None:
        return alike(state, ensemble)
    ones = jnp.ones_like(state.units.beta)
    return unlike(state.units, ensemble, ones if W2_phi is None else W2_phi, ones if W2_x is None else W2_x)


def _half_line(
    scale: Float[Array, ""], nodes: int, count: int | Int[Array, ""], fastest: float | Float[Array, ""]
) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Frequencies from 0 to the highest, dense up to `scale`, and the weights of an integral over them.

    The first `count` are a rule, the rest has no weight.
    """
    scale = jax.lax.stop_gradient(scale)
    numbers, count = jnp.asarray(np.arange(nodes), scale.dtype), jnp.asarray(count, scale.dtype)
    spacing = (jnp.log(_HIGHEST * fastest / scale) - _FIRST) / (count - 1)
    t = _FIRST + spacing * numbers
    w = scale * jnp.exp(t - jnp.exp(-t))
    return w, jnp.where(numbers < count, spacing * w * (1 + jnp.exp(-t)), 0)


def _at_lags(
    c: Float[Array, "s T"], spacing: Float[Array, ""], rate: Float[Array, ""], lags: Float[Array, " L"]
) -> Float[Array, "s L"]:
    """C by cubics through four lags, and its exponential beyond the last."""
    last = c.shape[1] - 1
    inside = cubic_interpolation(c, jnp.minimum(jnp.abs(lags) / spacing, last))
    return inside * jnp.exp(-rate * jnp.maximum(jnp.abs(lags) - last * spacing, 0))[None]
