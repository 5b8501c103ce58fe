"""Measurements of recorded activity: arrays in, arrays out, time on the first axis and units on the last.

`online` makes the same measurements while a simulation runs, for records that would not fit in memory. A new
measurement is one more function of arrays, and knows nothing of networks.
"""

from .._public import public
from . import online
from .covariances import (
    LaggedCovariance,
    autocovariance,
    correlation_time,
    covariance,
    cross_covariance,
    unit_autocovariances,
)
from .dimension import (
    DimensionEstimate,
    PrincipalComponents,
    dimension_estimate,
    participation_ratio,
    principal_components,
)
from .exponents import RankExponent, cross_validated_spectrum, rank_exponent
from .patterns import overlaps
from .spectrum import Peaks, dominant_frequencies, power_spectrum

__all__ = [
    "DimensionEstimate",
    "LaggedCovariance",
    "Peaks",
    "PrincipalComponents",
    "RankExponent",
    "autocovariance",
    "correlation_time",
    "covariance",
    "cross_covariance",
    "cross_validated_spectrum",
    "dimension_estimate",
    "dominant_frequencies",
    "online",
    "overlaps",
    "participation_ratio",
    "power_spectrum",
    "principal_components",
    "rank_exponent",
    "unit_autocovariances",
]

__dir__ = public(__name__)
