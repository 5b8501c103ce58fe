"""The spectrum of random couplings and Jacobians for N -> infinity: `law`, and what can be asked of it."""

from .._public import public
from ..eigen import eigenvalues
from .boundary import Coverage, contains, coverage
from .isolated import Outliers, outliers
from .points import quantiles
from .profile import ProfileLaw
from .singular import (
    EstimatedSingularProfile,
    SingularProfile,
    estimated_singular_profile,
    observed_singular_profile,
    singular_profile,
)
from .spectral_law import SpectralLaw, critical_value, law
from .types.atoms import Atoms
from .types.edges import TypedEdge
from .types.inside import TypedPoint
from .types.law import TypedLaw
from .types.units import Units
from .voids import observed_void_area, void_area

__all__ = [
    "Atoms",
    "Coverage",
    "EstimatedSingularProfile",
    "Outliers",
    "ProfileLaw",
    "SingularProfile",
    "SpectralLaw",
    "TypedEdge",
    "TypedLaw",
    "TypedPoint",
    "Units",
    "contains",
    "coverage",
    "critical_value",
    "eigenvalues",
    "estimated_singular_profile",
    "law",
    "observed_singular_profile",
    "observed_void_area",
    "outliers",
    "quantiles",
    "singular_profile",
    "void_area",
]

__dir__ = public(__name__)
