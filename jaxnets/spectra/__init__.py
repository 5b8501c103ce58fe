"""Eigenvalues of sampled couplings, and the spectrum that theory predicts for N -> infinity."""

from ..eigen import batched_eigenvalues, eigenvalues
from .curves import Coverage, contains, coverage
from .laws import Outliers, SpectralLaw, critical_value, law, outliers
from .points import quantiles
from .voids import VoidArea, observed_void_area, void_area

__all__ = [
    "Coverage",
    "Outliers",
    "SpectralLaw",
    "VoidArea",
    "batched_eigenvalues",
    "contains",
    "coverage",
    "critical_value",
    "eigenvalues",
    "law",
    "observed_void_area",
    "outliers",
    "quantiles",
    "void_area",
]
