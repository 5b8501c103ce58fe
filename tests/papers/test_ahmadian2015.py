"""J = M + L X R (Ahmadian, Fumarola & Miller 2015): the support for gains of rows and columns."""

import numpy as np
import pytest

from jaxnets.couplings import CellTypes
from jaxnets.spectra import law

LEFT, RIGHT = np.array([0.6, 1.5]), np.array([1.2, 0.5])
FRACTIONS = np.array([0.4, 0.6])


@pytest.mark.slow
def test_the_radius_and_the_density_of_row_and_column_gains():
    """|z| < (<(l r)^2>)^(1/2), and within radius |z| the fraction n with <(l r)^2 / (|z|^2 + (l r)^2 k)> = 1."""
    spectrum, both = law(CellTypes(FRACTIONS, np.outer(LEFT, RIGHT))), LEFT * RIGHT
    np.testing.assert_allclose(spectrum.right_edge(), np.sqrt(FRACTIONS @ both**2), rtol=1e-10)
    k = np.array([0.05, 0.3])
    # r and k of the same point: one equation, solved by bisection for |z|^2.
    low, high = np.zeros(2), np.full(2, 10.0)
    for _ in range(80):
        middle = (low + high) / 2
        above = (FRACTIONS * both**2 / (middle[:, None] + both**2 * k[:, None])).sum(1) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    inside = (FRACTIONS * low[:, None] / (low[:, None] + both**2 * k[:, None])).sum(1)
    point = spectrum.solve(np.sqrt(low))
    assert np.all(point.inside)
    np.testing.assert_allclose(np.sqrt(low) * np.asarray(point.green), inside, rtol=1e-9)
