"""Random couplings: ensembles with their R-transforms, the operators they sample, and those estimated from data."""

from .._public import public
from .ensembles import IID, Elliptic, Ensemble, FourPoint, Part, Scaled, Sum
from .measured import SingularModes, from_matrix, larva_connectome, random_modes_from_matrix, singular_mismatch
from .modes import DeepHebbian, LowRank, RandomModes
from .operators import Core, Dense, Diagonal, Modes, Operator, Shifts
from .parts import FiniteRank, Site

__all__ = [
    "IID",
    "Core",
    "DeepHebbian",
    "Dense",
    "Diagonal",
    "Elliptic",
    "Ensemble",
    "FiniteRank",
    "FourPoint",
    "LowRank",
    "Modes",
    "Operator",
    "Part",
    "RandomModes",
    "Scaled",
    "Shifts",
    "SingularModes",
    "Site",
    "Sum",
    "from_matrix",
    "larva_connectome",
    "random_modes_from_matrix",
    "singular_mismatch",
]

__dir__ = public(__name__)
