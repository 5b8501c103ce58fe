"""Long sequence memories: one-step errors of Chaudhry et al. 2023 (arXiv 2306.04532)."""

import jax
import numpy as np
import pytest

from jaxnets.memory import dense


@pytest.mark.parametrize("order, n, num, printed", [(1, 200, 60, 0.033), (2, 100, 900, 0.0252)])
def test_one_step_errors(order, n, num, printed):
    interaction = dense.Polynomial(order)
    sampled = dense.sampled_bit_error(interaction, n, num, num_networks=20, key=jax.random.key(0), progress=False)
    for theory in (dense.gaussian_bit_error(interaction, n, num), dense.bit_error(interaction, n, num)):
        np.testing.assert_allclose(theory, printed, rtol=0.1)
        np.testing.assert_allclose(theory, sampled.value, rtol=0.1)


def test_the_capacity_grows_as_a_power_and_exponentially():
    """P ~ n^order at a fixed error, and a constant factor for each unit of the exponential network."""
    for order in (1, 2, 3):
        small, large = (dense.gaussian_capacity(dense.Polynomial(order), n, error_rate=1e-3) for n in (1000, 2000))
        np.testing.assert_allclose(np.log2(large / small), order, atol=0.02)
    ratios = [dense.gaussian_capacity(dense.Exponential(), n + 1, error_rate=1e-3) for n in (100, 101, 102)]
    # exp(2) / cosh(2), for large n.
    np.testing.assert_allclose(np.diff(np.log(ratios)), 2 - np.log(np.cosh(2)), atol=1e-3)
