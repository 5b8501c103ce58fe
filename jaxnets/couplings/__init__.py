"""Random couplings: ensembles with their R-transforms, the operators they sample, and estimates from data."""

from .._public import public
from .cell_types import BlockMeans, CellTypes
from .convolution import Convolution
from .deviations import FiniteSize, finite_size
from .ensemble import Ensemble, FourPoint, Part, Scaled, Sum
from .estimates import (
    DominantMode,
    from_matrix,
    larva_connectome,
    larva_types,
    random_modes_from_matrix,
    singular_mismatch,
)
from .files import MatrixFile, read_matrix, read_types
from .independent import IID, Elliptic
from .modes import DeepHebbian, LowRank, RandomModes
from .operators import Core, Dense, Diagonal, Modes, Operator, Shifts
from .parts import Feedback, FiniteRank, Moments, Site, Stored
from .product import Product
from .singular import SingularModes
from .sparse import Sparse
from .spike_slab import Entropy, SpikeSlab
from .statistics import WeightStatistics, weight_statistics
from .type_modes import TypeModes
from .type_rank import TypeRank
from .type_statistics import TypeStatistics
from .unequal import Profile, TypeGains

__all__ = [
    "IID",
    "BlockMeans",
    "CellTypes",
    "Convolution",
    "Core",
    "DeepHebbian",
    "Dense",
    "Diagonal",
    "DominantMode",
    "Elliptic",
    "Ensemble",
    "Entropy",
    "Feedback",
    "FiniteRank",
    "FiniteSize",
    "FourPoint",
    "LowRank",
    "MatrixFile",
    "Modes",
    "Moments",
    "Operator",
    "Part",
    "Product",
    "Profile",
    "RandomModes",
    "Scaled",
    "Shifts",
    "SingularModes",
    "Site",
    "Sparse",
    "SpikeSlab",
    "Stored",
    "Sum",
    "TypeGains",
    "TypeModes",
    "TypeRank",
    "TypeStatistics",
    "WeightStatistics",
    "finite_size",
    "from_matrix",
    "larva_connectome",
    "larva_types",
    "random_modes_from_matrix",
    "read_matrix",
    "read_types",
    "singular_mismatch",
    "weight_statistics",
]

__dir__ = public(__name__)
