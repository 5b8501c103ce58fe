r"""The stationary state of one unit whose activity comes back to it: sampled paths, solved for self-consistency.

With a memory kernel x is not Gaussian. One unit obeys

$$ \dot x = -x + \eta + R * \phi(x), \qquad C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2, \qquad R(w) = r(S(w)), $$

with Gaussian eta, and C^phi and the response S(tau) = <d phi(t + tau) / d eta(t)> are to be those of its own paths.

The unknowns are C^phi and S on a grid of lags. The random numbers of the paths are drawn once, so that what the paths
measure is a function of the unknowns, and Anderson's acceleration finds where it gives them back; the plain iteration
moves away from a chaotic state. Three things keep the errors small. Realised spectra of the random numbers are made
exactly white. Paths are compared with y, the Gaussian process that answers to the same eta with the mean response of x:
what is measured is the difference, and the averages over y are known. And S is measured on tangents, which white noise
of their own kicks at every step, so that all times count. Without memory kernel x = y, and no path is needed.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._numerics import as_complex, chebyshev, gaussian_quadrature, square_modulus
from ...couplings import Ensemble
from ...transfer import Transfer
from .covariances import covariances


class Unknowns(NamedTuple):
    c_phi: Float[Array, " T"]  # on the lags
    response: Float[Array, " K"]  # S(tau) on the first K of them


class Grid(eqx.Module):
    """Lags 0, h, 2h... (T of them), of which the memory kernel has the first K; F steps are one period of the paths."""

    h: Float[Array, ""]
    T: int = eqx.field(static=True)
    K: int = eqx.field(static=True)
    F: int = eqx.field(static=True)

    def frequencies(self) -> Float[Array, " F/2+1"]:
        return jnp.asarray(2 * np.pi / self.F * np.arange(self.F // 2 + 1), self.h.dtype) / self.h

    def shift(self) -> Complex[Array, " F/2+1"]:
        """e^{-i w h}."""
        angle = 2 * np.pi * np.arange(self.F // 2 + 1) / self.F
        return jax.lax.complex(*(jnp.asarray(part, self.h.dtype) for part in (np.cos(angle), -np.sin(angle))))

    def taper(self) -> Float[Array, " T"]:
        """1, and a smooth fall to 0 over the last fifth: what is beyond the last lag must be 0."""
        t = np.linspace(0, 1, self.T)
        return jnp.asarray(np.where(t < 0.8, 1, np.cos(np.pi / 2 * (t - 0.8) / 0.2) ** 2), self.h.dtype)

    def lags(self) -> Float[Array, " T"]:
        return self.h * jnp.arange(self.T).astype(self.h.dtype)


class Problem(eqx.Module):
    """What is solved, on a grid. `normal`: random numbers of paths and probes; None without memory kernel."""

    ensemble: Ensemble
    transfer: Transfer
    sigma: Float[Array, ""]
    memory: Float[Array, ""]  # the part of R that acts
    grid: Grid
    normal: Complex[Array, "2 paths F/2+1"] | None
    nodes: int = eqx.field(static=True)  # of Gaussian averages


class Averages(NamedTuple):
    """What a unit makes of a field."""

    c_phi: Float[Array, " T"]
    response: Float[Array, " K"]
    c_x: Float[Array, " T"]
    c_slope: Float[Array, " T"]  # <phi' phi'>
    beta: Float[Array, ""]


# --- the field on a unit ----------------------------------------------------------------------------------------


class Field(NamedTuple):
    """Spectra are h times sums over the lags, the integrals for h -> 0."""

    driven: Float[Array, " F/2+1"]  # spectrum of x without its memory: the field behind the leak
    dressing: Complex[Array, " F/2+1"]  # 1 + r S: what the memory makes of it on average
    kernel: Float[Array, " K"]  # h R(tau) at the lags, instantaneous parts in the first
    instantaneous: Float[Array, ""]  # r(0), the weight of the delta function in R


def _field(problem: Problem, unknowns: Unknowns) -> Field:
    grid, sigma = problem.grid, problem.sigma
    h, w, shift = grid.h, grid.frequencies(), grid.shift()
    step, decay = h.astype(shift.dtype), jnp.exp(-h).astype(shift.dtype)
    leak = 1 / jax.lax.complex(jnp.ones_like(w), w)
    # The trapezoid rule keeps S causal. Its error is known for e^{-tau}, and taken out where that does not matter.
    trapezoid = step * (jnp.fft.rfft(unknowns.response, grid.F) - as_complex(unknowns.response[0] / 2))
    smooth = trapezoid * leak * 2 * (1 - decay * shift) / (step * (1 + decay * shift))
    memory = problem.memory.astype(shift.dtype)
    r = memory * jax.vmap(problem.ensemble.r_and_kappa)(trapezoid)[0]
    _, kappa = jax.vmap(problem.ensemble.r_and_kappa)(smooth)
    white = h * sigma**2 * -jnp.expm1(-2 * h) / square_modulus(1 - decay * shift)
    return Field(
        driven=jnp.maximum(kappa * _spectrum(unknowns.c_phi, grid), 0) * square_modulus(leak) + white,
        dressing=1 + r * trapezoid,
        kernel=jnp.fft.irfft(r, grid.F)[: grid.K],
        instantaneous=(memory * problem.ensemble.r_and_kappa(jnp.zeros((), shift.dtype))[0]).real,
    )


def _spectrum(c: Float[Array, " T"], grid: Grid) -> Float[Array, " F/2+1"]:
    """The integral of c(tau) cos(w tau): the trapezoid rule, less what the kink at 0 that noise leaves adds to it."""
    beyond = jnp.zeros(grid.F - 2 * grid.T + 1, c.dtype)
    kink = (4 * c[1] - 3 * c[0] - c[2]) / (2 * grid.h)
    return grid.h * jnp.fft.rfft(jnp.concatenate([c, beyond, c[:0:-1]])).real + grid.h**2 / 6 * kink


def _covariance(spectrum: Float[Array, " F/2+1"], grid: Grid) -> Float[Array, " T"]:
    return jnp.fft.irfft(as_complex(spectrum), grid.F)[: grid.T] / grid.h


# --- what a unit makes of it ------------------------------------------------------------------------------------


def _gaussian(problem: Problem, field: Field) -> Averages:
    """The averages over y, which answers to the field with the mean response of x."""
    grid, phi = problem.grid, problem.transfer
    cheb = chebyshev.grid(max(problem.nodes // 8, 16))
    c = _covariance(field.driven * square_modulus(field.dressing), grid)
    z, weights = (a.astype(c.dtype) for a in gaussian_quadrature(problem.nodes, width=9.0))
    roots = np.sqrt(cheb.nodes)
    evaluate = jax.vmap(chebyshev.evaluate, in_axes=(None, 0))

    decay = jnp.exp(-grid.h).astype(field.dressing.dtype)
    # phi is odd: C^phi = n G(n^2) at correlation n, and G is a Chebyshev series.
    n = c / c[0]
    G = covariances(phi, c[0], roots, problem.nodes) / jnp.asarray(roots, c.dtype)
    share, slope = (evaluate(jnp.asarray(m, c.dtype) @ G, n**2) for m in (cheb.series, cheb.slope))
    beta = weights @ phi.slope(jnp.sqrt(c[0]) * z)
    return Averages(
        c_phi=n * share,
        response=beta * jnp.fft.irfft(field.dressing / (1 - decay * grid.shift()), grid.F)[: grid.K],
        c_x=c,
        c_slope=(share + 2 * n**2 * slope) / c[0],
        beta=beta,
    )


def _measure(problem: Problem, field: Field, normal: Complex[Array, "2 paths F/2+1"]) -> Averages:
    """The averages over paths of x, less those over the same paths of y, plus what is known of y."""
    grid, phi = problem.grid, problem.transfer
    h, K, F = grid.h, grid.K, grid.F
    exact = _gaussian(problem, field)
    shift, decay = grid.shift(), jnp.exp(-h)
    noise, probe = normal
    driven = jnp.sqrt(field.driven / h).astype(shift.dtype)[None] * noise
    kicked = probe / (1 - decay.astype(shift.dtype) * shift)[None]
    transform = lambda u: jnp.fft.irfft(u, F).T
    x0, y = transform(driven), transform(driven * field.dressing[None])
    kick, u0, v = transform(probe), transform(kicked), transform(kicked * field.dressing[None])
    count = x0.shape[1]

    # x = x0 + m with m' = -m + R * phi(x), and its tangent u = u0 + n, which is kicked at every step and decays, with
    # n' = -n + R * (phi'(x) u); R * is linear between the steps. Buffers hold the last K values twice in a row, so that
    # those of one window lie together.
    late = 1 + jnp.expm1(-h) / h
    early = -jnp.expm1(-h) - late
    now, window = field.kernel[0], jnp.concatenate([jnp.zeros(1, h.dtype), field.kernel[:0:-1]])

    def remember(buffer, i, value):
        for row in (i % K, i % K + K):
            buffer = jax.lax.dynamic_update_slice(buffer, value[None], (row, 0))
        return buffer, window @ jax.lax.dynamic_slice(buffer, ((i + 1) % K, 0), (K, count))

    def step(state, i):
        (m, past_m, rates), (n, past_n, answers) = state
        here, after = i % F, (i + 1) % F
        x, u = x0[here] + m, u0[here] + n
        rate, answer = phi(x), phi.slope(x) * u
        # The part of the answer that begins now is an end of the trapezoid rule, and half of its weight.
        begun = phi.slope(x) * kick[here]
        pull = now * rate + past_m
        push = now * (answer - begun) + field.instantaneous * begun + past_n
        rates, past_m = remember(rates, i, rate)
        answers, past_n = remember(answers, i, answer - begun / 2)
        x_guess = x0[after] + decay * m + (early + late) * pull
        u_guess = decay * u0[here] + decay * n + (early + late) * push
        m = decay * m + early * pull + late * (now * phi(x_guess) + past_m)
        n = decay * n + early * push + late * (now * phi.slope(x_guess) * u_guess + past_n)
        return ((m, past_m, rates), (n, past_n, answers)), (x, answer)

    silence, nothing = jnp.zeros(count, h.dtype), jnp.zeros((2 * K, count), h.dtype)
    start = ((silence, silence, nothing),) * 2
    skipped = 2 * K
    x, answer = jax.lax.scan(step, start, jnp.arange(skipped + F))[1]
    # One period, from its beginning.
    x, answer = (jnp.roll(a[skipped:], skipped, axis=0) for a in (x, answer))

    def response(answer):
        cross = jnp.mean(jnp.fft.rfft(answer, axis=0).T * jnp.conj(probe), 0)
        return jnp.fft.irfft(cross / F, F)[:K]

    def covariance(u):
        power = jnp.mean(square_modulus(jnp.fft.rfft(u, axis=0)), 1)
        return jnp.fft.irfft(as_complex(power / F), F)[: grid.T]

    slope_x, slope_y = phi.slope(x), phi.slope(y)
    return Averages(
        c_phi=exact.c_phi + covariance(phi(x)) - covariance(phi(y)),
        response=exact.response + response(answer) - response(slope_y * v),
        c_x=exact.c_x + covariance(x) - covariance(y),
        c_slope=exact.c_slope + covariance(slope_x) - covariance(slope_y),
        beta=exact.beta + jnp.mean(slope_x) - jnp.mean(slope_y),
    )


# --- self-consistency -------------------------------------------------------------------------------------------


def answer(problem: Problem, unknowns: Unknowns) -> Averages:
    """What a unit makes of the field that the unknowns mean."""
    field = _field(problem, unknowns)
    return _gaussian(problem, field) if problem.normal is None else _measure(problem, field, problem.normal)


def quadrature_error(problem: Problem, variance: Float[Array, ""]) -> Float[Array, ""]:
    """The relative error of Gaussian averages at some variance: that of <phi'>, by twice the nodes."""

    def beta(nodes):
        z, weights = (a.astype(variance.dtype) for a in gaussian_quadrature(nodes, width=9.0))
        return weights @ problem.transfer.slope(jnp.sqrt(variance) * z)

    return jnp.abs(beta(problem.nodes) / beta(2 * problem.nodes - 1) - 1)


def update(problem: Problem, unknowns: Unknowns) -> Unknowns:
    """The unknowns that come out."""
    found = answer(problem, unknowns)
    return Unknowns(problem.grid.taper() * found.c_phi, found.response)


class Solution(NamedTuple):
    unknowns: Unknowns
    residual: Float[Array, ""]


WINDOW = 10  # of steps that the acceleration combines
STAGES, PER_STAGE = 10, 2


@eqx.filter_jit
def follow(problem: Problem, start: Unknowns, tolerance: float, max_steps: int) -> Solution:
    """The solution to which that of much noise and no memory leads, as the one falls to its value and the other grows.

    ``start`` is a state without memory, of a noise larger by 1. Two steps for each of ten stages, with a quarter of
    the paths, then as `solve`.
    """
    few = None if problem.normal is None else problem.normal[:, : problem.normal.shape[1] // 4]
    parts = jnp.linspace(0, 1, STAGES + 1, dtype=problem.sigma.dtype)[1:]

    def stage(unknowns, part):
        eased = Problem(
            problem.ensemble, problem.transfer, problem.sigma + 1 - part, part, problem.grid, few, problem.nodes
        )
        return _accelerated(eased, unknowns, jnp.zeros_like(part), PER_STAGE).unknowns, None

    unknowns, _ = jax.lax.scan(stage, start, parts)
    return solve(problem, unknowns, tolerance, max_steps)


@eqx.filter_jit
def solve(problem: Problem, start: Unknowns, tolerance: float, max_steps: int) -> Solution:
    """The self-consistent unknowns near ``start``. Steps stop at a ``residual`` of ``tolerance``."""
    return _accelerated(problem, start, jnp.asarray(tolerance, problem.sigma.dtype), max_steps)


def _accelerated(problem: Problem, start: Unknowns, tolerance: Float[Array, ""], max_steps: int) -> Solution:
    r"""Anderson's acceleration of u <- G(u).

    With misses f = G(u) - u, and differences of the last steps in the rows of dU and dF, the next u is

    $$ u + f - (dU + dF)^T \gamma, \qquad \gamma = \mathrm{argmin}\, |f - dF^T \gamma|: $$

    it finds its way along the few directions in which the plain iteration moves away from the solution.
    """
    u, unravel = ravel_pytree(start)

    def miss(u):
        return ravel_pytree(update(problem, unravel(u)))[0] - u

    def relative(u, f):
        sizes = [jnp.max(jnp.abs(a)) / jnp.abs(b[0]) for a, b in zip(unravel(f), unravel(u), strict=True)]
        return jnp.max(jnp.stack(sizes))

    def step(state):
        u, f, dU, dF, _, steps = state
        gamma = jnp.linalg.lstsq(dF.T, f, rcond=1e-6)[0]
        change = f - (dU + dF).T @ gamma
        # No step changes C^phi by more than half of its size.
        change *= jnp.minimum(1, 0.5 * jnp.abs(u[0]) / jnp.max(jnp.abs(unravel(change).c_phi)))
        f_next = miss(u + change)
        dU, dF = (jnp.roll(a, 1, 0).at[0].set(b) for a, b in ((dU, change), (dF, f_next - f)))
        return u + change, f_next, dU, dF, relative(u + change, f_next), steps + 1

    def go_on(state):
        *_, residual, steps = state
        return (residual > tolerance) & (steps < max_steps)

    f, none = miss(u), jnp.zeros((WINDOW, len(u)), u.dtype)
    u, _, _, _, residual, _ = jax.lax.while_loop(go_on, step, (u, f, none, none, relative(u, f), 0))
    return Solution(unravel(u), residual)


def white(key: PRNGKeyArray, paths: int, grid: Grid) -> Complex[Array, "2 paths F/2+1"]:
    """Discrete Fourier transforms of independent normal numbers, with a mean power of exactly 1 at each frequency."""
    half = grid.F // 2 + 1
    z = jax.lax.complex(*jax.random.normal(key, (2, 2, paths, half), grid.h.dtype))
    z = z.at[..., 0].set(as_complex(z[..., 0].real)).at[..., -1].set(as_complex(z[..., -1].real))
    power = jnp.mean(square_modulus(z), 1, keepdims=True)
    return z / as_complex(jnp.sqrt(power)) * math.sqrt(grid.F)
