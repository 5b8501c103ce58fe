r"""The field on one unit, on a grid of lags, and the averages over a Gaussian x in this field.

The unknowns of `sampled` are C^phi(tau) and the response S(tau) = <d phi(t + tau) / d eta(t)>. They give the field: the
spectrum kappa(S(w)) C^phi(w) + 2 sigma^2 of its noise, and the memory kernel R(w) = r(S(w)). Without memory kernel x is
Gaussian, and `gaussian_averages` are all that is needed; with one, `paths` measures how x differs from a Gaussian y.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..._numerics import as_complex, chebyshev, gaussian_quadrature, square_modulus
from ...couplings import Ensemble
from ...transfer import Transfer
from .covariances import covariances

# Standard deviations that quadratures span, and nodes for each term of the Chebyshev series of C^phi, as in `energy`.
_WIDTH, _NODES_PER_TERM, _FEWEST_TERMS = 9.0, 8, 16
# C^phi falls smoothly to 0 from this part of the lags on. An iteration must not see a step where the lags end.
_TAPER_FROM = 0.8


class Unknowns(NamedTuple):
    """C^phi and the response S(tau) on the grid."""

    c_phi: Float[Array, " T"]
    response: Float[Array, " K"]


class Grid(eqx.Module):
    """T lags 0, h, 2h...; S and the memory kernel have the first K lags; F steps are one period of the paths."""

    h: Float[Array, ""]
    T: int = eqx.field(static=True)
    K: int = eqx.field(static=True)
    F: int = eqx.field(static=True)

    def frequencies(self) -> Float[Array, " F/2+1"]:
        """The frequencies of a discrete Fourier transform of one period."""
        return jnp.asarray(2 * np.pi / self.F * np.arange(self.F // 2 + 1), self.h.dtype) / self.h

    def shift(self) -> Complex[Array, " F/2+1"]:
        """e^{-i w h}."""
        angle = 2 * np.pi * np.arange(self.F // 2 + 1) / self.F
        return jax.lax.complex(*(jnp.asarray(part, self.h.dtype) for part in (np.cos(angle), -np.sin(angle))))

    def taper(self) -> Float[Array, " T"]:
        """1, and a smooth fall to 0 at the last lags: beyond them C^phi is taken to be 0."""
        t = np.linspace(0, 1, self.T)
        fall = np.cos(np.pi / 2 * (t - _TAPER_FROM) / (1 - _TAPER_FROM)) ** 2
        return jnp.asarray(np.where(t < _TAPER_FROM, 1, fall), self.h.dtype)

    def lags(self) -> Float[Array, " T"]:
        """The lags, in units of tau."""
        return self.h * jnp.arange(self.T).astype(self.h.dtype)


class Problem(eqx.Module):
    """A self-consistency on a grid. `normal` are random numbers of paths and probes, None without memory kernel."""

    ensemble: Ensemble
    transfer: Transfer
    sigma: Float[Array, ""]
    memory: Float[Array, ""]  # the part of R that acts, from 0 to 1
    grid: Grid
    normal: Complex[Array, "2 paths F/2+1"] | None
    nodes: int = eqx.field(static=True)  # of Gaussian averages


class Averages(NamedTuple):
    """Averages over the x of a unit."""

    c_phi: Float[Array, " T"]
    response: Float[Array, " K"]
    c_x: Float[Array, " T"]
    c_slope: Float[Array, " T"]  # <phi' phi'>
    beta: Float[Array, ""]  # <phi'>


class Field(NamedTuple):
    """The field on a unit. Spectra are h times sums over the lags: the integrals for h -> 0."""

    driven: Float[Array, " F/2+1"]  # spectrum of x without its memory: the field behind the leak
    dressing: Complex[Array, " F/2+1"]  # 1 + r S, the factor by which memory changes x on average
    kernel: Float[Array, " K"]  # h R(tau) at the lags, instantaneous parts in the first
    instantaneous: Float[Array, ""]  # r(0), the weight of the delta function in R


def field_of(problem: Problem, unknowns: Unknowns) -> Field:
    """The field that units with this C^phi and this response make."""
    grid, sigma = problem.grid, problem.sigma
    h, w, shift = grid.h, grid.frequencies(), grid.shift()
    dt, decay = h.astype(shift.dtype), jnp.exp(-h).astype(shift.dtype)
    leak = 1 / jax.lax.complex(jnp.ones_like(w), w)
    # r takes S by the trapezoid rule, which keeps R causal. kappa takes a better S, with the known error of the rule
    # for e^{-tau} divided out: it is not causal, and kappa need not be.
    trapezoid = dt * (jnp.fft.rfft(unknowns.response, grid.F) - as_complex(unknowns.response[0] / 2))
    smooth = trapezoid * leak * 2 * (1 - decay * shift) / (dt * (1 + decay * shift))
    memory = problem.memory.astype(shift.dtype)
    r = memory * jax.vmap(problem.ensemble.r_and_kappa)(trapezoid)[0]
    _, kappa = jax.vmap(problem.ensemble.r_and_kappa)(smooth)
    # White noise behind the leak is an autoregressive process on the grid, whose spectrum is exact.
    white = h * sigma**2 * -jnp.expm1(-2 * h) / square_modulus(1 - decay * shift)
    return Field(
        driven=jnp.maximum(kappa * _spectrum(unknowns.c_phi, grid), 0) * square_modulus(leak) + white,
        dressing=1 + r * trapezoid,
        kernel=jnp.fft.irfft(r, grid.F)[: grid.K],
        instantaneous=(memory * problem.ensemble.r_and_kappa(jnp.zeros((), shift.dtype))[0]).real,
    )


def _spectrum(c: Float[Array, " T"], grid: Grid) -> Float[Array, " F/2+1"]:
    """The integral of c(tau) cos(w tau), by the trapezoid rule, corrected for the kink at lag 0 that noise leaves."""
    beyond = jnp.zeros(grid.F - 2 * grid.T + 1, c.dtype)
    kink = (4 * c[1] - 3 * c[0] - c[2]) / (2 * grid.h)
    return grid.h * jnp.fft.rfft(jnp.concatenate([c, beyond, c[:0:-1]])).real + grid.h**2 / 6 * kink


def gaussian_averages(problem: Problem, field: Field) -> Averages:
    """Averages over y, the Gaussian process that answers to the field with the mean response of x."""
    grid, phi = problem.grid, problem.transfer
    cheb = chebyshev.grid(max(problem.nodes // _NODES_PER_TERM, _FEWEST_TERMS))
    c = jnp.fft.irfft(as_complex(field.driven * square_modulus(field.dressing)), grid.F)[: grid.T] / grid.h
    z, weights = (a.astype(c.dtype) for a in gaussian_quadrature(problem.nodes, width=_WIDTH))
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


def quadrature_error(problem: Problem, variance: Float[Array, ""]) -> Float[Array, ""]:
    """The relative error of Gaussian averages at some variance: of <phi'>, against twice the nodes."""

    def beta(nodes):
        z, weights = (a.astype(variance.dtype) for a in gaussian_quadrature(nodes, width=_WIDTH))
        return weights @ problem.transfer.slope(jnp.sqrt(variance) * z)

    return jnp.abs(beta(problem.nodes) / beta(2 * problem.nodes - 1) - 1)
