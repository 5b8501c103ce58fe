"""Theory and simulation of structured random neural networks: one ensemble, its samples and its N -> infinity limit."""

from . import (
    computations,
    couplings,
    dynamics,
    fitting,
    meanfield,
    memory,
    multistability,
    observables,
    plotting,
    population,
    spectra,
    sweeps,
    transfer,
)

__version__ = "0.1.0"

__all__ = [
    "computations",
    "couplings",
    "dynamics",
    "fitting",
    "meanfield",
    "memory",
    "multistability",
    "observables",
    "plotting",
    "population",
    "spectra",
    "sweeps",
    "transfer",
]
