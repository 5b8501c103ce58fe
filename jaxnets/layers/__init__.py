"""Feed-forward networks with correlated weights: covariance and dimension along depth, signals and Jacobians.

`Layers` is a law of networks without end, whose recursion along depth is exact for infinitely many units (`recursion`).
Its samples are `FeedForward` networks (`networks`), whose covariances follow exactly for Gaussian inputs of each layer
(`closure`). How two signals come together or part along depth is a special case (`propagation`).
"""

from .._public import public
from .closure import Closure, RateCovariance, rate_covariance
from .networks import FeedForward, correlated_weights, measured_statistics
from .propagation import Propagation, edge_of_chaos
from .recursion import Inputs, Layers
from .statistics import LayerStatistics

__all__ = [
    "Closure",
    "FeedForward",
    "Inputs",
    "LayerStatistics",
    "Layers",
    "Propagation",
    "RateCovariance",
    "correlated_weights",
    "edge_of_chaos",
    "measured_statistics",
    "rate_covariance",
]

__dir__ = public(__name__)
