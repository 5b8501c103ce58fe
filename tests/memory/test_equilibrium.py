"""Replica-symmetric theory of memory: averages by enumeration, exact cases, gradients, lines, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from enumeration import enumerated
from scipy.integrate import quad
from scipy.special import erf

from jaxnets import Discrete
from jaxnets.couplings import DeepHebbian
from jaxnets.memory import (
    SymmetricCore,
    capacity,
    coexistence,
    correlation_profile,
    glass_temperature,
    replica_state,
    replicon_temperature,
    symmetric_core,
    zero_load_overlaps,
)

PURE = np.eye(9)[4]


def window(load, *hetero, auto=1.0, patterns="binary"):
    return DeepHebbian(load, auto, hetero or (0.0,), patterns=patterns, symmetric=True)


# --- states -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [0.0, 0.15])
def test_state_of_a_window(T):
    """The equations by enumeration and adaptive quadrature of the angle."""
    load, gammas = 0.004, (0.15, -0.1)
    state = replica_state(window(load, *gammas), PURE, T, core_nodes=64)
    assert state.converged and state.stability > 0
    lam = lambda theta: 1 + 2 * sum(g * np.cos((r + 1) * theta) for r, g in enumerate(gammas))
    average = lambda f: quad(lambda theta: f(lam(theta)), 0, np.pi, epsabs=1e-13, epsrel=1e-13)[0] / np.pi
    m, chi, q, r = (np.asarray(x) for x in (state.m, state.chi, state.q, state.r))
    K = np.eye(9) + sum(g * (np.eye(9, k=i + 1) + np.eye(9, k=-i - 1)) for i, g in enumerate(gammas))
    overlaps, response, fourth, entropy = enumerated(K @ m, load * r, T)
    np.testing.assert_allclose(m, overlaps, atol=1e-11)
    np.testing.assert_allclose([chi, q], [response, 1 - T * chi], atol=1e-10)
    noise = average(lambda x: x**2 / (1 - chi * x) ** 2)
    np.testing.assert_allclose(r, q * noise, rtol=1e-11)
    field = m @ K @ m + load * r * chi + T * entropy  # T <ln 2cosh>
    loops = T * average(lambda x: np.log(1 - chi * x)) - q * average(lambda x: x / (1 - chi * x)) + r * chi
    np.testing.assert_allclose(state.free_energy, m @ K @ m / 2 + load / 2 * (1 + loops) - field, atol=1e-11)
    np.testing.assert_allclose(state.replicon, 1 - load * noise * fourth / T if T else -np.inf, rtol=1e-10)


def test_paramagnet():
    """q = 0 above the glass: f = alpha / 2 (1 + T ln(1 - 1 / T)) - T ln 2 for the Hopfield model."""
    load, T = 0.1, 1.5
    state = replica_state(window(load), [0.0], T)
    assert state.converged
    np.testing.assert_allclose([state.q, state.chi], [0, 1 / T], atol=1e-12)
    np.testing.assert_allclose(state.free_energy, load / 2 * (1 + T * np.log(1 - 1 / T)) - T * np.log(2), rtol=1e-12)
    np.testing.assert_allclose(state.replicon, 1 - load / (T - 1) ** 2, rtol=1e-11)
    np.testing.assert_allclose(state.stability, 1 - 1 / T, rtol=1e-11)


def test_replicon_of_the_glass_near_its_onset():
    """q ~ tau: the symmetric glass is unstable at once, the paramagnet stable above."""
    T_g = 1 + np.sqrt(0.2)
    above, below = (replica_state(window(0.2), [0.0], T_g * factor) for factor in (1.02, 0.98))
    assert above.replicon > 0 and below.replicon < 0 and 0 < below.q < 0.1 and below.converged


def test_cold_states_are_the_limit():
    """Corrections begin with q = 1 - T chi, in r at first order."""
    cold = replica_state(window(0.1), [1.0])
    for T in (1e-3, 1e-4):
        state = replica_state(window(0.1), [1.0], T)
        np.testing.assert_allclose(state.r, cold.r * (1 - T * cold.chi), atol=T * cold.chi / 5)
        for name in ("m", "chi", "free_energy"):
            np.testing.assert_allclose(getattr(state, name), getattr(cold, name), atol=2 * T * cold.chi)


@pytest.mark.slow
def test_mixtures_of_three_and_two():
    """Odd mixtures are attractors, even ones saddles, found by Newton's method alone."""
    load = 1e-5
    three = replica_state(window(load), [0.5, 0.5, 0.5], 0.2)
    two = replica_state(window(load), [0.43, 0.43, 0.0], 0.7, num_steps=0)
    assert three.converged and three.stability > 0
    assert two.converged and two.stability < 0
    np.testing.assert_allclose(three.m, 0.5, atol=1e-2)
    assert two.m[0] > 0.1
    np.testing.assert_allclose(two.m, two.m[0] * jnp.array([1.0, 1.0, 0.0]), atol=1e-12)
    pure = replica_state(window(load), [0.45, 0.4, 0.0], 0.7, num_steps=200)
    assert pure.stability > 0 and pure.m[0] > 0.5 and abs(pure.m[1]) < 1e-9


def test_any_core():
    """A core by its eigenvalues: patterns rotated among themselves, and two groups of unequal strength."""
    hopfield = replica_state(window(0.08), [1.0], 0.2)
    core = SymmetricCore(0.08, [[1.0]], Discrete([1.0]))
    np.testing.assert_allclose(replica_state(core, [1.0], 0.2).m, hopfield.m, rtol=1e-12)
    core = SymmetricCore(0.08, [[1.5]], Discrete([1.5, 0.5], [0.25, 0.75]))
    state = replica_state(core, [1.0], 0.2)
    chi, T = state.chi, 0.2
    noise = 0.25 * 1.5**2 / (1 - 1.5 * chi) ** 2 + 0.75 * 0.5**2 / (1 - 0.5 * chi) ** 2
    np.testing.assert_allclose(state.r, (1 - T * chi) * noise, rtol=1e-12)
    overlap, response, *_ = enumerated(1.5 * np.asarray(state.m), 0.08 * float(state.r), T)
    np.testing.assert_allclose([state.m[0], chi], [overlap[0], response], rtol=1e-11)


@pytest.mark.slow
def test_gaussian_patterns():
    """m = K m chi by parts: chi = 1 where one pattern of strength 1 is recalled, which needs more than alpha allows."""
    state = replica_state(window(1e-3, patterns="gaussian"), [0.8], 0.3, num_steps=5)
    assert not state.converged or abs(state.m[0]) < 1e-6  # 1 - chi lambda = 0 in the bulk: no retrieval
    core = SymmetricCore(1e-2, [[1.5]], Discrete([0.5]), patterns="gaussian")
    state = replica_state(core, [0.8], 0.3)
    assert state.converged
    np.testing.assert_allclose(state.chi, 1 / 1.5, rtol=1e-10)
    # The part of x along xi: <xi tanh(x / T)> = a / s <u tanh(s u / T)> for x = s u.
    a, z = 1.5 * float(state.m[0]), np.linspace(-9, 9, 4001)
    s, weights = np.sqrt(a**2 + 1e-2 * float(state.r)), np.exp(-(z**2) / 2) / np.sum(np.exp(-(z**2) / 2))
    np.testing.assert_allclose(state.m[0], a / s * (weights @ (z * np.tanh(s * z / 0.3))), rtol=1e-11)


@pytest.mark.slow
def test_gradients():
    """By load, window and temperature against central differences, of second order in their step.

    The retrieved state of this window ends at T = .167.
    """

    def quantities(load, gamma, T):
        state = replica_state(window(load, gamma), PURE[2:7], T)
        return jnp.stack([state.free_energy, state.m[2], state.m[3], state.chi, state.replicon])

    point, step = (0.01, 0.3, 0.12), 1e-5
    assert quantities(*point)[1] > 0.99 and np.all(np.isfinite(quantities(*point)))
    found = jax.jit(jax.jacrev(quantities, (0, 1, 2)))(*point)
    for i, slope in enumerate(found):
        low, high = (quantities(*(x + s * step * (i == j) for j, x in enumerate(point))) for s in (-1, 1))
        np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-4, atol=1e-6)
    # -df/dT is the entropy, which no gradient of the order parameters enters.
    cold = jax.grad(lambda load: replica_state(window(load), [1.0]).free_energy)(0.1)
    low, high = (replica_state(window(load), [1.0]).free_energy for load in (0.1 - step, 0.1 + step))
    np.testing.assert_allclose(cold, (high - low) / (2 * step), rtol=1e-5)


@pytest.mark.slow
def test_many_at_once():
    loads, temperatures = jnp.linspace(0.02, 0.1, 4), jnp.array([0.0, 0.1, 0.3, 1.5])
    solve = lambda load, T: replica_state(window(load, 0.2), PURE, T)
    together = jax.jit(jax.vmap(solve))(loads, temperatures)
    for i in range(4):
        alone = solve(loads[i], temperatures[i])
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(a, b[i], rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_failures_are_data():
    few = replica_state(window(1e-4, 0.3), PURE, nodes=20)
    assert not few.converged and not few.residual < 1e-8
    # Close to the end of the phase the law of lambda needs more nodes.
    coarse, fine = (replica_state(window(1e-3, 0.5), [0.0], core_nodes=core_nodes) for core_nodes in (16, 1024))
    assert not coarse.converged and fine.converged


def test_bad_arguments():
    cases = [
        (lambda: replica_state(DeepHebbian(0.1, 1.0, (0.5,)), [1.0]), "ensemble"),
        (lambda: replica_state(0.1, [1.0]), "ensemble"),
        (lambda: replica_state(window(0.1), 1.0), "guess"),
        (lambda: replica_state(window(0.1), [np.nan]), "guess"),
        (lambda: replica_state(window(0.1), [1.0], -0.1), "temperature"),
        (lambda: replica_state(window(0.1), [1.0], nodes=3), "nodes"),
        (lambda: replica_state(SymmetricCore(0.1, np.eye(2), Discrete([1.0])), [1.0]), "num_condensed"),
        (lambda: capacity(window(0.1), [1.0], loads=(0.1, 0.0)), "loads"),
        (lambda: correlation_profile(window(0.1), -1), "reach"),
        (lambda: zero_load_overlaps(np.eye(2), [1.0]), "guess"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}`"):
            call()


def equations(load, gammas, T, y):
    """The right-hand sides for m and chi, by all signs and by a fine rule for the angle."""
    m, chi = np.asarray(y[:-1]), float(y[-1])
    shifts = np.arange(1, len(gammas) + 1)
    theta = np.pi * np.arange(4097) / 4096
    lam = 1 + 2 * np.cos(np.outer(theta, shifts)) @ gammas
    K = np.eye(len(m)) + sum(
        g * (np.eye(len(m), k=r) + np.eye(len(m), k=-r)) for r, g in zip(shifts, gammas, strict=True)
    )
    weights = np.where((theta == 0) | (theta == np.pi), 0.5, 1) / 4096
    r = (1 - T * chi) * (weights @ (lam**2 / (1 - chi * lam) ** 2))
    overlaps, response, *_ = enumerated(K @ m, load * r, T)
    return np.append(overlaps, response)


# Damped iteration of `equations`, chi within .7 of its phase for 150 steps of 250, gave the same overlaps. From the
# first one, 20000 spins of Monte Carlo stay at (.10, .41, .59, .40, .10) for 800 sweeps and then spread.
CONVERSIONS = [
    (0.002, (0.6, 0.0), 0.1, [0.089, 0.286, 0.398, 0.415]),
    (0.001, (0.6,), 0.1, [0.021, 0.104, 0.399, 0.597]),
    (0.002, (0.3, 0.3), 0.1, [0.303, 0.304, 0.321, 0.321]),
    (0.002, (0.45,), 0.1, [0.018, 0.092, 0.410, 0.588]),
    (0.004, (0.5, -0.1), 0.25, [-0.002, 0.076, 0.415, 0.576]),
]


@pytest.mark.parametrize(("load", "gammas", "T", "expected"), CONVERSIONS)
def test_a_pattern_converts_into_a_broad_state(load, gammas, T, expected):
    """Past fields that are nearly 0, where an unlimited chi ends in the glass, or in NaN."""
    for num_steps in (10, 30, 200):
        state = replica_state(window(load, *gammas), np.eye(7)[3], T, num_steps=num_steps)
        assert state.converged and state.stability > 0 and state.replicon > 0
        np.testing.assert_allclose(state.m, [*expected, *expected[2::-1]], atol=1e-3)
    y = np.append(state.m, state.chi)
    np.testing.assert_allclose(equations(load, np.array(gammas), T, y), y, atol=1e-10)


def test_another_load_window_and_size_compile_nothing():
    capacity(window(0.05, 0.1), np.eye(5)[2])
    with compilations() as programs:
        for load, gammas, size in ((0.05, (0.2,), 5), (0.03, (0.2, 0.1), 7), (0.02, (0.1,), 1)):
            assert replica_state(window(load, *gammas), np.eye(size)[size // 2], 0.1).converged
        assert capacity(window(0.1), [1.0]).converged and glass_temperature(window(0.1, 0.1)).converged
    assert programs == []


# --- lines ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fold_of_the_hopfield_model():
    """T = 0 in one variable: m = erf t, and sqrt(2 alpha) = erf(t) / t - (2 / sqrt pi) exp(-t^2)."""
    t = np.linspace(0.5, 4, 200001)
    loads = (erf(t) / t - 2 / np.sqrt(np.pi) * np.exp(-(t**2))) ** 2 / 2
    best = np.argmax(np.where(t > 1, loads, 0))
    found = capacity(window(0.1), [1.0])
    assert found.converged
    np.testing.assert_allclose(found.load, loads[best], rtol=1e-9)
    np.testing.assert_allclose(found.m, erf(t[best : best + 1]), atol=1e-4)
    # The branch itself: retrieval below, none above, its softest mode vanishing in between.
    below, above = (replica_state(window(found.load * f), [1.0], num_steps=300) for f in (0.9999, 1.002))
    assert 0 < below.stability < 0.1 and below.m[0] > 0.9 and abs(above.m[0]) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        lambda gamma: capacity(window(0.1, gamma), PURE[3:6]).load,
        lambda gamma: coexistence(window(0.1, gamma), PURE[3:6], 0.2).load,
        lambda gamma: glass_temperature(window(0.1, gamma)).temperature,
        lambda gamma: jnp.log(replicon_temperature(window(0.05, gamma), PURE[3:6]).temperature),
    ],
    ids=["capacity", "coexistence", "glass", "replicon"],
)
def test_lines_have_gradients(line):
    step = 1e-4
    slope = jax.grad(line)(0.1)
    np.testing.assert_allclose(slope, (line(0.1 + step) - line(0.1 - step)) / (2 * step), rtol=1e-4)


@pytest.mark.slow
def test_lines_meet_their_conditions():
    found = coexistence(window(0.1), [1.0], 0.2)
    retrieval, glass = (replica_state(window(found.load), start, 0.2) for start in ([1.0], [0.0]))
    np.testing.assert_allclose(retrieval.free_energy, glass.free_energy, rtol=1e-12)
    found = replicon_temperature(window(0.1, 0.1), PURE[3:6])
    assert found.converged
    state = replica_state(window(0.1, 0.1), PURE[3:6], found.temperature)
    np.testing.assert_allclose(state.replicon, 0, atol=1e-8)


@pytest.mark.slow
def test_no_line():
    assert not capacity(window(0.1), [1.0], loads=(1e-3, 0.1)).converged  # ends beyond
    assert not glass_temperature(window(0.5, auto=-1.0)).converged  # no attraction
    assert not replicon_temperature(window(0.3), [1.0]).converged  # no retrieval


# --- few patterns -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_zero_load_is_the_limit():
    """Of small loads, at T = 0 and above."""
    gamma = 0.3
    K = np.asarray(symmetric_core(window(0.1, gamma), 9).condensed)
    for T, load in ((0.0, 1e-3), (0.2, 1e-6)):
        limit = zero_load_overlaps(K, PURE, T)
        assert limit.converged
        state = correlation_profile(window(load, gamma), 4, T, nodes=200)
        np.testing.assert_allclose(limit.value, state.m, atol=1e-5)
    slope = jax.grad(lambda T: zero_load_overlaps(K, PURE, T).value[4])(0.3)
    low, high = (zero_load_overlaps(K, PURE, T).value[4] for T in (0.29999, 0.30001))
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2])
def test_pure_pattern_is_lost_at_half_its_strength_over_the_window(d):
    for gamma, kept in ((0.49 / d, True), (0.51 / d, False)):
        K = np.asarray(symmetric_core(window(0.1, *(gamma,) * d), 9).condensed)
        assert np.array_equal(zero_load_overlaps(K, PURE).value, PURE) == kept
