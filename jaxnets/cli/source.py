"""Where couplings come from: the options of `--matrix`. JAX is not imported here, so that refusals come at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .refusals import InputError, require_file

SHIPPED = ("larva-left", "larva-right")  # connectomes, by the names that `--matrix` takes
KINDS = ("matrix", "edges")


@dataclass(frozen=True)
class Measured:
    """A measured matrix: a file or a shipped connectome, the factor of its weights, and how the file is read."""

    matrix: str
    scale: float
    transpose: bool
    name: str | None  # of the array, in a file of several
    kind: str | None  # of the table: "matrix" or "edges"
    types: str | None = None  # of the units: a file or a shipped one

    def attributes(self) -> dict[str, Any]:
        """For the outputs."""
        read = {"name": self.name, "kind": self.kind, "types": self.types}
        return {"matrix": self.matrix, "scale": self.scale, "transpose": int(self.transpose)} | {
            key: value for key, value in read.items() if value is not None
        }


def measured(
    matrix: str | None,
    scale: float,
    transpose: bool,
    name: str | None,
    kind: str | None,
    *,
    types: str | None = None,
    given: bool = False,
    options: str = "",
) -> Measured | None:
    """The measured matrix, None if there is none; refuses options without a matrix.

    Couplings come from a matrix or from other `options`, which are `given` or not.
    """
    if matrix is None:
        belonging = {"transpose": transpose, "name": name is not None, "kind": kind is not None}
        belonging |= {"types": types is not None}
        for option, is_given in belonging.items():
            if is_given:
                raise InputError(f"`--{option}` belongs to `--matrix`")
        if scale != 1.0:
            raise InputError("`--scale` belongs to `--matrix`: scale an ensemble as in `0.5 * IID()`")
        return None
    if given:
        raise InputError(f"{options} have no meaning with `--matrix`")
    if kind is not None and kind not in KINDS:
        raise InputError(f"`--kind` must be {' or '.join(KINDS)}, got {kind}")
    if matrix in SHIPPED:
        if name is not None or kind is not None:
            raise InputError(f"`--name` and `--kind` say how a file is read, and {matrix} is none")
    else:
        if not Path(matrix).suffix and not Path(matrix).exists():
            raise InputError(f"`--matrix` must be a file, {' or '.join(SHIPPED)}, got {matrix}")
        require_file(Path(matrix))
    if types is not None and types not in SHIPPED:
        require_file(Path(types))
    return Measured(matrix, scale, transpose, name, kind, types)
