"""Published figures, computed again: printed numbers stand beside theory and samples from here.

A paper is one module, which ends in its `Paper`: figures by name. (`sequences2022` is long, and `retrieval2022` is a
part of it.) Each figure is a function of sizes and a key, and uses the public functions of the other rooms. Published
numbers agree with `tests/papers`. To add a paper, write its module and list it here.
"""

from .comparison import Comparison, agrees, markdown
from .ensemble2021 import PAPER as ENSEMBLE_2021
from .equilibrium2021 import PAPER as EQUILIBRIUM_2021
from .exponents2020 import PAPER as EXPONENTS_2020
from .geometry2020 import PAPER as GEOMETRY_2020
from .landscape2020 import PAPER as LANDSCAPE_2020
from .layers2020 import PAPER as LAYERS_2020
from .learned2023 import PAPER as LEARNED_2023
from .modes2024 import PAPER as MODES_2024
from .multistability2023 import PAPER as MULTISTABILITY_2023
from .paper import Figure, Paper
from .perceptron2021 import PAPER as PERCEPTRON_2021
from .sequences2022 import PAPER as SEQUENCES_2022
from .symmetric2021 import PAPER as SYMMETRIC_2021
from .waves2024 import PAPER as WAVES_2024

ALL = (
    SEQUENCES_2022,
    SYMMETRIC_2021,
    EQUILIBRIUM_2021,
    MODES_2024,
    MULTISTABILITY_2023,
    LEARNED_2023,
    ENSEMBLE_2021,
    PERCEPTRON_2021,
    LANDSCAPE_2020,
    LAYERS_2020,
    GEOMETRY_2020,
    WAVES_2024,
    EXPONENTS_2020,
)

__all__ = ["ALL", "Comparison", "Figure", "Paper", "agrees", "markdown"]
