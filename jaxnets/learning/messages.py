r"""The binary perceptron for given patterns: messages between weights and patterns.

$$ P(s) \propto \prod_\mu \Theta(u_\mu - \kappa), \qquad u_\mu = \frac{1}{\sqrt N} \sum_i \xi^\mu_i s_i, \qquad
   \xi = \pm 1 $$

`belief_propagation` keeps a message for each pair of a weight and a pattern. `amp` keeps one for each weight and each
pattern, and differs by order 1/N. Both go through the patterns in blocks: a block is read from memory once for both
products of a sweep, and patterns are kept in one byte each. Both take one set of patterns; `jax.vmap` takes more.

Source: Huang 2021 (arXiv 2111.13302); Braunstein & Zecchina 2006; Donoho, Maleki & Montanari 2009 for `amp`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, real_array, require, require_key, require_whole, scalar
from .._numerics import as_program, is_concrete, tail
from .._numerics.host import namespace
from .._results import Result

# Entries of a block of patterns, which stays in the cache of a core as floating-point numbers while both products take
# it. At N = 4000 on two cores, 2^15 to 2^18 take about the same time, and one block of all entries twice as long.
BLOCK = 2**18


class Messages(Result, axes={"N": "weight"}):
    """Marginals of the weights of a perceptron, made by `amp` and `belief_propagation`.

    `magnetisations` (N,) are the mean weights, `overlap` the mean of their squares. `entropy` is (1/N) ln(number of
    solutions) in the approximation of Bethe. `residual` is the root mean square of the last change of magnetisations,
    after so many `sweeps`, and `converged` says that it is below the tolerance; otherwise no number has a meaning.
    """

    magnetisations: Float[Array, " N"]
    overlap: Float[Array, ""]
    entropy: Float[Array, ""]
    sweeps: Int[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def amp(
    patterns: Float[ArrayLike, "P N"],
    kappa: Float[ArrayLike, ""] = 0.0,
    *,
    key: PRNGKeyArray | None = None,
    tolerance: float = 1e-6,
    max_sweeps: int = 1000,
    damping: float = 0.0,
) -> Messages:
    r"""Mean weights of a perceptron of N binary weights by approximate message passing.

    $$ V = 1 - \overline{m^2}, \quad w = \frac{\xi m}{\sqrt N} - V g_{old}, \quad
       g = \frac{R(X)}{\sqrt V}, \quad X = \frac{\kappa - w}{\sqrt V}, \quad
       m = \tanh \Big( \frac{\xi^T g}{\sqrt N} + m \frac{1}{N V} \sum_\mu R (R - X) \Big) $$

    `patterns` of +-1 are rows, random ones of the input times the wanted output. Messages start from m = 0, or at
    random within (-1, 1) by a `key`. Sweeps go on until the root mean square of a change is below `tolerance`, and
    for at most `max_sweeps`. `damping` is the part of the old magnetisations that is kept.

    Valid for random patterns and N >> 1, where errors shrink by `PerceptronState.contraction` in a sweep. Convergence
    is no proof of solutions: beyond the capacity the entropy is negative. Rounded magnetisations are no solution
    either, since typical solutions are isolated. The precision is that of the patterns, JAX's default for whole
    numbers.

    Raises `ValueError` for patterns that are not +-1, a kappa that is not finite, and a tolerance, number of sweeps or
    damping out of range. Source: Huang 2021 (arXiv 2111.13302).
    """
    return _checked(_amp, patterns, kappa, key, tolerance, max_sweeps, damping)


def belief_propagation(
    patterns: Float[ArrayLike, "P N"],
    kappa: Float[ArrayLike, ""] = 0.0,
    *,
    key: PRNGKeyArray | None = None,
    tolerance: float = 1e-6,
    max_sweeps: int = 1000,
    damping: float = 0.0,
) -> Messages:
    r"""Mean weights of a perceptron of N binary weights, by messages u from each pattern to each weight.

    $$ u_{\mu i} = \tfrac12 \ln \frac{H(X_-)}{H(X_+)}, \quad
       X_\pm = \frac{\kappa - w_{\mu \setminus i} \pm \xi_i^\mu / \sqrt N}{\sqrt{V_{\mu \setminus i}}}, \quad
       m_{i \mu} = \tanh \Big( \sum_{\nu \ne \mu} u_{\nu i} \Big) $$

    w and V are the mean and variance of the field of the pattern without weight i. Arguments, validity and errors are
    as in `amp`. There are P N messages: 0.7 GB twice at N = 10^4 and alpha = .8 in double precision. Source: Braunstein
    & Zecchina 2006; Huang 2021 (arXiv 2111.13302).
    """
    return _checked(_belief_propagation, patterns, kappa, key, tolerance, max_sweeps, damping)


def as_signs(patterns: ArrayLike) -> tuple[Any, np.dtype]:
    """Patterns as bytes +-1, and the precision they ask for."""
    array: Any = patterns if isinstance(patterns, np.ndarray) else real_array("patterns", patterns)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"`patterns` must have shape (P, N) with P, N >= 1, got {array.shape}: map over more with `jax.vmap`"
        )
    # One entry says which precision, without a copy of all.
    dtype = real_array("patterns", array[:1, :1]).dtype
    array = np.asarray(array) if is_concrete(array) else array
    signs = array.astype(np.int8)
    if is_concrete(array) and not (np.all(np.abs(signs) == 1) and np.array_equal(signs, array)):
        require("patterns", array, lambda xi: (xi == 1) | (xi == -1), "made of +1 and -1 (2 s - 1 for s of 0 and 1)")
    return signs, dtype


def _checked(solver, patterns, kappa, key, tolerance, max_sweeps, damping) -> Messages:
    signs, dtype = as_signs(patterns)
    kappa = scalar("kappa", kappa).astype(dtype)
    require("kappa", kappa, np.isfinite, "a finite number")
    require("tolerance", tolerance, positive, "a finite number > 0")
    require_whole("max_sweeps", max_sweeps)
    require("damping", damping, lambda part: (part >= 0) & (part < 1), "a number >= 0 and < 1")
    if key is not None:
        require_key("key", key)
        start = jax.random.uniform(key, signs.shape[1:], dtype, -1, 1)
    else:
        start = namespace(signs).zeros(signs.shape[1:], dtype)
    blocks, known = _blocks(signs, dtype)
    return solver(blocks, known, start, kappa, *(np.asarray(x, dtype) for x in (tolerance, damping)), max_sweeps)


def _blocks(signs, dtype) -> tuple[Any, Any]:
    """Patterns (blocks, rows, N), filled up with zeros, and 1 for the rows that are patterns."""
    xp, (num, n) = namespace(signs), signs.shape
    rows = min(num, max(8, BLOCK // n))
    count = -(-num // rows)
    padded = xp.pad(signs, ((0, count * rows - num), (0, 0)))
    known = (np.arange(count * rows) < num).astype(dtype)
    return padded.reshape(count, rows, n), known.reshape(count, rows)


@as_program
def _amp(blocks, known, start, kappa, tolerance, damping, max_sweeps) -> Messages:
    n, dtype = blocks.shape[-1], start.dtype
    root = np.sqrt(n).astype(dtype)

    def sweep(m, g):
        variance = jnp.maximum(1 - jnp.mean(m**2), jnp.finfo(dtype).tiny ** 0.5)
        spread = jnp.sqrt(variance)

        def of_block(sums, block):
            signs, known, g = block
            rows = signs.astype(dtype)
            X = (kappa - (rows @ m / root - variance * g)) / spread
            log, ratio, excess = tail(X)
            new = known * ratio / spread
            back, bends, logs = sums
            sums = back + new @ rows, bends + known @ (ratio * excess), logs + known @ (log + ratio**2 / 2)
            return sums, new

        zero = jnp.zeros((), dtype)
        (back, bends, logs), g = jax.lax.scan(of_block, (jnp.zeros(n, dtype), zero, zero), (blocks, known, g))
        field = back / root + bends / (n * variance) * m
        new = jnp.tanh(field)
        size = jnp.abs(field)
        log_weights = size + jnp.log1p(jnp.exp(-2 * size)) - field * new
        return new, g, (jnp.sum(log_weights) + logs) / n

    def again(carry):
        m, g, _, _, count = carry
        new, g, entropy = sweep(m, g)
        new = new + damping * (m - new)
        return new, g, entropy, jnp.sqrt(jnp.mean((new - m) ** 2)), count + 1

    unfinished = lambda carry: (carry[3] > tolerance) & (carry[4] < max_sweeps)
    begin = (start, jnp.zeros(known.shape, dtype), jnp.zeros((), dtype), jnp.asarray(jnp.inf, dtype), jnp.asarray(0))
    m, _, entropy, residual, count = jax.lax.while_loop(unfinished, again, begin)
    return Messages(m, jnp.mean(m**2), entropy, count, residual, residual <= tolerance)


@as_program
def _belief_propagation(blocks, known, start, kappa, tolerance, damping, max_sweeps) -> Messages:
    n, dtype = blocks.shape[-1], start.dtype
    root = np.sqrt(n).astype(dtype)

    def of_pattern(rows, u, field):
        """Magnetisations without these patterns, and mean and variance of the fields of the patterns."""
        m = jnp.tanh(field[None] - u)
        return m, (rows * m).sum(-1, keepdims=True) / root, (1 - m**2).sum(-1, keepdims=True) / n

    def sweep(field, u):
        def of_block(total, block):
            signs, known, u = block
            rows = signs.astype(dtype)
            m, w, variance = of_pattern(rows, u, field)
            spread = jnp.sqrt(jnp.maximum(variance - (1 - m**2) / n, jnp.finfo(dtype).eps))
            X = (kappa - (w - rows * m / root)) / spread
            step = rows / root / spread
            new = known[:, None] * (tail(X - step).log - tail(X + step).log) / 2
            new = new + damping * (u - new)
            return total + new.sum(0), new

        return jax.lax.scan(of_block, jnp.zeros(n, dtype), (blocks, known, u))

    def entropy_of(field, u):
        def of_block(total, block):
            signs, known, u = block
            m, w, variance = of_pattern(signs.astype(dtype), u, field)
            log = tail((kappa - w[:, 0]) / jnp.sqrt(variance[:, 0])).log
            # cosh u + m sinh u, less 1
            both = 2 * jnp.sinh(u / 2) ** 2 + m * jnp.sinh(u)
            return total + known @ (log - jnp.log1p(both).sum(-1)), None

        size = jnp.abs(field)
        weights = jnp.sum(size + jnp.log1p(jnp.exp(-2 * size)))
        return jax.lax.scan(of_block, weights, (blocks, known, u))[0] / n

    def again(carry):
        field, u, _, count = carry
        new, u = sweep(field, u)
        return new, u, jnp.sqrt(jnp.mean((jnp.tanh(new) - jnp.tanh(field)) ** 2)), count + 1

    unfinished = lambda carry: (carry[2] > tolerance) & (carry[3] < max_sweeps)
    begin = (jnp.arctanh(start), jnp.zeros(blocks.shape, dtype), jnp.asarray(jnp.inf, dtype), jnp.asarray(0))
    field, u, residual, count = jax.lax.while_loop(unfinished, again, begin)
    m = jnp.tanh(field)
    return Messages(m, jnp.mean(m**2), entropy_of(field, u), count, residual, residual <= tolerance)
