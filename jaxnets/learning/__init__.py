"""Weights that learn patterns: what one unit asks of its weights, and networks that hold given patterns.

Each unit is a perceptron with bounds on its weights (`constraints`), a network is one perceptron for each unit
(`design`). A soft committee of modes learns a teacher from a stream of samples (`committee`). Layers of modes
(`modes`) and recurrent networks of spike-and-slab weights (`spike_slab`) are trained on tasks (`tasks`) by one loop
(`training`). Another learning problem gets a module of its own here.
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
from .modes import ModeLinear, ModeNetwork, importance, prune, strength
from .spike_slab import SpikeSlabRNN, clip_spectral, except_sparsity, projected
from .tasks import Samples, Split, accuracy, digit_rows, digits
from .training import Trained, minibatches, train

__all__ = [
    "Certificate",
    "Committee",
    "FREE",
    "LearningRates",
    "Margin",
    "ModeLinear",
    "ModeNetwork",
    "OnlineRun",
    "Overlaps",
    "Plateaus",
    "Samples",
    "SpikeSlabRNN",
    "Split",
    "Storable",
    "Storage",
    "Trained",
    "accuracy",
    "clip_spectral",
    "compose",
    "digit_rows",
    "digits",
    "except_sparsity",
    "explain",
    "factorise",
    "generalisation_error",
    "importance",
    "largest_margin",
    "margin_limit",
    "minibatches",
    "online_sgd",
    "online_theory",
    "order_parameters",
    "plateaus",
    "projected",
    "prune",
    "storable",
    "store",
    "store_sparsest",
    "store_widest",
    "strength",
    "train",
    "weight_limits",
]

__dir__ = public(__name__)
