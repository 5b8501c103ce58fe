"""Theory of the population: covariances between units, their sums over all pairs, and all Lyapunov exponents."""

from .._public import public
from .activity import Dimension, PairCovariance, dimension, pair_covariance
from .exponents import LyapunovDistribution, lyapunov_distribution
from .linear import cross_spectrum, dressed, linear_sum
from .sums import four_point_sum, four_point_sum_x
from .types import TypedDimension

__all__ = [
    "Dimension",
    "LyapunovDistribution",
    "PairCovariance",
    "TypedDimension",
    "cross_spectrum",
    "dimension",
    "dressed",
    "four_point_sum",
    "four_point_sum_x",
    "linear_sum",
    "lyapunov_distribution",
    "pair_covariance",
]

__dir__ = public(__name__)
