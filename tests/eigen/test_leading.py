"""Leading eigenvalues against all of them."""

import jax
import numpy as np
import pytest
import scipy.sparse

import jaxnets as jn
from jaxnets.eigen import leading

RNG = np.random.default_rng(0)
N = 300
MATRIX = scipy.sparse.random_array((N, N), density=0.05, rng=RNG, data_sampler=RNG.standard_normal).tocsr()
MATRIX += scipy.sparse.csr_array((np.full(N, 4.0), (np.arange(N), np.roll(np.arange(N), 1))), shape=(N, N))
ALL = np.linalg.eigvals(MATRIX.toarray())


@pytest.mark.parametrize("order, size", [("magnitude", np.abs), ("real", np.real)])
@pytest.mark.parametrize("num", [1, 2, 3])
def test_against_all_eigenvalues(order, size, num):
    found = leading(MATRIX, num, order=order)
    assert found.converged and np.all(found.residual < 1e-6)
    assert len(found.values) in (num, num + 1)
    expected = np.sort(size(ALL))[::-1][: len(found.values)]
    np.testing.assert_allclose(np.sort(size(np.asarray(found.values)))[::-1], expected, rtol=1e-7)
    np.testing.assert_allclose(np.sum(found.values).imag, 0, atol=1e-6)  # no pair is cut


def test_any_form_and_any_unit():
    first = leading(MATRIX, 2)
    modes = jn.couplings.DeepHebbian(0.2, 1.0, (0.5,)).sample(200, key=jax.random.key(0))
    exact = np.sort(np.abs(np.linalg.eigvals(np.asarray(modes.dense()))))[::-1]
    found = leading(modes, 2).values
    np.testing.assert_allclose(np.sort(np.abs(found))[::-1], exact[: len(found)], rtol=1e-7)
    for q in (1e-200, 1e200):
        scaled = leading(q * MATRIX, 2)
        np.testing.assert_allclose(scaled.values / q, first.values, rtol=1e-10)
        np.testing.assert_allclose(scaled.residual / q, first.residual, rtol=0.5)  # roundings
    np.testing.assert_allclose(leading(MATRIX.toarray(), 2).values, first.values, rtol=1e-8)
    np.testing.assert_array_equal(leading(MATRIX, 2).values, first.values)


def test_small_matrices_and_bad_arguments():
    small = np.diag([3.0, -5.0, 1.0])
    np.testing.assert_allclose(leading(small, 2).values, [-5, 3])
    np.testing.assert_allclose(leading(small, 1, order="real").values, [3])
    few_left = np.diag(np.arange(1.0, 71)) + 1 - np.eye(70)  # of 70 eigenvalues all but two, which ARPACK refuses
    np.testing.assert_allclose(leading(few_left, 68).values, np.linalg.eigvalsh(few_left)[:1:-1])
    for arguments, message in (
        ((small, 3), "`num` must be below the number of units 3"),
        ((small, 0), "`num` must be a whole number"),
        ((np.ones((2, 3)), 1), "`J` must be a square matrix"),
        ((np.ones((4, 3, 3)), 1), "`J` must be one network"),
    ):
        with pytest.raises(ValueError, match=message):
            leading(*arguments)
    with pytest.raises(ValueError, match="`order` must be"):
        leading(small, 1, order="size")


def test_what_has_not_converged_is_said():
    with pytest.warns(RuntimeWarning, match="of 5 leading eigenvalues converged in 1 restarts"):
        assert not leading(MATRIX, 5, max_restarts=1, accuracy=1e-14).converged
