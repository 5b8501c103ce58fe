r"""The field on a unit of each type, on a grid of lags, and the averages over a Gaussian x in this field.

The unknowns of `sampled` are C^phi_a(tau) and the response S_a(tau) = <d phi(t + tau) / d eta(t)>_a of each type a.
They give the field: the spectrum sum_b kappa_ab(S(w)) C^phi_b(w) + 2 sigma_a^2 of its noise, and the memory kernel
R_a(w) = r_a(S(w)). Without memory kernel x is Gaussian, and `gaussian_averages` are all that is needed; with one,
`paths` measures how x differs from a Gaussian y.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..._numerics import as_complex, chebyshev, gaussian_quadrature, square_modulus
from ...couplings import Ensemble
from ...spectra.types.outside import r_and_kappa
from ...transfer import Transfer
from ..types.problem import Functions
from .covariances import covariances

# Standard deviations that quadratures span, and nodes for each term of the Chebyshev series of C^phi, as in `energy`.
_WIDTH, _NODES_PER_TERM, _FEWEST_TERMS = 9.0, 8, 16
# C^phi falls smoothly to 0 from this part of the lags on. An iteration must not see a step where the lags end.
_TAPER_FROM = 0.8


class Unknowns(NamedTuple):
    """C^phi and the response S(tau) of each type on the grid."""

    c_phi: Float[Array, "K T"]
    response: Float[Array, "K M"]


class Grid(eqx.Module):
    """T lags 0, h, 2h...; S and the memory kernel have the first M lags; F steps are one period of the paths."""

    h: Float[Array, ""]
    T: int = eqx.field(static=True)
    M: int = eqx.field(static=True)
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
    """A self-consistency of K types, tau x' = -x + field, on a grid.

    `normal` are random numbers of paths and probes, the same for all types, and None without memory kernel.
    """

    ensemble: Ensemble
    fractions: Float[Array, " K"]
    functions: Functions
    sigma: Float[Array, " K"]
    tau: Float[Array, " K"]
    memory: Float[Array, ""]  # the part of R that acts, from 0 to 1
    grid: Grid
    normal: Complex[Array, "2 paths F/2+1"] | None
    nodes: int = eqx.field(static=True)  # of Gaussian averages


class Unit(NamedTuple):
    """A unit of one type: all that its averages in a field depend on."""

    transfer: Transfer
    tau: Float[Array, ""]
    grid: Grid
    nodes: int

    @property
    def step(self) -> Float[Array, ""]:
        """The step of the grid in units of tau."""
        return self.grid.h / self.tau


class Averages(NamedTuple):
    """Averages over the x of a unit."""

    c_phi: Float[Array, "*K T"]
    response: Float[Array, "*K M"]
    c_x: Float[Array, "*K T"]
    c_slope: Float[Array, "*K T"]  # <phi' phi'>
    beta: Float[Array, "*K"]  # <phi'>


class Field(NamedTuple):
    """The field on a unit. Spectra are h times sums over the lags: the integrals for h -> 0."""

    driven: Float[Array, "*K F/2+1"]  # spectrum of x without its memory: the field behind the leak
    dressing: Complex[Array, "*K F/2+1"]  # 1 + r S, the factor by which memory changes x on average
    kernel: Float[Array, "*K M"]  # h R(tau) at the lags, instantaneous parts in the first
    instantaneous: Float[Array, "*K"]  # r(0), the weight of the delta function in R


def field_of(problem: Problem, unknowns: Unknowns) -> Field:
    """The field that units with this C^phi and this response make, on a unit of each type."""
    grid, sigma, tau = problem.grid, problem.sigma[:, None], problem.tau[:, None]
    h, w, shift = grid.h, grid.frequencies()[None], grid.shift()[None]
    dt, decay = h.astype(shift.dtype), as_complex(jnp.exp(-h / tau))
    leak = 1 / jax.lax.complex(jnp.ones_like(tau * w), tau * w)
    # r takes S by the trapezoid rule, which keeps R causal. kappa takes a better S, with the known error of the rule
    # for e^{-t / tau} divided out: it is not causal, and kappa need not be.
    trapezoid = dt * (jnp.fft.rfft(unknowns.response, grid.F) - as_complex(unknowns.response[:, :1] / 2))
    smooth = as_complex(tau) * trapezoid * leak * 2 * (1 - decay * shift) / (dt * (1 + decay * shift))
    memory = problem.memory.astype(shift.dtype)
    at_each = jax.vmap(lambda S: r_and_kappa(problem.ensemble, problem.fractions, S), 1, (1, 2))
    r, kappa = memory * at_each(trapezoid)[0], at_each(smooth)[1]
    # White noise behind the leak is an autoregressive process on the grid, whose spectrum is exact.
    white = h * sigma**2 / tau * -jnp.expm1(-2 * h / tau) / square_modulus(1 - decay * shift)
    power = jax.vmap(lambda c: _spectrum(c, grid))(unknowns.c_phi)
    at_once = r_and_kappa(problem.ensemble, problem.fractions, as_complex(jnp.zeros_like(problem.tau)))[0]
    return Field(
        driven=jnp.maximum(jnp.sum(kappa * power[None], 1), 0) * square_modulus(leak) + white,
        dressing=1 + r * trapezoid,
        kernel=jnp.fft.irfft(r, grid.F)[:, : grid.M],
        instantaneous=(memory * at_once).real,
    )


def _spectrum(c: Float[Array, " T"], grid: Grid) -> Float[Array, " F/2+1"]:
    """The integral of c(tau) cos(w tau), by the trapezoid rule, corrected for the kink at lag 0 that noise leaves."""
    beyond = jnp.zeros(grid.F - 2 * grid.T + 1, c.dtype)
    kink = (4 * c[1] - 3 * c[0] - c[2]) / (2 * grid.h)
    return grid.h * jnp.fft.rfft(jnp.concatenate([c, beyond, c[:0:-1]])).real + grid.h**2 / 6 * kink


def gaussian_averages(unit: Unit, field: Field) -> Averages:
    """Averages over y, the Gaussian process that answers to the field with the mean response of x."""
    grid, phi = unit.grid, unit.transfer
    cheb = chebyshev.grid(max(unit.nodes // _NODES_PER_TERM, _FEWEST_TERMS))
    c = jnp.fft.irfft(as_complex(field.driven * square_modulus(field.dressing)), grid.F)[: grid.T] / grid.h
    z, weights = (a.astype(c.dtype) for a in gaussian_quadrature(unit.nodes, width=_WIDTH))
    roots = np.sqrt(cheb.nodes)
    evaluate = jax.vmap(chebyshev.evaluate, in_axes=(None, 0))

    decay = jnp.exp(-unit.step).astype(field.dressing.dtype)
    # phi is odd: C^phi = n G(n^2) at correlation n, and G is a Chebyshev series.
    n = c / c[0]
    G = covariances(phi, c[0], roots, unit.nodes) / jnp.asarray(roots, c.dtype)
    share, slope = (evaluate(jnp.asarray(m, c.dtype) @ G, n**2) for m in (cheb.series, cheb.slope))
    beta = weights @ phi.slope(jnp.sqrt(c[0]) * z)
    return Averages(
        c_phi=n * share,
        response=beta / unit.tau * jnp.fft.irfft(field.dressing / (1 - decay * grid.shift()), grid.F)[: grid.M],
        c_x=c,
        c_slope=(share + 2 * n**2 * slope) / c[0],
        beta=beta,
    )


def quadrature_error(unit: Unit, variance: Float[Array, ""]) -> Float[Array, ""]:
    """The relative error of Gaussian averages at some variance: of <phi'>, against twice the nodes."""

    def beta(nodes):
        z, weights = (a.astype(variance.dtype) for a in gaussian_quadrature(nodes, width=_WIDTH))
        return weights @ unit.transfer.slope(jnp.sqrt(variance) * z)

    return jnp.abs(beta(unit.nodes) / beta(2 * unit.nodes - 1) - 1)
