"""Associative memory: what a network that stores patterns recalls, in equilibrium and in time.

`dense` has the memories of sequences with interactions of high order.
"""

from .._public import public
from ..replica import SymmetricCore, symmetric_core
from . import dense
from .courses import RetrievalCourse, retrieval_course
from .equilibrium import ReplicaState, correlation_profile, replica_state, zero_load_overlaps
from .monte_carlo import GlauberRun, glauber
from .patterns import binary, correlated_binary, correlated_gaussian, exponential_correlation, gaussian, hebbian
from .phases import (
    Transition,
    capacity,
    coexistence,
    glass_temperature,
    replicon_temperature,
)
from .regimes import (
    Observation,
    Regime,
    classify,
    instability,
    majority,
    observe,
    packet_speed,
    self_organised_edge,
)
from .sequences import Probability, Retrieval, on_top, retrieval, retrieve, success_probability

__all__ = [
    "GlauberRun",
    "Observation",
    "Probability",
    "Regime",
    "ReplicaState",
    "Retrieval",
    "RetrievalCourse",
    "SymmetricCore",
    "Transition",
    "binary",
    "capacity",
    "classify",
    "coexistence",
    "correlated_binary",
    "correlated_gaussian",
    "correlation_profile",
    "dense",
    "exponential_correlation",
    "gaussian",
    "glass_temperature",
    "glauber",
    "hebbian",
    "instability",
    "majority",
    "observe",
    "on_top",
    "packet_speed",
    "replica_state",
    "replicon_temperature",
    "retrieval",
    "retrieval_course",
    "retrieve",
    "self_organised_edge",
    "success_probability",
    "symmetric_core",
    "zero_load_overlaps",
]

__dir__ = public(__name__)
