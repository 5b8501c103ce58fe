"""The binary perceptron for N -> infinity, against a table of converged numbers, limits and a second integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.learning import BinaryPerceptron

# alpha, q, qh, entropy, Lambda at kappa = 0
STATES = [
    (0.1, 0.06343494, 0.07214476, 0.62277921, 0.04066455),
    (0.3, 0.19083792, 0.28597865, 0.47482893, 0.12750472),
    (0.5, 0.32238536, 0.66803499, 0.31439007, 0.23355182),
    (0.8, 0.53794216, 2.21531606, 0.03530572, 0.49749654),
    (0.9, 0.61859816, 3.59404637, -0.07577570, 0.66218436),
    (1.0, 0.70672918, 6.60442281, -0.20422649, 0.94095367),
]
# kappa, alpha_s, alpha_AT, Lambda at alpha_s
LIMITS = [
    (-2.0, 29.992083, 55.126517, 0.4399),
    (-1.5, 9.829059, 14.598208, 0.5699),
    (-1.0, 3.794628, 5.095255, 0.6070),
    (-0.5, 1.678841, 2.131728, 0.5888),
    (-0.2, 1.088803, 1.347363, 0.5641),
    (0.0, 0.833079, 1.014654, 0.5444),
    (0.2, 0.647404, 0.776509, 0.5230),
    (0.5, 0.455665, 0.534501, 0.4895),
    (1.0, 0.270700, 0.306646, 0.4333),
    (1.5, 0.172447, 0.189432, 0.3811),
    (2.0, 0.116489, 0.124783, 0.3357),
]
# alpha, p, entropy, t, r of solutions at overlap p, from a rule in three dimensions
DISTANT = [
    (0.5, 0.4, 0.31064, 0.33082, 0.34790),
    (0.5, 0.8, 0.16466, 0.33937, 0.68877),
    (0.5, 0.95, 0.03811, 0.32763, 0.91305),
    (0.5, 0.99, -0.00384, 0.32333, 0.98304),
    (0.3, 0.6, 0.37453, 0.20527, 0.42178),
    (0.3, 0.98, 0.02964, 0.19222, 0.96195),
]


def test_states():
    for alpha, *expected in STATES:
        state = BinaryPerceptron(alpha).saddle()
        found = state.overlap, state.conjugate, state.entropy, state.stability
        assert state.converged and state.residual < 1e-12
        np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(("kappa", "capacity", "limit", "stability"), [LIMITS[0], LIMITS[5], LIMITS[10]])
def test_limits(kappa, capacity, limit, stability):
    perceptron = BinaryPerceptron(1.0, kappa)
    ends = perceptron.capacity(), perceptron.stability_limit()
    assert all(end.converged for end in ends)
    np.testing.assert_allclose([end.value for end in ends], [capacity, limit], atol=6e-7)
    at_capacity = BinaryPerceptron(ends[0].value, kappa)
    np.testing.assert_allclose(at_capacity.entropy().value, 0, atol=1e-10)
    np.testing.assert_allclose(at_capacity.stability().value, stability, atol=5.1e-5)


@pytest.mark.slow
def test_limits_of_all_margins_at_once():
    kappa, capacity, limit, _ = np.array(LIMITS).T
    both = jax.jit(
        jax.vmap(lambda k: [BinaryPerceptron(1.0, k).capacity(), BinaryPerceptron(1.0, k).stability_limit()])
    )
    for found, expected in zip(both(kappa), (capacity, limit), strict=True):
        assert found.converged.all()
        np.testing.assert_allclose(found.value, expected, atol=6e-7)


@pytest.mark.slow
def test_gradients_of_limits():
    for name in ("capacity", "stability_limit", "isolation_distance"):
        end = lambda k, name=name: getattr(BinaryPerceptron(0.3, k), name)().value
        np.testing.assert_allclose(jax.grad(end)(0.2), (end(0.2 + 1e-4) - end(0.2 - 1e-4)) / 2e-4, rtol=1e-5)


@pytest.mark.slow
def test_entropy_falls_by_the_chance_of_a_pattern():
    """ds/d alpha = <ln H>, at any margin: a gradient through the saddle point against its partial derivative."""
    slope = jax.jit(jax.grad(lambda alpha: BinaryPerceptron(alpha, 0.3).entropy().value))(0.4)
    at = lambda alpha: BinaryPerceptron(alpha, 0.3).entropy().value
    np.testing.assert_allclose(slope, (at(0.4 + 1e-4) - at(0.4 - 1e-4)) / 2e-4, rtol=1e-6)


def test_far_margins():
    """alpha << 1 at any margin: no pattern but its own acts on a weight, so that s = ln 2 + alpha ln H(kappa)."""
    for kappa in (-6.0, 5.0, 30.0):
        perceptron = BinaryPerceptron(1e-6, kappa)
        state = perceptron.saddle()
        tail = jax.scipy.special.log_ndtr(-kappa)
        assert state.converged
        np.testing.assert_allclose(state.entropy, np.log(2) + 1e-6 * tail, atol=1e-6 * (1 + abs(tail)) * 1e-3)
    # Next to the load at which q = 1, 4 / pi at kappa = 0, and beyond it.
    for alpha in (1.25, 1.27, 1.2725):
        assert BinaryPerceptron(alpha).saddle().converged
    for alpha in (1.2735, 1.28, 1.29, 1.3, 1.35, 1.5, 2.0):
        assert not BinaryPerceptron(alpha).saddle().converged


def test_state_evolution():
    found = BinaryPerceptron(0.7).state_evolution(8)
    np.testing.assert_allclose(found, [0.2553, 0.3499, 0.3965, 0.4223, 0.4374, 0.4467, 0.4525, 0.4561], atol=5.1e-5)
    state = BinaryPerceptron(0.7).saddle()
    np.testing.assert_allclose(state.contraction, 0.645, atol=5.1e-4)


@pytest.mark.slow
def test_solutions_at_a_distance():
    for alpha, p, *expected in DISTANT:
        nearby = BinaryPerceptron(alpha).distance_entropy((1 - p) / 2)
        assert nearby.converged
        np.testing.assert_allclose([nearby.entropy, nearby.with_others, nearby.among], expected, atol=1.1e-5)


def test_typical_distance():
    """p = q: all three overlaps are q, and the entropy is that of all solutions, its maximum."""
    perceptron = BinaryPerceptron(0.4, 0.1)
    state = perceptron.saddle()
    typical = (1 - state.overlap) / 2
    nearby = perceptron.distance_entropy(typical)
    assert nearby.converged
    found = nearby.entropy, nearby.with_others, nearby.among, nearby.stability
    np.testing.assert_allclose(found, [state.entropy, state.overlap, state.overlap, state.stability], atol=1e-8)
    beside = [perceptron.distance_entropy(typical + by).entropy for by in (-1e-3, 1e-3)]
    np.testing.assert_allclose((beside[1] - beside[0]) / 2e-3, 0, atol=1e-4)
    assert max(beside) < state.entropy


def test_solutions_are_isolated():
    perceptron = BinaryPerceptron(0.5)
    end = perceptron.isolation_distance()
    assert end.converged
    np.testing.assert_allclose(end.value, 0.00700, atol=1e-5)
    np.testing.assert_allclose(perceptron.distance_entropy(end.value).entropy, 0, atol=1e-9)


def test_small_distances():
    """s -> H2(d) - 2 alpha rho I sqrt d."""
    alpha, integral = 0.1, 0.4775354
    density = BinaryPerceptron(alpha).saddle().margin_density
    for d in (1e-3, 1e-4):
        room, loss = -d * np.log(d) - (1 - d) * np.log1p(-d), 2 * alpha * density * integral * np.sqrt(d)
        found = BinaryPerceptron(alpha).distance_entropy(d).entropy
        np.testing.assert_allclose(room - found, loss, rtol=2e-3)


def test_symmetric():
    at = lambda alpha, kappa: BinaryPerceptron(alpha, kappa, symmetric=True)
    for kappa, capacity in ((0.5, 0.7220912), (1.0, 1.8158755), (1.5, 4.8328128)):
        np.testing.assert_allclose(at(1.0, kappa).capacity().value, capacity, atol=1e-7)
        assert at(at(1.0, kappa).stability_limit().value, kappa).stability().value == pytest.approx(1)
    for d, entropy in ((0.01, -0.002221), (0.05, 0.063320), (0.1, 0.128344), (0.2, 0.216330), (0.5, 0.311432)):
        np.testing.assert_allclose(at(1.0, 1.0).distance_entropy(d).entropy, entropy, atol=1e-6)
    for alpha, d in ((0.3, 0.000367), (0.5, 0.001435), (1.0, 0.011369), (1.5, 0.055579)):
        end = at(alpha, 1.0).isolation_distance()
        assert end.converged
        np.testing.assert_allclose(end.value, d, atol=6e-7)
    assert not at(2.0, 1.0).isolation_distance().converged
    # All of them, at distance 1/2.
    np.testing.assert_allclose(at(1.0, 1.0).distance_entropy(0.5).entropy, at(1.0, 1.0).entropy().value, rtol=1e-9)


@pytest.mark.slow
def test_one_program_for_all_loads():
    states = jax.jit(jax.vmap(lambda alpha: BinaryPerceptron(alpha).saddle()))(jnp.array([row[0] for row in STATES]))
    assert states.converged.all()
    np.testing.assert_allclose(states.entropy, [row[3] for row in STATES], atol=1e-8)


def test_bad_arguments_are_named():
    cases = [
        (lambda: BinaryPerceptron(0.0), "alpha"),
        (lambda: BinaryPerceptron(0.5, np.inf), "kappa"),
        (lambda: BinaryPerceptron(0.5, 0.0, symmetric=True), "kappa"),
        (lambda: BinaryPerceptron(0.5).state_evolution(0), "sweeps"),
        (lambda: BinaryPerceptron(0.5).distance_entropy(0.0), "distance"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            call()
