"""Theory of layers: closed forms, converged values of an independent program, derivatives, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

from jaxnets.layers import Inputs, Layers
from jaxnets.transfer import Erf, Linear, ReLU, Tanh, Transfer, sign


def relative(found):
    return found.off_diagonal / found.variance**2


@pytest.mark.parametrize("r", [0.0, 1.7])
def test_linear_layers(r):
    found = Layers(Linear(), 1.3, r).recursion(6)
    depth = np.arange(1, 7)
    np.testing.assert_allclose(found.variance, 1.3 ** (2 * depth), rtol=1e-12)
    np.testing.assert_allclose(found.dimension, 1 / (1 + (1 + r**2) * depth), rtol=1e-12)
    assert not np.any(found.mean_square)


@pytest.mark.parametrize("r", [0.0, 1.0])
def test_layers_of_signs(r):
    a = 4 / np.pi**2
    found = Layers(sign(), 0.7, r).recursion(12)
    np.testing.assert_allclose(found.variance, 1, rtol=1e-12)
    np.testing.assert_allclose(found.dimension, 1 / (1 + (1 + r**2) * np.cumsum(a ** np.arange(1, 13))), rtol=1e-10)
    assert abs(found.dimension[-1] - {0.0: 0.59469, 1.0: 0.42316}[r]) < 1e-4


@pytest.mark.parametrize(
    "layers, variance, off_diagonal, dimension",
    [
        (
            Layers(Tanh(), 1.5, 1.0, 0.5),
            [0.51011, 0.36740, 0.29289, 0.24358, 0.20730, 0.17920],
            [1.48298, 2.77776, 3.91253, 4.93180, 5.87827, 6.78465],
            [0.40176, 0.26276, 0.20103, 0.16576, 0.14246, 0.12555],
        ),
        (
            Layers(Erf(), 1.5, 1.0),
            [0.56901, 0.46560, 0.42737, 0.41099, 0.40353, 0.40004],
            [1.52102, 2.93632, 4.23795, 5.41808, 6.47632, 7.41778],
            [0.39667, 0.25404, 0.19091, 0.15581, 0.13376, 0.11880],
        ),
        (
            Layers(sign(), 1.0, 1.0, 0.5),
            [0.87181, 0.80432, 0.76791, 0.74794, 0.73688, 0.73071],
            [0.71097, 0.91936, 0.97390, 0.98582, 0.98722, 0.98657],
            [0.57446, 0.50318, 0.48327, 0.47658, 0.47396, 0.47278],
        ),
    ],
)
def test_converged_values(layers, variance, off_diagonal, dimension):
    found = layers.recursion(6)
    np.testing.assert_allclose(found.variance, variance, atol=6e-6)
    np.testing.assert_allclose(relative(found), off_diagonal, atol=6e-6)
    np.testing.assert_allclose(found.dimension, dimension, atol=6e-6)


def test_threshold_linear_layers_are_exact():
    """The first layer: all means are 0. The second by the closed forms of pairs (Cho & Saul 2009)."""
    g, r = 2**0.5, 0.5
    found = Layers(ReLU(), g, r).recursion(2)
    mean_square, variance = 1 / np.pi, 1 - 1 / np.pi
    np.testing.assert_allclose(found.mean_square[0], mean_square, rtol=1e-12)
    np.testing.assert_allclose(found.variance[0], variance, rtol=1e-12)
    np.testing.assert_allclose(found.off_diagonal[0], (1 + r**2) / 4, rtol=1e-12)
    total, c = g**2 * (mean_square + variance), mean_square / (mean_square + variance)
    angle = np.arccos(c)
    np.testing.assert_allclose(
        found.mean_square[1], total * (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi), rtol=1e-10
    )
    mean_slopes = (np.pi - angle) / (2 * np.pi)  # <phi' phi'>
    before = found.variance_square[0] + found.off_diagonal[0] + r**2 * found.variance[0] ** 2
    np.testing.assert_allclose(found.off_diagonal[1], g**4 * mean_slopes**2 * before, rtol=1e-10)


class Cubic(Transfer):
    """x + x^3 / 3 with a start of a user's own."""

    def __call__(self, x):
        return x + x**3 / 3

    def slope(self, x):
        return 1 + x**2


def test_a_function_of_a_reader():
    """<phi^2> = v + 2 v^2 + 15 v^3 / 9 and <phi'> = 1 + v."""
    v = 0.6**2
    found = Layers(Cubic(), 0.6, 1.0).recursion(1)
    np.testing.assert_allclose(found.variance[0], v + 2 * v**2 + 5 / 3 * v**3, rtol=1e-10)
    np.testing.assert_allclose(found.off_diagonal[0], v**2 * (1 + v) ** 4 * 2, rtol=1e-10)


def test_inputs_continue_a_network():
    layers = Layers(Tanh(), 1.4, 0.8, 0.3)
    whole = layers.recursion(5)
    first = jax.tree.map(lambda x: x[1], whole)
    inputs = Inputs(
        mean_square=first.mean_square,
        variance=first.variance,
        variance_square=first.variance_square,
        off_diagonal=first.off_diagonal,
    )
    np.testing.assert_allclose(layers.recursion(3, inputs).dimension, whole.dimension[2:], rtol=1e-12)


def test_correlated_weights_lower_the_dimension():
    found = jax.vmap(lambda r: Layers(Tanh(), 1.5, r, 0.2).recursion(4).dimension)(jnp.array([0.0, 1.0]))
    assert np.all(found[1] < found[0])
    np.testing.assert_allclose(found[1], Layers(Tanh(), 1.5, 1.0, 0.2).recursion(4).dimension, rtol=1e-12)


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_derivatives(bias):
    def last(x):
        return Layers(Tanh(), x[0], x[1], x[2]).recursion(3).dimension[-1]

    at, step = np.array([1.5, 0.7, bias]), 1e-5
    slopes = jax.grad(last)(jnp.asarray(at))
    for k, slope in enumerate(slopes[: 3 if bias else 2]):
        move = step * np.eye(3)[k]
        np.testing.assert_allclose(slope, (last(at + move) - last(at - move)) / (2 * step), rtol=1e-6)
    assert bias or slopes[2] == 0


def test_other_numbers_compile_nothing():
    Layers(Tanh(), 1.5, 1.0).recursion(4)
    with compilations() as programs:
        Layers(Tanh(), 1.1, 0.3).recursion(4)
    assert not programs


@pytest.mark.parametrize("n, values", [(250, (8.552, 11.743)), (500, (11.653, 15.900)), (1000, (16.044, 21.788))])
def test_the_outlier_of_the_first_layer(n, values):
    """Against the exact one of white inputs, whose next term is a_1 / (r sqrt(N))."""
    for transfer, g, exact in ((Tanh(), 1.5, values[0]), (sign(), 1.0, values[1])):
        found = Layers(transfer, g, 1.0).outliers(n, 1)[0, 0]
        assert abs(found - exact) < 0.7 / n**0.5


def test_outliers_to_leading_order():
    """Of a very wide network: sqrt(N) r K_1^(j - 1) times the a of all layers on the way."""
    n, r, layers = 10**12, 1.3, Layers(sign(), 1.0, 1.3)
    a = 4 / np.pi**2 * (np.pi / 2)  # g^2 <B^2> = 2 / pi
    found = layers.outliers(n, 3)
    expected = n**0.5 * r * a ** np.arange(1, 4)
    np.testing.assert_allclose(found[2], expected[:3], rtol=1e-4)
    assert np.all(found[0, 1:] == 0) and np.all(np.diff(found[2]) < 0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Layers(np.tanh), "`transfer` must be a function of"),
        (lambda: Layers(Tanh(), -1.0), "`g`"),
        (lambda: Layers(Tanh(), 1.0, np.ones(2)), "`r` must be a number"),
        (lambda: Layers(Tanh(), 1.0, 0.0, np.nan), "`bias`"),
        (lambda: Layers(Tanh()).recursion(0), "`depth`"),
        (lambda: Layers(Tanh()).recursion(2, nodes=3), "`nodes`"),
        (lambda: Layers(Tanh()).recursion(2, 1.0), "`inputs`"),
        (lambda: Layers(Tanh()).outliers(0, 2), "`n`"),
        (lambda: Inputs(variance=0.0), "`variance`"),
        (lambda: Inputs(variance_square=0.5), "`variance_square`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
