r"""What theory asks of the parts of an ensemble: what one unit sees of it, and its modes of finite rank.

Theory never asks for the class of an ensemble. It calls `Ensemble.parts`, `site`, `finite_rank`, `bulk` and
`singular_law`, which a sum or any other composite answers from its parts.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from .._laws import Discrete
from .._results import one_line


class Moments(NamedTuple):
    """Mean and variance of each single weight."""

    mean: Float[Array, "m n"]
    variance: Float[Array, "m n"]


class Site(eqx.Module):
    r"""What one unit sees of an ensemble without memory kernel: r = 0 and kappa(t) = strength / (1 - echo |t|^2).

    The field on a unit has the spectrum kappa(S(w)) C^phi(w) and feeds back through r(S(w)), S(w) = beta / (1 + i w).
    So the autocovariance obeys

    $$ C'' = (1 - a \beta^2)\, C - g^2\, C^\phi(C) $$

    with g^2 the `strength` and a the `echo`. Independent weights, random modes without overlap, singular modes and
    sums of these have no echo (None). The shift of a sequence, lambda = gamma e^{-i theta}, has a = gamma^2 and
    g^2 = load gamma^2.
    """

    __repr__ = one_line

    strength: Float[Array, ""]
    echo: Float[Array, ""] | None

    @property
    def total(self) -> Float[Array, ""]:
        """g^2 + a: the square of the right edge of J."""
        return self.strength if self.echo is None else self.strength + self.echo

    def decay(self, beta: Float[Array, ""]) -> Float[Array, ""]:
        """k = 1 - a beta^2."""
        return jnp.ones_like(beta) if self.echo is None else 1 - self.echo * beta**2


def sum_of_sites(parts: list[tuple[float | Float[Array, ""], Site | None]]) -> Site | None:
    """The site of a sum of parts, each multiplied by its factor; None with a memory kernel, or an echo of only a part.

    A shift and another ensemble have a kappa that is a sum of different fractions: no energy in C alone is conserved.
    """
    strengths = [factor**2 * site.strength for factor, site in parts if site is not None]
    echoes = [factor**2 * site.echo for factor, site in parts if site is not None and site.echo is not None]
    if len(strengths) < len(parts) or (echoes and len(parts) > 1):
        return None
    return Site(jnp.sum(jnp.stack(strengths)), jnp.sum(jnp.stack(echoes)) if echoes else None)


class Feedback(eqx.Module):
    r"""r and kappa as sums of fractions, which say what they are of operators in time.

    $$ r(t) = a\, t + \sum_k w_k \frac{\lambda_k}{1 - \lambda_k t}, \qquad
       \kappa(t_1, t_2) = b + \sum_k w_k \frac{p_k}{(1 - \bar\lambda_k \bar t_1)(1 - \lambda_k t_2)} $$

    with a (`linear`), b (`white`), the `weights` w, `poles` lambda and `powers` p. Complex poles stand for their
    conjugates too: sums are real parts. Where S is the response of the rates in time, a causal operator, the field on
    a unit has the memory kernel R = r(S), and the covariance b C + sum_k w_k p_k sigma_k C sigma_k^H with C that of the
    rates and sigma_k = (1 - lambda_k S)^-1.
    """

    __repr__ = one_line

    linear: Float[Array, ""]
    white: Float[Array, ""]
    weights: Float[Array, " k"]
    poles: Inexact[Array, " k"]
    powers: Float[Array, " k"]


def no_feedback(variance: Float[Array, ""]) -> Feedback:
    """Of an ensemble whose units do not hear themselves: r = 0 and kappa = g^2."""
    none = jnp.zeros(0, variance.dtype)
    return Feedback(jnp.zeros_like(variance), variance, none, none, none)


def sum_of_feedbacks(parts: list[tuple[float | Float[Array, ""], Feedback]]) -> Feedback:
    """The feedback of a sum of parts, each multiplied by its factor q: r(t) -> q r(q t), kappa -> q^2 kappa(q t)."""
    dtype = np.result_type(*(part.weights.dtype for _, part in parts))
    poles = np.result_type(*(part.poles.dtype for _, part in parts), dtype)
    each = [(jnp.asarray(factor, dtype), part) for factor, part in parts]
    add = lambda terms: jnp.sum(jnp.stack(terms))
    return Feedback(
        add([q**2 * part.linear.astype(dtype) for q, part in each]),
        add([q**2 * part.white.astype(dtype) for q, part in each]),
        jnp.concatenate([part.weights.astype(dtype) for _, part in each]),
        jnp.concatenate([(q.astype(part.poles.dtype) * part.poles).astype(poles) for q, part in each]),
        jnp.concatenate([q**2 * part.powers.astype(dtype) for q, part in each]),
    )


class Stored(eqx.Module):
    r"""Patterns that couplings store, a few of them next to each other: sum_mn K_mn xi^m xi^n / N with the `core` K.

    They are +-1 if `binary`, else normal numbers.
    """

    __repr__ = one_line

    core: Float[Array, "P P"]
    binary: bool = eqx.field(static=True)


class Quartic(eqx.Module):
    r"""What modes add to sums over pairs of units: products of four averages over units, x and y of rows.

    $$ \sum_m w_m \langle l_m x \rangle \langle l_m y \rangle \langle c_m z \rangle \langle c_m u \rangle $$

    `weights` are w, `rows` and `columns` are l and c of each type. An ensemble that treats all types alike has one m,
    l = c = 1, and w the fourth cumulant.
    """

    weights: Float[Array, " m"]
    rows: Float[Array, "m K"]
    columns: Float[Array, "m K"]


class TypedRank(eqx.Module):
    """R modes of finite rank with types: means of x (`rows`) and y (`columns`) in each, and <y_k x_l> (`overlaps`)."""

    rows: Float[Array, "R K"]
    columns: Float[Array, "R K"]
    overlaps: Float[Array, "K R R"]


def side_by_side(parts: list[TypedRank]) -> TypedRank:
    """The modes of independent parts: overlaps between parts are products of means."""
    rows, columns = (jnp.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "columns"))
    overlaps, start = columns.T[:, :, None] * rows.T[:, None], 0
    for part in parts:
        end = start + part.rows.shape[0]
        overlaps = overlaps.at[:, start:end, start:end].set(part.overlaps)
        start = end
    return TypedRank(rows, columns, overlaps)


class FiniteRank(eqx.Module):
    r"""Modes of finite rank K: U V^T / N with V = U O^T + W diag(noise), O the `overlaps`.

    U and W (N, K) are Gaussian of unit variance. Columns of U for which `constant` is True are all ones, the same for
    all parts of an ensemble.
    """

    __repr__ = one_line

    overlaps: Float[Array, "K K"]
    noise: Float[Array, " K"]
    constant: tuple[bool, ...] = eqx.field(static=True)

    @property
    def rank(self) -> int:
        """K."""
        return len(self.constant)

    @property
    def uniform(self) -> Float[Array, " K"]:
        """1 for constant columns of U, else 0."""
        return jnp.asarray(self.constant, self.overlaps.dtype)

    def joint_overlaps(self) -> Float[Array, "k k"]:
        """E^T O E, with the constant columns as one: E says which distinct column of U each column is."""
        column = np.where(np.asarray(self.constant, bool), -1, np.arange(self.rank))
        E = jnp.asarray(column[:, None] == np.unique(column)[None], self.overlaps.dtype)
        return E.T @ self.overlaps @ E


def no_quartic(num_types: int, dtype: jnp.dtype) -> Quartic:
    """The part of modes in covariances, of an ensemble without modes."""
    none = jnp.zeros((0, num_types), dtype)
    return Quartic(none[:, 0], none, none)


def no_modes(dtype: jnp.dtype) -> FiniteRank:
    """Rank 0."""
    return FiniteRank(jnp.zeros((0, 0), dtype), jnp.zeros(0, dtype), ())


def joined(parts: list[tuple[float | Float[Array, ""], FiniteRank]]) -> FiniteRank:
    """The modes of independent parts, at least one, each multiplied by its factor."""
    if len(parts) == 1:  # most ensembles: without the small operations below, which take longer than some solvers
        ((factor, modes),) = parts
        if isinstance(factor, float) and factor == 1:
            return modes
        return FiniteRank(factor * modes.overlaps, factor * modes.noise, modes.constant)
    from jax.scipy.linalg import block_diag  # here, as it takes long to import

    overlaps = block_diag(*(factor * modes.overlaps for factor, modes in parts))
    noise = jnp.concatenate([factor * modes.noise for factor, modes in parts])
    return FiniteRank(overlaps, noise, tuple(column for _, modes in parts for column in modes.constant))


# --- laws of singular values


def inverse_square(law: Discrete) -> Float[Array, ""]:
    """1 / <s^-2>, 0 if some s is 0."""
    positive = law.values > 0
    inverse = jnp.sum(law.weights / jnp.where(positive, law.values, 1) ** 2)
    return jnp.where(jnp.all(positive | (law.weights == 0)), 1 / inverse, 0)


def scaled_law(factor: float | Float[Array, ""], law: Any) -> Any:
    """The law of |factor| s."""
    if isinstance(law, Discrete):
        return Discrete(jnp.abs(factor * law.values), law.weights)
    return law.scaled(factor)
