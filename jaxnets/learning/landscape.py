r"""The solutions of a binary perceptron, all of them: their number, how they hang together, and what annealing finds.

$$ u_\mu = \frac{1}{\sqrt N} \sum_i \xi_i^\mu s_i > \kappa \ \forall \mu, \qquad s, \xi \in \{-1, 1\} $$

`solutions` tests every s, `clusters` joins those that differ in one weight, and `anneal` looks for zero errors by flips
of single weights. `ising` fits a least structured model to a set of solutions.

A pairwise model cannot show that solutions are isolated. It gives every configuration a weight, and puts 20 to 60 % of
its mass outside of the solutions of a small perceptron. It reproduces the chance of a distance to a solution on average
over solutions, but no gap around a single one. So "no gap" in a fit is no evidence that solutions hang together: count
neighbours in the data, with `clusters`, or use `BinaryPerceptron.distance_entropy`.

Source: Huang 2021 (arXiv 2111.13302) and Zou & Huang 2021 (arXiv 2007.08093) for the question; derived here.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .._arguments import host_array, positive, require, require_key, require_whole, scalar
from .._numerics import as_program
from .._results import Result
from .messages import as_signs

# Weights of at most this many: 2^24 configurations take a tenth of a second for each 10 patterns, and 2 MB.
MOST = 24
# Weights of the first half, whose 2^12 configurations are one row of bits.
FIRST_HALF = 12
# Weights of which the pattern of signs fits into one whole number.
CODED = 62


class SolutionSet(Result, axes={"Z": "solution", "N": "weight"}):
    """All solutions of a perceptron, made by `solutions`.

    `weights` (Z, N) are rows of +-1, in the order of binary numbers with weight 0 as the last digit. `entropy` is
    ln(Z) / N, and -infinity if there are none.
    """

    weights: Int[np.ndarray, "Z N"]
    entropy: float


class Clusters(Result, axes={"Z": "solution", "C": "cluster"}):
    """Solutions joined by flips of one weight, made by `clusters`: `labels` (Z,), and `sizes` (C,), largest first.

    Label k belongs to the cluster of size `sizes[k]`. A solution in a cluster of size 1 is isolated.
    """

    labels: Int[np.ndarray, " Z"]
    sizes: Int[np.ndarray, " C"]


class Annealed(Result, axes={"chains": "chain", "N": "weight"}):
    """Where annealing has ended, made by `anneal`: `weights` of +-1, and the number of `errors` of each chain."""

    weights: Int[Array, "chains N"]
    errors: Int[Array, " chains"]


def solutions(
    patterns: Float[ArrayLike, "P N"], kappa: Float[ArrayLike, ""] = 0.0, *, symmetric: bool = False
) -> SolutionSet:
    """All weights of +-1 with u > kappa in every pattern, or |u| < kappa if `symmetric`, by testing each of 2^N.

    `patterns` of +-1 are rows. Fields are whole numbers, so that the answer is exact; a field of exactly kappa is no
    solution. Weights are split in two halves: for each second half a pattern asks of the first that it agrees in enough
    places, which is one of few sets, made once as rows of bits. A search intersects P such sets, 64 configurations at
    a time.

    Raises `ValueError` for patterns that are not +-1 or have more than 24 columns, traced ones, a kappa that is not
    finite, and one that is not positive if symmetric.
    """
    signs, margin = _perceptron(patterns, kappa)
    num, n = signs.shape
    if n > MOST:
        raise ValueError(f"`patterns` must have at most {MOST} columns, of which 2^N are tested, got {n}: use `amp`")
    if symmetric:
        require("kappa", margin, positive, "a finite number > 0 if `symmetric`")
    h = min(n, FIRST_HALF)
    bits = (signs > 0) @ (1 << np.arange(n))
    agreeing = np.arange(n + 1)
    fields = (2 * agreeing - n) / math.sqrt(n)
    least = int(np.sum(fields <= (-margin if symmetric else margin)))  # places that must agree, and that may
    most = int(np.sum(fields < margin)) - 1 if symmetric else n

    first, second = np.arange(2**h, dtype=np.uint32), np.arange(2 ** (n - h), dtype=np.uint32)
    passed = np.full((len(second), max(1, 2**h // 8)), 255, np.uint8)
    for code in bits.tolist():
        in_first = h - np.bitwise_count(first ^ np.uint32(code % 2**h)).astype(int)
        in_second = n - h - np.bitwise_count(second ^ np.uint32(code >> h)).astype(int)
        # Row r: the first halves that agree in r places at least.
        at_least = np.packbits(in_first[None] >= np.arange(h + 2)[:, None], axis=1, bitorder="little")
        passed &= at_least[np.clip(least - in_second, 0, h + 1)]
        if symmetric:
            passed &= ~at_least[np.clip(most + 1 - in_second, 0, h + 1)]
    rows, places = np.nonzero(np.unpackbits(passed, axis=1, bitorder="little")[:, : 2**h])
    codes = ((rows << h) + places).astype("<u4")
    found = np.unpackbits(codes.view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")[:, :n]
    return SolutionSet(2 * found.astype(np.int32) - 1, math.log(len(found)) / n if len(found) else -math.inf)


def clusters(weights: Int[ArrayLike, "Z N"]) -> Clusters:
    """The connected parts of a set of `weights` of +-1, where flips of one weight join two of them.

    Hidden units that may be exchanged, as in a committee, make copies of each part: compare such sets up to that
    symmetry. Raises `ValueError` for rows that are not +-1, come twice, or have more than 62 entries.
    """
    s = host_array("weights", weights, (None, None))
    require("weights", s, lambda s: (s == 1) | (s == -1), "made of +1 and -1")
    num, n = s.shape
    if not 1 <= n <= CODED:
        raise ValueError(f"`weights` must have 1 to {CODED} columns, got {n}")
    codes = (s > 0) @ (1 << np.arange(n, dtype=np.int64))
    order = np.argsort(codes)
    ordered = codes[order]
    if np.any(ordered[1:] == ordered[:-1]):
        raise ValueError(f"`weights` must be different rows, got {num} of which {len(np.unique(codes))} differ")
    pairs = []
    for bit in range(n):
        flipped = ordered ^ (1 << bit)
        at = np.minimum(np.searchsorted(ordered, flipped), max(num - 1, 0))
        one = np.flatnonzero(ordered[at] == flipped) if num else at
        pairs.append(np.stack([one, at[one]]))
    joined = np.concatenate(pairs, 1)
    graph = coo_array((np.ones(joined.shape[1], bool), (joined[0], joined[1])), shape=(num, num))
    count, found = connected_components(graph, directed=False) if num else (0, np.zeros(0, int))
    sizes = np.bincount(found, minlength=count)
    by_size = np.argsort(-sizes, kind="stable")
    rank = np.empty(count, int)
    rank[by_size] = np.arange(count)
    labels = np.empty(num, int)
    labels[order] = rank[found]
    return Clusters(labels, sizes[by_size])


def anneal(
    patterns: Float[ArrayLike, "P N"],
    kappa: Float[ArrayLike, ""] = 0.0,
    *,
    key: PRNGKeyArray,
    chains: int = 100,
    sweeps: int = 100,
    hottest: Float[ArrayLike, ""] = 1.0,
) -> Annealed:
    """Weights of few errors, by Metropolis flips of single weights while the temperature falls from `hottest` to 0.

    The energy is the number of patterns with u <= kappa. In each of `sweeps` all weights are tried in their order, and
    each of `chains` starts from random weights. The temperature falls linearly. The solutions that are found need not
    come equally often: at N = 15 they do within errors. Takes O(chains P) numbers of memory.

    Raises `ValueError` for patterns that are not +-1, a kappa that is not finite, a `key` that is none, and numbers out
    of range. Source: Zou & Huang 2021 (arXiv 2007.08093).
    """
    signs, margin = _perceptron(patterns, kappa)
    require_key("key", key)
    require_whole("chains", chains)
    require_whole("sweeps", sweeps)
    hottest = scalar("hottest", hottest)
    require("hottest", hottest, positive, "a finite number > 0")
    num, n = signs.shape
    # A field, as a whole number, is an error up to this one.
    whole = np.arange(-n, n + 1)
    limit = int(whole[whole / math.sqrt(n) <= margin].max(initial=-n - 1))
    temperatures = np.linspace(float(hottest), 0, sweeps, endpoint=False)
    starts, flips = jax.random.split(key)
    start = jax.random.rademacher(starts, (chains, n), jnp.int32)
    return _annealed(signs.astype(np.int32), np.int32(limit), temperatures, start, flips)


def _perceptron(patterns, kappa) -> tuple[np.ndarray, float]:
    """Known patterns and margin."""
    margin = float(host_array("kappa", kappa, ()))
    require("kappa", margin, np.isfinite, "a finite number")
    host_array("patterns", patterns)  # not traced
    return as_signs(patterns)[0], margin


@as_program
def _annealed(signs, limit, temperatures, start, key) -> Annealed:
    num_errors = lambda fields: jnp.sum(fields <= limit, -1, dtype=jnp.int32)

    def sweep(state, by):
        temperature, key = by

        def flip(state, by):
            s, fields, errors = state
            i, key = by
            new = fields - 2 * s[:, i][:, None] * signs[:, i][None]
            more = num_errors(new) - errors
            chance = jax.random.uniform(key, more.shape, temperatures.dtype)
            taken = chance < jnp.exp(-more.astype(chance.dtype) / temperature)
            s = s.at[:, i].multiply(1 - 2 * taken.astype(s.dtype))
            fields = jnp.where(taken[:, None], new, fields)
            return (s, fields, errors + jnp.where(taken, more, 0)), None

        return jax.lax.scan(flip, state, (jnp.arange(signs.shape[1]), jax.random.split(key, signs.shape[1])))[0], None

    fields = start @ signs.T
    keys = jax.random.split(key, len(temperatures))
    s, _, errors = jax.lax.scan(sweep, (start, fields, num_errors(fields)), (temperatures, keys))[0]
    return Annealed(s.astype(jnp.int32), errors)
