"""The spectrum of random couplings and Jacobians for N -> infinity: `law`, and what can be asked of it."""

from .._public import public
from ..eigen import eigenvalues
from .boundary import Coverage, contains, coverage
from .isolated import Outliers, outliers
from .points import quantiles
from .spectral_law import SpectralLaw, critical_value, law
from .voids import observed_void_area, void_area

__all__ = [
    "Coverage",
    "Outliers",
    "SpectralLaw",
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

__dir__ = public(__name__)
