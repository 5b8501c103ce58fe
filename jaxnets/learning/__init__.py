"""Weights that learn patterns: what one unit asks of its weights, and networks that hold given patterns.

Each unit is a perceptron with bounds on its weights (`constraints`), a network is one perceptron for each unit
(`design`). A soft committee of modes learns a teacher from a stream of samples (`committee`). Layers of modes
(`modes`), recurrent networks of spike-and-slab weights (`spike_slab`) and rate networks (`recurrent`) are trained on
samples (`tasks`) or on trials in time (`trials`) by one loop (`training`). Another learning problem gets a module of
its own here.

The binary perceptron has a theory (`perceptron`), messages and solutions of given patterns (`messages`, `landscape`),
and so has Gardner's (`perceptron_spherical`). Ising models (`ising`) are fitted to solutions, or to recordings
(`ising_fits`).
"""

from .._public import public
from .attacks import ReadoutNetwork, Robustness, local_errors, robustness
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
from .ising import EntropyCurve, Ising, IsingState
from .ising_fits import (
    IsingFit,
    binarise,
    maximum_entropy,
    naive_mean_field,
    pseudo_likelihood,
    pseudo_likelihood_error,
)
from .landscape import Annealed, Clusters, SolutionSet, anneal, clusters, solutions
from .messages import Messages, amp, belief_propagation
from .modes import ModeLinear, ModeNetwork, importance, prune, strength
from .perceptron import BinaryPerceptron, Neighbours, PerceptronState
from .perceptron_spherical import Capacity, SphericalPerceptron, SphericalState
from .psychometrics import Psychometric, best_width, probit, psychometric
from .recurrent import RecurrentNetwork, Signed
from .spike_slab import SpikeSlabRNN, clip_spectral, except_sparsity, multisensory_optimiser, projected
from .tasks import Samples, Split, accuracy, digit_rows, digits, mnist_1d
from .training import Trained, minibatches, train
from .trials import DelayedMatch, Multisensory, Sine, Task, Trials, squared_error

__all__ = [
    "Annealed",
    "BinaryPerceptron",
    "Capacity",
    "Certificate",
    "Clusters",
    "Committee",
    "DelayedMatch",
    "EntropyCurve",
    "FREE",
    "Ising",
    "IsingFit",
    "IsingState",
    "LearningRates",
    "Margin",
    "Messages",
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
    "ReadoutNetwork",
    "Robustness",
    "Samples",
    "Signed",
    "Sine",
    "SolutionSet",
    "SphericalPerceptron",
    "SphericalState",
    "SpikeSlabRNN",
    "Split",
    "Storable",
    "Storage",
    "Task",
    "Trained",
    "Trials",
    "accuracy",
    "amp",
    "anneal",
    "belief_propagation",
    "best_width",
    "binarise",
    "clip_spectral",
    "clusters",
    "compose",
    "digit_rows",
    "digits",
    "except_sparsity",
    "explain",
    "factorise",
    "generalisation_error",
    "importance",
    "largest_margin",
    "local_errors",
    "margin_limit",
    "maximum_entropy",
    "minibatches",
    "mnist_1d",
    "multisensory_optimiser",
    "naive_mean_field",
    "online_sgd",
    "online_theory",
    "order_parameters",
    "plateaus",
    "probit",
    "projected",
    "robustness",
    "prune",
    "pseudo_likelihood",
    "pseudo_likelihood_error",
    "psychometric",
    "solutions",
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
