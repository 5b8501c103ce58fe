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

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import nonnegative, real_array, require, require_instance, require_whole, scalar
from .._laws import Discrete
from .._results import one_line
from ..couplings import DeepHebbian
from .fields import Field, field_averages, field_law, field_slopes
from .problem import Problem

# Steps of chi alone, after the steps of m at chi = 0 and before the steps of both. Newton's steps double the digits.
SETTLING = 6
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
    patterns = np.arange(num_condensed)
    strengths = jnp.concatenate([ensemble.auto[None], ensemble.hetero, jnp.zeros(1, dtype)])
    block = strengths[np.minimum(np.abs(np.subtract.outer(patterns, patterns)), d + 1)]
    nodes = np.arange(core_nodes + 1)
    waves = 2 * np.cos(np.pi / core_nodes * np.outer(nodes, np.arange(1, d + 1)))
    values = ensemble.auto + jnp.asarray(waves, dtype) @ ensemble.hetero
    fine = jnp.asarray(np.where(nodes % core_nodes == 0, 0.5, 1.0), dtype)
    law = Discrete(values, fine)
    # Every second node, with the same weights at both ends.
    coarse = Discrete(values[::2], fine[::2])
    return SymmetricCore(ensemble.load, block, law, ensemble.patterns, coarse=coarse)


# --- averages over the eigenvalue law -------------------------------------------------------------------------


class Bulk(eqx.Module):
    """What the equations need of the patterns that are not condensed, at one chi."""

    log: Float[Array, ""]  # <ln(1 - chi lambda)>
    pull: Float[Array, ""]  # <lambda / (1 - chi lambda)>
    noise: Float[Array, ""]  # <lambda^2 / (1 - chi lambda)^2>
    noise_slope: Float[Array, ""]  # d noise / d chi


def bulk(eigenvalues: Discrete, chi: Float[Array, ""]) -> Bulk:
    """The averages; NaN where chi lambda >= 1 for some eigenvalue, because there is no such phase."""
    margin = 1 - chi * eigenvalues.values
    inside = jnp.all(margin > 0)
    # Gradients of a branch that is not taken must be finite too.
    safe = jnp.where(inside, margin, 1)
    ratio = eigenvalues.values / safe
    nan_outside = jnp.where(inside, 0, jnp.nan)
    return Bulk(*(nan_outside + eigenvalues.mean(f) for f in (jnp.log(safe), ratio, ratio**2, 2 * ratio**3)))


# --- the problem ----------------------------------------------------------------------------------------------


class Hopfield(Problem):
    r"""The equilibrium of a memory with a symmetric `core`; the order parameters are y = (m, chi).

    $$ F = \big( \langle \xi^\mu \tanh(x / T) \rangle - m_\mu,\;
       \langle \operatorname{sech}^2(x / T) \rangle / T - \chi \big) $$

    `temperature` is T >= 0, and averages over the field x have so many `nodes`. A guess is (m, chi), but only m counts:
    the iteration takes steps of m at chi = 0 first. Raises `ValueError` for a negative temperature and nodes < 20.

    Source: Amit, Gutfreund & Sompolinsky 1987; Jiang et al. 2021 (arXiv 2103.14317).
    """

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
        return jnp.append(of.overlaps, of.response) - y

    def jacobian(self, y):
        slopes, K, drift = field_slopes(self._field(y)), self.core.condensed, self._noise_slope(y[-1])
        above = jnp.concatenate([slopes.overlaps_a @ K, drift * slopes.overlaps_variance[:, None]], 1)
        below = jnp.append(2 * slopes.overlaps_variance @ K, drift * slopes.response_variance)
        return jnp.concatenate([above, below[None]]) - jnp.eye(y.shape[0], dtype=y.dtype)

    def relaxed(self, y, num_steps):
        """Half of the steps are m -> <xi tanh> at chi = 0, the other half solve for chi along with m.

        A guess far from a state has units whose field is nearly 0, so that a chi solved for it would belong to the
        glass: chi waits. Steps of m lower the energy of a core without negative eigenvalues; other cores make the steps
        shorter. Steps of chi are Newton's, within the bounds of its phase.
        """
        T, top = self.temperature, jnp.max(self.core.eigenvalues.values)
        tiny = float(jnp.finfo(y.dtype).tiny)
        bottom = jnp.minimum(jnp.min(self.core.eigenvalues.values), 0)
        stride = 1 / (1 - bottom / jnp.maximum(top, jnp.maximum(-bottom, tiny)))
        # The phase ends where chi lambda = 1, and at q = 0.
        bound = 1 / jnp.maximum(jnp.maximum(T, top), tiny)
        half = num_steps // 2

        def step(i, y):
            m, chi = y[:-1], y[-1]
            field = self._field(y)
            of = field_averages(field)
            gain = self._noise_slope(chi) * field_slopes(field).response_variance
            newton = (of.response - chi * gain) / jnp.where(gain < 1, 1 - gain, 1)
            new = jnp.where(gain < 1, newton, of.response)
            new = jnp.clip(new, chi / 2, (chi + bound) / 2)
            alone = (i >= half) & (i < half + SETTLING)
            m = jnp.where(alone, m, m + stride * (of.overlaps - m))
            return jnp.append(m, jnp.where(i < half, chi, new))

        return jax.lax.fori_loop(0, SETTLING + num_steps, step, y.at[-1].set(0))

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
        of = field_averages(self._field_law(a, variance))
        # T ln 2cosh(x / T) = x tanh(x / T) + T entropy, and the average of the first term by parts.
        log_cosh = a @ of.overlaps + variance * of.response + T * of.entropy
        loops = core.eigenvalues.moment(1) + T * law.log - q * law.pull + r * chi
        return a @ m / 2 + core.load / 2 * loops - log_cosh

    def replicon(self, y):
        """1 - (alpha / T) <lambda^2 / (1 - chi lambda)^2> <sech^4(x / T)> / T; -infinity at T = 0 for any load."""
        glassy, cold = self.glassiness(y), self.temperature == 0
        return jnp.where(cold & (glassy > 0), -jnp.inf, 1 - glassy / jnp.where(cold, 1, self.temperature))

    def glassiness(self, y: Float[Array, " W+1"]) -> Float[Array, ""]:
        """The temperature below which a state with these averages would break the symmetry of replicas."""
        return self.core.load * bulk(self.core.eigenvalues, y[-1]).noise * field_averages(self._field(y)).fourth

    def stability(self, y):
        """1 - max eig(A K), A = dm / da with chi following; NaN where A, a covariance, is not positive."""
        slopes, drift, K = field_slopes(self._field(y)), self._noise_slope(y[-1]), self.core.condensed
        by_variance = slopes.overlaps_variance
        following = 2 * drift / (1 - drift * slopes.response_variance)
        values, vectors = jnp.linalg.eigh(slopes.overlaps_a + following * jnp.outer(by_variance, by_variance))
        rounding = ROUNDING * float(jnp.finfo(y.dtype).eps) * (1 + jnp.max(jnp.abs(values)))
        # A K has the eigenvalues of A^(1/2) K A^(1/2), which is symmetric.
        root = vectors * jnp.sqrt(jnp.maximum(values, 0))[None]
        gain = jnp.max(jnp.linalg.eigvalsh(root.T @ K @ root))
        return jnp.where(values[0] >= -rounding, 1 - gain, jnp.nan)

    def quadrature_error(self, y):
        law, coarse = bulk(self.core.eigenvalues, y[-1]), bulk(self.core.coarse, y[-1])
        errors = [jnp.abs(a - b) / (1 + jnp.abs(a)) for a, b in ((law.pull, coarse.pull), (law.noise, coarse.noise))]
        return jnp.max(jnp.stack([self._field(y).left_out, *errors]))

    def is_admissible(self, y, tolerance):
        # Up to rounding: a paramagnet has q = 0, and a pattern almost without noise chi = 0.
        return (1 - self.temperature * y[-1] >= -tolerance) & (y[-1] >= -tolerance)

    def _field(self, y: Float[Array, " W+1"]) -> Field:
        return self._field_law(self.core.condensed @ y[:-1], self.core.load * self.q_and_r(y[-1])[1])

    def _field_law(self, a: Float[Array, " W"], variance: Float[Array, ""]) -> Field:
        return field_law(a, variance, self.temperature, self.nodes, self.core.patterns == "binary")

    def _noise_slope(self, chi: Float[Array, ""]) -> Float[Array, ""]:
        """d Delta^2 / d chi."""
        law, T = bulk(self.core.eigenvalues, chi), self.temperature
        return self.core.load * ((1 - T * chi) * law.noise_slope - T * law.noise)
