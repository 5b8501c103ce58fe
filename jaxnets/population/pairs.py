r"""Pairs of units at two frequencies: the integrand of (1/N) sum_ij C_ij(tau)^2.

`alike` is for units that differ in nothing but their couplings, of any ensemble; `unlike` for units with row gains. A
further kind of unit is a further function that returns `Pairs`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._numerics import as_complex, square_modulus
from ..couplings import Ensemble
from ..meanfield import Stationary, Units
from ..meanfield.unit.response import r_and_power
from .sums import four_point_sums


class Pairs(NamedTuple):
    """(1/N) tr C(w_1) C(w_2) of rates and of states, in two parts: from single units, and added by pairs."""

    response: Callable[[Float[Array, "..."]], Complex[Array, "..."]]  # S(w), or its root mean square over units
    power: Callable[[Complex[Array, ""]], Float[Array, ""]]  # what |S|^2 makes of a perturbation, below 1
    functions: Float[Array, "s T"]  # the C(tau) that both parts are made of
    single: Callable[[Float[Array, "s L"]], Float[Array, "2 L"]]  # C(tau)^2 averaged over units, from these
    added: Callable[..., Float[Array, " 2"]]  # at (w_1, w_2, S_1, S_2, spectra at w_1, spectra at w_2)


def alike(state: Stationary, ensemble: Ensemble) -> Pairs:
    """Pairs of units that are all alike."""
    noise = 2 * state.noise**2

    def added(w1, w2, s1, s2, c1, c2):
        """C C (K - 1)."""
        z1, z2 = noise / ((1 + w1**2) * c1[1]), noise / ((1 + w2**2) * c2[1])
        return c1 * c2 * (jnp.stack(four_point_sums(ensemble, s1, s2, z1, z2)) - 1)

    return Pairs(
        state.response, lambda s: r_and_power(ensemble, s)[1], jnp.stack([state.c_phi, state.c_x]), jnp.square, added
    )


def unlike(units: Units, ensemble: Ensemble, W2_phi: Float[Array, " K"], W2_x: Float[Array, " K"]) -> Pairs:
    r"""Pairs of units of response s_i = gamma_i beta_i / (1 + i w), without memory kernel, with output weights W_i.

    With q = g^2 <conj(s_1) s_2>, C_i the spectra of rates, U = g^2 <C> / (1 + w^2) the spectrum of u, and
    y_i = W_i gamma_i,

    $$ \frac1N \sum_{ij} W_i^2 W_j^2\, C^\phi_{ij} C^\phi_{ji} = \Big\langle C_1 C_2\, \Big| W^2
       + \frac{g^2 \langle W^2 \bar s_1 s_2 \rangle}{1 - q} \Big|^2 \Big\rangle + \frac{g^4}{\mathrm{PR}^D}
       \langle C_1 \rangle \langle C_2 \rangle \Big| \frac{\langle W^2 \bar s_1 s_2 \rangle}{1 - q} \Big|^2, $$

    $$ \frac{1}{U_1 U_2} \frac1N \sum_{ij} W_i^2 W_j^2\, C^x_{ij} C^x_{ji} = \langle y^4 \rangle
       + \Big( \frac{\langle C_1 C_2 \rangle}{\langle C_1 \rangle \langle C_2 \rangle} + \frac{1}{\mathrm{PR}^D} \Big)
       \Big| \frac{\langle y^2 \rangle}{1 - q} \Big|^2
       + 2\, \mathrm{Re}\, \frac{g^2 \langle y^2 \bar s_1 s_2 \rangle \langle y^2 \rangle}{1 - q} $$

    where C_i = c_i + |s_i|^2 g^2 <C>. The second line is the first one for x = gamma (F - 1) phi_0 / s.
    """
    g2, fourth = ensemble.variance(), ensemble.fourth_cumulant()
    mean = units.gains.mean
    slope2 = (units.gains.values * units.beta) ** 2
    power, y2 = mean(slope2), W2_x * units.gains.values**2
    share_phi, share_x = mean(W2_phi * slope2) / power, mean(y2 * slope2) / power

    def response(w):
        return as_complex(jnp.sqrt(power)) / jax.lax.complex(jnp.ones_like(w), w)

    def single(c):
        return jnp.stack([mean(W2_phi[:, None] ** 2 * c[:-1] ** 2), mean(y2**2) * c[-1] ** 2])

    def added(w1, w2, s1, s2, c1, c2):
        C1, C2, U1, U2 = c1[:-1], c2[:-1], c1[-1], c2[-1]
        both = jnp.conj(s1) * s2  # the mean of conj(s_1) s_2
        closed = 1 / (1 - as_complex(g2) * both)
        turn = 2 * g2 * (both * closed).real
        many, few = mean(C1 * C2), mean(C1) * mean(C2)
        bridge = (g2**2 * many + fourth * few) * square_modulus(closed)
        phi = mean(C1 * C2 * W2_phi) * share_phi * turn + bridge * share_phi**2 * square_modulus(both)
        x = bridge * mean(y2) ** 2 / ((1 + w1**2) * (1 + w2**2)) + U1 * U2 * mean(y2) * share_x * turn
        return jnp.stack([phi, x])

    field = mean(units.c_x) / mean(units.gains.values**2)
    return Pairs(response, lambda s: g2 * square_modulus(s), jnp.concatenate([units.c_phi, field[None]]), single, added)
