"""Associative memory: stored patterns and the retrieval of sequences of them."""

from .patterns import binary, correlated_binary, correlated_gaussian, exponential_correlation, gaussian, hebbian
from .sequences import Probability, Retrieval, on_top, retrieval, retrieve, success_probability

__all__ = [
    "Probability",
    "Retrieval",
    "binary",
    "correlated_binary",
    "correlated_gaussian",
    "exponential_correlation",
    "gaussian",
    "hebbian",
    "on_top",
    "retrieval",
    "retrieve",
    "success_probability",
]
