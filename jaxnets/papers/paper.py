"""A reproduced paper: a set of figures, and each figure can compute itself at two sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..plotting import Axes
from .comparison import Comparison


class Figure(NamedTuple):
    """A drawn figure: its `axes`, a `caption`, and `comparisons` of the numbers that it shows."""

    axes: Axes
    caption: str
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Paper:
    """A paper: its `number` at arXiv, its `subject`, and its `figures`.

    `figures` maps names to functions f(sizes, *, key) of `quick` or `full`, the sizes of networks and grids.

    The sizes are the only difference between the two. `companion` is the number of a paper with the same figures, and
    `choices` names the parameters that the paper does not give and that were chosen here.
    """

    number: str
    subject: str
    choices: str
    figures: dict[str, Callable[..., Figure]]
    quick: Any
    full: Any
    companion: str | None = None
