"""A composite ensemble of a user's own has all of theory, as the sum that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import meanfield, population, spectra
from jaxnets.couplings import (
    IID,
    DeepHebbian,
    Elliptic,
    Ensemble,
    LowRank,
    RandomModes,
    SingularModes,
    Sum,
)
from jaxnets.transfer import Tanh


class Mixture(Ensemble):
    """0.8 J_a - J_b: a class that the package does not know, which holds ensembles under names of its own."""

    first: Ensemble
    second: Ensemble

    def sum(self):
        return 0.8 * self.first - self.second

    def parts(self):
        return self.sum().parts()

    def sample(self, n, *, key, dtype=None, max_modes=None):
        return self.sum().sample(n, key=key, dtype=dtype, max_modes=max_modes)

    def blocks(self, t12, t21, p, *, physical=False):
        return self.sum().blocks(t12, t21, p, physical=physical)

    def four_point(self, s1, s2):
        return self.sum().four_point(s1, s2)

    variance = lambda self: self.sum().variance()
    fourth_cumulant = lambda self: self.sum().fourth_cumulant()
    rank_fraction = lambda self: self.sum().rank_fraction()
    poles = lambda self: self.sum().poles()
    is_symmetric = lambda self: False


def same(mixture):
    return mixture, mixture.sum()


MEMORYLESS = Mixture(IID(2.0), RandomModes.of_rank(1.5, 0.5))
WITH_LOW_RANK = Mixture(Elliptic(0.5, 0.4), LowRank(-2.0))
SINGULAR = Mixture(SingularModes([0.3, 1.0, 1.6]), IID(0.4))


@pytest.mark.slow
@pytest.mark.parametrize("mixture", [MEMORYLESS, SINGULAR], ids=["modes", "singular"])
def test_its_law(mixture):
    found, expected = (spectra.law(e) for e in same(mixture))
    np.testing.assert_allclose(found.right_edge(), expected.right_edge(), rtol=1e-12)
    z = np.array([0.1, 0.4 + 0.3j, 0.9, 1.2j])
    np.testing.assert_allclose(found.density(z), expected.density(z), rtol=1e-10)
    assert np.all(np.isfinite(found.density(z)))


@pytest.mark.slow
def test_its_void():
    found, expected = (spectra.law(Mixture(SingularModes([1.0, 1.6]), IID(0.1))), spectra.law(SINGULAR.sum()))
    assert found.density(np.array([0.05]))[0] == 0 < expected.density(np.array([0.05]))[0]


def test_its_outliers():
    found, expected = (spectra.outliers(e).values for e in same(WITH_LOW_RANK))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0].real > 2
    nested = Sum((IID(0.3), 2.0 * Mixture(IID(0.3), LowRank(-1.0))))
    flat = IID(0.3) + IID(2 * 0.8 * 0.3) + LowRank(2.0)
    np.testing.assert_allclose(spectra.outliers(nested).values, spectra.outliers(flat).values, rtol=1e-12)


def test_its_site():
    found, expected = (e.site() for e in same(MEMORYLESS))
    np.testing.assert_allclose(found.strength, (0.8 * 2) ** 2 + 1.5**2, rtol=1e-14)
    np.testing.assert_allclose(found.strength, expected.strength)
    assert found.echo is None and not MEMORYLESS.has_memory()
    for kernel in (Elliptic(1.0, 0.3), RandomModes.flat(overlap=0.2), DeepHebbian(hetero=(1.0, 0.5))):
        assert Mixture(IID(1.0), kernel).site() is None and Mixture(kernel, IID(1.0)).has_memory()
    shift = 2.0 * (0.5 * DeepHebbian(0.7, hetero=(1.5,)))
    np.testing.assert_allclose([shift.site().strength, shift.site().echo], [0.7 * 1.5**2, 1.5**2])
    # An echo of only a part: neither a site, nor a memory kernel.
    mixture = Mixture(IID(1.0), DeepHebbian(hetero=(1.0,)))
    assert mixture.site() is None and not mixture.has_memory()


@pytest.mark.slow
def test_its_stationary_state_and_dimension():
    def found(ensemble):
        state = meanfield.stationary(ensemble, Tanh(), num_lags=65)
        assert state.converged
        return state.c_phi, population.dimension(state, ensemble).phi

    for one, other in zip(*(found(e) for e in same(MEMORYLESS)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    np.testing.assert_allclose(*(meanfield.chaos_onset(e, Tanh()).value for e in same(MEMORYLESS)), rtol=1e-10)


def test_its_mean_is_found():
    with pytest.raises(ValueError, match="finite-rank part"):
        meanfield.stationary(WITH_LOW_RANK, Tanh())
    rank = WITH_LOW_RANK.finite_rank()
    np.testing.assert_allclose([rank.overlaps[0, 0], abs(rank.noise[0])], [2.0, 1.0])
    assert WITH_LOW_RANK.bulk().finite_rank().rank == 0 and LowRank(1.0).bulk() is None


@pytest.mark.slow
def test_its_fixed_points():
    found, expected = (meanfield.static_state(e, Tanh()) for e in same(WITH_LOW_RANK))
    assert found.converged
    np.testing.assert_allclose(found.kappa, expected.kappa, rtol=1e-10)
    np.testing.assert_allclose(
        meanfield.static_stability(found).rightmost, meanfield.static_stability(expected).rightmost, rtol=1e-10
    )


def test_its_singular_values():
    scales = jnp.array([0.1, 0.5, 2.0])
    for mixture in (MEMORYLESS, WITH_LOW_RANK):
        found, expected = (spectra.singular_profile(e, scales) for e in same(mixture))
        np.testing.assert_allclose(found.counts, expected.counts, rtol=1e-12)
        np.testing.assert_allclose(found.overlaps, expected.overlaps, rtol=1e-12, atol=1e-14)
    # Singular modes with a part of finite rank: their own values are counted, at any scale.
    values = np.array([0.2, 1.0, 3.0])
    found = spectra.singular_profile(Mixture(SingularModes(values), LowRank(1.0)), scales)
    s2, eta2 = (0.8 * values) ** 2, np.asarray(scales)[:, None] ** 2
    np.testing.assert_allclose(found.counts, np.mean(s2 / (s2 + eta2), axis=1), rtol=1e-12)
    assert SINGULAR.singular_law() is None


def test_modes_of_finite_rank_of_all_parts():
    ensemble = LowRank(3.0, noise=0.5, uniform=True) + 2.0 * (LowRank([[1.0, 2.0], [0.0, -1.0]], uniform=True) + IID())
    modes = ensemble.finite_rank()
    np.testing.assert_allclose(modes.overlaps, [[3, 0, 0], [0, 2, 4], [0, 0, -2]])
    np.testing.assert_allclose(modes.noise, [0.5, 2, 2])
    np.testing.assert_allclose(modes.uniform, [1, 1, 0])
    # The constant columns are one: overlaps of both act on it.
    np.testing.assert_allclose(modes.joint_overlaps(), [[5, 4], [0, -2]])
    assert IID().finite_rank().rank == 0


def test_parts_may_be_traced():
    def strength(q):
        return (q * Mixture(IID(q), RandomModes.of_rank(1.5, 0.5))).site().strength

    value, slope = jax.jit(jax.value_and_grad(strength))(1.2)
    np.testing.assert_allclose(value, 1.2**2 * ((0.8 * 1.2) ** 2 + 1.5**2), rtol=1e-14)
    np.testing.assert_allclose(slope, 4 * 0.64 * 1.2**3 + 2 * 1.2 * 1.5**2, rtol=1e-14)
