r"""Isolated eigenvalues of units with types or time constants, which block means and other modes of finite rank add.

$$ \det(1 - O\, \Theta(z)) = 0, \qquad m(z) < 1 $$

O holds the overlaps of all distinct columns of modes, and Theta is f_a t_a(z) for the indicator column of type a and
sum_a f_a t_a(z) for a random column. Block means are O_ab = M_ab between indicators, and a constant column is the sum
of all indicators. With vectors x and y that have a law in each type it is det(1 - sum_a f_a t_a <y x>_a) = 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from ..._numerics import as_complex, as_program, frozen, in_batches, is_concrete, last_steps, square_modulus
from ...couplings import Ensemble
from ...couplings.parts import FiniteRank
from ...eigen import eigenvalues
from .. import tolerances
from . import boundary, inside
from .outside import conditions, field_r
from .units import Units


class Found(NamedTuple):
    """Isolated eigenvalues, NaN where there is none, and how well their equations hold."""

    values: Complex[Array, " k"]
    converged: Bool[Array, " k"]
    residual: Float[Array, " k"]


def outliers(ensemble: Ensemble, units: Units) -> Found:
    """One value for each eigenvalue of the modes without bulk, each followed as r grows from 0 to its own size.

    Outliers of concrete laws are counted as well, and those that are missing are sought elsewhere and added.
    """
    law = ensemble, units
    found = _polished(law, _followed(law, _starts(frozen(law))))
    return _completed(law, found) if is_concrete(law) else found


def overlaps(ensemble: Ensemble, units: Units) -> tuple[Float[Array, "K R R"], Bool[np.ndarray, "R K"]]:
    """O between distinct columns for each type, and in which types each column is not 0."""
    num = units.fractions.shape[0]
    modes: FiniteRank = ensemble.finite_rank()
    constant = np.asarray(modes.constant, bool)
    random = int(np.sum(~constant))
    of = np.zeros((modes.rank, num + random))
    of[constant, :num] = 1
    of[np.flatnonzero(~constant), num + np.arange(random)] = 1
    columns = jnp.asarray(of, units.weights.dtype)
    table = columns.T @ modes.overlaps.astype(columns.dtype) @ columns
    if num > 1:  # the mean of an ensemble of one type is among its modes
        table = table.at[:num, :num].add(ensemble.block_means())
    shares = np.concatenate([np.eye(num), np.ones((random, num))])
    by_type = table[None] * jnp.asarray(shares.T, table.dtype)[:, None]
    typed = ensemble.typed_rank(num)
    if typed.rows.shape[0] == 0:
        return by_type, shares > 0
    # <y x> in each type: y of the columns above are rows of the table there, x of indicators is 1 in one type.
    seen = table[:, :num].T[:, :, None] * typed.rows.T[:, None]
    sees = jnp.zeros((num, typed.rows.shape[0], len(shares)), table.dtype)
    sees = sees.at[np.arange(num), :, np.arange(num)].set(typed.columns.T)
    by_type = jnp.concatenate(
        [jnp.concatenate([by_type, seen], axis=2), jnp.concatenate([sees, typed.overlaps], axis=2)], axis=1
    )
    return by_type, np.concatenate([shares > 0, np.ones((typed.rows.shape[0], num), bool)])


def _determinant(law, t):
    """det(1 - sum_a f_a t_a O_a)."""
    table, _ = overlaps(*law)
    weights = as_complex(law[1].fractions) * t
    among = jnp.sum(as_complex(table) * weights[:, None, None], axis=0)
    return _of_matrix(jnp.eye(len(among), dtype=t.dtype) - among)


def _of_matrix(matrix: Complex[Array, "R R"]) -> Complex[Array, ""]:
    """The determinant by products alone (Faddeev & LeVerrier): that of JAX has no derivative where it vanishes."""
    one = jnp.eye(len(matrix), dtype=matrix.dtype)
    last, power = jnp.ones((), matrix.dtype), jnp.zeros_like(matrix)
    for k in range(1, len(matrix) + 1):
        power = matrix @ power + last * one
        last = -jnp.trace(matrix @ power) / k
    return -last if len(matrix) % 2 else last


@as_program
def _reduced(law: tuple[Ensemble, Units]) -> Float[Array, "k k"]:
    """The matrix of the modes alone on the parts of their columns in each type, at mean gains and time constants."""
    ensemble, units = law
    table, present = overlaps(*law)
    column, kind = np.nonzero(present)
    gain, tau = units.fractions * units.mean(units.gains), units.mean(units.tau)
    block = table[kind[None], column[:, None], column[None]] * gain[kind][None]
    return (block - units.decay * jnp.eye(len(kind), dtype=block.dtype)) / tau[kind][:, None]


def _starts(law: tuple[Ensemble, Units]) -> Complex[Array, " k"]:
    return eigenvalues(_reduced(law))


def _conditions(law, part, y):
    """The determinant and the errors of t, with r times `part`; y holds z and t."""
    ensemble, units = law
    z, t = y[0], y[1:]
    r = as_complex(part) * field_r(ensemble, units, t)
    response = as_complex(units.gains) / (units.zeta(z) - as_complex(units.gains) * r[:, None])
    size = frozen(jnp.sqrt(units.mean(square_modulus(response))))
    error = (t - units.mean(response)) / as_complex(jnp.where(size > 0, size, 1))
    return jnp.concatenate([_determinant(law, t)[None], error])


def _newton(law, part, y):
    """One step, and the error before it."""
    along = lambda e: jax.jvp(lambda y: _conditions(law, part, y), (y,), (e,))
    value, slopes = jax.vmap(along, out_axes=(None, 1))(jnp.eye(len(y), dtype=y.dtype))
    return y - jnp.linalg.solve(slopes, value), jnp.max(jnp.abs(value))


@as_program
def _followed(law: tuple[Ensemble, Units], z: Complex[Array, " k"]) -> Complex[Array, "k K+1"]:
    """z and t of each root of the determinant, from a root without r."""
    law = frozen(law)

    def follow(z):
        units = law[1]
        y = jnp.concatenate([z[None], units.mean(as_complex(units.gains) / units.zeta(z))])
        num = tolerances.PARTS * tolerances.T_STEPS

        def step(k, y):
            part = jnp.minimum((k // tolerances.T_STEPS) / tolerances.PARTS, 1)
            return _newton(law, part.astype(units.weights.dtype), y)[0]

        return jax.lax.fori_loop(0, num + 2 * tolerances.SOLVE_STEPS, step, y)

    return frozen(jax.vmap(follow)(frozen(z)))


@as_program
def _polished(law: tuple[Ensemble, Units], y: Complex[Array, "k K+1"]) -> Found:
    """Differentiable roots, NaN where they lie in the support or come again."""
    one = jnp.ones_like(law[1].decay)

    def last(y):
        y, misses = last_steps(lambda y, law: _newton(law, one, y), y, law, 2)
        ensemble, units, at = frozen((*law, y))
        return y[0], misses, conditions(ensemble, units, at[0], at[1:])[1]

    z, miss, m = jax.vmap(last)(y)
    size = jnp.max(jnp.abs(jnp.where(jnp.isfinite(z), z, 0))) + jnp.max(1 / law[1].tau)
    same = jnp.abs(frozen(z)[:, None] - frozen(z)[None]) < tolerances.SAME * size
    again = jnp.any(same & jnp.tri(len(z), k=-1, dtype=bool), axis=1)
    converged = miss < tolerances.OUTLIER_MISS
    return Found(
        jnp.where(converged & (m < 1) & ~again, z, jnp.nan), converged, jnp.where(jnp.isnan(miss), jnp.inf, miss)
    )


# --- outliers that were not found -----------------------------------------------------------------------------


def _completed(law: tuple[Ensemble, Units], found: Found) -> Found:
    """With outliers that are sought from everywhere outside the support, if more are counted than were found."""
    known = np.asarray(found.values)
    known = known[np.isfinite(known)]
    if law[0].is_symmetric() or len(known) >= (total := _counted(law)):
        return found
    for start in _elsewhere(law):
        more = _polished(law, jnp.asarray(start)[None])
        z = np.asarray(more.values)[0]
        if not np.isfinite(z) or np.any(np.abs(known - z) < tolerances.SAME * np.abs(z)):
            continue
        both = [z] if z.imag == 0 else [z, np.conj(z)]
        known = np.append(known, both)
        more = Found(jnp.asarray(both), *(jnp.repeat(leaf, len(both)) for leaf in more[1:]))
        found = Found(*(jnp.concatenate([a, b]) for a, b in zip(found, more, strict=True)))
        if len(known) >= total:
            break
    return found


def _counted(law: tuple[Ensemble, Units]) -> int:
    """Zeros of the determinant outside the support: minus its windings along the boundary, as it is 1 at infinity."""
    turns = 0.0
    for t in boundary.responses(*law):
        value = _determinants(law, t, tolerances.FRONTS)
        turns += np.sum(np.angle(np.roll(value, -1) / value)) / (2 * np.pi)
    return -round(turns)


@in_batches
def _determinants(law: tuple[Ensemble, Units], t):
    return jax.vmap(lambda t: _determinant(law, t))(t)


def _elsewhere(law: tuple[Ensemble, Units]) -> list[np.ndarray]:
    """z and t at points outside the support, by falling closeness of the determinant to 0."""
    left, right, top = (float(x) for x in boundary.frame_of(*law))
    x, y = np.linspace(left, right, tolerances.COARSE), np.linspace(0, top, tolerances.COARSE // 2)
    z = (x + 1j * y[:, None]).ravel()
    _, point = inside.densities(*law, z)
    free = point.converged & ~point.inside
    z, t = z[free], point.t[free]
    size = np.abs(_determinants(law, t, tolerances.BATCH))
    starts = np.concatenate([z[:, None], t], axis=1)[np.argsort(size)]
    return list(starts[:: max(len(starts) // tolerances.SOUGHT, 1)])
