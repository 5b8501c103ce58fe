"""The cost of a sweep before it runs, from one call of each of its programs."""

from typing import NamedTuple

from .computation import computation
from .specification import Sweep, to_text


class Estimate(NamedTuple):
    """The size of a sweep in `points`, `chunks` (files) and `bytes` on disk, and its `seconds` in one process.

    `batches` has the number of points in one call for each combination of static values.
    """

    points: int
    chunks: int
    bytes: int
    seconds: float
    batches: tuple[int, ...]


def estimate(sweep: Sweep) -> Estimate:
    """Size and time of a sweep, measured on one call for each combination of static values, after its compilation.

    Raises `ValueError` for a sweep that cannot be run.
    """
    grid, run = sweep.grid, computation(to_text(sweep))
    plan = run.plan([grid], [[sweep.batch] * grid.combinations], sweep.chunk)
    (batches,) = plan.batches
    calls = [-(-grid.points // batch) for batch in batches]
    return Estimate(
        grid.total,
        grid.combinations * -(-grid.points // plan.chunk),
        sum(grid.points * run.point_bytes(grid, k) for k in range(grid.combinations)),
        sum(count * run.seconds(grid, k, batch) for k, (count, batch) in enumerate(zip(calls, batches, strict=True))),
        batches,
    )
