r"""Statistics of a network by the types of its units, each with a standard error.

Weights that share a unit may depend on each other: some units send more than others. The error of a mean over the pairs
(i, j) of a block counts all products of two terms that share a unit (dyadic robust errors),

$$ \mathrm{error}^2 = \frac{1}{n_{ab}^2} \Big( \sum_i \big( \textstyle\sum_j \varphi_{ij} \big)^2
   + \sum_j \big( \sum_i \varphi_{ij} \big)^2 - \sum_{ij} \varphi_{ij}^2 \Big), $$

with phi the deviations of the terms from their mean, and no less than for independent terms.

Source: Aronow, Samii & Assenova 2015 for the errors; the laws of degrees derived here.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._numerics import is_concrete
from .._results import Result
from .sparse import as_csr

Block = Float[np.ndarray, "a b"]


class TypeStatistics(Result, axes={"K": "type", "n": "unit"}):
    r"""Statistics of one network by the types of its units, with standard errors; made by `weight_statistics`.

    `names` are the types, in sorted order, `types` has the number of each unit's type, and `counts` its sizes. Tables
    are from the type of the column to the type of the row, as in `CellTypes`: `means` is N E J_ij and `g` is
    sqrt(N Var J_ij), with N all units. `symmetry` is the correlation of J_ij and J_ji. `density` is the part of weights
    that are not 0, and `reciprocity` the part of connections i <- j with a connection back. The last two leave out a
    unit's weight to itself, as does `symmetry`.

    Units of one type may differ in what they receive, l_i = sum_j |J_ij| over its mean, and send: `received` and `sent`
    are the variances of these numbers within types, and `chain` their covariance, without what independent weights have
    of each by chance. So they may be negative. They are the relative variances of in- and out-degrees of
    `CellTypes.second_order`, where weights exist or not. NaN stands for what nothing in the network tells.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    types: Int[Array, " n"]
    counts: Int[Array, " K"]
    means: Float[Array, "K K"]
    means_error: Float[Array, "K K"]
    g: Float[Array, "K K"]
    g_error: Float[Array, "K K"]
    symmetry: Float[Array, "K K"]
    symmetry_error: Float[Array, "K K"]
    density: Float[Array, "K K"]
    density_error: Float[Array, "K K"]
    reciprocity: Float[Array, "K K"]
    reciprocity_error: Float[Array, "K K"]
    received: Float[Array, " K"]
    received_error: Float[Array, " K"]
    sent: Float[Array, " K"]
    sent_error: Float[Array, " K"]
    chain: Float[Array, " K"]
    chain_error: Float[Array, " K"]

    def __str__(self) -> str:
        return self.table() if is_concrete(self) and np.ndim(self.counts) == 1 else repr(self)

    def table(self) -> str:
        """One line for each pair of types that are connected, then one for each type, with errors."""
        width = max(4, *(len(name) for name in self.names))
        columns = ("means", "g", "symmetry", "density", "reciprocity")
        lines = [f"{'to':{width}} {'from':{width}}" + "".join(f"{name:>18}" for name in columns)]
        density = np.asarray(self.density)
        for a, to in enumerate(self.names):
            for b, of in enumerate(self.names):
                if density[a, b] > 0:
                    cells = (_with_error(self, name, (a, b)) for name in columns)
                    lines.append(f"{to:{width}} {of:{width}}" + "".join(f"{cell:>18}" for cell in cells))
        columns = ("received", "sent", "chain")
        lines += ["", f"{'type':{width}} {'units':>{width}}" + "".join(f"{name:>18}" for name in columns)]
        for a, name in enumerate(self.names):
            cells = (_with_error(self, column, a) for column in columns)
            lines.append(f"{name:{width}} {int(self.counts[a]):>{width}}" + "".join(f"{cell:>18}" for cell in cells))
        return "\n".join(lines)


def _with_error(statistics: TypeStatistics, name: str, at: Any) -> str:
    value, error = (float(getattr(statistics, field)[at]) for field in (name, f"{name}_error"))
    return "-" if np.isnan(value) else f"{value:.3g} ± {error:.2g}"


def type_indices(types: Any, n: int) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The sorted names of types, and the number of each unit's type.

    Raises `ValueError` unless there is one label for each of n units, and two units of each type.
    """
    try:
        given = np.asarray(types)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"`types` must be one label for each of {n} units, got no array of labels: {error}") from error
    if given.shape != (n,):
        raise ValueError(f"`types` must be one label for each of {n} units, got shape {given.shape}")
    if given.dtype.kind not in "biuUS":
        raise ValueError(f"`types` must be texts or whole numbers, got labels such as {given[0]!r} ({given.dtype})")
    names, of, counts = np.unique(given, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        alone = names[np.argmin(counts)]
        raise ValueError(
            f"`types` must have two units or more of each type, got one of type {alone}: join it to another"
        )
    return tuple(str(name) for name in names), of


def statistics_by_type(J: Any, types: Any) -> TypeStatistics:
    """What `weight_statistics` returns with types; dense blocks, one pair of types at a time."""
    matrix: Any = as_csr("J", J)
    names, of = type_indices(types, matrix.shape[0])
    scale = float(np.ldexp(0.5, np.frexp(np.max(np.abs(matrix.data), initial=0.0) or 1.0)[1]))
    members = [np.flatnonzero(of == a) for a in range(len(names))]
    rows = [matrix[ids] for ids in members]

    def block(a: int, b: int) -> Block:
        return rows[a][:, members[b]].toarray().astype(np.float64) / scale

    K, n = len(names), len(of)
    found = np.full((2, 5, K, K), np.nan)  # values and errors
    strengths = [_Strengths.none(len(ids)) for ids in members]
    for a in range(K):
        for b in range(a, K):
            there, back = block(a, b), block(b, a).T
            found[:, :, a, b] = _of_block(there, back, a == b)
            found[:, :, b, a] = _of_block(back.T, there.T, a == b)
            strengths[a] = strengths[a].with_block(np.abs(there), np.abs(back))
            if a != b:
                strengths[b] = strengths[b].with_block(np.abs(back).T, np.abs(there).T)
    means, variance = n * scale * found[:, 0], scale**2 * found[:, 1]
    g = np.sqrt(n * variance[0])
    values = {"means": means, "g": (g, np.where(g > 0, n * variance[1] / (2 * np.where(g > 0, g, 1)), 0))}
    values |= {name: found[:, k] for name, k in (("symmetry", 2), ("density", 3), ("reciprocity", 4))}
    by_type = np.stack([one.laws() for one in strengths], axis=2)
    values |= {name: by_type[:, k] for k, name in enumerate(("received", "sent", "chain"))}
    real, whole = jnp.result_type(float), jnp.result_type(int)
    fields = {name: jnp.asarray(value, real) for name, (value, _) in values.items()}
    fields |= {f"{name}_error": jnp.asarray(error, real) for name, (_, error) in values.items()}
    counts = jnp.asarray([len(ids) for ids in members], whole)
    return TypeStatistics(names=names, types=jnp.asarray(of, whole), counts=counts, **fields)


def _of_block(there: Block, back: Block, same: bool) -> Float[np.ndarray, "2 5"]:
    """Mean, variance, symmetry, density and reciprocity of the weights `there`, and their errors."""
    off = ~np.eye(len(there), dtype=bool) if same else np.ones(there.shape, bool)
    x, y = there - there.mean(), back - back.mean()
    variance = np.sum(x**2) / (x.size - 1)
    exists, returned = (there != 0) & off, (back != 0) & off
    density, number = exists.sum() / off.sum(), exists.sum()
    values = [there.mean(), variance, np.nan, density, np.nan]
    of_variance, of_density = (_error(terms, same) for terms in (x**2 - np.mean(x**2), off * (exists - density)))
    errors = [_error(x, same), of_variance, np.nan, of_density, np.nan]
    spread = np.sqrt(np.mean(x[off] ** 2) * np.mean(y[off] ** 2))
    # All weights may be alike, to rounding.
    if spread > 1e-14 * np.sqrt(np.mean(there**2) * np.mean(back**2)):
        x, y = x / np.sqrt(np.mean(x[off] ** 2)), y / np.sqrt(np.mean(y[off] ** 2))
        values[2] = np.mean((x * y)[off])
        errors[2] = _error(off * (x * y - values[2] * (x**2 + y**2) / 2), same)
    if number > 0:
        values[4] = (exists & returned).sum() / number
        errors[4] = _error(exists * (returned - values[4]), same) * exists.size / number
    return np.array([values, errors])


def _error(terms: Block, same: bool) -> float:
    """The standard error of a mean of terms about their mean, which depend on each other where they share a unit."""
    if not same:
        alone = np.sum(terms**2)
        shared = np.sum(terms.sum(0) ** 2) + np.sum(terms.sum(1) ** 2) - alone
    else:
        pairs = terms + terms.T
        np.fill_diagonal(pairs, np.diag(terms))
        own = np.sum(np.diag(terms) ** 2)
        alone = (np.sum(pairs**2) + own) / 2
        shared = np.sum(pairs.sum(0) ** 2) - (alone - own)  # a pair of two units shares both of them
    return float(np.sqrt(max(shared, alone))) / terms.size


class _Strengths(NamedTuple):
    """Sums of |J| over what units of one type receive and send, and the covariance that chance gives the two."""

    received: Float[np.ndarray, " a"]
    sent: Float[np.ndarray, " a"]
    chance: Float[np.ndarray, " 3"]  # variance of `received` and of `sent`, and their covariance

    @classmethod
    def none(cls, count: int) -> "_Strengths":
        return cls(np.zeros(count), np.zeros(count), np.zeros(3))

    def with_block(self, there: Block, back: Block) -> "_Strengths":
        """With what these units receive from one type, and send to it (transposed)."""
        x, y = _without_units(there), _without_units(back)
        freedom = (there.shape[0] - 1) * (there.shape[1] - 1)
        chance = there.shape[1] * np.array([np.sum(x * x), np.sum(y * y), np.sum(x * y)]) / freedom
        return _Strengths(self.received + there.sum(1), self.sent + back.sum(1), self.chance + chance)

    def laws(self) -> Float[np.ndarray, "2 3"]:
        """Relative variances beyond chance of what units receive and send, their covariance, and errors of all."""
        each = [z / z.mean() - 1 if z.mean() > 0 else np.full(len(z), np.nan) for z in (self.received, self.sent)]
        means = self.received.mean() or np.nan, self.sent.mean() or np.nan
        values, errors = [], []
        for k, (p, q) in enumerate(((0, 0), (1, 1), (0, 1))):
            product = each[p] * each[q]
            total = product.sum() / (len(product) - 1)
            # Where the mean is larger, the relative variance of the same sums is smaller.
            terms = product - product.mean() - total * (each[p] + each[q])
            values.append(total - self.chance[k] / (means[p] * means[q]))
            errors.append(np.std(terms) / np.sqrt(len(terms)))
        return np.array([values, errors])


def _without_units(block: Block) -> Block:
    """What is left of weights without the means of their rows and columns."""
    return block - block.mean(0, keepdims=True) - block.mean(1, keepdims=True) + block.mean()
