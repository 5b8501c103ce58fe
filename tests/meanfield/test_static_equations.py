"""The equations of a fixed point, its outliers and its stability, one by one, against the same equations in NumPy."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import fsolve

from jaxnets import Discrete
from jaxnets.couplings import IID, Elliptic, LowRank
from jaxnets.meanfield import Input, static_states
from jaxnets.meanfield.static import stability, states
from jaxnets.meanfield.static import state as state_module
from jaxnets.meanfield.static.averages import Averages, GaussianField, averages
from jaxnets.meanfield.static.line import Line, guesses, number_missed
from jaxnets.meanfield.static.outliers import Outlier, order_parameter_map
from jaxnets.meanfield.static.state import StaticState, field_at, order_parameters, problem_of
from jaxnets.spectra.edges import Edge
from jaxnets.transfer import Tanh

# A reaction, a uniform column, noise of the loadings and all inputs; nothing is symmetric.
G, SYMMETRY, NOISE = 0.6, 0.5, 0.7
OVERLAPS = np.array([[0.8, 0.5], [-0.3, 0.9]])
MEAN, VARIANCE, LEFT, RIGHT = 0.3, 0.2, np.array([0.3, 0.1]), np.array([-0.4, 0.2])
Z = np.linspace(-9, 9, 301)
WEIGHTS = np.exp(-(Z**2) / 2) / np.sum(np.exp(-(Z**2) / 2))


def _problem():
    ensemble = Elliptic(G, SYMMETRY) + LowRank(OVERLAPS, noise=NOISE, uniform=True)
    return problem_of(ensemble, Tanh(), Input(MEAN, VARIANCE, LEFT, RIGHT))


def _settled(h, r):
    x = h
    for _ in range(200):
        x = h + r * np.tanh(x)
    return x


def _averages(mean, variance, r):
    """<phi>, <phi^2>, <dphi/dh> and its square."""
    x = _settled(mean + np.sqrt(variance) * Z, r)
    phi, slope = np.tanh(x), 1 / np.cosh(x) ** 2
    response = slope / (1 - r * slope)
    return WEIGHTS @ np.stack([phi, phi**2, response, response**2], 1)


def _field(y):
    """Mean and variance of h, its part along U, and r, in a network with the order parameters (kappa, <phi^2>, S)."""
    left = y[:2] + LEFT
    variance = left[1] ** 2 + RIGHT @ RIGHT + VARIANCE + G**2 * y[2]
    return MEAN + left[0], variance, left, SYMMETRY * G**2 * y[3]


def _answered(y):
    """The order parameters of units in this field."""
    mean, variance, left, r = _field(y)
    rate, power, response, _ = _averages(mean, variance, r)
    kappa = OVERLAPS @ np.array([rate, left[1] * response]) + NOISE * RIGHT * response
    return np.array([*kappa, power, response])


@pytest.fixture(scope="module")
def solution():
    """The order parameters of a fixed point."""
    y = fsolve(lambda y: y - _answered(y), [1.0, 1.0, 0.5, 0.6], xtol=1e-13)
    assert np.max(np.abs(y - _answered(y))) < 1e-11 and np.all(np.abs(y) > 0.05)
    return y


def test_field_and_order_parameters():
    """At order parameters that are no solution."""
    y, of = np.array([0.7, -0.4, 0.6, 0.5]), (0.3, 0.6, 0.7, 0.8)

    @eqx.filter_jit
    def both(problem, y, of):
        field = field_at(problem, y)
        return field, order_parameters(problem, field, of)

    field, found = both(_problem(), jnp.asarray(y), Averages(*map(jnp.asarray, of)))
    mean, variance, left, r = _field(y)
    expected = [mean, variance, r, G**2, G**2 * y[2]]
    np.testing.assert_allclose([field.mean, field.variance, field.reaction, field.strength, field.random], expected)
    kappa = OVERLAPS @ np.array([of[0], left[1] * of[2]]) + NOISE * RIGHT * of[2]
    np.testing.assert_allclose(found, [*kappa, of[1], of[2]])


def test_averages_with_spread_and_without():
    """Quadrature, and the Taylor series that takes its place at a variance of 0 and below."""
    find = eqx.filter_jit(lambda variance: averages(Tanh(), jnp.asarray(0.4), variance, jnp.asarray(0.3), 40))
    stacked = lambda variance: np.stack(jax.tree.leaves(find(jnp.asarray(variance))))
    np.testing.assert_allclose(stacked(0.7), _averages(0.4, 0.7, 0.3), rtol=1e-8)
    np.testing.assert_allclose(stacked(0.0), _averages(0.4, 0.0, 0.3), rtol=1e-12)
    # At -v the series is, to first order, as far below as the averages over a small variance are above.
    small = _averages(0.4, 1e-5, 0.3) - _averages(0.4, 0.0, 0.3)
    np.testing.assert_allclose(stacked(-1e-5) - stacked(0.0), -small, rtol=2e-3)


def test_the_map_at_zero_frequency_is_the_derivative_of_the_equations(solution):
    """An eigenvector at z = 1 is a static change; M has the coordinates (kappa, b / c, c S), c = <phi^2>^(1/2)."""
    mean, variance, _, r = _field(solution)
    x = _settled(mean + np.sqrt(variance) * Z, r)
    numbers = dict(zip(("kappa", "rate_power", "response"), (solution[:2], *solution[2:]), strict=True))
    names = ("rate", "bulk", "residual", "converged")
    numbers |= {"mean": mean, "variance": variance, "reaction": r, "x": x, "weights": WEIGHTS} | dict.fromkeys(names, 0)
    state = StaticState(**jax.tree.map(jnp.asarray, numbers), problem=_problem())
    gains = Discrete(1 / np.cosh(x) ** 2, WEIGHTS)
    M = eqx.filter_jit(order_parameter_map)(state, gains, jnp.array(1.0 + 0j), state.response.astype(complex))

    steps = 1e-5 * np.eye(4)
    jacobian = np.stack([(_answered(solution + step) - _answered(solution - step)) / 2e-5 for step in steps], 1)
    c = np.sqrt(solution[2])
    scale = np.array([1, 1, 2 * c, 1 / c])
    np.testing.assert_allclose(M, jacobian * scale[None] / scale[:, None], atol=1e-8)


# --- the search, and what is converged --------------------------------------------------------------------------


def test_searches_from_the_host(monkeypatch):
    """An isolated root, a ring of roots, which a Newton step would leave, and no root: in blocks of one program."""
    blocks = []

    def one(x, z):
        """A root at (-1, 2) for x < 0, none around x = 60, and all of the circle around (10, 0) between."""
        if x < 0 or x > 50:
            value, slope = (x + 1, 1) if x < 0 else (1 + (x - 60) ** 2, 2 * (x - 60))
            return np.array([value, z - 2]), np.array([[slope, 0], [0, 1.0]])
        circle, slope = (x - 10) ** 2 + z**2 - 1, 2 * np.array([x - 10, z])
        return np.array([circle, 2 * circle]), np.stack([slope, 2 * slope])

    def equations(problem, y, nodes):
        blocks.append(len(y))
        return tuple(map(np.stack, zip(*(one(*row) for row in np.asarray(y)), strict=True)))

    monkeypatch.setattr(state_module, "_linear_rows", equations)
    monkeypatch.setattr(
        state_module, "_guess_rows", lambda problem, kappa, variance, nodes: np.hstack([kappa, variance])
    )
    monkeypatch.setattr(state_module, "_state_rows", lambda problem, y, missed, nodes: (y, missed))
    starts = np.array([[-2.0, 1.0], [11.3, 0.4], [62.0, 1.0], *[[-1.0 - k, 0.0] for k in range(6)]])
    y, missed = state_module.solve_from_host(None, starts[:, :1], starts[:, 1:], 40)
    np.testing.assert_allclose(y[[0, *range(3, 9)]], [[-1.0, 2.0]] * 7, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(y[1] - [10, 0]), 1, atol=1e-8)
    np.testing.assert_allclose(np.arctan2(y[1, 1], y[1, 0] - 10), np.arctan2(0.4, 1.3), atol=0.05)
    assert np.all(np.delete(missed, 2) < 1e-7) and missed[2] >= 1 / (1 + 60.1)  # relative to 1 + the size
    assert blocks[0] == 8 and set(blocks) == {1, 8}  # one search alone at the end
    blocks.clear()
    state_module.solve_from_host(None, starts[:1, :1], starts[:1, 1:], 40)
    assert set(blocks) == {1}


def test_which_states_are_converged(monkeypatch):
    """By the equations, two rules of averages, the sign of the variance, r phi' and the domain of r."""
    fine, weights = Averages(*jnp.array([0.2, 0.3, 0.5, 0.4])), jnp.ones(8) / 8
    law = GaussianField(weights, weights, 2 * weights, jnp.zeros(8), jnp.zeros(()))
    problem = SimpleNamespace(transfer=Tanh(), ensemble=SimpleNamespace(poles=lambda: jnp.array([0.5 + 1j])))

    @jax.jit
    @jax.vmap
    def judged(missed, between, variance, reaction, response):
        coarser = jax.tree.map(lambda a: a + between * (1 + a), fine)
        field = SimpleNamespace(mean=0 * missed, variance=variance, reaction=reaction, strength=2.0)
        monkeypatch.setattr(state_module, "gaussian_field", lambda *_: law)
        monkeypatch.setattr(state_module, "averages_over", lambda _, law, w, *__: fine if w is law.weights else coarser)
        monkeypatch.setattr(state_module, "field_at", lambda problem, y: field)
        found = state_module._state(problem, jnp.stack([missed, missed, response]), missed, 4)
        return found.converged, found.residual, found.variance, found.bulk

    cases = np.array(
        [
            (9e-7, 0, 0.5, 0.9, 1.9),
            (2e-6, 0, 0.5, 0.9, 1.9),
            (0, 2e-6, 0.5, 0.9, 1.9),
            (0, 0, -1e-12, 0.9, 1.9),
            (0, 0, -1e-8, 0.9, 1.9),
            (0, 0, 0.5, 1.1, 1.9),  # x(h) is not unique
            (0, 0, 0.5, 0.9, 2.1),  # beyond the pole at S = 1 / .5
        ]
    )
    converged, residual, variance, bulk = judged(*cases.T)
    np.testing.assert_array_equal(converged, [True, False, False, True, False, False, False])
    np.testing.assert_allclose(residual, np.maximum(*cases[:, :2].T), rtol=1e-6)
    np.testing.assert_array_equal(variance, np.maximum(cases[:, 2], 0))
    np.testing.assert_allclose(bulk, 0.8)


# --- outliers beside a line, and what is decided by them --------------------------------------------------------


def _line(*zeros):
    """A line at Re z = 1 where 1 - M is diagonal, with det = prod (z - zero) / (z + 1)."""
    angle = (np.arange(64) + 0.5) * np.pi / 64
    z = 1 + 1j / np.tan(angle / 2)
    at = lambda z: np.stack([(z - zero) / (z + 1) for zero in zeros], -1)[..., None] * np.eye(len(zeros))
    one = np.asarray(1.0)
    return jax.tree.map(jnp.asarray, Line(one, one, np.exp(1j * angle), z, at(z), at(1.0 + 0j), np.asarray(True)))


def test_zeros_are_counted_with_their_order():
    count = eqx.filter_jit(lambda line, z, order: number_missed(line, z, order))
    nan = np.nan + 0j
    for known, order, missed in (
        ([1.3, nan], [2, 1], 1),  # a double zero
        ([1.3, 1.7], [2, 1], 0),
        ([1.3, 1.7], [1, 1], 1),
        ([nan, nan], [1, 1], 3),
    ):
        assert count(_line(1.3, 1.3, 1.7, 0.2), jnp.asarray(known, complex), jnp.asarray(order, float)) == missed
    outside = eqx.tree_at(lambda line: line.outside, _line(1.3, 1.3, 1.7, 0.2), jnp.asarray(False))
    assert count(outside, jnp.asarray([nan, nan]), jnp.ones(2)) == -1


def test_guesses_are_the_zeros_right_of_the_line():
    found = np.asarray(eqx.filter_jit(guesses)(_line(1.3, 2.5)))
    for zero in (1.3, 2.5):
        assert np.nanmin(np.abs(found - zero)) < 1e-6


class _Problem(eqx.Module):
    transfer: Tanh
    ensemble: IID


class _Judged(eqx.Module):
    """What the stability of a state is found from."""

    problem: _Problem
    x: jax.Array
    weights: jax.Array
    variance: jax.Array
    converged: jax.Array


def test_what_is_stable(monkeypatch):
    """From the edge and the outliers that are found, in rising order here, and those that are missed."""
    number = lambda x: jnp.asarray(float(x))
    state = _Judged(_Problem(Tanh(), IID(0.5)), jnp.zeros(2), jnp.ones(2) / 2, number(1), jnp.asarray(True))

    @jax.jit
    @jax.vmap
    def judged(edge, outliers, missed):
        z = edge.astype(complex)
        bulk = Edge(z=z, zeta=z, residual=number(1e-9), converged=jnp.asarray(True))
        monkeypatch.setattr(stability, "rightmost", lambda *_: bulk)
        monkeypatch.setattr(stability, "half_plane", lambda *_: SimpleNamespace(start=number(0.8)))
        monkeypatch.setattr(stability, "guesses", lambda _: outliers.astype(complex))
        monkeypatch.setattr(stability, "outlier", lambda state, gains, z: Outlier(z, number(1), number(1e-8)))
        monkeypatch.setattr(stability, "number_missed", lambda *_: missed)
        return stability._stability.__wrapped__(state)

    edge, outlier, missed, stable = zip(
        (0.6, 0.99, 0, True),
        (0.6, 1.0, 0, False),  # marginal, as along a ring
        (0.6, 1 - 1e-9, 0, False),
        (0.6, 1.2, 0, False),
        (0.6, 0.99, 1, False),
        (0.6, 0.99, -1, False),
        (1.0, 0.99, 0, False),
        strict=True,
    )
    outliers = np.stack([[0.4, z, np.nan] for z in outlier])
    found = judged(np.array(edge), outliers, np.array(missed))
    np.testing.assert_array_equal(found.stable, stable)
    np.testing.assert_array_equal(found.converged, np.array(missed) == 0)
    np.testing.assert_array_equal(found.outliers.real, outliers[:, [1, 0, 2]])
    np.testing.assert_array_equal(found.residual, 1e-8)
    np.testing.assert_array_equal(found.rightmost.real, np.maximum(edge, outlier))


def test_solutions_are_merged_and_sorted_with_what_belongs_to_them(monkeypatch):
    """Seven searches: one fails, and three solutions are found once, twice and three times, in no order."""
    kappa, variance = np.array([3.0, 1.0, 3.0, 9.0, 2.0, 1.0, 3.0]), np.array([2.0, 1.0, 2.0, 5.0, 0.5, 1.0, 2.0])
    rows = lambda value: np.full(7, float(value))

    def searched(problem, guess_kappa, guess_variance, nodes):
        assert guess_kappa.shape == (7, 1) and guess_kappa[0] == guess_variance[0] == 0
        numbers = {name: rows(0) for name in ("mean", "rate", "rate_power", "response", "reaction", "bulk", "residual")}
        numbers |= {"kappa": kappa[:, None], "variance": variance, "converged": kappa < 9}
        return StaticState(**numbers, x=np.zeros((7, 2)), weights=np.zeros((7, 2)), problem=rows(0))

    monkeypatch.setattr(states, "solve_from_host", searched)
    monkeypatch.setattr(states, "static_stability", lambda state: state.kappa)
    found = static_states(IID(0.5) + LowRank(2.0), Tanh(), key=jax.random.key(0), num_starts=7, scale=1.0)
    np.testing.assert_array_equal(found.state.kappa[:, 0], [2, 1, 3])
    np.testing.assert_array_equal(found.state.variance, [0.5, 1, 2])
    np.testing.assert_array_equal(found.counts, [1, 2, 3])
    np.testing.assert_array_equal(found.stability[:, 0], [2, 1, 3])
    assert found.failed == 1
