"""Folds whose place, and its derivative, are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import fold


# x' = p + x^2 - a: the saddle-node normal form, x = 0 at p = a.
saddle_node = lambda y, p, a: p + y**2 - a


def cubic(y, p, c):
    """p + c x - x^3, with folds at x = -+sqrt(c / 3), p = -+2 (c / 3)^(3/2), which meet in a cusp at c = 0."""
    return p + c * y - y**3


def rotated(y, p, args):
    """A saddle-node along the first axis, among decaying directions, in coordinates turned by an orthogonal matrix."""
    turn, a = args
    u = turn.T @ y
    rates = jnp.arange(1, len(y)).astype(y.dtype)
    return turn @ jnp.concatenate([(p - a + u[0] ** 2 + u[0] * u[1])[None], u[0] ** 2 - rates * u[1:]])


def test_saddle_node():
    root = fold(saddle_node, jnp.array([0.2]), jnp.array(0.9), 1.3)
    assert root.converged
    np.testing.assert_allclose([root.value.y[0], root.value.parameter], [0, 1.3], atol=1e-12)
    assert abs(root.value.direction[0]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("side", [-1, 1])
def test_both_folds_of_a_cusp_and_their_slopes(side):
    def at(c):
        return fold(cubic, jnp.array([side * 0.7]), jnp.array(side * 0.5), c).value

    c = 1.2
    found, slope = at(c), jax.jacfwd(at)(c)
    np.testing.assert_allclose(found.y[0], side * np.sqrt(c / 3), rtol=1e-12)
    np.testing.assert_allclose(found.parameter, -side * 2 * (c / 3) ** 1.5, rtol=1e-12)
    # dp/dc = -dF/dc = -x at the fold, and dx/dc = x / 2c.
    np.testing.assert_allclose(slope.parameter, -side * np.sqrt(c / 3), rtol=1e-11)
    np.testing.assert_allclose(slope.y[0], side * np.sqrt(c / 3) / (2 * c), rtol=1e-11)
    second = jax.grad(jax.grad(lambda c: at(c).parameter))(c)
    np.testing.assert_allclose(second, -side / (6 * np.sqrt(c / 3)), rtol=1e-9)


@pytest.mark.parametrize("closed_form", [False, True])
def test_a_fold_in_more_dimensions(closed_form):
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0])
    guess = turn @ jnp.array([0.1, -0.05, 0.02, 0.1])
    jacobian = jax.jacfwd(rotated) if closed_form else None
    at = lambda a: fold(rotated, guess, jnp.array(0.6), (turn, a), jacobian=jacobian)
    root = at(0.8)
    assert root.converged and root.residual < 1e-12
    np.testing.assert_allclose(root.value.y, 0, atol=1e-10)
    np.testing.assert_allclose(root.value.parameter, 0.8, rtol=1e-12)
    # The marginal direction is the first axis of the coordinates before they were turned.
    np.testing.assert_allclose(np.abs(turn[:, 0] @ root.value.direction), 1, rtol=1e-10)
    np.testing.assert_allclose(jax.grad(lambda a: at(a).value.parameter)(0.8), 1, rtol=1e-10)


def test_a_branch_without_fold_is_not_converged():
    monotone = lambda y, p, a: p + y + a * y**3
    batch = jax.jit(jax.vmap(lambda a: fold(monotone, jnp.array([0.7]), jnp.array(-0.5), a)))
    # y' = 1 + 3 a y^2 vanishes for a = -1 alone, at y = 1 / sqrt 3.
    found = batch(jnp.array([1.0, -1.0]))
    np.testing.assert_array_equal(found.converged, [False, True])
    np.testing.assert_allclose(found.value.y[1, 0], 1 / np.sqrt(3), rtol=1e-12)


def test_no_gradient_flows_through_the_guess():
    of = lambda guess: fold(cubic, guess[None], -guess, 1.2).value.parameter
    assert jax.grad(of)(0.7) == 0
