"""Weights that learn patterns: what one unit asks of its weights, and networks that hold given patterns.

Each unit is a perceptron with bounds on its weights (`constraints`), a network is one perceptron for each unit
(`design`). A soft committee of modes learns a teacher from a stream of samples (`committee`). Layers of modes
(`modes`), recurrent networks of spike-and-slab weights (`spike_slab`) and rate networks (`recurrent`) are trained on
samples (`tasks`) or on trials in time (`trials`) by one loop (`training`). Another learning problem gets a module of
its own here.
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
from .perceptron import BinaryPerceptron, Neighbours, PerceptronState
from .psychometric import Psychometric, best_width, probit, psychometric
from .recurrent import RecurrentNetwork, Signed
from .spike_slab import SpikeSlabRNN, clip_spectral, except_sparsity, multisensory_optimiser, projected
from .tasks import Samples, Split, accuracy, digit_rows, digits, mnist_1d
from .training import Trained, minibatches, train
from .trials import DelayedMatch, Multisensory, Sine, Task, Trials, squared_error

__all__ = [
    "BinaryPerceptron",
    "Certificate",
    "Committee",
    "DelayedMatch",
    "FREE",
    "LearningRates",
    "Margin",
    "ModeLinear",
    "ModeNetwork",
    "Multisensory",
    "Neighbours",
    "OnlineRun",
    "Overlaps",
    "PerceptronState",
    "Plateaus",
    "Psychometric",
    "RecurrentNetwork",
    "Samples",
    "Signed",
    "Sine",
    "SpikeSlabRNN",
    "Split",
    "Storable",
    "Storage",
    "Task",
    "Trained",
    "Trials",
    "accuracy",
    "best_width",
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
    "mnist_1d",
    "multisensory_optimiser",
    "online_sgd",
    "online_theory",
    "order_parameters",
    "plateaus",
    "probit",
    "projected",
    "prune",
    "psychometric",
    "squared_error",
    "storable",
    "store",
    "store_sparsest",
    "store_widest",
    "strength",
    "train",
    "weight_limits",
]

__dir__ = public(__name__)
