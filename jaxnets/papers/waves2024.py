"""Unitary convolutional networks near criticality, Chandra & Magnasco 2024 (arXiv 2405.13854): powers of forcing."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .. import plotting
from ..couplings import Convolution
from ..dynamics import forced_wave, propagation_length, simulate_waves, wave_relaxation
from ..plotting import BLUE, GREEN, VERMILLION
from .comparison import Comparison, standard_error
from .paper import Figure, Paper


@dataclass(frozen=True)
class Sizes:
    sites: int  # of rings under forcing
    amplitudes: tuple[float, ...]
    long_ring: int  # of propagation
    sources: tuple[float, ...]  # amplitudes there
    fields: int  # random ones left alone
    field_steps: int


QUICK = Sizes(32, (1e-3, 1e-2, 1e-1), 1024, (1e-3, 1e-2), fields=8, field_steps=1000)
FULL = Sizes(128, (1e-4, 1e-3, 1e-2, 1e-1), 4096, (1e-4, 1e-3, 1e-2), fields=32, field_steps=2000)

DETUNINGS = (0.0, 0.02, 0.2)
FREQUENCY = 0.3  # of the weak source
DIGITS = 6e-7  # the rounding of six digits


def _even(sites: int) -> Float[np.ndarray, " n"]:
    """theta = .5 (1 - cos k): even, and 0 for the uniform wave."""
    return 0.5 * (1 - np.cos(2 * np.pi * np.fft.fftfreq(sites)))


@partial(jax.jit, static_argnums=(2, 3))
def _size_after(amplitude, detuning, sites: int, steps: int):
    """|Z| of a ring under a uniform background, whose uniform wave has the phase `detuning`, started near its state."""
    theta = jnp.asarray(_even(sites)) + detuning
    exact = forced_wave(amplitude, detuning)
    angle = exact.phase
    start = 1.05 * exact.modulus * jax.lax.complex(jnp.cos(angle), jnp.sin(angle)) * jnp.ones(sites)
    run = simulate_waves(Convolution.of_dispersion(theta), start, amplitude * jnp.ones(sites), num_steps=steps)
    distance = jnp.abs(run.states[:, 0] - run.states[-1, 0])
    return jnp.abs(run.states[-1, 0]), distance


def draw_response(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    ax, rows = plotting.figure(3.6, 3.0), []
    curve = np.geomspace(1e-5, 1, 60)
    solve = jax.jit(jax.vmap(lambda A, delta: forced_wave(A, delta).modulus))
    for color, delta in zip((BLUE, VERMILLION, GREEN), DETUNINGS, strict=True):
        theory = solve(jnp.asarray(curve), jnp.full(60, delta))
        plotting.profile(curve, theory, ax, color=color, label=f"detuning {delta:g}")
        measured = []
        for A in sizes.amplitudes:
            R = float(forced_wave(A, delta).modulus)
            steps = int(np.ceil(60 / R**2 / 100)) * 100  # 30 of the longest decay times
            sample = float(_size_after(jnp.asarray(A), jnp.asarray(delta), sizes.sites, min(steps, 50_000))[0])
            measured.append(sample)
            if steps <= 50_000:
                rows.append(
                    Comparison(f"|Z| at A = {A:g}, detuning {delta:g}", theory=R, sample=sample, allowance=DIGITS)
                )
        plotting.samples(np.array(sizes.amplitudes), np.array(measured), ax, color=color)
    weak = np.array([1e-9, 1e-8])
    for delta, published, note in ((0.0, 1 / 3, "at resonance"), (0.2, 1.0, "off resonance")):
        slope = np.diff(np.log(solve(jnp.asarray(weak), jnp.full(2, delta)))) / np.diff(np.log(weak))
        rows.append(Comparison(f"exponent of |Z| {note}", published=published, theory=float(slope[0]), tolerance=1e-4))
    ax.set(xscale="log", yscale="log", xlabel="forcing A", ylabel="steady size |Z|")
    plotting.legend(ax)
    caption = (
        "Size of the steady wave under a plane wave of amplitude A: exact (lines), and rings that have relaxed "
        "(circles). At resonance it is (2A)^(1/3), off resonance linear."
    )
    return Figure(ax, caption, rows)


def draw_relaxation(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    ax, rows = plotting.figure(3.6, 3.0), []
    curve = np.geomspace(1e-5, 0.3, 60)
    rates = jax.jit(jax.vmap(lambda A: wave_relaxation(forced_wave(A).modulus, 0.0, 0.0).real))
    theory = np.asarray(rates(jnp.asarray(curve)))
    for k, (color, name) in enumerate(((BLUE, "phase"), (VERMILLION, "amplitude"))):
        plotting.profile(curve, 1 / theory[:, k], ax, color=color, label=f"{name} of the forced wave")
    measured = []
    for A in sizes.amplitudes:
        R = float(forced_wave(A).modulus)
        exact = float(rates(jnp.asarray([A]))[0, 1])
        # The size alone is moved, so that the amplitude decays; its rate is read where the rest is linear.
        steps = int(np.ceil(30 / R**2 / 100)) * 100
        distance = np.asarray(_size_after(jnp.asarray(A), jnp.asarray(0.0), sizes.sites, steps)[1])
        late = slice(int(4 / R**2), int(8 / R**2))
        found = -np.polyfit(np.arange(steps + 1)[late], np.log(distance[late]), 1)[0]
        measured.append(1 / found)
        rows.append(
            Comparison(
                f"decay of the amplitude over |Z|², A = {A:g}",
                theory=exact / R**2,
                sample=found / R**2,
                allowance=3e-3 * exact / R**2,
                note="what is left of the quadratic term",
            )
        )
    plotting.samples(np.array(sizes.amplitudes), np.array(measured), ax, color=VERMILLION)
    weak = np.array([1e-9, 1e-8])
    slope = np.diff(np.log(1 / np.asarray(rates(jnp.asarray(weak)))[:, 0])) / np.diff(np.log(weak))
    rows.append(Comparison("exponent of the relaxation time", published=-2 / 3, theory=float(slope[0]), tolerance=1e-4))
    ax.set(xscale="log", yscale="log", xlabel="forcing A", ylabel="relaxation time (steps)")
    plotting.legend(ax)
    caption = (
        "Relaxation times around the steady wave at resonance: exact (lines), and of the amplitude in rings whose wave "
        "was made 5 % larger (circles). Both grow like A^(-2/3)."
    )
    return Figure(ax, caption, rows)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _profile(amplitude, sites: int, steps: int, window: int):
    """The size of the response at each site to a weak source at site 0, averaged over a last window of steps."""
    exact = forced_wave(amplitude)
    turn = jax.lax.complex(jnp.cos(exact.phase), jnp.sin(exact.phase))
    background, start = amplitude * jnp.ones(sites), exact.modulus * turn * jnp.ones(sites)
    weak = 1e-6 * exact.modulus * jax.nn.one_hot(0, sites, dtype=amplitude.dtype)
    wave = lambda n: jax.lax.complex(jnp.cos(FREQUENCY * n), jnp.sin(FREQUENCY * n))
    drive = lambda n: (background + weak * wave(n)).astype(start.dtype)
    U = Convolution.of_dispersion(_even(sites))
    first = simulate_waves(U, start, drive, num_steps=steps, save_every=steps).states[-1]
    last = simulate_waves(U, first, lambda n: drive(n + steps), num_steps=window)
    turned = jnp.conj(jax.vmap(wave)((last.steps + steps).astype(amplitude.dtype)))
    return jnp.abs(jnp.mean((last.states - start[None]) * turned[:, None], 0))


def draw_propagation(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    ax, rows = plotting.figure(3.6, 3.0), []
    velocity = 0.5 * np.sin(np.arccos(1 - 2 * FREQUENCY))
    curve = np.geomspace(1e-5, 0.1, 40)
    lengths = jax.jit(jax.vmap(lambda A: propagation_length(forced_wave(A).modulus, velocity)))
    plotting.profile(curve, lengths(jnp.asarray(curve)), ax, color=BLUE, label="theory")
    measured = []
    for A in sizes.sources:
        R, length = float(forced_wave(A).modulus), float(lengths(jnp.asarray([A]))[0])
        steps = int(np.ceil(30 / R**2 / 1000)) * 1000
        turned = np.asarray(_profile(jnp.asarray(A), sizes.long_ring, steps, 2000))
        x = np.arange(int(length), int(4 * length))
        found = -1 / np.polyfit(x, np.log(turned[x]), 1)[0]
        measured.append(found)
        rows.append(
            Comparison(
                f"length over which a source of w = {FREQUENCY:g} dies, A = {A:g}",
                theory=length,
                sample=float(found),
                allowance=0.03 * length,
                note="fitted over one to four lengths",
            )
        )
    plotting.samples(np.array(sizes.sources), np.array(measured), ax, color=BLUE)
    weak = np.array([1e-9, 1e-8])
    slope = np.diff(np.log(lengths(jnp.asarray(weak)))) / np.diff(np.log(weak))
    rows.append(
        Comparison("exponent of the propagation length", published=-2 / 3, theory=float(slope[0]), tolerance=1e-4)
    )
    ax.set(xscale="log", yscale="log", xlabel="background A", ylabel="propagation length (sites)")
    plotting.legend(ax)
    caption = (
        f"Distance over which a weak signal of w = {FREQUENCY:g} dies on a background, with θ = (1 - cos q) / 2: "
        f"theory (line), and fits to rings of {sizes.long_ring} sites (circles)."
    )
    return Figure(ax, caption, rows)


def draw_decay(sizes: Sizes, *, key: PRNGKeyArray) -> Figure:
    ax, steps, n = plotting.figure(3.6, 3.0), sizes.field_steps, 1024
    U = Convolution.of_dispersion(_even(n))
    every = steps // 20
    power = lambda run: jnp.mean(jnp.abs(run.states) ** 2, -1)

    @jax.jit
    @jax.vmap
    def field(key):
        start = jax.lax.complex(*jax.random.normal(key, (2, n)))
        return power(simulate_waves(U, start, num_steps=steps, save_every=every))

    wave = 0.3 * jnp.exp(2j * jnp.pi * 3 * jnp.arange(n) / n)
    run = simulate_waves(U, wave, num_steps=steps, save_every=every)
    times, single = np.asarray(run.steps), np.asarray(power(run))
    random = np.asarray(field(jax.random.split(key, sizes.fields)))
    plotting.profile(times[1:], 1 / (1 / 0.09 + times[1:]), ax, color=BLUE, label="one wave")
    plotting.samples(times[1:], single[1:], ax, color=BLUE)
    plotting.profile(times[1:], 1 / (2 * times[1:]), ax, color=VERMILLION, label="random field, 1 / 2n")
    plotting.samples(times[1:], random.mean(0)[1:], ax, color=VERMILLION)
    last = 2 * steps * random[:, -1]
    rows = [
        Comparison(
            f"1 / |Z|² of one wave, less its start, over {steps} steps",
            theory=1.0,
            sample=float((1 / single[-1] - 1 / 0.09) / steps),
            allowance=1e-9,
        ),
        Comparison(
            f"2n <|Z|²> of random fields after n = {steps}",
            theory=1.0,
            sample=float(last.mean()),
            sample_error=standard_error(last),
            allowance=0.025,
            note="a law for large n, from above",
        ),
    ]
    ax.set(xscale="log", yscale="log", xlabel="steps n", ylabel="<|Z|²>")
    plotting.legend(ax)
    return Figure(ax, "Fields that nothing drives: theory (lines) and rings of 1024 sites (circles).", rows)


PAPER = Paper(
    number="2405.13854",
    subject="Unitary convolutional networks near criticality: powers of a background",
    choices=(
        "The model is the one of the authors' page, with phi(z) = z / sqrt(1 + |z|²); the laws were derived here, and "
        "their exponents are the published ones. The dispersion θ = (1 - cos q) / 2 and the source are chosen here."
    ),
    figures={
        "response": draw_response,
        "relaxation": draw_relaxation,
        "propagation": draw_propagation,
        "decay": draw_decay,
    },
    quick=QUICK,
    full=FULL,
)
