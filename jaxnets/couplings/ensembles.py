r"""Ensembles of random couplings: each can be sampled, and knows its R-transform.

A 2x2 matrix T (the Hermitised Green's function; index 1 = left, 2 = right) enters every R-transform here in one way,

$$ S(T) = \begin{pmatrix} T_{22}\, h & s_{12} \\ s_{21} & T_{11}\, h \end{pmatrix}, \qquad
   (s_{12}, s_{21}, h) = \mathtt{blocks}(T_{12}, T_{21}, T_{11} T_{22}). $$

On physical arguments T_12 = conj T_21 and T_11 T_22 = -u <= 0. All theory reads these three scalars:
r(t) = s_12 and kappa(t) = h at T_21 = t, T_11 T_22 = 0. Independent ensembles add theirs, and q J has
S(T) -> q S(q T). To add an ensemble, write one final subclass of `Ensemble`.

Conventions: J_ij is the weight from j to i, variance g^2 / N, diagonal kept, P = load N modes. Every float field may
be traced; what depends on its value (a check, a number of modes) is then left to the caller, as each docstring says.
"""

import abc
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact, PRNGKeyArray

from .._arguments import correlation, nonnegative, positive, real_array, require, require_whole, scalar, vector
from .._numerics import as_complex, as_float, is_concrete, laurent_product, reciprocal_moments, reciprocal_moments_real
from . import operators


class Ensemble(eqx.Module):
    """A law of random n x n couplings: what to sample at finite n, and one function for n -> infinity."""

    @abc.abstractmethod
    def sample(
        self, n: int, *, key: PRNGKeyArray, dtype: Any = None, max_modes: int | None = None
    ) -> operators.Operator:
        """One network of n units, as an operator. `vmap` over keys gives a batch.

        `max_modes` bounds the number of modes and is needed only where the load is traced: arrays then have that many
        columns, those beyond `load n` silent. Raises `ValueError` for n < 1 and for less than one mode.
        """

    @abc.abstractmethod
    def blocks(
        self, t12: Complex[Array, ""], t21: Complex[Array, ""], p: Inexact[Array, ""]
    ) -> tuple[Complex[Array, ""], Complex[Array, ""], Complex[Array, ""]]:
        """(s_12, s_21, h) of the R-transform, as functions of T_12, T_21 and p = T_11 T_22.

        A p of real dtype promises physical arguments, T_12 = conj T_21 too, which may save work.
        """

    @abc.abstractmethod
    def variance(self) -> Float[Array, ""]:
        """g^2 = N Var J_ij."""

    @abc.abstractmethod
    def fourth_cumulant(self) -> Float[Array, ""]:
        """alpha <|lambda|^4>: what the modes add to <s^4> = 2 g^4 of independent weights; additive over sums."""

    @abc.abstractmethod
    def rank_fraction(self) -> Float[Array, ""]:
        """rank(J) / N for N -> infinity, before it is cut at 1; additive over sums."""

    @abc.abstractmethod
    def poles(self) -> Complex[Array, " k"]:
        """The points 1/t where r(t) and kappa(t) diverge (a sample of them if they fill a curve); 0 if there is none.

        Every component of the support of the spectrum grows from some of them, so they seed its search.
        """

    @abc.abstractmethod
    def is_symmetric(self) -> bool:
        """True if every sample has J = J^T. A traced parameter is never taken to make it so."""

    def r_transform(self, T: Complex[ArrayLike, "2 2"]) -> Complex[Array, "2 2"]:
        r"""The 2x2 R-transform S(T) (theory: Hermitised free cumulants of J).

        $$ S(T) = \alpha \langle M \circ [\Lambda (1 - (M \circ T) \Lambda)^{-1}] \rangle_\lambda, \quad
           \Lambda = \begin{pmatrix} 0 & \lambda \\ \bar\lambda & 0 \end{pmatrix}, \quad
           M = \begin{pmatrix} 1 & \rho \\ \rho & 1 \end{pmatrix} $$

        for modes, g^2 ((T_22, s T_21), (s T_12, T_11)) for elliptic ensembles, and sums of these.
        Valid for |T| inside the radius of analyticity around 0 and on its continuation to Im T < 0.
        """
        T = jnp.asarray(T)
        if T.shape != (2, 2):
            raise ValueError(f"`T` must have shape (2, 2), got {T.shape}: map over more with `jax.vmap`")
        T = as_complex(T if jnp.iscomplexobj(T) else as_float(T))
        s12, s21, h = self.blocks(T[0, 1], T[1, 0], T[0, 0] * T[1, 1])
        return jnp.array([[T[1, 1] * h, s12], [s21, T[0, 0] * h]])

    def effective_rank(self) -> Float[Array, ""]:
        """PR^D = alpha <|lambda|^2>^2 / <|lambda|^4> = g^4 / fourth cumulant; infinite if that is not positive."""
        fourth = self.fourth_cumulant()
        positive = fourth > 0
        return jnp.where(positive, self.variance() ** 2 / jnp.where(positive, fourth, 1), jnp.inf)

    def __add__(self, other: "Ensemble") -> "Ensemble":
        return Sum((self, other)) if isinstance(other, Ensemble) else NotImplemented

    def __mul__(self, factor: Float[ArrayLike, ""]) -> "Ensemble":
        return Scaled(factor, self) if not isinstance(factor, Ensemble) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> "Ensemble":
        return Scaled(-1.0, self)

    def __sub__(self, other: "Ensemble") -> "Ensemble":
        return self + -other if isinstance(other, Ensemble) else NotImplemented


class Sum(Ensemble):
    """Independent ensembles added: J = sum_a J_a and S = sum_a S_a."""

    terms: tuple[Ensemble, ...]

    def __init__(self, terms: tuple[Ensemble, ...]):
        # Nested sums are flattened, so that a finite-rank part is found wherever it was added.
        self.terms = tuple(part for term in terms for part in (term.terms if isinstance(term, Sum) else (term,)))

    def sample(self, n, *, key, dtype=None, max_modes=None):
        keys = jax.random.split(key, len(self.terms))
        samples = (
            term.sample(n, key=k, dtype=dtype, max_modes=max_modes) for term, k in zip(self.terms, keys, strict=True)
        )
        return operators.Sum(tuple(samples))

    def blocks(self, t12, t21, p):
        s12, s21, h = zip(*(term.blocks(t12, t21, p) for term in self.terms), strict=True)
        return sum(s12[1:], s12[0]), sum(s21[1:], s21[0]), sum(h[1:], h[0])

    def variance(self):
        return jnp.sum(jnp.stack([term.variance() for term in self.terms]))

    def fourth_cumulant(self):
        return jnp.sum(jnp.stack([term.fourth_cumulant() for term in self.terms]))

    def rank_fraction(self):
        return jnp.sum(jnp.stack([term.rank_fraction() for term in self.terms]))

    def poles(self):
        return jnp.concatenate([term.poles() for term in self.terms])

    def is_symmetric(self):
        return all(term.is_symmetric() for term in self.terms)


class Scaled(Ensemble):
    """A real multiple q J: S(T) -> q S(q T).

    Raises `ValueError` if the factor is not a finite real number.
    """

    factor: Float[Array, ""]
    ensemble: Ensemble

    def __init__(self, factor: Float[ArrayLike, ""], ensemble: Ensemble):
        self.factor = scalar("factor", factor)
        self.ensemble = ensemble

    def __check_init__(self):
        require("factor", self.factor, np.isfinite, "a finite number")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        return self.factor * self.ensemble.sample(n, key=key, dtype=dtype, max_modes=max_modes)

    def blocks(self, t12, t21, p):
        q = self.factor.astype(t21.dtype)
        s12, s21, h = self.ensemble.blocks(q * t12, q * t21, self.factor.astype(p.dtype) ** 2 * p)
        return q * s12, q * s21, q**2 * h

    def variance(self):
        return self.factor**2 * self.ensemble.variance()

    def fourth_cumulant(self):
        return self.factor**4 * self.ensemble.fourth_cumulant()

    def rank_fraction(self):
        return self.ensemble.rank_fraction() * (self.factor != 0).astype(self.factor.dtype)

    def poles(self):
        poles = self.ensemble.poles()
        return self.factor.astype(poles.dtype) * poles

    def is_symmetric(self):
        return self.ensemble.is_symmetric()


# --- independent weights --------------------------------------------------------------------------------------


class IID(Ensemble):
    """Independent Gaussian weights of variance g^2 / N: S(T) = g^2 diag(T_22, T_11).

    Raises `ValueError` if `gain` (g) is negative. Source: Ginibre 1965; Girko 1984.
    """

    gain: Float[Array, ""]

    def __init__(self, gain: Float[ArrayLike, ""] = 1.0):
        self.gain = scalar("gain", gain)

    def __check_init__(self):
        require("gain", self.gain, nonnegative, "a finite number >= 0")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_whole("n", n)
        dtype = self.gain.dtype if dtype is None else dtype
        return operators.Dense(self.gain.astype(dtype) * jax.random.normal(key, (n, n), dtype) / math.sqrt(n))

    def blocks(self, t12, t21, p):
        zero = jnp.zeros_like(t21)
        return zero, zero, self.variance().astype(t21.dtype)

    def variance(self):
        return self.gain**2

    def fourth_cumulant(self):
        return jnp.zeros_like(self.gain)

    def rank_fraction(self):
        return jnp.where(self.gain > 0, jnp.inf, jnp.zeros_like(self.gain))

    def poles(self):
        return _no_pole(self.gain)

    def is_symmetric(self):
        return False


class Elliptic(Ensemble):
    r"""Gaussian weights of variance g^2 / N with corr(J_ij, J_ji) = s.

    $$ S(T) = g^2 \begin{pmatrix} T_{22} & s\, T_{21} \\ s\, T_{12} & T_{11} \end{pmatrix} $$

    The diagonal has variance (1 + s) g^2 / N, as in J = sqrt((1+s)/2) A + sqrt((1-s)/2) B with A symmetric and B
    antisymmetric. Raises `ValueError` for a negative `gain` or |`symmetry`| > 1. Source: Sommers et al. 1988.
    """

    gain: Float[Array, ""]
    symmetry: Float[Array, ""]

    def __init__(self, gain: Float[ArrayLike, ""] = 1.0, symmetry: Float[ArrayLike, ""] = 0.0):
        self.gain = scalar("gain", gain)
        self.symmetry = scalar("symmetry", symmetry)

    def __check_init__(self):
        require("gain", self.gain, nonnegative, "a finite number >= 0")
        require("symmetry", self.symmetry, correlation, "a number in [-1, 1]")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_whole("n", n)
        dtype = self.gain.dtype if dtype is None else dtype
        x = jax.random.normal(key, (n, n), dtype) / math.sqrt(n)
        s = self.symmetry.astype(dtype)
        mixed = jnp.sqrt((1 + s) / 4) * (x + x.T) + jnp.sqrt((1 - s) / 4) * (x - x.T)
        return operators.Dense(self.gain.astype(dtype) * mixed, symmetric=self.is_symmetric())

    def blocks(self, t12, t21, p):
        g2, s = self.variance().astype(t21.dtype), self.symmetry.astype(t21.dtype)
        return g2 * s * t21, g2 * s * t12, g2

    def variance(self):
        return self.gain**2

    def fourth_cumulant(self):
        return jnp.zeros_like(self.gain)

    def rank_fraction(self):
        return jnp.where(self.gain > 0, jnp.inf, jnp.zeros_like(self.gain))

    def poles(self):
        return _no_pole(self.gain)

    def is_symmetric(self):
        return is_concrete(self.symmetry) and bool(np.all(np.asarray(self.symmetry) == 1))


# --- modes ----------------------------------------------------------------------------------------------------


class RandomModes(Ensemble):
    r"""Sums of random Gaussian modes, J = L diag(D) R^T / N with E[L_ia R_ia] = rho_a.

    $$ h = \alpha \Big\langle \frac{D^2}{\Delta} \Big\rangle, \quad
       s_{12} = \alpha \Big\langle \frac{\rho D (1 - \rho D\, T_{12})}{\Delta} \Big\rangle, \quad
       \Delta = (1 - \rho D\, T_{12})(1 - \rho D\, T_{21}) - D^2\, T_{11} T_{22} $$

    `amplitudes` (K,) and their `weights` (K,; equal if None) are the law of D, `overlap` is rho, a number or one for
    each amplitude, `load` is alpha = P / N. A sample gives its P modes the quantiles of that law, so the spectrum of
    amplitudes does not fluctuate. Raises `ValueError` for empty or non-finite amplitudes, negative weights, a load
    that is not positive and |overlap| > 1. Source: Clark et al. 2024 (arXiv 2409.01969).
    """

    amplitudes: Float[Array, " K"]
    weights: Float[Array, " K"]
    load: Float[Array, ""]
    overlap: Float[Array, " K"]

    def __init__(
        self,
        amplitudes: Float[ArrayLike, " K"],
        weights: Float[ArrayLike, " K"] | None = None,
        load: Float[ArrayLike, ""] = 1.0,
        overlap: Float[ArrayLike, ""] | Float[ArrayLike, " K"] = 0.0,
    ):
        self.amplitudes = vector("amplitudes", amplitudes)
        shape = self.amplitudes.shape
        weights = jnp.ones_like(self.amplitudes) if weights is None else vector("weights", weights)
        require("weights", weights, lambda w: nonnegative(w) & (np.sum(w) > 0), "finite numbers >= 0, not all 0")
        if weights.shape != shape:
            raise ValueError(f"`weights` must have the shape of `amplitudes`, {shape}, got {weights.shape}")
        self.weights = weights / jnp.sum(weights)
        self.load = scalar("load", load)
        overlap = as_float(overlap)
        if overlap.shape not in ((), shape):
            raise ValueError(f"`overlap` must be a number or have the shape of `amplitudes`, got {overlap.shape}")
        self.overlap = jnp.broadcast_to(overlap, shape)

    def __check_init__(self):
        require("amplitudes", self.amplitudes, np.isfinite, "finite numbers")
        require("load", self.load, positive, "a finite number > 0")
        require("overlap", self.overlap, correlation, "numbers in [-1, 1]")

    @classmethod
    def flat(
        cls,
        amplitude: Float[ArrayLike, ""] = 1.0,
        load: Float[ArrayLike, ""] = 1.0,
        overlap: Float[ArrayLike, ""] = 0.0,
    ) -> "RandomModes":
        """Equal amplitudes: PR^D = load."""
        return cls(scalar("amplitude", amplitude)[None], load=load, overlap=overlap)

    @classmethod
    def exponential(
        cls,
        scale: Float[ArrayLike, ""],
        power: Float[ArrayLike, ""] = 1.0,
        amplitude: Float[ArrayLike, ""] = 1.0,
        load: Float[ArrayLike, ""] = 1.0,
        overlap: Float[ArrayLike, ""] = 0.0,
        num: int = 64,
    ) -> "RandomModes":
        """D_a = amplitude exp(-(a / (scale P))^power), a = 1..P, as `num` Gauss-Legendre nodes in a / P."""
        scale, power = scalar("scale", scale), scalar("power", power)
        require("scale", scale, positive, "a finite number > 0")
        require("power", power, positive, "a finite number > 0")
        nodes, weights = np.polynomial.legendre.leggauss(num)
        x = jnp.asarray((nodes + 1) / 2, dtype=scale.dtype)
        amplitudes = scalar("amplitude", amplitude) * jnp.exp(-((x / scale) ** power))
        return cls(amplitudes, jnp.asarray(weights, dtype=scale.dtype), load=load, overlap=overlap)

    @classmethod
    def two_valued(
        cls,
        high: Float[ArrayLike, ""],
        low: Float[ArrayLike, ""],
        fraction: Float[ArrayLike, ""],
        load: Float[ArrayLike, ""] = 1.0,
        overlap: Float[ArrayLike, ""] = 0.0,
    ) -> "RandomModes":
        """A `fraction` of the modes with amplitude `high`, the others with `low`."""
        fraction = scalar("fraction", fraction)
        require("fraction", fraction, lambda f: (f >= 0) & (f <= 1), "a number in [0, 1]")
        amplitudes = jnp.stack([scalar("high", high), scalar("low", low)])
        return cls(amplitudes, jnp.stack([fraction, 1 - fraction]), load=load, overlap=overlap)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        dtype = self.amplitudes.dtype if dtype is None else dtype
        columns, modes = _number_of_modes(n, self.load, max_modes)
        a = jnp.arange(columns)
        quantile = (a.astype(self.weights.dtype) + 0.5) / modes.astype(self.weights.dtype)
        index = jnp.minimum(jnp.searchsorted(jnp.cumsum(self.weights), quantile), self.weights.shape[0] - 1)
        amplitudes = jnp.where(a < modes, self.amplitudes[index], 0).astype(dtype)
        rho = self.overlap[index].astype(dtype)
        key_left, key_right = jax.random.split(key)
        left = jax.random.normal(key_left, (n, columns), dtype)
        if self.is_symmetric():
            return operators.Modes(left, left, operators.Diagonal(rho * amplitudes))
        own = jax.random.normal(key_right, (n, columns), dtype)
        right = rho[None] * left + jnp.sqrt(1 - rho**2)[None] * own
        return operators.Modes(left, right, operators.Diagonal(amplitudes))

    def blocks(self, t12, t21, p):
        dtype = t21.dtype
        amplitudes, weights = self.amplitudes.astype(dtype), (self.load * self.weights).astype(dtype)
        modal = self.overlap.astype(dtype) * amplitudes
        delta = (1 - modal * t12) * (1 - modal * t21) - amplitudes**2 * as_complex(p)
        s12 = jnp.sum(weights * modal * (1 - modal * t12) / delta)
        s21 = jnp.sum(weights * modal * (1 - modal * t21) / delta)
        return s12, s21, jnp.sum(weights * amplitudes**2 / delta)

    def variance(self):
        return self.load * jnp.sum(self.weights * self.amplitudes**2)

    def fourth_cumulant(self):
        return self.load * jnp.sum(self.weights * self.amplitudes**4)

    def rank_fraction(self):
        return self.load * jnp.sum(jnp.where(self.amplitudes != 0, self.weights, 0))

    def poles(self):
        modal = self.overlap * self.amplitudes
        # Silent modes have none: another one takes their place.
        return as_complex(jnp.where(self.amplitudes != 0, modal, modal[jnp.argmax(jnp.abs(self.amplitudes))]))

    def is_symmetric(self):
        return is_concrete(self.overlap) and bool(np.all(np.abs(np.asarray(self.overlap)) == 1))


class DeepHebbian(Ensemble):
    r"""Hebbian couplings that store a sequence of random patterns through a wide synaptic window.

    $$ J_{ij} = \frac1N \sum_\mu \Big[ c\, \xi_i^\mu \xi_j^\mu + \sum_{r=1}^d \gamma_r\, \xi_i^{\mu+r} \xi_j^\mu
       \Big], \qquad \lambda(\theta) = c + \sum_r \gamma_r e^{-ir\theta} $$

    with h = alpha <|lambda|^2 / Delta>, s_12 = alpha <lambda (1 - conj(lambda) T_12) / Delta> and
    Delta = (1 - conj(lambda) T_12)(1 - lambda T_21) - |lambda|^2 T_11 T_22, averaged over the angle theta.

    `load` is alpha = P / N, `auto` c, `hetero` the profile gamma_1..gamma_d; `patterns` are "binary" (+-1) or
    "gaussian"; `ring` closes the sequence, an open chain has the same limit; `symmetric` couples each pattern to its
    d predecessors too, lambda = c + 2 sum_r gamma_r cos(r theta). The ring needs P > d (2 d if symmetric) for shifts
    not to fold; at any P the spectrum of the core is lambda at theta = 2 pi mu / P. Raises `ValueError` for a load
    that is not positive, an empty profile and unknown patterns.
    Source: Jiang et al. 2022 (arXiv 2208.11411); Jiang et al. 2021 (arXiv 2103.14324) for the symmetric variant.
    """

    load: Float[Array, ""]
    auto: Float[Array, ""]
    hetero: Float[Array, " d"]
    patterns: str = eqx.field(static=True)
    ring: bool = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)

    def __init__(
        self,
        load: Float[ArrayLike, ""] = 1.0,
        auto: Float[ArrayLike, ""] = 0.0,
        hetero: Float[ArrayLike, " d"] | Sequence[Float[ArrayLike, ""]] = (1.0,),
        patterns: str = "binary",
        ring: bool = True,
        symmetric: bool = False,
    ):
        self.load = scalar("load", load)
        self.auto = scalar("auto", auto)
        self.hetero = vector("hetero", hetero)
        self.patterns = patterns
        self.ring = ring
        self.symmetric = symmetric

    def __check_init__(self):
        require("load", self.load, positive, "a finite number > 0")
        require("auto", self.auto, np.isfinite, "a finite number")
        require("hetero", self.hetero, np.isfinite, "finite numbers")
        if self.patterns not in ("binary", "gaussian"):
            raise ValueError(f'`patterns` must be "binary" or "gaussian", got {self.patterns!r}')

    def sample(self, n, *, key, dtype=None, max_modes=None):
        dtype = self.load.dtype if dtype is None else dtype
        columns, modes = _number_of_modes(n, self.load, max_modes)
        draw = jax.random.rademacher if self.patterns == "binary" else jax.random.normal
        xi = draw(key, (n, columns), dtype) * (jnp.arange(columns) < modes)[None].astype(dtype)
        core = operators.Shifts(
            self.auto.astype(dtype), self.hetero.astype(dtype), modes, ring=self.ring, symmetric=self.symmetric
        )
        return operators.Modes(xi, xi, core)

    def blocks(self, t12, t21, p):
        alpha = self.load.astype(t21.dtype)
        lam, conj = (coefficients.astype(t21.dtype) for coefficients in self._core())
        power = laurent_product(lam, conj)  # |lambda|^2, from w^{-2d} to w^{2d}, of which |k| > d vanish unless
        d = lam.shape[0] // 2  # the variant is symmetric
        one = jnp.zeros_like(power).at[2 * d].set(1)
        lam, conj = (jnp.pad(coefficients, d) for coefficients in (lam, conj))
        delta = one - t12 * conj - t21 * lam + (t12 * t21 - as_complex(p)) * power
        if not self.symmetric:
            lam, conj, power, delta = (x[d : 3 * d + 1] for x in (lam, conj, power, delta))
        if jnp.isrealobj(p):
            half = reciprocal_moments_real(delta[delta.shape[0] // 2 :])
            moments = jnp.concatenate([jnp.conj(half[:0:-1]), half])
        else:
            moments = reciprocal_moments(delta)
        h, s12, s21 = (jnp.sum(coefficients * moments) for coefficients in (power, lam, conj))
        return alpha * (s12 - t12 * h), alpha * (s21 - t21 * h), alpha * h

    def variance(self):
        lam, _ = self._core()
        return self.load * jnp.sum(lam**2)

    def fourth_cumulant(self):
        return self.load * jnp.sum(laurent_product(*self._core()) ** 2)

    def rank_fraction(self):
        lam, _ = self._core()
        return jnp.where(jnp.any(lam != 0), self.load, 0)

    def poles(self):
        lam, _ = self._core()
        d = lam.shape[0] // 2
        theta = 2 * np.pi * np.arange(_POLES) / _POLES
        waves = jnp.asarray(np.exp(1j * np.outer(theta, np.arange(-d, d + 1))))
        lam = as_complex(lam)
        return waves.astype(lam.dtype) @ lam

    def is_symmetric(self):
        return self.symmetric or (is_concrete(self.hetero) and not np.any(np.asarray(self.hetero)))

    def _core(self):
        """Laurent coefficients of lambda and of its conjugate in w = exp(i theta), from w^{-d} to w^d."""
        forward = self.hetero if self.symmetric else jnp.zeros_like(self.hetero)
        lam = jnp.concatenate([self.hetero[::-1], self.auto[None], forward])
        return lam, lam[::-1]


_POLES = 120  # points on the curve lambda(theta), among them those at which equal strengths cancel


class LowRank(Ensemble):
    r"""K random modes, however large N: J = U V^T / N with U Gaussian of unit variance, N x K, and

    $$ V = U O^T + \sigma W, \qquad E[v_{ik} u_{il}] = O_{kl}, \qquad S(T) = 0 $$

    It leaves the bulk of the spectrum as it is and adds outliers, which alone lie at the eigenvalues of `overlaps` = O
    (K, K; a number for K = 1) up to fluctuations of order 1 / sqrt(N); `noise` is sigma.
    Raises `ValueError` if O is not square or not finite, or sigma is negative.
    Source: Tao 2013; Mastrogiuseppe & Ostojic 2018.
    """

    overlaps: Float[Array, "K K"]
    noise: Float[Array, ""]

    def __init__(self, overlaps: Float[ArrayLike, "K K"] | Float[ArrayLike, ""], noise: Float[ArrayLike, ""] = 1.0):
        overlaps = real_array("overlaps", overlaps)
        self.overlaps = overlaps[None, None] if overlaps.ndim == 0 else overlaps
        self.noise = scalar("noise", noise)

    def __check_init__(self):
        if self.overlaps.ndim != 2 or self.overlaps.shape[0] != self.overlaps.shape[1]:
            raise ValueError(f"`overlaps` must be a number or a square matrix, got shape {self.overlaps.shape}")
        require("overlaps", self.overlaps, np.isfinite, "finite numbers")
        require("noise", self.noise, nonnegative, "a finite number >= 0")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_whole("n", n)
        dtype = self.overlaps.dtype if dtype is None else dtype
        u, w = jax.random.normal(key, (2, n, self.overlaps.shape[0]), dtype)
        v = u @ self.overlaps.T.astype(dtype) + self.noise.astype(dtype) * w
        return operators.Modes(u, v, operators.Diagonal(jnp.ones(u.shape[1], dtype)))

    def blocks(self, t12, t21, p):
        zero = jnp.zeros_like(t21)
        return zero, zero, zero

    def variance(self):
        return jnp.zeros((), self.overlaps.dtype)

    def fourth_cumulant(self):
        return jnp.zeros((), self.overlaps.dtype)

    def rank_fraction(self):
        return jnp.zeros((), self.overlaps.dtype)

    def poles(self):
        return _no_pole(self.overlaps)

    def is_symmetric(self):
        return False


# --- arguments ------------------------------------------------------------------------------------------------


def _number_of_modes(n: int, load: Float[Array, ""], max_modes: int | None) -> tuple[int, Array]:
    """Columns to allocate (static) and P = round(load n) <= columns (perhaps traced)."""
    require_whole("n", n)
    if is_concrete(load):
        modes = round(float(load) * n)
        if modes < 1:
            raise ValueError(f"`load` must give at least one mode, got {float(load)} x n = {n}: {modes} modes")
        columns = modes if max_modes is None else max_modes
        if columns < modes:
            raise ValueError(f"`max_modes` must be at least load x n = {modes}, got {max_modes}")
        return columns, jnp.asarray(modes)
    if max_modes is None:
        raise ValueError("`load` is traced, so the number of modes is unknown: give `max_modes`, a bound on it")
    return max_modes, jnp.clip(jnp.round(load * n), 1, max_modes).astype(int)


def _no_pole(field: Array) -> Complex[Array, " 1"]:
    return as_complex(jnp.zeros(1, field.dtype))
