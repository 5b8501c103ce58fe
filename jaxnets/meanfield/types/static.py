r"""Fixed points of networks with types, and their stability in time.

$$ \mu_a = I_a + \sum_b M_{ab} f_b \langle\phi_b\rangle, \qquad \Delta_a = \sum_b W_{ab} \langle\phi_b^2\rangle,
   \qquad x_a \sim N(\mu_a, \Delta_a) $$
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from ..._arguments import nonnegative, require, require_whole
from ..._numerics import as_program, frozen, in_parts, is_concrete, polish_root, solve_few
from ..._numerics.host import from_host, namespace, on_host
from ..._results import Result
from ...couplings import Ensemble
from ...transfer import Transfer
from ..static.averages import averages_over, gaussian_field, has_spread
from ..unit.requirements import scale_of
from .iteration import mean_step
from .means import is_unstable, static_modes
from .problem import Functions, Problem, Transfers, growth, of_types, problem_of

# Steps of the search along the dynamics of means and variances; those of Newton's method follow.
_STEPS, _NEWTON_STEPS = 300, 6
# Roundings of the equations at which Newton's method ends early on the host.
_EXACT = 16
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
    dtype, transfers = problem.tau.dtype, problem.functions.transfers
    if is_concrete(transfers):
        with jax.ensure_compile_time_eval():
            largest = np.max([np.asarray(scale_of(phi, dtype)) for phi in transfers])
        return from_host(np.asarray(largest, dtype))
    return jnp.max(jnp.stack([scale_of(phi, dtype) for phi in transfers]))


@in_parts
def fixed_point(
    problem: Problem,
    scale: Float[Array, ""],
    mean: Float[Array, " K"],
    variance: Float[Array, " K"],
    nodes: int,
) -> TypedStaticState:
    """The state that the dynamics of means and variances reaches, made exact and judged."""
    if is_concrete(problem, scale, mean, variance):
        return from_host(_fixed_on_host(*(on_host(x) for x in (problem, scale, mean, variance)), nodes=nodes))
    law = frozen(jnp.stack([mean, variance], axis=1))
    law, _ = _walk(frozen(problem), frozen(scale), law, _STEPS, nodes)
    size = _size(law, scale)
    root = polish_root(_mismatch, _in_scale(law, scale), (problem, frozen(scale), size, nodes), num_steps=_NEWTON_STEPS)
    mean, variance = scale * root.value[: mean.size], scale**2 * root.value[mean.size :]
    rows, coarse, slopes = _moments(problem.functions, scale, jnp.stack([mean, variance], axis=1), nodes)
    # Newton's method may end far from where the search did, as where activity grows without bound.
    last = _size(jnp.stack([mean, variance], axis=1), scale)
    return _judged(problem, scale, mean, variance, rows, coarse, slopes, root.residual * frozen(size / last))


def _fixed_on_host(problem: Problem, scale, mean, variance, nodes: int, steps: int = _STEPS) -> TypedStaticState:
    """`fixed_point` of one concrete problem, by one small program."""
    law, found = on_host(_walk_alone(problem, scale, np.stack([mean, variance], axis=1), np.int32(steps), nodes))
    residual = np.inf
    for _ in range(_NEWTON_STEPS):
        rows, _, slopes = found
        miss = _misses(problem, scale, law, rows)
        residual = abs(miss).max() / _size(law, scale)
        if not residual > _EXACT * np.finfo(mean.dtype).eps:
            break
        law = law - out_of_scale(solve_few(jacobian(problem, scale, slopes), miss), scale)
        found = on_host(_walk_alone(problem, scale, law, np.int32(0), nodes))[1]
    rows, coarse, slopes = found
    return _judged(problem, scale, law[:, 0], law[:, 1], rows, coarse, slopes, np.asarray(residual, mean.dtype))


def near(problem: Problem, scale: Any, laws: Float[np.ndarray, "b K 2"], nodes: int) -> list[TypedStaticState]:
    """The fixed points that Newton's method finds next to each law of fields, of one concrete problem."""
    return [_fixed_on_host(problem, scale, law[:, 0], law[:, 1], nodes, 0) for law in laws]


def linear(problem: Problem, scale, y: Float[np.ndarray, " 2K"], nodes: int) -> tuple[Any, Any]:
    """The mismatch of the laws y, in units of the scale, and its Jacobian."""
    law = out_of_scale(y, scale)
    rows, _, slopes = on_host(_walk_alone(problem, scale, law, np.int32(0), nodes))[1]
    return _misses(problem, scale, law, rows), jacobian(problem, scale, slopes)


def jacobian(problem: Problem, scale, slopes: Float[np.ndarray, "K 2 2"]) -> Float[np.ndarray, "2K 2K"]:
    """The derivatives of the mismatch, in units of the scale."""
    one = np.eye(len(slopes), dtype=slopes.dtype)
    among = [problem.means * slopes[:, 0, 0], problem.means * slopes[:, 0, 1] * scale]
    among += [problem.W * slopes[:, 1, 0] / scale, problem.W * slopes[:, 1, 1]]
    return np.block([[one - among[0], -among[1]], [-among[2], one - among[3]]])


def _size(law: Float[Any, "K 2"], scale: Float[Array, ""]) -> Float[Array, ""]:
    return 1 + abs(_in_scale(law, scale)).max()


def _in_scale(law: Float[Any, "K 2"], scale: Float[Array, ""]) -> Float[Array, " 2K"]:
    return namespace(law).concatenate([law[:, 0] / scale, law[:, 1] / scale**2])


def out_of_scale(y: Float[Any, " 2K"], scale: Float[Array, ""]) -> Float[Any, "K 2"]:
    """Means and variances of fields, from numbers in units of the scale."""
    return namespace(y).stack([scale * y[: len(y) // 2], scale**2 * y[len(y) // 2 :]], axis=1)


def _mismatch(y: Float[Array, " 2K"], args) -> Float[Array, " 2K"]:
    problem, scale, size, nodes = args
    law = out_of_scale(y, scale)
    return _misses(problem, scale, law, _moments(problem.functions, scale, law, nodes)[0]) / size


def _misses(problem: Problem, scale, law: Float[Any, "K 2"], rows) -> Float[Array, " 2K"]:
    mean = (law[:, 0] - problem.input - problem.means @ rows[0]) / scale
    return namespace(law).concatenate([mean, (law[:, 1] - problem.W @ rows[1]) / scale**2])


def _walk(problem: Problem, scale, law: Float[Any, "K 2"], steps, nodes: int):
    """Steps along the dynamics of means and variances, and the moments where they end."""

    def step(count, carry):
        law, _ = carry
        moments = _moments(problem.functions, scale, law, nodes)
        (rate, power, beta, _), *_ = moments
        moved = jnp.stack([mean_step(problem, law[:, 0], rate, beta), (law[:, 1] + problem.W @ power) / 2], axis=1)
        return jnp.where(count < steps, moved, law), moments

    shapes = jax.eval_shape(lambda law: _moments(problem.functions, scale, law, nodes), law)
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, steps + 1, step, (law, none))


_walk_alone = as_program(_walk)


def _judged(problem: Problem, scale, mean, variance, rows, coarse, slopes, residual) -> TypedStaticState:
    xp, (rate, power, beta, square) = namespace(mean), rows
    # A mean rate of 0 is known to a part of the root mean square.
    pairs = (xp.stack([rate, xp.sqrt(abs(power))]), xp.stack([coarse[0], xp.sqrt(abs(coarse[1]))]))
    errors = [
        abs(a - b).max() / xp.where(abs(a).max() > 0, abs(a).max(), 1)
        for a, b in (pairs, (power, coarse[1]), (square, coarse[3]))
    ]
    bulk = growth(problem.W, square)
    modes = static_modes(problem, slopes)
    residual = frozen(xp.stack([residual, *errors]).max())
    eps = float(xp.finfo(mean.dtype).eps)
    meaningful = problem.memoryless & (variance >= -(eps**0.5) * scale**2).all()
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
        converged=meaningful & (residual <= max(_TOLERANCE, _ROUNDINGS * eps)),
    )


def _moments(functions: Functions, scale, law: Float[Any, "K 2"], nodes: int):
    """<phi>, <phi^2>, <phi'> and <phi'^2> of each type, by two rules, and the slopes of the first two by the law."""
    values, slopes = functions.of_types(lambda transfer, _, law: _of_type(transfer, scale, law, nodes), law)
    return values[:, 0].T, values[:, 1].T, slopes


def _of_type(transfer: Transfer, scale, law: Float[Array, "2"], nodes: int):
    phi, mean, variance = _InUnits(transfer, scale), law[0] / scale, law[1] / scale**2
    field = gaussian_field(phi, mean, variance, None, nodes, 3 * nodes // 4)

    def by(weights):
        a = averages_over(phi, field, weights, variance, None)
        return jnp.stack([a.rate, a.power, a.response / scale, a.square_response / scale**2])

    # By the variance as <f''> / 2 = <z f'> / 2 sd, of phi and phi^2.
    spread = jnp.sqrt(jnp.where(has_spread(variance), variance, 1))
    along = [(phi(x), phi.slope(x)) for x in (field.x, field.x_of_mean)]
    wide, near = (jnp.stack([slope, 2 * rate * slope]) for rate, slope in along)
    bend = jax.jvp(phi.slope, (field.x_of_mean,), (jnp.ones_like(mean),))[1]
    (rate, slope), (by_mean, by_variance) = (
        along[1],
        (wide @ field.weights, wide @ (field.weights * field.z) / spread / 2),
    )
    by_variance = jnp.where(has_spread(variance), by_variance, jnp.stack([bend / 2, slope**2 + rate * bend]))
    by_mean = jnp.where(has_spread(variance), by_mean, near)
    slopes = jnp.stack([by_mean / scale, by_variance / scale**2], axis=1)
    return jax.vmap(by)(jnp.stack([field.weights, field.coarser])), slopes
