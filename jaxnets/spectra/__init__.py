"""Eigenvalues of sampled couplings, and the spectrum that theory predicts for N -> infinity."""

from .curves import Coverage, contains, coverage
from .eigen import eigenvalues
from .laws import Outliers, SpectralLaw, critical_value, law, outliers

__all__ = [
    "Coverage",
    "Outliers",
    "SpectralLaw",
    "contains",
    "coverage",
    "critical_value",
    "eigenvalues",
    "law",
    "outliers",
]
