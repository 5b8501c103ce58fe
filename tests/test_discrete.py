"""The law of discrete values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnets as jn
from jaxnets import Discrete

LAW = Discrete([1.0, 2.0, 5.0], [1.0, 1.0, 2.0])


def test_moments():
    np.testing.assert_allclose(LAW.weights, [0.25, 0.25, 0.5])
    assert LAW.moment(0) == pytest.approx(1)
    assert LAW.moment(2) == pytest.approx((1 + 4 + 2 * 25) / 4)
    np.testing.assert_allclose(Discrete([3.0, 1.0]).weights, [0.5, 0.5])


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 5)])
def test_means_along_the_first_axis(shape):
    real, imag = np.random.default_rng(0).normal(size=(2, *shape))
    np.testing.assert_allclose(LAW.mean(jnp.asarray(real)), np.tensordot(LAW.weights, real, 1), rtol=1e-14)
    z = jnp.asarray(real + 1j * imag)
    np.testing.assert_allclose(LAW.mean(z), np.tensordot(LAW.weights, np.asarray(z), 1), rtol=1e-13)


def test_precision_is_that_of_the_values():
    law = Discrete(jnp.ones(2, jnp.float32), np.array([1.0, 3.0]))
    assert law.weights.dtype == law.moment(3).dtype == jnp.float32


def test_traced_values_and_weights():
    def mean(values, weights):
        return Discrete(values, weights).moment(1)

    values, weights = jnp.array([1.0, 2.0]), jnp.array([1.0, 3.0])
    by_values, by_weights = jax.jit(jax.grad(mean, argnums=(0, 1)))(values, weights)
    np.testing.assert_allclose(by_values, [0.25, 0.75])
    # The weights are normalised: d<x>/dw_k = (x_k - <x>) / sum w.
    np.testing.assert_allclose(by_weights, (values - 1.75) / 4)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([],), "values"),
        (([[1.0]],), "values"),
        (([1.0, np.nan],), "values"),
        (([1j],), "values"),
        (([1.0], [1.0, 1.0]), "weights"),
        (([1.0, 2.0], [1.0, -1.0]), "weights"),
        (([1.0, 2.0], [0.0, 0.0]), "weights"),
        (([1.0, 2.0], [np.inf, 1.0]), "weights"),
    ],
)
def test_refusals_name_the_argument(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        Discrete(*arguments)


def test_names_of_the_package():
    assert jn.Discrete is Discrete and {"Discrete", "Root"} <= set(dir(jn))
    found = jn.spectra.critical_value(jn.couplings.IID, 0.9)
    assert isinstance(found, jn.Root)
