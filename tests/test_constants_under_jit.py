"""Answers about constants inside a function that is being compiled, mapped or differentiated: the same as outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import couplings, fitting, meanfield, memory, multistability, population, spectra
from jaxnets.transfer import Tanh

DEEP = couplings.DeepHebbian(0.5, 0.5, (0.6,))
IID = couplings.IID(1.8)
J = np.random.default_rng(0).standard_normal((6, 6)) / np.sqrt(6)


def _static():
    return meanfield.static_state(couplings.IID(0.5) + couplings.LowRank(2.0), Tanh())


CASES = {
    "right edge": lambda: spectra.law(DEEP).right_edge(),
    "right edge with gains": lambda: spectra.law(DEEP, Tanh(), variance=0.5).right_edge(),
    "density": lambda: spectra.law(IID).density(jnp.asarray([0.3 + 0.4j, 3.0])),
    "real crossings": lambda: jnp.nansum(spectra.law(DEEP).real_crossings()),
    "critical value": lambda: spectra.critical_value(lambda g: couplings.IID(g), 0.9).value,
    "outliers": lambda: spectra.outliers(IID + couplings.LowRank(3.0)).values,
    "eigenvalues": lambda: jnp.sort_complex(spectra.eigenvalues(jnp.asarray(J))),
    "onset": lambda: meanfield.chaos_onset(DEEP, Tanh()).value,
    "stationary": lambda: meanfield.stationary(IID, Tanh()).c_phi[0],
    "exponent": lambda: meanfield.largest_lyapunov(meanfield.stationary(IID, Tanh())).value,
    "dimension": lambda: population.dimension(meanfield.stationary(IID, Tanh()), IID).phi,
    "static": lambda: _static().kappa,
    "static stability": lambda: meanfield.static_stability(_static()).edge,
    "capacity": lambda: memory.capacity(couplings.DeepHebbian(0.1, 1.0, (0.0,), symmetric=True), [1.0], 0.2).load,
    "patterns": lambda: multistability.is_stable(J, np.ones((1, 6))),
    "fit": lambda: fitting.fit(lambda p: jnp.sum((p - 1.3) ** 2), jnp.asarray([0.2])).params,
}


QUICK = {"right edge", "critical value", "outliers", "eigenvalues", "patterns", "fit"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_constants(name):
    """`jit` of a function that asks about constants stages no branch that only numbers can decide."""
    alone = jax.tree.map(np.asarray, CASES[name]())
    assert np.all(np.isfinite(alone))
    beside = lambda x: (x, jnp.asarray(CASES[name]()))
    np.testing.assert_allclose(jax.jit(beside)(1.0)[1], alone, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(beside, out_axes=(0, None))(jnp.ones(2))[1], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "ensemble_of",
    [
        lambda g: couplings.Elliptic(g, 1.0),
        lambda g: couplings.RandomModes([g], load=0.5, overlap=1.0),
        pytest.param(lambda g: couplings.DeepHebbian(0.5, g, (0.0,)), marks=pytest.mark.slow),
    ],
)
def test_a_known_symmetry_stays_known(ensemble_of):
    """A strength is traced, the symmetry is not: the spectrum is real, and has a density on the line."""
    density = lambda g: spectra.law(ensemble_of(g)).density(np.array([0.3, 1.2]))
    np.testing.assert_allclose(jax.jit(density)(0.9), density(0.9), rtol=1e-9)
    assert np.all(density(0.9) > 0)
