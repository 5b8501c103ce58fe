"""The damped search on equations whose roots and minima are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import least_squares, least_squares_from_host

TOLERANCE = np.asarray(1e-10)


def _both(fn, starts):
    """The ends of the compiled search and of the loop on the host."""
    equations = lambda y, args: (fn(y), jax.jacfwd(fn)(y))
    many = jax.jit(jax.vmap(lambda y: equations(y, None)))

    def evaluate(y):
        return tuple(map(np.asarray, many(y)))

    y, value = least_squares_from_host(evaluate, starts, TOLERANCE, 100)
    np.testing.assert_allclose(value, evaluate(y)[0], atol=1e-15)
    traced = jax.jit(jax.vmap(lambda y: least_squares(equations, y, None, TOLERANCE, 100)))(starts)
    return y, np.asarray(traced)


def _rosenbrock(y):
    return jnp.stack([10 * (y[1] - y[0] ** 2), 1 - y[0]])


def _parallel(y):
    """No root: |F|^2 is least, 1/2, where the product is 1/2."""
    return jnp.stack([y[0] * y[1], y[0] * y[1] - 1])


def _circle(y):
    """Each point of the circle is a root."""
    return jnp.stack([1.0, 2.0]) * (y[0] ** 2 + y[1] ** 2 - 1)


STARTS = np.random.default_rng(0).standard_normal((6, 2))


def test_an_isolated_root():
    for y in _both(_rosenbrock, STARTS):
        np.testing.assert_allclose(y, 1, atol=1e-12)


def test_a_point_that_comes_nearest():
    for y in _both(_parallel, STARTS):
        np.testing.assert_allclose(y[:, 0] * y[:, 1], 0.5, atol=1e-6)


def test_of_a_line_of_roots_the_near_one():
    on = np.stack([np.cos([0.3, 2.0]), np.sin([0.3, 2.0])], 1)
    for y in _both(_circle, np.concatenate([1.2 * on, on])):
        np.testing.assert_allclose(np.sum(y[:2] ** 2, 1), 1, atol=1e-12)
        np.testing.assert_allclose(y[:2], on, atol=1e-4)  # along the line rounding moves it, on some machines
        np.testing.assert_allclose(y[2:], on, atol=1e-15)  # a root is left where it is


@pytest.mark.parametrize("power", [2, 3, 5])
def test_multiple_roots(power):
    for y in _both(lambda y: y**power, STARTS):
        np.testing.assert_allclose(y, 0, atol={2: 1e-8, 3: 1e-6, 5: 1e-3}[power])


def test_equations_without_a_finite_solution_are_left():
    """exp(-y) falls for ever: the search goes on to max_steps and stays finite."""
    for y in _both(lambda y: jnp.exp(-y), np.zeros((1, 2))):
        assert np.all(np.isfinite(y)) and np.all(y > 5)


@pytest.mark.parametrize("factor", [1, 3])
def test_newton_steps_that_do_not_halve_the_error_are_not_taken(factor):
    """From y > 1.39 Newton's steps for arctan y grow for ever; damped ones arrive."""

    def evaluate(y):
        return factor * np.arctan(y), factor * (1 / (1 + y**2))[..., None]

    starts = np.array([[1.5], [-4.0], [0.5]])
    y, value = least_squares_from_host(evaluate, starts, np.asarray(100.0), 60)  # Newton's steps from the first one on
    np.testing.assert_allclose(y, 0, atol=2e-7)
    np.testing.assert_allclose(value, evaluate(y)[0])
