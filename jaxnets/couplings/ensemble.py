r"""Ensembles of random couplings: each can be sampled, and knows its R-transform.

A 2x2 matrix T (the Hermitised Green's function; index 1 = left, 2 = right) enters every R-transform here in one way,

$$ S(T) = \begin{pmatrix} T_{22}\, h & s_{12} \\ s_{21} & T_{11}\, h \end{pmatrix}, \qquad
   (s_{12}, s_{21}, h) = \mathtt{blocks}(T_{12}, T_{21}, T_{11} T_{22}). $$

On physical arguments T_12 = conj T_21 and T_11 T_22 = -u <= 0. Theory of one unit needs only these three scalars:
r(t) = s_12 and kappa(t) = h at T_21 = t, T_11 T_22 = 0. Theory of pairs of units needs `four_point` as well.
R-transforms of independent ensembles add, and q J has S(T) -> q S(q T). To add an ensemble, write one final subclass
of `Ensemble`; `docs/new_ensemble.md` shows one.

Conventions: J_ij is the weight from j to i, variance g^2 / N, diagonal kept, P = load N modes. Every float field may
be traced. A traced value is not checked, and a traced load needs a bound on the number of modes (`max_modes`).
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact, PRNGKeyArray

from .._arguments import complex_array, require, require_key, scalar
from .._numerics import as_complex, is_concrete
from .._results import one_line
from . import operators
from .parts import (
    Feedback,
    FiniteRank,
    Moments,
    Quartic,
    Site,
    Stored,
    TypedRank,
    joined,
    no_feedback,
    no_modes,
    scaled_law,
    side_by_side,
    sum_of_feedbacks,
    sum_of_sites,
)

# Points on a curve of poles. With d + 1 equal strengths lambda is 0 at multiples of 2 pi / (d + 1): 120 points contain
# these zeros for d + 1 = 2 to 6, 8, 10, 12.
CURVE_POINTS = 120


class FourPoint(eqx.Module):
    r"""The averages over modes in products of four propagators; sigma_k = 1/(1 - rho lambda S_k).

    $$ \kappa = \alpha \langle |\lambda|^2 \bar\sigma_1 \sigma_2 \rangle, \quad
       T = \alpha \langle \rho^2 \lambda^2 \sigma_1 \sigma_2 \rangle, \quad
       u_1 = \alpha \langle \rho \lambda |\lambda|^2 |\sigma_1|^2 \sigma_2 \rangle, \quad
       u_2 = \alpha \langle \rho \lambda |\lambda|^2 |\sigma_2|^2 \sigma_1 \rangle, \quad
       b = \alpha \langle |\lambda|^4 |\sigma_1 \sigma_2|^2 \rangle $$

    Source: derived here; for modes without overlaps, Clark et al. 2024 (arXiv 2409.01969).
    """

    kappa: Complex[Array, ""]
    T: Complex[Array, ""]
    u1: Complex[Array, ""]
    u2: Complex[Array, ""]
    b: Complex[Array, ""]


class Part(NamedTuple):
    """An independent part of an ensemble: `factor` times `ensemble`, the factor 1.0 where nothing multiplies it.

    Made by `Ensemble.parts`. Source: as `Ensemble`.
    """

    factor: float | Float[Array, ""]
    ensemble: "Ensemble"


class Ensemble(eqx.Module):
    """A law of random n x n couplings: what to sample at finite n, and one function for n -> infinity.

    Ensembles that are independent add, and scale by real numbers. Source: Jarosz & Nowak 2006 for the R-transform.
    """

    __repr__ = one_line

    @abc.abstractmethod
    def sample(
        self, n: int, *, key: PRNGKeyArray, dtype: Any = None, max_modes: int | None = None
    ) -> operators.Operator:
        """One network of n units, as an operator; `vmap` over keys gives a batch.

        `max_modes` bounds the number of modes and is needed only where the load is traced: arrays then have so many
        columns, and columns beyond `load n` are silent. Raises `ValueError` for n < 1, for less than one mode, and for
        a bound that is too small, or missing.
        """

    @abc.abstractmethod
    def blocks(
        self, t12: Complex[Array, ""], t21: Complex[Array, ""], p: Inexact[Array, ""], *, physical: bool = False
    ) -> tuple[Complex[Array, ""], Complex[Array, ""], Complex[Array, ""]]:
        """(s_12, s_21, h) of the R-transform, as functions of T_12, T_21 and p = T_11 T_22.

        `physical` promises T_12 = conj T_21 and a real p <= 0, as all theory of one network has them: then s_21 =
        conj s_12 and h is real, which may save work.
        """

    @abc.abstractmethod
    def four_point(self, s1: Complex[Array, ""], s2: Complex[Array, ""]) -> FourPoint:
        """What four-point functions need beside r and kappa, at dressed responses S_1 and S_2 of one dtype.

        Additive over sums of independent ensembles. Infinite where rho lambda S_k = 1.
        """

    @abc.abstractmethod
    def variance(self) -> Float[Array, ""]:
        """g^2 = N Var J_ij, the mean over all pairs of units if they have types."""

    def type_fractions(self) -> Float[Array, " K"]:
        """The fractions f_a of the units that each type has; one type of all units, for most ensembles."""
        # Nothing is computed, as theory asks this of every ensemble before it starts.
        return jax.device_put(np.ones(1, jax.eval_shape(self.variance).dtype))

    def block_means(self) -> Float[Array, "K K"]:
        """N E J_ij from type b to type a, for ensembles with types; 0 for most.

        A mean of all couplings of an ensemble of one type is a mode of `finite_rank`.
        """
        num_types = self.type_fractions().shape[0]
        return jax.device_put(np.zeros((num_types, num_types), jax.eval_shape(self.variance).dtype))

    def single_weights(self) -> Moments | None:
        """Mean and variance of each single weight where the means have so many modes that they shape the bulk."""
        return None

    def field(
        self,
        t12: Complex[Array, " K"],
        t21: Complex[Array, " K"],
        t11: Inexact[Array, " K"],
        t22: Inexact[Array, " K"],
        fractions: Float[Array, " K"],
        *,
        physical: bool = False,
    ) -> tuple[Complex[Array, " K"], Complex[Array, " K"], Inexact[Array, " K"], Inexact[Array, " K"]]:
        r"""(s_12, s_21, s_11, s_22) of the R-transform that each of K types sees, where type b has T_b.

        An ensemble without types sees the mean over them, S(sum_b f_b T_b), and is seen alike by all. `fractions` are
        the f_b. Here
        s_11 = S_11 belongs to T_22 and s_22 to T_11. `physical` promises T_12 = conj T_21 and real T_11 T_22 <= 0.
        """
        f12, f11 = fractions.astype(t12.dtype), fractions.astype(t11.dtype)
        mean11, mean22 = jnp.sum(f11 * t11), jnp.sum(f11 * t22)
        s12, s21, h = self.blocks(jnp.sum(f12 * t12), jnp.sum(f12 * t21), mean11 * mean22, physical=physical)
        h = h.real if jnp.isrealobj(t11) else h
        same = jnp.ones_like(t21)
        return s12 * same, s21 * same, h * mean22 * jnp.ones_like(t22), h * mean11 * jnp.ones_like(t11)

    @abc.abstractmethod
    def fourth_cumulant(self) -> Float[Array, ""]:
        """alpha <|lambda|^4>: what the modes add to <s^4> = 2 g^4 of independent weights; additive over sums."""

    def quartic(self, num_types: int) -> Quartic:
        """The fourth cumulant by the types of units, of which there are `num_types`."""
        power = self.fourth_cumulant()
        ones = jnp.ones((1, num_types), power.dtype)
        return Quartic(power[None], ones, ones)

    def typed_rank(self, num_types: int) -> TypedRank:
        """Modes of finite rank beside block means, whose vectors depend on `num_types` types; none for most."""
        none = jnp.zeros((0, num_types), jax.eval_shape(self.variance).dtype)
        return TypedRank(none, none, jnp.zeros((num_types, 0, 0), none.dtype))

    @abc.abstractmethod
    def rank_fraction(self) -> Float[Array, ""]:
        """rank(J) / N for N -> infinity, before it is cut at 1; additive over sums."""

    @abc.abstractmethod
    def poles(self) -> Complex[Array, " k"]:
        """The points 1/t where r(t) and kappa(t) diverge; 0 if they diverge nowhere.

        A sample of points, if they fill a curve. Every component of the support of the spectrum grows from some of
        them, so they seed its search.
        """

    def pole_curves(self) -> Complex[Array, "c k"]:
        """The closed curves that the poles fill, none for most ensembles: each k points at equal steps of an angle.

        Poles on one curve belong to one component of the support, however thin the support is between them.
        """
        return as_complex(jnp.zeros((0, CURVE_POINTS), self.variance().dtype))

    @abc.abstractmethod
    def is_symmetric(self) -> bool:
        """True if every sample has J = J^T; a traced parameter is never taken to make it so."""

    def is_memoryless(self) -> bool:
        """True if r(t) = 0 and kappa(t) = g^2 at every t, whatever the parameters: units do not hear themselves.

        Mean field then solves one differential equation, where it else samples paths. False is right for any ensemble.
        """
        return False

    def parts(self) -> tuple[Part, ...]:
        """The independent parts, each with the factor that multiplies it; one part, itself, if it is not composite.

        Theory reads a composite ensemble through its parts. A class of yours that holds other ensembles returns
        theirs, as in `return (self.a + 0.5 * self.b).parts()`.
        """
        return (Part(1.0, self),)

    def padded(self) -> "Ensemble":
        """The same law with arrays filled up to a few sizes, so that laws of other sizes share compiled programs.

        It changes no number beyond rounding. For concrete ensembles.
        """
        return self

    def site(self, certain: bool = False) -> Site | None:
        """What one unit sees of the ensemble, or None where it has a memory kernel, or an echo of only a part.

        Fields that must be 0 for there to be none (`overlap`, `symmetry`, `auto`) are taken to be 0 where they are
        traced. If they are not 0 they give NaN, and so do derivatives by them, which the theory without memory kernel
        does not have. If it must be `certain`, a traced field is taken to differ from 0.
        """
        inner = self._inner_parts()
        if not inner:
            return Site(self.variance(), None) if self.is_memoryless() else None
        return sum_of_sites([(part.factor, part.ensemble.site(certain)) for part in inner])

    def has_memory(self) -> bool:
        """Whether r may differ from 0 in any part, with traced fields read as `site` reads them."""
        return any(part.ensemble.site() is None for part in self.parts())

    def feedback(self, angles: int = 32) -> Feedback | None:
        """r and kappa as sums of fractions, which theory at two times reads; None where they are not known as such.

        An average over an angle is a sum over so many `angles` of half a circle.
        """
        inner = self._inner_parts()
        if not inner:
            return no_feedback(self.variance()) if self.is_memoryless() else None
        parts = [(part.factor, part.ensemble.feedback(angles)) for part in inner]
        known = [(factor, part) for factor, part in parts if part is not None]
        return sum_of_feedbacks(known) if len(known) == len(parts) else None

    def stored(self, count: int) -> Stored | None:
        """The couplings among `count` patterns next to each other; None if not one part alone stores patterns."""
        parts = [(part.factor, part.ensemble.stored(count)) for part in self._inner_parts()]
        found = [(factor, part) for factor, part in parts if part is not None]
        return Stored(found[0][0] * found[0][1].core, found[0][1].binary) if len(found) == 1 else None

    def finite_rank(self) -> FiniteRank:
        """All modes of finite rank, which add outliers to the spectrum and a mean to the units; of rank 0 if none."""
        parts = [(part.factor, part.ensemble.finite_rank()) for part in self._inner_parts()]
        parts = [(factor, modes) for factor, modes in parts if modes.rank > 0]
        return joined(parts) if parts else no_modes(self.variance().dtype)

    def bulk(self) -> "Ensemble | None":
        """The ensemble without its parts of finite rank, None if nothing is left."""
        rest = tuple(_times(part) for part in self.parts() if part.ensemble.finite_rank().rank == 0)
        return None if not rest else rest[0] if len(rest) == 1 else Sum(rest)

    def singular_law(self) -> Any:
        """The law of its singular values, for one part that rotations from either side leave as it is; else None.

        Only where the law is known: a `Discrete` for `SingularModes`, and a law of its own for a `Product`. Parts of
        finite rank do not count.
        """
        parts = [part for part in self._inner_parts() if part.ensemble.finite_rank().rank == 0]
        law = parts[0].ensemble.singular_law() if len(parts) == 1 else None
        return None if law is None else scaled_law(parts[0].factor, law)

    def _inner_parts(self) -> tuple[Part, ...]:
        """The parts of a composite ensemble; empty if it is not composite."""
        parts = self.parts()
        return () if len(parts) == 1 and parts[0].ensemble is self else parts

    def r_transform(self, T: Complex[ArrayLike, "2 2"]) -> Complex[Array, "2 2"]:
        r"""The 2x2 R-transform S(T) (theory: Hermitised free cumulants of J).

        $$ S(T) = \alpha \langle M \circ [\Lambda (1 - (M \circ T) \Lambda)^{-1}] \rangle_\lambda, \quad
           \Lambda = \begin{pmatrix} 0 & \lambda \\ \bar\lambda & 0 \end{pmatrix}, \quad
           M = \begin{pmatrix} 1 & \rho \\ \rho & 1 \end{pmatrix} $$

        for modes, g^2 ((T_22, s T_21), (s T_12, T_11)) for elliptic ensembles, and sums of these.
        Valid for |T| inside the radius of analyticity around 0 and on its continuation to Im T < 0. Raises `ValueError`
        if `T` is not 2 x 2.
        """
        T = complex_array("T", T)
        if T.shape != (2, 2):
            raise ValueError(f"`T` must have shape (2, 2), got {T.shape}: map over more with `jax.vmap`")
        require("T", T, np.isfinite, "finite")
        s12, s21, h = self.blocks(T[0, 1], T[1, 0], T[0, 0] * T[1, 1])
        return jnp.array([[T[1, 1] * h, s12], [s21, T[0, 0] * h]])

    def r_and_kappa(self, t: Complex[Array, ""]) -> tuple[Complex[Array, ""], Float[Array, ""]]:
        """r(t) and kappa(t) = kappa(t, t): the R-transform where the diagonal of T vanishes, T_21 = conj T_12 = t."""
        if self.is_memoryless():
            return jnp.zeros_like(t), self.variance().astype(t.real.dtype)
        r, _, kappa = self.blocks(jnp.conj(t), t, jnp.zeros_like(t.real), physical=True)
        return r, kappa.real

    def effective_rank(self) -> Float[Array, ""]:
        """PR^D = alpha <|lambda|^2>^2 / <|lambda|^4> = g^4 / fourth cumulant; infinite if that is not positive."""
        inverse = self._inverse_rank()
        positive = inverse > 0
        return jnp.where(positive, 1 / jnp.where(positive, inverse, 1), jnp.inf)

    def _inverse_rank(self) -> Float[Array, ""]:
        """1 / PR^D in any unit of couplings, though g^4 may be too small or too large for the precision; 0 if g = 0."""
        unit = self._in_one_unit()
        variance = unit.variance()
        some = jnp.where(variance > 0, variance, 1)
        return jnp.where(variance > 0, unit.fourth_cumulant() / some / some, 0)  # the square of `some` may underflow

    def _in_one_unit(self) -> "Ensemble":
        """A multiple of the ensemble with modes of order one; itself, where its cumulants need none."""
        return self

    def __add__(self, other: "Ensemble") -> "Ensemble":
        return Sum((self, other)) if isinstance(other, Ensemble) else NotImplemented

    def __mul__(self, factor: Float[ArrayLike, ""]) -> "Ensemble":
        return Scaled(factor, self) if not isinstance(factor, Ensemble) else NotImplemented

    __rmul__ = __mul__

    def __matmul__(self, other: "Ensemble") -> "Ensemble":
        from .product import Product  # which is built of ensembles

        return Product((self, other)) if isinstance(other, Ensemble) else NotImplemented

    def __neg__(self) -> "Ensemble":
        return Scaled(-1.0, self)

    def __sub__(self, other: "Ensemble") -> "Ensemble":
        return self + -other if isinstance(other, Ensemble) else NotImplemented


def _times(part: Part) -> Ensemble:
    """The part as one ensemble."""
    return part.ensemble if isinstance(part.factor, float) and part.factor == 1 else part.factor * part.ensemble


class Sum(Ensemble):
    """Independent ensembles added: J = sum_a J_a and S = sum_a S_a.

    `terms` that are sums themselves are flattened. Raises `ValueError` for terms whose units have different types, or
    the same types with different fractions. Source: as `Ensemble`.
    """

    terms: tuple[Ensemble, ...]

    def __init__(self, terms: tuple[Ensemble, ...]):
        # Nested sums are flattened, so that a finite-rank part is found wherever it was added.
        self.terms = tuple(part for term in terms for part in (term.terms if isinstance(term, Sum) else (term,)))

    def __check_init__(self):
        # Labels of units are the same for all parts, so that a unit has one type.
        typed = [f for f in (term.type_fractions() for term in self.terms) if f.shape[0] > 1]
        for other in typed[1:]:
            if other.shape != typed[0].shape or (
                is_concrete(other, typed[0]) and not np.allclose(other, typed[0], rtol=0, atol=1e-6)
            ):
                raise ValueError(f"`fractions` of added ensembles must be the same, got {typed[0]} and {other}")

    def parts(self):
        return tuple(part for term in self.terms for part in term.parts())

    def padded(self):
        return Sum(tuple(term.padded() for term in self.terms))

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        keys = jax.random.split(key, len(self.terms))
        samples = (
            term.sample(n, key=k, dtype=dtype, max_modes=max_modes) for term, k in zip(self.terms, keys, strict=True)
        )
        return operators.Sum(tuple(samples))

    def blocks(self, t12, t21, p, *, physical=False):
        s12, s21, h = zip(*(term.blocks(t12, t21, p, physical=physical) for term in self.terms), strict=True)
        return sum(s12[1:], s12[0]), sum(s21[1:], s21[0]), sum(h[1:], h[0])

    def type_fractions(self):
        typed = [f for f in (term.type_fractions() for term in self.terms) if f.shape[0] > 1]
        return typed[0] if typed else super().type_fractions()

    def block_means(self):
        size = self.type_fractions().shape[0]
        tables = [table for table in (term.block_means() for term in self.terms) if table.shape[0] == size]
        return sum(tables[1:], tables[0])

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        parts = [term.field(t12, t21, t11, t22, fractions, physical=physical) for term in self.terms]
        return jax.tree.map(lambda *values: sum(values[1:], values[0]), *parts)

    def four_point(self, s1, s2):
        parts = [term.four_point(s1, s2) for term in self.terms]
        return jax.tree.map(lambda *values: sum(values[1:], values[0]), *parts)

    def variance(self):
        return jnp.sum(jnp.stack([term.variance() for term in self.terms]))

    def fourth_cumulant(self):
        return jnp.sum(jnp.stack([term.fourth_cumulant() for term in self.terms]))

    def quartic(self, num_types):
        return jax.tree.map(lambda *a: jnp.concatenate(a), *(term.quartic(num_types) for term in self.terms))

    def typed_rank(self, num_types):
        return side_by_side([term.typed_rank(num_types) for term in self.terms])

    def rank_fraction(self):
        return jnp.sum(jnp.stack([term.rank_fraction() for term in self.terms]))

    def _inverse_rank(self):
        variances = jnp.stack([term.variance() for term in self.terms])
        total = jnp.sum(variances)
        shares = jnp.where(total > 0, variances / jnp.where(total > 0, total, 1), 0)
        return jnp.sum(shares**2 * jnp.stack([term._inverse_rank() for term in self.terms]))

    def poles(self):
        return jnp.concatenate([term.poles() for term in self.terms])

    def pole_curves(self):
        return jnp.concatenate([term.pole_curves() for term in self.terms])

    def is_symmetric(self):
        return all(term.is_symmetric() for term in self.terms)


class Scaled(Ensemble):
    """A real multiple q J: S(T) -> q S(q T).

    Raises `ValueError` if the factor is not a finite real number. Source: as `Ensemble`.
    """

    factor: Float[Array, ""]
    ensemble: Ensemble

    def __init__(self, factor: Float[ArrayLike, ""], ensemble: Ensemble):
        self.factor = scalar("factor", factor)
        self.ensemble = ensemble

    def __check_init__(self):
        require("factor", self.factor, np.isfinite, "a finite number")

    def parts(self):
        return tuple(Part(self.factor * part.factor, part.ensemble) for part in self.ensemble.parts())

    def padded(self):
        return Scaled(self.factor, self.ensemble.padded())

    def sample(self, n, *, key, dtype=None, max_modes=None):
        return self.factor * self.ensemble.sample(n, key=key, dtype=dtype, max_modes=max_modes)

    def blocks(self, t12, t21, p, *, physical=False):
        q = self.factor.astype(t21.dtype)
        p = self.factor.astype(p.dtype) ** 2 * p
        s12, s21, h = self.ensemble.blocks(q * t12, q * t21, p, physical=physical)
        return q * s12, q * s21, q**2 * h

    def type_fractions(self):
        return self.ensemble.type_fractions()

    def block_means(self):
        return self.factor * self.ensemble.block_means()

    def single_weights(self):
        found = self.ensemble.single_weights()
        return None if found is None else Moments(self.factor * found.mean, self.factor**2 * found.variance)

    def field(self, t12, t21, t11, t22, fractions, *, physical=False):
        q, k = self.factor.astype(t21.dtype), self.factor.astype(t11.dtype)
        found = self.ensemble.field(q * t12, q * t21, k * t11, k * t22, fractions, physical=physical)
        return tuple(factor * s for factor, s in zip((q, q, k, k), found, strict=True))

    def four_point(self, s1, s2):
        q = self.factor.astype(s1.dtype)
        at = self.ensemble.four_point(q * s1, q * s2)
        return FourPoint(q**2 * at.kappa, q**2 * at.T, q**3 * at.u1, q**3 * at.u2, q**4 * at.b)

    def variance(self):
        return self.factor**2 * self.ensemble.variance()

    def fourth_cumulant(self):
        return self.factor**4 * self.ensemble.fourth_cumulant()

    def quartic(self, num_types):
        inner = self.ensemble.quartic(num_types)
        return Quartic(self.factor**4 * inner.weights, inner.rows, inner.columns)

    def typed_rank(self, num_types):
        inner = self.ensemble.typed_rank(num_types)
        return TypedRank(self.factor * inner.rows, inner.columns, self.factor * inner.overlaps)

    def rank_fraction(self):
        return self.ensemble.rank_fraction() * (self.factor != 0).astype(self.factor.dtype)

    def _inverse_rank(self):
        return jnp.where(self.factor != 0, self.ensemble._inverse_rank(), 0)

    def poles(self):
        poles = self.ensemble.poles()
        return self.factor.astype(poles.dtype) * poles

    def pole_curves(self):
        curves = self.ensemble.pole_curves()
        return self.factor.astype(curves.dtype) * curves

    def is_symmetric(self):
        return self.ensemble.is_symmetric()


def no_pole(field: Array) -> Complex[Array, " 1"]:
    """`poles` of an ensemble whose r and kappa are entire, in the precision of one of its fields."""
    return as_complex(jnp.zeros(1, field.dtype))


def may_vanish(value: Float[Array, "..."], certain: bool) -> bool:
    """Whether the value is 0, or may be because it is traced, unless that must be `certain`."""
    return not np.any(np.asarray(value)) if is_concrete(value) else not certain


@jax.custom_jvp
def vanishes(value: Float[Array, "..."]) -> Float[Array, ""]:
    """1 where the value is 0, else NaN; its derivative is NaN."""
    return jnp.where(jnp.all(value == 0), 1.0, jnp.nan).astype(value.dtype)


@vanishes.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return vanishes(*primals), jnp.nan * jnp.sum(tangents[0])
