"""Unitary rings that saturate: exact steady states, relaxation, propagation, and the decay of fields left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import Convolution
from jaxnets.dynamics import PlaneWave, forced_wave, propagation_length, saturate, simulate_waves, wave_relaxation

SITES = 32
WAVE_NUMBERS = 2 * np.pi * np.fft.fftfreq(SITES)
EVEN, ODD = 0.5 * (1 - np.cos(WAVE_NUMBERS)), 0.8 * np.sin(WAVE_NUMBERS)


def _forced(theta, amplitude, mode, frequency):
    """The exact state at step 0, its size, and the ring."""
    wave = forced_wave(amplitude, theta[mode] - frequency)
    assert wave.converged
    phase = 2 * np.pi * mode * np.arange(SITES) / SITES + float(wave.phase) - frequency
    return Convolution.of_dispersion(theta), float(wave.modulus) * np.exp(1j * phase), float(wave.modulus)


# --- the steady state -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amplitude, detuning, printed",
    [
        (1e-4, 0.0, 0.058430),
        (1e-3, 0.0, 0.125493),
        (1e-1, 0.0, 0.537643),
        (1e-3, 0.02, 0.049873),
        (1e-2, 0.02, 0.253576),
        (1e-1, -0.02, 0.536615),
        (0.01, 0.2, 0.050051),
        (0.03, 0.2, 0.149171),
    ],
)
def test_size_of_a_forced_wave(amplitude, detuning, printed):
    """Against numbers of simulations, which had six digits."""
    wave = forced_wave(amplitude, detuning)
    assert wave.converged
    np.testing.assert_allclose(wave.modulus, printed, atol=6e-7)


def test_powers_of_forcing():
    """A^{1/3} at resonance and A / (2 sin(delta/2)) beside it, for weak forcing; 1 for strong forcing."""
    np.testing.assert_allclose(forced_wave(1e-12).modulus, 2e-12 ** (1 / 3), rtol=1e-7)
    np.testing.assert_allclose(forced_wave(1e-9, 0.7).modulus, 1e-9 / (2 * np.sin(0.35)), rtol=1e-7)
    np.testing.assert_allclose(forced_wave(1e6).modulus, 1, rtol=1e-6)


@pytest.mark.parametrize(
    "theta, mode, frequency", [(EVEN, 3, EVEN[3]), (EVEN, 5, 0.1), (ODD, -2, ODD[-2]), (ODD, 0, 0.0)]
)
def test_a_forced_wave_stays_as_it_is(theta, mode, frequency):
    U, start, _ = _forced(theta, 0.02, mode, frequency)
    run = simulate_waves(U, start, PlaneWave(SITES, 0.02, mode, frequency), num_steps=40, save_every=20)
    turned = start[None] * np.exp(1j * frequency * np.asarray(run.steps))[:, None]
    np.testing.assert_allclose(run.states, turned, atol=1e-13)


def test_derivatives_of_a_forced_wave():
    size = lambda A, delta: forced_wave(A, delta).modulus
    for k in range(2):
        slope = jax.grad(size, k)(0.03, 0.1)
        step = 1e-5 * np.eye(2)[k]
        central = (size(0.03 + step[0], 0.1 + step[1]) - size(0.03 - step[0], 0.1 - step[1])) / 2e-5
        np.testing.assert_allclose(slope, central, rtol=1e-7)
    curve = jax.jit(jax.vmap(lambda A: forced_wave(A, 0.1).modulus))(jnp.array([1e-3, 0.03]))
    np.testing.assert_allclose(curve, [size(1e-3, 0.1), size(0.03, 0.1)], rtol=1e-13)


# --- relaxation and propagation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("theta, q", [(EVEN, 0), (EVEN, 4), (ODD, 4)])
def test_relaxation_around_a_forced_wave(theta, q):
    """The multiplication of a pair of waves in a step, against derivatives of the map itself."""
    mode, frequency = (0, 0.0)
    U, start, R = _forced(theta, 0.05, mode, frequency)
    drive = PlaneWave(SITES, 0.05, mode, frequency)

    def step(x):
        Z = jax.lax.complex(x[:SITES], x[SITES:])
        Z = simulate_waves(U, Z, drive, num_steps=1).states[-1]
        return jnp.concatenate([Z.real, Z.imag])

    jacobian = jax.jacfwd(step)(jnp.concatenate([jnp.asarray(start.real), jnp.asarray(start.imag)]))
    rates = -np.log(np.linalg.eigvals(np.asarray(jacobian)))
    expected = np.asarray(wave_relaxation(R, theta[q] - frequency, theta[-q] - frequency))
    for rate in expected:
        assert np.min(np.abs(rates - rate)) < 1e-9
    np.testing.assert_allclose(np.sum(expected).real, -2 * np.log1p(-(R**2)), rtol=1e-12)


def test_rates_of_weak_waves():
    R = float(forced_wave(1e-4).modulus)
    np.testing.assert_allclose(wave_relaxation(R, 0.0, 0.0).real / R**2, [0.501, 1.503], atol=1e-3)
    np.testing.assert_allclose(wave_relaxation(R, 0.3, 0.4).real / R**2, [1, 1], atol=5e-3)
    np.testing.assert_allclose(propagation_length(R, -0.5) * R**2, 0.5, rtol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("amplitude, printed", [(1e-3, 28.9), (1e-2, 6.32)])
def test_a_weak_source_dies_over_the_length(amplitude, printed):
    """A source of w = .3 at one site of a ring of 1024, theta even: an exponential fit over some lengths."""
    sites, frequency = 1024, 0.3
    k = 2 * np.pi * np.fft.fftfreq(sites)
    U = Convolution.of_dispersion(0.5 * (1 - np.cos(k)))
    R = float(forced_wave(amplitude).modulus)
    start = R * np.exp(1j * float(forced_wave(amplitude).phase)) * np.ones(sites)
    background = amplitude * jnp.ones(sites, complex)
    weak = 1e-6 * R * jax.nn.one_hot(0, sites, dtype=complex)
    source = lambda n: background + weak * jnp.exp(1j * frequency * n.astype(complex))
    steps = int(40 / R**2) // 64 * 64
    run = simulate_waves(U, start, source, num_steps=steps, save_every=1)
    late = np.asarray(run.states[-2048:]) - start[None]
    turned = np.abs(np.mean(late * np.exp(-1j * frequency * np.asarray(run.steps[-2048:]))[:, None], 0))
    q = np.arccos(1 - 2 * frequency)
    length = float(propagation_length(R, 0.5 * np.sin(q)))
    x = np.arange(int(length), int(4 * length))
    found = -1 / np.polyfit(x, np.log(turned[x]), 1)[0]
    np.testing.assert_allclose(found, length, rtol=0.03)
    np.testing.assert_allclose(found, printed, rtol=0.03)


def test_fields_left_alone():
    """One mode: 1/|Z_n|^2 = 1/|Z_0|^2 + n. A random field: <|Z|^2> = 1 / 2n, as <|Z|^4> = 2 <|Z|^2>^2."""
    U = Convolution.of_dispersion(EVEN)
    wave = 0.3 * np.exp(2j * np.pi * 3 * np.arange(SITES) / SITES)
    run = simulate_waves(U, wave, num_steps=1000, save_every=100)
    power = np.mean(np.abs(run.states) ** 2, 1)
    np.testing.assert_allclose(1 / power, 1 / 0.09 + np.asarray(run.steps), rtol=1e-11)

    sites = 4096
    ring = Convolution.of_dispersion(0.5 * (1 - np.cos(2 * np.pi * np.fft.fftfreq(sites))))
    rng = np.random.default_rng(0)
    start = rng.standard_normal(sites) + 1j * rng.standard_normal(sites)
    field = simulate_waves(ring, start, num_steps=1000, save_every=1000).states[-1]
    np.testing.assert_allclose(2 * 1000 * np.mean(np.abs(field) ** 2), 1.017, atol=0.03)


def test_saturation():
    z = np.array([0.0, 3j, 1e-8, 1e9])
    np.testing.assert_allclose(saturate(jnp.asarray(z)), z / np.sqrt(1 + np.abs(z) ** 2), rtol=1e-14)


# --- forcings, batches, refusals --------------------------------------------------------------------------------


def test_forcings_and_batches():
    """An array, the same as a function, and a batch of starts."""
    U, starts = Convolution.of_dispersion(ODD), np.stack([np.ones(SITES) * 0.1j, np.arange(SITES) * 0.01 + 0j])
    still = 0.02 * np.ones(SITES)
    one = simulate_waves(U, starts[1], still, num_steps=10).states[-1]
    np.testing.assert_allclose(simulate_waves(U, starts[1], PlaneWave(SITES, 0.02), num_steps=10).states[-1], one)
    both = jax.jit(jax.vmap(lambda x: simulate_waves(U, x, still, num_steps=10).states[-1]))(jnp.asarray(starts))
    np.testing.assert_allclose(both[1], one, atol=1e-15)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"coupling": np.eye(SITES)}, "`coupling` must be a `Convolution`"),
        ({"start": np.ones(3)}, "`start` must have shape"),
        ({"start": np.full(SITES, np.nan)}, "`start` must be finite"),
        ({"forcing": np.ones(3)}, "`forcing` must give shape"),
        ({"forcing": lambda n: jnp.ones(3, complex)}, "`forcing` must give shape"),
        ({"num_steps": 2.5}, "`num_steps` must be"),
        ({"save_every": 3}, "`num_steps` must be a multiple of `save_every`"),
    ],
)
def test_bad_runs(change, message):
    good = {"coupling": Convolution.of_dispersion(ODD), "start": np.ones(SITES), "num_steps": 4}
    with pytest.raises(ValueError, match=message):
        simulate_waves(**(good | change))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: forced_wave(0.0), "`amplitude` must be"),
        (lambda: forced_wave(0.1, np.inf), "`detuning` must be"),
        (lambda: wave_relaxation(1.0, 0.0, 0.0), "`modulus` must be between 0 and 1"),
        (lambda: propagation_length(0.1, np.nan), "`group_velocity` must be"),
        (lambda: PlaneWave(8, 0.1, 0.5), "`mode` must be a whole number"),
        (lambda: PlaneWave(8, np.nan), "`amplitude` must be"),
    ],
)
def test_bad_waves(call, message):
    with pytest.raises(ValueError, match=message):
        call()
