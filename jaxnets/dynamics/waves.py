r"""Waves on a ring whose couplings are unitary: they neither grow nor decay, and saturation alone limits them.

$$ Z_{n+1} = \phi(U * Z_n + I_n), \qquad \phi(z) = \frac{z}{\sqrt{1 + |z|^2}}, $$

with complex Z and U a convolution, U e^{ikj} = e^{i theta_k} e^{ikj}. All waves are critical, so that a response to
forcing is a power law of its strength: |Z| ~ A^{1/3} at resonance, and memory lasts for A^{-2/3} steps.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from .._arguments import complex_array, positive, real_array, require, require_instance, require_whole, scalar
from .._numerics import as_complex, bisect, frozen, polish_root
from .._results import Result, one_line
from ..couplings.convolution import Convolution

# Halvings of the logarithm of |Z|, from A / 2 to 1 + A: to 1e-9 of it.
_HALVINGS = 40


def saturate(z: Complex[ArrayLike, "..."]) -> Complex[Array, "..."]:
    """phi(z) = z / sqrt(1 + |z|^2): the modulus stays below 1, the phase as it is.

    Raises `ValueError` for what is no array of numbers. Source: Chandra & Magnasco 2024 (arXiv 2405.13854).
    """
    z = complex_array("z", z)
    return z / as_complex(jnp.sqrt(1 + z.real**2 + z.imag**2))


class PlaneWave(eqx.Module):
    """A forcing I_n = amplitude e^{i (k j + w n)} at site j of `sites` and step n, with k = 2 pi mode / sites.

    `frequency` is w, the phase per step. Raises `ValueError` for a mode that is not whole, and numbers that are not
    finite. Source: Chandra & Magnasco 2024 (arXiv 2405.13854).
    """

    __repr__ = one_line

    amplitude: Float[Array, ""]
    frequency: Float[Array, ""]
    mode: int = eqx.field(static=True)
    sites: int = eqx.field(static=True)

    def __init__(self, sites: int, amplitude: Float[ArrayLike, ""], mode: int = 0, frequency: Float[ArrayLike, ""] = 0):
        require_whole("sites", sites)
        if not isinstance(mode, int | np.integer):
            raise ValueError(f"`mode` must be a whole number, the waves around the ring, got {mode!r}")
        self.sites, self.mode = sites, int(mode)
        self.amplitude, self.frequency = scalar("amplitude", amplitude), scalar("frequency", frequency)
        require("amplitude", self.amplitude, np.isfinite, "a finite number")
        require("frequency", self.frequency, np.isfinite, "a finite number")

    def __call__(self, step: Int[Array, ""]) -> Complex[Array, " n"]:
        """I at each site."""
        places = jnp.asarray(2 * np.pi * (self.mode * np.arange(self.sites) % self.sites) / self.sites)
        angle = places.astype(self.amplitude.dtype) + self.frequency * step.astype(self.amplitude.dtype)
        return as_complex(self.amplitude) * jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


class Waves(Result, axes={"T": "steps", "n": "site"}):
    """Fields in time, made by `simulate_waves`: `states` are the fields Z after so many `steps`.

    Source: Chandra & Magnasco 2024 (arXiv 2405.13854).
    """

    steps: Int[Array, " T"]
    states: Complex[Array, "T n"]


Forcing = Complex[Array, " n"] | Callable[[Int[Array, ""]], Complex[Array, " n"]]


def simulate_waves(
    coupling: Convolution,
    start: Complex[ArrayLike, " n"],
    forcing: Forcing | None = None,
    *,
    num_steps: int,
    save_every: int = 1,
) -> Waves:
    r"""The fields of a ring in time, Z_{n+1} = phi(U * Z_n + I_n) with U the `coupling`, from Z_0 = `start`.

    They are kept after 0, `save_every`, 2 `save_every` and so on up to `num_steps` steps. `forcing` is I_n: an array
    (n,) that does not change, a function of the step n such as `PlaneWave`, or None. `vmap` over starts, forcings or
    couplings gives a batch. Differentiable; a step costs two transforms of n sites.

    Raises:
        ValueError: for a `coupling` of another type, a start or forcing without one value for each site, and numbers of
            steps that are not whole, or of which `save_every` is no divisor.

    Source: Chandra & Magnasco 2024 (arXiv 2405.13854).
    """
    require_instance("coupling", coupling, Convolution, "a `Convolution`")
    require_whole("num_steps", num_steps)
    require_whole("save_every", save_every)
    if num_steps % save_every:
        raise ValueError(f"`num_steps` must be a multiple of `save_every`, got {num_steps} and {save_every}")
    n = coupling.shape[-1]
    Z = complex_array("start", start)
    if Z.shape != (n,):
        raise ValueError(f"`start` must have shape ({n},), a value for each site, got {Z.shape}")
    require("start", Z, np.isfinite, "finite")
    drive = _drive(forcing, n, Z.dtype)
    return _simulated(coupling.symbol().astype(Z.dtype), Z, drive, num_steps, save_every)


@eqx.filter_jit
def _simulated(symbol: Complex[Array, " n"], Z, drive: Any, num_steps: int, save_every: int) -> Waves:
    def step(Z, n):
        return saturate(jnp.fft.ifft(symbol * jnp.fft.fft(Z)) + drive(n)), None

    def block(Z, start):
        Z = jax.lax.scan(step, Z, start + jnp.arange(save_every))[0]
        return Z, Z

    starts = save_every * jnp.arange(num_steps // save_every)
    states = jax.lax.scan(block, Z, starts)[1]
    return Waves(jnp.append(0, starts + save_every), jnp.concatenate([Z[None], states]))


class _Constant(eqx.Module):
    value: Complex[Array, " n"]

    def __call__(self, step):
        return self.value


def _drive(forcing: Any, n: int, dtype: Any) -> Any:
    if forcing is None or not callable(forcing):
        value = jnp.zeros(n, dtype) if forcing is None else complex_array("forcing", forcing).astype(dtype)
        found = value.shape
        forcing = _Constant(value)
        require("forcing", value, np.isfinite, "finite")
    else:
        found = jax.eval_shape(forcing, jax.ShapeDtypeStruct((), jnp.asarray(0).dtype)).shape
    if found != (n,):
        raise ValueError(f"`forcing` must give shape ({n},), a value for each site, got {found}")
    given: Any = forcing
    return eqx.filter_closure_convert(lambda step: given(step).astype(dtype), jnp.asarray(0))


# --- the steady state, exactly --------------------------------------------------------------------------------


class ForcedWave(Result):
    """The steady response Z = `modulus` e^{i (k j + w n)} e^{i (phase - w)} to a plane wave, made by `forced_wave`.

    `phase` is the angle by which Z after a step leads the forcing of this step. Source: as `forced_wave`.
    """

    modulus: Float[Array, ""]
    phase: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def forced_wave(amplitude: Float[ArrayLike, ""], detuning: Float[ArrayLike, ""] = 0.0) -> ForcedWave:
    r"""The steady state of a ring under the plane wave I_n = A e^{i (kj + wn)}, exact at any strength.

    With R = |Z|, s = 1 / sqrt(1 - R^2) and the detuning delta = theta_k - w,

    $$ A^2 = R^2 \big[(s - 1)^2 + 2 s\, (1 - \cos\delta)\big]. $$

    At resonance, delta = 0, R -> (2A)^{1/3} for small A; off resonance R = A / (2 sin(delta / 2)), and the two meet
    where |delta| is about (2A)^{2/3} / 2. A uniform static background is the wave with k = w = 0. Differentiable;
    `vmap` gives curves. Valid for A > 0.

    Raises:
        ValueError: for an amplitude that is not a finite number > 0, and a detuning that is not finite.

    Source: Chandra & Magnasco 2024 (arXiv 2405.13854); the formula derived here.
    """
    A, delta = scalar("amplitude", amplitude), scalar("detuning", detuning)
    require("amplitude", A, positive, "a finite number > 0")
    require("detuning", delta, np.isfinite, "a finite number")
    return _forced(A, delta.astype(A.dtype))


@eqx.filter_jit
def _forced(A: Float[Array, ""], delta: Float[Array, ""]) -> ForcedWave:
    args = (A, delta)
    # p = R s = |phi^{-1}(Z)| lies between A / 2 and 1 + A, as |Z| <= 1 and |U Z + A| <= |Z| + A.
    ends = (jnp.log(frozen(A) / 2), jnp.log1p(frozen(A)))
    low, high = bisect(lambda y, args: _excess(y, args) < 0, *ends, frozen(args), _HALVINGS)
    root = polish_root(lambda y, args: _excess(y[0], args)[None], (low + high)[None] / 2, args)
    p = jnp.exp(root.value[0])
    s = jnp.sqrt(1 + p**2)
    # Z_{n+1} s = U Z_n + I_n: with e^{i delta} apart, s - e^{i delta} = (s - 1) + 2 sin^2(delta/2) - i sin delta.
    against = jax.lax.complex(p**2 / (1 + s) + 2 * jnp.sin(delta / 2) ** 2, -jnp.sin(delta))
    return ForcedWave(p / s, -jnp.angle(against), root.residual, root.converged)


def _excess(log_p: Float[Array, ""], args) -> Float[Array, ""]:
    """ln A of a wave of this size, less the given one."""
    A, delta = args
    p = jnp.exp(log_p)
    s = jnp.sqrt(1 + p**2)
    square = (p**2 / (1 + s)) ** 2 + 4 * s * jnp.sin(delta / 2) ** 2  # s - 1 without cancellation
    return log_p - jnp.log(s) + jnp.log(square) / 2 - jnp.log(A)


def wave_relaxation(
    modulus: Float[ArrayLike, "..."], alpha: Float[ArrayLike, "..."], beta: Float[ArrayLike, "..."]
) -> Complex[Array, "... 2"]:
    r"""The rates at which a pair of waves decays around a forced wave: the smaller real part first.

    A perturbation zeta_q e^{iqj} of the wave Z = R e^{i (kj + wn)} couples to its mirror image, conj zeta_{-q}, with
    alpha = theta_{k+q} - w and beta = theta_{k-q} - w. In a step the pair is multiplied by

    $$ \begin{pmatrix} p\, e^{i\alpha} & m\, e^{-i\beta} \\ m\, e^{i\alpha} & p\, e^{-i\beta} \end{pmatrix}, \qquad
       p, m = \frac{a \pm b}{2}, \qquad a = (1 - R^2)^{3/2}, \qquad b = (1 - R^2)^{1/2}, $$

    and the rates are -ln of its eigenvalues: the real part is the decay, per step. The sum of both has the real part
    -2 ln(1 - R^2). For |alpha + beta| far above R^2 both are -ln p, about R^2; for alpha + beta = 0, as for the forced
    wave itself and for every q if theta is odd around k, they are 3 R^2 / 2 and R^2 / 2. Derivatives are infinite where
    both meet.

    Raises:
        ValueError: for a modulus outside (0, 1), and angles that are not finite.

    Source: derived here; Chandra & Magnasco 2024 (arXiv 2405.13854).
    """
    R, alpha, beta = (real_array(n, v) for n, v in (("modulus", modulus), ("alpha", alpha), ("beta", beta)))
    require("modulus", R, lambda r: (r > 0) & (r < 1), "between 0 and 1")
    for name, value in (("alpha", alpha), ("beta", beta)):
        require(name, value, np.isfinite, "finite")
    R, alpha, beta = _together(R, modulus=R, alpha=alpha, beta=beta)
    a, b, turn = (1 - R**2) ** 1.5, (1 - R**2) ** 0.5, lambda x: jax.lax.complex(jnp.cos(x), jnp.sin(x))
    half = as_complex((a + b) / 4) * (turn(alpha) + turn(-beta))
    apart = jnp.sqrt(half**2 - as_complex(a * b) * turn(alpha - beta))
    rates = -jnp.log(jnp.stack([half + apart, half - apart], axis=-1))
    order = jnp.argsort(rates.real, axis=-1)
    return jnp.take_along_axis(rates, order, axis=-1)


def propagation_length(
    modulus: Float[ArrayLike, "..."], group_velocity: Float[ArrayLike, "..."]
) -> Float[Array, "..."]:
    r"""The distance over which a weak wave dies on top of a forced wave R, in sites.

    $$ \ell = \frac{|v|}{-\ln p}, \qquad p = \frac{(1 - R^2)^{3/2} + (1 - R^2)^{1/2}}{2}, \qquad v = \theta'(q) $$

    with v the `group_velocity`, so that ell is about v / R^2, and grows like A^{-2/3} as the forcing A falls. Valid
    where no mirror image resonates, |alpha + beta| far above R^2 in `wave_relaxation`; where theta is odd around the
    forced wave the length far away is twice as large.

    Raises:
        ValueError: for a modulus outside (0, 1), and a velocity that is not finite.

    Source: derived here; Chandra & Magnasco 2024 (arXiv 2405.13854).
    """
    R, v = real_array("modulus", modulus), real_array("group_velocity", group_velocity)
    require("modulus", R, lambda r: (r > 0) & (r < 1), "between 0 and 1")
    require("group_velocity", v, np.isfinite, "finite")
    R, v = _together(R, modulus=R, group_velocity=v)
    p = ((1 - R**2) ** 1.5 + (1 - R**2) ** 0.5) / 2
    return jnp.abs(v) / -jnp.log(p)


def _together(like: Float[Array, "..."], **arrays: Float[Array, "..."]) -> list[Float[Array, "..."]]:
    """The arrays in one shape, and in the precision of the first."""
    try:
        return jnp.broadcast_arrays(*(array.astype(like.dtype) for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"`{name}` {array.shape}" for name, array in arrays.items())
        raise ValueError(f"arguments must have shapes that broadcast, got {shapes}") from None
