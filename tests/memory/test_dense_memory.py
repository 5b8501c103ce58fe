"""Dense sequence memories: recall against direct sums, moments against enumeration, bit errors against samples."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import memory
from jaxnets.memory import dense

INTERACTIONS = [
    dense.Polynomial(1),
    dense.Polynomial(2),
    dense.Polynomial(3),
    dense.Exponential(),
]


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
@pytest.mark.parametrize("ring", [True, False])
def test_recall_against_direct_sums(interaction, ring):
    n, num, steps = 15, 9, 4
    rng = np.random.default_rng(0)
    xi, s = rng.choice([-1.0, 1.0], (num, n)), rng.choice([-1.0, 1.0], n)
    found = dense.recall(interaction, xi, s, num_steps=steps, ring=ring)
    expected = [xi @ s / n]
    for _ in range(steps):
        f = interaction(xi @ s / n, n)
        called = range(num if ring else num - 1)
        field = sum(f[mu] * xi[(mu + 1) % num] for mu in called)
        s = np.where(np.abs(field) < 1e-14, s, np.sign(field))
        expected.append(xi @ s / n)
    np.testing.assert_allclose(found.overlaps, expected, atol=1e-14)
    np.testing.assert_array_equal(found.final, s)


def test_many_trials_and_networks():
    keys = jax.random.split(jax.random.key(0), 3)
    patterns = jax.vmap(lambda key: memory.binary(20, 6, key=key))(keys)
    states = jax.vmap(lambda key: memory.binary(20, 4, key=key))(keys)
    recall = lambda xi, s: dense.recall(dense.Polynomial(2), xi, s, num_steps=3)
    batch = jax.jit(jax.vmap(recall))(patterns, states)
    assert batch.overlaps.shape == (3, 4, 4, 6) and batch.final.shape == (3, 4, 20)
    for i, k in np.ndindex(3, 4):
        alone = recall(patterns[i], states[i, k])
        np.testing.assert_allclose(batch.overlaps[i, :, k], alone.overlaps, atol=1e-14)
        np.testing.assert_array_equal(batch.final[i, k], alone.final)


def test_a_few_patterns_are_recalled_in_order():
    patterns = memory.binary(200, 12, key=jax.random.key(1), dtype=jnp.float32)
    for interaction in (dense.Polynomial(2), dense.Exponential()):
        found = dense.recall(interaction, patterns, patterns[5], num_steps=30)
        assert found.final.dtype == jnp.float32
        retrieved = memory.retrieval(found.overlaps, jnp.arange(31.0), cue=5)
        np.testing.assert_array_equal(retrieved.visited, (5 + np.arange(12)) % 12)
        np.testing.assert_allclose([retrieved.speed, retrieved.period, retrieved.peak_overlap], [1, 12, 1], rtol=1e-6)


def test_far_from_all_patterns_nothing_underflows():
    """exp(-n) is 0 in single precision, but the pattern with the largest overlap is still followed."""
    n = 400
    patterns = memory.binary(n, 3, key=jax.random.key(2), dtype=jnp.float32)
    state = jnp.where(jnp.arange(n) < 240, patterns[0], -patterns[0])  # overlap .2
    assert math.exp(-0.8 * n) < np.finfo(np.float32).tiny
    found = dense.recall(dense.Exponential(), patterns, state, num_steps=1)
    np.testing.assert_array_equal(found.final, patterns[1])


def test_a_bit_without_a_field_stays():
    patterns = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    state = np.array([1.0, 1.0, 1.0, -1.0])  # overlap 1/2 with both, which call each other: field (1, 1, 0, 0)
    np.testing.assert_array_equal(dense.recall(dense.Polynomial(), patterns, state, num_steps=1).final, state)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rounding_is_no_field(dtype):
    """Of many states of a network, against whole numbers: many a bit has the field 0, in sums that are rounded."""
    rng = np.random.default_rng(1)
    xi, s = rng.choice([-1, 1], (8, 15)), rng.choice([-1, 1], (400, 15))
    found = dense.recall(dense.Polynomial(3), jnp.asarray(xi, dtype), jnp.asarray(s, dtype), num_steps=1)
    field = (s @ xi.T) ** 3 @ np.roll(xi, -1, axis=0)
    assert np.sum(field == 0) > 20
    np.testing.assert_array_equal(found.final, np.where(field == 0, s, np.sign(field)))


# --- theory


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
def test_second_moments_by_enumeration(interaction):
    for n in (1, 2, 7):
        m = np.array([sum(bits) / n for bits in itertools.product((-1, 1), repeat=n)])
        np.testing.assert_allclose(interaction.second_moment(n), np.mean(interaction(m, n) ** 2), rtol=1e-12)


@pytest.mark.parametrize("order, double_factorial", [(1, 1), (2, 3), (3, 15), (4, 105)])
def test_polynomial_crosstalk_of_large_networks(order, double_factorial):
    n, num = 4000, 11
    found = dense.crosstalk_variance(dense.Polynomial(order), n, num)
    # The cumulants of the overlap beyond the Gaussian give corrections of order k (k - 1) / (3 n), k = 2 order - 1 + 1.
    k = 2 * order
    np.testing.assert_allclose(found, (num - 1) * double_factorial / n**order, rtol=k * (k - 1) / n)


def _error_by_enumeration(interaction, n, num):
    """Of all sums of num - 1 independent signed terms."""
    k = np.arange(n + 1)
    chances = np.array([math.comb(n, int(i)) for i in k]) / 2.0**n
    f = interaction((n - 2 * k) / n, n)
    values, chances = np.concatenate([f, -f]), np.concatenate([chances, chances]) / 2
    total, weight = np.zeros(1), np.ones(1)
    for _ in range(num - 1):
        total, weight = np.add.outer(total, values).ravel(), np.multiply.outer(weight, chances).ravel()
    return np.sum(weight[total < -1 - 1e-9]) + np.sum(weight[np.abs(total + 1) <= 1e-9]) / 2


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=str)
@pytest.mark.parametrize("n, num", [(5, 2), (4, 4), (3, 5)])
def test_bit_error_by_enumeration(interaction, n, num):
    """Terms off the grid spread an atom of the law over its neighbours: to 1e-3 where there are few terms."""
    np.testing.assert_allclose(
        dense.bit_error(interaction, n, num), _error_by_enumeration(interaction, n, num), rtol=1e-9, atol=2e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "interaction, n, num, num_networks",
    [
        (dense.Polynomial(1), 200, 60, 40),
        (dense.Polynomial(2), 100, 900, 20),
        (dense.Polynomial(3), 20, 300, 40),
        (dense.Exponential(), 10, 100, 200),
        (dense.Exponential(), 12, 300, 60),
    ],
    ids=str,
)
def test_bit_error_of_samples(interaction, n, num, num_networks):
    found = dense.sampled_bit_error(
        interaction, n, num, num_networks=num_networks, key=jax.random.key(3), progress=False
    )
    assert found.error < 0.06 * found.value
    np.testing.assert_allclose(dense.bit_error(interaction, n, num), found.value, rtol=0.05, atol=3 * found.error)
    gaussian = dense.gaussian_bit_error(interaction, n, num)
    if isinstance(interaction, dense.Polynomial):
        np.testing.assert_allclose(gaussian, found.value, rtol=0.05, atol=3 * found.error)
    else:
        assert gaussian < found.value / 5  # the crosstalk is that of few patterns


def test_bit_error_of_very_many_patterns():
    """Terms of 1e-40 and a chance 2^-n of a full one: where var << 1, a bit is lost to a pattern equal to the state."""
    n = 200
    num = round(1e-4 * 2.0**n)
    found = dense.bit_error(dense.Exponential(), n, num)
    # Half of these call the opposite bit, and the field is then that of all the rest, of either sign.
    np.testing.assert_allclose(found, 1e-4 / 2 / 2, rtol=1e-2)


@pytest.mark.parametrize(
    "interaction, n",
    [(dense.Polynomial(1), 200), (dense.Polynomial(2), 60), (dense.Exponential(), 9)],
)
def test_capacity_is_where_the_error_is_reached(interaction, n):
    one = dense.capacity(interaction, n, error_rate=0.01)
    assert dense.bit_error(interaction, n, one) <= 0.01 < dense.bit_error(interaction, n, one + 1)
    whole = dense.capacity(interaction, n, error_rate=0.5, whole=True)
    wrong = lambda num: num * n * dense.bit_error(interaction, n, num)
    assert wrong(whole) <= 0.5 < wrong(whole + 1) and whole < one


def test_gaussian_capacity_inverts_the_gaussian_error():
    for interaction in (dense.Polynomial(1), dense.Polynomial(3)):
        num = dense.gaussian_capacity(interaction, 50, error_rate=0.02)
        below, above = (dense.gaussian_bit_error(interaction, 50, math.floor(num) + k) for k in (0, 1))
        assert below <= 0.02 < above
    # Many patterns have Gaussian crosstalk.
    exact = dense.capacity(dense.Polynomial(1), 400, error_rate=0.02)
    np.testing.assert_allclose(dense.gaussian_capacity(dense.Polynomial(1), 400, error_rate=0.02), exact, rtol=0.02)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda xi: dense.Polynomial(0), "`order` must be a whole number >= 1"),
        (
            lambda xi: dense.recall(dense.Polynomial(), xi[0], xi[0], num_steps=1),
            "`patterns` must have shape",
        ),
        (lambda xi: dense.recall(dense.Polynomial(), xi, xi[0, :2], num_steps=1), "`states` must have shape"),
        (
            lambda xi: dense.recall(dense.Polynomial(), xi, 0.5 * xi[0], num_steps=1),
            "`states` must be of entries 1",
        ),
        (
            lambda xi: dense.recall(dense.Polynomial(), xi, xi[0], num_steps=0),
            "`num_steps` must be a whole number",
        ),
        (lambda xi: dense.recall(np.exp, xi, xi[0], num_steps=1), "`interaction` must be an `Interaction`"),
        (lambda xi: dense.bit_error(dense.Polynomial(), 0, 5), "`n` must be a whole number"),
        (lambda xi: dense.crosstalk_variance(dense.Polynomial(), 5, 0), "`num_patterns` must be a whole number"),
        (lambda xi: dense.capacity(dense.Polynomial(), 5, error_rate=0.5), "`error_rate` must be in"),
        (
            lambda xi: dense.capacity(dense.Polynomial(), 5, error_rate=0.0, whole=True),
            "`error_rate` must be a finite number",
        ),
        (lambda xi: dense.gaussian_capacity(dense.Polynomial(), 5, error_rate=0.0), "`error_rate` must be in"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 4)))
