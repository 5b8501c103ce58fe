"""Equal results found more than once, from many starts: each is kept once."""

import numpy as np
from jaxtyping import Float, Int


def merge(
    points: Float[np.ndarray, "m k"], residuals: Float[np.ndarray, " m"], same: float, *, relative: float = 0.0
) -> tuple[Int[np.ndarray, " d"], Int[np.ndarray, " m"]]:
    """Positions of one representative of each distinct point, and to which of them each of ``points`` belongs.

    Two points are one if no coordinate differs by more than `same` + `relative` |coordinate|. The representative is
    the point with the smallest residual, and representatives stand in the order of their residuals. A residual that is
    not finite marks a search that found nothing: its index is -1.
    """
    index = np.full(len(points), -1)
    kept: list[int] = []
    # From the smallest residual up, so that the result does not depend on the order of the starts.
    for i in np.argsort(residuals, kind="stable"):
        if not np.isfinite(residuals[i]):
            break
        allowed = same + relative * np.abs(points[i])
        near = np.flatnonzero(np.all(np.abs(points[kept] - points[i]) <= allowed, axis=-1))
        index[i] = near[0] if len(near) else len(kept)
        if not len(near):
            kept.append(int(i))
    return np.array(kept, dtype=int), index
