"""Replica-symmetric theory: saddle points of problems with few order parameters, their branches and their ends.

`Hopfield` is the problem of associative memory, whose states and phases `jaxnets.memory` gives by name. `BinaryWeights`
and `NearbyWeights` are the binary perceptron, and `SphericalWeights` the one of Gardner, with names in
`jaxnets.learning`. A model of your own is one more `Problem`.
"""

from .._public import public
from .distance import NearbyWeights
from .hopfield import Hopfield, SymmetricCore, symmetric_core
from .lines import BranchEnd, LinePoint, branch_end, coexistence, fold, vanishing
from .perceptron import BinaryWeights
from .problem import Problem
from .saddles import Saddle, saddle
from .spherical import SphericalWeights

__all__ = [
    "BinaryWeights",
    "BranchEnd",
    "Hopfield",
    "LinePoint",
    "NearbyWeights",
    "Problem",
    "Saddle",
    "SphericalWeights",
    "SymmetricCore",
    "branch_end",
    "coexistence",
    "fold",
    "saddle",
    "symmetric_core",
    "vanishing",
]

__dir__ = public(__name__)
