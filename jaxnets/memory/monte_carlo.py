r"""Monte Carlo of Ising spins on couplings of any kind: the witness of the equilibrium theory.

Many spins are drawn at once, for which one product with J is enough, and a Metropolis test corrects for what they did
not know of each other: the stationary measure is Gibbs's, whatever their number.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import nonnegative, real_array, require, require_instance, require_key, require_whole, scalar
from .._numerics import as_program
from .._results import Result
from ..couplings import Operator


class GlauberRun(Result, axes={"sweeps": "sweep", "k": "pattern", "n": "unit"}):
    """The `spins` at the end, and `overlaps` and `energy` H / n after every sweep; made by `glauber`.

    `acceptance` is the share of moves that were accepted, 1 at temperature 0.
    """

    spins: Float[Array, "*batch n"]  # +-1, at the end
    overlaps: Float[Array, " sweeps *batch k"]  # with the given patterns
    energy: Float[Array, " sweeps *batch"]  # H / n
    acceptance: Float[Array, "*batch"]  # of moves, 1 at temperature 0


def glauber(
    J: Operator,
    spins0: Float[ArrayLike, "*batch n"],
    *,
    temperature: Float[ArrayLike, ""],
    num_sweeps: int,
    key: PRNGKeyArray,
    patterns: Float[ArrayLike, "k n"] | None = None,
    fraction: float | None = None,
) -> GlauberRun:
    r"""Heat-bath dynamics of spins on one network, from `spins0`, one start or many (*batch).

    $$ H = -\tfrac12 \sum_{i \neq j} J_{ij} s_i s_j, \qquad h_i = \sum_{j \neq i} J_{ij} s_j, \qquad
       P(s_i' = 1) = \frac{1}{1 + e^{-2 h_i / T}} $$

    A move chooses each spin with probability `fraction` and draws the chosen ones from their fields, all at once. It
    is accepted with the probability min(1, e^{-(H' - H) / T} Q(s' -> s) / Q(s -> s')), Q being the probability of that
    draw: detailed balance holds exactly, at any `fraction`. A large one costs acceptance, because spins drawn together
    do not see each other: about n^{-1/2}, the default, is safe; where most spins are frozen (retrieval at low T) far
    more are accepted. Each of the `num_sweeps` sweeps is 1 / fraction moves.

    At T = 0 a chosen spin takes the sign of its field (and stays at field 0) and all moves are accepted. The end is
    stable against single flips; moves lower the energy as long as those chosen together hardly interact, so keep
    `fraction` well below 1: at 1 two states may alternate. The default is then 1/4.

    J is used as it is given (factors of modes stay factors), in its precision; its diagonal is subtracted. The overlaps
    (1/n) sum_i xi_i s_i with `patterns` (k, n) are recorded, if any are given. `vmap` over operators and starts
    runs a batch of networks.

    Raises:
        ValueError: if J is not known to be symmetric, spins are not +-1, shapes do not fit, the temperature is
            below 0, `num_sweeps` below 1, or the fraction not in (0, 1].
    """
    require_key("key", key)
    require_instance("J", J, Operator, "an operator of `jaxnets.couplings`")
    if not J.symmetric or len(J.shape) != 2:
        raise ValueError(
            "`J` must be one symmetric operator (`Dense(matrix, symmetric=True)` promises that), "
            f"got {type(J).__name__} of shape {J.shape}, symmetric={J.symmetric}"
        )
    n = J.shape[0]
    spins = real_array("spins0", spins0)
    if spins.ndim < 1 or spins.shape[-1] != n:
        raise ValueError(f"`spins0` must have shape (..., {n}), got {spins.shape}")
    require("spins0", spins, lambda s: np.abs(s) == 1, "+1 or -1")
    temperature = scalar("temperature", temperature)
    require("temperature", temperature, nonnegative, "a finite number >= 0")
    require_whole("num_sweeps", num_sweeps)
    patterns = jnp.zeros((0, n)) if patterns is None else real_array("patterns", patterns)
    if patterns.ndim != 2 or patterns.shape[1] != n:
        raise ValueError(f"`patterns` must have shape (k, {n}), got {patterns.shape}")
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be a number in (0, 1], got {fraction!r}")
    return _glauber(J, spins, temperature, patterns, key, num_sweeps, fraction)


@as_program
def _glauber(J, spins, temperature, patterns, key, num_sweeps, fraction):
    dtype, n = J.dtype, J.shape[0]
    cold = temperature == 0
    beta = 1 / jnp.where(cold, 1, temperature).astype(dtype)
    chance = jnp.where(cold, 0.25, n**-0.5) if fraction is None else jnp.asarray(fraction)
    moves = jnp.ceil(1 / chance).astype(int)
    patterns, diagonal = patterns.astype(dtype), diagonal_of(J)[:, None]

    def fields(s):
        return J @ s - diagonal * s

    def move(carry, key):
        s, h, accepted = carry
        choose, draw, test = jax.random.split(key, 3)
        chosen = jax.random.uniform(choose, s.shape, dtype) < chance.astype(dtype)
        warm = jnp.where(jax.random.uniform(draw, s.shape, dtype) < jax.nn.sigmoid(2 * beta * h), 1, -1)
        drawn = jnp.where(cold, jnp.where(h == 0, s, jnp.sign(h)), warm.astype(dtype))
        new_s = jnp.where(chosen, drawn, s)
        new_h = fields(new_s)
        # -(H' - H) / T is the sum of (s' - s)(h + h') / 2T because J is symmetric.
        gain = beta * (new_s - s) * (h + new_h) / 2
        back, forth = jax.nn.log_sigmoid(2 * beta * s * new_h), jax.nn.log_sigmoid(2 * beta * new_s * h)
        log_ratio = jnp.sum(jnp.where(chosen, gain + back - forth, 0), 0)
        accept = cold | (jnp.log(jax.random.uniform(test, log_ratio.shape, dtype)) < log_ratio)
        s, h = jnp.where(accept[None], new_s, s), jnp.where(accept[None], new_h, h)
        return s, h, accepted + accept.astype(int)

    def sweep(carry, key):
        keys = lambda i: jax.random.fold_in(key, i)
        s, h, accepted = jax.lax.fori_loop(0, moves, lambda i, carry: move(carry, keys(i)), carry)
        return (s, h, accepted), (s.T @ patterns.T / n, -jnp.sum(s * h, 0) / (2 * n))

    s = jnp.reshape(spins.astype(dtype), (-1, n)).T
    start = s, fields(s), jnp.zeros(s.shape[1], int)
    (s, _, accepted), (overlaps, energy) = jax.lax.scan(sweep, start, jax.random.split(key, num_sweeps))
    batch = spins.shape[:-1]
    return GlauberRun(
        spins=s.T.reshape(spins.shape),
        overlaps=overlaps.reshape(num_sweeps, *batch, patterns.shape[0]),
        energy=energy.reshape(num_sweeps, *batch),
        acceptance=(accepted / (moves * num_sweeps)).reshape(batch),
    )


def diagonal_of(J: Operator) -> Float[Array, " n"]:
    """J_ii, from the factors where there are any."""
    factors = J.low_rank()
    return jnp.diagonal(J.dense()) if factors is None else jnp.sum(factors[0] * factors[1].T, 1)
