"""What a reproduced paper is: figures, each of which knows how to compute itself at two sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..plotting import Axes
from .comparison import Comparison


class Figure(NamedTuple):
    """A drawn figure, what it shows, and the numbers read off what it shows."""

    axes: Axes
    caption: str
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Paper:
    """`figures` maps names to functions f(sizes, *, key) of `quick` or `full`, the sizes of networks and grids.

    The sizes are the only difference between the two. `companion` is the number of a paper with the same figures, and
    `choices` says what was chosen where the parameters of a figure are not known.
    """

    number: str
    subject: str
    choices: str
    figures: dict[str, Callable[..., Figure]]
    quick: Any
    full: Any
    companion: str | None = None
