"""Operators against the dense matrices they stand for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings.operators import Dense, Diagonal, Modes, Shifts, Sum

N, P = 12, 7
AUTO, HETERO = 0.4, (1.0, -0.5, 0.3)


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def _shift_core_by_definition(size, columns, hetero, ring, symmetric):
    """K from J_ij = sum_mu [c xi_i^mu xi_j^mu + sum_r gamma_r xi_i^{mu+r} xi_j^mu], one entry at a time."""
    K = np.zeros((columns, columns))
    for mu in range(size):
        K[mu, mu] += AUTO
        for r, gamma in enumerate(hetero, start=1):
            if ring or mu + r < size:
                K[(mu + r) % size, mu] += gamma
                if symmetric:
                    K[mu, (mu + r) % size] += gamma
    return K


def _operators():
    left, right = _normal(0, N, P), _normal(1, N, P)
    return {
        "dense": Dense(_normal(2, N, N)),
        "diagonal": Modes(left, right, Diagonal(_normal(3, P))),
        "ring": Modes(left, left, Shifts(AUTO, HETERO, P)),
        "chain": Modes(left, right, Shifts(AUTO, HETERO, P, ring=False)),
        "symmetric": Modes(left, left, Shifts(AUTO, HETERO, P, symmetric=True)),
        "sum": Modes(left, left, Shifts(AUTO, HETERO, P)) + Modes(right, right, Diagonal(_normal(3, P))),
        "mixed sum": Modes(left, left, Shifts(AUTO, HETERO, P)) + Dense(_normal(2, N, N)),
        "multiple": -2 * Modes(left, left, Shifts(AUTO, HETERO, P)) - 0.5 * Dense(_normal(2, N, N)),
    }


@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size, hetero", [(P, HETERO), (5, HETERO), (2, HETERO), (5, ())])
def test_shifts_follow_their_definition(size, hetero, ring, symmetric):
    core = Shifts(AUTO, jnp.asarray(hetero, float), size, ring=ring, symmetric=symmetric)
    expected = _shift_core_by_definition(size, P, hetero, ring, symmetric)
    np.testing.assert_allclose(core @ jnp.eye(P), expected, atol=1e-14)
    np.testing.assert_allclose(core.T @ jnp.eye(P), expected.T, atol=1e-14)
    np.testing.assert_allclose(core @ jnp.arange(P, dtype=float), expected @ np.arange(P), atol=1e-14)
    if core.symmetric:
        np.testing.assert_allclose(expected, expected.T)


def test_shifts_of_a_traced_size():
    xi = _normal(0, N, P)

    @jax.jit
    def dense(size):
        active = jnp.where(jnp.arange(P)[None] < size, xi, 0.0)
        return Modes(active, active, Shifts(AUTO, HETERO, size)).dense()

    for size in (2, 5, P):
        few = Modes(xi[:, :size], xi[:, :size], Shifts(AUTO, HETERO, size))
        np.testing.assert_allclose(dense(size), few.dense(), atol=1e-14)


def test_couplings_in_components():
    xi = np.asarray(_normal(0, N, P))
    J = sum(
        AUTO * np.outer(xi[:, mu], xi[:, mu])
        + sum(gamma * np.outer(xi[:, (mu + r) % P], xi[:, mu]) for r, gamma in enumerate(HETERO, start=1))
        for mu in range(P)
    )
    np.testing.assert_allclose(_operators()["ring"].dense(), J / N, atol=1e-14)


@pytest.mark.parametrize("name", _operators())
def test_products_and_transposes(name):
    J = _operators()[name]
    dense, x = np.asarray(J.dense()), np.asarray(_normal(5, N, 3))
    assert J.shape == dense.shape == (N, N) and J.dtype == dense.dtype
    for operator, matrix in ((J, dense), (J.T, dense.T), (J.T.T, dense)):
        np.testing.assert_allclose(operator @ jnp.asarray(x), matrix @ x, atol=1e-13)
        np.testing.assert_allclose(operator @ jnp.asarray(x[:, 0]), matrix @ x[:, 0], atol=1e-13)
        np.testing.assert_allclose(operator.dense(), matrix, atol=1e-14)
        if (factors := operator.low_rank()) is not None:
            np.testing.assert_allclose(factors[0] @ factors[1], matrix, atol=1e-14)
    if J.symmetric:
        np.testing.assert_allclose(dense, dense.T, atol=1e-14)


@pytest.mark.parametrize("name", ["dense", "diagonal", "symmetric", "mixed sum"])
def test_multiples(name):
    J = _operators()[name]
    for factor in (-2, np.float32(3.0), jnp.asarray(0.25)):
        for multiple in (factor * J, J * factor):
            np.testing.assert_allclose(multiple.dense(), float(factor) * np.asarray(J.dense()), atol=1e-14)
            assert multiple.dtype == J.dtype and multiple.symmetric == J.symmetric


def test_symmetry_is_declared_only_where_it_is_certain():
    xi, other = _normal(0, N, P), _normal(1, N, P)
    assert Modes(xi, xi, Diagonal(_normal(3, P))).symmetric
    assert _operators()["symmetric"].symmetric
    assert not Modes(xi, other, Diagonal(_normal(3, P))).symmetric
    assert not Modes(xi, xi, Shifts(AUTO, HETERO, P)).symmetric
    assert not Dense(jnp.eye(3)).symmetric and Dense(jnp.eye(3), symmetric=True).symmetric
    assert not _operators()["sum"].symmetric


@pytest.mark.slow
def test_a_batch_is_the_loop_over_its_networks():
    @jax.jit
    def build(xi, size):
        active = jnp.where(jnp.arange(P)[None] < size, xi, 0.0)
        modes = Modes(active, active, Shifts(AUTO, HETERO, size))
        return 0.5 * modes + Modes(xi, jnp.sin(xi), Diagonal(xi[0]))

    patterns, sizes = _normal(0, 2, 2, N, P), jnp.array([[3, 5], [7, 4]])
    batch = jax.jit(jax.vmap(jax.vmap(build)))(patterns, sizes)
    assert batch.shape == (2, 2, N, N)
    x = _normal(9, N)
    products = jax.jit(jax.vmap(jax.vmap(lambda J: J.T @ x)))(batch)
    left, right = batch.low_rank()
    for i, j in np.ndindex(2, 2):
        one = build(patterns[i, j], sizes[i, j])
        np.testing.assert_allclose(batch.dense()[i, j], one.dense(), atol=1e-14)
        np.testing.assert_allclose((3 * batch).T.dense()[i, j], 3 * one.dense().T, atol=1e-14)
        np.testing.assert_allclose(left[i, j] @ right[i, j], one.dense(), atol=1e-14)
        np.testing.assert_allclose(products[i, j], one.T @ x, atol=1e-13)
    with pytest.raises(ValueError, match="vmap"):
        _ = batch @ x


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ring", "chain", "symmetric"])
def test_gradients_reach_every_field(name):
    J, x, y = _operators()[name], _normal(5, N), _normal(6, N)
    through_products = jax.grad(lambda J: y @ (J @ x), allow_int=True)(J)
    through_entries = jax.grad(lambda J: y @ J.dense() @ x, allow_int=True)(J)
    for a, b in zip(jax.tree.leaves(through_products), jax.tree.leaves(through_entries), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, atol=1e-13)
            assert np.any(np.asarray(a) != 0)


def test_single_precision_stays_single():
    xi = _normal(0, N, P).astype(jnp.float32)
    J = 2.0 * Modes(xi, xi, Shifts(AUTO, HETERO, P)) + Dense(jnp.eye(N, dtype=jnp.float32))
    assert J.dtype == J.dense().dtype == (J @ xi[:, 0]).dtype == jnp.float32


def test_integers_are_taken_for_numbers():
    core = Diagonal(jnp.array([1, 3])).scaled(jnp.asarray(0.5))
    np.testing.assert_allclose(core @ jnp.ones(2), [0.5, 1.5])
    assert Dense(np.eye(3, dtype=int)).dtype == jnp.float64


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Dense(jnp.ones((2, 3))), "`matrix` must be square"),
        (lambda: Modes(jnp.ones((3, 2)), jnp.ones((3, 1)), Diagonal(jnp.ones(2))), "`right` must have shape"),
        (lambda: Sum((Dense(jnp.eye(2)), Dense(jnp.eye(3)))), "`terms` must be operators of one shape"),
        (lambda: Sum(()), "`terms` must be"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_only_real_numbers_multiply_and_only_operators_add():
    J: Any = Dense(jnp.eye(2))
    for operation in (lambda: 1j * J, lambda: J * jnp.ones(2), lambda: J + jnp.eye(2), lambda: jnp.ones(2) @ J):
        with pytest.raises(TypeError):
            operation()
