"""A number of a paper beside the same number from theory and from samples, with a verdict whether they agree."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike

# A sample may miss the expected value by this many of its standard errors.
ERRORS = 3.0


@dataclass(frozen=True)
class Comparison:
    """One row of the table: a `quantity` in words, its values and a `note`; unknown values are None.

    `tolerance` is the largest difference between theory and the published number: half a unit of the last digit
    printed, or the printed error. The sample is compared with theory, or with the published number where there is no
    theory. The two may differ by three standard errors (`ERRORS`) of the sample and, in addition, by `allowance`, the
    distance of a finite network from N -> infinity.

    Raises `ValueError` if there are not two numbers to compare, and for negative errors.
    """

    quantity: str
    published: float | None = None
    theory: float | None = None
    sample: float | None = None
    sample_error: float = 0.0
    tolerance: float = 0.0
    allowance: float = 0.0
    note: str = ""

    def __post_init__(self):
        if sum(value is not None for value in (self.published, self.theory, self.sample)) < 2:
            raise ValueError(f"`{self.quantity}` must have two numbers at least to compare, got {self}")
        for name in ("tolerance", "allowance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must be a number >= 0, got {getattr(self, name)}")

    @property
    def sample_tolerance(self) -> float:
        """The largest difference of the sample that passes."""
        return self.allowance + ERRORS * self.sample_error


def agrees(row: Comparison) -> bool:
    """Whether theory agrees with the published number of a `row`, and the sample with theory, within their tolerances.

    NaN, in a value or in an error, agrees with nothing.
    """
    expected = row.published if row.theory is None else row.theory
    pairs = [(row.theory, row.published, row.tolerance), (row.sample, expected, row.sample_tolerance)]
    known = [(a, b, within) for a, b, within in pairs if a is not None and b is not None]
    # The last term is for the rounding of numbers that are equal.
    return all(abs(a - b) <= within + 1e-12 * abs(b) for a, b, within in known)


def markdown(rows: Iterable[Comparison]) -> str:
    """The table of all `rows`, a line each, with the verdict at the end."""
    tolerances = ("tolerance of theory", "of sample")
    head = ("quantity", "published", "theory here", "sample here", *tolerances, "verdict", "note")
    lines = [head, tuple("---" for _ in head), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Comparison) -> tuple[str, ...]:
    # Digits down to a tenth of the tolerance or the error that decides.
    judged = row.published is not None and row.theory is not None
    sampled = 0 if row.sample is None else _decimals((row.sample_error or row.allowance) / 10)
    exact = max(_decimals(row.tolerance / 10) if judged else 0, sampled)
    sample = "-"
    if row.sample is not None:
        error = f" ± {row.sample_error:.{sampled}f}" if row.sample_error else ""
        sample = f"{row.sample:.{sampled}f}{error}"
    return (
        row.quantity.replace("|", "\\|"),
        "not known" if row.published is None else f"{row.published:g}",
        "-" if row.theory is None else f"{row.theory:.{exact}f}",
        sample,
        f"{row.tolerance:.2g}" if judged else "-",
        "-" if row.sample is None else f"{row.sample_tolerance:.2g}",
        "agrees" if agrees(row) else "**misses**",
        row.note.replace("|", "\\|"),
    )


def _decimals(size: float) -> int:
    """Places after the point that show a number of this size; 4 where it is not known."""
    return int(min(max(-math.floor(math.log10(size)), 0), 8)) if math.isfinite(size) and size > 0 else 4


def standard_error(values: ArrayLike) -> float:
    """The standard error of the mean of independent values without NaN; 0, for unknown, of a single value."""
    scatter, size = _scatter(values)
    return scatter / math.sqrt(size)


def error_of_one(values: ArrayLike) -> float:
    """The standard error of the mean as a forecast of one more value, as of a single published network."""
    scatter, size = _scatter(values)
    return scatter * math.sqrt(1 + 1 / size)


def _scatter(values: ArrayLike) -> tuple[float, int]:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return (float(np.std(known, ddof=1)) if known.size > 1 else 0.0), max(known.size, 1)
