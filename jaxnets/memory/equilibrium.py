"""States of associative memory in equilibrium, for N -> infinity at a finite load and as the load tends to 0.

The equations and their solution are in `jaxnets.replica`. This module gives the order parameters their names.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import nonnegative, real_array, require, require_instance, require_whole, scalar, vector
from .._numerics import Root, as_program, frozen, is_concrete, polish_root
from .._numerics.host import namespace
from .._results import Result
from ..couplings import DeepHebbian
from ..replica import Hopfield, SymmetricCore, symmetric_core
from ..replica.saddles import either_way, solve


class ReplicaState(Result, axes={"W": "pattern"}):
    """One solution, made by `replica_state`; the `free_energy` is per spin, and the energy at T = 0."""

    m: Float[Array, " W"]  # overlaps with the condensed patterns
    q: Float[Array, ""]  # <s>^2, averaged over units
    r: Float[Array, ""]  # the variance of the field is load * r
    chi: Float[Array, ""]  # (1 - q) / T, and the limit of this at T = 0
    free_energy: Float[Array, ""]  # per spin; the energy at T = 0
    replicon: Float[Array, ""]  # stable against replica-symmetry breaking where positive
    stability: Float[Array, ""]  # of the overlaps: stable where positive
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def replica_state(
    ensemble: DeepHebbian | SymmetricCore,
    guess: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    num_steps: int = 30,
    nodes: int = 128,
    core_nodes: int = 512,
) -> ReplicaState:
    r"""A replica-symmetric state of the memory: the one to which overlaps m = `guess` lead.

    $$ m_\mu = \langle \xi^\mu \tanh(x/T) \rangle, \quad q = \langle \tanh^2(x/T) \rangle, \quad
       r = q \Big\langle \frac{\lambda^2}{(1 - \chi\lambda)^2} \Big\rangle, \quad \chi = \frac{1 - q}{T} $$

    with x = sum_mu xi^mu (K m)_mu + sqrt(alpha r) z, and tanh(x/T) = sgn x at T = 0. The W condensed patterns are
    neighbours in the sequence. Overlaps beyond both ends are taken to be 0, so leave room for the state to spread. A
    guess of 0 gives the glass, or the paramagnet above the temperature of the glass.

    The search takes `num_steps` steps m -> <xi tanh>, at most half of them at chi = 0 (the noise of patterns at random)
    and the others with chi solved along, first away from the end of its phase, and then Newton steps. With num_steps=0
    it is Newton's method alone, which finds unstable states too. One state by itself is computed in NumPy, and may take
    up to 300 steps where a pattern converts slowly; under `jit` and `vmap` it takes exactly `num_steps`. The state is
    differentiable in every float of the ensemble, and in the temperature where that is positive.

    Valid for N -> infinity where `replicon` = 1 - (alpha / T^2) <lambda^2 / (1 - chi lambda)^2> <sech^4(x/T)> is
    positive. At T = 0 it is -infinity for every alpha > 0: the symmetric solution is then an approximation, good as
    long as chi is small. `stability` is 1 - max eig(dm/da K), dm/da the susceptibility of the overlaps to fields a
    along the patterns. Where it is positive the overlaps are a local minimum of the free energy, and where it is 0 the
    branch turns back. It has no gradient. `converged` asks for neither; it asks for a `residual` < 1e-8, the largest
    error of the equations, of averages over the field (`nodes`) and of averages over lambda (`core_nodes`; large where
    chi lambda comes close to 1). The default `nodes` suffice unless alpha and T are both small: at T = 0 take
    1.5 (sum_mu |(K m)_mu| / sqrt(alpha r) + 9). For alpha = 0 see `zero_load_overlaps`.

    Raises:
        ValueError: for an ensemble that is not symmetric, a guess that does not fit it, a temperature < 0.

    Source: Amit, Gutfreund & Sompolinsky 1985, 1987; Jiang et al. 2021 (arXiv 2103.14317).
    """
    problem, y = problem_and_guess(ensemble, guess, temperature, num_steps, nodes, core_nodes)
    return _replica_state(problem, y, num_steps)


@either_way
def _replica_state(problem: Hopfield, y: Float[Array, " W+1"], num_steps: int) -> ReplicaState:
    problem, unit = in_one_unit(problem)
    found = solve(problem, y, num_steps)
    q, r = problem.q_and_r(found.y[-1])
    return ReplicaState(
        m=found.y[:-1],
        q=q,
        r=unit**2 * r,
        chi=found.y[-1] / unit,
        free_energy=unit * found.free_energy,
        replicon=found.replicon,
        stability=found.stability,
        residual=found.residual,
        converged=found.converged,
    )


def problem_and_guess(
    ensemble: DeepHebbian | SymmetricCore,
    guess: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""],
    num_steps: int,
    nodes: int,
    core_nodes: int,
) -> tuple[Hopfield, Float[Array, " W+1"]]:
    """The checked arguments of a search, in the precision of the ensemble."""
    guess = vector("guess", guess)
    require("guess", guess, np.isfinite, "finite numbers")
    require_whole("num_steps", num_steps, least=0)
    core = symmetric_core(ensemble, guess.shape[0], core_nodes=core_nodes)
    problem = Hopfield(core, temperature, nodes=nodes)
    if is_concrete(guess):
        return problem, jax.device_put(np.append(guess, 0).astype(core.load.dtype))
    return problem, jnp.append(guess, 0).astype(core.load.dtype)


def in_one_unit(problem: Hopfield) -> tuple[Hopfield, Float[Array, ""]]:
    """The problem with couplings of order one, and the unit in which it measures couplings and temperatures.

    Tolerances of searches suit m and chi of order one. The unit is a power of two, so that no digit is lost.
    """
    core, xp = problem.core, namespace(problem.core.load)
    size = xp.maximum(xp.max(xp.abs(core.condensed)), xp.max(xp.abs(core.eigenvalues.values)))
    unit = frozen(xp.ldexp(xp.ones_like(size), xp.frexp(size)[1]))  # 1 for couplings of 0
    measured = lambda p: (p.core.condensed, p.core.eigenvalues.values, p.core.coarse.values, p.temperature)
    return eqx.tree_at(measured, problem, [x / unit for x in measured(problem)]), unit


# --- correlated attractors ------------------------------------------------------------------------------------


def correlation_profile(
    ensemble: DeepHebbian,
    reach: int,
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    num_steps: int = 200,
    nodes: int = 400,
    core_nodes: int = 512,
) -> ReplicaState:
    """The state to which a pure pattern converts: overlaps with it (entry `reach`) and `reach` neighbours each side.

    This is `replica_state` from m = 1 for the pattern and 0 for the others, with the same validity and errors. At
    small load and temperature the pattern stays as it is where 2 sum_r |gamma_r| < c. Check that the outer overlaps
    are small. Source: Griniasty, Tsodyks & Amit 1993; Jiang et al. 2021 (arXiv 2103.14317).
    """
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian`")
    require_whole("reach", reach, least=0)
    pure = np.eye(2 * reach + 1)[reach]
    return replica_state(ensemble, pure, temperature, num_steps=num_steps, nodes=nodes, core_nodes=core_nodes)


def zero_load_overlaps(
    condensed: Float[ArrayLike, "W W"],
    guess: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    num_steps: int = 100,
) -> Root:
    r"""Overlaps of W binary patterns stored alone, as the load tends to 0: exact, by all 2^(W-1) patterns of a unit.

    $$ m_\mu = \langle \xi^\mu \tanh(h / T) \rangle, \qquad h = \sum_\mu \xi^\mu (K m)_\mu $$

    with sgn h at T = 0, where sgn 0 = 0. The search takes `num_steps` steps m -> (m + <xi tanh>) / 2 from `guess`.
    `condensed` is K. Valid at T = 0 as the limit of small loads only where no field vanishes. W = 16 takes
    32768 patterns, and each more doubles them. The value is differentiable for T > 0.

    Raises:
        ValueError: if the core is not symmetric or does not fit the guess, and for a temperature < 0.

    Source: Jiang et al. 2021 (arXiv 2103.14317).
    """
    K, guess, T = real_array("condensed", condensed), vector("guess", guess), scalar("temperature", temperature)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
        raise ValueError(f"`condensed` must be a square matrix, got shape {K.shape}")
    require("condensed", K, lambda K: np.isfinite(K) & (K == K.T), "a symmetric matrix of finite numbers")
    require("temperature", T, nonnegative, "a finite number >= 0")
    require_whole("num_steps", num_steps)
    W = guess.shape[0]
    if K.shape[0] != W:
        raise ValueError(f"`guess` must have one overlap for each of {K.shape[0]} patterns, got {W}")
    # The first sign is +1: the other half of all patterns has opposite signs and the same average.
    signs = 1 - 2 * (np.arange(2 ** (W - 1))[:, None] >> np.arange(W)[None] & 1)[:, ::-1]
    return _zero_load(jnp.asarray(signs, K.dtype), K, guess.astype(K.dtype), T.astype(K.dtype), num_steps)


@as_program
def _zero_load(signs, K, guess, temperature, num_steps) -> Root:
    def equations(m, args):
        K, T = args
        h = signs @ (K @ m)
        spin = jnp.where(T == 0, jnp.sign(h), jnp.tanh(h / jnp.where(T == 0, 1, T)))
        return spin @ signs / signs.shape[0] - m

    fixed = frozen((K, temperature))
    m = jax.lax.fori_loop(0, num_steps, lambda _, m: m + equations(m, fixed) / 2, jax.lax.stop_gradient(guess))
    return polish_root(equations, m, (K, temperature))
