r"""From a measured matrix to an ensemble with few parameters, chosen among families and tested on another matrix.

The fit sees the soft counts of singular values and of overlaps (see `singular`) at K scales,

$$ y = N\, (C(\eta_1) \dots C(\eta_K),\; Q(\eta_1) \dots Q(\eta_K)) \sim
   \mathcal N\big(\mu(\theta) + b,\; \Sigma + \tau^2\big) $$

mu is the theory of a family for N -> infinity. The correction b for finite N and the scatter Sigma between networks
come from samples of the fitted ensemble; both are of order one whatever N. A measured matrix is no sample of any
family: its misfit tau is the number of singular values out of place at any scale, and is found by likelihood together
with the parameters theta. Without tau, Sigma alone would reject all families, and their error bars would be too small.

Some modes stand apart and are not smooth in the rank; a matrix of counts has one such mode, its mean. These `leading`
modes become parts of finite rank with their measured singular values and overlaps. The family describes the bulk.

To add a family, see `families`. To fit another statistic, replace `soft_counts` and `_expected`, which belong together.

Source: derived here.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray
from scipy.optimize import minimize_scalar
from tqdm import tqdm

from .._arguments import require_instance, require_key, require_whole, square_matrix
from .._numerics import as_program
from .._results import Result
from ..couplings import Ensemble, LowRank
from ..couplings.estimates import modes_of_matrix
from ..spectra.singular import observed_singular_profile, singular_profile
from .engine import NotIdentifiable, least_squares
from .families import Family, default_families


class Measured(Result, axes={"P": "mode", "K": "scales", "2*K": "statistic", "l": "leading_mode"}):
    """A matrix of n units as a fit sees it: its geometry, counts at `scales`, and modes that stand apart."""

    n: int = eqx.field(static=True)
    ranks: Float[Array, " P"]  # of the modes of the bulk
    g: Float[Array, ""]  # of the bulk: sqrt(sum s^2 / n)
    scales: Float[Array, " K"]
    counts: Float[Array, " 2*K"]  # n C, then n Q
    leading: Float[Array, "l 2"]  # singular value and overlap

    @property
    def load(self) -> float:
        return self.ranks.shape[0] / self.n


class FamilyFit(Result, axes={"2*K": "statistic", "B": "replicate", "l": "leading_mode"}):
    """One family, fitted; made by `fit_connectome`.

    `family` has the best parameters, and `error`, a tree like it, has their standard errors. `replicates` is such a
    tree with one more axis in front: parameters from repeated measurements, drawn with the scatter and the misfit.
    `misfit` is tau. `aic` is 2 (parameters + 1) - 2 log_likelihood: tau counts as a parameter too. `unidentified` names
    the combinations of parameters that the data leave open.

    `measured` holds the counts of the matrix, `expected` is mu + b for them, and `scatter` is Sigma. `noise` holds the
    counts of samples less their mean. `replicate_counts` and `replicate_leading` are mu + b, and the leading modes, of
    the replicates.
    """

    family: Family
    error: Family
    misfit: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    aic: Float[Array, ""]
    converged: Bool[Array, ""]
    unidentified: tuple[str, ...] = eqx.field(static=True)
    measured: Measured
    expected: Float[Array, " 2*K"]
    scatter: Float[Array, "2*K 2*K"]  # scaled so that its inverse has no bias
    replicates: Family
    replicate_counts: Float[Array, "B 2*K"]
    noise: Float[Array, "B 2*K"]
    replicate_leading: Float[Array, "B l 2"]

    def ensemble(self) -> Ensemble:
        """The fitted ensemble: the bulk, plus one `LowRank` for each leading mode."""
        return _ensemble(self.family, self.measured, self.measured.leading)

    def replicate(self, index: int) -> Ensemble:
        """The ensemble of the replicate with this `index`."""
        family = jax.tree.map(lambda x: x[index], self.replicates)
        return _ensemble(family, self.measured, self.replicate_leading[index])


class ConnectomeFit(Result):
    """The `fits` of all families in the order of their AIC, the best first; made by `fit_connectome`."""

    fits: tuple[FamilyFit, ...]

    @property
    def best(self) -> FamilyFit:
        """The fit of least AIC."""
        return self.fits[0]

    def table(self) -> str:
        """One line a family: AIC above the best, misfit, parameters with errors."""
        lines = [f"{'family':52} {'dAIC':>8} {'misfit':>7}  parameters"]
        for fit in self.fits:
            rise = float(fit.aic - self.best.aic)
            lines.append(f"{fit.family.label():52} {rise:8.2f} {float(fit.misfit):7.2f}  {_parameters(fit)}")
        return "\n".join(lines)


def fit_connectome(
    matrix: Float[ArrayLike, "n n"],
    families: Sequence[Family] | None = None,
    *,
    key: PRNGKeyArray,
    num_leading: int = 0,
    num_scales: int = 8,
    num_replicates: int = 128,
    progress: bool = True,
) -> ConnectomeFit:
    r"""The families of ensembles that describe a measured matrix, each with its likeliest parameters, the best first.

    $$ (\hat\theta, \hat\tau) = \mathrm{argmax}\, \log \mathcal N(y;\; \mu(\theta) + b,\; \Sigma + \tau^2) $$

    The parameters of `families` (`default_families()` if None) are where the search starts, except g, which starts as
    measured. `num_leading` modes are set apart: take 1 for a matrix of counts. The load is measured: the rank of the
    bulk over n. The `num_scales` values of eta are spaced evenly in log eta from the tenth percentile of the singular
    values to the second largest. Sigma and b come from `num_replicates` samples of n x n matrices for each family.

    The replicates of a fit are a parametric bootstrap: y is drawn with the scatter of samples and the misfit, and
    refitted to first order. Their spread covers the change by another sample of the ensemble and, as independent noise,
    the misfit of the family. It does not cover errors of the measurement, missing neurons, or a wrong kind of ensemble.
    Neurons are not resampled: a neuron drawn twice makes equal rows, with singular values that the circuit lacks.

    The replicates are valid where the counts are almost linear in the parameters within their errors. Combinations of
    parameters that the data leave open are named in `unidentified`, and have infinite errors.

    Raises:
        ValueError: for a `matrix` that is not square or not finite, has fewer than two modes a scale beyond the
            leading ones, or a g whose square is lost; for an object that is no `Family`, num_leading < 0, num_scales
            < 3, and num_replicates < 4 num_scales, which are too few for Sigma.
    """
    families = default_families() if families is None else tuple(families)
    if not families:
        raise ValueError("`families` must have a family such as `Independent()`, got none")
    for family in families:
        require_instance("families", family, Family, "families such as `Independent()`")
    require_key("key", key)
    require_whole("num_leading", num_leading, least=0)
    require_whole("num_scales", num_scales, least=3)
    require_whole("num_replicates", num_replicates, least=4 * num_scales)
    measured = measure(matrix, num_leading, num_scales)
    keys = jax.random.split(key, len(families))
    bar = tqdm(families, "fitting families", delay=2, leave=False, disable=not progress)
    fits = [_fit_family(family, measured, key, num_replicates) for family, key in zip(bar, keys, strict=True)]
    return ConnectomeFit(tuple(sorted(fits, key=lambda fit: math.inf if jnp.isnan(fit.aic) else float(fit.aic))))


def predict(
    fit: FamilyFit, statistic: Callable[[Ensemble], Float[Array, "..."]], num_replicates: int | None = None
) -> "Estimate":
    """Any statistic of the ensemble of a `fit`, with its error from `num_replicates` replicates (all if None).

    `statistic` takes an ensemble: lambda e: law(e).right_edge(), lambda e: chaos_onset(e, Tanh()).value, or any
    function of an ensemble, such as the dimension of its activity. With leading modes the ensemble is a sum whose
    first term, e.terms[0], is the bulk: mean field takes the bulk alone, `outliers` the sum. `fit_connectome` says what
    the errors cover. The error is NaN if the statistic is NaN for a replicate. The statistic is called once a
    replicate: give a small `num_replicates` where a call takes long.

    Raises:
        ValueError: for num_replicates < 2, or more than there are replicates.
    """
    count = fit.noise.shape[0] if num_replicates is None else num_replicates
    require_whole("num_replicates", count, least=2)
    if count > fit.noise.shape[0]:
        raise ValueError(
            f"`num_replicates` must be at most the number of replicates, {fit.noise.shape[0]}, got {num_replicates}"
        )
    values = jnp.stack([jnp.asarray(statistic(fit.replicate(i))) for i in range(count)])
    return Estimate(jnp.asarray(statistic(fit.ensemble())), jnp.std(values, axis=0, ddof=1), values)


class Estimate(Result, axes={"B": "replicate"}):
    """The `value` of a number or array, its standard `error`, and the `replicates` from which the error comes."""

    value: Float[Array, "..."]
    error: Float[Array, "..."]
    replicates: Float[Array, "B ..."]


# --- another matrix


class HeldOut(Result):
    """How well families predict a matrix that they were not fitted to, in the order of the fits; made by `held_out`.

    `labels` name the families, and `log_likelihood` is the likelihood of the matrix under each. `advantage` is the
    lead of the first family over each family in log-likelihood. `count_distance` and `overlap_distance` are root mean
    square differences of N C and of N Q: singular values out of place at a scale.
    """

    labels: tuple[str, ...] = eqx.field(static=True)
    log_likelihood: Estimate
    advantage: Estimate
    count_distance: Estimate
    overlap_distance: Estimate

    def table(self) -> str:
        """One line a family, with errors."""
        lines = [f"{'family':52} {'log-likelihood':>16} {'behind the first':>18} {'counts':>14} {'overlaps':>14}"]
        for i, label in enumerate(self.labels):
            columns = (self.log_likelihood, self.advantage, self.count_distance, self.overlap_distance)
            numbers = [f"{float(c.value[i]):.2f} +- {float(c.error[i]):.2f}" for c in columns]
            lines.append(f"{label:52} {numbers[0]:>16} {numbers[1]:>18} {numbers[2]:>14} {numbers[3]:>14}")
        return "\n".join(lines)


def held_out(fit: ConnectomeFit, matrix: Float[ArrayLike, "m m"], *, free_g: bool = False) -> HeldOut:
    r"""How well each fitted family predicts another matrix, of a circuit of the same kind.

    $$ \log \mathcal N\big(y_w;\; q (\hat\mu + b),\; \Sigma + (q \hat\tau)^2\big), \qquad q = m / n $$

    All of y_w is held out, and no parameter is refitted; quantities that grow with the network are scaled to its m
    units. With `free_g`, `matrix` is first scaled to the g of the fit, and only the shapes of spectrum and overlaps are
    compared. The errors combine the errors of the parameters (see `fit_connectome`) with the scatter of another sample
    in place of `matrix`, which is the same for all families.

    Raises:
        ValueError: for `matrix` that is not square, not finite, or zero beyond the leading modes.
    """
    first = fit.best
    y = _counts_like(first.measured, matrix, free_g)
    matrix = square_matrix("matrix", matrix)
    ratio = matrix.shape[0] / first.measured.n
    # Noise and parameters come from different replicates: `matrix` is another network.
    ys = jnp.concatenate([y[None], y[None] + jnp.roll(first.noise, 1, axis=0)])
    likelihoods, counts, overlaps = [], [], []
    for one in fit.fits:
        expected = ratio * jnp.concatenate([one.expected[None], one.replicate_counts])
        likelihoods.append(log_normal(ys - expected, one.scatter, ratio * one.misfit))
        squares = (ys - expected) ** 2
        counts.append(jnp.sqrt(jnp.mean(squares[:, : y.size // 2], axis=1)))
        overlaps.append(jnp.sqrt(jnp.mean(squares[:, y.size // 2 :], axis=1)))
    log_likelihood = jnp.stack(likelihoods, axis=1)
    return HeldOut(
        tuple(one.family.label() for one in fit.fits),
        _estimate(log_likelihood),
        _estimate(log_likelihood[:, :1] - log_likelihood),
        _estimate(jnp.stack(counts, axis=1)),
        _estimate(jnp.stack(overlaps, axis=1)),
    )


def apart(
    fit: FamilyFit, a: Float[ArrayLike, "n n"], b: Float[ArrayLike, "m m"], *, free_g: bool = False
) -> "Estimate":
    r"""How far two matrices are from each other, in units of the distance of two samples of the fitted ensemble.

    $$ d^2 = \frac{1}{2K} \sum_k \frac{(y_k^a - y_k^b)^2}{2 \Sigma_{kk}}, $$

    The root mean square of d is 1 for two samples. `replicates` are values of d for pairs of samples, and their spread
    is the error. `b` is scaled to the size of `a` as in `held_out`. With `free_g` both are scaled to the g of the fit.
    Raises `ValueError` as `held_out`.
    """
    a, b = square_matrix("a", a), square_matrix("b", b)
    ratio = a.shape[0] / b.shape[0]
    counts_of_a, counts_of_b = (_counts_like(fit.measured, m, free_g, name) for m, name in ((a, "a"), (b, "b")))
    difference = counts_of_a - ratio * counts_of_b
    unit = jnp.sqrt(2 * jnp.var(fit.noise, axis=0, ddof=1))
    rms = lambda y: jnp.sqrt(jnp.mean((y / unit) ** 2))
    pairs = jax.vmap(rms)(fit.noise[::2][: fit.noise.shape[0] // 2] - fit.noise[1::2])
    return Estimate(rms(difference), jnp.std(pairs, ddof=1), pairs)


def _estimate(values: Float[Array, "B ..."]) -> Estimate:
    """The first of `values`, with the spread of the others about it."""
    return Estimate(values[0], jnp.std(values[1:], axis=0, ddof=1), values[1:])


# --- measurements


def measure(matrix: Float[ArrayLike, "n n"], num_leading: int, num_scales: int, name: str = "matrix") -> Measured:
    whole = modes_of_matrix(matrix)
    n, rank = whole.values.shape[0], int(jnp.count_nonzero(whole.values))
    bulk, overlaps = whole.values[num_leading:rank], whole.overlaps[num_leading:rank]
    if rank - num_leading < 2 * num_scales:
        raise ValueError(
            f"`{name}` must have at least {2 * num_scales} modes beyond the {num_leading} leading ones for "
            f"{num_scales} scales, got {max(rank - num_leading, 0)}: give fewer `num_scales`"
        )
    g, limits = float(_root_mean_square(bulk, n)), jnp.finfo(bulk.dtype)
    if not float(limits.tiny) ** 0.5 < g < float(limits.max) ** 0.5:
        raise ValueError(f"`{name}` must have a strength whose square is a number, got g = {g:.3g}: take another unit")
    scales = jnp.geomspace(jnp.quantile(bulk, 0.1), bulk[1], num_scales)
    return Measured(
        n=n,
        ranks=(jnp.arange(rank - num_leading, dtype=bulk.dtype) + 0.5) / n,
        g=_root_mean_square(bulk, n),
        scales=scales,
        counts=soft_counts(bulk, overlaps, n, scales),
        leading=jnp.stack([whole.values[:num_leading], whole.overlaps[:num_leading]], axis=1),
    )


def _counts_like(
    measured: Measured, matrix: Float[ArrayLike, "m m"], free_g: bool, name: str = "matrix"
) -> Float[Array, " 2*K"]:
    """The counts of another matrix at the same scales."""
    other, start = modes_of_matrix(matrix), measured.leading.shape[0]
    n, bulk = other.values.shape[0], other.values[start:]
    if not np.any(np.asarray(bulk)):
        raise ValueError(f"`{name}` must have modes beyond the {start} leading ones, got none")
    factor = measured.g / _root_mean_square(bulk, n).astype(measured.g.dtype) if free_g else 1
    bulk, overlaps = bulk.astype(measured.g.dtype), other.overlaps[start:].astype(measured.g.dtype)
    return soft_counts(factor * bulk, overlaps, n, measured.scales)


def _root_mean_square(values: Float[Array, " r"], n: int) -> Float[Array, ""]:
    """Of n singular values, the largest first: no square overflows or underflows."""
    return values[0] * jnp.sqrt(jnp.sum((values / values[0]) ** 2) / n)


def soft_counts(values, overlaps, n: int, scales) -> Float[Array, " 2*K"]:
    profile = observed_singular_profile(values, overlaps, n, scales)
    return n * jnp.concatenate([profile.counts, profile.overlaps])


def _ensemble(family: Family, measured: Measured, leading: Float[Array, "l 2"]) -> Ensemble:
    # u v^T / n with v = O u + sigma w has the singular value |u||v| / n = sqrt(O^2 + sigma^2), the overlap O over that.
    parts = [LowRank(s * o, noise=s * jnp.sqrt(1 - o**2)) for s, o in leading]
    return reduce(add, parts, family.ensemble(measured.ranks, measured.load))


@as_program
def _samples(ensemble: Ensemble, measured: Measured, keys: PRNGKeyArray):
    """Counts (B, 2K) and leading modes (B, l, 2) of samples, one network at a time."""
    start = measured.leading.shape[0]

    def one(key):
        J = ensemble.sample(measured.n, key=key, max_modes=measured.ranks.shape[0]).dense()
        u, s, vt = jnp.linalg.svd(J)
        o = jnp.sum(u * vt.T, axis=0)
        return soft_counts(s[start:], o[start:], measured.n, measured.scales), jnp.stack([s[:start], o[:start]], axis=1)

    return jax.lax.map(one, keys)


# --- fits


def _fit_family(family: Family, measured: Measured, key: PRNGKeyArray, num_replicates: int) -> FamilyFit:
    key_networks, key_misfit = jax.random.split(key)
    y, identity = measured.counts, jnp.eye(measured.counts.shape[0], dtype=measured.counts.dtype)
    transforms = family.constraints()
    start = eqx.tree_at(lambda f: f.g, family, measured.g)

    def fit(family, offset, whitening):
        with warnings.catch_warnings():  # the result keeps what they say
            warnings.simplefilter("ignore", NotIdentifiable)
            return least_squares(_residuals, family, measured, offset, whitening, transforms=transforms)

    result = fit(start, jnp.zeros_like(y), identity)
    networks = jax.random.split(key_networks, num_replicates)
    samples, leading = _samples(_ensemble(result.params, measured, measured.leading), measured, networks)
    offset = jnp.mean(samples, axis=0) - _expected(result.params, measured)
    noise = samples - jnp.mean(samples, axis=0, keepdims=True)
    # This many degrees of freedom make the inverse right in the mean (Hartlap, Simon & Schneider 2007).
    scatter = noise.T @ noise / (num_replicates - y.shape[0] - 2)
    for _ in range(_ROUNDS):
        misfit = likeliest_misfit(_expected(result.params, measured) + offset - y, scatter)
        whitening = jnp.linalg.inv(jnp.linalg.cholesky(scatter + misfit**2 * identity))
        result = fit(result.params, offset, whitening)
    expected = _expected(result.params, measured) + offset
    log_likelihood = log_normal(y - expected, scatter, misfit)

    # Repeated measurements, refitted to first order: u moves by (W M)^+ W dy, M = d(mu)/du, W the whitening.
    slopes = jax.jacfwd(lambda u: _expected(result.space.params(u), measured))(result.free)
    dy = noise + misfit * jax.random.normal(key_misfit, noise.shape, noise.dtype)
    du = jnp.linalg.pinv(whitening @ slopes) @ whitening @ dy.T
    top = measured.leading[None] + leading - jnp.mean(leading, axis=0, keepdims=True)
    return FamilyFit(
        family=result.params,
        error=result.error,
        misfit=jnp.asarray(misfit),
        log_likelihood=log_likelihood,
        aic=2 * (result.covariance.shape[0] + 1) - 2 * log_likelihood,
        converged=result.converged,
        unidentified=result.unidentified(),
        measured=measured,
        expected=expected,
        scatter=scatter,
        replicates=jax.vmap(result.space.params)(result.free[None] + du.T),
        replicate_counts=expected[None] + (slopes @ du).T,
        noise=noise,
        replicate_leading=top.at[..., 1].set(jnp.clip(top[..., 1], -1, 1)),
    )


# Rounds in which the misfit and the parameters are refitted in turn, each with the other from the round before.
_ROUNDS = 4


@as_program
def _expected(family: Family, measured: Measured) -> Float[Array, " 2*K"]:
    profile = singular_profile(family.ensemble(measured.ranks, measured.load), measured.scales)
    return measured.n * jnp.concatenate([profile.counts, profile.overlaps])


def _residuals(family: Family, measured: Measured, offset, whitening) -> Float[Array, " 2*K"]:
    return whitening @ (_expected(family, measured) + offset - measured.counts)


def likeliest_misfit(error: Float[Array, " m"], scatter: Float[Array, "m m"]) -> float:
    """The likeliest tau for errors of covariance Sigma + tau^2."""
    variances, axes = np.linalg.eigh(scatter)
    squares = (axes.T @ np.asarray(error)) ** 2

    def loss(log_tau):
        total = np.maximum(variances, 0) + math.exp(2 * log_tau)
        return float(np.sum(squares / total + np.log(total)))

    highest = math.log(10 * (1 + math.sqrt(squares.mean())))
    return math.exp(minimize_scalar(loss, bounds=(math.log(_LEAST_MISFIT), highest), method="bounded").x)


_LEAST_MISFIT = 1e-2  # far below the scatter, and enough for a scatter that is singular


def log_normal(errors: Float[Array, "*B m"], scatter: Float[Array, "m m"], misfit) -> Float[Array, "*B"]:
    """log N(errors; 0, Sigma + tau^2)."""
    m = scatter.shape[0]
    L = jnp.linalg.cholesky(scatter + misfit**2 * jnp.eye(m, dtype=scatter.dtype))
    squares = jnp.sum((errors @ jnp.linalg.inv(L).T) ** 2, axis=-1)
    return -squares / 2 - jnp.sum(jnp.log(jnp.diagonal(L))) - m / 2 * math.log(2 * math.pi)


def _parameters(fit: FamilyFit) -> str:
    """'gain = 22.1 +- 0.3, law.decay = 0.27 +- 0.01'."""
    values = jax.tree_util.tree_flatten_with_path(fit.family)[0]
    errors = jax.tree.leaves(fit.error)
    parts = []
    for (path, value), error in zip(values, errors, strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        parts.append(f"{name} = {float(value):.4g} +- {float(error):.2g}")
    return ", ".join(parts)
