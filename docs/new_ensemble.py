import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

import jaxnets as jn


class Relay(jn.couplings.Ensemble):
    """J = g A B C / (P sqrt N): each weight runs through two populations of P = load N relay units."""

    g: Array = eqx.field(converter=jnp.asarray)
    load: Array = eqx.field(converter=jnp.asarray)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        modes = jnp.round(self.load * n)
        columns = int(modes) if max_modes is None else max_modes  # of a traced load: the last ones are silent
        used = (jnp.arange(columns, dtype=modes.dtype) < modes)[None]
        shapes = (n, columns), (columns, columns), (columns, n)
        A, B, C = map(lambda k, shape: jax.random.normal(k, shape, dtype), jax.random.split(key, 3), shapes)
        core = jn.couplings.Diagonal(jnp.full(columns, self.g * n**0.5 / modes, A.dtype))
        return jn.couplings.Modes(jnp.where(used, A, 0), (jnp.where(used, B, 0) @ C).T, core)

    def blocks(self, t12, t21, p, *, physical=False):
        g2, load, p = (x.astype(t21.dtype) for x in (self.g**2, self.load, p))
        h = g2 * (2 / (1 + jnp.sqrt(1 - 4 * g2 * p / load))) ** 2
        return jnp.zeros_like(h), jnp.zeros_like(h), h

    def four_point(self, s1, s2):
        kappa, b = self.variance().astype(s1.dtype), self.fourth_cumulant().astype(s1.dtype)
        return jn.couplings.FourPoint(kappa, 0 * kappa, 0 * kappa, 0 * kappa, b)

    variance = lambda self: self.g**2
    fourth_cumulant = lambda self: 2 * self.g**4 / self.load
    rank_fraction = lambda self: self.load
    poles = lambda self: jnp.zeros(1, complex)  # r and kappa are finite everywhere
    is_symmetric = lambda self: False
    is_memoryless = lambda self: True  # r = 0, and kappa = g^2 everywhere
