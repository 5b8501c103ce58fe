"""Convolutions on a ring: the matrix, its exact spectrum, unitary ones, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxnets.couplings import Convolution
from jaxnets.dynamics import RateNetwork
from jaxnets.eigen import eigenvalues
from jaxnets.transfer import Tanh

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal(7)
COMPLEX = REAL + 1j * RNG.standard_normal(7)


@pytest.mark.parametrize("kernel", [REAL, COMPLEX, REAL[:6], COMPLEX[:1]])
def test_the_matrix_and_its_spectrum(kernel):
    J, n = Convolution(kernel), len(kernel)
    expected = np.array([[kernel[(i - j) % n] for j in range(n)] for i in range(n)])
    np.testing.assert_allclose(J.dense(), expected)
    np.testing.assert_allclose(J.T.dense(), expected.T)
    np.testing.assert_allclose((2.0 * J).dense(), 2 * expected)
    x = RNG.standard_normal((n, 3)).astype(kernel.dtype)
    np.testing.assert_allclose(J @ x, expected @ x, atol=1e-13)
    np.testing.assert_allclose(J @ x[:, 0], expected @ x[:, 0], atol=1e-13)
    order = lambda z: np.sort_complex(np.round(np.asarray(z), 9))
    np.testing.assert_allclose(order(eigenvalues(J)), order(np.linalg.eigvals(expected)), atol=1e-8)


def test_batches_and_precision():
    J = jax.vmap(Convolution)(jnp.asarray(np.stack([REAL, 2 * REAL])))
    assert J.shape == (2, 7, 7) and J.dense().shape == (2, 7, 7)
    np.testing.assert_allclose(eigenvalues(J)[1], 2 * eigenvalues(J)[0])
    single = Convolution(REAL.astype(np.float32))
    assert single.dtype == np.float32 and (single @ jnp.ones(7, jnp.float32)).dtype == np.float32


@pytest.mark.parametrize("kernel", [REAL, COMPLEX, COMPLEX[:6]])
def test_unitary_convolutions(kernel):
    """exp of an anti-Hermitian kernel, as a matrix exponential gives it."""
    generator = kernel - np.conj(np.roll(kernel[::-1], 1))
    U = Convolution.unitary(generator)
    assert np.isrealobj(U.kernel) == np.isrealobj(kernel)
    np.testing.assert_allclose(U.dense(), scipy.linalg.expm(np.asarray(Convolution(generator).dense())), atol=1e-13)
    np.testing.assert_allclose(np.abs(U.symbol()), 1, rtol=1e-14)


def test_dispersion():
    theta = RNG.standard_normal(8)
    np.testing.assert_allclose(Convolution.of_dispersion(theta).symbol(), np.exp(1j * theta), atol=1e-14)


def test_a_real_convolution_couples_a_network_and_a_complex_one_does_not():
    net = RateNetwork(Convolution(REAL), Tanh())
    x = jnp.asarray(RNG.standard_normal(7))
    np.testing.assert_allclose(net.drift(jnp.zeros(()), x), -x + Convolution(REAL).dense() @ jnp.tanh(x), atol=1e-13)
    with pytest.raises(ValueError, match="`J` must be real"):
        RateNetwork(Convolution(COMPLEX), Tanh())
    with pytest.raises(ValueError, match="`J` must be real"):
        eigenvalues(Convolution(COMPLEX), np.ones(7))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Convolution(1.0), "`kernel` must have shape"),
        (lambda: Convolution([]), "`kernel` must have shape"),
        (lambda: Convolution.unitary(REAL), "`generator` must be anti-Hermitian"),
        (lambda: Convolution.of_dispersion([0.1, np.nan]), "`theta` must be finite"),
    ],
)
def test_bad_convolutions(call, message):
    with pytest.raises(ValueError, match=message):
        call()
