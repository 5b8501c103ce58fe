"""Folds whose place, and its derivative, are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import fold, follow, polish_root

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


@pytest.mark.slow
@pytest.mark.parametrize("side", [-1, 1])
def test_both_folds_of_a_cusp_and_their_slopes(side):
    @jax.jit
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
    at = jax.jit(lambda a: fold(rotated, guess, jnp.array(0.6), (turn, a), jacobian=jacobian))
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


# --- following


def solve(equation, args):
    """`advance` for `follow` by Newton's method: a root is of the branch while it is found and stays on its side."""

    def advance(y, p, ahead):
        root = polish_root(lambda y, _: equation(y, ahead, args), y, None, num_steps=20)
        return root.value, root.converged & (root.value[0] > 0)

    return advance


def test_a_branch_is_followed_to_its_fold():
    # y = sqrt(a - p) from p = 0.
    a, smallest = 1.2345, 1e-5
    start = jnp.sqrt(jnp.array([a]))
    branch = follow(solve(saddle_node, a), start, jnp.array(0.0), 5.0, largest=0.2, smallest=smallest, max_steps=100)
    num = int(branch.num)
    p = np.asarray(branch.parameters)
    assert 5 < num < 60 and np.all(np.diff(p[:num]) > 0) and np.all(np.diff(p[:num]) <= 0.2 + 1e-15)
    np.testing.assert_allclose(branch.values[:, 0], np.sqrt(a - p), atol=1e-6)
    assert p[0] == 0 and np.all(p[num:] == branch.parameter) and branch.value == branch.values[num - 1]
    assert branch.gap <= smallest and 0 < a - branch.parameter <= branch.gap
    root = fold(saddle_node, branch.value, branch.parameter, a)
    np.testing.assert_allclose(root.value.parameter, a, rtol=1e-12)


def test_a_branch_that_goes_on_arrives_and_may_go_down():
    # y = exp p, which has no end, from p = 1 down to p = -2 in steps of 0.4: eight of them, the last of 0.2.
    exponential = solve(lambda y, p, _: jnp.log(y) - p, None)
    branch = follow(exponential, jnp.exp(jnp.ones(1)), jnp.array(1.0), -2.0, largest=0.4, smallest=1e-6, max_steps=50)
    assert branch.num == 9 and branch.parameter == -2 and np.isinf(branch.gap)
    np.testing.assert_allclose(np.diff(branch.parameters[:9]), [-0.4] * 7 + [-0.2], rtol=1e-12)
    np.testing.assert_allclose(branch.values[:, 0], np.exp(branch.parameters), rtol=1e-8)


def test_a_branch_in_parts_is_the_branch_in_one():
    a, options = 0.9, {"largest": 0.3, "smallest": 1e-6}
    whole = follow(solve(saddle_node, a), jnp.sqrt(jnp.array([a])), jnp.array(0.0), 2.0, **options, max_steps=100)
    value, p, step, found = jnp.sqrt(jnp.array([a])), jnp.array(0.0), 0.3, [0.0]
    for _ in range(30):
        part = follow(solve(saddle_node, a), value, p, 2.0, **options, max_steps=7, step=step)
        value, p, step = part.value, part.parameter, part.step
        found += part.parameters[1 : part.num].tolist()
        if part.gap <= options["smallest"]:
            break
    np.testing.assert_allclose(found, whole.parameters[: whole.num], rtol=1e-12)
    np.testing.assert_allclose(part.gap, whole.gap)


def test_branches_of_different_lengths_in_one_batch():
    ends = jnp.array([0.5, 3.0, 1.25])

    @jax.jit
    @jax.vmap
    def end(a):
        start = jnp.sqrt(a[None])
        branch = follow(solve(saddle_node, a), start, 0 * a, 2.0, largest=0.3, smallest=1e-3, max_steps=60)
        return branch.parameter, branch.gap, branch.beyond

    p, gap, beyond = end(ends)
    np.testing.assert_array_equal(gap <= 1e-3, [True, False, True])
    assert p[1] == 2
    # The end lies between the last solution and the step that failed, which found no solution.
    assert np.all((p < ends)[jnp.array([0, 2])]) and np.all((p + gap > ends)[jnp.array([0, 2])])
    assert beyond.shape == (3, 1)
