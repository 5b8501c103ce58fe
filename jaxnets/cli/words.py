"""The words that options take: types that tyro reads fast, and what a command returns."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

from tyro.constructors import PrimitiveConstructorSpec

Work = Callable[[], int | None]


def _several(kind: type) -> PrimitiveConstructorSpec[Any]:
    """Words of one kind as a tuple. For `tuple[kind, ...]` tyro imports typeguard, and takes twice as long."""
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{'TEXT' if kind is str else kind.__name__.upper()} ...]",
        instance_from_str=lambda words: tuple(map(kind, words)),
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(part, kind) for part in value),
        str_from_instance=lambda value: [str(part) for part in value],
    )


# For `X | None`, too, tyro imports typeguard.
MaybeText = Optional[str]  # noqa: UP045
MaybeInteger = Optional[int]  # noqa: UP045
MaybeFloat = Optional[float]  # noqa: UP045
MaybePath = Optional[Path]  # noqa: UP045
if TYPE_CHECKING:
    Floats = tuple[float, ...]
    Integers = tuple[int, ...]
    Texts = tuple[str, ...]
else:
    Floats, Integers, Texts = (Annotated[object, _several(kind)] for kind in (float, int, str))
