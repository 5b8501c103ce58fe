"""Ensembles estimated from a matrix, against brute force and their own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import root_scalar

from jaxnets.couplings import (
    IID,
    DominantMode,
    RandomModes,
    SingularModes,
    from_matrix,
    larva_connectome,
    random_modes_from_matrix,
    singular_mismatch,
)

KEY = jax.random.key(0)


def _h(ensemble, p):
    zero = jnp.asarray(0j)
    s12, s21, h = ensemble.blocks(zero, zero, jnp.asarray(p, complex))
    assert s12 == s21 == 0
    return h


def _quarter_circle(num=400):
    """Quantiles of the singular values of i.i.d. couplings with g = 1: density sqrt(4 - s^2) / pi on [0, 2]."""
    s = np.linspace(0, 2, 20001)
    mass = (s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / np.pi
    return np.interp((np.arange(num) + 0.5) / num, mass, s)


# --- the R-transform


@pytest.mark.parametrize(
    "values, weights",
    [([1.8, 0.2], [0.3, 0.7]), ([0.0, 1.0, 2.0], [0.2, 0.5, 0.3]), ([1.0], None), ([300.0, 0.1], None)],
)
def test_h_against_brute_force(values, weights):
    s = np.asarray(values)
    w = np.full(s.size, 1 / s.size) if weights is None else np.asarray(weights)
    response = lambda x, v=0.0: np.sum(w * x / (x**2 + s**2)) - v
    xs = np.geomspace(1e3 * s.max(), 1e-3 * s.max(), 4001)
    first = np.argmax(np.diff([response(x) for x in xs]) < 0)  # where v, followed from x = infinity, turns
    x_turn = xs[first] if first else xs[-1]
    ensemble = SingularModes(s, weights)
    for v in response(x_turn) * np.array([0.02, 0.3, 0.7, 0.99]):
        bracket = (x_turn, 1e6 * s.max())
        x = root_scalar(response, (v,), bracket=bracket, xtol=1e-15 * s.max(), rtol=1e-14).root
        np.testing.assert_allclose(_h(ensemble, -(v**2)), np.sum(w * s**2 / (x**2 + s**2)) / v**2, rtol=1e-10)
    for v in (0.0, 1e-9, 1e-4):  # no cancellation of 1/v^2
        v = v / s.max()
        expected = ensemble.variance() - ensemble.fourth_cumulant() * v**2
        np.testing.assert_allclose(_h(ensemble, -(v**2)), expected, rtol=1e-7)


def test_h_of_independent_weights_is_constant():
    ensemble = SingularModes(_quarter_circle())
    for v in (0.1, 0.4, 0.7):
        np.testing.assert_allclose(_h(ensemble, -(v**2)), 1, atol=5e-3)
    np.testing.assert_allclose(ensemble.fourth_cumulant(), 0, atol=5e-3)


def test_h_is_holomorphic_and_solves_its_equation_off_the_axis():
    s, w = np.array([1.8, 0.2]), np.array([0.3, 0.7])
    ensemble = SingularModes(s, w)
    for p in (-0.2 + 0.1j, 0.05 - 0.02j, -0.3 - 0.02j):
        # x from h = 1/v^2 - x/v, then v from x.
        v = np.sqrt(-p + 0j)
        x = (1 / v**2 - complex(_h(ensemble, p))) * v
        np.testing.assert_allclose(np.sum(w * x / (x**2 + s**2)), v, rtol=1e-10)
        h = lambda p: _h(ensemble, p)
        np.testing.assert_allclose(jax.grad(h, holomorphic=True)(p), (h(p + 1e-5) - h(p - 1e-5)) / 2e-5, rtol=1e-7)


@pytest.mark.slow
def test_derivatives_of_h_to_second_order():
    values, weights, step = jnp.array([1.8, 0.2, 0.7]), jnp.array([0.3, 0.5, 0.2]), 1e-4
    h = jax.jit(lambda values, p: _traced_h(values, weights, p))
    slope = jax.jit(jax.grad(h, argnums=(0, 1)))
    for p in (-0.15, -1e-12, 0.0):
        by_value, by_p = slope(values, p)
        np.testing.assert_allclose(by_p, (h(values, p + step) - h(values, p - step)) / (2 * step), rtol=1e-6)
        for i in range(3):
            shifted = [h(values.at[i].add(d), p) for d in (step, -step)]
            np.testing.assert_allclose(by_value[i], (shifted[0] - shifted[1]) / (2 * step), rtol=1e-6)
    second = jax.grad(jax.grad(h, argnums=1), argnums=1)(values, -0.15)
    shifted = [slope(values, -0.15 + d)[1] for d in (step, -step)]
    np.testing.assert_allclose(second, (shifted[0] - shifted[1]) / (2 * step), rtol=1e-5)


def _traced_h(values, weights, p):
    p = jax.lax.complex(jnp.asarray(p), 0.0)
    return SingularModes(values, weights).blocks(p, p, p)[2].real


def test_h_beyond_the_branch_is_nan():
    assert np.isnan(_h(SingularModes(np.array([1.0])), -0.3).real)  # v = x / (x^2 + 1) never exceeds 1/2
    assert np.isfinite(_h(SingularModes(np.array([1.0])), -0.2499).real)


def test_h_in_single_precision():
    with jax.enable_x64(False):
        p = jnp.asarray(-0.2 + 0j)
        found = SingularModes(jnp.array([1.8, 0.2])).blocks(p, p, p)[2]
        assert found.dtype == jnp.complex64
    np.testing.assert_allclose(found, _h(SingularModes(np.array([1.8, 0.2])), -0.2), rtol=1e-5)


def test_moments():
    ensemble = SingularModes(np.array([2.0, 0.0, 1.0]), weights=np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(ensemble.variance(), (4 + 1) / 4)
    np.testing.assert_allclose(ensemble.fourth_cumulant(), (16 + 1) / 4 - 2 * (5 / 4) ** 2)
    np.testing.assert_allclose(ensemble.rank_fraction(), 0.5)
    np.testing.assert_allclose(SingularModes(np.array([1.0])).effective_rank(), np.inf)
    assert not ensemble.is_symmetric()


# --- samples


def test_samples_keep_the_given_values():
    values = jnp.array([3.0, 0.0, 0.5, 1.0, 1.0, 2.0])
    J = jax.vmap(lambda key: SingularModes(values).sample(6, key=key))(jax.random.split(KEY, 4)).dense()
    found = np.linalg.svd(J, compute_uv=False)
    np.testing.assert_allclose(found, np.broadcast_to(np.sort(values)[::-1], (4, 6)), atol=1e-13)


def test_samples_take_the_quantiles_of_a_weighted_law():
    J = SingularModes(np.array([0.2, 1.8]), weights=np.array([3, 1])).sample(20, key=KEY, dtype=jnp.float32)
    assert J.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.svd(J.dense(), compute_uv=False), [1.8] * 5 + [0.2] * 15, rtol=1e-5)


@pytest.mark.slow
def test_samples_of_equal_values_are_uniform_orthogonal_matrices():
    num, n = 4000, 3
    keys = jax.random.split(KEY, num)
    Q = np.asarray(jax.vmap(lambda key: SingularModes(jnp.ones(n)).sample(n, key=key))(keys).dense())
    np.testing.assert_allclose(Q @ np.swapaxes(Q, 1, 2), np.broadcast_to(np.eye(n), Q.shape), atol=1e-13)
    error = 1 / np.sqrt(num)
    # Moments of the Haar measure on O(3): tr Q has mean 0, variance 1, fourth moment 3; det = +-1 equally often.
    trace = np.trace(Q, axis1=1, axis2=2)
    assert abs(trace.mean()) < 4 * error and abs((trace**2).mean() - 1) < 6 * error
    assert abs((trace**4).mean() - 3) < 40 * error and abs(np.linalg.det(Q).mean()) < 4 * error
    np.testing.assert_allclose((Q**2).mean(0), np.full((n, n), 1 / n), atol=4 * error)
    np.testing.assert_allclose(Q.mean(0), np.zeros((n, n)), atol=4 * error)


# --- from a matrix


@pytest.mark.slow
def test_a_matrix_of_independent_weights_has_no_modes():
    n = 200
    w = 1.5 / np.sqrt(n) * np.random.default_rng(0).standard_normal((n, n))
    ensemble = from_matrix(w)
    assert abs(ensemble.effective_rank()) > n / 20  # 1/2 if singular values were taken for amplitudes
    np.testing.assert_allclose(ensemble.variance(), 1.5**2, rtol=0.05)
    np.testing.assert_allclose(np.mean(ensemble.overlaps), 0, atol=4 / n)
    np.testing.assert_allclose(n * np.mean(ensemble.overlaps**2), 1, atol=0.5)
    assert singular_mismatch(ensemble, w, key=KEY) < 1e-12


def test_values_and_overlaps_of_known_matrices():
    rotation = np.array([[0.0, -1.0], [1.0, 0.0]])
    w = np.zeros((5, 5))
    w[0, 0], w[1, 1], w[2:4, 2:4] = 3.0, -2.0, rotation
    ensemble = from_matrix(w)
    np.testing.assert_allclose(ensemble.values, [3, 2, 1, 1, 0], atol=1e-14)
    np.testing.assert_allclose(ensemble.overlaps, [1, -1, 0, 0, 0], atol=1e-14)
    np.testing.assert_allclose(ensemble.rank_fraction(), 0.8)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mean_mode_that_dominates_is_named(seed, recwarn):
    """E/I weights: one mode is the means of columns; beside it, and for independent weights, none dominates."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((64, 64)) / 8
    w = noise + np.where(np.arange(64) < 48, 1.0, -2.0)[None] / 8
    with pytest.warns(DominantMode) as caught:
        from_matrix(w)
    s = np.linalg.svd(w, compute_uv=False)
    assert f"of value {s[0]:.3g} carries {s[0] ** 4 / np.sum(s**4):.0%} of <s^4>" in str(caught[0].message)
    assert 'a mean weight? `from_matrix(matrix, means="columns")` sets it apart' in str(caught[0].message)
    from_matrix(w, means="columns")
    from_matrix(noise)
    jax.jit(lambda w: from_matrix(w).values)(w)
    assert not recwarn.list


def test_a_mode_that_no_mean_takes_away_is_not_called_a_mean(recwarn):
    """Means of columns are as large as the mode, but its left vector is not the same for all units."""
    rng = np.random.default_rng(0)
    sent = np.sign(rng.standard_normal(64)) / 8
    w = np.outer(np.where(np.arange(64) < 8, 5.0, 0.0), rng.standard_normal(64) / 8) + 1.2 * np.outer(np.ones(64), sent)
    with pytest.warns(DominantMode, match="no mean weight"):
        from_matrix(w)


def test_sparse_matrices_are_not_made_dense():
    with pytest.raises(ValueError, match="`weight_statistics` and `spectra.estimated_singular_profile`"):
        from_matrix(scipy.sparse.eye_array(40, format="csr"))


@pytest.mark.slow
def test_gaussian_modes_are_recovered_from_their_sample():
    modes = RandomModes.two_valued(2.0, 0.3, 0.2, overlap=0.5)
    w = modes.sample(150, key=KEY).dense()
    found = random_modes_from_matrix(w, key=KEY, num_samples=6)
    np.testing.assert_allclose(np.median(found.amplitudes[:28]), 2, rtol=0.06)
    np.testing.assert_allclose(np.median(found.amplitudes[32:]), 0.3, rtol=0.15)
    assert singular_mismatch(found, w, key=jax.random.key(1)) < 0.06
    assert singular_mismatch(RandomModes(from_matrix(w).values), w, key=KEY) > 0.1
    np.testing.assert_allclose(found.overlap, from_matrix(w).overlaps)


@pytest.mark.slow
def test_what_gaussian_modes_cannot_reproduce_is_seen_in_the_mismatch():
    w = SingularModes(np.array([1.0])).sample(60, key=KEY).dense()
    found = random_modes_from_matrix(w, key=KEY, num_samples=6)
    np.testing.assert_allclose(found.amplitudes, np.full(60, 1.0), atol=0.03)
    np.testing.assert_allclose(singular_mismatch(found, w, key=jax.random.key(1), num_samples=8), 0.71, atol=0.03)


@pytest.mark.parametrize("side, n, synapses, rank", [("left", 209, 25322, 150), ("right", 213, 26371, 149)])
def test_larva(side, n, synapses, rank):
    w = larva_connectome(side)
    assert w.shape == (n, n) and w.dtype == jnp.float64 and w.sum() == synapses
    # Kenyon cells, the first rows, hear each other and the last projection neurons hear nobody.
    assert not w[-20:].any() and w[:, -20:].any()
    with pytest.warns(DominantMode, match=r"one singular mode of value 3\d\d carries 9\d% of .* take its s u v"):
        measured = from_matrix(w)
    np.testing.assert_allclose(measured.rank_fraction() * n, rank)
    assert measured.effective_rank() < 0.02
    assert n * np.mean(measured.overlaps**2) > 2 and measured.overlaps[0] > 0.3  # 1 and 0 for independent modes


@pytest.mark.slow
def test_gaussian_modes_reproduce_the_larva():
    w = larva_connectome("left")
    with pytest.warns(DominantMode):
        measured = from_matrix(w)
    modes = random_modes_from_matrix(w, key=KEY, num_samples=4)
    assert np.count_nonzero(modes.amplitudes) == 150
    assert singular_mismatch(modes, w, key=jax.random.key(1)) < 0.06
    assert singular_mismatch(RandomModes(measured.values, overlap=measured.overlaps), w, key=jax.random.key(1)) > 0.06


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: SingularModes(np.array([])), "`values` must be a non-empty 1-d array"),
        (lambda: SingularModes(np.array([-1.0])), "`values` must be finite numbers >= 0"),
        (lambda: SingularModes(np.array([np.nan])), "`values` must be finite numbers >= 0"),
        (
            lambda: SingularModes(np.array([1.0, 2.0]), weights=np.array([1.0])),
            "`weights` must have the shape of `values`",
        ),
        (
            lambda: SingularModes(np.array([1.0, 2.0]), weights=np.array([1.0, -1.0])),
            "`weights` must be finite numbers >= 0, not all 0",
        ),
        (
            lambda: SingularModes(np.array([1.0, 2.0]), weights=np.array([0.0, 0.0])),
            "`weights` must be finite numbers >= 0, not all 0",
        ),
        (
            lambda: SingularModes(np.array([1.0, 2.0]), overlaps=np.array([0.0])),
            "`overlaps` must have the shape of `values`",
        ),
        (lambda: SingularModes(np.array([1.0]), overlaps=np.array([1.5])), r"`overlaps` must be numbers in \[-1, 1\]"),
        (lambda: SingularModes(np.array([1.0])).sample(0, key=KEY), "`n` must be"),
        (lambda: from_matrix(np.ones((2, 3))), "`matrix` must be a square matrix"),
        (lambda: from_matrix(np.zeros((0, 0))), "`matrix` must be a square matrix"),
        (lambda: from_matrix(np.array([[np.nan]])), "`matrix` must be finite"),
        (lambda: random_modes_from_matrix(np.zeros((2, 2)), key=KEY), "`matrix` must have a non-zero entry"),
        (
            lambda: random_modes_from_matrix(np.eye(2), key=KEY, num_samples=0),
            "`num_samples` must be a whole number",
        ),
        (
            lambda: random_modes_from_matrix(np.eye(2), key=KEY, num_iterations=0),
            "`num_iterations` must be a whole number >= 1",
        ),
        (lambda: singular_mismatch(IID(), np.ones((2, 3)), key=KEY), "`matrix` must be a square matrix"),
        (
            lambda: singular_mismatch(IID(), np.eye(2), key=KEY, num_samples=0),
            "`num_samples` must be a whole number",
        ),
        (lambda: larva_connectome("middle"), '`side` must be "left" or "right"'),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
