"""Associative memory: what a network that stores patterns recalls, in equilibrium and in time."""

from .equilibrium import ReplicaState, SymmetricCore, replica_state, symmetric_core

__all__ = [
    "ReplicaState",
    "SymmetricCore",
    "replica_state",
    "symmetric_core",
]
