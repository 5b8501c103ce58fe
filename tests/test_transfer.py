"""Transfer functions: slopes, antiderivatives, and averages under Gaussian input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxnets.transfer import (
    Erf,
    Linear,
    Logistic,
    PiecewiseLinear,
    ReLU,
    Tanh,
    Transfer,
    as_piecewise_linear,
    clipped_linear,
    heaviside,
)

SMOOTH = [Tanh(), Erf(), Linear()]
STEPS = PiecewiseLinear([-0.6, 0.3, 1.1], [0.4, -0.2, 1.5, 0.1], [0.0, 0.5, -0.3, 2.0])  # jumps at every break
KINKED = [ReLU(), clipped_linear(-0.5, 1.0)]
LINES = [*KINKED, heaviside(), STEPS]
ALL = [*SMOOTH, ReLU()]
EVERY = [*SMOOTH, Logistic(0.8), *LINES]
X = jnp.array([-3.1, -0.4, 0.2, 1.7])


def _name(transfer):
    return type(transfer).__name__


@pytest.mark.parametrize("transfer", ALL, ids=_name)
def test_slope_is_the_derivative(transfer):
    np.testing.assert_allclose(transfer.slope(X), jax.vmap(jax.grad(transfer))(X), atol=1e-14)
    assert transfer.slope(X.astype(jnp.float32)).dtype == transfer(X.astype(jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("transfer", SMOOTH, ids=_name)
def test_slope_one_at_zero(transfer):
    np.testing.assert_allclose([transfer(jnp.array(0.0)), transfer.slope(jnp.array(0.0))], [0, 1], atol=1e-15)


def test_slopes_far_out():
    far = jnp.array([-800.0, 800.0])
    np.testing.assert_array_equal(Tanh().slope(far), [0, 0])
    np.testing.assert_array_equal(jax.vmap(jax.grad(Tanh().slope))(far / 4), [0, 0])


@pytest.mark.parametrize("transfer", ALL, ids=_name)
@pytest.mark.parametrize("mean, variance", [(0.0, 0.5), (0.7, 2.0), (-1.0, 25.0)])
def test_law_of_the_slope(transfer, mean, variance):
    law = transfer.slope_law(jnp.asarray(mean), jnp.asarray(variance))
    values, weights = law.values, law.weights
    np.testing.assert_allclose(jnp.sum(weights), 1, rtol=1e-14)
    # A trapezoid rule ten times as fine and as wide as double precision can tell.
    z = np.linspace(-12, 12, 24001)
    density = norm.pdf(z) * (z[1] - z[0])
    slopes = np.asarray(transfer.slope(jnp.asarray(mean + np.sqrt(variance) * z)))
    for power in (1, 2):
        exact = np.sum(density * slopes**power)
        if isinstance(transfer, ReLU):
            exact = norm.cdf(mean / np.sqrt(variance))
        # tanh(5 z) has poles at a distance of three steps of the rule.
        np.testing.assert_allclose(jnp.sum(weights * values**power), exact, rtol=1e-6 if variance > 20 else 1e-9)


def test_mean_slope_of_erf():
    # <phi'> = 1 / sqrt(1 + pi C / 2), at any variance C.
    for variance in (0.3, 2.06408, 5.63743):
        law = Erf().slope_law(jnp.asarray(0.0), jnp.asarray(variance))
        np.testing.assert_allclose(law.moment(1), 1 / np.sqrt(1 + np.pi * variance / 2), rtol=1e-10)


@pytest.mark.parametrize("transfer", [Tanh(), ReLU()], ids=_name)
def test_mean_slope_is_differentiable(transfer):
    mean_slope = lambda m, v: transfer.slope_law(m, v).moment(1)
    step = 1e-5
    found = jax.grad(mean_slope, argnums=(0, 1))(0.3, 0.8)
    by_mean = mean_slope(jnp.asarray(0.3 + step), jnp.asarray(0.8)) - mean_slope(
        jnp.asarray(0.3 - step), jnp.asarray(0.8)
    )
    by_variance = mean_slope(jnp.asarray(0.3), jnp.asarray(0.8 + step)) - mean_slope(
        jnp.asarray(0.3), jnp.asarray(0.8 - step)
    )
    np.testing.assert_allclose(found, [by_mean / (2 * step), by_variance / (2 * step)], rtol=1e-7)


@pytest.mark.parametrize("transfer", ALL, ids=_name)
def test_antiderivative(transfer):
    np.testing.assert_allclose(jax.vmap(jax.grad(transfer.antiderivative))(X), transfer(X), rtol=1e-14)
    np.testing.assert_allclose(transfer.antiderivative(jnp.zeros(())), 0, atol=1e-300)
    np.testing.assert_allclose(Transfer.antiderivative(transfer, X), transfer.antiderivative(X), rtol=1e-13)
    far = jnp.array([-800.0, 800.0])
    assert np.all(np.isfinite(jax.vmap(jax.grad(transfer.antiderivative))(far)))


@pytest.mark.parametrize("transfer", SMOOTH, ids=_name)
def test_antiderivative_near_zero(transfer):
    # x^2 / 2 (1 + O(x^2)) to the last digits, which the variance of Phi at small C_0 needs.
    np.testing.assert_allclose(transfer.antiderivative(jnp.array([1e-9, -1e-9])), 5e-19, rtol=1e-15)


@pytest.mark.parametrize("transfer", ALL, ids=_name)
@pytest.mark.parametrize(
    "variance, correlation", [(0.5, 0.3), (2.0, 0.9), (16.0, 0.0), (16.0, 0.99), (2.0, -0.7), (0.5, -1.0)]
)
def test_covariance_of_rates(transfer, variance, correlation):
    # In the other pair of independent variables: half the sum and half the difference of x and y.
    z = np.linspace(-10, 10, 1201)
    density = norm.pdf(z) * (z[1] - z[0])
    plus, minus = np.sqrt(variance * (1 + correlation) / 2), np.sqrt(variance * (1 - correlation) / 2)
    x, y = plus * z[:, None] + minus * z[None], plus * z[:, None] - minus * z[None]
    exact = density @ np.asarray(transfer(jnp.asarray(x)) * transfer(jnp.asarray(y))) @ density
    arguments = jnp.asarray(variance), jnp.asarray(correlation)
    kinked = isinstance(transfer, ReLU)
    np.testing.assert_allclose(transfer.covariance(*arguments), exact, rtol=1e-4 if kinked else 1e-9, atol=1e-14)
    if not kinked:
        np.testing.assert_allclose(Transfer.covariance(transfer, *arguments), exact, rtol=1e-9, atol=1e-14)


def test_slope_of_the_covariance_is_that_of_price():
    # d <phi phi> / dC = <phi' phi'>, here for erf: (2/pi) / sqrt((C_0 + 2/pi)^2 - C^2).
    variance, correlation = 3.0, 0.6
    found = jax.grad(Erf().covariance, argnums=1)(jnp.asarray(variance), jnp.asarray(correlation)) / variance
    width = variance + 2 / np.pi
    np.testing.assert_allclose(found, 2 / np.pi / np.sqrt(width**2 - (correlation * variance) ** 2), rtol=1e-12)


# --- averages over one input and over pairs, against quadratures that know of breaks


def breaks_of(transfer):
    return np.asarray(as_piecewise_linear(transfer).breaks) if transfer in LINES else np.zeros(0)


def by_pieces(f, cuts, mean, deviation):
    """<f(x)> for each of the means by Gauss-Legendre rules between cuts."""
    mean = np.asarray(mean)[..., None]
    low, high = mean - 10 * deviation, mean + 10 * deviation
    edges = np.concatenate([low, np.clip(np.sort(cuts) + 0 * mean, low, high), high], -1)
    nodes, weights = np.polynomial.legendre.leggauss(120 if len(cuts) else 400)
    x = edges[..., :-1, None] + np.diff(edges)[..., None] * (nodes + 1) / 2
    density = norm.pdf(x, mean[..., None], deviation) * np.diff(edges)[..., None] * weights / 2
    return np.sum(density * f(x), axis=(-2, -1))


def product_by_pieces(transfer, mean, covariance):
    """<phi(x) phi(y)>: y by pieces at each x, x by pieces that also end where the mean of y crosses a break."""
    breaks, phi = breaks_of(transfer), lambda x: np.asarray(transfer(jnp.asarray(x)))
    (cxx, cxy), (_, cyy) = covariance
    regression, own = cxy / cxx, np.sqrt(cyy - cxy**2 / cxx)
    crossings = mean[0] + (breaks - mean[1]) / regression if cxy else np.zeros(0)
    near = crossings[:, None] + own / abs(regression or 1) * np.array([-4, -2, 0, 2, 4])
    cuts = np.concatenate([breaks, near.ravel()])

    def given(x):
        return by_pieces(phi, breaks, mean[1] + regression * (x - mean[0]), own)

    return by_pieces(lambda x: phi(x) * given(x), cuts, mean[0], np.sqrt(cxx))


@pytest.mark.parametrize("transfer", EVERY, ids=repr)
@pytest.mark.parametrize("mean, variance", [(0.0, 0.5), (0.7, 2.0), (-1.0, 9.0)])
def test_averages_over_one_input(transfer, mean, variance):
    phi, breaks = lambda x: np.asarray(transfer(jnp.asarray(x))), breaks_of(transfer)
    arguments = jnp.asarray(mean), jnp.asarray(variance)
    exact = [by_pieces(f, breaks, mean, np.sqrt(variance)) for f in (phi, lambda x: phi(x) ** 2)]
    found = [transfer.expected(*arguments), transfer.expected_square(*arguments)]
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12)


PAIRS = {
    "negative correlation": ([0.3, -0.2], [[1.0, -0.6], [-0.6, 1.0]]),
    "unequal variances": ([0.0, 0.4], [[0.3, 0.5], [0.5, 2.0]]),
    "independent": ([0.5, -1.0], [[1.2, 0.0], [0.0, 0.4]]),
    "nearly one": ([0.1, 0.1], [[1.0, 0.995], [0.995, 1.0]]),
    "nearly opposite": ([0.2, -0.3], [[1.0, -0.99], [-0.99, 1.0]]),
}


@pytest.mark.slow
@pytest.mark.parametrize("transfer", EVERY, ids=repr)
@pytest.mark.parametrize("pair", PAIRS)
def test_averages_over_two_inputs(transfer, pair):
    mean, covariance = (np.array(a) for a in PAIRS[pair])
    exact = product_by_pieces(transfer, mean, covariance)
    found = transfer.expected_product(jnp.asarray(mean), jnp.asarray(covariance))
    np.testing.assert_allclose(found, exact, rtol=2e-9, atol=1e-10)
    swapped = transfer.expected_product(jnp.asarray(mean[::-1].copy()), jnp.asarray(covariance[::-1, ::-1].copy()))
    np.testing.assert_allclose(swapped, found, rtol=2e-9, atol=1e-10)


@pytest.mark.parametrize("transfer", EVERY, ids=repr)
def test_averages_over_pairs_that_are_one_input_or_do_not_vary(transfer):
    m, v = jnp.asarray(0.4), jnp.asarray(0.8)
    one = transfer.expected_product(jnp.stack([m, m]), jnp.full((2, 2), v))
    np.testing.assert_allclose(one, transfer.expected_square(m, v), rtol=1e-6)
    still = transfer.expected_product(jnp.stack([m, jnp.asarray(0.9)]), jnp.diag(jnp.stack([v, 0 * v])))
    np.testing.assert_allclose(still, transfer.expected(m, v) * transfer(jnp.asarray(0.9)), rtol=1e-9)


@pytest.mark.parametrize("transfer", [Erf(), ReLU(), Linear()], ids=repr)
def test_products_of_centred_inputs_have_closed_forms(transfer):
    """arcsin (Williams) and arccos (Cho & Saul), at variances 0.5 and 2.

    ReLU(q x) = q ReLU(x), so that only erf has a form of its own for unequal variances.
    """
    a, b, c = 0.5, 2.0, -0.7
    covariance = jnp.array([[a, c], [c, b]])
    exact = {
        "Erf": 2 / np.pi * np.arcsin(c / np.sqrt((a + 2 / np.pi) * (b + 2 / np.pi))),
        "ReLU": np.sqrt(a * b) * ReLU().covariance(jnp.ones(()), jnp.asarray(c / np.sqrt(a * b))),
        "Linear": c,
    }[type(transfer).__name__]
    np.testing.assert_allclose(transfer.expected_product(jnp.zeros(2), covariance), exact, rtol=1e-9)


def test_orthants():
    """Two centred threshold units are active together with probability 1/4 + arcsin(c) / 2 pi (Sheppard 1899)."""
    for c in (-0.999, -0.4, 0.0, 0.7, 1.0):
        found = heaviside().covariance(jnp.asarray(1.7), jnp.asarray(c))
        np.testing.assert_allclose(found, 0.25 + np.arcsin(c) / (2 * np.pi), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [Tanh(), *KINKED], ids=repr)
def test_slopes_of_products_are_those_of_price(transfer):
    """d/dC_xy is <phi' phi'> also at C_xy = 0, where it is the product of the mean slopes."""
    mean, variances = jnp.array([0.3, -0.2]), (jnp.asarray(0.8), jnp.asarray(1.5))

    def product(c):
        return transfer.expected_product(mean, jnp.array([[variances[0], c], [c, variances[1]]]))

    slopes = [transfer.slope_law(m, v).moment(1) for m, v in zip(mean, variances, strict=True)]
    np.testing.assert_allclose(jax.grad(product)(0.0), slopes[0] * slopes[1], rtol=1e-9)
    step = 1e-4
    np.testing.assert_allclose(
        jax.grad(product)(-0.4), (product(-0.4 + step) - product(-0.4 - step)) / (2 * step), rtol=1e-6
    )


@pytest.mark.slow
def test_averages_keep_their_precision_and_map():
    covariance = jnp.eye(2, dtype=jnp.float32)
    for transfer in (Tanh(), STEPS):
        mean = jnp.zeros((3, 2), jnp.float32)
        found = jax.jit(jax.vmap(lambda m, t=transfer: t.expected_product(m, covariance)))(mean)
        assert found.shape == (3,) and found.dtype == jnp.float32
        assert transfer.slope_law(mean[0, 0], covariance[0, 0]).values.dtype == jnp.float32


# --- functions made of lines


@pytest.mark.parametrize("transfer", LINES, ids=repr)
def test_lines_have_slopes_and_antiderivatives(transfer):
    x = jnp.array([-2.0, -0.55, 0.1, 0.7, 3.0])
    np.testing.assert_allclose(transfer.slope(x), jax.vmap(jax.grad(transfer))(x))
    breaks = np.append(breaks_of(transfer), 0)
    for end, found in zip(np.asarray(x), np.asarray(transfer.antiderivative(x)), strict=True):
        edges = np.unique(np.clip(np.append(breaks, end), min(0, end), max(0, end)))
        middles = (edges[1:] + edges[:-1]) / 2  # exact for lines
        exact = np.sign(end) * np.sum(np.asarray(transfer(jnp.asarray(middles))) * np.diff(edges))
        assert found == pytest.approx(float(exact), abs=1e-14)


def test_values_of_lines():
    x = jnp.array([-2.0, -1.0, 0.0, 2.0, 3.0])
    np.testing.assert_allclose(PiecewiseLinear([-1.0, 2.0], [0.5, 0.0, -1.0], [0.0, 3.0, 1.0])(x), [-1, -0.5, 3, 3, -2])
    np.testing.assert_allclose(as_piecewise_linear(ReLU())(x), np.maximum(x, 0))
    np.testing.assert_allclose(as_piecewise_linear(Linear())(x), x)
    np.testing.assert_allclose(heaviside()(x), x > 0)
    np.testing.assert_allclose(clipped_linear(-1.5, 1.0)(x), np.clip(x, -1.5, 1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PiecewiseLinear([1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]), "`breaks` must be increasing"),
        (lambda: PiecewiseLinear([[0.0]], [1.0, 1.0], [0.0, 0.0]), "`breaks` must be a 1-d array"),
        (lambda: PiecewiseLinear([0.0], [1.0], [0.0, 0.0]), "`slopes` must have shape"),
        (lambda: PiecewiseLinear([0.0], [1.0, np.inf], [0.0, 0.0]), "`slopes` must be finite"),
        (lambda: as_piecewise_linear(Tanh()), "`transfer` must be made of lines"),
        (lambda: clipped_linear(1.0, 0.0), "`breaks` must be increasing"),
        (lambda: Logistic(0.0), "`steepness` must be a finite number > 0"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
