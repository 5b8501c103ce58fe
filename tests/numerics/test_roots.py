"""Searches, and what makes a root exact and differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

from jaxnets._numerics import roots
from jaxnets._numerics.roots import (
    bisect,
    bisect_knowing,
    find_root,
    follow_line,
    implicit_fixed_point,
    implicit_root,
    in_parts,
    iterate,
    last_steps,
    newton_in_bracket,
    newton_step,
    polish_root,
)

# --- searches


def test_bisection_of_many_brackets_either_way_round():
    squares = jnp.array([2.0, 9.0])
    low, high = bisect(lambda x, squares: x**2 < squares, jnp.zeros(2), jnp.full(2, 10.0), squares)
    np.testing.assert_allclose([low, high], np.sqrt([squares, squares]), rtol=1e-15)
    low, high = bisect(lambda x, squares: x**2 > squares, jnp.full(2, 10.0), jnp.zeros(2), squares)
    np.testing.assert_allclose([low, high], np.sqrt([squares, squares]), rtol=1e-15)


def test_bisection_on_a_line_of_the_plane():
    inner, outer = bisect(lambda z, _: jnp.abs(z) < 5, jnp.asarray(3j), jnp.asarray(8 + 3j), None, 20)
    np.testing.assert_allclose(outer - inner, 8 / 2**20)
    np.testing.assert_allclose(inner, 4 + 3j, atol=1e-5)


def test_bisection_has_no_gradients():
    root = lambda a: jnp.sum(bisect(lambda x, a: x < a, a - 1, a + 1, a)[0])
    assert jax.grad(root)(2.0) == 0


@pytest.mark.parametrize("low, high", [(0.0, jnp.inf), (-jnp.inf, 10.0), (0.0, 10.0)])
def test_newton_in_a_bracket_where_newton_alone_fails(low, high):
    target = jnp.array([0.1, 0.5, 1.4])
    value_and_slope = lambda x, target: (jnp.arctan(x - 4) - target, 1 / (1 + (x - 4) ** 2))
    start, low, high = (jnp.full(3, x) for x in (4.0, low, high))
    found = newton_in_bracket(value_and_slope, start, low, high, target)
    np.testing.assert_allclose(found, 4 + np.tan(target), rtol=1e-13)
    # Alone it diverges from the far end of the bracket.
    far = jnp.full(3, 10.0)
    assert not jnp.all(jnp.isfinite(_newtons(value_and_slope, far, target)))
    np.testing.assert_allclose(
        newton_in_bracket(value_and_slope, far, jnp.zeros(3), far + 0.1, target), 4 + np.tan(target), rtol=1e-13
    )


def _newtons(value_and_slope, x, args):
    for _ in range(10):
        value, slope = value_and_slope(x, args)
        x = x - value / slope
    return x


def test_iterations_stop_at_the_tolerance_at_the_last_step_and_at_nan():
    halve = lambda y, _: ((y[0] / 2, y[1] + 1), jnp.abs(y[0]) / 2)
    (y, count), miss = iterate(halve, (jnp.asarray(1.0), 0), None, 0.1, 100)
    assert (y, count, miss) == (1 / 16, 4, 1 / 16)
    (_, count), miss = iterate(halve, (jnp.asarray(1.0), 0), None, 0.1, jnp.asarray(2))
    assert count == 2 and miss > 0.1
    (_, count), miss = iterate(halve, (jnp.asarray(jnp.nan), 0), None, 0.1, 100)
    assert count == 1 and jnp.isnan(miss)


def test_a_newton_step_of_a_holomorphic_function():
    y, miss = newton_step(lambda z: z**2 + 1, jnp.asarray(0.1 + 1.1j))
    np.testing.assert_allclose(y, (0.1 + 1.1j) - ((0.1 + 1.1j) ** 2 + 1) / (2 * (0.1 + 1.1j)))
    np.testing.assert_allclose(miss, abs((0.1 + 1.1j) ** 2 + 1))


def test_a_root_is_followed_along_a_line():
    """Of u e^u = goal, the branch that grows from 0 (Lambert's W)."""

    def root(goal):
        step = lambda u, goal, part: newton_step(lambda u: u * jnp.exp(u) - part * goal, u)
        return follow_line(step, jnp.zeros_like(goal), goal, 8, 1e-14, 20)

    goals = jnp.array([5.0, 0.3 + 2j, -0.3 + 0.5j])
    u, miss = jax.vmap(root)(goals)
    np.testing.assert_allclose(u * jnp.exp(u), goals, rtol=1e-13)
    np.testing.assert_array_less(np.abs(np.imag(u)), np.pi)  # the principal branch
    np.testing.assert_array_less(miss, 1e-13)


def test_no_step_of_a_followed_root_beyond_the_last():
    parts = []
    step = lambda y, _, part: (parts.append(part), (y + part, jnp.asarray(1.0)))[1]
    with jax.disable_jit():
        y, miss = follow_line(step, jnp.asarray(0.0), None, 4, 0.1, 3)
    np.testing.assert_allclose(np.asarray(parts, float), [0.25, 0.5, 0.75, 1, 1, 1, 1])
    assert y == 5.5 and miss == 1


# --- exact and differentiable

# x^2 = a with x > 0, and a fold: x^2 = a has no root for a < 0.
_square = lambda x, a: x**2 - a


def _derivatives(root, order):
    """Of x = sqrt(a) at 1.7, value first, beside the exact ones."""
    found, expected = [], []
    f, exact = root, jnp.sqrt
    for _ in range(order + 1):
        found.append(f(1.7))
        expected.append(exact(1.7))
        f, exact = jax.grad(f), jax.grad(exact)
    return found, expected


@pytest.mark.slow
def test_roots_and_their_derivatives_to_third_order():
    def root(a):
        return polish_root(_square, find_root(_square, jnp.ones(1), a), a).value[0]

    np.testing.assert_allclose(*_derivatives(root, 3), rtol=1e-9)
    np.testing.assert_allclose(jax.jacfwd(root)(1.7), 0.5 / np.sqrt(1.7), rtol=1e-12)


def test_failure_is_data():
    batch = jax.jit(jax.vmap(lambda a: polish_root(_square, find_root(_square, jnp.ones(1), a), a)))
    found = batch(jnp.array([4.0, -1.0, 9.0]))
    np.testing.assert_array_equal(found.converged, [True, False, True])
    np.testing.assert_allclose(found.value[:, 0][found.converged], [2, 3], rtol=1e-12)
    assert not found.residual[1] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("unroll", [False, True])
def test_last_steps_double_the_order_of_exact_derivatives(unroll):
    step = lambda x, a: newton_step(lambda x: x**2 - a, x)
    for num_steps, order in ((1, 1), (2, 3)):
        root = lambda a, num=num_steps: last_steps(step, jnp.sqrt(a), a, num, unroll=unroll)[0]
        found, expected = _derivatives(root, order + 1)
        np.testing.assert_allclose(found[: order + 1], expected[: order + 1], rtol=1e-12)
        assert abs(found[order + 1] / expected[order + 1] - 1) > 0.1  # and no further


def test_the_miss_of_last_steps_is_the_last_one():
    step = lambda x, a: newton_step(lambda x: x**2 - a, x)
    x, miss = last_steps(step, jnp.asarray(2.0), 2.0, 2)
    np.testing.assert_allclose(miss, 1.5**2 - 2)
    np.testing.assert_allclose(x, 17 / 12)


def test_implicit_roots_evaluate_the_equations_for_derivatives_alone():
    calls = []

    def fn(y, a):
        calls.append(a)
        return y**2 - a

    root = lambda a: implicit_root(lambda a: jnp.sqrt(a)[None], fn, a)[0]
    np.testing.assert_allclose(root(1.7), np.sqrt(1.7))
    assert not calls
    np.testing.assert_allclose(*_derivatives(root, 3), rtol=1e-12)
    assert calls


@pytest.mark.slow
def test_implicit_roots_of_two_and_three_unknowns():
    """y^3 = A a for matrices A, elementwise: dy/da = A / (3 y^2), here with the unknowns mixed."""
    for k in (2, 3):
        mix = jnp.asarray(np.random.default_rng(k).normal(size=(k, k)))
        args = jnp.arange(1.0, k + 1)
        search = lambda a: jnp.cbrt(a)
        fn = lambda y, a, mix=mix: mix @ (y**3 - a)
        found = jax.jacrev(lambda a, fn=fn, search=search: implicit_root(search, fn, a))(args)
        np.testing.assert_allclose(found, np.diag(1 / (3 * np.cbrt(args) ** 2)), rtol=1e-10, atol=1e-12)


def test_implicit_fixed_points_of_many_unknowns():
    """y = b cos(y) at many points."""
    b = jnp.linspace(0.1, 0.9, 200)
    update = lambda y, b: (b * jnp.cos(y[0]),)
    y = iterate(lambda y, b: (update(y, b), jnp.max(jnp.abs(update(y, b)[0] - y[0]))), (b,), b, 1e-15, 500)[0]
    value = lambda b: jnp.sum(implicit_fixed_point(update, y, b)[0] ** 2)
    slope = np.cos(y[0]) / (1 + np.asarray(b) * np.sin(y[0]))
    np.testing.assert_allclose(jax.grad(value)(b), 2 * y[0] * slope, rtol=1e-5)


def test_the_table_of_patterns_names_what_there_is():
    """The head of the module states the allowed patterns: each by its function, and none that is not there."""
    named = [line.split("`")[1] for line in (roots.__doc__ or "").splitlines() if line.startswith("   - `")]
    assert named == ["polish_root", "last_steps", "implicit_root", "implicit_fixed_point"]
    assert all(callable(getattr(roots, name)) for name in named)


# --- one concrete problem: programs of their own


def _below(x, a):
    return x**2 < a


def _value_and_slope(x, a):
    return x**2 - a, 2 * x


def _towards(x, a):
    return (x + a / x) / 2, jnp.abs(x**2 - a)


def _towards_part(x, a, part):
    return newton_step(lambda x: x**2 - 1 - part * (a - 1), x)


def _squares(x, a):
    return x**2 - a


def _of_two(x, a):
    return jnp.stack([x[0] * x[1] - a, x[0] - 2 * x[1]])


SEARCHES = {
    "bisect": lambda a: bisect(_below, jnp.zeros(()), jnp.full((), 9.0), a)[0],
    "newton_in_bracket": lambda a: newton_in_bracket(
        _value_and_slope, jnp.ones(()), jnp.zeros(()), jnp.full((), 9.0), a
    ),
    "iterate": lambda a: iterate(_towards, jnp.ones(()), a, 1e-15, 40)[0],
    "follow_line": lambda a: follow_line(_towards_part, jnp.ones(()), a, 4, 1e-15, 40)[0],
    "find_root": lambda a: find_root(_squares, jnp.ones(1), a[None])[0],
    "polish_root": lambda a: polish_root(_squares, jnp.ones(1), a[None], num_steps=8).value[0],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_one_concrete_problem_is_compiled_once_and_solved_as_a_traced_one(name):
    search, first, second = SEARCHES[name], jnp.asarray(3.0), jnp.asarray(5.0)
    search(first)
    with compilations() as programs:
        found = search(second)
    assert not [program for program in programs if program in ("_program", name)]
    np.testing.assert_allclose(found, np.sqrt(5), rtol=1e-14)
    np.testing.assert_allclose(jax.jit(search)(second), found, rtol=1e-15)
    np.testing.assert_allclose(jax.vmap(search)(jnp.stack([first, second]))[1], found, rtol=1e-15)


def test_the_steps_of_a_search_and_of_its_polish_share_a_program():
    a = jnp.asarray(3.0)
    y = find_root(_of_two, jnp.array([1.0, 0.5]), a)
    with compilations() as programs:
        root = polish_root(_of_two, y, a, num_steps=1)
    assert "_program" not in programs
    assert root.converged and root.residual < 1e-14
    np.testing.assert_allclose(root.value, [6**0.5, 1.5**0.5], rtol=1e-14)
    assert not polish_root(_of_two, jnp.array([9.0, 9.0]), a, num_steps=2).converged


def test_functions_within_functions_stay_with_the_program_around_them():
    """They may close over traced numbers."""
    root = lambda a: find_root(lambda x, _: x**2 - a, jnp.ones(1), None)[0]
    np.testing.assert_allclose(jax.jit(root)(5.0), np.sqrt(5), rtol=1e-14)


def test_solvers_in_parts():
    within = []

    @in_parts
    def solver(a, *, twice=False):
        within.append(isinstance(a, jax.core.Tracer))
        return polish_root(_squares, find_root(_squares, jnp.ones(1), a[None]), a[None]).value[0] * (1 + twice)

    np.testing.assert_allclose(solver(jnp.asarray(4.0), twice=True), 4, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(solver)(4.0), 1 / 4, rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(solver)(jnp.array([4.0, 9.0])), [2, 3], rtol=1e-14)
    assert within == [False, True, True]


@pytest.mark.parametrize("num_steps", [0, 1, 30])
def test_bisections_know_what_they_found_at_their_end(num_steps):
    looked = lambda x, a: (x**2 < a, x**3)
    ends = jnp.zeros(2), jnp.full(2, 4.0)
    low, high, cube = bisect_knowing(looked, *ends, ends[0], jnp.array([2.0, 15.9]), jnp.asarray(num_steps))
    np.testing.assert_array_equal((low, high), bisect(lambda x, a: x**2 < a, *ends, jnp.array([2.0, 15.9]), num_steps))
    np.testing.assert_allclose(cube, high**3)
