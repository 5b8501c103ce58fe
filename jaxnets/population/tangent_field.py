r"""The field of tangents in a large network: the Green's function of perturbations along given paths of the gains.

A perturbation of a network obeys (L - J D) u = 0 on a time by units, with D = diag phi'(x_i(t)) and L = d/dt + a. The
Hermitised Green's function of L - J D has 2x2 blocks T(w) at each frequency, averages over units, and J acts on it by
its R-transform alone, (s_12, s_21, h) = `Ensemble.blocks` at T_21 = t, T_11 T_22 = -P q:

$$ Q = (\eta + D h P D + K^\dagger A^{-1} K)^{-1}, \qquad K = L - s_{12} D, \qquad A = \eta + h q, \qquad
   R = Q K^\dagger A^{-1}, $$

$$ q = \langle D Q D \rangle, \qquad t = \langle D R \rangle, \qquad P = A^{-1} (1 - L \langle R \rangle + s_{12} t), $$

averages over paths, stationary parts. Here times lie on a ring, functions of them on real waves. On these a stationary
operator is a rotation and a stretch of each pair of waves, a complex number.

Source: Clark 2025 for independent weights (github.com/davidclark1/rnn-lyapunov); for any ensemble derived here.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from .._numerics import as_complex
from ..couplings import Ensemble


class Waves(NamedTuple):
    """Cosines and sines on a ring of m times: `of_time` has one in each column, and `other` is the partner of each.

    `sign` is 1 for cosines and -1 for sines; 0 for waves without partner, of frequency 0 and pi / spacing.
    """

    of_time: Float[np.ndarray, "m m"]
    frequency: Float[np.ndarray, " m"]
    other: Int[np.ndarray, " m"]
    sign: Float[np.ndarray, " m"]


def waves(points: int, period: float, twist: float) -> Waves:
    """Waves of period `period`, or with a change of sign after it where the `twist` is 1/2; `points` is even."""
    time = np.arange(points)
    k = np.arange(points // 2) + twist
    columns, frequency, other, sign = [], [], [], []
    if twist == 0:
        columns = [np.full(points, points**-0.5), (-1.0) ** time * points**-0.5]
        frequency, other, sign = [0.0, math.pi * points / period], [0, 1], [0.0, 0.0]
        k = k[1:]
    for one in k:
        angle = 2 * math.pi * one * time / points
        other += [len(columns) + 1, len(columns)]
        columns += [math.sqrt(2 / points) * np.cos(angle), math.sqrt(2 / points) * np.sin(angle)]
        frequency += [2 * math.pi * one / period] * 2
        sign += [1.0, -1.0]
    return Waves(np.stack(columns, 1), np.array(frequency), np.array(other), np.array(sign))


class Ring(eqx.Module):
    """What a threshold sees of one ring: gains of each path as matrices on its waves, and the weights of paths."""

    gains: Float[Array, "n m m"]
    weights: Float[Array, " n"]
    frequency: Float[Array, " m"]
    other: Int[Array, " m"]
    sign: Float[Array, " m"]
    period: Float[Array, ""]

    def mean(self, x: Float[Array, "n m"]) -> Float[Array, " m"]:
        """The average over paths, the same for both waves of a pair."""
        x = self.weights @ x
        return (x + x[self.other]) / 2

    def symbol(self, M: Float[Array, "n m m"]) -> Complex[Array, " m"]:
        """The stationary part of <M>: a complex number for each frequency."""
        at = jnp.arange(self.frequency.shape[0])
        crossed = self.sign * (self.weights @ M[:, at, self.other])
        return jax.lax.complex(self.mean(jnp.diagonal(M, axis1=1, axis2=2)), (crossed + crossed[self.other]) / 2)

    def times(self, z: Complex[Array, " m"], M: Float[Array, "n m m"]) -> Float[Array, "n m m"]:
        """The stationary operator z, times M."""
        return z.real[None, :, None] * M + (z.imag * self.sign)[None, :, None] * M[:, self.other]


class Field(NamedTuple):
    """The unknowns at each frequency."""

    P: Float[Array, " m"]
    q: Float[Array, " m"]
    t: Complex[Array, " m"]


class Answer(NamedTuple):
    """The field of units that hear a field; the trace of Q over that of P; and the response R at equal times."""

    field: Field
    balance: Float[Array, ""]
    response: Float[Array, ""]


def answer(
    ensemble: Ensemble, ring: Ring, a: Float[Array, ""], eta: Float[Array, ""], field: Field, *, has_memory: bool
) -> Answer:
    """The field of units that hear this field. Without memory, s_12 = 0, t has no part."""
    P, q, t = field
    s12, _, h = jax.vmap(lambda t, p: ensemble.blocks(jnp.conj(t), t, p, physical=True))(t, -P * q)
    h = h.real
    A, hP = eta + h * q, h * P
    # A wave without partner has no odd part: there |L| stands for L.
    power = a**2 + ring.frequency**2
    even = jnp.where((ring.sign == 0) & (ring.frequency > 0), jnp.sqrt(power), a)
    L = jax.lax.complex(even, ring.frequency * ring.sign**2)
    gamma = A / (power + eta * A)
    if has_memory:
        s12 = jax.lax.complex(s12.real, s12.imag * ring.sign**2)
        V, q, crossed = _with_memory(ring, L, s12, A, gamma, hP, eta)
        over = as_complex(1 / A)
        R = (as_complex(V) * jnp.conj(L) - jnp.conj(crossed * s12)) * over
        t = (crossed * jnp.conj(L) - as_complex(q) * jnp.conj(s12)) * over
        P = (1 - (L * R - s12 * t).real) / A
    else:
        V, q, C = _without_memory(ring, gamma, hP)
        R = as_complex(V / A) * jnp.conj(L)
        P, t = (eta * V + C) / A, jnp.zeros_like(t)
    # The even part of L is a in what is read off.
    response = jnp.sum(R.real + (a - even) * V / A) / ring.period
    return Answer(Field(P, q, t), jnp.sum(V) / jnp.sum(P), response)


def _without_memory(
    ring: Ring, gamma: Float[Array, " m"], hP: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, " m"]]:
    """Stationary parts of <Q>, of <D Q D> and of <D h P D Q>, by one factorisation of each path."""
    D, root = ring.gains, jnp.sqrt(gamma)
    half = D * jnp.sqrt(hP)[None, None]
    matrix = root[None, :, None] * (half @ half.swapaxes(1, 2)) * root[None, None] + jnp.eye(root.shape[0])[None]
    QD = root[None, :, None] * _solved(matrix, root[None, :, None] * D)
    C = ring.mean(jnp.einsum("nij,nji->ni", QD * hP[None, None], D))
    # Written in C, nothing cancels where Q is small.
    return gamma * (1 - C), ring.mean(jnp.einsum("nij,nij->nj", QD, D)), C


def _with_memory(
    ring: Ring,
    L: Complex[Array, " m"],
    s12: Complex[Array, " m"],
    A: Float[Array, " m"],
    gamma: Float[Array, " m"],
    hP: Float[Array, " m"],
    eta: Float[Array, ""],
) -> tuple[Float[Array, " m"], Float[Array, " m"], Complex[Array, " m"]]:
    """Stationary parts of <Q>, of <D Q D> and of <D Q>."""
    D, root, eye = ring.gains, jnp.sqrt(gamma), jnp.eye(gamma.shape[0])[None]
    K = ring.times(L, eye) - ring.times(s12, D)
    scaled = K * root[None, None] / jnp.sqrt(A)[None, :, None]
    half = root[None, :, None] * D * jnp.sqrt(hP)[None, None]
    matrix = scaled.swapaxes(1, 2) @ scaled + half @ half.swapaxes(1, 2) + (eta * gamma)[None, None] * eye
    Q = root[None, :, None] * _solved(matrix, jnp.broadcast_to(eye, matrix.shape)) * root[None, None]
    DQ = D @ Q
    V = ring.mean(jnp.diagonal(Q, axis1=1, axis2=2))
    return V, ring.mean(jnp.einsum("nij,nij->ni", DQ, D)), ring.symbol(DQ)


def _solved(matrix: Float[Array, "n m m"], right: Float[Array, "n m m"]) -> Float[Array, "n m m"]:
    """matrix^-1 right, for positive matrices."""
    lower = jnp.linalg.cholesky(matrix)
    return jax.scipy.linalg.cho_solve((lower, True), right)
