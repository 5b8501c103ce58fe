"""Spikes and slabs: samples have the moments and the zeros of their law, and theory is that of the moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import spectra
from jaxnets.couplings import SpikeSlab

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def trained(rows, columns):
    """Weights as training leaves them: some sure, some sure to be absent, slabs of all widths and of none."""
    mean = RNG.normal(size=(rows, columns)) / columns**0.5
    sparsity = RNG.choice([0.0, 1.0, 0.3, 0.9], (rows, columns))
    return SpikeSlab(mean, sparsity, RNG.exponential(0.3 / columns, (rows, columns)) * RNG.integers(0, 2, mean.shape))


def test_moments_and_zeros_of_samples():
    law = trained(3, 5)
    samples = np.asarray(jax.vmap(lambda key: law.draw(key=key))(jax.random.split(KEY, 20_000)))
    mean, variance = law.moments()
    error = np.sqrt(np.asarray(variance) / 20_000)
    assert np.all(np.abs(samples.mean(0) - mean) <= 5 * error + 1e-12)
    spread = samples.var(0)
    fourth = np.mean((samples - samples.mean(0)) ** 4, 0)
    assert np.all(np.abs(spread - variance) <= 5 * np.sqrt(np.maximum(fourth - spread**2, 0) / 20_000) + 1e-15)
    absent, p = np.mean(samples == 0, 0), np.asarray(law.sparsity)
    assert np.all(np.abs(absent - p) <= 5 * np.sqrt(p * (1 - p) / 20_000))


def test_entropy():
    found = SpikeSlab([[1.0, 0.0]], [[0.5, 0.0]], [[0.25, 0.0]]).entropy()
    np.testing.assert_allclose(found.spike, [[np.log(2), 0]])
    np.testing.assert_allclose(found.slab, [[np.log(2 * np.pi * np.e * v) / 2 for v in (0.25, 1e-4)]])


def test_its_theory_is_that_of_its_moments():
    """Half of the weights absent: a disc whose radius is the root of half the variance."""
    n = 12
    law = spectra.law(SpikeSlab(np.zeros((n, n)), 0.5, 1 / n))
    np.testing.assert_allclose(law.right_edge(), 0.5**0.5, rtol=1e-6)


def test_draws_are_differentiable_where_nothing_varies():
    def total(variance):
        return jnp.sum(SpikeSlab(jnp.ones((2, 2)), 0.0, variance).draw(key=KEY))

    slopes = jax.grad(total)(jnp.array([[0.0, 1.0], [4.0, 0.0]]))
    assert np.all(np.isfinite(slopes)) and slopes[0, 0] == 0 != slopes[0, 1]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: SpikeSlab(1.0, 0.5, 1.0), "matrices of one shape, got shapes"),
        (lambda: SpikeSlab(np.ones((2, 2)), np.ones((2, 3)), 1.0), "matrices of one shape, got shapes"),
        (lambda: SpikeSlab(np.ones(3), 0.0, 1.0), "matrices of one shape, got shapes"),
        (lambda: SpikeSlab(np.ones((2, 2)), 1.5, 1.0), "`sparsity` must be probabilities from 0 to 1, got 1.5"),
        (lambda: SpikeSlab(np.ones((2, 2)), 0.0, -1.0), "`variance` must be finite numbers >= 0"),
        (lambda: SpikeSlab([[np.nan]], 0.0, 1.0), "`mean` must be finite"),
        (lambda: SpikeSlab(np.ones((2, 3)), 0.0, 1.0).variance(), "no spectrum"),
        (lambda: SpikeSlab(np.ones((2, 2)), 0.0, 1.0).sample(3, key=KEY), "`n` must be the size"),
        (lambda: SpikeSlab(np.ones((2, 2)), 0.0, 1.0).draw(key=1), "`key`"),
        (lambda: spectra.outliers(SpikeSlab(RNG.normal(size=(40, 40)), 0.5, 0.01)), "few modes here, got about"),
        (lambda: spectra.law(SpikeSlab(RNG.normal(size=(40, 40)), 0.5, 0.01), tau=2.0), "`gains`, `variance`"),
    ],
)
def test_bad_arguments(call, says):
    with pytest.raises(ValueError, match=says):
        call()
