r"""Fixed points of networks with types, and their stability in time.

$$ \mu_a = I_a + \sum_b M_{ab} f_b \langle\phi_b\rangle, \qquad \Delta_a = \sum_b W_{ab} \langle\phi_b^2\rangle,
   \qquad x_a \sim N(\mu_a, \Delta_a) $$
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from ..._arguments import nonnegative, require, require_whole
from ..._numerics import frozen, is_concrete, polish_root
from ..._results import Result
from ...couplings import Ensemble
from ...transfer import Transfer
from ..static.averages import averages
from ..unit.requirements import scale_of
from .iteration import mean_step
from .means import is_unstable, static_modes
from .problem import Problem, Transfers, growth, of_types, problem_of

# Steps of the search along the dynamics of means and variances; those of Newton's method follow.
_STEPS, _NEWTON_STEPS = 300, 6
# Largest residual of a converged state, and the same in roundings.
_TOLERANCE, _ROUNDINGS = 1e-6, 3000.0
# Modes this close to growing count as unstable.
_MARGIN = 1e-9


class TypedStaticState(Result, axes={"K": "type", "m": "mode"}, units={"modes": "1 / tau"}):
    """A fixed point of a network with types, made by `static_state`; arrays have an axis of types.

    x of type a is Gaussian with `mean` and `variance`; `rate` = <phi>, `rate_power` = <phi^2>, `response` = <phi'> and
    `square_response` = <phi'^2>.
    `bulk` is the spectral radius of f_b g_ab^2 <phi'^2>_b, which reaches 1 where the bulk of the Jacobian's spectrum
    reaches 0. `modes` are growth rates of means and variances, 1 / time: complex ones oscillate, and time constants
    change them. `stable` asks for bulk < 1 and for no mode that grows.
    """

    mean: Float[Array, " K"]
    variance: Float[Array, " K"]
    rate: Float[Array, " K"]
    rate_power: Float[Array, " K"]
    response: Float[Array, " K"]
    square_response: Float[Array, " K"]
    bulk: Float[Array, ""]
    modes: Complex[Array, " m"]
    stable: Bool[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class _InUnits(Transfer):
    """phi(scale x): averages of fixed points have absolute tolerances."""

    of: Transfer
    scale: Float[Array, ""]

    def __call__(self, x):
        return self.of(self.scale * x)

    def slope(self, x):
        return self.scale * self.of.slope(self.scale * x)


def typed_static_state(
    ensemble: Ensemble,
    transfer: Transfers,
    input: Float[ArrayLike, "*K"] | None,
    tau: Float[ArrayLike, "*K"] | None,
    guess_mean: Float[ArrayLike, "*K"] | None,
    guess_variance: Float[ArrayLike, "*K"],
    nodes: int,
) -> TypedStaticState:
    """A fixed point with types; the arguments are those of `static_state`."""
    require_whole("nodes", nodes, least=20)
    problem = problem_of(ensemble, transfer, 0.0, tau, input)
    given = ("guess_mean", problem.input if guess_mean is None else guess_mean), ("guess_variance", guess_variance)
    mean, variance = (of_types(name, value, problem.tau) for name, value in given)
    require("guess_mean", mean, np.isfinite, "finite numbers")
    require("guess_variance", variance, nonnegative, "finite numbers >= 0")
    return fixed_point(problem, scale_of_all(problem), mean, variance, nodes)


def scale_of_all(problem: Problem) -> Float[Array, ""]:
    """The scale of x on which transfer functions bend: the largest over types."""
    dtype = problem.tau.dtype
    if is_concrete(problem.transfers):
        with jax.ensure_compile_time_eval():
            return jnp.asarray(np.max([np.asarray(scale_of(phi, dtype)) for phi in problem.transfers]).astype(dtype))
    return jnp.max(jnp.stack([scale_of(phi, dtype) for phi in problem.transfers]))


@eqx.filter_jit
def fixed_point(
    problem: Problem,
    scale: Float[Array, ""],
    mean: Float[Array, " K"],
    variance: Float[Array, " K"],
    nodes: int,
) -> TypedStaticState:
    """The state that the dynamics of means and variances reaches, made exact and judged."""
    K = mean.shape[0]
    fixed = frozen(problem)

    def step(y, _):
        mean, variance = y
        rate, power, beta = _averages(fixed, scale, mean, variance, nodes)[:3]
        return (mean_step(fixed, mean, rate, beta), (variance + fixed.W @ power) / 2), None

    (mean, variance), _ = jax.lax.scan(step, frozen((mean, variance)), None, length=_STEPS)

    def mismatch(y, args):
        problem, scale = args
        mean, variance = scale * y[:K], scale**2 * y[K:]
        rate, power = _averages(problem, scale, mean, variance, nodes)[:2]
        misses = (mean - problem.input - problem.means @ rate) / scale, (variance - problem.W @ power) / scale**2
        return jnp.concatenate(misses) / size

    size = 1 + jnp.max(jnp.concatenate([jnp.abs(mean) / scale, variance / scale**2]))
    start = jnp.concatenate([mean / scale, variance / scale**2])
    root = polish_root(mismatch, start, (problem, frozen(scale)), num_steps=_NEWTON_STEPS)
    return _judged(problem, scale, root, nodes)


def _judged(problem: Problem, scale: Float[Array, ""], root, nodes: int) -> TypedStaticState:
    K = root.value.shape[0] // 2
    mean, variance = scale * root.value[:K], scale**2 * root.value[K:]
    rate, power, beta, square = _averages(problem, scale, mean, variance, nodes)
    coarse = _averages(problem, scale, mean, variance, 3 * nodes // 4)
    errors = [
        jnp.max(jnp.abs(a - b)) / jnp.where(jnp.max(jnp.abs(a)) > 0, jnp.max(jnp.abs(a)), 1)
        for a, b in zip((rate, power, square), (coarse[0], coarse[1], coarse[3]), strict=True)
    ]
    bulk = growth(problem.W, square)

    def pair(mean, variance):
        return jnp.stack(_averages(frozen(problem), scale, mean, variance, nodes)[:2], axis=1)

    along = lambda tangents: jax.jvp(pair, frozen((mean, variance)), tangents)[1]
    one, none = jnp.ones(K, mean.dtype), jnp.zeros(K, mean.dtype)
    slopes = jax.vmap(along, out_axes=-1)((jnp.stack([one, none]), jnp.stack([none, one])))
    modes = static_modes(problem, slopes)
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack([root.residual, *errors])))
    tolerance = max(_TOLERANCE, _ROUNDINGS * float(jnp.finfo(mean.dtype).eps))
    meaningful = problem.memoryless & jnp.all(variance >= -(float(jnp.finfo(mean.dtype).eps) ** 0.5) * scale**2)
    return TypedStaticState(
        mean=mean,
        variance=variance,
        rate=rate,
        rate_power=power,
        response=beta,
        square_response=square,
        bulk=bulk,
        modes=modes,
        stable=(bulk < 1) & ~is_unstable(modes, _MARGIN),
        residual=residual,
        converged=meaningful & (residual <= tolerance),
    )


def _averages(problem: Problem, scale, mean, variance, nodes: int):
    """<phi>, <phi^2>, <phi'> and <phi'^2> of each type."""

    def of(transfer, _, mean, variance):
        a = averages(_InUnits(transfer, scale), mean / scale, variance / scale**2, None, nodes)
        return a.rate, a.power, a.response / scale, a.square_response / scale**2

    return problem.of_types(of, mean, variance)
