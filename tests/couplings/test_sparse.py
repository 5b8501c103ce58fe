"""Sparse couplings against dense ones, from SciPy and JAX, and wherever couplings are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO, BCSR

import jaxnets as jn
from jaxnets.couplings import Sparse

N = 60
MATRIX = scipy.sparse.random_array((N, N), density=0.4, rng=np.random.default_rng(0))
DENSE = MATRIX.toarray()
DENSE[7] = 0  # a unit that receives nothing
MATRIX = scipy.sparse.coo_array(DENSE)
X = jnp.asarray(np.random.default_rng(1).standard_normal((N, 3)))
ROWS = scipy.sparse.csr_matrix(MATRIX)


def bcoo(num):
    """As JAX pads it: zeros, at places outside of the matrix. `fromdense` compiles 78 programs, in every worker."""
    pad = (0, num - MATRIX.nnz)
    places = [np.pad(place, pad, constant_values=N) for place in (MATRIX.row, MATRIX.col)]
    return BCOO((jnp.asarray(np.pad(MATRIX.data, pad)), jnp.asarray(np.stack(places, 1))), shape=(N, N))


FORMS = {
    "COO": MATRIX,
    "CSC": MATRIX.tocsc(),
    "CSR": ROWS,
    "LIL": MATRIX.tolil(),
    "BCOO": bcoo(MATRIX.nnz),
    "BCOO, padded": bcoo(2 * MATRIX.nnz),
    "BCSR": BCSR((ROWS.data, ROWS.indices, ROWS.indptr), shape=(N, N)),
    "dense": DENSE,
    "doubled": scipy.sparse.coo_array(
        (np.tile(MATRIX.data / 2, 2), (np.tile(MATRIX.row, 2), np.tile(MATRIX.col, 2))), shape=(N, N)
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name):
    J = Sparse(FORMS[name])
    assert J.shape == (N, N) and J.dtype == jnp.float64 and J.low_rank() is None and not J.symmetric
    np.testing.assert_allclose(J.to_scipy().toarray(), DENSE, atol=1e-15)
    np.testing.assert_allclose(J.T.to_scipy().toarray(), DENSE.T, atol=1e-15)


@pytest.mark.slow
def test_products_are_those_of_the_matrix():
    J = Sparse(MATRIX)
    for operator, matrix in ((J, DENSE), (J.T, DENSE.T), (-0.5 * J, -0.5 * DENSE), (J + 2.0 * J, 3 * DENSE)):
        np.testing.assert_allclose(operator.dense(), matrix, atol=1e-14)
        np.testing.assert_allclose(operator @ X, matrix @ X, atol=1e-13)
        np.testing.assert_allclose(operator @ X[:, 0], matrix @ X[:, 0], atol=1e-13)
        np.testing.assert_array_equal(operator @ np.asarray(X[:, 0]), operator @ X[:, 0])
    batch = jax.vmap(lambda q: q * J)(jnp.array([1.0, 2.0]))
    assert batch.shape == (2, N, N)
    np.testing.assert_allclose(batch.dense()[1], 2 * DENSE)
    np.testing.assert_allclose(jax.vmap(lambda J: J @ X[:, 0])(batch)[1], 2 * DENSE @ X[:, 0], atol=1e-13)
    slope = jax.grad(lambda x: jnp.sum((J @ x) ** 2))(X[:, 0])
    np.testing.assert_allclose(slope, 2 * DENSE.T @ (DENSE @ X[:, 0]), atol=1e-12)


def test_single_precision_and_symmetry():
    both = DENSE + DENSE.T
    J = Sparse(scipy.sparse.csr_array(both.astype(np.float32)), symmetric=True)
    assert J.dtype == jnp.float32 and J.T is J and J.symmetric
    np.testing.assert_allclose(J @ X[:, 0].astype(jnp.float32), both @ X[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["CSC", "BCOO"])
def test_a_sparse_network_runs_as_the_dense_one(form):
    runs = []
    for J in (FORMS[form], DENSE):
        net = jn.dynamics.RateNetwork(J, jn.transfer.Tanh())
        assert isinstance(net.J, Sparse) == (J is not DENSE)
        runs.append(jn.dynamics.simulate(net, X[:, 0], duration=1.0, dt=0.1, progress=False).final)
    np.testing.assert_allclose(*runs, atol=1e-12)


def test_eigenvalues_of_sparse_matrices():
    exact = np.sort(np.abs(np.linalg.eigvals(DENSE)))
    np.testing.assert_allclose(np.sort(np.abs(jn.eigen.eigenvalues(MATRIX))), exact, atol=1e-10)
    large = scipy.sparse.eye_array(30_000)
    with pytest.raises(ValueError, match="`J` is sparse, and all 30000 eigenvalues .* `leading` gives some"):
        jn.eigen.eigenvalues(large)


@pytest.mark.parametrize(
    "matrix, message",
    [
        (scipy.sparse.coo_array(np.ones((2, 3))), r"must be a square matrix, got shape \(2, 3\)"),
        (scipy.sparse.coo_array(1j * np.eye(2)), "must be real numbers, got dtype complex128"),
        (scipy.sparse.coo_array(np.array([[0, 1], [np.nan, 0]])), "must be finite, got nan in row 1, column 0"),
        ("text", "must be real numbers"),
    ],
)
def test_bad_matrices(matrix, message):
    with pytest.raises(ValueError, match="`matrix` " + message):
        Sparse(matrix)


# --- what one pass says


def _statistics_of(dense):
    """By the definitions, from all n x n weights."""
    n = len(dense)
    apart = ~np.eye(n, dtype=bool)
    connected = (dense != 0) & apart
    pairs = np.stack([dense[apart], dense.T[apart]])
    return {
        "g": np.sqrt(n * dense.var()),
        "mean": dense.mean(),
        "density": np.mean(dense != 0),
        "reciprocity": np.sum(connected & connected.T) / np.sum(connected),
        "symmetry": np.corrcoef(pairs)[0, 1],
        "row_means": dense.mean(1),
        "column_means": dense.mean(0),
        "in_degree": np.sum(dense != 0, 1),
        "out_degree": np.sum(dense != 0, 0),
    }


@pytest.mark.parametrize("name", [*FORMS, "Sparse", "its transpose"])
def test_statistics(name):
    forms = FORMS | {"Sparse": Sparse(MATRIX), "its transpose": Sparse(MATRIX).T}
    found = jn.couplings.weight_statistics(forms[name])
    for field, expected in _statistics_of(DENSE.T if name == "its transpose" else DENSE).items():
        np.testing.assert_allclose(getattr(found, field), expected, rtol=1e-12, atol=1e-15, err_msg=field)
    assert found.in_degree.dtype == found.out_degree.dtype == np.int64


@pytest.mark.parametrize("unit", [1e-160, 1e-30, 1e150])
def test_statistics_in_any_unit(unit):
    found = jn.couplings.weight_statistics(unit * MATRIX)
    np.testing.assert_allclose(found.g / unit, jn.couplings.weight_statistics(MATRIX).g, rtol=1e-12)
    np.testing.assert_allclose(found.symmetry, jn.couplings.weight_statistics(MATRIX).symmetry, rtol=1e-10)


def test_statistics_of_special_networks():
    """Symmetric, antisymmetric, equal weights, no weights but the diagonal; and of samples, their ensemble's."""
    upper = np.triu(DENSE, 1)
    for matrix, symmetry in ((upper + upper.T, 1.0), (upper - upper.T, -1.0)):
        found = jn.couplings.weight_statistics(matrix)
        assert found.reciprocity == 1 and abs(found.symmetry - symmetry) < 1e-12
    ones = jn.couplings.weight_statistics(np.ones((4, 4)))
    assert ones.g == 0 and ones.reciprocity == 1 and np.isnan(ones.symmetry)
    diagonal = jn.couplings.weight_statistics(np.eye(4))
    assert np.isnan(diagonal.reciprocity) and np.isnan(diagonal.symmetry) and diagonal.density == 0.25
    drawn = jn.couplings.Elliptic(2.0, -0.4).sample(300, key=jax.random.key(0))
    found = jn.couplings.weight_statistics(drawn)
    assert abs(found.g - 2) < 0.03 and abs(found.symmetry + 0.4) < 0.02  # 4 and 6 standard errors
    with pytest.raises(ValueError, match="`J` must be a square matrix"):
        jn.couplings.weight_statistics(np.ones((2, 3)))
