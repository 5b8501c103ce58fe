"""Associative memory: what a network that stores patterns recalls, in equilibrium and in time."""

from .equilibrium import ReplicaState, SymmetricCore, replica_state, symmetric_core
from .monte_carlo import GlauberRun, glauber
from .phases import (
    Transition,
    capacity,
    coexistence,
    correlation_profile,
    glass_temperature,
    replicon_temperature,
    zero_load_overlaps,
)

__all__ = [
    "GlauberRun",
    "ReplicaState",
    "SymmetricCore",
    "Transition",
    "capacity",
    "coexistence",
    "correlation_profile",
    "glass_temperature",
    "glauber",
    "replica_state",
    "replicon_temperature",
    "symmetric_core",
    "zero_load_overlaps",
]
