"""Weights that learn patterns: what one unit asks of its weights, and networks that hold given patterns.

Each unit is a perceptron with bounds on its weights (`constraints`), a network is one perceptron for each unit
(`design`). Another learning problem gets a module of its own here.
"""

from .._public import public
from .constraints import (
    FREE,
    Certificate,
    Margin,
    explain,
    largest_margin,
    margin_limit,
    weight_limits,
)
from .design import (
    Storable,
    Storage,
    compose,
    factorise,
    storable,
    store,
    store_sparsest,
    store_widest,
)

__all__ = [
    "Certificate",
    "FREE",
    "Margin",
    "Storable",
    "Storage",
    "compose",
    "explain",
    "factorise",
    "largest_margin",
    "margin_limit",
    "storable",
    "store",
    "store_sparsest",
    "store_widest",
    "weight_limits",
]

__dir__ = public(__name__)
