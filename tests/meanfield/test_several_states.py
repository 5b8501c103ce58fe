"""Transfer functions with several states, with kinks, in other units: all states, the fold, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from scipy.optimize import brentq

from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import chaos_onset, stationary, stationary_states
from jaxnets.transfer import Erf, ReLU, Tanh, Transfer, clipped_linear

SMALL = {"nodes": 201, "num_lags": 129}


class Steepening(Transfer):
    """tanh(x + a x^3) of x / unit."""

    a: jax.Array
    unit: jax.Array

    def __call__(self, x):
        y = x / self.unit
        return jnp.tanh(y + self.a * y**3)

    def slope(self, x):
        y = x / self.unit
        return (1 + 3 * self.a * y**2) / jnp.cosh(y + self.a * y**3) ** 2 / self.unit


STEEP = Steepening(jnp.asarray(2.0), jnp.asarray(1.0))


def by_hand(phi, g, low, high):
    """C_0 of the orbit from C_0 at rest to 0, with Phi and its variance by NumPy."""
    z, dz = np.linspace(-9, 9, 20001, retstep=True)
    weight = np.exp(-(z**2) / 2) * dz / np.sqrt(2 * np.pi)

    def energy(C):
        x = np.sqrt(C) * z
        rate = phi(x)
        Phi = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2)]) * (x[1] - x[0])
        return g**2 * (weight @ Phi**2 - (weight @ Phi) ** 2) - C**2 / 2

    return brentq(energy, low, high, xtol=1e-12)


def test_rest_beside_chaos():
    """tanh(x + 2 x^3) at g = .9: rest and chaos, and a state between them."""
    phi = lambda x: np.tanh(x + 2 * x**3)
    found = stationary_states(IID(0.9), STEEP, **SMALL)
    assert np.all(found.state.converged)
    np.testing.assert_array_equal(found.stable, [True, False, True])
    between, chaos = by_hand(phi, 0.9, 0.01, 0.1), by_hand(phi, 0.9, 0.1, 1)
    np.testing.assert_allclose(found.state.variance, [0, between, chaos], rtol=1e-6)
    np.testing.assert_allclose(found.state.variance, [0, 0.0268, 0.2424], atol=5e-5)
    np.testing.assert_array_equal(found.state.alternatives, [1, 2, 1])
    taken = stationary(IID(0.9), STEEP, **SMALL)
    assert taken.variance == 0 and taken.alternatives == 1 and "alternatives = 1" in str(taken)
    # The same in one program.
    mapped = jax.jit(jax.vmap(lambda g: stationary(IID(g), STEEP, **SMALL)))(jnp.array([0.8, 0.9, 1.2]))
    np.testing.assert_array_equal(mapped.alternatives, [0, 1, 0])
    np.testing.assert_allclose(mapped.variance, [0, 0, by_hand(phi, 1.2, 0.1, 3)], rtol=1e-6)


@pytest.mark.parametrize(
    "ensemble",
    [
        IID(1.0),
        pytest.param(RandomModes.flat(0.5, load=4.0), marks=pytest.mark.slow),
        pytest.param(DeepHebbian(0.5, 0.0, (0.8,)), marks=pytest.mark.slow),
    ],
)
def test_chaos_appears_at_a_fold(ensemble):
    """On one side of the fold rest is alone, on the other two states lie beside it, which meet there."""
    onset = chaos_onset(ensemble, STEEP)
    assert onset.converged and onset.appears < 0.95 * onset.value
    below, above = (stationary_states(s * onset.appears * ensemble, STEEP, **SMALL) for s in (0.9999, 1.0001))
    assert below.stable.shape == (1,) and above.stable.shape == (3,)
    np.testing.assert_allclose(above.state.variance[1], above.state.variance[2], rtol=0.3)


@pytest.mark.slow
def test_onset_without_a_fold():
    for transfer in (Tanh(), Erf(), clipped_linear(-1.0, 1.0)):
        onset = chaos_onset(IID(2.0), transfer)
        assert onset.value == onset.appears == 0.5
    assert np.isnan(chaos_onset(Elliptic(1.0, 0.5), Tanh()).appears)


def test_slope_of_the_fold():
    appears = lambda a: chaos_onset(IID(1.0), Steepening(a, jnp.asarray(1.0))).appears
    at = jax.jit(jax.vmap(jax.value_and_grad(appears)))(jnp.array([1.999, 2.0, 2.001]))
    np.testing.assert_allclose(at[1][1], (at[0][2] - at[0][0]) / 0.002, rtol=1e-4)


@pytest.mark.parametrize("q", [1e-12, 1e9])
def test_units_of_x(q):
    """J -> q J with phi(x / q): variances grow by q^2, scales and times do not change."""
    plain, scaled = (
        (stationary_states(IID(0.9 * u), Steepening(jnp.asarray(2.0), jnp.asarray(u)), **SMALL)) for u in (1.0, q)
    )
    np.testing.assert_allclose(scaled.state.variance / q**2, plain.state.variance, rtol=1e-9)
    np.testing.assert_allclose(scaled.state.lags, plain.state.lags, rtol=1e-9)
    ours, other = (chaos_onset(IID(u), Steepening(jnp.asarray(2.0), jnp.asarray(u))) for u in (1.0, q))
    np.testing.assert_allclose([other.value, other.appears], [ours.value, ours.appears], rtol=1e-9)


def test_two_levels_of_noise():
    """With noise of .05 there are a quiet and a chaotic state; the quiet one is taken."""
    found = stationary_states(IID(0.9), STEEP, 0.05, **SMALL)
    np.testing.assert_array_equal(found.stable, [True, False, True])
    np.testing.assert_allclose(stationary(IID(0.9), STEEP, 0.05, **SMALL).variance, found.state.variance[0], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("start, expected", [(1.0, 0.2424), (0.05, 0.0)])
def test_networks_stay_or_fall_to_rest(start, expected):
    found = []
    for seed in range(3):
        J = IID(0.9).sample(3000, key=jax.random.key(seed), dtype=jnp.float32)
        x = start * jax.random.normal(jax.random.key(10 + seed), (3000,), jnp.float32)
        transfer = Steepening(jnp.float32(2.0), jnp.float32(1.0))
        run = simulate(RateNetwork(J, transfer), x, duration=300.0, discard=150.0, save_every=10, dt=0.1)
        found.append(np.mean(np.asarray(run.states) ** 2))
    np.testing.assert_allclose(np.mean(found), expected, atol=0.01)


# --- kinks, and slopes that are wrong -----------------------------------------------------------------------------


class Clip(Transfer):
    def __call__(self, x):
        return jnp.clip(x, -1, 1)

    def slope(self, x):
        return (jnp.abs(x) < 1).astype(x.dtype)


class Softsign(Transfer):
    def __call__(self, x):
        return x / (1 + jnp.abs(x))

    def slope(self, x):
        return 1 / (1 + jnp.abs(x)) ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "transfer, phi", [(Clip(), lambda x: np.clip(x, -1, 1)), (Softsign(), lambda x: x / (1 + np.abs(x)))]
)
def test_kinks(transfer, phi):
    state = stationary(IID(2.0), transfer, **SMALL)
    assert state.converged
    np.testing.assert_allclose(state.variance, by_hand(phi, 2.0, 0.1, 5), rtol=1e-6)
    if isinstance(transfer, Clip):
        exact = stationary(IID(2.0), clipped_linear(-1.0, 1.0), **SMALL)
        np.testing.assert_allclose(state.c_phi, exact.c_phi, rtol=1e-5)


class Autodiff(Transfer):
    """A function whose slope is left to JAX."""

    phi: str

    def __call__(self, x):
        size = jnp.abs(x)
        return {"log": jnp.sign(x) * jnp.log1p(size), "sign": jnp.sign(x), "abs": size, "cube": x**3}[self.phi]

    def slope(self, x):
        return jax.jvp(self.__call__, (x,), (jnp.ones_like(x),))[1]


@pytest.mark.parametrize("transfer", [Autodiff("log"), Autodiff("sign"), Autodiff("abs"), ReLU()])
def test_a_slope_that_is_wrong_at_0(transfer):
    for solve in (lambda: stationary(IID(2.0), transfer), lambda: chaos_onset(IID(2.0), transfer)):
        with pytest.raises(ValueError, match="`transfer` must"):
            solve()


def test_no_onset():
    for ensemble, transfer in ((Elliptic(1.3, -1.0), Tanh()), (IID(1.3), Autodiff("cube"))):
        onset = chaos_onset(ensemble, transfer)
        assert np.isinf(onset.value) and not onset.converged


# --- arguments and compilation ------------------------------------------------------------------------------------


def test_what_is_refused():
    with pytest.raises(ValueError, match="`key` must"):
        stationary(Elliptic(2.0, 0.5), Tanh())
    with pytest.raises(ValueError, match="`ensemble` must"):
        stationary_states(Elliptic(2.0, 0.5), Tanh())
    with pytest.raises(ValueError, match="concrete"):
        jax.jit(lambda g: stationary_states(IID(g), Tanh()).stable)(2.0)


def test_another_point_compiles_nothing():
    for g in (2.0, 0.7):
        stationary(IID(g), Steepening(jnp.asarray(0.0), jnp.asarray(1.0)), **SMALL)
        chaos_onset(IID(g), STEEP)
    with compilations() as programs:
        state = stationary(IID(1.1), STEEP, **SMALL)
        rest = stationary(IID(0.4), STEEP, **SMALL)
        chaos_onset(IID(0.5), Steepening(jnp.asarray(1.0), jnp.asarray(2.0)))
    assert not programs
    assert state.converged and rest.variance == 0
