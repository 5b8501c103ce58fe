"""Products of ensembles: laws of Fuss and Catalan, single rings, samples, operators, Jacobians of deep networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from scipy.optimize import brentq

from jaxnets import spectra
from jaxnets.couplings import (
    IID,
    CellTypes,
    DeepHebbian,
    Elliptic,
    LowRank,
    Modes,
    Product,
    RandomModes,
    SingularModes,
    operators,
)
from jaxnets.layers import Layers
from jaxnets.transfer import Tanh, heaviside

SCALES = np.geomspace(0.05, 5.0, 7)
RING, OTHER = SingularModes([0.5, 1.0, 2.0], [0.2, 0.5, 0.3]), SingularModes([0.7, 1.4])


def powers(num):
    """<s^2>, <s^4>, ... of a law: y(c) = sum of -(-c)^k <s^2k>."""
    f = lambda c: 1 - num.singular_law().means(c)[0]
    found = []
    for k in (1, 2):
        f = jax.grad(f)
        found.append(-((-1) ** k) * float(f(jnp.zeros(()))) / math.factorial(k))
    return found


def test_moments_of_two_independent_matrices_are_those_of_fuss_and_catalan():
    g = 1.3
    product = Product([IID(1.0), IID(g)])
    np.testing.assert_allclose(powers(product), [g**2, 3 * g**4], rtol=1e-10)
    np.testing.assert_allclose(product.fourth_cumulant(), g**4, rtol=1e-12)  # <s^4> = 2 g^4 and this


@pytest.mark.parametrize("m", [1, 3])
def test_singular_values_of_independent_matrices(m):
    """c = y / (1 - y)^(m + 1)."""
    found = spectra.singular_profile(IID(1.0) @ IID(1.0) @ IID(1.0) if m == 3 else Product([IID(1.0)]), SCALES).counts
    exact = [brentq(lambda y, s=s: y * s**2 - (1 - y) ** (m + 1), 0, 1, xtol=1e-15) for s in SCALES]
    np.testing.assert_allclose(found, exact, rtol=1e-10)


@pytest.mark.slow
def test_eigenvalues_of_three_independent_matrices():
    """Density |z|^(2 / m - 2) / (pi m) up to g (Burda, Janik & Waclaw 2010)."""
    law = spectra.law(Product([IID(2.0), IID(0.5), IID(1.0)]))
    z = np.array([0.05, 0.5j, 0.6 + 0.6j, 1.05])
    exact = np.where(np.abs(z) < 1, np.abs(z) ** (2 / 3 - 2) / (3 * np.pi), 0)
    np.testing.assert_allclose(law.density(z), exact, rtol=1e-6)


def test_edges():
    law = spectra.law(RandomModes(np.ones(1), load=0.5) @ IID(2.0))
    np.testing.assert_allclose([law.right_edge(), law.zero_mass()], [2 * 0.5**0.5, 0.5], atol=1e-8)


def test_an_orthogonal_matrix_changes_nothing():
    product = SingularModes([2.0]) @ IID(0.6)
    np.testing.assert_allclose(
        spectra.singular_profile(product, SCALES).counts,
        spectra.singular_profile(IID(1.2), SCALES).counts,
        rtol=1e-8,
    )
    T = np.array([[0.1, 0.2 + 0.1j], [0.1j, -0.3]])
    np.testing.assert_allclose(product.r_transform(T), IID(1.2).r_transform(T), atol=1e-12)


def test_the_r_transform_of_two_independent_matrices():
    """u h = y with y = g^2 u (1 - y)."""
    p = -0.3 + 0.2j
    _, _, h = Product([IID(1.0), IID(1.3)]).blocks(jnp.zeros((), complex), jnp.zeros((), complex), jnp.asarray(p))
    y = -p * h
    np.testing.assert_allclose(y, 1.3**2 * -p * (1 - y), atol=1e-12)


def s_transform(modes, y):
    values, weights = np.asarray(modes.values), np.asarray(modes.weights)
    share = lambda c: np.sum(weights * values**2 * c / (1 + values**2 * c))
    c = brentq(lambda log_c: share(np.exp(log_c)) - y, -60, 60, xtol=1e-14)
    return np.exp(c) * (1 - y) / y


@pytest.mark.slow
def test_a_ring():
    """|z|^2 = 1 / S(-y), with 1 - y of the eigenvalues within |z| (Haagerup & Larsen 2000)."""
    law = spectra.law(RING @ OTHER)
    radius = lambda y: (s_transform(RING, y) * s_transform(OTHER, y)) ** -0.5
    for y in (0.2, 0.5, 0.8):
        step = 1e-4
        exact = 2 * step / (np.pi * (radius(y - step) ** 2 - radius(y + step) ** 2))
        np.testing.assert_allclose(law.density(radius(y)), exact, rtol=1e-5)
    inverse = lambda modes: np.sum(np.asarray(modes.weights / modes.values**2))
    inner = (inverse(RING) * inverse(OTHER)) ** -0.5
    edge, void = law.boundary(64)
    np.testing.assert_allclose(np.abs(void), inner, rtol=1e-6)
    np.testing.assert_allclose(np.abs(edge), (RING @ OTHER).variance() ** 0.5, rtol=1e-6)


MIXED = [
    RING @ IID(0.8) @ RandomModes([1.0, 2.0], load=0.6),
    (IID(0.5) + RandomModes(np.ones(1), load=0.5)) @ (2.0 * OTHER),
    RING @ OTHER,
]


@pytest.mark.parametrize(
    "product", [*(pytest.param(p, marks=pytest.mark.slow) for p in MIXED[:2]), MIXED[2]], ids=["three", "sum", "ring"]
)
def test_singular_values_of_samples(product):
    n = 150
    J = product.sample(n, key=jax.random.key(1))
    s = np.linalg.svd(np.asarray(J.dense()), compute_uv=False)
    measured = [np.mean(s**2 / (s**2 + eta**2)) for eta in SCALES]
    theory = spectra.singular_profile(product, SCALES).counts
    np.testing.assert_allclose(measured, theory, atol=3 / n)  # they scatter by a number of order 1 of n
    fourth = 2 * product.variance() ** 2 + product.fourth_cumulant()
    assert abs(np.mean(s**2) / product.variance() - 1) < 0.1 and abs(np.mean(s**4) / fourth - 1) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble", [*MIXED[:2], MIXED[2] + 0.6 * IID(1.0), 0.5 * (IID(1.0) @ IID(1.0)) + OTHER], ids=range(4)
)
def test_eigenvalues_of_samples(ensemble):
    n = 600
    values = np.abs(spectra.eigenvalues(ensemble.sample(n, key=jax.random.key(2))))
    law = spectra.law(ensemble)
    edge = float(law.right_edge())
    r = np.linspace(0.02, 0.93, 80) * edge  # next to the edge, a sample of N is smeared over some 1 / sqrt(N)
    around = 2 * np.pi * r * np.asarray(law.density(r))
    shares = np.append(0, np.cumsum((around[1:] + around[:-1]) / 2) * (r[1] - r[0]))
    measured = [np.mean((values < at) & (values >= r[0])) for at in r]
    assert np.max(np.abs(shares - measured)) < 0.02
    assert abs(np.max(values) - edge) < 0.1 * edge


@pytest.mark.slow
def test_the_gradient_of_an_edge():
    edge = lambda g: spectra.law(SingularModes(jnp.array([1.0, 2.0])) @ IID(g)).right_edge()
    np.testing.assert_allclose(jax.grad(edge)(0.7), 2.5**0.5, rtol=1e-8)


def test_gradients():
    of = lambda g, s: SingularModes(s) @ IID(g)
    counts = lambda x: spectra.singular_profile(of(x, jnp.stack([x, jnp.array(2.0)])), SCALES[3:5]).counts.sum()
    step = 1e-5
    np.testing.assert_allclose(jax.grad(counts)(0.7), (counts(0.7 + step) - counts(0.7 - step)) / (2 * step), rtol=1e-7)


def test_other_numbers_and_more_factors_of_a_kind_compile_one_program():
    spectra.singular_profile(IID(1.0) @ IID(2.0), SCALES)
    with compilations() as programs:
        spectra.singular_profile(IID(0.5) @ IID(1.7), SCALES)
    assert not programs


def test_products_within_products_and_multiples():
    inner = 3.0 * (IID(1.0) @ OTHER)
    product = inner @ IID(0.5)
    assert len(product.factors) == 3
    np.testing.assert_allclose(product.variance(), 9 * OTHER.variance() * 0.25, rtol=1e-12)
    assert product.is_memoryless() and not product.is_symmetric()
    assert (RandomModes(np.ones(1), load=0.3) @ IID()).rank_fraction() == pytest.approx(0.3)


def test_operators():
    keys = jax.random.split(jax.random.key(0), 3)
    A, B = (operators.Dense(jax.random.normal(key, (6, 6))) for key in keys[:2])
    L = jax.random.normal(keys[2], (6, 2))
    C = Modes(L, 2 * L, operators.Diagonal(jnp.ones(2)))
    J = operators.Product((A, C, B))
    exact = np.asarray(A.dense() @ C.dense() @ B.dense())
    x = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(J.dense(), exact, rtol=1e-10)
    np.testing.assert_allclose(J @ jnp.asarray(x), exact @ x, rtol=1e-10)
    np.testing.assert_allclose(J.T.dense(), exact.T, rtol=1e-10)
    np.testing.assert_allclose((-2.0 * J).dense(), -2 * exact, rtol=1e-10)
    left, right = J.low_rank()
    assert left.shape == (6, 2)
    np.testing.assert_allclose(left @ right, exact, rtol=1e-10)
    assert operators.Product((A, B)).low_rank() is None and not J.symmetric
    with pytest.raises(ValueError, match="`factors` must be square operators of one shape"):
        operators.Product((A, operators.Dense(jnp.eye(5))))


@pytest.mark.parametrize(
    "factors, message",
    [
        ([], "one ensemble or more"),
        ([IID(), 2.0], "ensembles of"),
        ([IID(), Elliptic(1.0, 0.3)], "reverse connections"),
        ([DeepHebbian(0.3, hetero=(1.0,))], "form chains"),
        ([IID(0.5) + LowRank(2.0)], "modes of finite rank"),
        ([CellTypes([0.5, 0.5], [[1.0, 2.0], [1.0, 1.0]])], "types"),
        ([RING + IID()], "a sum with singular modes"),
    ],
)
def test_refusals(factors, message):
    with pytest.raises(ValueError, match=message):
        Product(factors)


# --- Jacobians of deep networks


def jacobian_counts(layers, n, depth, key, orthogonal):
    k_net, k_x, k_w = jax.random.split(key, 3)
    net = layers.sample(n, depth, key=k_net)
    if orthogonal:
        draw = lambda key: layers.g * jnp.linalg.qr(jax.random.normal(key, (n, n)))[0]
        net = type(net)(jax.lax.map(draw, jax.random.split(k_w, depth)), net.biases, net.transfer)
    J = jax.jacfwd(lambda x: net(x)[-1])(jax.random.normal(k_x, (n,)))
    s = jnp.linalg.svd(J, compute_uv=False)
    return jnp.mean(s[None] ** 2 / (s[None] ** 2 + SCALES[:, None] ** 2), axis=1), jnp.mean(s**2)


@pytest.mark.parametrize(
    "n, depth, orthogonal",
    [
        (100, 3, False),
        (400, 6, False),
        (400, 6, True),
    ],
)
@pytest.mark.slow
def test_jacobians_of_networks(n, depth, orthogonal):
    layers = Layers(Tanh(), 1.2, 0.0, 0.2)
    ensemble = layers.jacobian(depth, orthogonal=orthogonal)
    keys = jax.random.split(jax.random.key(3), 24)
    counts, power = jax.lax.map(lambda key: jacobian_counts(layers, n, depth, key, orthogonal), keys)
    error = np.std(counts, 0) / 24**0.5
    theory = spectra.singular_profile(ensemble, SCALES).counts
    assert np.all(np.abs(np.mean(counts, 0) - theory) < 4 * error + 2 / n)
    assert abs(np.mean(power) - ensemble.variance()) < 4 * np.std(power) / 24**0.5 + 3 * ensemble.variance() / n


def test_the_law_of_jacobians():
    """<s^2> is chi of each layer, whose inputs have the variance of the recursion."""
    layers, v = Layers(Tanh(), 1.2), 1.2**2
    second = 1.2**2 * float(layers.recursion(1).variance[0])
    z, w = np.polynomial.hermite_e.hermegauss(80)
    chi = [1.2**2 * np.sum(w / w.sum() * np.cosh(z * q**0.5) ** -4) for q in (v, second)]
    for orthogonal in (False, True):
        found = layers.jacobian(2, orthogonal=orthogonal)
        np.testing.assert_allclose(found.variance(), chi[0] * chi[1], rtol=1e-6)
        assert len(found.factors) == 4


def test_slopes_of_jumps_are_refused():
    with pytest.raises(ValueError, match="`transfer` must have no jumps"):
        Layers(heaviside()).jacobian(2)
