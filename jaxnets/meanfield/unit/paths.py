r"""Sampled paths of one unit that hears its own past, and the averages over them.

With a memory kernel x is not Gaussian: its paths are integrated. Three things keep the errors of the averages small.
The spectra of the random numbers are made exactly white. Paths of x are compared with paths of y, the Gaussian
process of the same noise and the mean response of x: only the difference is measured, the averages over y are known.
And S is measured on tangents kicked by white noise of their own at every step, so that all times count.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._numerics import as_complex, square_modulus
from .field import Averages, Field, Grid, Unit, gaussian_averages


def white(key: PRNGKeyArray, num_paths: int, grid: Grid) -> Complex[Array, "2 paths F/2+1"]:
    """Discrete Fourier transforms of independent normal numbers, with a mean power of exactly 1 at each frequency."""
    half = grid.F // 2 + 1
    z = jax.lax.complex(*jax.random.normal(key, (2, 2, num_paths, half), grid.h.dtype))
    # The first and the last coefficient of a real signal are real.
    z = z.at[..., 0].set(as_complex(z[..., 0].real)).at[..., -1].set(as_complex(z[..., -1].real))
    power = jnp.mean(square_modulus(z), 1, keepdims=True)
    return z / as_complex(jnp.sqrt(power)) * math.sqrt(grid.F)


def path_averages(unit: Unit, field: Field, normal: Complex[Array, "2 paths F/2+1"]) -> Averages:
    """Averages over paths of x, less those over the same paths of y, plus the known averages over y."""
    grid, phi = unit.grid, unit.transfer
    known = gaussian_averages(unit, field)
    shift, decay = grid.shift(), jnp.exp(-unit.step)
    noise, probe = normal
    kick = probe / as_complex(unit.tau)
    # High frequencies without power have no derivative: that of a root would be infinite there.
    some = field.driven > 0
    size = jnp.where(some, jnp.sqrt(jnp.where(some, field.driven, 1) / grid.h), 0)
    driven = size.astype(shift.dtype)[None] * noise
    kicked = kick / (1 - decay.astype(shift.dtype) * shift)[None]
    in_time = lambda u: jnp.fft.irfft(u, grid.F).T
    y, v = in_time(driven * field.dressing[None]), in_time(kicked * field.dressing[None])
    x, answer = _integrated(unit, field, in_time(driven), in_time(kicked), in_time(kick))

    def response(answer):
        cross = jnp.mean(jnp.fft.rfft(answer, axis=0).T * jnp.conj(probe), 0)
        return jnp.fft.irfft(cross / grid.F, grid.F)[: grid.M]

    def covariance(u):
        power = jnp.mean(square_modulus(jnp.fft.rfft(u, axis=0)), 1)
        return jnp.fft.irfft(as_complex(power / grid.F), grid.F)[: grid.T]

    slope_x, slope_y = phi.slope(x), phi.slope(y)
    return Averages(
        c_phi=known.c_phi + covariance(phi(x)) - covariance(phi(y)),
        response=known.response + response(answer) - response(slope_y * v),
        c_x=known.c_x + covariance(x) - covariance(y),
        c_slope=known.c_slope + covariance(slope_x) - covariance(slope_y),
        beta=known.beta + jnp.mean(slope_x) - jnp.mean(slope_y),
    )


def _integrated(
    unit: Unit,
    field: Field,
    x0: Float[Array, "F paths"],
    u0: Float[Array, "F paths"],
    kick: Float[Array, "F paths"],
) -> tuple[Float[Array, "F paths"], Float[Array, "F paths"]]:
    """One period of x, and of the answer phi'(x) u of its rate to kicks, from x and u without their memory.

    x = x0 + m with tau m' = -m + R * phi(x), and its tangent u = u0 + n with tau n' = -n + R * (phi'(x) u), which is
    kicked at every step and decays. R * is linear between the steps.
    """
    h, M, F, phi = unit.step, unit.grid.M, unit.grid.F, unit.transfer
    count = x0.shape[1]
    decay = jnp.exp(-h)
    late = 1 + jnp.expm1(-h) / h
    early = -jnp.expm1(-h) - late
    now, window = field.kernel[0], jnp.concatenate([jnp.zeros(1, h.dtype), field.kernel[:0:-1]])

    def remember(buffer, i, value):
        # Buffers hold the last M values twice in a row, so that the values of one window lie together.
        for row in (i % M, i % M + M):
            buffer = jax.lax.dynamic_update_slice(buffer, value[None], (row, 0))
        return buffer, window @ jax.lax.dynamic_slice(buffer, ((i + 1) % M, 0), (M, count))

    def step(state, i):
        (m, past_m, rates), (n, past_n, answers) = state
        here, after = i % F, (i + 1) % F
        x, u = x0[here] + m, u0[here] + n
        rate, answer = phi(x), phi.slope(x) * u
        # The part of the answer that begins now is an end of the trapezoid rule, and has half of its weight.
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

    silence, nothing = jnp.zeros(count, h.dtype), jnp.zeros((2 * M, count), h.dtype)
    start = ((silence, silence, nothing),) * 2
    # Twice the memory is enough to forget a start in silence.
    skipped = 2 * M
    x, answer = jax.lax.scan(step, start, jnp.arange(skipped + F))[1]
    # One period, rolled to begin at time 0, as the noise does.
    x, answer = (jnp.roll(a[skipped:], skipped, axis=0) for a in (x, answer))
    return x, answer
