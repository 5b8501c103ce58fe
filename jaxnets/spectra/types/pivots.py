r"""Singular modes beside types: the coordinate in which their h is one smooth function, and their void.

Each such part sees the means of u and v over types. With p the product of these means,

$$ p = c\, m^2, \qquad h = \Big\langle \frac{s^2}{1 + s^2 c} \Big\rangle \Big/ m^2, \qquad
   m = \Big\langle \frac{1}{1 + s^2 c} \Big\rangle $$

where c > 0 goes to infinity towards the void (`spectra.inside`, of one type).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._laws import Discrete
from ..._numerics import as_complex
from ...couplings import IID, Ensemble
from ..inside import chart_of, pivot_means, reserve
from .outside import r_and_kappa
from .units import Units


class Pivots(eqx.Module):
    """The laws of singular values of parts of singular modes, and the rest of an ensemble."""

    laws: tuple[Discrete, ...]
    rest: Ensemble

    @classmethod
    def of(cls, ensemble: Ensemble) -> "Pivots":
        chart = chart_of(ensemble)
        if not chart.pivots:
            return cls((), ensemble)
        return cls(chart.pivots, IID(jnp.zeros_like(ensemble.variance())) if chart.rest is None else chart.rest)

    def at(self, c: Float[Array, " q"]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " k"]]:
        """p, the sum of all h, and by how much the p of further parts exceed the first."""
        if not self.laws:
            return c[0], jnp.zeros_like(c[0]), c[1:]
        m, w = jnp.stack([jnp.stack(pivot_means(law, c[k])) for k, law in enumerate(self.laws)], axis=1)
        p = c * m**2
        return p[0], jnp.sum(w / m**2), p[1:] - p[0]


def inner_void(ensemble: Ensemble, units: Units) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Centre and radius of the disc that invertible singular modes keep free of eigenvalues, or radius 0.

    $$ \sum_a f_a \Big\langle \Big| \frac{\zeta}{G} - r_a \Big|^2 \Big\rangle_a + \sum_{ab} f_a\, \kappa_{ab}
       = \langle s^{-2} \rangle^{-1} $$

    with r and kappa of the rest of the ensemble at t = 0. Source: derived here, as the limit c to infinity.
    """
    pivots, f = Pivots.of(ensemble), units.fractions
    if not pivots.laws:
        return jnp.zeros_like(f[0]), jnp.zeros_like(f[0])
    r, kappa = r_and_kappa(pivots.rest, f, as_complex(jnp.zeros_like(f)))
    used = units.weights > 0
    invertible = jnp.all((units.gains != 0) | ~used)
    inverse = 1 / jnp.where(units.gains == 0, 1, units.gains)
    at_zero, slope = units.decay * inverse - r.real[:, None], units.tau * inverse
    mean = lambda of: units.total(units.mean(of))
    b = mean(slope**2)
    centre = -mean(slope * at_zero) / b
    left = reserve(pivots.laws) - units.total(jnp.sum(kappa, axis=1)) - mean(at_zero**2)
    square = left / b + centre**2
    open_ = invertible & (square > 0)
    return centre, jnp.where(open_, jnp.sqrt(jnp.where(open_, square, 1)), 0)
