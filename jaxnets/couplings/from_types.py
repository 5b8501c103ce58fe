r"""From a measured matrix with types of units to an ensemble: blocks, and what is left of the matrix beyond them.

Block means M_ab / N, variances g_ab^2 / N and correlations s_ab of pairs make a `CellTypes`. The rest beyond the means
is standardised by factors of rows and columns, l_a c_b, as close to g_ab as such a product can be. If weights were
independent within blocks, the singular values of the standardised rest over sqrt(N) would end near 2 sigma. A larger
one, y sigma, is a mode of strength theta sigma in noise of variance sigma^2,

$$ y^2 = (1 + \theta^2) (1 + \theta^{-2}), \qquad |\hat u \cdot u|^2 = |\hat v \cdot v|^2 = 1 - \theta^{-2}. $$

Heavy tails make large singular values without modes. So a mode counts only if its singular value is larger than the
largest one of the same weights in another order within each block.

Source: Benaych-Georges & Nadakuditi 2012 for modes in noise; with types, derived here.
"""

from typing import Any, TypeVar

import jax
import numpy as np
import scipy.sparse.linalg
from jaxtyping import ArrayLike, Float, Int

from .._arguments import square_matrix
from .cell_types import CellTypes
from .ensemble import Ensemble, Sum
from .statistics import weight_statistics
from .type_modes import TypeModes
from .type_rank import TypeRank
from .type_statistics import TypeStatistics

E = TypeVar("E", bound=Ensemble)
Table = Float[np.ndarray, "K K"]

# A mode stands out of so many matrices with their weights in another order: by chance it does so once in twenty.
_SHUFFLED = 19
_DEEPEST = 0.9  # two values of a degree are at most this far below their mean, so that both are positive
_FEWEST = 2  # units of a part of a type, as samples of a somewhat different size need one


def ensemble_of_types(
    matrix: Float[ArrayLike, "n n"], types: Any, beyond: str | None, symmetry: bool
) -> CellTypes | Sum:
    """What `from_matrix` returns with types."""
    if beyond not in ("modes", "overlaps", "degrees", None):
        raise ValueError(f'`beyond` must be "modes", "overlaps", "degrees" or None, got {beyond!r}')
    J = square_matrix("matrix", matrix)
    found = weight_statistics(J, types)
    if beyond == "degrees":
        return _with_degrees(found, symmetry, J.dtype)
    n, of = J.shape[0], np.asarray(found.types)
    rest = np.asarray(J, np.float64) - np.asarray(found.means, np.float64)[of[:, None], of[None]] / n
    modes = _modes(rest, found) if beyond in ("modes", "overlaps") else None
    if modes is not None and beyond == "overlaps":
        return _cast(_with_overlaps(found, modes, rest, types, symmetry), J.dtype)
    if modes is not None:
        del modes["vectors"], modes["kept"]
        share = np.einsum("p,pa,pb->ab", modes["amplitudes"] ** 2, modes["row_gains"] ** 2, modes["gains"] ** 2) / n
        rest = weight_statistics(rest - modes.pop("measured"), types)
        g = np.sqrt(np.maximum(np.asarray(found.g) ** 2 - share, 0))
        independent = CellTypes(_fractions(found), g, _symmetry(rest) if symmetry else 0.0, found.means)
        return _cast(Sum((independent, TypeModes(_fractions(found), **modes))), J.dtype)
    if symmetry:
        return _cast(CellTypes(_fractions(found), found.g, _symmetry(found), found.means), J.dtype)
    return _cast(_sparse(np.asarray(J), found), J.dtype)


def _fractions(found: TypeStatistics) -> Float[np.ndarray, " K"]:
    return np.asarray(found.counts) / np.sum(np.asarray(found.counts))


def _symmetry(found: TypeStatistics) -> Table:
    """Correlations, 0 where nothing varies; the tables of both directions agree to rounding."""
    s = np.clip(np.nan_to_num(np.asarray(found.symmetry)), -1, 1)
    return (s + s.T) / 2


def _cast(ensemble: E, dtype: Any) -> E:
    return jax.tree.map(lambda leaf: leaf.astype(dtype), ensemble)


def _sparse(J: Float[np.ndarray, "n n"], found: TypeStatistics) -> CellTypes:
    """Weights that exist as often as in J, with signs where each type of sender has one and reaches all types."""
    density, means = np.asarray(found.density), np.asarray(found.means)
    probability = np.where(density > 0, density, 1)
    columns = [J[:, np.asarray(found.types) == b] for b in range(len(means))]
    signs = [int(np.all(c >= 0)) - int(np.all(c <= 0)) for c in columns]
    signed = all(signs) and bool(np.all(means != 0))
    exist = probability if np.any(probability < 1) else None
    return CellTypes(_fractions(found), found.g, 0.0, means, exist, np.asarray(signs) if signed else None)


# --- modes beyond types


def _modes(rest: Float[np.ndarray, "n n"], found: TypeStatistics) -> dict[str, np.ndarray] | None:
    """Arguments of `TypeModes`, and the `measured` modes as a matrix; None if no mode stands out."""
    of, n, f = np.asarray(found.types), len(rest), _fractions(found)
    rows, columns = _factors(np.asarray(found.g))
    left, right = rows[of], columns[of]
    X = rest / (left[:, None] * right[None])
    largest = _largest_of_shuffled(X, of)
    u, s, vt = np.linalg.svd(X / np.sqrt(n))
    num = int(np.sum(np.cumprod(s > largest)))
    num = min(num, n // 2)
    noise = np.sqrt(np.sum(s[num:] ** 2) / (n - num))
    y2 = (s[:num] / noise) ** 2
    num = int(np.sum(np.cumprod(y2 > 4))) if noise > 0 else num
    if num == 0:
        return None
    y2, u, v = y2[:num] - 2, u[:, :num], vt[:num].T
    theta2 = (y2 + np.sqrt(y2**2 - 4)) / 2
    a, b = left[:, None] * u, right[:, None] * v
    size_a, size_b = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    by_type = lambda x: np.stack([np.sum(x[of == k], axis=0) for k in range(len(f))], axis=1)
    power_a, power_b = by_type((a / size_a) ** 2), by_type((b / size_b) ** 2)
    product = by_type(a * b / (size_a * size_b)) / (1 - 1 / theta2)[:, None]
    both = np.sqrt(power_a * power_b)
    return {
        "amplitudes": np.sqrt(n) * noise * np.sqrt(theta2) * size_a * size_b,
        "row_gains": np.sqrt(power_a / f[None]),
        "gains": np.sqrt(power_b / f[None]),
        "overlap": np.clip(product / np.where(both > 0, both, 1), -1, 1),
        "load": np.asarray(num / n),
        "measured": np.sqrt(n) * (a * s[:num]) @ b.T,
        # x and y of J = x y^T / n, and what noise leaves of their products with each other and with constants.
        "vectors": n**0.75 * np.sqrt(noise * np.sqrt(theta2)) * np.stack([a, b]),
        "kept": 1 - 1 / theta2,
    }


def _with_overlaps(found: TypeStatistics, modes: dict[str, np.ndarray], rest, types, symmetry: bool) -> Sum:
    """Modes of finite rank with the means and covariances of their vectors in each type, and what is left."""
    (x, y), of, f = modes["vectors"], np.asarray(found.types), _fractions(found)
    vectors, kept = np.concatenate([x, y], axis=1), np.tile(np.sqrt(modes["kept"]), 2)
    parts = [vectors[of == k] for k in range(len(f))]
    means = np.stack([part.mean(axis=0) / kept for part in parts])
    # Squares of one vector hold the noise in it, in place of what it has lost.
    products = np.stack([part.T @ part / len(part) for part in parts])
    products /= np.where(np.eye(len(kept), dtype=bool), 1, np.outer(kept, kept))
    squares, axes = np.linalg.eigh(products - means[:, :, None] * means[:, None])
    covariances = axes * np.maximum(squares, 0)[:, None] @ axes.swapaxes(1, 2)
    left = weight_statistics(rest - modes["measured"], types)
    # The means of modes are part of the measured block means.
    num = x.shape[1]
    block_means = np.asarray(found.means, float) - np.einsum("ak,bk->ab", means[:, :num], means[:, num:])
    independent = CellTypes(f, np.asarray(left.g), _symmetry(left) if symmetry else 0.0, block_means)
    return Sum((independent, TypeRank(f, means, (covariances + covariances.swapaxes(1, 2)) / 2)))


def _factors(g: Table) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """l and c with log l_a + log c_b = log g_ab in least squares over blocks that vary; 1 where no block does."""
    K = len(g)
    a, b = np.nonzero(g > 0)
    if a.size == 0:
        return np.ones(K), np.ones(K)
    design = np.zeros((len(a), 2 * K))
    design[np.arange(len(a)), a] = design[np.arange(len(a)), K + b] = 1
    log = np.linalg.lstsq(design, np.log(g[a, b]), rcond=None)[0]
    return np.exp(log[:K]), np.exp(log[K:])


def _largest_of_shuffled(X: Float[np.ndarray, "n n"], of: Int[np.ndarray, " n"]) -> float:
    """The largest singular value of X / sqrt(n) with its weights in other orders within each block."""
    rng, n, K = np.random.default_rng(0), len(X), of.max() + 1
    blocks = [np.ix_(of == a, of == b) for a in range(K) for b in range(K)]
    largest = 0.0
    for _ in range(_SHUFFLED):
        Y = np.empty_like(X)
        for block in blocks:
            Y[block] = rng.permutation(X[block].ravel()).reshape(X[block].shape)
        largest = max(largest, _norm(Y / np.sqrt(n)))
    return largest


def _norm(Y: Float[np.ndarray, "n n"]) -> float:
    if len(Y) < 50:
        return float(np.linalg.norm(Y, 2))
    options: Any = {"tol": 1e-3, "v0": np.ones(len(Y)), "return_singular_vectors": False}
    found: Any = scipy.sparse.linalg.svds(Y, 1, **options)
    return float(found[0])


# --- degrees within types


def _with_degrees(found: TypeStatistics, symmetry: bool, dtype: Any) -> CellTypes:
    """Each type divided into units that receive more and less, send more and less, with the measured variances."""
    n, counts = int(np.sum(np.asarray(found.counts))), np.asarray(found.counts)
    laws = np.nan_to_num(np.stack([np.asarray(found.received), np.asarray(found.sent), np.asarray(found.chain)]))
    parts = [_parts(int(m), *laws[:, a]) for a, m in enumerate(counts)]
    of = np.repeat(np.arange(len(counts)), [len(p[0]) for p in parts])
    sizes, l, c = (np.concatenate(x) for x in zip(*parts, strict=True))
    mean_of = lambda x: np.bincount(of, sizes * x)[of] / counts[of]
    l, c = l / mean_of(l), c / mean_of(c)
    spread_l, spread_c, both = (np.bincount(of, sizes * x) / counts for x in (l * l, c * c, l * c))
    M, s = np.asarray(found.means), _symmetry(found)
    # What differences between units explain of the variances, and of the covariances of pairs.
    rest = np.maximum(np.asarray(found.g) ** 2 - M**2 / n * (spread_l[:, None] * spread_c[None] - 1), 0)
    covariance = s * np.asarray(found.g) * np.asarray(found.g).T - M * M.T / n * (both[:, None] * both[None] - 1)
    size = np.sqrt(rest * rest.T)
    s = np.clip(covariance / np.where(size > 0, size, 1), -1, 1) * (size > 0)
    s = (s + s.T) / 2  # to the last digit
    table, at = l[:, None] * c[None], (of[:, None], of[None])
    ensemble = CellTypes(sizes / n, np.sqrt(rest[at] * table), s[at] if symmetry else 0.0, M[at] * table)
    return _cast(ensemble, dtype)


def _parts(count: int, received: float, sent: float, chain: float):
    """Sizes of up to four parts of a type of `count` units, and what their units receive and send beside the mean."""
    to, of = _two_values(received), _two_values(sent)
    (low_l, high_l, p), (low_c, high_c, q) = to, of
    width = (high_l - low_l) * (high_c - low_c)
    extra = np.clip(chain / width if width > 0 else 0.0, -min(p * q, (1 - p) * (1 - q)), min(p * (1 - q), (1 - p) * q))
    l, c = np.array([low_l, low_l, high_l, high_l]), np.array([low_c, high_c, low_c, high_c])
    share = np.array([(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q]) + extra * np.array([1, -1, -1, 1])
    ends = np.rint(np.cumsum(share) * count)
    sizes = np.diff(ends, prepend=0)
    kept = sizes >= _FEWEST
    if not kept.any():
        return np.array([float(count)]), np.ones(1), np.ones(1)
    sizes = np.where(kept, sizes, 0)
    sizes[np.argmax(sizes)] += count - sizes.sum()
    return sizes[kept], l[kept], c[kept]


def _two_values(variance: float) -> tuple[float, float, float]:
    """Two numbers of mean 1 and this variance, and the share of the larger one; equal shares up to `_DEEPEST`."""
    if variance <= 0:
        return 1.0, 1.0, 0.0
    below = min(np.sqrt(variance), _DEEPEST)
    return 1 - below, 1 + variance / below, below**2 / (below**2 + variance)
