"""Replica-symmetric theory: saddle points of problems with few order parameters, their branches and their ends.

`Hopfield` is the problem of associative memory, whose states and phases `jaxnets.memory` gives by name. A model of your
own is one more `Problem`.
"""

from .._public import public
from .hopfield import Hopfield, SymmetricCore, symmetric_core
from .lines import BranchEnd, LinePoint, branch_end, coexistence, fold, vanishing
from .problem import Problem
from .saddles import Saddle, saddle

__all__ = [
    "BranchEnd",
    "Hopfield",
    "LinePoint",
    "Problem",
    "Saddle",
    "SymmetricCore",
    "branch_end",
    "coexistence",
    "fold",
    "saddle",
    "symmetric_core",
    "vanishing",
]

__dir__ = public(__name__)
