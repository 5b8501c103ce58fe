r"""The density on the real line, for units with types or time constants whose J is symmetric.

$$ t_a = \Big\langle \frac{G}{\zeta(x) - G\, r_a(t)} \Big\rangle_a, \quad \operatorname{Im} t_a \le 0, \qquad
   \rho(x) = -\frac1\pi \operatorname{Im} \sum_a f_a \Big\langle \frac{\tau}{\zeta - G\, r_a} \Big\rangle_a $$
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._numerics import as_complex, frozen, polish_root
from ...couplings import Ensemble
from .. import tolerances
from .outside import conditions, field_r, followed
from .units import Units


def line_density(ensemble: Ensemble, units: Units, x: Float[Array, ""]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """Density per unit length at real x for symmetric J and G >= 0, and whether it was found; differentiable.

    The solution with Im t < 0 is unique where it exists; elsewhere t is real and m < 1.
    """
    z = as_complex(x)
    fixed_ensemble, fixed_units, at = frozen((ensemble, units, z))
    scale = jnp.sqrt(fixed_ensemble.variance())

    def attempt(carry):
        trial, t, eta, _ = carry
        steps = tolerances.LINE_DAMPED * 2**trial
        ratio = jnp.exp(-jnp.log(tolerances.REGULARISER) / steps.astype(float)).astype(scale.dtype)

        def damped(_, carry):
            t, eta = carry
            mean = jnp.sum(_response(fixed_ensemble, fixed_units, at, t, eta)[0], axis=-1)
            return (t + mean) / 2, eta * ratio

        t, eta = jax.lax.fori_loop(0, steps, damped, (t, eta))
        root, miss = followed(fixed_ensemble, fixed_units, at, t, tolerances.SOLVE_STEPS)
        dense = jnp.min(-root.imag * scale) > tolerances.LINE_POSITIVE
        _, m = conditions(fixed_ensemble, fixed_units, at, root)
        # As in `inside.line_density`: off the support the imaginary part has fallen with eta.
        off = (m < 1 + tolerances.LINE_MARGIN) & (jnp.max(-t.imag) * scale < tolerances.LINE_DECAYED)
        good = (miss < tolerances.LINE_RESIDUAL) & (dense | off)
        return trial + 1, jnp.where(good, root, t), eta, good

    start = jax.lax.complex(jnp.zeros_like(units.fractions), jnp.full_like(units.fractions, -1 / scale))
    state = jnp.zeros((), int), start, jnp.ones_like(scale), jnp.zeros((), bool)
    unfinished = lambda carry: ~carry[-1] & (carry[0] < tolerances.LINE_ATTEMPTS)
    _, t, _, found = jax.lax.while_loop(unfinished, attempt, state)
    root = polish_root(_equations, jnp.concatenate([t.real, t.imag]), (ensemble, units, z))
    t = jax.lax.complex(*jnp.split(root.value, 2))
    _, green = _response(ensemble, units, z, t, jnp.zeros_like(scale))
    return jnp.maximum(-units.total(jnp.sum(green, axis=-1)).imag / jnp.pi, 0), found


def _response(ensemble, units, z, t, eta):
    """Weighted G / (zeta + i eta - G r) and tau / (zeta + i eta - G r)."""
    g, weights = as_complex(units.gains), as_complex(units.weights)
    zeta = units.zeta(z) + jax.lax.complex(jnp.zeros_like(units.tau), eta * jnp.ones_like(units.tau))
    inverse = weights / (zeta - g * field_r(ensemble, units, t)[:, None])
    return g * inverse, as_complex(units.tau) * inverse


def _equations(y, args):
    ensemble, units, z = args
    error, _ = conditions(ensemble, units, z, jax.lax.complex(*jnp.split(y, 2)))
    return jnp.concatenate([error.real, error.imag])
