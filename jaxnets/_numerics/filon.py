r"""Fourier transforms of functions known on lags, C(w) = 2 int_0^infinity C(tau) cos(w tau) dtau, C even.

Filon's rule integrates parabolas through three lags each times the cosine exactly. So its error is of fourth order in
the spacing and does not grow with w, and a kink at lag 0 does no harm. Beyond the last lag C decays as e^{-rate tau}.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float

from .arrays import as_complex

# Lags of each parity in one matrix product. It bounds the memory: cosines of a block are stored, at all frequencies.
_BLOCK = 64
# Below this angle Filon's coefficients, whose closed forms cancel as theta^-3, are taken from their series: the first
# terms left out are below 1e-10 there.
_SERIES_BELOW = 0.25


def spectra(
    values: Float[Array, "s T"],
    spacing: Float[Array, ""],
    rate: Float[Array, ""],
    a: Float[Array, " m"],
    b: Float[Array, " k"],
) -> Float[Array, "s m k"]:
    """The spectra of s functions on T uniform lags from 0, at the sums of frequencies a_i + b_j."""
    # A function that is 0 at the last lag has no tail, whatever its rate, and 0 / 0 must not enter.
    rate = jnp.where(jnp.any(values[:, -1] != 0), rate, 1)
    if values.shape[1] % 2 == 0:
        values = jnp.concatenate([values, values[:, -1:] * jnp.exp(-rate * spacing)], axis=1)
    even, odd = _cosine_sums(values, spacing, a, b)
    w = a[:, None] + b[None]
    last = w * spacing * (values.shape[1] - 1)
    cos, sin, end = jnp.cos(last)[None], jnp.sin(last)[None], values[:, -1, None, None]
    even = even - (values[:, 0, None, None] + end * cos) / 2
    alpha, beta, gamma = (x[None] for x in _filon(w * spacing))
    tail = end * (rate * cos - w[None] * sin) / (rate**2 + w[None] ** 2)
    return 2 * (spacing * (alpha * end * sin + beta * even + gamma * odd) + tail)


def spectrum(
    values: Float[Array, " T"], spacing: Float[Array, ""], rate: Float[Array, ""], w: Float[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """The spectrum of one function, at frequencies w of any shape."""
    w = jnp.asarray(w, values.dtype)
    return spectra(values[None], spacing, rate, w.ravel(), jnp.zeros(1, w.dtype))[0, :, 0].reshape(w.shape)


def one_sided(values: Float[Array, " T"], spacing: Float[Array, ""], w: Float[Array, "..."]) -> Complex[Array, "..."]:
    """The integral of f(tau) e^{-i w tau} over tau > 0, for a function f that is 0 at the last lag."""
    values = jnp.pad(values, (0, 1 - values.shape[0] % 2))
    angles = (spacing * w)[..., None] * jnp.arange(values.shape[0]).astype(values.dtype).reshape((1,) * w.ndim + (-1,))
    alpha, beta, gamma = _filon(spacing * w)
    half = values.at[jnp.array([0, -1])].divide(2)
    sums = lambda f: beta * (f(angles[..., ::2]) @ half[::2]) + gamma * (f(angles[..., 1::2]) @ half[1::2])
    return jax.lax.complex(spacing * sums(jnp.cos), -spacing * (sums(jnp.sin) + alpha * values[0]))


def _cosine_sums(
    values: Float[Array, "s T"], spacing: Float[Array, ""], a: Float[Array, " m"], b: Float[Array, " k"]
) -> Float[Array, "2 s m k"]:
    """Sums of C(tau) cos((a_i + b_j) tau) over even lags and over odd lags: matrix products, some lags at a time."""
    num, T = values.shape
    blocks = -(-T // (2 * _BLOCK))
    padded = jnp.pad(values, ((0, 0), (0, 2 * _BLOCK * blocks - T)))
    # (blocks, parity, ...): lags 0, 2, 4... and 1, 3, 5... of each block.
    padded = padded.reshape(num, blocks, _BLOCK, 2).transpose(1, 3, 0, 2)
    steps = jnp.arange(2 * _BLOCK).reshape(_BLOCK, 2).T.astype(values.dtype)
    starts = 2 * _BLOCK * jnp.arange(blocks).astype(values.dtype)
    wave = lambda w, lags: jnp.exp(1j * as_complex(w * spacing * lags))
    # The waves of a block are the waves of the first block times a phase: few sines are computed.
    first_a, first_b = (wave(w[None, :, None], steps[:, None]) for w in (a, b))  # (parity, frequency, lag)
    phases_a, phases_b = (wave(w[None], starts[:, None]) for w in (a, b))

    @jax.checkpoint
    def add(total, block):
        c, phase_a, phase_b = block
        at_a, at_b = first_a * phase_a[None, :, None], first_b * phase_b[None, :, None]
        product = lambda x, y: jnp.einsum("pml,spkl->psmk", x, c.swapaxes(0, 1)[:, :, None] * y[None])
        return total + product(at_a.real, at_b.real) - product(at_a.imag, at_b.imag), None

    start = jnp.zeros((2, num, a.shape[0], b.shape[0]), values.dtype)
    return jax.lax.scan(add, start, (padded, phases_a, phases_b))[0]


def _filon(theta: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Filon's alpha, beta and gamma (1928), by their series where the closed forms cancel."""
    small = jnp.abs(theta) < _SERIES_BELOW
    t, u = jnp.where(small, 1, theta), jnp.where(small, theta, 0)
    sin, cos, u2 = jnp.sin(t), jnp.cos(t), u**2
    near = (
        u * u2 * (2 / 45 + u2 * (-2 / 315 + u2 * 2 / 4725)),
        2 / 3 + u2 * (2 / 15 + u2 * (-4 / 105 + u2 * (2 / 567 - u2 * 4 / 22275))),
        4 / 3 + u2 * (-2 / 15 + u2 * (1 / 210 + u2 * (-1 / 11340 + u2 / 997920))),
    )
    far = (
        (t**2 + t * sin * cos - 2 * sin**2) / t**3,
        2 * (t * (1 + cos**2) - 2 * sin * cos) / t**3,
        4 * (sin - t * cos) / t**3,
    )
    alpha, beta, gamma = (jnp.where(small, x, y) for x, y in zip(near, far, strict=True))
    return alpha, beta, gamma
