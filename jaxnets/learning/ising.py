r"""Ising models: exact for few spins, by belief propagation for many, with entropies at a distance from a reference.

$$ P(s) = \frac1Z \exp \Big( \sum_{i < j} J_{ij} s_i s_j + \sum_i h_i s_i \Big), \qquad s \in \{-1, 1\}^n $$

`ising_fits` finds J and h from data.

Source: Zou & Huang 2021 (arXiv 2007.08093) for the use; Mezard & Montanari 2009 for belief propagation.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import in_one_precision, positive, real_array, require, require_whole, square_matrix, vector
from .._numerics import as_program
from .._results import Result, one_line

# Spins whose 2^n configurations are summed: 2^20 rows of 20 numbers are 170 MB in double precision.
MOST = 20


class IsingState(Result, axes={"n": "spin"}):
    """Averages of an `Ising` model, made by its `exact` and `belief_propagation`.

    `log_z` is ln Z, `means` (n,) are <s_i>, `pairs` (n, n) are <s_i s_j>, and `entropy` is per spin. By belief
    propagation `pairs` are those of coupled spins, and products of means elsewhere.
    """

    log_z: Float[Array, ""]
    means: Float[Array, " n"]
    pairs: Float[Array, "n n"]
    entropy: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class EntropyCurve(Result, axes={"m": "fields"}):
    """Entropies at distances from a reference, made by `Ising.entropy_curve`.

    `distances` (m,) are parts of spins that differ on average in each of `fields` (m,) along the reference. `entropies`
    (m,) are per spin, and `residuals` (m,) the last changes of messages, of which all must have `converged`.
    """

    fields: Float[Array, " m"]
    distances: Float[Array, " m"]
    entropies: Float[Array, " m"]
    residuals: Float[Array, " m"]
    converged: Bool[Array, " m"]


class Ising(eqx.Module):
    """An Ising model with symmetric couplings `J` (n, n), whose diagonal is 0, and fields `h` (n,).

    Raises `ValueError` for couplings that are not symmetric, finite and 0 on the diagonal, and fields that do not fit.
    """

    __repr__ = one_line

    J: Float[Array, "n n"]
    h: Float[Array, " n"]

    def __init__(self, J: Float[ArrayLike, "n n"], h: Float[ArrayLike, " n"] | None = None):
        J = square_matrix("J", J)
        self.J, self.h = in_one_precision(J, vector("h", np.zeros(J.shape[0], J.dtype) if h is None else h))

    def __check_init__(self):
        n = self.J.shape[0]
        require("J", self.J, lambda J: J == J.T, "symmetric")
        require("J", self.J, lambda J: np.diagonal(J) == 0, "0 on its diagonal")
        if self.h.shape != (n,):
            raise ValueError(f"`h` must have shape ({n},), as `J` has, got {self.h.shape}")
        require("h", self.h, np.isfinite, "finite numbers")

    def exact(self) -> IsingState:
        """All averages by the sum over 2^n configurations.

        Differentiable, and valid for any couplings. Raises `ValueError` for n > 20.
        """
        self._require_few("exact")
        return _exact(self)

    def belief_propagation(
        self, *, damping: float = 0.3, tolerance: float = 1e-10, max_sweeps: int = 2000
    ) -> IsingState:
        r"""Averages in the approximation of Bethe, exact on trees.

        $$ u_{i \to j} = \mathrm{artanh} \Big[ \tanh J_{ij} \tanh \Big( h_i + \sum_{k \ne j} u_{k \to i} \Big) \Big] $$

        `damping` is the part of the old messages that is kept, and sweeps go on until no message changes by more than
        `tolerance`, at most `max_sweeps`. Valid for weak or sparse couplings: strong dense ones do not converge.
        Raises `ValueError` for numbers out of range.
        """
        require("damping", damping, lambda part: (part >= 0) & (part < 1), "a number >= 0 and < 1")
        require("tolerance", tolerance, positive, "a finite number > 0")
        require_whole("max_sweeps", max_sweeps)
        return _propagated(self, damping, tolerance, max_sweeps)

    def entropy_curve(
        self, reference: Float[ArrayLike, " n"], fields: Float[ArrayLike, " m"], *, exact: bool = False
    ) -> EntropyCurve:
        r"""The entropy at distances from a `reference` s*: of the model with further fields x s*, for x of `fields`.

        $$ P_x \propto P\, e^{x \sum_i s_i s^*_i}, \qquad d = \frac12 \Big( 1 - \frac1n \sum_i \langle s_i \rangle_x
           s^*_i \Big), \qquad s = - \frac1n \langle \ln P_x \rangle_x $$

        By belief propagation, valid where that converges, or `exact` for n <= 20. Raises `ValueError` for a reference
        that is not n numbers +-1, and fields that are not finite.
        """
        reference = vector("reference", reference).astype(self.J.dtype)
        if reference.shape != self.h.shape:
            raise ValueError(f"`reference` must have shape {self.h.shape}, got {reference.shape}")
        require("reference", reference, lambda s: (s == 1) | (s == -1), "made of +1 and -1")
        fields = vector("fields", fields).astype(self.J.dtype)
        require("fields", fields, np.isfinite, "finite numbers")
        if exact:
            self._require_few("entropy_curve")
        return _curve(self, reference, fields, exact)

    def _require_few(self, name: str) -> None:
        n = self.h.shape[0]
        if n > MOST:
            raise ValueError(f"`J` must have at most {MOST} spins for `{name}`, got {n}: use `belief_propagation`")


def all_signs(n: int) -> np.ndarray:
    """The 2^n configurations as rows of +-1, in the order of binary numbers with spin 0 as the last digit."""
    return (2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1).astype(np.int8)


@as_program
def _exact(model: Ising) -> IsingState:
    J, h = model.J, model.h
    s = jnp.asarray(all_signs(len(h))).astype(J.dtype)
    weights = ((s @ J) * s).sum(-1) / 2 + s @ h
    log_z = jax.scipy.special.logsumexp(weights)
    chances = jnp.exp(weights - log_z)
    return IsingState(
        log_z=log_z,
        means=chances @ s,
        pairs=(s * chances[:, None]).T @ s,
        entropy=(log_z - chances @ weights) / len(h),
        residual=jnp.zeros_like(log_z),
        converged=jnp.isfinite(log_z),
    )


@as_program
def _propagated(model: Ising, damping: float, tolerance: float, max_sweeps: int) -> IsingState:
    J, h = model.J, model.h
    strength = jnp.tanh(J)

    def cavities(u):
        """Total fields, and those of spin i without what comes from j; u[i, j] goes from i to j."""
        total = h + u.sum(0)
        return total, total[:, None] - u.T

    def sweep(carry):
        u, _, count = carry
        new = jnp.arctanh(strength * jnp.tanh(cavities(u)[1]))
        new = new + damping * (u - new)
        return new, jnp.max(jnp.abs(new - u)), count + 1

    unfinished = lambda carry: (carry[1] > tolerance) & (carry[2] < max_sweeps)
    u, residual, _ = jax.lax.while_loop(unfinished, sweep, (jnp.zeros_like(J), jnp.asarray(jnp.inf, J.dtype), 0))
    total, cavity = cavities(u)
    both = jnp.tanh(cavity) * jnp.tanh(cavity.T)
    log_cosh = lambda x: jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - np.log(2)
    per_spin = jnp.log(2.0).astype(J.dtype) + log_cosh(total) + (log_cosh(J) - log_cosh(u).T).sum(1)
    # Each pair twice.
    per_pair = (log_cosh(J) + jnp.log1p(strength * both)).sum() / 2
    log_z, means = per_spin.sum() - per_pair, jnp.tanh(total)
    pairs = jnp.where(J == 0, means[:, None] * means[None], (strength + both) / (1 + strength * both))
    pairs = jnp.where(jnp.eye(len(h), dtype=bool), 1, pairs)
    energy = (J * pairs).sum() / 2 + h @ means
    return IsingState(log_z, means, pairs, (log_z - energy) / len(h), residual, residual <= tolerance)


@as_program
def _curve(model: Ising, reference, fields, exact: bool) -> EntropyCurve:
    def at(x):
        tilted = eqx.tree_at(lambda model: model.h, model, model.h + x * reference)
        return _exact(tilted) if exact else _propagated(tilted, 0.3, 1e-10, 2000)

    states = jax.lax.map(at, fields) if exact else jax.vmap(at)(fields)
    distances = (1 - states.means @ reference / len(reference)) / 2
    return EntropyCurve(fields, distances, states.entropy, states.residual, states.converged)


def as_samples(name: str, samples: ArrayLike) -> Float[np.ndarray, "M n"]:
    """Rows of +-1."""
    s = np.asarray(real_array(name, samples))
    if s.ndim != 2 or 0 in s.shape:
        raise ValueError(f"`{name}` must have shape (M, n) with M, n >= 1, got {s.shape}")
    require(name, s, lambda s: (s == 1) | (s == -1), "made of +1 and -1 (`binarise` makes them of a recording)")
    return s
