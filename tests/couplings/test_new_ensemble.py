"""The documentation's ensemble, which the package does not know: theory, networks, fits and sweeps as for its own.

Expected: the product of three Ginibre matrices with inner dimension P = load N has, by the S-transform of J J^T,
F eigenvalues within r(F) = g sqrt(F) (1 - (1 - F) / load), and <s^4> = g^4 (2 + 2 / load) (Fuss and Catalan).
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documents import ROOT
from scipy.integrate import quad
from scipy.optimize import brentq

import jaxnets as jn
from jaxnets import couplings, dynamics, fitting, meanfield, observables, population, spectra, sweeps, transfer

sys.path.insert(0, str(ROOT / "docs"))
from new_ensemble import Relay  # noqa: E402

sys.path.remove(str(ROOT / "docs"))

GAIN, LOAD = 2.0, 0.5
RELAY = Relay(GAIN, LOAD)


def within(r):
    """The fraction of eigenvalues within a radius."""
    return brentq(lambda F: GAIN * F**0.5 * (1 - (1 - F) / LOAD) - r, 1 - LOAD, 1)


def test_it_is_short():
    assert len((ROOT / "docs" / "new_ensemble.py").read_text().splitlines()) < 40


@pytest.mark.slow
def test_a_sample_has_its_moments():
    n = 400
    J = jax.vmap(lambda key: RELAY.sample(n, key=key).dense())(jax.random.split(jax.random.key(0), 4))
    square = np.asarray(jnp.einsum("bij,bij->b", J, J)) / n
    JJ = np.einsum("bij,bkj->bik", J, J)
    fourth = np.einsum("bij,bij->b", JJ, JJ) / n
    # <s^2> and <s^4> have corrections of relative order 1 / P, and scatter by about 1 / P.
    np.testing.assert_allclose(square.mean(), RELAY.variance(), rtol=0.03)
    np.testing.assert_allclose(fourth.mean(), 2 * RELAY.variance() ** 2 + RELAY.fourth_cumulant(), rtol=0.06)
    assert RELAY.effective_rank() == pytest.approx(LOAD / 2)


def test_a_traced_load_samples_the_same_law():
    def mean_square(load):
        J = Relay(GAIN, load).sample(200, key=jax.random.key(1), max_modes=150).dense()
        return jnp.sum(J**2) / 200

    loads = jnp.array([0.25, 0.7])
    np.testing.assert_allclose(jax.jit(jax.vmap(mean_square))(loads), GAIN**2, rtol=0.1)
    rank = np.linalg.matrix_rank(Relay(GAIN, 0.25).sample(80, key=jax.random.key(2), max_modes=50).dense())
    assert rank == 20


def test_its_spectral_law():
    law = spectra.law(RELAY)
    assert law.right_edge() == pytest.approx(GAIN, abs=1e-8)
    assert law.zero_mass() == pytest.approx(1 - LOAD)
    radii = np.array([0.3, 0.8, 1.3, 1.8])
    step = 1e-4
    exact = [(within(r + step) - within(r - step)) / (4 * np.pi * r * step) for r in radii]
    np.testing.assert_allclose(law.density(radii), exact, rtol=1e-6)
    # One sample of 400: 200 eigenvalues that are not 0, whose counts scatter by less than 1% of 400.
    values = np.abs(spectra.eigenvalues(RELAY.sample(400, key=jax.random.key(3))))
    shares = [np.mean(values < r) for r in radii]
    np.testing.assert_allclose(shares, [within(r) for r in radii], atol=0.02)


@pytest.mark.slow
def test_a_sum_with_another():
    other = couplings.DeepHebbian(load=0.3, hetero=(1.0,))
    law = spectra.law(0.5 * RELAY + other)
    values = spectra.eigenvalues((0.5 * RELAY + other).sample(600, key=jax.random.key(4)))
    z = np.linspace(0.3, 1.5, 7)
    inside = [2 * np.pi * quad(lambda r: r * law.density(r), 1e-3, at, epsrel=1e-4)[0] for at in z]
    zeros = np.mean(np.abs(values) < 1e-9)
    shares = [np.mean(np.abs(values) < at) - zeros for at in z]
    np.testing.assert_allclose(shares, inside, atol=0.02)


@pytest.mark.slow
def test_mean_field_is_that_of_its_strength():
    """Without memory kernel, the state of i.i.d. weights, to rounding; also where its fields are traced."""
    found = [
        jax.jit(lambda g, of=of: meanfield.stationary(of(g), transfer.Tanh()).c_phi)(GAIN)
        for of in (lambda g: Relay(g, LOAD), couplings.IID)
    ]
    np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.slow
def test_its_dimension_is_that_of_its_effective_rank():
    def found(ensemble):
        return population.dimension(meanfield.stationary(ensemble, transfer.Tanh()), ensemble).phi

    modes = couplings.RandomModes.of_rank(GAIN, LOAD / 2)
    value, slope = jax.jit(jax.value_and_grad(lambda load: found(Relay(GAIN, load))))(LOAD)
    assert value == pytest.approx(float(found(modes)), rel=1e-6)
    step = 1e-3
    difference = found(Relay(GAIN, LOAD + step)) - found(Relay(GAIN, LOAD - step))
    assert slope == pytest.approx(float(difference) / (2 * step), rel=1e-4)


@pytest.mark.slow
def test_pairs_of_a_linear_network():
    """(1/N) tr F1 F1^T* F2 F2^T*: theory against samples, which correct and scatter by 1 / N."""
    n, s1, s2 = 500, 0.25 + 0.1j, 0.2 - 0.15j
    theory = population.linear_sum(RELAY, s1, s2)

    def measured(key):
        J = np.asarray(RELAY.sample(n, key=key).dense())
        F1, F2 = (np.linalg.inv(np.eye(n) - s * J) for s in (s1, s2))
        return np.sum((F1 @ F1.conj().T) * (F2 @ F2.conj().T).T).real / n

    values = np.array([measured(key) for key in jax.random.split(jax.random.key(5), 8)])
    error = np.std(values) / 8**0.5
    assert abs(values.mean() - theory) < 4 * error + 10 / n
    assert error < 0.03 * abs(theory)


@pytest.mark.slow
def test_state_and_dimension_of_networks():
    tanh, n, interval = transfer.Tanh(), 500, 1.0
    relay = Relay(4.0, 2.0)
    state = meanfield.stationary(relay, tanh)
    theory = 1 / population.dimension(state, relay).phi

    def measured(seed):
        J = relay.sample(n, key=jax.random.key(seed), dtype=jnp.float32)
        starts = jax.random.normal(jax.random.key(100 + seed), (8, n), jnp.float32)
        run = dynamics.simulate(
            dynamics.RateNetwork(J, tanh), starts, duration=200.0, discard=50.0, dt=0.1, save_every=10, progress=False
        )
        found = observables.dimension_estimate(run.rates, interval, correlation_time=4.0)
        return float(jnp.mean(run.rates**2)), float(n / found.value)

    values = np.array([measured(seed) for seed in range(6)])
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / 6**0.5
    # Scatter between networks, and corrections of order 1 / PR, some 5% at twenty dimensions.
    assert abs(mean[0] - state.c_phi[0]) < 4 * error[0] + 0.01
    assert abs(mean[1] - theory) < 4 * error[1] + 0.05 * theory


@pytest.mark.slow
def test_a_fit_finds_its_parameters():
    n = 300
    scales = jnp.geomspace(0.1, 5.0, 8)
    singular = jnp.linalg.svd(RELAY.sample(n, key=jax.random.key(6)).dense(), compute_uv=False)
    counts = spectra.observed_singular_profile(singular, jnp.zeros(n), n, scales).counts
    positive = fitting.Positive()
    fit = fitting.least_squares(
        lambda relay, counts: n * (spectra.singular_profile(relay, scales).counts - counts),
        Relay(1.0, 1.0),
        counts,
        transforms={"g": positive, "load": positive},
    )
    # Counts scatter by a number of order one, for which the fit takes 1.
    assert fit.converged
    assert abs(fit.params.g - GAIN) < 4 * fit.error.g
    assert abs(fit.params.load - LOAD) < 4 * fit.error.load
    assert fit.error.g < 0.1 * GAIN
    assert fit.error.load < 0.05 * LOAD


@pytest.mark.slow
def test_a_sweep_of_a_readers_function(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    sweep = sweeps.Sweep(function="new_sweep:dimension", axes={"g": [2.0, 3.0], "load": [0.5, 2.0]})
    assert sweeps.run(sweep, tmp_path / "out", progress=False).finished
    data = sweeps.open(tmp_path / "out")
    assert bool(data.converged.all())
    relay = Relay(3.0, 2.0)
    alone = population.dimension(meanfield.stationary(relay, transfer.Tanh()), relay).phi
    assert float(data.dimension.sel(g=3.0, load=2.0)) == pytest.approx(float(alone), rel=1e-9)


def test_it_is_no_class_of_the_package():
    assert "Relay" not in vars(jn.couplings)
