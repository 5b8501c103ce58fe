r"""Ensembles estimated from a measured matrix W = U diag(s) V^T.

`from_matrix` keeps the singular values and randomises the modes: `SingularModes`. `random_modes_from_matrix` keeps
the singular values and the overlaps u_a . v_a, on Gaussian modes. Singular values are never taken for the amplitudes
of Gaussian modes, which broaden them: <s^4> = g^4 (2 + 1/PR^D).
"""

import importlib.resources
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, PRNGKeyArray

from .._arguments import correlation, nonnegative, real_array, require, require_whole, vector
from .._laws import Discrete, values_and_weights
from .._numerics import as_complex
from . import operators
from .ensembles import Ensemble, FourPoint, no_pole
from .modes import RandomModes


class SingularModes(Ensemble):
    r"""Prescribed singular values on random orthogonal modes, J = U diag(s) V^T with U, V independent and uniform.

    $$ S_{12} = S_{21} = 0, \qquad h(-v^2) = \frac{1 - x v}{v^2}, \qquad
       v = \Big\langle \frac{x}{x^2 + s^2} \Big\rangle, \qquad h(0) = g^2 = \langle s^2 \rangle $$

    `values` (K,) and their `weights` (K,; equal if None) are the law of s; a sample takes its n quantiles, so that
    n = K with equal weights keeps exactly the given values. `overlaps` (K,; 0 if None) are what was measured of
    u_a . v_a: a statistic beside the law, whose modes are independent. Raises `ValueError` for empty, negative or
    non-finite values, negative weights and |overlaps| > 1. Source: Guionnet, Krishnapur &
    Zeitouni 2011 (the single ring theorem).
    """

    values: Float[Array, " K"]
    weights: Float[Array, " K"]
    overlaps: Float[Array, " K"]

    def __init__(
        self,
        values: Float[ArrayLike, " K"],
        weights: Float[ArrayLike, " K"] | None = None,
        overlaps: Float[ArrayLike, " K"] | None = None,
    ):
        self.values, self.weights = values_and_weights("values", values, weights, nonnegative, "finite numbers >= 0")
        self.overlaps = jnp.zeros_like(self.values) if overlaps is None else vector("overlaps", overlaps)

    def __check_init__(self):
        if self.overlaps.shape != self.values.shape:
            shapes = f"{self.values.shape}, got {self.overlaps.shape}"
            raise ValueError(f"`overlaps` must have the shape of `values`, {shapes}")
        require("overlaps", self.overlaps, correlation, "numbers in [-1, 1]")

    def sample(self, n: int, *, key: PRNGKeyArray, dtype: Any = None, max_modes: int | None = None):
        require_whole("n", n)
        dtype = self.values.dtype if dtype is None else dtype
        order = jnp.argsort(self.values)
        quantile = (jnp.arange(n, dtype=self.weights.dtype) + 0.5) / n
        index = jnp.searchsorted(jnp.cumsum(self.weights[order]), quantile)
        values = self.values[order[jnp.minimum(index, order.shape[0] - 1)]].astype(dtype)
        left, right = (_orthogonal(k, n, dtype) for k in jax.random.split(key))
        return operators.Dense((values[None] * left) @ right.T)

    def blocks(self, t12, t21, p, *, physical=False):
        """The blocks of `Ensemble`, with h continued from p = 0 along the straight line to p; NaN where that fails.

        On physical arguments, p = -v^2, this is the branch of large x, up to the first maximum of v(x): outside the
        support and in the outer part of the ring.
        """
        p = as_complex(p)
        values, weights = self.values.astype(p.dtype), self.weights.astype(p.dtype)
        u, converged = _outer_root(-p, values**2, weights)
        response = 1 / (1 + values**2 * u)
        h = jnp.sum(weights * values**2 * response) / jnp.sum(weights * response) ** 2
        zero = jnp.zeros_like(t21)
        return zero, zero, jnp.where(converged, h, jnp.nan)

    def four_point(self, s1, s2):
        g2, b, zero = self.variance().astype(s1.dtype), self.fourth_cumulant().astype(s1.dtype), jnp.zeros_like(s1)
        return FourPoint(g2, zero, zero, zero, b)

    def variance(self):
        return jnp.sum(self.weights * self.values**2)

    def fourth_cumulant(self):
        return jnp.sum(self.weights * self.values**4) - 2 * self.variance() ** 2

    def rank_fraction(self):
        return jnp.sum(jnp.where(self.values > 0, self.weights, 0))

    def poles(self):
        return no_pole(self.values)

    def is_symmetric(self):
        return False

    def is_memoryless(self):
        return True

    def singular_law(self):
        return Discrete(self.values, self.weights)


@jax.jit
def _outer_root(
    target: Complex[Array, ""], squares: Complex[Array, " K"], weights: Complex[Array, " K"]
) -> tuple[Complex[Array, ""], Bool[Array, ""]]:
    """u = 1/x^2 where v^2 = u m(u)^2, m = <1/(1 + s^2 u)>, equals `target`: the root that grows from u = 0.

    Regular at u = 0, where x is infinite. Newton steps follow the line from 0 to the target, then end on it: on the
    real axis they approach the first root from below. Written out, rather than as an implicit root, because it is
    scalar and holomorphic and stands in the innermost loop of other solvers.
    """

    def newton(u, goal, squares, weights):
        response = 1 / (1 + squares * u)
        m, slope = jnp.sum(weights * response), -jnp.sum(weights * squares * response**2)
        miss = goal - u * m**2
        return u + miss / (m * (m + 2 * u * slope)), jnp.abs(miss)

    fixed = jax.lax.stop_gradient((target, squares, weights))
    size, eps = jnp.abs(fixed[0]), jnp.finfo(target.dtype).eps

    def follow(k, u):
        return newton(u, (k + 1) / _LINE_STEPS * fixed[0], *fixed[1:])[0]

    def unfinished(carry):
        _, miss, step = carry
        return (miss > 8 * eps * size) & (step < _NEWTON_STEPS)

    def finish(carry):
        u, _, step = carry
        return *newton(u, *fixed), step + 1

    start = jax.lax.fori_loop(0, _LINE_STEPS, follow, jnp.zeros_like(target))
    u, miss, _ = jax.lax.while_loop(unfinished, finish, (start, jnp.full_like(size, jnp.inf), 0))
    # Each Newton step from a root doubles the order to which derivatives are exact: two give the third.
    for _ in range(2):
        u, _ = newton(u, target, squares, weights)
    return u, miss <= 1e4 * eps * size


_LINE_STEPS = 8
_NEWTON_STEPS = 30  # next to a maximum of v the root is nearly double, and a step gains two bits of the residual


def _orthogonal(key: PRNGKeyArray, n: int, dtype: Any) -> Float[Array, "n n"]:
    """A uniformly (Haar) distributed orthogonal matrix (Mezzadri 2007)."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (n, n), dtype))
    return q * jnp.where(jnp.diag(r) < 0, -1, 1).astype(dtype)[None]


# --- from a matrix to an ensemble -----------------------------------------------------------------------------


def from_matrix(w: Float[ArrayLike, "n n"]) -> SingularModes:
    """The ensemble with the singular values of `w`, in decreasing order, and its `overlaps` u_a . v_a.

    Values below the rounding of the decomposition are set to 0, and so are their overlaps, which are arbitrary. The
    others say whether independent modes are a fair model: by chance they have mean 0 and variance 1/n.
    Raises `ValueError` if `w` is not a square matrix of finite real numbers.
    """
    values, overlaps = _values_and_overlaps(w)
    return SingularModes(values, overlaps=overlaps)


def random_modes_from_matrix(
    w: Float[ArrayLike, "n n"], *, key: PRNGKeyArray, samples: int | None = None, iterations: int = 32
) -> RandomModes:
    """Gaussian modes, load 1, whose samples have the singular values of `w` and whose overlaps are those of `w`.

    One amplitude D_a and one overlap rho_a = u_a . v_a for each singular value s_a. The singular values t_a of a
    sample, averaged over `samples` networks of the size of `w` (2000 / n if None), are matched by their quantiles,
    D_a -> D_a s_a / t_a, at most `iterations` times, until three in a row improve the mismatch by less than 1%.
    Amplitudes that would change order are pooled (isotonic regression of D^2, weights t^2: a pool keeps its variance);
    zeros stay zeros.

    Gaussian modes cannot have a spectrum narrower than what they add, <s^4> >= 3 g^4 at load 1 without overlaps: the
    closest law is then returned, equal amplitudes for all narrower ones, and `singular_mismatch` tells how close (.20
    for an i.i.d. and .71 for an orthogonal matrix, .01 to .03 for matrices of modes). Overlaps are taken as they are:
    those of a sample scatter by 1 / sqrt(n) and agree for leading modes; deep in the spectrum, where singular vectors
    mix the modes, they are smaller. Works on concrete matrices only. Raises `ValueError` if `w` is not a square matrix
    of finite real numbers, or is 0, and for `samples` or `iterations` < 1. Source: derived here.
    """
    from scipy.optimize import isotonic_regression  # which takes as long to import as all of this room

    values, overlap = _values_and_overlaps(w)
    target = np.asarray(values)
    if not target.any():
        raise ValueError("`w` must have a non-zero entry, got the zero matrix")
    from tqdm import tqdm  # here, as it takes long to import

    n, rank = target.size, int(np.count_nonzero(target))
    samples = math.ceil(2000 / n) if samples is None else samples
    require_whole("samples", samples)
    require_whole("iterations", iterations)
    keys = jax.random.split(key, samples)

    best, least, stalled, amplitudes = target, math.inf, 0, target
    for _ in tqdm(range(iterations), desc="matching singular values", delay=2, leave=False):
        reached = _mean_singular_values(RandomModes(amplitudes, overlap=overlap), n, keys)
        mismatch = _relative_rms(reached, target)
        stalled = 0 if mismatch < 0.99 * least else stalled + 1
        if mismatch < least:
            best, least = amplitudes, mismatch
        if stalled == 3:
            break
        proposal = (amplitudes[:rank] * target[:rank] / reached[:rank]) ** 2
        pooled = isotonic_regression(proposal, weights=reached[:rank] ** 2, increasing=False).x
        amplitudes = np.pad(np.sqrt(pooled), (0, n - rank)).astype(target.dtype)
    return RandomModes(best, overlap=overlap)


def singular_mismatch(ensemble: Ensemble, w: Float[ArrayLike, "n n"], *, key: PRNGKeyArray, samples: int = 4) -> float:
    """Root mean square difference between the ordered singular values of `ensemble`, a mean of `samples`, and of `w`.

    Relative to the root mean square of those of `w`; 0 for `from_matrix(w)`. Raises `ValueError` as `from_matrix`, and
    for `samples` < 1.
    """
    w = _square(w)
    require_whole("samples", samples)
    reached = _mean_singular_values(ensemble, w.shape[0], jax.random.split(key, samples))
    return _relative_rms(reached, np.asarray(jnp.linalg.svd(w, compute_uv=False)))


def _mean_singular_values(ensemble: Ensemble, n: int, keys: PRNGKeyArray) -> np.ndarray:
    # One network at a time: a batch of n x n matrices may not fit where one does.
    samples = (ensemble.sample(n, key=key).dense() for key in keys)
    return np.mean([jnp.linalg.svd(J, compute_uv=False) for J in samples], 0)


def _relative_rms(reached: np.ndarray, target: np.ndarray) -> float:
    return float(np.linalg.norm(reached - target) / np.linalg.norm(target))


def _values_and_overlaps(w: Float[ArrayLike, "n n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    w = _square(w)
    u, s, vt = jnp.linalg.svd(w)
    kept = s > s[0] * w.shape[0] * jnp.finfo(s.dtype).eps
    overlaps = jnp.clip(jnp.sum(u * vt.T, 0), -1, 1)  # rounding leaves +-1 for a symmetric matrix
    return jnp.where(kept, s, 0), jnp.where(kept, overlaps, 0)


def _square(w: Float[ArrayLike, "n n"]) -> Float[Array, "n n"]:
    w = real_array("w", w)
    if w.ndim != 2 or w.shape[0] != w.shape[1] or w.shape[0] == 0:
        raise ValueError(f"`w` must be a square matrix, got shape {w.shape}")
    require("w", w, np.isfinite, "finite")
    return w


# --- a connectome ---------------------------------------------------------------------------------------------


def larva_connectome(side: str = "left") -> Float[Array, "n n"]:
    """The mushroom body of a Drosophila larva: J[i, j] = number of synapses from neuron j to neuron i.

    `side` is "left" (n = 209) or "right" (n = 213). Raises `ValueError` for any other. Source: Eichler et al. 2017,
    "The complete connectome of a learning and memory centre in an insect brain", Nature 548, 175-182.
    """
    if side not in ("left", "right"):
        raise ValueError(f'`side` must be "left" or "right", got {side!r}')
    table = importlib.resources.files("jaxnets") / "data" / f"drosophila_larva_mb_{side}.csv"
    with table.open() as lines:
        return jnp.asarray(np.loadtxt(lines).T, dtype=float)
