"""Equal results found more than once, from many starts: each is kept once."""

import numpy as np
from jaxtyping import Float, Int


def merge(
    points: Float[np.ndarray, "m k"],
    residuals: Float[np.ndarray, " m"],
    same: float,
    *,
    relative: float = 0.0,
    known: Float[np.ndarray, "d k"] | None = None,
) -> tuple[Int[np.ndarray, " new"], Int[np.ndarray, " m"]]:
    """Positions of one representative of each distinct point, and the number of the distinct point of each of `points`.

    Two points are one if no coordinate differs by more than the larger of `same` and `relative` |coordinate|. The
    representative is the point with the smallest residual, the first of them where several have it, and representatives
    stand in the order of their residuals. A residual that is not finite marks a search that found nothing: its number
    is -1.

    Distinct points that are `known` before have the first numbers, in their order, and no representative: the distinct
    points are then `known` followed by `points` at the positions.
    """
    known = np.zeros((0, points.shape[1]), points.dtype) if known is None else known
    distinct = np.concatenate([known, np.zeros_like(points)])
    index = np.full(len(points), -1)
    positions: list[int] = []
    # From the smallest residual up, so that the result does not depend on the order of the starts.
    for i in np.argsort(residuals, kind="stable"):
        if not np.isfinite(residuals[i]):
            break
        count = len(known) + len(positions)
        allowed = np.maximum(same, relative * np.abs(points[i]))
        near = np.flatnonzero(np.all(np.abs(distinct[:count] - points[i]) <= allowed, axis=-1))
        index[i] = near[0] if len(near) else count
        if not len(near):
            distinct[count] = points[i]
            positions.append(int(i))
    return np.array(positions, dtype=int), index
