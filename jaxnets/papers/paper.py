"""What a reproduced paper is: figures, each of which knows how to compute itself at two sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..plotting import Axes
from .comparison import Comparison


class Figure(NamedTuple):
    """A drawn figure: its `axes`, what it shows as `caption`, and `comparisons` of numbers read off what it shows."""

    axes: Axes
    caption: str
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Paper:
    """A paper by its `number` at arXiv and its `subject`, and what is computed of it.

    `figures` maps names to functions f(sizes, *, key) of `quick` or `full`, the sizes of networks and grids.

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
