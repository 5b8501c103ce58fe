"""Gardner's perceptron: published limits, its state against its capacity, and linear programmes of growing size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import norm

from jaxnets.learning import SphericalPerceptron, largest_margin

KINDS = [{}, {"signed": True}, {"free_bias": True, "coding": 0.2}, {"free_bias": True, "coding": 0.2, "signed": True}]
BY_MEAN = {"free_bias": True, "signed": True, "fixed_mean": True}


def test_gardner():
    """1 / int_{-kappa}^inf (z + kappa)^2 Dz, and half of it for prescribed signs."""
    for kappa in (-1.0, 0.0, 0.5, 2.0):
        exact = 1 / ((1 + kappa**2) * norm.cdf(kappa) + kappa * norm.pdf(kappa))
        np.testing.assert_allclose(SphericalPerceptron(1.0, kappa).capacity().value, exact, rtol=1e-12)
        signed = SphericalPerceptron(1.0, kappa, signed=True).capacity()
        np.testing.assert_allclose([signed.value, signed.silent], [exact / 2, 0.5], rtol=1e-12)


def test_sparse_coding():
    """2 at f = 1/2; without its mean bias 2 again at any f; 1 / (f |ln f|), slowly, for rare outputs."""
    sparse = lambda f: SphericalPerceptron(1.0, coding=f, free_bias=True).capacity()
    np.testing.assert_allclose(sparse(0.5).value, 2, rtol=1e-12)
    np.testing.assert_allclose(sparse(0.1).value, sparse(0.9).value, rtol=1e-10)
    np.testing.assert_allclose(SphericalPerceptron(1.0, coding=0.1).capacity().value, 2, rtol=1e-12)
    parts = [sparse(f).value * f * abs(np.log(f)) for f in (1e-4, 1e-20, 1e-100)]
    assert 0.6 < parts[0] < 0.85 and abs(parts[2] - 1) < 0.5


def test_silent_synapses():
    """Of given mean: half of all weights are silent without a margin, and more with one (Brunel et al. 2004)."""
    found = [SphericalPerceptron(1.0, kappa, **BY_MEAN).capacity() for kappa in (0.0, 0.3, 1.0, 2.0)]
    assert all(one.converged for one in found)
    np.testing.assert_allclose([found[0].value, found[0].silent], [1, 0.5], rtol=1e-9)
    assert np.all(np.diff([one.silent for one in found]) > 0) and np.all(np.diff([one.value for one in found]) < 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_states_end_at_the_capacity(kind):
    """The saddle point knows nothing of the closed form of the capacity: there q = 1 and the volume is 0."""
    capacity = SphericalPerceptron(1.0, 0.2, **kind).capacity()
    near = SphericalPerceptron(0.999 * capacity.value, 0.2, **kind).saddle()
    assert near.converged and 1 - near.overlap < 1e-3 and near.stability < 1
    np.testing.assert_allclose(near.bias, capacity.bias, atol=2e-3)
    assert not SphericalPerceptron(1.01 * capacity.value, 0.2, **kind).saddle().converged


def test_volume():
    """A pattern leaves the part H(kappa) of the sphere; signs leave 2^-N, and weights that overlap by 2 / pi."""
    few = SphericalPerceptron(1e-3, 0.5).saddle()
    np.testing.assert_allclose(few.volume, 1e-3 * norm.logsf(0.5), rtol=1e-3)
    signed = SphericalPerceptron(1e-3, 0.5, signed=True).saddle()
    z, q = np.linspace(-8, 8, 401), 2 / np.pi
    left = np.average(norm.logsf((0.5 - np.sqrt(q) * z) / np.sqrt(1 - q)), weights=norm.pdf(z))
    np.testing.assert_allclose(signed.volume, -np.log(2) + 1e-3 * left, rtol=1e-5)
    np.testing.assert_allclose(signed.overlap, q, atol=1e-3)


@pytest.mark.slow
def test_gradients():
    for kind in [*KINDS, BY_MEAN]:
        value = lambda k, kind=kind: SphericalPerceptron(0.5, k, **kind).capacity().value
        np.testing.assert_allclose(jax.grad(value)(0.4), (value(0.4001) - value(0.3999)) / 2e-4, rtol=1e-6)
    loads = jnp.linspace(0.1, 0.8, 5)
    states = jax.jit(jax.vmap(lambda alpha: SphericalPerceptron(alpha, 0.2).saddle()))(loads)
    assert states.converged.all()
    np.testing.assert_allclose(states.volume[2], SphericalPerceptron(loads[2], 0.2).saddle().volume, rtol=1e-10)


def most(rng, n, coding, signed, bias):
    """The number of random patterns that n weights hold, one at a time."""
    outputs = np.where(rng.random(4 * n) < coding, 1.0, -1.0)
    inputs = rng.choice([-1.0, 1.0], (4 * n, n)) / np.sqrt(n)
    rows = outputs[:, None] * np.concatenate([inputs, np.ones((4 * n, int(bias)))], 1)
    lower = np.append(np.full(n, 0.0 if signed else -1.0), np.full(int(bias), -10.0))
    low, high = 0, 4 * n
    while high - low > 1:
        middle = (low + high) // 2
        held = largest_margin(rows[:middle], lower, np.append(np.ones(n), np.full(int(bias), 10.0))).margin > 1e-9
        low, high = (middle, high) if held else (low, middle)
    return low


def test_linear_programmes():
    """Signed weights hold N patterns: half of what free signs do."""
    rng = np.random.default_rng(0)
    counts = [most(rng, 24, 0.5, True, False) / 24 for _ in range(6)]
    error = np.std(counts, ddof=1) / np.sqrt(6)
    assert abs(np.mean(counts) - SphericalPerceptron(1.0, signed=True).capacity().value) < 4 * error + 2 / 24


@pytest.mark.slow
@pytest.mark.parametrize(("coding", "signed"), [(0.5, False), (0.2, False), (0.2, True)])
def test_linear_programmes_of_growing_size(coding, signed):
    """The patterns that fit come to the capacity as N grows."""
    rng, errors = np.random.default_rng(1), []
    expected = SphericalPerceptron(1.0, coding=coding, free_bias=True, signed=signed).capacity().value
    for n, draws in ((15, 60), (45, 24)):
        loads = [most(rng, n, coding, signed, True) / n for _ in range(draws)]
        errors.append((abs(np.mean(loads) - expected), np.std(loads, ddof=1) / np.sqrt(draws)))
    assert errors[1][0] < 4 * errors[1][1] + 3 / 45
    assert errors[1][0] < errors[0][0] + 2 * errors[0][1]


def widest(rng, n, num):
    """The largest margin of weights >= 0 of mean 1, by one linear programme, and the part of silent weights."""
    outputs = rng.choice([-1.0, 1.0], num)
    inputs = rng.choice([-1.0, 1.0], (num, n)) / np.sqrt(n)
    rows = -outputs[:, None] * np.concatenate([inputs, np.ones((num, 1))], 1)
    solution = linprog(
        np.append(np.zeros(n + 1), -1.0),
        A_ub=np.concatenate([rows, np.ones((num, 1))], 1),
        b_ub=np.zeros(num),
        A_eq=np.append(np.ones(n), [0.0, 0.0])[None],
        b_eq=[n],
        bounds=[(0, None)] * n + [(None, None)] * 2,
    )
    return solution.x[-1], np.mean(solution.x[:n] < 1e-9)


@pytest.mark.parametrize("n", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_margins_and_silent_weights_of_linear_programmes(n):
    expected = SphericalPerceptron(1.0, 1.0, **BY_MEAN).capacity()
    rng, num, draws = np.random.default_rng(2), round(float(expected.value) * n), 12
    margins, silent = np.array([widest(rng, n, num) for _ in range(draws)]).T
    assert abs(margins.mean() - 1) < 4 * margins.std(ddof=1) / np.sqrt(draws) + 4 / n
    assert abs(silent.mean() - expected.silent) < 4 * silent.std(ddof=1) / np.sqrt(draws) + 2 / n


def test_bad_arguments_are_named():
    cases = [
        (lambda: SphericalPerceptron(-1.0), "alpha"),
        (lambda: SphericalPerceptron(1.0, np.nan), "kappa"),
        (lambda: SphericalPerceptron(1.0, coding=1.0), "coding"),
        (lambda: SphericalPerceptron(1.0, fixed_mean=True), "fixed_mean"),
        (lambda: SphericalPerceptron(1.0, -1.0, **BY_MEAN), "kappa"),
        (lambda: SphericalPerceptron(1.0, **BY_MEAN).saddle(), "fixed_mean"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}` must"):
            call()
