"""Couplings that depend on the distance of two sites of a ring alone: convolutions, by the fast Fourier transform."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact

from .._arguments import complex_array, real_array, require
from .._numerics import as_complex
from .operators import Operator, per_network, require_one_network

# A generator counts as anti-Hermitian if it misses by this many roundings of its largest entry.
_ROUNDINGS = 100


class Convolution(Operator):
    r"""J_ij = kernel[i - j mod n] on a ring of n sites, real or complex, applied in O(n log n).

    Its eigenvectors are the plane waves e^{ikj}, k = 2 pi m / n, and its eigenvalues the `symbol`,

    $$ u_m = \sum_d \mathrm{kernel}_d\, e^{-2 \pi i m d / n}, $$

    exactly. It is normal. kernel[d] is the weight from a site to the one d places further on. A real convolution
    couples a `RateNetwork`; a complex one acts on complex fields (`dynamics.simulate_waves`). Raises `ValueError`
    for a kernel without sites.
    """

    kernel: Inexact[Array, "*batch n"]

    def __init__(self, kernel: Inexact[ArrayLike, "*batch n"]):
        self.kernel = _on_ring("kernel", kernel)

    @classmethod
    def unitary(cls, generator: Inexact[ArrayLike, "*batch n"]) -> "Convolution":
        """The unitary exp(A *) of an anti-Hermitian kernel A, with A[-d] = -conj(A[d]); real, if A is.

        Raises `ValueError` for a generator that is not anti-Hermitian.
        """
        A = _on_ring("generator", generator)
        mirrored = jnp.roll(A[..., ::-1], 1, axis=-1)
        miss, size = jnp.max(jnp.abs(A + jnp.conj(mirrored))), jnp.max(jnp.abs(A))
        limit = _ROUNDINGS * float(jnp.finfo(A.dtype).eps)
        require("generator", miss - limit * size, lambda x: x <= 0, "anti-Hermitian, with A[-d] = -conj(A[d])")
        kernel = jnp.fft.ifft(jnp.exp(jax.lax.complex(jnp.zeros_like(A.real), jnp.fft.fft(A).imag)))
        return cls(kernel if jnp.iscomplexobj(A) else kernel.real)

    @classmethod
    def of_dispersion(cls, theta: Float[ArrayLike, "*batch n"]) -> "Convolution":
        """The unitary convolution whose wave numbers 2 pi m / n, m = 0..n - 1, have the phases theta_m: e^{i theta}."""
        phases = _on_ring("theta", real_array("theta", theta))
        require("theta", phases, np.isfinite, "finite")
        return cls(jnp.fft.ifft(jax.lax.complex(jnp.cos(phases), jnp.sin(phases))))

    def symbol(self) -> Complex[Array, "*batch n"]:
        """The eigenvalues, by wave numbers 2 pi m / n, m = 0..n - 1."""
        return jnp.fft.fft(as_complex(self.kernel) if jnp.isrealobj(self.kernel) else self.kernel)

    @property
    def shape(self):
        return (*self.kernel.shape, self.kernel.shape[-1])

    @property
    def dtype(self):
        return self.kernel.dtype

    @property
    def symmetric(self):
        return False

    def __matmul__(self, x):
        require_one_network(self)
        n = self.kernel.shape[-1]
        shape = (n,) + (1,) * (x.ndim - 1)
        if jnp.isrealobj(self.kernel) and jnp.isrealobj(x):
            return jnp.fft.irfft(jnp.fft.rfft(self.kernel).reshape(-1, *shape[1:]) * jnp.fft.rfft(x, axis=0), n, axis=0)
        return jnp.fft.ifft(self.symbol().reshape(shape) * jnp.fft.fft(x, axis=0), axis=0)

    @property
    def T(self):
        return Convolution(jnp.roll(self.kernel[..., ::-1], 1, axis=-1))

    @per_network
    def dense(self):
        d = np.arange(self.kernel.shape[-1])
        return self.kernel[(d[:, None] - d) % len(d)]

    def low_rank(self):
        return None

    def scaled(self, factor):
        return Convolution(factor.astype(self.kernel.real.dtype).astype(self.dtype) * self.kernel)


def _on_ring(name: str, value: Inexact[ArrayLike, "*batch n"]) -> Inexact[Array, "*batch n"]:
    """Real or complex numbers, as they are, one for each site."""
    numbers = complex_array(name, value)
    given = jax.tree.leaves(value) if isinstance(value, list | tuple) else [value]
    if numbers.ndim < 1 or numbers.shape[-1] < 1:
        raise ValueError(f"`{name}` must have shape (n,), or (..., n) of a batch, got {numbers.shape}")
    return numbers if any(np.iscomplexobj(x) for x in given) else real_array(name, value)
