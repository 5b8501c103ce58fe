"""Four-point averages of ensembles: against sums over modes, against the R-transform, under sums and multiples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes

TWO = RandomModes.two_valued(1.5, 0.4, 0.3, load=0.7, overlap=np.array([0.6, -0.2]))
HEBBIAN = DeepHebbian(load=0.8, auto=0.3, hetero=(0.5, -0.2))
ENSEMBLES = {
    "iid": IID(1.3),
    "elliptic": Elliptic(1.2, -0.4),
    "random modes": TWO,
    "without overlaps": RandomModes.two_valued(1.5, 0.4, 0.3, load=0.7),
    "deep-Hebbian": HEBBIAN,
    "open chain": DeepHebbian(load=0.8, auto=0.3, hetero=(0.5, 0.4), ring=False),
    "symmetric": DeepHebbian(load=0.5, auto=0.6, hetero=(0.3, -0.2), symmetric=True),
    "singular modes": SingularModes(np.array([1.8, 0.4]), np.array([0.3, 0.7])),
    "low rank": LowRank(2.0),
    "sum": HEBBIAN + 0.5 * Elliptic(1.0, -0.4) - IID(0.3) + LowRank(1.0),
    "multiple": -1.4 * TWO,
}
S1, S2 = jnp.asarray(0.3 + 0.2j), jnp.asarray(0.25 - 0.4j)


def _averages(lam, weights, load, rho, s1, s2):
    """(kappa, T, u1, u2, b) as sums over modes."""
    sig1, sig2 = 1 / (1 - rho * lam * s1), 1 / (1 - rho * lam * s2)
    terms = [
        abs(lam) ** 2 * np.conj(sig1) * sig2,
        (rho * lam) ** 2 * sig1 * sig2,
        rho * lam * abs(lam) ** 2 * abs(sig1) ** 2 * sig2,
        rho * lam * abs(lam) ** 2 * abs(sig2) ** 2 * sig1,
        abs(lam) ** 4 * abs(sig1 * sig2) ** 2,
    ]
    return load * np.stack(terms) @ weights


def _hebbian(ensemble, s1, s2, num=2**15):
    # Equal angles converge as q^num, q the distance of 1 / S_k from the curve lambda in its exponent.
    theta = 2 * np.pi * np.arange(num) / num
    waves = np.exp(-1j * np.outer(theta, 1 + np.arange(ensemble.hetero.size)))
    lam = float(ensemble.auto) + (2 * np.real(waves) if ensemble.symmetric else waves) @ np.asarray(ensemble.hetero)
    return _averages(lam, np.full(num, 1 / num), float(ensemble.load), 1.0, complex(s1), complex(s2))


def _modes(e, s1, s2):
    lam, weights, load, rho = (np.asarray(x) for x in (e.amplitudes, e.weights, e.load, e.overlap))
    return _averages(lam, weights, load, rho, complex(s1), complex(s2))


@jax.jit
def _four_point(ensemble, s1, s2):
    return jnp.stack(jax.tree.leaves(ensemble.four_point(s1, s2)))


def _found(ensemble, s1: ArrayLike = S1, s2: ArrayLike = S2):
    return np.asarray(_four_point(ensemble, jnp.asarray(s1), jnp.asarray(s2)))


def test_order_of_the_fields():
    at = TWO.four_point(S1, S2)
    np.testing.assert_allclose(_found(TWO), [at.kappa, at.T, at.u1, at.u2, at.b], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ["random modes", "without overlaps"])
def test_averages_over_random_modes(name):
    np.testing.assert_allclose(_found(ENSEMBLES[name]), _modes(ENSEMBLES[name], S1, S2), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("s1", "s2"),
    [
        (S1, S2),
        (0.4 + 0.1j, 0.4 + 0.1j),  # double roots
        (3.1 + 0.4j, 2.8 - 0.5j),  # |lambda S| > 1
        (0.3 - 0.2j, 3.0 + 0.7j),  # one of two denominators winds around 0
        (0.0j, 0.5 + 0.0j),
    ],
)
@pytest.mark.parametrize("name", ["deep-Hebbian", "open chain", "symmetric"])
def test_averages_over_the_circle(name, s1, s2):
    ensemble = ENSEMBLES[name]
    expected = _hebbian(ensemble, s1, s2)
    # Roots at a distance d from the circle cost a condition number of 1/d^2, some tens here.
    np.testing.assert_allclose(_found(ensemble, s1, s2), expected, rtol=1e-11, atol=1e-13 * np.max(abs(expected)))


def test_averages_next_to_a_pole():
    # lambda = 1/w: sums of t^2k, (k + 1) t^(2k + 1) and (k + 1)^2 t^2k.
    ensemble, t = DeepHebbian(load=0.8, auto=0.0, hetero=(1.0,)), 0.99
    x = 1 / (1 - t**2)
    expected = 0.8 * np.array([x, 0, t * x**2, t * x**2, (1 + t**2) * x**3])
    # The denominator, of four factors, is (1 - t)^4 at its least.
    error = 10 * np.finfo(float).eps / (1 - t) ** 4
    np.testing.assert_allclose(_found(ensemble, t + 0j, t + 0j), expected, rtol=error, atol=error * expected[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
def test_what_the_r_transform_already_knows(name):
    """kappa = h at equal arguments, T the divided difference of r, b and kappa at 0 the cumulants of J."""
    ensemble = ENSEMBLES[name]

    def at(s):
        return ensemble.blocks(jnp.conj(s), s, jnp.zeros(()))

    kappa, T, *_ = _found(ensemble)
    np.testing.assert_allclose(T, (at(S2)[0] - at(S1)[0]) / (S2 - S1), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(_found(ensemble, S2, S1)[0], np.conj(kappa), rtol=1e-12)
    np.testing.assert_allclose(_found(ensemble, S1, S1)[0], at(S1)[2], rtol=1e-12)
    zero = _found(ensemble, 0j, 0j)
    np.testing.assert_allclose(zero[0], ensemble.variance(), rtol=1e-12)
    np.testing.assert_allclose(zero[4], ensemble.fourth_cumulant(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_exchange_of_the_arguments(name):
    kappa, T, u1, u2, b = _found(ENSEMBLES[name])
    np.testing.assert_allclose(_found(ENSEMBLES[name], S2, S1), [np.conj(kappa), T, u2, u1, b], rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_sums_add_and_multiples_scale():
    a, b = HEBBIAN, ENSEMBLES["elliptic"]
    np.testing.assert_allclose(_found(a + b), _found(a) + _found(b), rtol=1e-14)
    np.testing.assert_allclose(_found(a + LowRank(3.0)), _found(a), rtol=1e-14)
    q = -1.4
    scaled = RandomModes(q * TWO.amplitudes, TWO.weights, TWO.load, TWO.overlap)
    np.testing.assert_allclose(_found(q * TWO), _found(scaled), rtol=1e-13)
    scaled = DeepHebbian(HEBBIAN.load, q * HEBBIAN.auto, q * HEBBIAN.hetero)
    np.testing.assert_allclose(_found(q * HEBBIAN), _found(scaled), rtol=1e-11)
    np.testing.assert_allclose(_found(q * b), _found(Elliptic(1.4 * b.g, b.symmetry)), rtol=1e-13)
    singular = ENSEMBLES["singular modes"]
    scaled = SingularModes(1.4 * singular.values, singular.weights)
    np.testing.assert_allclose(_found(q * singular), _found(scaled), rtol=1e-13)


def test_limits_that_coincide():
    # Many weak modes are independent weights; signs that cancel in <D> leave a symmetry rho^2.
    many = RandomModes(np.array([1, -1]) * 1.2 / np.sqrt(1e8), load=1e8, overlap=0.6)
    np.testing.assert_allclose(_found(many), _found(Elliptic(1.2, 0.36)), rtol=1e-6, atol=1e-6)
    # Patterns that store themselves are modes of overlap 1, and a profile of one shift is that of any other.
    flat = RandomModes.flat(0.7, 0.4, 1.0)
    np.testing.assert_allclose(_found(DeepHebbian(0.4, 0.7, (0.0,))), _found(flat), rtol=1e-12)
    one, two = DeepHebbian(0.4, 0.2, (0.7,)), DeepHebbian(0.4, 0.2, (0.0, 0.7))
    np.testing.assert_allclose(_found(one), _found(two), rtol=1e-12)


@pytest.mark.parametrize("name", [pytest.param("deep-Hebbian", marks=pytest.mark.slow), "multiple", "singular modes"])
def test_transformations(name):
    ensemble = ENSEMBLES[name]
    s = jnp.array([0.3 + 0.2j, -0.1 + 0.4j])
    mapped = jax.jit(jax.vmap(lambda s1, s2: ensemble.four_point(s1, s2)))(s, s[::-1])
    looped = [_found(ensemble, *pair) for pair in zip(s, s[::-1], strict=True)]
    np.testing.assert_allclose(np.array(jax.tree.leaves(mapped)).T, looped, rtol=1e-12, atol=1e-15)

    flat, unravel = ravel_pytree(ensemble)

    @jax.jit
    def loss(parameters):
        at = unravel(parameters).four_point(S1, S2)
        return sum(k * x.real - x.imag for k, x in enumerate(jax.tree.leaves(at), start=1))

    step = 1e-5
    for direction, exact in zip(np.eye(flat.size), jax.grad(loss)(flat), strict=True):
        central = (loss(flat + step * direction) - loss(flat - step * direction)) / (2 * step)
        np.testing.assert_allclose(exact, central, rtol=1e-7, atol=1e-8)


def test_a_multiple_multiplies_the_amplitudes():
    s1, s2 = jnp.asarray(0.2 + 0.3j), jnp.asarray(-0.1 + 0.5j)
    found = (-0.7 * RandomModes([1.0, 0.4], load=0.6, overlap=0.5)).four_point(s1, s2)
    expected = RandomModes([-0.7, -0.28], load=0.6, overlap=0.5).four_point(s1, s2)
    assert abs(expected.u1 - expected.u2) > 1e-2 * abs(expected.u1)  # no swap goes unseen
    for name in ("kappa", "T", "u1", "u2", "b"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
