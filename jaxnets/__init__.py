"""Theory and simulation of structured random neural networks: one ensemble, its samples and its N -> infinity limit.

Some words mean the same everywhere. `ensemble` is a law of couplings J (see `couplings`), `transfer` the function phi
of each unit (see `transfer`). `key` is a random key of JAX: the same key gives the same numbers. `dtype` is the
precision of the result; None takes the precision of the parameters, or JAX's default. `progress` shows a bar. A solver
returns its solution with `residual`, the largest error left in the equations, and `converged`, which says whether the
residual is small enough. Every result prints its numbers, and `result.to_xarray()` is a dataset with named axes.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        computations,
        couplings,
        dynamics,
        eigen,
        fitting,
        inference,
        layers,
        learning,
        meanfield,
        memory,
        multistability,
        observables,
        plotting,
        population,
        replica,
        spectra,
        sweeps,
        transfer,
    )
    from ._compiled import keep_compiled
    from ._laws import Discrete
    from ._numerics import Root

__version__ = "0.2.0"

__all__ = [
    "Discrete",
    "Root",
    "computations",
    "couplings",
    "dynamics",
    "eigen",
    "fitting",
    "inference",
    "keep_compiled",
    "layers",
    "learning",
    "meanfield",
    "memory",
    "multistability",
    "observables",
    "plotting",
    "population",
    "replica",
    "spectra",
    "sweeps",
    "transfer",
]

# What no room owns: a law that several take as an argument, what all scalar solvers return, and a setting of JAX.
_OWN = {"Discrete": "_laws", "Root": "_numerics", "keep_compiled": "_compiled"}


def __getattr__(name: str):
    """Rooms are imported when they are first named: figures, sweeps and fits need libraries that theory does not."""
    if name in _OWN:
        return getattr(importlib.import_module(f".{_OWN[name]}", __name__), name)
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *__all__]
