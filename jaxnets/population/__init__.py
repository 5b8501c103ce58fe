"""Theory of the population: covariances between units, and what they sum to over all pairs."""

from .linear import cross_spectrum, dressed, linear_sum
from .sums import four_point_sum, four_point_sum_x

__all__ = ["cross_spectrum", "dressed", "four_point_sum", "four_point_sum_x", "linear_sum"]
