"""Saddle points, folds and lines of a magnet whose phases are known in closed form, and whose Jacobian is not given."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from jaxnets.replica import Problem, branch_end, coexistence, fold, saddle, vanishing


class Magnet(Problem):
    """m = tanh((m + h) / T), the mean-field ferromagnet in a field h."""

    field: Float[Array, ""]
    temperature: Float[Array, ""]
    error: float = 0.0

    def mismatch(self, y):
        return jnp.tanh((y + self.field) / self.temperature) - y

    def relaxed(self, y, num_steps):
        return jax.lax.fori_loop(0, num_steps, lambda _, y: jnp.tanh((y + self.field) / self.temperature), y)

    def free_energy(self, y):
        T = self.temperature
        return y[0] ** 2 / 2 - T * jnp.log(2 * jnp.cosh((y[0] + self.field) / T))

    def replicon(self, y):
        return 2 - y[0] ** 2

    def stability(self, y):
        return 1 - (1 - y[0] ** 2) / self.temperature

    def quadrature_error(self, y):
        return jnp.asarray(self.error)

    def is_admissible(self, y, tolerance):
        return jnp.abs(y[0]) <= 1 + tolerance

    def at_field(self, field):
        return eqx.tree_at(lambda problem: problem.field, self, field)

    def at_temperature(self, temperature):
        return eqx.tree_at(lambda problem: problem.temperature, self, temperature)


def magnet(field=0.0, temperature=0.6, error=0.0):
    return Magnet(jnp.asarray(field), jnp.asarray(temperature), error)


UP = jnp.ones(1)
SPINODAL = np.sqrt(0.4)  # m^2 = 1 - T at T = .6


def spinodal_field(T):
    m = jnp.sqrt(1 - T)
    return T * jnp.arctanh(m) - m


# --- saddle points


def test_the_iteration_chooses_the_state():
    """From above, from below, and by Newton's method alone the unstable state between them."""
    up, down = (saddle(magnet(0.05), guess) for guess in ([1.0], [-1.0]))
    middle = saddle(magnet(0.05), [-0.1], num_steps=0)
    for state in (up, down, middle):
        assert state.converged
        np.testing.assert_allclose(0.6 * np.arctanh(state.y) - state.y, 0.05, atol=1e-14)
        np.testing.assert_allclose(state.stability, 1 - (1 - state.y[0] ** 2) / 0.6, rtol=1e-12)
        np.testing.assert_allclose(state.replicon, 2 - state.y[0] ** 2, rtol=1e-12)
    assert down.y[0] < middle.y[0] < 0 < up.y[0]
    assert up.stability > 0 and down.stability > 0 and middle.stability < 0
    assert up.free_energy < down.free_energy < middle.free_energy


def test_derivatives_of_second_order():
    """h = T atanh(m) - m: m' = 1 / h', m'' = -h'' / h'^3, and df / dh = -m."""
    m = lambda field: saddle(magnet(field), UP).y[0]
    value = m(0.05)
    slope = 0.6 / (1 - value**2) - 1
    curvature = 0.6 * 2 * value / (1 - value**2) ** 2
    np.testing.assert_allclose(jax.grad(m)(0.05), 1 / slope, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(jax.grad(m))(0.05), -curvature / slope**3, rtol=1e-11)
    energy = lambda field: saddle(magnet(field), UP).free_energy
    np.testing.assert_allclose(jax.grad(energy)(0.05), -value, rtol=1e-12)


def test_a_saddle_point_that_is_not_one_says_so():
    assert not saddle(magnet(error=1e-3), UP).converged  # quadratures
    assert saddle(magnet(error=1e-3), UP).residual == 1e-3
    lost = saddle(magnet(-0.3, 0.6), [1.0], num_steps=0)  # beyond the spinodal: steps of Newton go anywhere
    assert lost.y[0] < 0 or not lost.converged
    found = jax.vmap(lambda field: saddle(magnet(field), UP))(jnp.array([0.1, jnp.nan]))
    np.testing.assert_array_equal(found.converged, [True, False])


def test_precision_is_that_of_the_problem():
    single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), magnet(0.05))
    state = saddle(single, [1.0])
    assert state.y.dtype == jnp.float32 and state.converged
    np.testing.assert_allclose(state.y, saddle(magnet(0.05), UP).y, rtol=1e-5)


# --- lines


def ends(problem, low=0.5, high=-0.5):
    return branch_end(problem, Magnet.at_field, UP, (low, high), lambda _, state: state.y[0] > 0, num_steps=100)


def test_a_branch_ends_at_its_spinodal():
    end = jax.jit(ends)(magnet())
    assert end.found
    past = end.parameter - spinodal_field(0.6)
    assert 0 <= past < 1.1e-3  # a thousandth of the interval, from the side of the branch
    np.testing.assert_allclose(end.y[0] - SPINODAL, np.sqrt(past / (0.6 * SPINODAL / 0.36)), rtol=0.1)
    assert not ends(magnet(), high=0.0).found  # goes on
    assert not ends(magnet(), low=-0.4).found  # is not there to begin with


def test_fold_and_its_slope():
    def end(T):
        problem = magnet(temperature=T)
        rough = ends(problem)
        return fold(problem, Magnet.at_field, rough.y, rough.parameter)

    found = jax.jit(end)(0.6)
    assert found.converged
    np.testing.assert_allclose(found.y, SPINODAL, rtol=1e-10)
    np.testing.assert_allclose(found.parameter, spinodal_field(0.6), rtol=1e-13)
    # dh / dT = atanh(m), because m is stationary.
    np.testing.assert_allclose(jax.jit(jax.grad(lambda T: end(T).parameter))(0.6), np.arctanh(SPINODAL), rtol=1e-9)


def test_coexistence_at_field_zero():
    found = coexistence(magnet(), Magnet.at_field, jnp.array([0.95]), jnp.array([-0.85]), jnp.asarray(0.02))
    assert found.converged
    np.testing.assert_allclose(found.parameter, 0, atol=1e-13)
    np.testing.assert_allclose(found.y, saddle(magnet(), UP).y, rtol=1e-12)


def test_where_a_scalar_vanishes():
    """T at which m = 1/2 in a field: (m + h) / atanh(m), of slope 1 / atanh(m) in h."""

    def line(field):
        half = lambda problem, y: y[0] - 0.5
        return vanishing(magnet(field), Magnet.at_temperature, half, jnp.array([0.6]), jnp.asarray(0.8))

    found = line(0.1)
    assert found.converged
    np.testing.assert_allclose(found.parameter, 0.6 / np.arctanh(0.5), rtol=1e-12)
    slope = jax.grad(lambda field: line(field).parameter)(0.1)
    np.testing.assert_allclose(slope, 1 / np.arctanh(0.5), rtol=1e-9)


def test_no_line_is_no_root():
    beyond = vanishing(
        magnet(), Magnet.at_temperature, lambda _, y: y[0] - 2, jnp.array([0.5]), jnp.asarray(0.8)
    )  # |m| < 1
    assert not beyond.converged


def test_bad_arguments_are_named():
    for call, name in (
        (lambda: saddle(3, UP), "problem"),
        (lambda: saddle(magnet(), 1.0), "guess"),
        (lambda: saddle(magnet(), [np.nan]), "guess"),
        (lambda: saddle(magnet(), UP, num_steps=-1), "num_steps"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            call()
