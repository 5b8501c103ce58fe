"""Eigenvalues of samples in the complex plane, over the density and the boundary that theory predicts."""

import numpy as np
from jaxtyping import Complex, Inexact

from .. import plotting
from ..spectra import SpectralLaw

# Eigenvalues that are drawn as circles, which curves do not hide.
FEW = 100


def draw_plane(
    ax: plotting.Axes,
    values: Complex[np.ndarray, "*batch n"],
    curves: list[np.ndarray],
    law: SpectralLaw,
    grid: int,
) -> None:
    """Points, lines and a shade; `grid` is the number of points of the map of density along the real axis."""
    values = off_zero(values)
    shown = np.concatenate([values, *curves])
    x, y = np.real(shown), np.imag(shown)
    pad = 0.06 * max(np.ptp(x), np.ptp(y))
    re, im = np.linspace(x.min() - pad, x.max() + pad, grid), np.linspace(0, np.abs(y).max() + pad, max(grid // 2, 2))
    upper = np.asarray(law.density(re + 1j * im[:, None]))
    # Conjugate eigenvalues come in pairs.
    plotting.density(re, np.concatenate([-im[:0:-1], im]), np.concatenate([upper[:0:-1], upper]), ax, label=None)
    plotting.boundary(curves, ax)
    if values.size < FEW:
        plotting.marks(values, ax, color=plotting.BLUE)
    else:
        plotting.eigenvalues(values, ax)


def off_zero(values: Inexact[np.ndarray, "*batch n"]) -> Inexact[np.ndarray, " m"]:
    """The values that are not 0 up to rounding: couplings of fewer modes than units have many zeros."""
    values = np.ravel(values)
    return values[np.abs(values) > 1e-6 * np.abs(values).max()]
