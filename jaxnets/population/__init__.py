"""Theory of the population: covariances between units, and their sums over all pairs."""

from .._public import public
from .activity import Dimension, PairCovariance, dimension, pair_covariance
from .linear import cross_spectrum, dressed, linear_sum
from .sums import four_point_sum, four_point_sum_x
from .types import TypedDimension

__all__ = [
    "Dimension",
    "PairCovariance",
    "TypedDimension",
    "cross_spectrum",
    "dimension",
    "dressed",
    "four_point_sum",
    "four_point_sum_x",
    "linear_sum",
    "pair_covariance",
]

__dir__ = public(__name__)
