"""Random couplings: ensembles with their R-transforms, the operators they sample, and those estimated from data."""

from .ensembles import IID, DeepHebbian, Elliptic, Ensemble, LowRank, RandomModes, Scaled, Sum
from .measured import SingularModes, from_matrix, larva_connectome, random_modes_from_matrix
from .operators import Dense, Modes, Operator

__all__ = ["IID", "SingularModes", "DeepHebbian", "Dense", "Elliptic", "Ensemble", "LowRank", "Modes", "Operator", "RandomModes", "Scaled", "Sum"]
