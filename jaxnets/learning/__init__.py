"""Weights that learn patterns: what one unit asks of its weights, and networks that hold given patterns.

Each unit is a perceptron with bounds on its weights (`constraints`), a network is one perceptron for each unit
(`design`). A soft committee of modes learns a teacher from a stream of samples (`committee`). Another learning problem
gets a module of its own here.
"""

from .._public import public
from .committee import (
    Committee,
    LearningRates,
    OnlineRun,
    Overlaps,
    Plateaus,
    generalisation_error,
    online_sgd,
    online_theory,
    order_parameters,
    plateaus,
)
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
    "Committee",
    "FREE",
    "LearningRates",
    "Margin",
    "OnlineRun",
    "Overlaps",
    "Plateaus",
    "Storable",
    "Storage",
    "compose",
    "explain",
    "factorise",
    "generalisation_error",
    "largest_margin",
    "margin_limit",
    "online_sgd",
    "online_theory",
    "order_parameters",
    "plateaus",
    "storable",
    "store",
    "store_sparsest",
    "store_widest",
    "weight_limits",
]

__dir__ = public(__name__)
