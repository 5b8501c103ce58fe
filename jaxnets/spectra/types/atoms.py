"""Eigenvalues that a part of all units has exactly, because of which units have no input, no output, or few modes."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._numerics import as_complex, as_program, is_concrete
from ...couplings import Ensemble
from .outside import r_and_kappa
from .units import Units

_LEAST = 1e-9  # of all units: smaller masses are rounding of a linear programme


class Atoms(NamedTuple):
    """The places `z` of atoms, and the `mass` of each, the fraction of all eigenvalues."""

    z: Float[np.ndarray, " k"]
    mass: Float[np.ndarray, " k"]


def atoms(ensemble: Ensemble, units: Units) -> Atoms:
    r"""The atoms of diag(1/tau) (-1 + J G), at z = -1/tau, or at 0 without time constants.

    The determinant of diag(zeta) - J G is a sum over permutations. At the zero of some zeta, it vanishes to the order
    of the least number of these zeta on the diagonal that a permutation needs. For classes of units this is a linear
    programme for the parts of a class that permutations send to each other, along couplings that are not 0.
    """
    if not is_concrete(ensemble, units):
        raise ValueError("`atoms` needs a law whose numbers are known, not traced")
    tau, active = np.asarray(units.tau), np.asarray(units.gains) != 0
    mass = np.asarray(units.fractions)[:, None] * np.asarray(units.weights)
    types = np.broadcast_to(np.arange(len(tau))[:, None], tau.shape)
    rows = np.stack([types[mass > 0], tau[mass > 0], active[mass > 0]], 1)
    classes, of = np.unique(rows, axis=0, return_inverse=True)
    weights = np.bincount(of.ravel(), mass[mass > 0])
    dense, rank = _structure(ensemble, units)
    kinds = classes[:, 0].astype(int)
    sends = classes[None, :, 2] > 0
    linked = dense[kinds[:, None], kinds[None]] & sends
    found = [(t, _mass(weights, linked, sends, classes[:, 1] == t, rank)) for t in np.unique(classes[:, 1])]
    kept = [(-float(units.decay) / t, m) for t, m in found if m > _LEAST]
    return Atoms(np.array([z for z, _ in kept]), np.array([m for _, m in kept]))


def _structure(ensemble: Ensemble, units: Units) -> tuple[np.ndarray, float]:
    """Pairs of types with couplings of full rank, and the rank of all other couplings over N."""
    num = units.fractions.shape[0]
    dense, rank = np.zeros((num, num), bool), 0.0
    for factor, part in ensemble.parts():
        share, linked = _of_part(part, units.fractions)
        share = float(share) * (float(factor) != 0)
        if not np.isfinite(share):
            dense |= np.asarray(linked)
        else:
            rank += share
    return dense, rank


@as_program
def _of_part(part: Ensemble, fractions: Float[Array, " K"]) -> tuple[Float[Array, ""], Bool[Array, "K K"]]:
    """The rank over N, and the pairs of types with couplings."""
    return part.rank_fraction(), r_and_kappa(part, fractions, as_complex(jnp.zeros_like(fractions)))[1] > 0


def _mass(weights, linked, sends, at_zero, rank: float) -> float:
    """The least weight of units with zeta = 0 on the diagonal."""
    from scipy.optimize import linprog  # here, as it takes long to import

    num = len(weights)
    size = num * num
    # Parts of row classes sent to column classes by dense couplings, by others, and along the diagonal.
    cost = np.concatenate([np.zeros(2 * size), at_zero.astype(float)])
    row, column = np.kron(np.eye(num), np.ones(num)), np.kron(np.ones(num), np.eye(num))
    equal = np.block([[row, row, np.eye(num)], [column, column, np.eye(num)]])
    few = np.concatenate([np.zeros(size), np.ones(size), np.zeros(num)])
    allowed = np.concatenate([linked.ravel(), np.broadcast_to(sends, linked.shape).ravel(), np.ones(num, bool)])
    bounds = [(0, None if ok else 0) for ok in allowed]
    return linprog(cost, few[None], [rank], equal, np.concatenate([weights, weights]), bounds).fun
