"""The standard error of a mean over time, where samples are correlated.

The scatter of the means of longer and longer blocks stops to grow once blocks are longer than the correlation time
(Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989)). Where that takes longer blocks than there are, neighbouring
blocks are still correlated, and their correlation tells how much is missing.
"""

from types import ModuleType

from jaxtyping import Array, Float

# Blocks whose scatter gives the standard error, which is then known to 1 / sqrt(2 * 15) = 18 %.
BLOCKS = 16

# Largest correlation of neighbouring blocks: beyond it the correlation time is that of the whole series, and any number
# would do. Of series of length T whose correlation decays as exp(-t / tau), stated errors are .99, 1.00, .96, .96 and
# .91 of the true ones (medians of 4000) for T / tau = 640, 160, 40, 20 and 10; .95, .91, .77, .62 and .46 without it.
_LARGEST = 0.7


def error_of_mean(xp: ModuleType, series: Float[Array, "samples k"]) -> Float[Array, " k"]:
    """The standard error of the mean over the first axis, a multiple of 16 samples, by NumPy or by JAX."""
    means = xp.mean(series.reshape(BLOCKS, -1, series.shape[1]), 1)
    away = means - xp.mean(means, 0)[None]
    power = xp.sum(away**2, 0)
    # Deviations from their own mean have correlations that are lower by 1 / 16.
    products = xp.sum(away[1:] * away[:-1], 0) * (BLOCKS / (BLOCKS - 1))
    correlation = products / xp.where(power == 0, xp.ones_like(power), power) + 1 / BLOCKS
    # Neighbours that alternate, as for the exponent of a cycle, leave the scatter of blocks as it is.
    correlation = xp.clip(correlation, 0, _LARGEST)
    return xp.sqrt(power / (BLOCKS - 1) / BLOCKS * (1 + correlation) / (1 - correlation))
