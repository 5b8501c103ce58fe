"""Sums over pairs of units: against an operator-valued calculation with no closed form, and against samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes, Scaled, SingularModes, Sum
from jaxnets.meanfield.unit.response import r_and_power
from jaxnets.population import cross_spectrum, dressed, four_point_sum, four_point_sum_x, linear_sum

HEBBIAN = DeepHebbian(load=0.8, auto=0.3, hetero=(0.6, 0.6))
MODES = RandomModes.two_valued(2.0, 0.3, 0.2)
OVERLAPPING = RandomModes.two_valued(2.0, 0.3, 0.2, overlap=0.5)
HEBBIAN_S, MODES_S = (0.3 + 0.2j, 0.25 - 0.1j), (0.5 + 0.4j, 0.45 - 0.3j)
CASES = {
    "deep-Hebbian": (HEBBIAN, *HEBBIAN_S),
    "symmetric": (DeepHebbian(load=0.5, auto=0.6, hetero=(0.3,), symmetric=True), 0.3 + 0.3j, 0.2 - 0.4j),
    "modes without overlaps": (MODES, *MODES_S),
    "modes with overlaps": (OVERLAPPING, 0.4 + 0.4j, 0.35 - 0.3j),
    "overlaps of both signs": (RandomModes(np.array([1.5, 0.4]), load=0.7, overlap=np.array([0.6, -0.9])), 0.4j, 0.3),
    "elliptic": (Elliptic(1.1, 0.4), 0.4 + 0.3j, 0.5 - 0.2j),
    "independent": (IID(1.3), 0.4 + 0.3j, 0.5 - 0.2j),
    "sum": (HEBBIAN + 0.5 * Elliptic(1.0, -0.4) - 0.3 * MODES, 0.3 + 0.2j, 0.2 - 0.25j),
}
SLOW = ("deep-Hebbian", "sum", "overlaps of both signs")
names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
)


# --- the oracle: averages of products of (1 - s J)^{-1} and (1 - s J^T)^{-1} from one matrix equation


def _self_energy(ensemble, s, transposed, g):
    """Sigma(g) of the block matrix with s_i J or s_i J^T on its diagonal: alpha <M o Lam (1 - (M o g) Lam)^{-1}>."""
    same = transposed[:, None] == transposed[None]
    match ensemble:
        case Sum():
            return sum(_self_energy(term, s, transposed, g) for term in ensemble.terms)
        case Scaled():
            return _self_energy(ensemble.ensemble, float(ensemble.factor) * s, transposed, g)
        case IID():
            return float(ensemble.g) ** 2 * np.outer(s, s) * np.where(same, 0, 1) * g
        case Elliptic():
            return float(ensemble.g) ** 2 * np.outer(s, s) * np.where(same, float(ensemble.symmetry), 1) * g
        case RandomModes():
            lam, rho = np.asarray(ensemble.amplitudes), np.asarray(ensemble.overlap)
            weights = float(ensemble.load) * np.asarray(ensemble.weights)
        case DeepHebbian():
            num = 256
            theta = 2 * np.pi * np.arange(num) / num
            waves = np.exp(-1j * np.outer(theta, 1 + np.arange(ensemble.hetero.size)))
            lam = float(ensemble.auto) + (2 * np.real(waves) if ensemble.symmetric else waves) @ np.asarray(
                ensemble.hetero
            )
            rho, weights = np.ones(num), np.full(num, float(ensemble.load) / num)
    M = np.where(same[None], rho[:, None, None], 1)
    Lam = np.where(transposed[None], np.conj(lam)[:, None], lam[:, None]) * s[None]
    inverse = np.linalg.inv(np.eye(s.size) - M * g * Lam[:, None, :])
    return np.sum(weights[:, None, None] * M * Lam[:, :, None] * inverse, 0)


def _mean_trace(ensemble, factors):
    """(1/N) tr of the product of (1 - s J)^{-1} or, if transposed, (1 - s J^T)^{-1}, from factors (s, transposed).

    It is the corner of the inverse of a block matrix with these on its diagonal and -1 next to it.
    """
    s, transposed = np.array([f[0] for f in factors], complex), np.array([f[1] for f in factors])
    U = np.eye(s.size) - np.eye(s.size, k=1)
    g = np.linalg.inv(U + 0j)
    for _ in range(3000):
        g, before = np.linalg.inv(U - _self_energy(ensemble, s, transposed, g)), g
        if np.max(abs(g - before)) < 1e-14 * np.max(abs(g)):
            return g[0, -1]
    raise AssertionError("the oracle has not converged")


def _factors(s1, s2):
    return [(s1, False), (np.conj(s1), True), (s2, False), (np.conj(s2), True)]


def _mean_of_differences(ensemble, factors):
    """(1/N) tr of the product of the factors less 1."""
    total = (-1.0) ** len(factors)
    for k in range(1, len(factors) + 1):
        for kept in itertools.combinations(factors, k):
            total += (-1) ** (len(factors) - k) * _mean_trace(ensemble, kept)
    return total


@pytest.mark.slow
@names
def test_sums_against_the_matrix_equation(name):
    ensemble, s1, s2 = CASES[name]
    expected = _mean_trace(ensemble, _factors(s1, s2))
    np.testing.assert_allclose(expected.imag, 0, atol=1e-11 * abs(expected))
    np.testing.assert_allclose(linear_sum(ensemble, s1, s2), expected.real, rtol=1e-11)
    mirrored = _mean_trace(ensemble, _factors(s1, np.conj(s2))).real
    np.testing.assert_allclose(linear_sum(ensemble, s1, np.conj(s2)), mirrored, rtol=1e-11)


@pytest.mark.slow
@names
def test_sums_of_states_against_the_matrix_equation(name):
    ensemble, s1, s2 = CASES[name]
    pairs = _factors(s1, s2)
    expected = _mean_of_differences(ensemble, pairs)
    expected /= _mean_of_differences(ensemble, pairs[:2]) * _mean_of_differences(ensemble, pairs[2:])
    S1, S2 = dressed(ensemble, s1).value, dressed(ensemble, s2).value
    np.testing.assert_allclose(four_point_sum_x(ensemble, S1, S2), expected.real, rtol=1e-10)


@names
def test_dressed_response_against_the_matrix_equation(name):
    ensemble, s, _ = CASES[name]
    root = dressed(ensemble, s)
    assert root.converged and root.residual < 1e-12
    np.testing.assert_allclose(root.value / s, _mean_trace(ensemble, [(s, False)]), rtol=1e-12)


@pytest.mark.parametrize(
    ("ensemble", "s", "expected"),
    [
        pytest.param(HEBBIAN, HEBBIAN_S, 2.236638, marks=pytest.mark.slow),
        (MODES, MODES_S, 3.185700),
        (OVERLAPPING, MODES_S, 12.376786),
    ],
)
def test_reference_values(ensemble, s, expected):
    np.testing.assert_allclose(linear_sum(ensemble, *s), expected, atol=1e-6)


# --- samples


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["deep-Hebbian", "symmetric", "modes with overlaps", "elliptic", "sum", "singular modes"]
)
def test_sums_against_samples(name):
    """Means of samples meet the theory within their scatter, which shrinks."""
    singular = SingularModes(np.array([1.6, 0.9, 0.2])), 0.5 + 0.3j, 0.4 - 0.4j
    ensemble, s1, s2 = singular if name == "singular modes" else CASES[name]
    S1, S2 = dressed(ensemble, s1).value, dressed(ensemble, s2).value
    theory = np.array([linear_sum(ensemble, s1, s2), four_point_sum_x(ensemble, S1, S2)])

    def measure(J):
        eye = jnp.eye(J.shape[0], dtype=complex)
        F1, F2 = (jnp.linalg.inv(eye - s * J.dense().astype(complex)) for s in (s1, s2))
        mean = lambda A, B: jnp.sum(A * B.T).real / J.shape[0]
        C1, C2, X1, X2 = (F @ jnp.conj(F.T) for F in (F1, F2, F1 - eye, F2 - eye))
        return jnp.stack([mean(C1, C2), mean(X1, X2) / (mean(X1, eye) * mean(X2, eye))])

    scatter = []
    for n, seeds in ((400, 8), (1000, 4)):
        found = np.array([measure(ensemble.sample(n, key=jax.random.key(seed))) for seed in range(seeds)])
        scatter.append(np.std(found, 0, ddof=1))
        # 5 errors of a mean of four are exceeded once in sixty times; the mean itself is off by order 1/N.
        assert np.all(abs(found.mean(0) - theory) < 5 * scatter[-1] / np.sqrt(seeds) + 5 / n * theory)
    assert np.all(scatter[1] < scatter[0])


@pytest.mark.slow
def test_cross_spectrum_of_a_sample():
    J = HEBBIAN.sample(300, key=jax.random.key(0))
    s, c0 = jnp.array([[0.3 + 0.2j], [0.25 - 0.1j]]), jnp.array([[1.0], [0.5]])
    C = cross_spectrum(J, s, c0)
    assert C.shape == (2, 1, 300, 300)
    matrix = np.asarray(J.dense())
    for k in range(2):
        F = np.linalg.inv(np.eye(300) - complex(s[k, 0]) * matrix)
        np.testing.assert_allclose(C[k, 0], float(c0[k, 0]) * F @ F.conj().T, atol=1e-12)
    # Samples of this size scatter by some per cent about the sum over pairs.
    total = jnp.sum(C[0, 0] * C[1, 0].T).real / 300 / 0.5
    np.testing.assert_allclose(total, linear_sum(HEBBIAN, *HEBBIAN_S), rtol=0.1)
    np.testing.assert_allclose(cross_spectrum(J.dense(), s[0, 0], 2.0), 2 * C[0, 0], rtol=1e-12)


# --- limits and transformations


@pytest.mark.slow
def test_without_recurrence():
    np.testing.assert_allclose(linear_sum(HEBBIAN, 0.0, 0.3 + 0.2j), dressed_power(HEBBIAN, 0.3 + 0.2j), rtol=1e-12)
    np.testing.assert_allclose(linear_sum(IID(0.0), 0.4, 0.3), 1.0, rtol=1e-14)


def dressed_power(ensemble, s):
    """(1/N) tr F F^*."""
    return _mean_trace(ensemble, [(s, False), (np.conj(s), True)]).real


def test_states_of_small_response():
    """Each factor F - 1 is s J to leading order, and the sum (1/N) tr J J^T J J^T over g^4."""
    for ensemble in (MODES, Elliptic(1.3, -0.4), SingularModes(np.array([1.6, 0.2]))):
        g4 = ensemble.variance() ** 2
        expected = (2 * g4 + ensemble.fourth_cumulant()) / g4
        np.testing.assert_allclose(four_point_sum_x(ensemble, 1e-3, 1e-3j), expected, rtol=1e-4)


@pytest.mark.slow
def test_dressed_up_to_the_edge():
    """Hopfield couplings: 1 / (1/s - r) solves a quadratic equation, with its edge at (1 + sqrt alpha)^2."""
    ensemble, alpha = DeepHebbian(load=0.3, auto=1.0, hetero=(0.0,)), 0.3
    z = (1 + np.sqrt(alpha)) ** 2 * np.array([1.0001, 1.1, 3.0])
    # z S^2 - (z + 1 - alpha) S + 1 = 0, the smaller root
    b = z + 1 - alpha
    expected = (b - np.sqrt(b**2 - 4 * z)) / (2 * z)
    found = jax.vmap(lambda s: dressed(ensemble, s))(1 / z)
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)
    assert np.all(found.converged)
    inside = 1 / (0.9 * (1 + np.sqrt(alpha)) ** 2)
    assert not dressed(ensemble, inside).converged and np.isnan(linear_sum(ensemble, inside, 0.1))
    assert not dressed(OVERLAPPING, 1.0).converged and np.isnan(linear_sum(OVERLAPPING, 0.1, 1.0))
    assert np.isnan(four_point_sum(IID(2.0), 0.6, 0.1)) and np.isnan(four_point_sum_x(IID(2.0), 0.6, 0.1))


@pytest.mark.slow
def test_transformations():
    s1, s2 = jnp.array([0.3 + 0.2j, 0.1 - 0.2j]), jnp.array([0.25 - 0.1j, 0.2 + 0.0j])
    ensemble = Elliptic(0.8, 0.4) + 0.3 * OVERLAPPING
    mapped = jax.jit(jax.vmap(lambda a, b: linear_sum(ensemble, a, b)))(s1, s2)
    np.testing.assert_allclose(mapped, [linear_sum(ensemble, *pair) for pair in zip(s1, s2, strict=True)], rtol=1e-12)


def test_single_precision():
    ensemble = jax.tree.map(lambda x: x.astype(np.float32), OVERLAPPING)
    s1, s2 = jnp.asarray(CASES["modes with overlaps"][1:], dtype=np.complex64)
    S1, S2 = dressed(ensemble, s1), dressed(ensemble, s2)
    assert S1.converged and S1.value.dtype == np.complex64
    for fn in (four_point_sum, four_point_sum_x):
        found = fn(ensemble, S1.value, S2.value)
        wide = (x.value.astype(complex) for x in (S1, S2))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, fn(OVERLAPPING, *wide), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["elliptic", *(pytest.param(name, marks=pytest.mark.slow) for name in ("deep-Hebbian", "modes with overlaps"))],
)
def test_gradients(name):
    ensemble, s1, s2 = CASES[name]
    flat, unravel = ravel_pytree((ensemble, jnp.array([s1.real, s1.imag, s2.real, s2.imag])))

    @jax.jit
    def total(parameters):
        ensemble, s = unravel(parameters)
        s1, s2 = jax.lax.complex(s[0], s[1]), jax.lax.complex(s[2], s[3])
        S1, S2 = dressed(ensemble, s1).value, dressed(ensemble, s2).value
        return linear_sum(ensemble, s1, s2) + four_point_sum_x(ensemble, S1, S2)

    step = 1e-5
    for direction, exact in zip(np.eye(flat.size), jax.grad(total)(flat), strict=True):
        central = (total(flat + step * direction) - total(flat - step * direction)) / (2 * step)
        np.testing.assert_allclose(exact, central, rtol=1e-6, atol=1e-6)


def test_equal_frequencies_are_a_mean_square():
    """(1/N) tr C^2 >= ((1/N) tr C)^2."""
    for ensemble, s, _ in (CASES[name] for name in ("modes with overlaps", "elliptic")):
        S = dressed(ensemble, s).value
        assert four_point_sum(ensemble, S, S) > 1 and r_and_power(ensemble, S)[1] < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_sum(HEBBIAN, np.ones(2), 0.1), "`s1` must be a number, got shape"),
        (lambda: four_point_sum(HEBBIAN, 0.1, np.nan), "`s2` must be a finite number"),
        (lambda: dressed(HEBBIAN, np.inf), "`s` must be a finite number"),
        (lambda: cross_spectrum(np.ones((2, 3)), 0.1), "`J` must be a square matrix"),
        (lambda: cross_spectrum(np.ones((2, 3, 3)), 0.1), "`J` must be one network"),
        (lambda: cross_spectrum(np.eye(2), np.ones(3), np.ones(2)), "`c0` of shape"),
        (lambda: cross_spectrum(np.eye(2), 0.1, -1.0), "`c0` must be finite and >= 0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
