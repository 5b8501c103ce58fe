r"""Ensembles estimated from a measured matrix U diag(s) V^T, and a measured matrix.

`from_matrix` keeps the singular values and randomises the modes: `SingularModes`. `random_modes_from_matrix` keeps
the singular values and the overlaps u_a . v_a, on Gaussian modes. The amplitudes of Gaussian modes are not singular
values, because Gaussian modes broaden them: <s^4> = g^4 (2 + 1/PR^D).
"""

import importlib.resources
import math
import typing
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from .._arguments import require_key, require_whole, square_matrix
from .._numerics import binary_scale, is_concrete
from .cell_types import CellTypes
from .ensemble import Ensemble, Sum
from .files import MatrixFile, read_matrix, read_types
from .from_types import ensemble_of_types
from .modes import LowRank, RandomModes
from .singular import SingularModes
from .sparse import is_sparse

# Networks that are sampled at once have so many couplings in all: of large ones, a batch may not fit where one does.
_ENTRIES_AT_ONCE = 2**18
# From so many units on, a mode that carries more than this share of <s^4>, or than 16 / n, stands out. Of independent
# weights the first one carries 7 / n on average, and at most .30 in 400 draws at n = 32; of 15 random modes .21 in 20.
# Four networks with excitation, inhibition and lognormal weights (n = 300, 20 % connected) had .37 to .84.
_FEWEST_UNITS, _MOST_OF_ONE = 32, 0.35


class DominantMode(UserWarning):
    """One singular mode carries much of <s^4>, and sets effective rank and dimension of the ensemble."""


@typing.overload
def from_matrix(matrix: Float[ArrayLike, "n n"], means: None = None) -> SingularModes: ...
@typing.overload
def from_matrix(matrix: Float[ArrayLike, "n n"], means: str) -> Sum: ...
@typing.overload
def from_matrix(
    matrix: Float[ArrayLike, "n n"],
    means: None = None,
    *,
    types: Sequence[str] | Int[ArrayLike, " n"],
    beyond: str | None = "modes",
    symmetry: bool = True,
) -> CellTypes | Sum: ...
def from_matrix(
    matrix: Float[ArrayLike, "n n"],
    means: str | None = None,
    *,
    types: Any = None,
    beyond: str | None = "modes",
    symmetry: bool = True,
) -> SingularModes | CellTypes | Sum:
    r"""The ensemble with the singular values of `matrix`, in decreasing order, and its `overlaps` u_a . v_a.

    Values below the rounding of the decomposition are set to 0. So are their overlaps, which are arbitrary. All other
    overlaps say whether independent modes are a fair model: by chance they have mean 0 and variance 1/n.

    A mean weight is one large singular value, and where excitation and inhibition differ the means of the columns are.
    As part of the bulk it dominates <s^4>, as if there were many such modes: effective rank and dimension come out too
    small. `means` sets it apart, as a `LowRank` part beside the `SingularModes` of the rest: "columns" the mean of each
    column (of all that a unit sends, so of each type of sender),

    $$ J_{ij} = m_j + \mathrm{rest}, \qquad O = \sum_j m_j, \qquad \sigma = n\, \mathrm{sd}(m_j), $$

    with O the overlap and sigma the noise of the uniform `LowRank`; "all" takes the mean of all weights, with no noise.
    Where one mode of 32 units or more carries over 35 % of <s^4>, a `DominantMode` warning says which, and what to do.
    A network of n units has no dimension below 1/n: where theory says so, n is too small for it. `finite_size` says how
    far one network of n units may be from the law.

    With `types`, a text or whole number for each unit, the ensemble is the `CellTypes` of the block means, variances
    and correlations of pairs. Types are in sorted order, as in `weight_statistics(matrix, types)`, which gives these
    numbers with errors. `beyond` says what is kept of the rest:

    - "modes": the singular modes that independent weights of the same sizes do not have, as `TypeModes`, each with its
      strength and its overlap in each type;
    - "overlaps": the same modes as a `TypeRank`, with the means of their vectors in each type, through which they
      interact with the means of types; for few modes;
    - "degrees": each type is divided into units that send or receive more, or less, with the measured variances;
    - None: nothing.

    The mean field of types knows neither `symmetry` nor overlaps: it needs `symmetry=False`, and `beyond` "degrees" or
    None. With `symmetry=False` and None, samples are as sparse as the matrix, and have signs where each type of sender
    has one.

    Raises `ValueError` if `matrix` is not a square matrix of finite real numbers, for any other `means` and `beyond`,
    for `means` with types, and unless there is one type for each unit and two units for each type.
    """
    if types is not None:
        if means is not None:
            raise ValueError(
                f"`means` belongs to a matrix without `types`, whose means are always apart, got {means!r}"
            )
        return ensemble_of_types(matrix, types, beyond, symmetry)
    if beyond != "modes" or symmetry is not True:
        raise ValueError("`beyond` and `symmetry` belong to `types`, got them without")
    if means not in (None, "columns", "all"):
        raise ValueError(f'`means` must be "columns", "all" or None, got {means!r}')
    if is_sparse(matrix) and not isinstance(matrix, MatrixFile):
        raise ValueError(
            "`matrix` must be an array, got a sparse one, whose singular vectors are dense: `weight_statistics` and "
            "`spectra.estimated_singular_profile` need products alone, and `.toarray()` gives the array"
        )
    matrix = square_matrix("matrix", matrix)
    if means is None:
        values, overlaps, uniform = _decomposed(matrix)
        _warn_of_dominant(values, uniform)
        return SingularModes(values, overlaps=overlaps)
    n = matrix.shape[0]
    columns = jnp.mean(matrix, axis=0)
    columns = columns if means == "columns" else jnp.full_like(columns, jnp.mean(columns))
    rest = matrix - columns[None]
    values, overlaps, uniform = _decomposed(rest)
    _warn_of_dominant(values, uniform)
    scale = binary_scale(columns)[0]
    spread = jnp.std(columns / scale) * scale if means == "columns" else jnp.zeros_like(scale)
    mean = LowRank(n * jnp.mean(columns), noise=n * spread, uniform=True)
    return Sum((SingularModes(values, overlaps=overlaps), mean))


def modes_of_matrix(matrix: Float[ArrayLike, "n n"]) -> SingularModes:
    """As `from_matrix`, for those who look at leading modes themselves: without a warning."""
    values, overlaps, _ = _decomposed(matrix)
    return SingularModes(values, overlaps=overlaps)


def _warn_of_dominant(values: Float[Array, " n"], uniform: Float[Array, ""]) -> None:
    if not is_concrete(values, uniform) or values.shape[0] < _FEWEST_UNITS:
        return
    s = np.asarray(values, np.float64)
    if s[0] == 0:
        return
    share = 1 / np.sum((s / s[0]) ** 4)
    if share <= max(_MOST_OF_ONE, 16 / len(s)):
        return
    advice = (
        'a mean weight? `from_matrix(matrix, means="columns")` sets it apart'
        if float(uniform) > 0.5
        else "no mean weight, but if it is a structure of its own, take its s u v^T off the matrix and add a `LowRank`"
    )
    warnings.warn(
        f"one singular mode of value {s[0]:.3g} carries {share:.0%} of <s^4> and so sets effective rank and "
        f"dimension: {advice}",
        DominantMode,
        stacklevel=3,
    )


def random_modes_from_matrix(
    matrix: Float[ArrayLike, "n n"], *, key: PRNGKeyArray, num_samples: int | None = None, num_iterations: int = 32
) -> RandomModes:
    r"""Gaussian modes, load 1, whose samples have the singular values and the overlaps of `matrix`.

    Each singular value s_a gives one amplitude D_a and one overlap rho_a = u_a . v_a. Let t_a be the singular values of
    a sample, averaged over `num_samples` networks (2000 / n if None). An iteration sets D_a -> D_a s_a / t_a; there are
    at most `num_iterations`, and the last three improve the mismatch by less than 1% each. Amplitudes that would change
    order are pooled (isotonic regression of D^2, weights t^2: a pool keeps its variance); zeros stay zeros.

    Gaussian modes at load 1 without overlaps have <s^4> >= 3 g^4. A matrix with a narrower spectrum gets the closest
    law, with equal amplitudes for all modes that are too narrow. `singular_mismatch` tells how close it is: 0.20 for an
    i.i.d. and 0.71 for an orthogonal matrix, 0.01 to 0.03 for matrices of modes. Overlaps are taken as they are.
    Overlaps of a sample scatter by 1 / sqrt(n) around them for leading modes, and are smaller deep in the spectrum,
    where singular vectors mix the modes.

    Works on concrete matrices only. Raises `ValueError` if `matrix` is not a square matrix of finite real numbers, or
    is 0, and for `num_samples` or `num_iterations` < 1. Source: derived here.
    """
    from scipy.optimize import isotonic_regression  # here, as it takes as long to import as all of this room

    matrix = square_matrix("matrix", matrix)
    scale = binary_scale(matrix)[0, 0]  # squares would be lost in very small or large units
    values, overlap, _ = _decomposed(matrix / scale)
    target = np.asarray(values)
    if not target.any():
        raise ValueError("`matrix` must have a non-zero entry, got the zero matrix")
    from tqdm import tqdm  # here, as it takes long to import

    n, rank = target.size, int(np.count_nonzero(target))
    num_samples = math.ceil(2000 / n) if num_samples is None else num_samples
    require_key("key", key)
    require_whole("num_samples", num_samples)
    require_whole("num_iterations", num_iterations)
    keys = jax.random.split(key, num_samples)

    best, least, stalled, amplitudes = target, math.inf, 0, target
    for _ in tqdm(range(num_iterations), desc="matching singular values", delay=2, leave=False):
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
    return RandomModes(best * scale, overlap=overlap)


def singular_mismatch(
    ensemble: Ensemble, matrix: Float[ArrayLike, "n n"], *, key: PRNGKeyArray, num_samples: int = 4
) -> float:
    """Root mean square difference of the ordered singular values of `ensemble` and of `matrix`.

    The singular values of the ensemble are means over `num_samples` networks. The difference is relative to the root
    mean square singular value of the matrix, so that it is 0 for `from_matrix(matrix)`. Raises `ValueError` as
    `from_matrix`, for a matrix that is 0, and for `num_samples` < 1.
    """
    matrix = square_matrix("matrix", matrix)
    require_key("key", key)
    require_whole("num_samples", num_samples)
    scale = binary_scale(matrix)
    target = np.asarray(jnp.linalg.svd(matrix / scale, compute_uv=False))
    if not target.any():
        raise ValueError("`matrix` must have a non-zero entry, got the zero matrix")
    reached = _mean_singular_values(ensemble, matrix.shape[0], jax.random.split(key, num_samples), scale)
    return _relative_rms(reached, target)


def _mean_singular_values(
    ensemble: Ensemble, n: int, keys: PRNGKeyArray, scale: Float[Array, "1 1"] | None = None
) -> np.ndarray:
    """In units of `scale`, and in its precision."""
    dtype = None if scale is None else scale.dtype

    def singular_values(key):
        J = ensemble.sample(n, key=key, dtype=dtype).dense()
        return jnp.linalg.svd(J if scale is None else J / scale, compute_uv=False)

    at_once = _ENTRIES_AT_ONCE // n**2
    if at_once < 2:
        return np.mean([singular_values(key) for key in keys], 0)
    # Blocks of one size, the last one filled up.
    size = -(-len(keys) // -(-len(keys) // at_once))
    filled = keys[np.minimum(np.arange(-(-len(keys) // size) * size), len(keys) - 1)]
    blocks = [jax.vmap(singular_values)(filled[i : i + size]) for i in range(0, len(filled), size)]
    return np.mean(np.concatenate(blocks)[: len(keys)], 0)


def _relative_rms(reached: np.ndarray, target: np.ndarray) -> float:
    miss = reached - target
    largest = float(np.max(np.abs(miss))) or 1.0  # squares of which may overflow
    return largest * float(np.linalg.norm(miss / largest) / np.linalg.norm(target))


def _decomposed(
    matrix: Float[ArrayLike, "n n"],
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]]:
    """Singular values, overlaps, and the share of the first left vector that is the same for all units: 1 for a mean.

    It is the share of the first mode's strength that the means of columns take away.
    """
    matrix = square_matrix("matrix", matrix)
    scale = binary_scale(matrix)  # the moments of what follows would be lost in very small or large units
    u, s, vt = jnp.linalg.svd(matrix / scale)
    kept = s > s[0] * matrix.shape[0] * jnp.finfo(s.dtype).eps
    overlaps = jnp.clip(jnp.sum(u * vt.T, 0), -1, 1)  # rounding leaves +-1 for a symmetric matrix
    return jnp.where(kept, s * scale[0], 0), jnp.where(kept, overlaps, 0), jnp.sum(u[:, 0]) ** 2 / len(u)


# --- a connectome ---------------------------------------------------------------------------------------------


def larva_connectome(side: str = "left") -> Float[Array, "n n"]:
    """The mushroom body of a Drosophila larva: J[i, j] = number of synapses from neuron j to neuron i.

    `side` is "left" (n = 209) or "right" (n = 213). Raises `ValueError` for any other. Source: Eichler et al. 2017,
    "The complete connectome of a learning and memory centre in an insect brain", Nature 548, 175-182.
    """
    with _shipped(side, "").open() as lines:
        return jnp.asarray(np.loadtxt(lines).T, dtype=float)


def larva_types(side: str = "left") -> tuple[str, ...]:
    """The type of each neuron of `larva_connectome`, as one letter.

    "K" is a Kenyon cell, "P" a projection neuron, "O" an output neuron and "I" an input (modulatory) neuron. The tables
    do not say which are excitatory. Raises `ValueError` if `side` is neither "left" nor "right". Source: as
    `larva_connectome`.
    """
    return tuple(_shipped(side, "_types").read_text().split())


def measured_network(
    matrix: str | Float[ArrayLike, "n n"], types: str | Sequence[str] | Int[ArrayLike, " n"] | None = None
) -> tuple[Float[Array, "n n"], Any]:
    """A matrix and the types of its units, each as it is, by the name of a shipped one, or from a file.

    None is one type of all units.
    """
    labels = None
    if isinstance(matrix, str) and matrix in SHIPPED:
        matrix = larva_connectome(SHIPPED[matrix])
    elif isinstance(matrix, str):
        file = read_matrix(matrix)
        matrix, labels = file.dense(), file.labels
    J = square_matrix("matrix", matrix)
    if types is None:
        return J, np.zeros(J.shape[0], int)
    if isinstance(types, str):
        types = larva_types(SHIPPED[types]) if types in SHIPPED else read_types(types, J.shape[0], labels)
    return J, types


# Connectomes by the names that commands and sweeps take.
SHIPPED = {"larva-left": "left", "larva-right": "right"}


def _shipped(side: str, what: str):
    if side not in ("left", "right"):
        raise ValueError(f'`side` must be "left" or "right", got {side!r}')
    return importlib.resources.files("jaxnets") / "data" / f"drosophila_larva_mb_{side}{what}.csv"
