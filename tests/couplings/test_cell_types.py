"""Cell types: samples have the statistics that the fields name, and types that are alike are no types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import (
    IID,
    BlockMeans,
    CellTypes,
    DeepHebbian,
    Elliptic,
    LowRank,
    Profile,
    RandomModes,
    TypeGains,
)

F = (0.7, 0.3)
G = np.sqrt([[1, 2.5], [0.6, 1.6]])
S = np.array([[0.5, -0.6], [-0.6, 0.3]])
M = np.array([[6.0, -4.0], [7.0, -2.0]])
KEY = jax.random.key(3)


def measured(J, labels, statistic):
    """The statistic of the block of each pair of types, of n J."""
    n, types = len(J), range(labels.max() + 1)
    blocks = [
        [(n * J[np.ix_(labels == a, labels == b)], n * J[np.ix_(labels == b, labels == a)].T) for b in types]
        for a in types
    ]
    return np.array([[statistic(*pair) for pair in row] for row in blocks])


def agrees(J, ensemble):
    """Means, variances and correlations of every block, within five standard errors of the largest block."""
    J, of, n = np.asarray(J), ensemble.labels(len(J)), len(J)
    counts = np.outer(*[np.bincount(of)] * 2)
    of_mean = measured(J, of, lambda block, _: block.mean()) - np.asarray(ensemble.means)
    assert np.all(np.abs(of_mean) < 5 * np.sqrt(n * np.asarray(ensemble.g) ** 2 / counts) + 1e-12)
    power = measured(J, of, lambda block, _: block.var() / n) / np.asarray(ensemble.g) ** 2 - 1
    # The variance of log-normal weights that may be missing has a heavier error: the fourth moment of the sample.
    fourth = measured(J, of, lambda block, _: np.mean((block - block.mean()) ** 4) / block.var() ** 2)
    assert np.all(np.abs(power) < 5 * np.sqrt((fourth + 1) / counts))
    pairs = measured(J, of, lambda block, back: np.corrcoef(block.ravel(), back.ravel())[0, 1])
    assert np.all(np.abs(pairs - np.asarray(ensemble.symmetry)) < 5 * np.sqrt(2 / counts))


def test_gaussian_samples():
    ensemble = CellTypes(F, G, S, M)
    agrees(ensemble.sample(500, key=KEY).dense(), ensemble)
    assert ensemble.labels(10).tolist() == [0] * 7 + [1] * 3


@pytest.mark.parametrize("dale", [True, False])
def test_sparse_samples(dale):
    weights = 0.05 * np.array([[1.0, -6.0], [1.5, -5.0]])
    p = np.array([[0.1, 0.3], [0.2, 0.4]])
    ensemble = CellTypes.from_weights(F, weights, size=500, probability=p, spread=0.4, dale=dale)
    dense, sparse = ensemble.sample(500, key=KEY).dense(), ensemble.sample_sparse(500, key=KEY)
    for J in (np.asarray(dense), np.asarray(sparse.dense())):
        agrees(J, ensemble)
        of = ensemble.labels(500)
        exist = measured(J, of, lambda block, _: np.mean(block != 0))
        np.testing.assert_allclose(exist, p, rtol=0.1)
        mean = measured(J, of, lambda block, _: block[block != 0].mean() / 500)
        np.testing.assert_allclose(mean, weights, rtol=0.03)
        spread = measured(J, of, lambda block, _: block[block != 0].std() / 500) / np.abs(weights)
        np.testing.assert_allclose(spread, 0.4, rtol=0.1)
        signs = measured(J, of, lambda block, _: np.mean(block[block != 0] > 0))
        assert np.array_equal(signs, [[1, 0], [1, 0]]) is dale


def test_balanced_rows():
    ensemble = CellTypes(F, G, 0.0, M, 0.2, balanced=True)
    J = np.asarray(ensemble.sample(400, key=KEY).dense())
    expected = np.array([[0.7, 0.3] @ row for row in M])[ensemble.labels(400)]
    np.testing.assert_allclose(J.sum(1), expected, atol=1e-12)
    assert abs(np.mean(J != 0) - 0.2) < 0.01
    free = np.asarray(CellTypes(F, G, 0.0, M, 0.2).sample(400, key=KEY).dense())
    assert np.std(free.sum(1) - expected) > 0.5


def test_second_order_motifs():
    ensemble = CellTypes.second_order(1.0, 40.0, reciprocal=0.3, convergent=0.25, divergent=0.5, chain=0.2)
    J = np.asarray(ensemble.sample(800, key=KEY).dense())
    received, sent = J.sum(1), J.sum(0)
    assert abs(np.var(received) / 40**2 - 0.25) < 0.02
    assert abs(np.var(sent) / 40**2 - 0.5) < 0.02
    assert abs(np.cov(received, sent)[0, 1] / 40**2 - 0.2) < 0.02
    f, g = np.asarray(ensemble.fractions), np.asarray(ensemble.g)
    np.testing.assert_allclose(max(abs(np.linalg.eigvals(g**2 * f))), 1.2, rtol=1e-12)
    np.testing.assert_allclose(max(abs(np.linalg.eigvals(np.asarray(ensemble.means) * f))), 48, rtol=1e-12)
    assert float(ensemble.variance()) == pytest.approx(1.0)
    rest = J - np.asarray(ensemble.means)[np.ix_(*[ensemble.labels(800)] * 2)] / 800
    expected = 0.3 * (f @ (g * g.T) @ f) / (f @ g**2 @ f)
    assert abs(np.sum(rest * rest.T) / np.sum(rest**2) - expected) < 0.01


# --- what theory asks


def physical(num_types, seed=0):
    t, u, v = jax.random.normal(jax.random.key(seed), (4, num_types))[1:] / 4
    t21 = jax.lax.complex(t, u)
    return jnp.conj(t21), t21, -jnp.abs(v), jnp.abs(u)


HOMOGENEOUS = [
    IID(1.3),
    Elliptic(0.8, -0.4),
    RandomModes.flat(0.6, load=0.7, overlap=0.3) + DeepHebbian(0.3, 0.1, (0.4,)),
]


@pytest.mark.parametrize("ensemble", HOMOGENEOUS)
def test_types_that_are_alike_are_one(ensemble):
    f = jnp.asarray(F)
    same = tuple(jnp.broadcast_to(t[:1], (2,)) for t in physical(1))
    alone = ensemble.field(*physical(1), jnp.ones(1))
    for found, expected in zip(ensemble.field(*same, f), alone, strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(expected, 2), rtol=1e-13)
    T = physical(1)
    whole = ensemble.r_transform(np.array([[T[2][0], T[0][0]], [T[1][0], T[3][0]]]))
    np.testing.assert_allclose([x[0] for x in alone], [whole[0, 1], whole[1, 0], whole[0, 0], whole[1, 1]], rtol=1e-13)


def test_fields_of_types_agree_with_each_other():
    T, f = physical(2), jnp.asarray(F)
    rows, columns = np.array([1.5, 0.4]), np.array([0.3, 2.0])
    typed = CellTypes(F, 0.8 * np.outer(rows, columns), -0.4)
    gained = TypeGains(F, Elliptic(0.8, -0.4), rows, columns)
    for found, expected in zip(gained.field(*T, f), typed.field(*T, f), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert float(gained.variance()) == pytest.approx(float(typed.variance()), rel=1e-13)
    both = 0.5 * typed + IID(1.1) + BlockMeans(F, M)
    parts = [e.field(*T, f) for e in (0.5 * typed, IID(1.1))]
    for found, a, b in zip(both.field(*T, f), *parts, strict=True):
        np.testing.assert_allclose(found, a + b, rtol=1e-13)
    np.testing.assert_allclose(both.block_means(), M)
    np.testing.assert_allclose((-2.0 * CellTypes(F, G, 0.0, M)).block_means(), -2 * M)


def test_a_profile_is_as_many_types_as_units():
    variance = np.random.default_rng(0).random((6, 6)) / 6
    profile = Profile(0.5 * variance, variance, 0.25)
    typed = CellTypes(np.full(6, 1 / 6), np.sqrt(6 * variance), 0.25, 3 * variance)
    T = physical(6)
    for found, expected in zip(
        profile.field(*T, profile.type_fractions()), typed.field(*T, typed.fractions), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(profile.block_means(), typed.block_means())
    draws = jax.vmap(lambda key: profile.sample(6, key=key).dense())(jax.random.split(KEY, 2000))
    assert np.max(np.abs(np.var(draws, 0) / variance - 1)) < 0.16  # five standard errors
    assert np.max(np.abs(np.mean(draws, 0) - 0.5 * variance)) < 5 * np.sqrt(variance.max() / 2000)


def test_what_theory_of_one_type_reads():
    """One type is the elliptic ensemble and a uniform mode, and several types are refused by theory of one."""
    one = CellTypes((1.0,), 1.2, 0.3, 2.5)
    t = physical(1)
    assert [part.ensemble.finite_rank().rank for part in one.parts()] == [0, 1]
    np.testing.assert_allclose(one.finite_rank().joint_overlaps(), [[2.5]])
    for found, expected in zip(
        one.parts()[0].ensemble.blocks(t[0][0], t[1][0], t[2][0] * t[3][0]),
        Elliptic(1.2, 0.3).blocks(t[0][0], t[1][0], t[2][0] * t[3][0]),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected)
    assert CellTypes((1.0,), 1.2).site().strength == pytest.approx(1.44)
    for several in (CellTypes(F, G), TypeGains(F, IID(), (1, 2), (1, 1)), Profile(0.0, np.eye(3))):
        with pytest.raises(ValueError, match="cell types: this theory is for units of one type"):
            (several + IID()).blocks(t[0][0], t[1][0], t[2][0])


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: CellTypes((0.5, 0.4)), "`fractions` must be of sum 1"),
        (lambda: CellTypes((1.5, -0.5)), "`fractions` must be positive"),
        (lambda: CellTypes(F, [1.0, 2.0]), r"`g` must be a number or \(2, 2\)"),
        (lambda: CellTypes(F, -1.0), "`g` must be finite numbers >= 0"),
        (lambda: CellTypes(F, 1.0, 2.0), r"`symmetry` must be numbers in \[-1, 1\]"),
        (lambda: CellTypes(F, 1.0, [[0, 0.1], [0.2, 0]]), r"`symmetry` must be the same for \(a, b\) and \(b, a\)"),
        (lambda: CellTypes(F, 1.0, 0.1, probability=0.5), "`symmetry` must be 0 where weights are sparse"),
        (lambda: CellTypes(F, probability=[[0, 1], [1, 1]]), r"`probability` must be numbers in \(0, 1\]"),
        (lambda: CellTypes(F, 1.0, 0.0, 1.0, signs=(1, -1)), "`means` must be positive where the sign"),
        (lambda: CellTypes(F, signs=(1, 2)), "`signs` must be 1 or -1 for each of 2 types"),
        (lambda: CellTypes(F).sample(1, key=KEY), "`n` = 1 is too small: type"),
        (lambda: CellTypes(F, 0.1, 0.0, 9.0, 0.1).sample(50, key=KEY), r"`g` must be at least \|M\| sqrt"),
        (lambda: CellTypes(F).sample_sparse(50, key=KEY), "`sample_sparse` is for a concrete ensemble"),
        (lambda: CellTypes.from_weights(F, [[1, -1], [-1, -1]], size=9), "of one sign in each column"),
        (lambda: CellTypes.from_weights(F, 1.0, size=9, spread=1e160), "`spread` must be numbers >= 0 whose square is"),
        (lambda: CellTypes.second_order(convergent=1.2), r"`convergent` must be a number in \[0, 1\)"),
        (lambda: CellTypes.second_order(convergent=0.1, divergent=0.1, chain=0.2), "`chain` must be below"),
        (lambda: CellTypes(F) + CellTypes((0.5, 0.5)), "`fractions` of added ensembles must be the same"),
        (lambda: TypeGains(F, CellTypes(F), (1, 1), (1, 1)), "`ensemble` must have neither types nor modes"),
        (lambda: TypeGains(F, LowRank(1.0), (1, 1), (1, 1)), "`ensemble` must have neither types nor modes"),
        (lambda: TypeGains(F, IID(), (1, 1, 1), (1, 1)), "`row_gains` must have the shape of `fractions`"),
        (lambda: Profile(0.0, np.eye(3)).sample(4, key=KEY), "`n` must be 3"),
        (lambda: Profile(0.0, -np.eye(3)), "`variance` must be finite numbers >= 0"),
    ],
)
def test_bad_arguments(make, says):
    with pytest.raises(ValueError, match=says):
        make()
