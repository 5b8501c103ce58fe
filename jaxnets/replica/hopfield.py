r"""Associative memory as a replica-symmetric problem: Ising spins, random patterns and any symmetric core.

$$ H = -\tfrac12 \sum_{i \neq j} J_{ij} s_i s_j, \qquad J_{ij} = \frac1N \sum_{\mu\nu} \xi_i^\mu K_{\mu\nu} \xi_j^\nu,
   \qquad P = \alpha N $$

A few patterns are condensed, with overlaps m of order one. The theory needs their block of K. All other patterns act
through the eigenvalue law of K, as a Gaussian field of variance Delta^2 = alpha r. With chi = (1 - q) / T in place of q
the equations of state have one form for T > 0 and T = 0:

$$ m_\mu = \langle \xi^\mu \tanh(x / T) \rangle, \quad \chi = \langle \operatorname{sech}^2(x / T) \rangle / T, \quad
   \Delta^2 = \alpha (1 - T \chi) \Big\langle \frac{\lambda^2}{(1 - \chi \lambda)^2} \Big\rangle, \quad
   x = \sum_\mu \xi^\mu (K m)_\mu + \Delta z $$
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import nonnegative, real_array, require, require_instance, require_whole, scalar
from .._laws import Discrete
from .._numerics import is_concrete
from .._numerics.host import loop, namespace, on_host
from .._results import one_line
from ..couplings import DeepHebbian
from .fields import Field, field_averages, field_entropy, field_law, field_slopes, response_slope
from .problem import Problem

# Steps of chi alone, at least. Newton's steps double the digits.
SETTLING = 6
# Part of the steps for m and chi without a limit, the largest part of its phase that chi may take before, and the step
# at which a stage is over. The limit was tried on windows that convert a pattern: gamma = .6 c at alpha = .002, T = .1
# ends in the glass from .95 on, and at limits from .8 to .9 chi stays there.
LAST, NARROW, SHORT = 6, 0.7, 1e-5
# Steps that one state on the host may take at least; the slowest of some fifty conversions took 130.
PATIENCE = 300
# Rounding errors of a covariance, in machine precisions: an eigenvalue below minus these is negative in earnest.
ROUNDING = 1e3


# --- the core -------------------------------------------------------------------------------------------------


class SymmetricCore(eqx.Module):
    """What the theory needs of a symmetric core K: its block of the condensed patterns, and its eigenvalue law.

    `load` is alpha >= 0, `condensed` the block, `eigenvalues` the law of the eigenvalues of the whole K as a
    `Discrete`; `patterns` are "binary" (+-1) or "gaussian". `coarse` is a second, coarser quadrature of the same law:
    the difference is taken for the error of `eigenvalues`. Raises `ValueError` for a load that is negative, a block
    that is not symmetric, laws of another class and unknown patterns. Source: Jiang et al. 2021 (arXiv 2103.14317).
    """

    __repr__ = one_line

    load: Float[Array, ""]
    condensed: Float[Array, "W W"]
    eigenvalues: Discrete
    coarse: Discrete
    patterns: str = eqx.field(static=True)

    def __init__(
        self,
        load: Float[ArrayLike, ""],
        condensed: Float[ArrayLike, "W W"],
        eigenvalues: Discrete,
        patterns: str = "binary",
        *,
        coarse: Discrete | None = None,
    ):
        self.load = scalar("load", load)
        self.condensed = real_array("condensed", condensed)
        self.eigenvalues = eigenvalues
        self.coarse = eigenvalues if coarse is None else coarse
        self.patterns = patterns

    def __check_init__(self):
        require("load", self.load, nonnegative, "a finite number >= 0")
        K = self.condensed
        if K.ndim != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
            raise ValueError(f"`condensed` must be a square matrix, got shape {K.shape}")
        require("condensed", K, lambda K: np.isfinite(K) & (K == K.T), "a symmetric matrix of finite numbers")
        require_instance("eigenvalues", self.eigenvalues, Discrete, "a `Discrete` law")
        require_instance("coarse", self.coarse, Discrete, "a `Discrete` law")
        if self.patterns not in ("binary", "gaussian"):
            raise ValueError(f'`patterns` must be "binary" or "gaussian", got {self.patterns!r}')


def symmetric_core(
    ensemble: DeepHebbian | SymmetricCore, num_condensed: int, *, core_nodes: int = 512
) -> SymmetricCore:
    r"""The core of a symmetric `DeepHebbian` ensemble, with `num_condensed` neighbouring patterns condensed.

    $$ K_{\mu\nu} = c\, \delta_{\mu\nu} + \gamma_{|\mu - \nu|}, \qquad
       \lambda(\theta) = c + 2 \sum_r \gamma_r \cos r \theta $$

    The law of lambda is a trapezoid rule with `core_nodes` intervals of theta in [0, pi]. For averages of functions
    that are analytic near the circle its error is exp(-2 core_nodes Im theta), theta their nearest singularity. An
    `ensemble` that is a `SymmetricCore` already is returned.

    Raises:
        ValueError: for an ensemble that is not symmetric, a core of another size than `num_condensed`, and an odd
            `core_nodes`.

    Source: Jiang et al. 2021 (arXiv 2103.14317).
    """
    require_whole("num_condensed", num_condensed)
    if isinstance(ensemble, SymmetricCore):
        size = ensemble.condensed.shape[0]
        if size != num_condensed:
            raise ValueError(f"`num_condensed` must be the size of the core, {size} patterns, got {num_condensed}")
        return ensemble
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian` or a `SymmetricCore`")
    require_whole("core_nodes", core_nodes, least=2)
    if core_nodes % 2:
        raise ValueError(f"`core_nodes` must be even, got {core_nodes}")
    if not ensemble.is_symmetric():
        raise ValueError("`ensemble` must be symmetric: an equilibrium needs J = J^T (`DeepHebbian(symmetric=True)`)")
    dtype, d = ensemble.load.dtype, ensemble.hetero.shape[0]
    auto, hetero = ensemble.auto, ensemble.hetero
    auto, hetero = on_host((auto, hetero)) if is_concrete(auto, hetero) else (auto, hetero)
    xp = namespace(hetero)
    patterns = np.arange(num_condensed)
    strengths = xp.concatenate([auto[None], hetero, xp.zeros(1, dtype)])
    block = strengths[np.minimum(np.abs(np.subtract.outer(patterns, patterns)), d + 1)]
    nodes = np.arange(core_nodes + 1)
    waves = 2 * np.cos(np.pi / core_nodes * np.outer(nodes, np.arange(1, d + 1)))
    values = auto + xp.asarray(waves, dtype) @ hetero
    fine = np.where(nodes % core_nodes == 0, 0.5, 1.0).astype(dtype)
    law = Discrete(values, fine)
    # Every second node, with the same weights at both ends.
    coarse = Discrete(values[::2], fine[::2])
    return SymmetricCore(ensemble.load, block, law, ensemble.patterns, coarse=coarse)


# --- averages over the eigenvalue law -------------------------------------------------------------------------


class Bulk(NamedTuple):
    """What the equations need of the patterns that are not condensed, at one chi."""

    log: Float[Array, ""]  # <ln(1 - chi lambda)>
    pull: Float[Array, ""]  # <lambda / (1 - chi lambda)>
    noise: Float[Array, ""]  # <lambda^2 / (1 - chi lambda)^2>
    noise_slope: Float[Array, ""]  # d noise / d chi


def bulk(eigenvalues: Discrete, chi: Float[Array, ""]) -> Bulk:
    """The averages; NaN where chi lambda >= 1 for some eigenvalue, because there is no such phase."""
    xp, margin = namespace(eigenvalues.values), 1 - chi * eigenvalues.values
    inside = xp.all(margin > 0)
    # Gradients of a branch that is not taken must be finite too.
    safe = xp.where(inside, margin, 1)
    ratio = eigenvalues.values / safe
    nan_outside = xp.where(inside, 0, xp.nan).astype(ratio.dtype)
    means = eigenvalues.mean(xp.stack([xp.log(safe), ratio, ratio**2, 2 * ratio**3], -1))
    return Bulk(*(nan_outside + means))


# --- the problem ----------------------------------------------------------------------------------------------


class Hopfield(Problem):
    r"""The equilibrium of a memory with a symmetric `core`; the order parameters are y = (m, chi).

    $$ F = \big( \langle \xi^\mu \tanh(x / T) \rangle - m_\mu,\;
       \langle \operatorname{sech}^2(x / T) \rangle / T - \chi \big) $$

    `temperature` is T >= 0, and averages over the field x have so many `nodes`. A guess is (m, chi), but only m counts:
    the iteration takes steps of m at chi = 0 first. As `in_numpy` says, all methods take NumPy arrays too. Raises
    `ValueError` for a negative temperature and nodes < 20.

    Source: Amit, Gutfreund & Sompolinsky 1987; Jiang et al. 2021 (arXiv 2103.14317).
    """

    in_numpy: ClassVar[bool] = True
    core: SymmetricCore
    temperature: Float[Array, ""]
    nodes: int = eqx.field(static=True)

    def __init__(self, core: SymmetricCore, temperature: Float[ArrayLike, ""] = 0.0, *, nodes: int = 128):
        require_instance("core", core, SymmetricCore, "a `SymmetricCore`")
        self.core = core
        self.temperature = scalar("temperature", temperature).astype(core.load.dtype)
        self.nodes = nodes

    def __check_init__(self):
        require("temperature", self.temperature, nonnegative, "a finite number >= 0")
        require_whole("nodes", self.nodes, least=20)

    def at_load(self, load: Float[Array, ""]) -> "Hopfield":
        """The same problem at another load."""
        return eqx.tree_at(lambda problem: problem.core.load, self, load)

    def at_temperature(self, temperature: Float[Array, ""]) -> "Hopfield":
        """The same problem at another temperature."""
        return eqx.tree_at(lambda problem: problem.temperature, self, temperature)

    def mismatch(self, y):
        of = field_averages(self._field(y))
        return namespace(y).append(of.overlaps, of.response) - y

    def jacobian(self, y):
        field, drift = self._field_and_drift(y)
        xp, slopes, K = namespace(y), field_slopes(field), self.core.condensed
        above = xp.concatenate([slopes.overlaps_a @ K, drift * slopes.overlaps_variance[:, None]], 1)
        below = xp.append(2 * slopes.overlaps_variance @ K, drift * slopes.response_variance)
        return xp.concatenate([above, below[None]]) - xp.eye(y.shape[0], dtype=y.dtype)

    def relaxed(self, y, num_steps):
        """Steps m -> <xi tanh>, by which a guess becomes a state, in four stages.

        The first moves m at chi = 0: a guess far from a state has units whose field is nearly 0, and a chi solved for
        it would belong to the glass. The second moves m with chi solved along, but kept away from the end of its phase
        (`NARROW`): a pattern that converts into a broad state passes fields that are nearly 0 again, and would fall
        into the glass as well. The third moves chi alone, and the fourth m with chi solved along.

        A stage ends when steps are short, and at the latest after its share of `num_steps`. The second stage may take
        longer on the host, since a conversion may stand nearly still before it goes on. Steps of m lower the energy
        of a core without negative eigenvalues; other cores make the steps shorter. Steps of chi are Newton's.
        """
        xp, T, tiny = namespace(y), self.temperature, float(jnp.finfo(y.dtype).tiny)
        top, bottom = xp.max(self.core.eigenvalues.values), xp.minimum(xp.min(self.core.eigenvalues.values), 0)
        stride = 1 / (1 - bottom / xp.maximum(top, xp.maximum(-bottom, tiny)))
        # The phase ends where chi lambda = 1, and at q = 0.
        bound = 1 / xp.maximum(xp.maximum(T, top), tiny)
        # The last step of each stage. There is no hurry where no other state waits.
        patient = max(num_steps, PATIENCE) if num_steps and xp is np else num_steps
        last = patient - num_steps // LAST
        ends = xp.asarray(np.array([num_steps // 2, last, last + SETTLING, patient + SETTLING]))

        def step(i, carry):
            y, stage = carry
            m = y[:-1]
            overlaps, new = self._responses(y, bound)
            limit = xp.where(stage == 0, 0, xp.where(stage == 1, NARROW * bound, bound))
            new = xp.append(xp.where(stage == 2, m, m + stride * (overlaps - m)), xp.minimum(new, limit))
            moved = xp.max(xp.abs(new - y))
            over = (moved <= SHORT) | (i + 1 >= ends[stage])
            # On the host the loop ends with the last stage: Newton's steps go on from there.
            return (new, xp.where(over & (stage < 3), stage + 1, stage)), xp.where(over & (stage == 3), 0, 1)

        start = xp.append(y[:-1], xp.zeros_like(y[-1])), xp.asarray(0 if num_steps else 2)
        return loop(step, start, patient + SETTLING, numpy=xp is np)[0]

    def _responses(self, y: Float[Array, " W+1"], bound: Float[Array, ""]) -> tuple[Array, Array]:
        """<xi tanh>, and chi after a step of Newton's within its phase."""
        xp, chi = namespace(y), y[-1]
        field, drift = self._field_and_drift(y)
        of = field_averages(field)
        gain = drift * response_slope(field)
        newton = (of.response - chi * gain) / xp.where(gain < 1, 1 - gain, 1)
        new = xp.where(gain < 1, newton, of.response)
        return of.overlaps, xp.clip(new, chi / 2, (chi + bound) / 2)

    def free_energy(self, y):
        return self.functional(y[:-1], *self.q_and_r(y[-1]), y[-1])

    def q_and_r(self, chi: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """<s>^2 averaged over units, and Delta^2 / alpha."""
        q = 1 - self.temperature * chi
        return q, q * bulk(self.core.eigenvalues, chi).noise

    def functional(
        self, m: Float[Array, " W"], q: Float[Array, ""], r: Float[Array, ""], chi: Float[Array, ""]
    ) -> Float[Array, ""]:
        r"""The free energy per spin of any order parameters, stationary at a saddle point in m, q and r for T > 0.

        $$ f = \tfrac12 m K m + \frac{\alpha}{2} \Big[ \langle\lambda\rangle
           + T \langle \ln(1 - \chi \lambda) \rangle - q \Big\langle \frac{\lambda}{1 - \chi \lambda} \Big\rangle
           + r \chi \Big] - T \langle \ln 2\cosh(x/T) \rangle, \qquad \chi = \frac{1 - q}{T} $$

        `chi` is an argument of its own because q does not give it at T = 0.
        """
        core, T = self.core, self.temperature
        a, variance, law = core.condensed @ m, core.load * r, bulk(core.eigenvalues, chi)
        field = self._field_law(a, variance)
        of = field_averages(field)
        # T ln 2cosh(x / T) = x tanh(x / T) + T entropy, and the average of the first term by parts.
        log_cosh = a @ of.overlaps + variance * of.response + T * field_entropy(field)
        loops = core.eigenvalues.moment(1) + T * law.log - q * law.pull + r * chi
        return a @ m / 2 + core.load / 2 * loops - log_cosh

    def replicon(self, y):
        """1 - (alpha / T) <lambda^2 / (1 - chi lambda)^2> <sech^4(x / T)> / T; -infinity at T = 0 for any load."""
        xp, glassy, cold = namespace(y), self.glassiness(y), self.temperature == 0
        return xp.where(cold & (glassy > 0), -xp.inf, 1 - glassy / xp.where(cold, 1, self.temperature))

    def glassiness(self, y: Float[Array, " W+1"]) -> Float[Array, ""]:
        """The temperature below which a state with these averages would break the symmetry of replicas."""
        return self.core.load * bulk(self.core.eigenvalues, y[-1]).noise * field_averages(self._field(y)).fourth

    def stability(self, y):
        """1 - max eig(A K), A = dm / da with chi following; NaN where A, a covariance, is not positive."""
        field, drift = self._field_and_drift(y)
        xp, slopes, K = namespace(y), field_slopes(field), self.core.condensed
        by_variance = slopes.overlaps_variance
        following = 2 * drift / (1 - drift * slopes.response_variance)
        A = slopes.overlaps_a + following * xp.outer(by_variance, by_variance)
        if xp is np and not np.all(np.isfinite(A)):  # LAPACK through NumPy raises instead
            return np.full((), np.nan, y.dtype)
        values, vectors = xp.linalg.eigh(A)
        rounding = ROUNDING * float(jnp.finfo(y.dtype).eps) * (1 + xp.max(xp.abs(values)))
        # A K has the eigenvalues of A^(1/2) K A^(1/2), which is symmetric.
        root = vectors * xp.sqrt(xp.maximum(values, 0))[None]
        gain = xp.max(xp.linalg.eigvalsh(root.T @ K @ root))
        return xp.where(values[0] >= -rounding, 1 - gain, xp.nan)

    def quadrature_error(self, y):
        law, coarse = bulk(self.core.eigenvalues, y[-1]), bulk(self.core.coarse, y[-1])
        xp = namespace(y)
        errors = [xp.abs(a - b) / (1 + xp.abs(a)) for a, b in ((law.pull, coarse.pull), (law.noise, coarse.noise))]
        return xp.max(xp.stack([self._field(y).left_out, *errors]))

    def is_admissible(self, y, tolerance):
        # Up to rounding: a paramagnet has q = 0, and a pattern almost without noise chi = 0.
        return (1 - self.temperature * y[-1] >= -tolerance) & (y[-1] >= -tolerance)

    def _field(self, y: Float[Array, " W+1"]) -> Field:
        return self._field_law(self.core.condensed @ y[:-1], self.core.load * self.q_and_r(y[-1])[1])

    def _field_law(self, a: Float[Array, " W"], variance: Float[Array, ""]) -> Field:
        return field_law(a, variance, self.temperature, self.nodes, self.core.patterns == "binary")

    def _field_and_drift(self, y: Float[Array, " W+1"]) -> tuple[Field, Float[Array, ""]]:
        """The field of a unit, and the slope d Delta^2 / d chi of its variance."""
        law, T = bulk(self.core.eigenvalues, y[-1]), self.temperature
        q = 1 - T * y[-1]
        drift = self.core.load * (q * law.noise_slope - T * law.noise)
        return self._field_law(self.core.condensed @ y[:-1], self.core.load * q * law.noise), drift
