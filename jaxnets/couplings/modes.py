"""Ensembles made of modes: random modes with any spectrum of amplitudes, Hebbian couplings, and finite ranks."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import (
    correlation,
    known_array,
    nonnegative,
    positive,
    real_array,
    require,
    require_key,
    require_whole,
    scalar,
    vector,
)
from .._laws import values_and_weights
from .._numerics import (
    as_complex,
    binary_scale,
    is_concrete,
    laurent_product,
    reciprocal_moments,
    reciprocal_moments_real,
    square_modulus,
)
from . import operators
from .ensemble import CURVE_POINTS, Ensemble, FourPoint, may_vanish, no_pole, vanishes
from .parts import Feedback, FiniteRank, Site, Stored, no_feedback


class RandomModes(Ensemble):
    r"""Sums of random Gaussian modes, J = L diag(D) R^T / N with E[L_ia R_ia] = rho_a.

    $$ h = \alpha \Big\langle \frac{D^2}{\Delta} \Big\rangle, \quad
       s_{12} = \alpha \Big\langle \frac{\rho D (1 - \rho D\, T_{12})}{\Delta} \Big\rangle, \quad
       \Delta = (1 - \rho D\, T_{12})(1 - \rho D\, T_{21}) - D^2\, T_{11} T_{22} $$

    `amplitudes` and their `weights` (equal if None) are the law of D. `overlap` is rho, one number or one for each
    amplitude, and `load` is alpha = P / N. A sample gives its P modes the quantiles of the law, so that the spectrum
    of amplitudes does not fluctuate. Raises `ValueError` for empty or non-finite amplitudes, negative weights, a load
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
        self.amplitudes, self.weights = values_and_weights("amplitudes", amplitudes, weights)
        self.load = scalar("load", load)
        overlap = known_array("overlap", overlap)
        if overlap.shape not in ((), self.amplitudes.shape):
            raise ValueError(f"`overlap` must be a number or have the shape of `amplitudes`, got {overlap.shape}")
        shape = self.amplitudes.shape
        if is_concrete(overlap):  # it stays known within `jit`
            self.overlap = known_array("overlap", np.broadcast_to(np.asarray(overlap), shape))
        else:
            self.overlap = jnp.broadcast_to(overlap, shape)

    def __check_init__(self):
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
        (amplitude,) = _numbers(amplitude=amplitude)
        return cls(amplitude[None], load=load, overlap=overlap)

    @classmethod
    def of_rank(
        cls, g: Float[ArrayLike, ""], effective_rank: Float[ArrayLike, ""], overlap: Float[ArrayLike, ""] = 0.0
    ) -> "RandomModes":
        """Equal amplitudes, of strength g and effective rank PR^D: load PR^D and amplitudes g / sqrt(PR^D).

        `effective_rank` is PR^D, in units of N, and `overlap` is rho. Raises `ValueError` also for an effective rank
        that is not positive.
        """
        g, effective_rank = _numbers(g=g, effective_rank=effective_rank)
        require("effective_rank", effective_rank, positive, "a finite number > 0")
        return cls.flat(g / jnp.sqrt(effective_rank), load=effective_rank, overlap=overlap)

    @classmethod
    def exponential(
        cls,
        scale: Float[ArrayLike, ""],
        power: Float[ArrayLike, ""] = 1.0,
        amplitude: Float[ArrayLike, ""] = 1.0,
        load: Float[ArrayLike, ""] = 1.0,
        overlap: Float[ArrayLike, ""] = 0.0,
        nodes: int = 64,
    ) -> "RandomModes":
        """D_a = amplitude exp(-(a / (scale P))^power), a = 1..P, as `nodes` Gauss-Legendre nodes in a / P.

        Raises `ValueError` also for a scale or power that is not positive.
        """
        scale, power, amplitude = _numbers(scale=scale, power=power, amplitude=amplitude)
        require("scale", scale, positive, "a finite number > 0")
        require("power", power, positive, "a finite number > 0")
        points, weights = np.polynomial.legendre.leggauss(nodes)
        x = jnp.asarray((points + 1) / 2, dtype=scale.dtype)
        amplitudes = amplitude * jnp.exp(-((x / scale) ** power))
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
        """A `fraction` of the modes with amplitude `high`, the others with `low`.

        Raises `ValueError` also for a fraction outside [0, 1].
        """
        high, low, fraction = _numbers(high=high, low=low, fraction=fraction)
        require("fraction", fraction, lambda f: (f >= 0) & (f <= 1), "a number in [0, 1]")
        amplitudes = jnp.stack([high, low])
        return cls(amplitudes, jnp.stack([fraction, 1 - fraction]), load=load, overlap=overlap)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        dtype = self.amplitudes.dtype if dtype is None else dtype
        columns, modes = number_of_modes(n, self.load, max_modes)
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

    def blocks(self, t12, t21, p, *, physical=False):
        dtype = t21.dtype
        amplitudes, weights = self.amplitudes.astype(dtype), (self.load * self.weights).astype(dtype)
        modal = self.overlap.astype(dtype) * amplitudes
        delta = (1 - modal * t12) * (1 - modal * t21) - amplitudes**2 * as_complex(p)
        s12 = jnp.sum(weights * modal * (1 - modal * t12) / delta)
        s21 = jnp.sum(weights * modal * (1 - modal * t21) / delta)
        return s12, s21, jnp.sum(weights * amplitudes**2 / delta)

    def four_point(self, s1, s2):
        amplitudes, weights = self.amplitudes.astype(s1.dtype), (self.load * self.weights).astype(s1.dtype)
        modal, power = self.overlap.astype(s1.dtype) * amplitudes, amplitudes**2
        sig1, sig2 = 1 / (1 - modal * s1), 1 / (1 - modal * s2)
        conj1, conj2 = jnp.conj(sig1), jnp.conj(sig2)
        return FourPoint(
            kappa=jnp.sum(weights * power * conj1 * sig2),
            T=jnp.sum(weights * modal**2 * sig1 * sig2),
            u1=jnp.sum(weights * modal * power * sig1 * conj1 * sig2),
            u2=jnp.sum(weights * modal * power * sig2 * conj2 * sig1),
            b=jnp.sum(weights * power**2 * sig1 * conj1 * sig2 * conj2),
        )

    def variance(self):
        return self.load * jnp.sum(self.weights * self.amplitudes**2)

    def fourth_cumulant(self):
        return self.load * jnp.sum(self.weights * self.amplitudes**4)

    def _in_one_unit(self):
        return eqx.tree_at(lambda e: e.amplitudes, self, self.amplitudes / binary_scale(self.amplitudes))

    def rank_fraction(self):
        return self.load * jnp.sum(jnp.where(self.amplitudes != 0, self.weights, 0))

    def poles(self):
        modal = self.overlap * self.amplitudes
        # Silent modes have no pole: the pole of the strongest mode takes its place.
        return as_complex(jnp.where(self.amplitudes != 0, modal, modal[jnp.argmax(jnp.abs(self.amplitudes))]))

    def site(self, certain=False):
        if not may_vanish(self.overlap, certain):
            return None
        return Site(self.variance() * vanishes(self.overlap), None)

    def feedback(self, angles=32):
        if may_vanish(self.overlap, certain=True):
            return no_feedback(self.variance())
        zero = jnp.zeros_like(self.load)
        poles = self.overlap.astype(self.amplitudes.dtype) * self.amplitudes
        return Feedback(zero, zero, self.load * self.weights, poles, self.amplitudes**2)

    def stored(self, count):
        if not self.is_symmetric() or self.amplitudes.shape != (1,):
            return None
        return Stored(self.overlap[0] * self.amplitudes[0] * jnp.eye(count, dtype=self.amplitudes.dtype), False)

    def is_symmetric(self):
        return is_concrete(self.overlap) and bool(np.all(np.abs(np.asarray(self.overlap)) == 1))


def _numbers(**named: ArrayLike) -> list[Float[Array, ""]]:
    """Finite numbers in the highest precision among them."""
    numbers = {name: scalar(name, value) for name, value in named.items()}
    for name, number in numbers.items():
        require(name, number, np.isfinite, "a finite number")
    dtype = np.result_type(*(number.dtype for number in numbers.values()))
    return [number if number.dtype == dtype else number.astype(dtype) for number in numbers.values()]


class DeepHebbian(Ensemble):
    r"""Hebbian couplings that store a sequence of random patterns through a wide synaptic window.

    $$ J_{ij} = \frac1N \sum_\mu \Big[ c\, \xi_i^\mu \xi_j^\mu + \sum_{r=1}^d \gamma_r\, \xi_i^{\mu+r} \xi_j^\mu
       \Big], \qquad \lambda(\theta) = c + \sum_r \gamma_r e^{-ir\theta} $$

    with h = alpha <|lambda|^2 / Delta>, s_12 = alpha <lambda (1 - conj(lambda) T_12) / Delta> and
    Delta = (1 - conj(lambda) T_12)(1 - lambda T_21) - |lambda|^2 T_11 T_22, averaged over the angle theta.

    `load` is alpha = P / N, `auto` is c, and `hetero` is the profile gamma_1..gamma_d. `patterns` are "binary" (+-1) or
    "gaussian". `ring` closes the sequence; an open chain has the same limit. `symmetric` couples each pattern to its d
    predecessors as well, lambda = c + 2 sum_r gamma_r cos(r theta). On a ring of P <= d patterns (2 d if symmetric)
    shifts fold onto each other; at any P the spectrum of the core is lambda at theta = 2 pi mu / P. Averages over
    angles lose digits next to z = 0 if a symmetric lambda passes 0: theory is NaN within some .002 of the support.
    Raises `ValueError` for a load that is not positive, an empty profile and unknown patterns.
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
        self.auto = scalar("auto", auto, known_array)
        self.hetero = vector("hetero", hetero, known_array)
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
        require_key("key", key)
        dtype = self.load.dtype if dtype is None else dtype
        columns, modes = number_of_modes(n, self.load, max_modes)
        draw = jax.random.rademacher if self.patterns == "binary" else jax.random.normal
        xi = draw(key, (n, columns), dtype) * (jnp.arange(columns) < modes)[None].astype(dtype)
        core = operators.Shifts(
            self.auto.astype(dtype), self.hetero.astype(dtype), modes, ring=self.ring, symmetric=self.symmetric
        )
        return operators.Modes(xi, xi, core)

    def blocks(self, t12, t21, p, *, physical=False):
        alpha = self.load.astype(t21.dtype)
        lam, conj = (coefficients.astype(t21.dtype) for coefficients in self._core())
        # |lambda|^2, from w^{-2d} to w^{2d}. Powers |k| > d vanish unless the variant is symmetric.
        power = laurent_product(lam, conj)
        d = lam.shape[0] // 2
        one = jnp.zeros_like(power).at[2 * d].set(1)
        lam, conj = (jnp.pad(coefficients, d) for coefficients in (lam, conj))
        delta = one - t12 * conj - t21 * lam + (t12 * t21 - as_complex(p)) * power
        if not self.symmetric:
            lam, conj, power, delta = (x[d : 3 * d + 1] for x in (lam, conj, power, delta))
        if physical:
            moments = _moments_of_real(delta)
        else:
            moments = reciprocal_moments(delta)
        h, s12, s21 = (jnp.sum(coefficients * moments) for coefficients in (power, lam, conj))
        found = alpha * (s12 - t12 * h), alpha * (s21 - t21 * h), alpha * h
        return self._real_blocks(t21, p, found) if physical and self.symmetric else found

    def _real_blocks(self, t, p, of_both):
        """`blocks` at physical arguments where lambda is real: averages over 1 - a lambda alone.

        Delta = |1 - a lambda|^2 with Im a = +-sqrt((Im t)^2 - p) has the roots of both factors. Where lambda passes 1/a
        they lie so close to the circle that half of the digits are lost, and `of_both` has none. It is right where a is
        real: there is no support then.
        """
        c = self._core()[0].astype(t.dtype)
        d = c.shape[0] // 2
        square = t.imag**2 - p
        depth = jnp.sqrt(jnp.where(square > 0, square, 1)) * jnp.where(t.imag < 0, -1, 1).astype(square.dtype)
        apart = (square > 0) & (jnp.abs(depth) > _REAL * jnp.abs(t.real))
        a = jax.lax.complex(t.real, jnp.where(apart, depth, 1))
        mean = jnp.sum(c * reciprocal_moments((-a * c).at[d].add(1), doublings=_DOUBLINGS))  # <lambda / (1 - a lambda)>
        h = self.load * mean.imag / a.imag
        # The difference of both factors is 2i Im a.
        r = self.load.astype(t.dtype) * ((a - jnp.conj(t)) * mean - (jnp.conj(a) - jnp.conj(t)) * jnp.conj(mean))
        r = r / jax.lax.complex(jnp.zeros_like(a.imag), 2 * a.imag)
        # A root of 1 - a lambda on the circle comes no closer to it than this, since lambda has no steeper slope.
        steepest = jnp.sum(jnp.abs(c.real) * jnp.abs(jnp.arange(-d, d + 1)).astype(c.real.dtype))
        known = jnp.abs(a.imag) > _CLOSEST * steepest * square_modulus(a)
        r, h = jnp.where(known, r, jnp.nan), jnp.where(known, h, jnp.nan)
        return tuple(jnp.where(apart, x, y) for x, y in zip((r, jnp.conj(r), as_complex(h)), of_both, strict=True))

    def four_point(self, s1, s2):
        alpha = self.load.astype(s1.dtype)
        lam, conj = (coefficients.astype(s1.dtype) for coefficients in self._core())
        d = lam.shape[0] // 2
        one = jnp.zeros_like(lam).at[d].set(1)
        a1, a2 = one - s1 * lam, one - s2 * lam  # 1 / sigma_k, and their conjugates
        b1, b2 = one - jnp.conj(s1) * conj, one - jnp.conj(s2) * conj

        # From w^{-4d} to w^{4d}. Powers |k| > 2d vanish unless the variant is symmetric.
        def product(*factors):
            coefficients = functools.reduce(laurent_product, factors)
            return coefficients if self.symmetric else coefficients[2 * d : 6 * d + 1]

        # The denominator |a_1 a_2|^2 is positive on the circle wherever S_k lie, though 1 / sigma_k may wind around 0.
        # Rounding errors are the machine precision over the least value of the denominator.
        moments = _moments_of_real(product(a1, b1, a2, b2))
        numerators = [(lam, conj, a1, b2), (lam, lam, b1, b2), (lam, lam, conj, b2), (lam, lam, conj, b1)]
        numerators.append((lam, conj, lam, conj))
        return FourPoint(*(alpha * jnp.sum(product(*factors) * moments) for factors in numerators))

    def variance(self):
        lam, _ = self._core()
        return self.load * jnp.sum(lam**2)

    def fourth_cumulant(self):
        return self.load * jnp.sum(laurent_product(*self._core()) ** 2)

    def _in_one_unit(self):
        scale = binary_scale(self._core()[0])
        return eqx.tree_at(lambda e: (e.auto, e.hetero), self, (self.auto / scale[0], self.hetero / scale))

    def rank_fraction(self):
        lam, _ = self._core()
        return jnp.where(jnp.any(lam != 0), self.load, 0)

    def poles(self):
        lam, _ = self._core()
        d = lam.shape[0] // 2
        theta = 2 * np.pi * np.arange(CURVE_POINTS) / CURVE_POINTS
        waves = jnp.asarray(np.exp(1j * np.outer(theta, np.arange(-d, d + 1))))
        lam = as_complex(lam)
        return waves.astype(lam.dtype) @ lam

    def pole_curves(self):
        return self.poles()[None]

    def padded(self):
        """Shifts of strength 0 fill the window up to a power of two."""
        d = self.hetero.shape[0]
        missing = 2 ** (d - 1).bit_length() - d
        if missing == 0 or not is_concrete(self.hetero):
            return self
        return eqx.tree_at(lambda e: e.hetero, self, np.append(self.hetero, np.zeros(missing, self.hetero.dtype)))

    def site(self, certain=False):
        is_shift = self.hetero.shape == (1,) and not self.symmetric and may_vanish(self.auto, certain)
        if not is_shift:
            return None
        echo = self.hetero[0] ** 2 * vanishes(self.auto)
        return Site(self.load * echo, echo)

    def feedback(self, angles=32):
        zero = jnp.zeros_like(self.load)
        if may_vanish(self.hetero, certain=True):
            return Feedback(zero, zero, self.load[None], self.auto[None], self.auto[None] ** 2)
        d = self.hetero.shape[0]
        # Midpoints of equal steps, which with their mirror images are a rule on the whole circle.
        theta = np.pi * (np.arange(angles) + 0.5) / angles
        phases = np.exp(-1j * theta[:, None] * np.arange(1, d + 1))
        hetero = as_complex(jnp.asarray(self.hetero))
        poles = jnp.asarray(phases.astype(hetero.dtype)) @ hetero + as_complex(jnp.asarray(self.auto))
        poles = 2 * poles.real - self.auto if self.symmetric else poles
        weights = jnp.full(angles, self.load / angles, zero.dtype)
        return Feedback(zero, zero, weights, poles, jnp.real(poles * jnp.conj(poles)))

    def stored(self, count):
        core = operators.Shifts(
            jnp.asarray(self.auto), jnp.asarray(self.hetero), jnp.asarray(count), ring=False, symmetric=self.symmetric
        )
        return Stored(core @ jnp.eye(count, dtype=self.load.dtype), self.patterns == "binary")

    def is_symmetric(self):
        return self.symmetric or (is_concrete(self.hetero) and not np.any(np.asarray(self.hetero)))

    def _core(self):
        """Laurent coefficients of lambda and of its conjugate in w = exp(i theta), from w^{-d} to w^d."""
        forward = self.hetero if self.symmetric else jnp.zeros_like(self.hetero)
        lam = jnp.concatenate([self.hetero[::-1], self.auto[None], forward])
        return lam, lam[::-1]


# With 22 doublings averages are right to 1e-12 at roots as near as 7e-6, and more did not help: densities of symmetric
# cores whose lambda passes 0 are right down to |z| = .002 of the support. A smaller part of |a| than this is rounding.
_DOUBLINGS, _REAL = 22, 1e-6
# Where a root may be closer to the circle than this, averages are NaN: for the three windows that were tried they are
# right to three digits down to there, and wrong by up to factors below.
_CLOSEST = 1e-7


def _moments_of_real(denominator: Complex[Array, " 2*d+1"]) -> Complex[Array, " 2*d+1"]:
    """`reciprocal_moments` of a Laurent polynomial that is real on the circle."""
    half = reciprocal_moments_real(denominator[denominator.shape[0] // 2 :])
    return jnp.concatenate([jnp.conj(half[:0:-1]), half])


class LowRank(Ensemble):
    r"""K random modes, however large N: a part of finite rank.

    $$ J = U V^T / N, \qquad V = U O^T + \sigma W, \qquad E[v_{ik} u_{il}] = O_{kl}, \qquad S(T) = 0 $$

    with U and W (N, K) Gaussian of unit variance. `overlaps` is O, a number for K = 1, and `noise` is sigma. The modes
    leave the bulk of the spectrum as it is and add outliers. Without a bulk these lie at the eigenvalues of O, up to
    fluctuations of order 1 / sqrt(N).

    `uniform` makes the first column of U constant, all ones. Then column 0 of O holds the means of V, and J has the
    mean O_00 / N: J_ij = J_0 / N is LowRank(J_0, noise=0, uniform=True). Loadings may have means: (a + s u)(b + c u +
    w)^T / N has U = (1, u) and O = (a, s)(b, c)^T. Uniform parts of a sum share the constant column, so that they are
    not independent.

    Raises `ValueError` if O is not square or not finite, or sigma is negative.
    Source: Tao 2013; Mastrogiuseppe & Ostojic 2018.
    """

    overlaps: Float[Array, "K K"]
    noise: Float[Array, ""]
    uniform: bool = eqx.field(static=True)

    def __init__(
        self,
        overlaps: Float[ArrayLike, "K K"] | Float[ArrayLike, ""],
        noise: Float[ArrayLike, ""] = 1.0,
        uniform: bool = False,
    ):
        overlaps = real_array("overlaps", overlaps)
        self.overlaps = overlaps[None, None] if overlaps.ndim == 0 else overlaps
        self.noise = scalar("noise", noise)
        self.uniform = uniform

    def __check_init__(self):
        if self.overlaps.ndim != 2 or self.overlaps.shape[0] != self.overlaps.shape[1]:
            raise ValueError(f"`overlaps` must be a number or a square matrix, got shape {self.overlaps.shape}")
        require("overlaps", self.overlaps, np.isfinite, "finite numbers")
        require("noise", self.noise, nonnegative, "a finite number >= 0")

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        require_whole("n", n)
        dtype = self.overlaps.dtype if dtype is None else dtype
        u, w = jax.random.normal(key, (2, n, self.overlaps.shape[0]), dtype)
        u = u.at[:, 0].set(1) if self.uniform else u
        v = u @ self.overlaps.T.astype(dtype) + self.noise.astype(dtype) * w
        return operators.Modes(u, v, operators.Diagonal(jnp.ones(u.shape[1], dtype)))

    def blocks(self, t12, t21, p, *, physical=False):
        zero = jnp.zeros_like(t21)
        return zero, zero, zero

    def four_point(self, s1, s2):
        zero = jnp.zeros_like(s1)
        return FourPoint(zero, zero, zero, zero, zero)

    def variance(self):
        return jnp.zeros((), self.overlaps.dtype)

    def fourth_cumulant(self):
        return jnp.zeros((), self.overlaps.dtype)

    def rank_fraction(self):
        return jnp.zeros((), self.overlaps.dtype)

    def poles(self):
        return no_pole(self.overlaps)

    def finite_rank(self):
        K = self.overlaps.shape[0]
        constant = tuple(self.uniform and k == 0 for k in range(K))
        return FiniteRank(self.overlaps, jnp.full(K, self.noise, self.overlaps.dtype), constant)

    def feedback(self, angles=32):
        return no_feedback(self.variance())

    def is_symmetric(self):
        return False


def number_of_modes(n: int, load: Float[Array, ""], max_modes: int | None) -> tuple[int, Array]:
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
