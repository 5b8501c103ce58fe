"""The one door to `eig`: reductions and batches against LAPACK on the full matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings.operators import Dense, Diagonal, Modes, Shifts
from jaxnets.eigen import eigenvalues

N, P = 24, 9


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def _distance(found, expected):
    """Largest distance in the best matching of two sets of eigenvalues."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    gaps = np.abs(found[:, None] - expected[None, :])
    return max(gaps.min(0).max(), gaps.min(1).max())


def _ring(xi, symmetric=False, size=P):
    xi = jnp.where(jnp.arange(P)[None] < size, xi, 0)
    return Modes(xi, xi, Shifts(0.4, (1.0, 0.3), size, symmetric=symmetric))


def _operators():
    xi = _normal(0, N, P)
    return {
        "dense": Dense(_normal(1, N, N)),
        "symmetric dense": Dense(_normal(1, N, N) + _normal(1, N, N).T, symmetric=True),
        "ring": _ring(xi),
        "silent patterns": _ring(xi, size=5),
        "symmetric": _ring(xi, symmetric=True),
        "symmetric, silent patterns": _ring(xi, symmetric=True, size=5),
        "sum of modes": _ring(xi) + Modes(_normal(2, N, 3), _normal(3, N, 3), Diagonal(_normal(4, 3))),
        "more modes than units": _ring(xi) + Modes(_normal(2, N, N), _normal(3, N, N), Diagonal(_normal(4, N))),
        "modes and noise": _ring(xi) + Dense(_normal(1, N, N)),
    }


@pytest.mark.parametrize("name", _operators())
@pytest.mark.parametrize("gains", [None, _normal(7, N)], ids=["no gains", "gains"])
def test_operators_against_the_full_matrix(name, gains):
    J = _operators()[name]
    matrix = np.asarray(J.dense()) * (1 if gains is None else np.asarray(gains))
    found = eigenvalues(J, gains)
    assert found.dtype == jnp.complex128
    assert _distance(found, np.linalg.eigvals(matrix)) < 1e-10


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("gains", [None, _normal(7, N)], ids=["no gains", "gains"])
def test_the_zeros_are_restored_exactly(symmetric, gains):
    found = eigenvalues(_ring(_normal(0, N, P), symmetric), gains)
    assert np.sum(np.asarray(found) == 0) == N - P
    assert np.sum(np.abs(found) > 1e-3) == P


def test_symmetric_eigenvalues_are_real():
    for name in ("symmetric", "symmetric dense", "symmetric, silent patterns"):
        assert np.all(eigenvalues(_operators()[name]).imag == 0)


@pytest.mark.parametrize("symmetric", [True, False])
def test_batches_broadcast(symmetric):
    patterns = _normal(0, 3, N, P)
    batch = jax.vmap(lambda xi: _ring(xi, symmetric))(patterns)
    gains = _normal(8, 2, 1, N)
    full = np.asarray(batch.dense()) * np.asarray(gains)[..., None, :]
    for J in (batch, batch.dense()):
        found = eigenvalues(J, gains)
        assert found.shape == full.shape[:-1]
        for index in np.ndindex(found.shape[:-1]):
            assert _distance(found[index], np.linalg.eigvals(full[index])) < 1e-10
    alone = eigenvalues(batch)
    for i in range(3):
        assert _distance(alone[i], np.linalg.eigvals(batch.dense()[i])) < 1e-10
    assert eigenvalues(_ring(patterns[0], symmetric), gains).shape == gains.shape


def test_vmap_and_jit_agree_with_the_batch():
    patterns = _normal(0, 3, N, P)
    gains = _normal(8, 3, N)
    batch = jax.vmap(_ring)(patterns)
    mapped = jax.jit(jax.vmap(lambda xi, g: eigenvalues(_ring(xi), g)))(patterns, gains)
    direct = eigenvalues(batch, gains)
    for i in range(3):
        assert _distance(mapped[i], direct[i]) < 1e-12


@pytest.mark.parametrize("symmetric", [True, False])
def test_single_precision(symmetric):
    J = _ring(_normal(0, N, P).astype(jnp.float32), symmetric)
    gains = np.ones(N)  # of any precision: the operator's is kept
    for found in (eigenvalues(J), eigenvalues(J, gains), eigenvalues(J.dense(), gains)):
        assert found.dtype == jnp.complex64
        assert _distance(found, np.linalg.eigvals(np.asarray(J.dense(), float))) < 1e-4


@pytest.mark.parametrize("name", ["symmetric dense", "ring", "symmetric, silent patterns"])
def test_gradients(name):
    J = _operators()[name]

    def energy(scale, gain, J):
        found = eigenvalues(scale * J, None if gain is None else 1 + gain * jnp.sin(jnp.arange(N, dtype=float)))
        return jnp.sum(jnp.abs(found) ** 4) / 100

    step = 1e-5
    slope = jax.grad(energy)(1.3, None, J)
    np.testing.assert_allclose(slope, 4 / 1.3 * energy(1.3, None, J), rtol=1e-10)
    slope = jax.grad(energy, argnums=1)(1.3, 0.3, J)
    np.testing.assert_allclose(slope, (energy(1.3, 0.3 + step, J) - energy(1.3, 0.3 - step, J)) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradient_of_a_trace_by_the_patterns(symmetric):
    # sum lambda^3 = tr J^3, whose gradient needs no eigenvalue. The patterns enter twice, on either side.
    J = _ring(_normal(0, N, P), symmetric)

    def by_eigenvalues(left):
        return jnp.sum((eigenvalues(Modes(left, left, J.core)) ** 3).real)

    def by_matrix(left):
        dense = Modes(left, left, J.core).dense()
        return jnp.trace(dense @ dense @ dense)

    np.testing.assert_allclose(jax.grad(by_eigenvalues)(J.left), jax.grad(by_matrix)(J.left), atol=1e-9)


def test_second_derivative_of_symmetric_modes():
    J = _ring(_normal(0, N, P), symmetric=True)
    curvature = jax.grad(jax.grad(lambda scale: jnp.sum(eigenvalues(scale * J).real ** 4)))(1.3)
    np.testing.assert_allclose(curvature, 12 * 1.3**2 * jnp.sum(eigenvalues(J).real ** 4), rtol=1e-9)


def test_failure_under_jit_is_data():
    assert np.all(np.isnan(jax.jit(eigenvalues)(jnp.full((3, 3), jnp.nan))))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones((2, 3)),), "`J` must be a square matrix"),
        ((np.ones(3),), "`J` must be a square matrix"),
        ((np.full((2, 2), np.nan),), "`J` must be finite"),
        ((1j * np.ones((2, 2)),), "`J` must be real"),
        ((np.eye(3), np.ones(2)), "`gains` must have the last axis 3"),
        ((np.eye(3), 1.0), "`gains` must have the last axis 3"),
        ((np.ones((2, 3, 3)), np.ones((4, 3))), "`gains` of shape .* must broadcast"),
        ((np.eye(2), np.array([1, np.inf])), "`gains` must be finite"),
        ((np.eye(2), 1j * np.ones(2)), "`gains` must be real"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        eigenvalues(*arguments)
