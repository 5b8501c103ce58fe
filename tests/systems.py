"""Exactly solvable spectra: formulas in closed form, written so that JAX differentiates them too.

Each `System` is a family of ensembles with the law that others must reproduce. `right_edge` takes the parameters and
the first two moments of the gains (None where it is known for G = 1 only). `radial` gives r^2(n), the squared radius
that holds a fraction n of all eigenvalues, for rotation-invariant spectra.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.couplings import IID, DeepHebbian, Elliptic, Ensemble, RandomModes, SingularModes
from jaxnets.spectra import eigenvalues

GAINS = np.array([0.15, 0.5, 0.9, 0.7])


class System(NamedTuple):
    build: Callable[..., Ensemble]
    params: tuple[float, ...]
    right_edge: Callable
    zero_mass: float = 0.0
    with_gains: bool = False
    radial: Callable | None = None

    def ensemble(self) -> Ensemble:
        return self.build(*self.params)

    def edge(self, params, gains=None):
        """The right edge at any parameters and gains."""
        if gains is None:
            return self.right_edge(*params, 1.0, 1.0)
        return self.right_edge(*params, jnp.mean(gains), jnp.mean(gains**2))

    def ring(self, fractions: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points z inside which those fractions of all eigenvalues lie, and the density there."""
        squares = lambda n: self.radial(n, *self.params)
        slope = jax.vmap(jax.grad(squares))(jnp.asarray(fractions))
        return np.sqrt(squares(fractions)) * np.exp(1j * angles), 1 / (np.pi * np.asarray(slope))


def _shift_and_noise(load, gamma, sigma, m1, m2):
    """Outside, kappa = load gamma^2 / (1 - gamma^2 t^2) + sigma^2 and r = 0."""
    b = (1 + load) * gamma**2 + sigma**2
    square = (b - jnp.sqrt(b**2 - 4 * (sigma * gamma) ** 2)) / (2 * (sigma * gamma) ** 2)
    return 1 / jnp.sqrt(square)


def shift_and_noise_void(load, gamma, sigma):
    """The two radii of the ring void that noise leaves: below, the 1 - load zero eigenvalues have become a disc.

    There |gamma t| > 1: kappa = load gamma^2 / (gamma^2 t^2 - 1) + sigma^2, r = -load / t, and z = (1 - load) / t.
    """
    b = (1 - load) * gamma**2 + sigma**2
    root = np.sqrt(b**2 - 4 * (sigma * gamma) ** 2)
    squares = (b + np.array([root, -root])) / (2 * (sigma * gamma) ** 2)
    return (1 - load) / np.sqrt(squares)


def correlated_modes_density(z, amplitude, load, rho):
    """Inside an ellipse of centre D rho (1 + load), axes D sqrt(load) (1 +- rho^2) (Akemann, Byun & Kang 2021)."""
    x = z / amplitude
    off = 1 - rho**2
    inside = ((x.real - rho * (1 + load)) / (1 + rho**2)) ** 2 + (x.imag / off) ** 2 < load
    return inside / (np.pi * amplitude**2 * off * np.sqrt(4 * np.abs(x) ** 2 + (off * (1 - load)) ** 2))


def _singular_radial(n, values, weights):
    """n = <x^2 / (x^2 + s^2)> solved for x^2 for two values, and r^2 = x^2 (1 - n) / n."""
    a, b = values[0] ** 2, values[1] ** 2
    # (n - 1) y^2 + (n (a + b) - w_a b - w_b a) y + n a b = 0,  y = x^2
    linear = n * (a + b) - weights[0] * b - weights[1] * a
    y = (linear + jnp.sqrt(linear**2 + 4 * (1 - n) * n * a * b)) / (2 * (1 - n))
    return y * (1 - n) / n


_TWO = np.array([0.3, 0.7])

SYSTEMS = {
    "iid": System(
        build=lambda g: IID(g),
        params=(1.3,),
        right_edge=lambda g, m1, m2: g * jnp.sqrt(m2),
        with_gains=True,
        radial=lambda n, g: n * g**2,
    ),
    "elliptic": System(
        build=lambda g, s: Elliptic(g, s),
        params=(1.2, -0.4),
        right_edge=lambda g, s, m1, m2: g * (1 + s),
    ),
    "uncorrelated modes": System(
        build=lambda D, load: RandomModes.flat(D, load),
        params=(1.4, 0.7),
        right_edge=lambda D, load, m1, m2: D * jnp.sqrt(load * m2),
        zero_mass=0.3,
        with_gains=True,
        radial=lambda n, D, load: D**2 * n * (n + load - 1),
    ),
    "correlated modes": System(
        build=lambda D, load, rho: RandomModes.flat(D, load, rho),
        params=(1.4, 0.7, 0.6),
        right_edge=lambda D, load, rho, m1, m2: D * (rho * (1 + load) + jnp.sqrt(load) * (1 + rho**2)),
        zero_mass=0.3,
    ),
    "singular modes": System(
        build=lambda a, b: SingularModes(jnp.stack([jnp.asarray(a), jnp.asarray(b)]), _TWO),
        params=(1.8, 0.4),
        right_edge=lambda a, b, m1, m2: jnp.sqrt((_TWO[0] * a**2 + _TWO[1] * b**2) * m2),
        with_gains=True,
        radial=lambda n, a, b: _singular_radial(n, (a, b), _TWO),
    ),
    "shift": System(
        build=lambda load, gamma: DeepHebbian(load, 0.0, jnp.asarray(gamma)[None]),
        params=(0.6, 1.1),
        right_edge=lambda load, gamma, m1, m2: gamma * jnp.sqrt(load * m2 + m1**2),
        zero_mass=0.4,
        with_gains=True,
        radial=lambda n, load, gamma: (gamma * (2 * n - 1 + load)) ** 2 * n / (n + load),
    ),
    "shift and noise": System(
        build=lambda load, gamma, sigma: DeepHebbian(load, 0.0, jnp.asarray(gamma)[None]) + sigma * IID(1.0),
        params=(0.6, 1.1, 0.15),
        right_edge=_shift_and_noise,
    ),
    "Hopfield": System(
        build=lambda load, c: DeepHebbian(load, c, (0.0,), symmetric=True),
        params=(0.4, 0.8),
        right_edge=lambda load, c, m1, m2: c * (1 + jnp.sqrt(load)) ** 2,
        zero_mass=0.6,
    ),
}


def sampled_eigenvalues(ensemble, gains, n, seeds):
    """Eigenvalues of J diag(gains) for so many samples, (seeds, n); the gains are repeated to n, None for 1."""
    tiled = None if gains is None else np.resize(gains, n)
    sample = jax.jit(lambda key: ensemble.sample(n, key=key))
    return np.stack([eigenvalues(sample(key), tiled) for key in jax.random.split(jax.random.key(1), seeds)])
