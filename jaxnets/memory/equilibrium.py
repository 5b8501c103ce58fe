r"""Equilibrium of associative memory for N -> infinity: Ising spins, random patterns and any symmetric core.

$$ H = -\tfrac12 \sum_{i \neq j} J_{ij} s_i s_j, \qquad J_{ij} = \frac1N \sum_{\mu\nu} \xi_i^\mu K_{\mu\nu} \xi_j^\nu,
   \qquad P = \alpha N $$

In the replica-symmetric theory a few patterns are condensed, with overlaps m of order one and their block of K. All
others act through the eigenvalue law of K as a Gaussian field of variance Delta^2 = alpha r, whose average, written
with chi = (1 - q) / T in place of q, has one form for T > 0 and T = 0:

$$ m_\mu = \langle \xi^\mu \tanh(x / T) \rangle, \quad \chi = \langle \operatorname{sech}^2(x / T) \rangle / T, \quad
   \Delta^2 = \alpha (1 - T \chi) \Big\langle \frac{\lambda^2}{(1 - \chi \lambda)^2} \Big\rangle, \quad
   x = \sum_\mu \xi^\mu (K m)_\mu + \Delta z $$

Averages over x are integrals of its characteristic function (`field_averages`), for any number of condensed patterns.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import nonnegative, real_array, require, require_instance, require_whole, scalar, vector
from .._numerics import frozen
from ..couplings import DeepHebbian

# --- the core -------------------------------------------------------------------------------------------------


class SymmetricCore(eqx.Module):
    """What the theory reads of a symmetric core K: its block of the condensed patterns, and its eigenvalue law.

    `load` is alpha >= 0, `condensed` (W, W) the block, `eigenvalues` (k,) and `weights` (k,; equal if None) the law of
    the eigenvalues of the whole K; `patterns` are "binary" (+-1) or "gaussian". `symmetric_core` makes one from an
    ensemble. `coarse_weights` are those of a second rule on the same eigenvalues, from which errors are judged. Raises
    `ValueError` for a load that is negative, a block that is not symmetric, negative weights, shapes that do not fit
    and unknown patterns. Source: Jiang et al. 2021 (arXiv 2103.14317).
    """

    load: Float[Array, ""]
    condensed: Float[Array, "W W"]
    eigenvalues: Float[Array, " k"]
    weights: Float[Array, " k"]
    coarse_weights: Float[Array, " k"]  # of a second rule on the same values, from which errors are judged
    patterns: str = eqx.field(static=True)

    def __init__(
        self,
        load: Float[ArrayLike, ""],
        condensed: Float[ArrayLike, "W W"],
        eigenvalues: Float[ArrayLike, " k"],
        weights: Float[ArrayLike, " k"] | None = None,
        patterns: str = "binary",
        *,
        coarse_weights: Float[ArrayLike, " k"] | None = None,
    ):
        self.load = scalar("load", load)
        self.condensed = real_array("condensed", condensed)
        self.eigenvalues = vector("eigenvalues", eigenvalues)
        weights = jnp.ones_like(self.eigenvalues) if weights is None else vector("weights", weights)
        require("weights", weights, lambda w: nonnegative(w) & (np.sum(w) > 0), "finite numbers >= 0, not all 0")
        self.weights = weights / jnp.sum(weights)
        self.coarse_weights = self.weights if coarse_weights is None else vector("coarse_weights", coarse_weights)
        self.patterns = patterns

    def __check_init__(self):
        require("load", self.load, nonnegative, "a finite number >= 0")
        K = self.condensed
        if K.ndim != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
            raise ValueError(f"`condensed` must be a square matrix, got shape {K.shape}")
        require("condensed", K, lambda K: np.isfinite(K) & (K == K.T), "a symmetric matrix of finite numbers")
        require("eigenvalues", self.eigenvalues, np.isfinite, "finite numbers")
        for name in ("weights", "coarse_weights"):
            if getattr(self, name).shape != self.eigenvalues.shape:
                raise ValueError(
                    f"`{name}` must have the shape of `eigenvalues`, {self.eigenvalues.shape}, "
                    f"got {getattr(self, name).shape}"
                )
        if self.patterns not in ("binary", "gaussian"):
            raise ValueError(f'`patterns` must be "binary" or "gaussian", got {self.patterns!r}')


def symmetric_core(ensemble: DeepHebbian | SymmetricCore, num: int, *, angles: int = 512) -> SymmetricCore:
    r"""The core of a symmetric `DeepHebbian` ensemble, of which `num` patterns in a row are condensed.

    $$ K_{\mu\nu} = c\, \delta_{\mu\nu} + \gamma_{|\mu - \nu|}, \qquad
       \lambda(\theta) = c + 2 \sum_r \gamma_r \cos r \theta $$

    The law of lambda is that of `angles` + 1 equidistant theta in [0, pi]: averages of functions that are analytic near
    the circle are exact up to exp(-2 angles Im theta) at their nearest singularity. A `SymmetricCore` is its own.

    Raises:
        ValueError: for an ensemble that is not symmetric, a core of another size than `num`, and odd `angles`.

    Source: Jiang et al. 2021 (arXiv 2103.14317).
    """
    require_whole("num", num)
    if isinstance(ensemble, SymmetricCore):
        if ensemble.condensed.shape[0] != num:
            raise ValueError(f"`num` must be that of the core, {ensemble.condensed.shape[0]} patterns, got {num}")
        return ensemble
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian` or a `SymmetricCore`")
    require_whole("angles", angles, least=2)
    if angles % 2:
        raise ValueError(f"`angles` must be even, got {angles}")
    if not ensemble.is_symmetric():
        raise ValueError("`ensemble` must be symmetric: an equilibrium needs J = J^T (`DeepHebbian(symmetric=True)`)")
    dtype, d = ensemble.load.dtype, ensemble.hetero.shape[0]
    distance = np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
    strengths = jnp.concatenate([ensemble.auto[None], ensemble.hetero, jnp.zeros(1, dtype)])
    theta = np.pi * np.arange(angles + 1) / angles
    waves = 2 * np.cos(np.outer(theta, np.arange(1, d + 1)))
    fine = np.where((theta == 0) | (theta == np.pi), 0.5, 1.0)
    coarse = np.where(np.arange(angles + 1) % 2 == 0, 2 * fine, 0)
    return SymmetricCore(
        ensemble.load,
        strengths[np.minimum(distance, d + 1)],
        ensemble.auto + jnp.asarray(waves, dtype) @ ensemble.hetero,
        jnp.asarray(fine, dtype),
        ensemble.patterns,
        coarse_weights=jnp.asarray(coarse / angles, dtype),
    )


class Problem(eqx.Module):
    """Everything that the theory reads: the core and the temperature."""

    core: SymmetricCore
    temperature: Float[Array, ""]

    def at_load(self, load: Float[Array, ""]) -> "Problem":
        return eqx.tree_at(lambda problem: problem.core.load, self, load)

    def at_temperature(self, temperature: Float[Array, ""]) -> "Problem":
        return Problem(self.core, temperature)


class Bulk(eqx.Module):
    """Averages over the eigenvalue law, at chi."""

    log: Float[Array, ""]  # <ln(1 - chi lambda)>
    pull: Float[Array, ""]  # <lambda / (1 - chi lambda)>
    noise: Float[Array, ""]  # <lambda^2 / (1 - chi lambda)^2>
    noise_slope: Float[Array, ""]  # its derivative by chi


def bulk(core: SymmetricCore, chi: Float[Array, ""], weights: Float[Array, " k"] | None = None) -> Bulk:
    """NaN where chi lambda >= 1 for some eigenvalue: there is no such phase."""
    weights = core.weights if weights is None else weights
    margin = 1 - chi * core.eigenvalues
    inside = jnp.all(margin > 0)
    safe = jnp.where(inside, margin, 1)
    ratio = core.eigenvalues / safe
    nan_outside = jnp.where(inside, 0, jnp.nan)
    return Bulk(*(nan_outside + weights @ f for f in (jnp.log(safe), ratio, ratio**2, 2 * ratio**3)))


# --- averages over the field ----------------------------------------------------------------------------------


class Field(eqx.Module):
    """The law of x = sum_mu xi_mu a_mu + Delta z, the field of a unit, by its characteristic function F(k).

    `k` are the nodes of the trapezoid rule, `law` is F(k) times their weights, and `tangent` -(dF/da_mu) / (k F).
    """

    k: Float[Array, " nodes"]
    law: Float[Array, " nodes"]
    tangent: Float[Array, "W nodes"]
    left_out: Float[Array, ""]  # the integrands' decay at the last node
    a: Float[Array, " W"]
    temperature: Float[Array, ""]
    binary: bool = eqx.field(static=True)


def field_law(
    a: Float[Array, " W"], variance: Float[Array, ""], temperature: Float[Array, ""], nodes: int, binary: bool
) -> Field:
    r"""F(k) = exp(-k^2 Delta^2 / 2) prod_nu cos(k a_nu), with exp(-k^2 a^2 / 2) for Gaussian patterns.

    The trapezoid rule repeats the law of x with period 2 pi / step: images must lie beyond its tails.
    """
    size, spread, T = jax.lax.stop_gradient((jnp.abs(a), jnp.sqrt(jnp.maximum(variance, 0)), temperature))
    if not binary:
        size, spread = jnp.zeros_like(size), jnp.sqrt(spread**2 + size @ size)
    step = 2 * np.pi / (jnp.sum(size) + 9 * spread + 19 * T)
    k = step * jnp.arange(nodes, dtype=a.dtype)
    weights = step * jnp.ones_like(k).at[0].set(0.5)
    left_out = jnp.exp(-((spread * k[-1]) ** 2) / 2 - np.pi / 2 * T * k[-1])
    envelope = weights * jnp.exp(-(k**2) * variance / 2)
    if binary:
        cosine, sine = _harmonics(step * a, nodes)
        return Field(k, envelope * jnp.prod(cosine, 0), sine / cosine, left_out, a, temperature, binary)
    law = envelope * jnp.exp(-(k**2) * (a @ a) / 2)
    return Field(k, law, jnp.outer(a, k), left_out, a, temperature, binary)


def _harmonics(angle, num):
    """cos(j angle) and sin(j angle), j < num, by the addition theorem from the square root as many."""
    stride = int(np.ceil(np.sqrt(num)))
    small, large = (jnp.outer(angle, jnp.arange(stride, dtype=angle.dtype) * by) for by in (1, stride))
    c, s, C, S = jnp.cos(small)[:, None], jnp.sin(small)[:, None], jnp.cos(large)[..., None], jnp.sin(large)[..., None]
    cosine, sine = (x.reshape(angle.shape[0], -1)[:, :num] for x in (C * c - S * s, S * c + C * s))
    # Never 0: it is divided by, and multiplied back.
    return jnp.where(cosine == 0, 1e-30, cosine), sine


class FieldAverages(eqx.Module):
    """Averages over x, the field of a unit."""

    overlaps: Float[Array, " W"]  # <xi_mu tanh(x / T)>
    response: Float[Array, ""]  # <sech^2(x / T)> / T
    fourth: Float[Array, ""]  # <sech^4(x / T)> / T
    entropy: Float[Array, ""]  # of a spin, <ln 2cosh(x / T) - (x / T) tanh(x / T)>


def field_averages(field: Field) -> FieldAverages:
    r"""Integrals of the characteristic function of x.

    $$ \Big\langle \tanh\frac{x}{T} \Big\rangle_z = \frac2\pi \int_0^\infty \frac{dk}{k}\, \frac{y}{\sinh y}
       \sin(k h)\, e^{-k^2 \Delta^2 / 2}, \qquad y = \frac{\pi k T}{2}, \quad x = h + \Delta z $$

    and so for the others: sech^2 / T is its derivative by x, sech^4 has the factor (4 + k^2 T^2) / 6 more, and the
    entropy pi T / 2 (cosh y / sinh^2 y - 1 / (y sinh y)). All integrands are even and analytic.
    """
    k, T = field.k, field.temperature
    y = np.pi / 2 * T * k
    kernel = 2 / np.pi * field.law * _y_over_sinh(y)
    return FieldAverages(
        # At k = 0 the limit of tan(k a) / k.
        overlaps=field.tangent[:, 1:] @ (kernel[1:] / k[1:]) + kernel[0] * field.a,
        response=jnp.sum(kernel),
        fourth=kernel @ (4 + (k * T) ** 2) / 6,
        entropy=T * np.pi / 2 * (field.law @ _entropy_kernel(y)),
    )


class FieldSlopes(eqx.Module):
    """Derivatives of `overlaps` and `response`. That of `response` by a is twice that of `overlaps` by Delta^2."""

    overlaps_a: Float[Array, "W W"]
    overlaps_variance: Float[Array, " W"]
    response_variance: Float[Array, ""]


def field_slopes(field: Field) -> FieldSlopes:
    """In closed form, which for many condensed patterns is much quicker than forward differentiation."""
    k = field.k
    kernel = 2 / np.pi * field.law * _y_over_sinh(np.pi / 2 * field.temperature * k)
    through = field.tangent * kernel[None]
    overlaps_a = -through @ field.tangent.T
    response = jnp.sum(kernel)
    eye = jnp.eye(overlaps_a.shape[0], dtype=overlaps_a.dtype)
    if field.binary:  # xi^2 = 1
        overlaps_a = overlaps_a * (1 - eye)
    return FieldSlopes(
        overlaps_a=overlaps_a + response * eye,
        overlaps_variance=-through @ k / 2,
        response_variance=-kernel @ k**2 / 2,
    )


_FAR = 40.0  # there y / sinh y is below the rounding of float64


def _y_over_sinh(y):
    inside = (y > 1e-3) & (y < _FAR)
    safe = jnp.where(inside, y, 1)
    return jnp.where(inside, safe / jnp.sinh(safe), jnp.where(y < _FAR, 1 - y**2 / 6 + 7 * y**4 / 360, 0))


def _entropy_kernel(y):
    """cosh y / sinh^2 y - 1 / (y sinh y), the Fourier transform of the entropy of a spin."""
    inside = (y > 0.1) & (y < _FAR)
    safe = jnp.where(inside, y, 1)
    sinh = jnp.sinh(safe)
    w = jnp.where(y < _FAR, y, 0) ** 2
    series = 1 / 3 - w * (7 / 90 - w * (31 / 2520 - w * (127 / 75600 - w * 73 / 342144)))
    return jnp.where(inside, jnp.cosh(safe) / sinh**2 - 1 / (safe * sinh), jnp.where(y < _FAR, series, 0))


# --- the equations --------------------------------------------------------------------------------------------


def noise_variance(problem: Problem, chi: Float[Array, ""]) -> Float[Array, ""]:
    """Delta^2 = alpha r."""
    return problem.core.load * (1 - problem.temperature * chi) * bulk(problem.core, chi).noise


def noise_slope(problem: Problem, chi: Float[Array, ""]) -> Float[Array, ""]:
    """d Delta^2 / d chi."""
    law, T = bulk(problem.core, chi), problem.temperature
    return problem.core.load * ((1 - T * chi) * law.noise_slope - T * law.noise)


def field_at(problem: Problem, m: Float[Array, " W"], chi: Float[Array, ""], nodes: int) -> Field:
    """The field that the order parameters make."""
    core = problem.core
    binary = core.patterns == "binary"
    return field_law(core.condensed @ m, noise_variance(problem, chi), problem.temperature, nodes, binary)


def averages_at(problem: Problem, m: Float[Array, " W"], chi: Float[Array, ""], nodes: int) -> FieldAverages:
    return field_averages(field_at(problem, m, chi, nodes))


def mismatch(y: Float[Array, " W+1"], problem: Problem, nodes: int) -> Float[Array, " W+1"]:
    """The equations of the order parameters y = (m, chi)."""
    of = averages_at(problem, y[:-1], y[-1], nodes)
    return jnp.append(of.overlaps, of.response) - y


def jacobian(y: Float[Array, " W+1"], problem: Problem, nodes: int) -> Float[Array, "W+1 W+1"]:
    """Of `mismatch` by y."""
    slopes, K = field_slopes(field_at(problem, y[:-1], y[-1], nodes)), problem.core.condensed
    drift = noise_slope(problem, y[-1])
    above = jnp.concatenate([slopes.overlaps_a @ K, drift * slopes.overlaps_variance[:, None]], 1)
    below = jnp.append(2 * slopes.overlaps_variance @ K, drift * slopes.response_variance)
    return jnp.concatenate([above, below[None]]) - jnp.eye(y.shape[0], dtype=y.dtype)


def free_energy(
    problem: Problem, m: Float[Array, " W"], q: Float[Array, ""], r: Float[Array, ""], nodes: int
) -> Float[Array, ""]:
    r"""The replica-symmetric free energy per spin, stationary at the solution, for T > 0.

    $$ f = \tfrac12 m K m + \frac{\alpha}{2} \Big[ \langle\lambda\rangle + T \langle \ln(1 - \chi \lambda) \rangle
       - q \Big\langle \frac{\lambda}{1 - \chi \lambda} \Big\rangle + r \chi \Big] - T \langle \ln 2\cosh(x/T) \rangle,
       \qquad \chi = \frac{1 - q}{T} $$
    """
    core, temperature = problem.core, problem.temperature
    chi = (1 - q) / temperature
    field = field_law(core.condensed @ m, core.load * r, temperature, nodes, core.patterns == "binary")
    return _free_energy(problem, m, q, r, chi, field_averages(field))


def free_energy_at(y: Float[Array, " W+1"], problem: Problem, nodes: int) -> Float[Array, ""]:
    """The same at a solution y = (m, chi), for T >= 0."""
    m, chi = y[:-1], y[-1]
    q = 1 - problem.temperature * chi
    return _free_energy(problem, m, q, q * bulk(problem.core, chi).noise, chi, averages_at(problem, m, chi, nodes))


def _free_energy(problem, m, q, r, chi, of):
    core, T = problem.core, problem.temperature
    a, law = core.condensed @ m, bulk(core, chi)
    # T ln 2cosh(x / T) = x tanh(x / T) + T entropy; the first term by parts.
    log_cosh = a @ of.overlaps + core.load * r * of.response + T * of.entropy
    mean = core.weights @ core.eigenvalues
    return a @ m / 2 + core.load / 2 * (mean + T * law.log - q * law.pull + r * chi) - log_cosh


# --- solutions ------------------------------------------------------------------------------------------------


class ReplicaState(eqx.Module):
    """One solution, made by `replica_state`; `free_energy` is that per spin, the energy at T = 0."""

    m: Float[Array, " W"]  # overlaps with the condensed patterns
    q: Float[Array, ""]  # <s>^2, averaged over units
    r: Float[Array, ""]  # the variance of the field is load * r
    chi: Float[Array, ""]  # (1 - q) / T, and its limit C at T = 0
    free_energy: Float[Array, ""]  # per spin; the energy at T = 0
    replicon: Float[Array, ""]  # stable against replica-symmetry breaking where positive
    stability: Float[Array, ""]  # of the overlaps: stable where positive
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def replica_state(
    ensemble: DeepHebbian | SymmetricCore,
    start: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    relax: int = 30,
    nodes: int = 128,
    angles: int = 512,
) -> ReplicaState:
    r"""A replica-symmetric state of the memory: the one to which overlaps m = `start` lead.

    $$ m_\mu = \langle \xi^\mu \tanh(x/T) \rangle, \quad q = \langle \tanh^2(x/T) \rangle, \quad
       r = q \Big\langle \frac{\lambda^2}{(1 - \chi\lambda)^2} \Big\rangle, \quad \chi = \frac{1 - q}{T} $$

    with x = sum_mu xi^mu (K m)_mu + sqrt(alpha r) z, tanh(x/T) = sgn x at T = 0. The W condensed patterns are W in a
    row; beyond both ends overlaps are taken to be 0, so leave room for the state to spread. A start at 0 gives the
    glass, or the paramagnet above its temperature.

    The search takes `relax` steps m -> <xi tanh>, half of them at chi = 0 (the noise of patterns at random) and half
    with chi solved along, and then Newton's; with relax=0 it is Newton's method alone, which finds unstable states
    too. The state is differentiable in every float of the ensemble, and in the temperature where that is positive.

    Valid for N -> infinity where `replicon` = 1 - (alpha / T^2) <lambda^2 / (1 - chi lambda)^2> <sech^4(x/T)> is
    positive. It tends to -infinity at T = 0 for every alpha > 0, where the symmetric solution is an approximation, good
    as long as chi is small. `stability` is 1 - max eig(dm/da K), dm/da the susceptibility of the overlaps to fields a
    along the patterns: the overlaps are a local minimum of the free energy where it is positive, and the branch turns
    back where it is 0 (it has no gradient). Neither is asked for by `converged`, which wants `residual` < 1e-8: the
    largest error of the equations, of the averages over the field (`nodes`) and over lambda (`angles`; large where chi
    lambda comes close to 1). Few nodes suffice unless both alpha and T are small: 1.5 (sum_mu |(K m)_mu| / sqrt(alpha
    r) + 9) at T = 0; for alpha = 0 see `zero_load_overlaps`.

    Raises:
        ValueError: for an ensemble that is not symmetric, a start that does not fit it, a temperature < 0.

    Source: Amit, Gutfreund & Sompolinsky 1985, 1987; Jiang et al. 2021 (arXiv 2103.14317).
    """
    start = vector("start", start)
    require("start", start, np.isfinite, "finite numbers")
    problem = problem_of(ensemble, start.shape[0], temperature, angles)
    require_whole("relax", relax, least=0)
    require_whole("nodes", nodes, least=20)
    return solve(problem, start.astype(problem.core.load.dtype), relax, nodes)


def problem_of(ensemble, num: int, temperature: Float[ArrayLike, ""], angles: int) -> Problem:
    """The checked arguments, in the precision of the ensemble."""
    core = symmetric_core(ensemble, num, angles=angles)
    temperature = scalar("temperature", temperature)
    require("temperature", temperature, nonnegative, "a finite number >= 0")
    return Problem(core, temperature.astype(core.load.dtype))


@eqx.filter_jit
def solve(problem: Problem, start: Float[Array, " W"], relax: int, nodes: int) -> ReplicaState:
    fixed = frozen(problem)
    y = relaxed(fixed, jax.lax.stop_gradient(start), relax, nodes)

    def newton(y, problem):
        step = jnp.linalg.solve(jacobian(jax.lax.stop_gradient(y), fixed, nodes), mismatch(y, problem, nodes))
        return y - step, jnp.max(jnp.abs(step))

    y = jax.lax.fori_loop(0, _SEARCH, lambda _, y: newton(y, fixed)[0], y)
    # Each step more makes one order more of the derivatives exact.
    y, steps = jax.lax.scan(lambda y, _: newton(y, problem), jax.lax.stop_gradient(y), None, length=3)
    return state_at(problem, y, steps[-1], nodes)


_SETTLING = 6  # steps of chi alone
_SEARCH = 6  # Newton steps


def relaxed(problem: Problem, m: Float[Array, " W"], steps: int, nodes: int) -> Float[Array, " W+1"]:
    """(m, chi) after `steps` of m -> <xi tanh>: half of them at chi = 0, then chi alone, then both.

    A start far from a state has units whose field is nearly 0, and chi solved for it would be that of the glass.
    Steps of m lower the energy of a core without negative eigenvalues; others make them shorter. Those of chi are
    Newton's, within its bounds.
    """
    T, top = problem.temperature, jnp.max(problem.core.eigenvalues)
    tiny = float(jnp.finfo(m.dtype).tiny)
    bottom = jnp.minimum(jnp.min(problem.core.eigenvalues), 0)
    stride = 1 / (1 - bottom / jnp.maximum(top, jnp.maximum(-bottom, tiny)))
    # The phase ends where chi lambda = 1, and at q = 0.
    bound = 1 / jnp.maximum(jnp.maximum(T, top), tiny)

    def step(i, carry):
        m, chi = carry
        field = field_at(problem, m, chi, nodes)
        of = field_averages(field)
        gain = noise_slope(problem, chi) * field_slopes(field).response_variance
        newton = (of.response - chi * gain) / jnp.where(gain < 1, 1 - gain, 1)
        new = jnp.where(gain < 1, newton, of.response)
        new = jnp.clip(new, chi / 2, (chi + bound) / 2)
        half = steps // 2
        alone = (i >= half) & (i < half + _SETTLING)
        return jnp.where(alone, m, m + stride * (of.overlaps - m)), jnp.where(i < half, chi, new)

    m, chi = jax.lax.fori_loop(0, _SETTLING + steps, step, (m, jnp.zeros((), m.dtype)))
    return jnp.append(m, chi)


def state_at(problem: Problem, y: Float[Array, " W+1"], residual: Float[Array, ""], nodes: int) -> ReplicaState:
    """What follows from the order parameters."""
    core, T = problem.core, problem.temperature
    m, chi = y[:-1], y[-1]
    q, law, field = 1 - T * chi, bulk(core, chi), field_at(problem, m, chi, nodes)
    r, of = q * law.noise, field_averages(field)
    coarse = bulk(core, chi, core.coarse_weights)
    errors = [jnp.abs(a - b) / (1 + jnp.abs(a)) for a, b in ((law.pull, coarse.pull), (law.noise, coarse.noise))]
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack([residual, field.left_out, *errors])))
    tolerance = max(1e-8, 3000 * float(jnp.finfo(y.dtype).eps))
    return ReplicaState(
        m=m,
        q=q,
        r=r,
        chi=chi,
        free_energy=_free_energy(problem, m, q, r, chi, of),
        replicon=replicon(core, T, law, of),
        stability=stability(frozen(problem), jax.lax.stop_gradient(y), nodes),
        residual=residual,
        # Up to rounding: a paramagnet has q = 0, a pattern almost without noise chi = 0.
        converged=(residual <= tolerance) & (q >= -tolerance) & (chi >= -tolerance),
    )


def replicon(core: SymmetricCore, temperature: Float[Array, ""], law: Bulk, of: FieldAverages) -> Float[Array, ""]:
    glassy, cold = core.load * law.noise * of.fourth, temperature == 0
    return jnp.where(cold & (glassy > 0), -jnp.inf, 1 - glassy / jnp.where(cold, 1, temperature))


def stability(problem: Problem, y: Float[Array, " W+1"], nodes: int) -> Float[Array, ""]:
    """1 - max eig(A K), A = dm/da with chi following; NaN where A, a covariance, is not positive."""
    m, chi = y[:-1], y[-1]
    slopes, drift, K = field_slopes(field_at(problem, m, chi, nodes)), noise_slope(problem, chi), problem.core.condensed
    by_variance = slopes.overlaps_variance
    following = 2 * drift / (1 - drift * slopes.response_variance)
    values, vectors = jnp.linalg.eigh(slopes.overlaps_a + following * jnp.outer(by_variance, by_variance))
    rounding = 1e3 * float(jnp.finfo(m.dtype).eps) * (1 + jnp.max(jnp.abs(values)))
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))[None]
    gain = jnp.max(jnp.linalg.eigvalsh(root.T @ K @ root))
    return jnp.where(values[0] >= -rounding, 1 - gain, jnp.nan)
