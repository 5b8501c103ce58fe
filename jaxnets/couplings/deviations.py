"""How far one network of N units may be from the law for N -> infinity: one measured table, and a function to read it.

The table is from `benchmarks/finite_size.py` (November 2026): root mean squares, over 20 networks at each of N = 125,
250, 500 and 1000, of the relative deviation of the right edge, fitted by a power of N. They hold scatter and offset,
and have errors of 10 % themselves. Another 20 networks are in the tests.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import require, require_instance, require_whole, scalar
from .._results import Result
from .cell_types import BlockMeans, CellTypes
from .ensemble import Ensemble
from .independent import Elliptic
from .modes import DeepHebbian


class _Row(NamedTuple):
    """At one value of a parameter, the deviation at N = 1000 and its power of 1000 / N; the same with tanh gains."""

    at: float
    deviation: float
    power: float
    deviation_with_gains: float
    power_with_gains: float


# The first row of modes is the connectome of `larva_connectome`; the last one independent weights, PR^D infinite.
_BY_EFFECTIVE_RANK = (
    _Row(0.0172, 0.155, 0.47, 0.186, 0.34),
    _Row(0.05, 0.0995, 0.61, 0.0934, 0.70),
    _Row(0.2, 0.0453, 0.60, 0.0523, 0.65),
    _Row(1.0, 0.0289, 0.68, 0.0314, 0.59),
    _Row(10.0, 0.0184, 0.67, 0.0294, 0.48),
)
_BY_SYMMETRY = (
    _Row(0.0, 0.0184, 0.67, 0.0294, 0.48),
    _Row(0.5, 0.0139, 0.65, 0.0258, 0.46),
    _Row(1.0, 0.0090, 0.71, 0.0187, 0.54),
)
# The largest of three windows at each load (.3, .6, .6, .6; one step; eight equal steps): others have down to half.
_BY_LOAD = (
    _Row(0.05, 0.0456, 0.38, 0.0582, 0.36),
    _Row(0.25, 0.0386, 0.52, 0.0476, 0.50),
    _Row(1.13, 0.0405, 0.50, 0.0498, 0.50),
)

# Of chaotic rates of tanh units, g = 3, times the root of N D, D = PR / N: the rms over 12 networks at each of N = 250,
# 500 and 1000, in this order. Of the variance .05, .05, .02 for independent weights (D = .045), .08, .05, .05 at PR^D =
# .25 (D = .011) and .08, .07, .08 at PR^D = .1 (D = .005); of the dimension 1.1, 1.3, .9, then 1.0, 1.1, 1.8 and 1.0,
# 1.0, 1.3.
_OF_VARIANCE, _OF_DIMENSION = 0.07, 1.1


# Of a matrix of K types: 2^20 multiplications tell eigenvalues apart to 1e-5.
_SQUARINGS = 20


class FiniteSize(Result):
    """Relative root mean square deviations of one network of N units from the law; made by `finite_size`.

    Of the right edge, and of the variance and the dimension PR / N of activity, NaN where that was not asked for.
    """

    edge: Float[Array, ""]
    variance: Float[Array, ""]
    dimension: Float[Array, ""]


def finite_size(
    ensemble: Ensemble, n: int, *, with_gains: bool = False, dimension: Float[ArrayLike, ""] | None = None
) -> FiniteSize:
    r"""How far one network of `n` units may be from the law of `ensemble`: relative root mean square deviations.

    $$ \text{edge:}\;\; a \Big(\frac{1000}{N}\Big)^b, \qquad
       \text{variance:}\;\; \frac{0.07}{\sqrt{N D}}, \qquad \text{dimension:}\;\; \frac{1.1}{\sqrt{N D}} $$

    a and b were measured for modes of several effective ranks, partially symmetric weights and stored sequences at
    several loads (see the module), and are interpolated in between. For modes the first is about .75 over the root of
    N PR^D: few modes scatter much. `with_gains` is for Jacobians with gains of tanh units. D is `dimension`, PR / N of
    rates in theory (`population.dimension`): variance and dimension of chaotic activity are averages over N D modes.
    One network in twenty is off by more than twice as much.

    With cell types edges are those of as many units as share the mode that grows first, which is
    N (sum f_a q_a)^2 / sum f_a q_a^2 with q = u v of the right and left eigenvectors of f_b g_ab^2: a type of few units
    with strong weights scatters much. Their means do not count, though strong ones that cancel, as those of Dale's law
    with balanced rows, move the edge of single networks by another M / (2 g sqrt(N)) or so.

    Of a sum, the part that deviates most counts; parts of finite rank do not. Valid for 100 units or more, to within a
    factor of two: a guide to what a single network can tell, not an error bar. For concrete ensembles.

    Raises `ValueError` for an `ensemble` of another type, n < 1 and a `dimension` that is no share, such as PR itself.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    require_whole("n", n)
    every = [part.ensemble for part in ensemble.parts()]
    parts = [part for part in every if part.finite_rank().rank == 0 and not isinstance(part, BlockMeans)]
    edge = max((_edge(part, n, with_gains) for part in parts), default=0.0)
    of_activity = np.nan
    if dimension is not None:
        require("dimension", scalar("dimension", dimension), _share, "PR / N, above 0 and at most 1")
        of_activity = float((n * np.asarray(dimension)) ** -0.5)
    numbers = (edge, _OF_VARIANCE * of_activity, _OF_DIMENSION * of_activity)
    return FiniteSize(*(jnp.asarray(x, jnp.result_type(float)) for x in numbers))


def _share(x):
    return (x > 0) & (x <= 1)


def _edge(part: Ensemble, n: float, with_gains: bool) -> float:
    if isinstance(part, CellTypes):
        symmetry, units = _leading(part)
        return _edge(Elliptic(1.0, symmetry), n * units, with_gains)
    if isinstance(part, Elliptic):
        symmetry = abs(float(part.symmetry))
        return _interpolated(_BY_SYMMETRY, [row.at for row in _BY_SYMMETRY], symmetry, n, with_gains)
    sequence = isinstance(part, DeepHebbian)
    rows, at = (_BY_LOAD, float(part.load)) if sequence else (_BY_EFFECTIVE_RANK, float(part.effective_rank()))
    at = max(at, 1e-12)
    # Below the first row: as many fewer modes.
    fewer = max(rows[0].at / at, 1.0) ** 0.5
    return fewer * _interpolated(rows, [math.log(row.at) for row in rows], math.log(at), n, with_gains)


def _leading(types: CellTypes) -> tuple[float, float]:
    """The mean symmetry of pairs in the mode that grows first, and the share of all units in it.

    Of seven laws of two and three types without symmetry, at N = 125 to 500, edges deviate by .6 to .95 of what
    independent weights of so many units have.
    """
    f, g2, s = (np.asarray(x, float) for x in (types.fractions, types.g**2, types.symmetry))
    if not g2.any():
        return 0.0, 1.0
    right, left = (_largest(matrix * f[None]) for matrix in (g2, g2.T))
    both = left[:, None] * right[None] * f[:, None] * g2 * f[None]
    q = left * right
    return float(np.sum(both * s) / np.sum(both)), float((f @ q) ** 2 / (f @ q**2))


def _largest(matrix: Float[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """The eigenvector, of no sign, of the largest eigenvalue of a matrix of numbers >= 0."""
    # A multiple of 1 keeps eigenvalues of one modulus apart.
    power = matrix / matrix.max() + np.eye(len(matrix))
    for _ in range(_SQUARINGS):
        power = power @ power
        power /= power.max()
    return power.sum(axis=1)


def _interpolated(rows: tuple[_Row, ...], places: list[float], place: float, n: float, with_gains: bool) -> float:
    """The deviation in its logarithm, and its power."""
    table = np.array([row[3:] if with_gains else row[1:3] for row in rows])
    deviation = math.exp(np.interp(place, places, np.log(table[:, 0])))
    return deviation * (1000 / n) ** float(np.interp(place, places, table[:, 1]))
