r"""A fixed point of an infinitely large network: the law of a unit's state, with inputs and finite-rank couplings.

Of J = (random part) + U V^T / N the random part acts through r and kappa(S) alone, and the modes through the numbers
kappa_k = E[v_k phi]. A unit in the field h settles at x(h), the solution of x - r(S) phi(x) = h, with h Gaussian:

$$ h = I + U \kappa + \sqrt{\kappa(S)\, \langle\phi^2\rangle}\, z, \qquad
   S = \Big\langle \frac{d\phi(x(h))}{dh} \Big\rangle = \Big\langle \frac{\phi'}{1 - r \phi'} \Big\rangle $$

The unknowns are kappa, <phi^2> and S. All averages are over one Gaussian variable, because Gaussian loadings obey
E[u phi] = Cov(u, h) S. Loadings of another law would change `order_parameters`, and `field_at` for the law of h.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..._arguments import nonnegative, positive, real_array, require, require_instance, require_whole, scalar
from ..._numerics import (
    as_complex,
    as_program,
    frozen,
    is_concrete,
    least_squares,
    least_squares_from_host,
    polish_root,
)
from ..._numerics.host import from_host
from ..._results import Result, one_line
from ...couplings import Ensemble, FiniteRank, Scaled
from ...transfer import Transfer
from ..types.static import typed_static_state
from .averages import Averages, averages, averages_over, gaussian_field, has_spread

# Largest residual of a converged state. The equations are met to rounding, so that it bounds the error of averages: for
# tanh and 100 nodes that is far below, for a phi with a kink away from x = 0 it asks for more nodes.
_TOLERANCE = 1e-6
_ROUNDINGS = 3000.0  # the tolerance in float32, as in `polish_root`
# Where the damped search stops. Each Newton step after it squares the error.
_SEARCHED, _SEARCHED_ROUNDINGS, _MOST_STEPS = 1e-8, 300.0, 200
_NEWTON_STEPS = 4
# Guesses of one program, where there are several.
_BLOCK = 8
# Newton steps move an isolated solution by less than this part of its size. From a ring of solutions, whose Jacobian is
# singular, they move further.
_MOVED = 1e-3
# Standard deviations of states at which rates are looked at, for their unit.
_LIKELY = 8
# A variance of the field above this counts as 0: where it vanishes, it is a difference that is known to rounding only.
_NEGATIVE, _NEGATIVE_SINGLE = -1e-9, -1e-4


class Input(eqx.Module):
    """Constant input, Gaussian across units: I = mean + U left + W right + sqrt(variance) z, z independent of J.

    U and V = U O^T + sigma W are the modes of the `LowRank` parts of the ensemble, in the order of these parts. `left`
    and `right` have shape (K,) and are the components along the modes; one number stands for all K. Raises
    `ValueError` for numbers that are not finite and a negative variance. Source: Mastrogiuseppe & Ostojic 2018.
    """

    __repr__ = one_line

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    left: Float[Array, "*K"]
    right: Float[Array, "*K"]

    def __init__(
        self,
        mean: Float[ArrayLike, ""] = 0.0,
        variance: Float[ArrayLike, ""] = 0.0,
        left: Float[ArrayLike, "*K"] = 0.0,
        right: Float[ArrayLike, "*K"] = 0.0,
    ):
        self.mean = scalar("mean", mean)
        self.variance = scalar("variance", variance)
        self.left = real_array("left", left)
        self.right = real_array("right", right)

    def __check_init__(self):
        require("mean", self.mean, np.isfinite, "a finite number")
        require("variance", self.variance, nonnegative, "a finite number >= 0")
        for name, field in (("left", self.left), ("right", self.right)):
            require(name, field, np.isfinite, "finite numbers")
            if field.ndim > 1:
                raise ValueError(f"`{name}` must be a number or one for each mode, got shape {field.shape}")


class Problem(eqx.Module):
    """The arguments of a fixed point, checked, in one precision, and the units in which it is solved."""

    ensemble: Ensemble
    modes: FiniteRank
    transfer: Transfer
    input: Input
    units: Float[Array, "2"]  # of states and of rates


class StaticState(Result, axes={"K": "mode", "k": "x"}):
    """One fixed point for N -> infinity, made by `static_state`.

    The field h, without the reaction r phi(x), is Gaussian with `mean` and `variance`. The state x has the law given by
    its values `x` and their `weights`: <f(x)> = sum(weights * f(x)). Order parameters are `kappa` = E[v_k phi], `rate`
    = <phi>, `rate_power` = <phi^2>, `response` = S and `reaction` = r(S). `bulk` reaches 1 where the bulk of the
    Jacobian's spectrum reaches 0. `problem` holds the arguments, with all `LowRank` parts as one.
    """

    kappa: Float[Array, " K"]  # E[v_k phi]
    mean: Float[Array, ""]  # <h>
    variance: Float[Array, ""]  # Var h
    rate: Float[Array, ""]  # <phi>
    rate_power: Float[Array, ""]  # <phi^2>
    response: Float[Array, ""]  # S
    reaction: Float[Array, ""]  # r(S)
    bulk: Float[Array, ""]  # kappa(S) <(phi' / (1 - r phi'))^2>
    x: Float[Array, " k"]
    weights: Float[Array, " k"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    problem: Problem

    def average(self, samples: Float[Array, " k"]) -> Float[Array, ""]:
        """<f(x)> from the `samples` f(x_k) at the values of x."""
        return self.weights @ samples


def static_state(
    ensemble: Ensemble,
    transfer: Transfer | Sequence[Transfer],
    input: Input | Float[ArrayLike, "*K"] | None = None,
    *,
    guess_kappa: Float[ArrayLike, "*K"] = 1.0,
    guess_variance: Float[ArrayLike, "*K"] = 1.0,
    guess_mean: Float[ArrayLike, "*K"] | None = None,
    tau: Float[ArrayLike, "*K"] | None = None,
    nodes: int = 100,
) -> Any:
    r"""A solution of 0 = -x + J phi(x) + I for N -> infinity: the one found from a guess of the field.

    $$ \kappa_k = E[v_k \phi], \qquad \langle\phi^2\rangle, \qquad S = \langle d\phi/dh \rangle, \qquad
       h \sim N\Big(\bar I,\; |\kappa + I_l|^2 + |I_r|^2 + \sigma_I^2 + \kappa(S) \langle\phi^2\rangle\Big) $$

    with kappa = (O (kappa + I_l) + sigma I_r) S for the K modes of all `LowRank` parts. A uniform column of U adds to
    the mean of h, and its E[u phi] is <phi>.

    The search starts from a Gaussian field of the modes `guess_kappa`, of shape (K,) or one number for all, and of
    variance `guess_variance` beside the input. Its unit of states is the largest of sqrt(`guess_variance`),
    `guess_kappa` and the input, and its unit of rates is |phi| there: a guess of the right order of magnitude makes all
    answers follow a change of units. A fixed point that is isolated is differentiable in every float of the ensemble,
    the transfer function and the input; it has no derivative by the guess.

    There are `nodes` quadrature points on either side of x = 0, where phi may have a kink. `residual` is the largest
    error of the equations, and of the averages, which are compared with averages over three quarters of the nodes:
    in these units, and relative to 1 + the size. `converged` asks for 1e-6 and for a solution that has a meaning:
    variance >= 0; r phi' < 1, without which x(h) is not unique; and S Re(lambda rho) < 1, the domain of r. The state
    may be unstable: see `static_stability`.

    Valid for phi that rises and is smooth, but for a kink at 0. Deviations of the field that are below
    1e-10 of the unit of states (4e-5 in float32) count as 0.

    An ensemble with cell types, time constants `tau`, and one `transfer` for each type give a `TypedStaticState`, whose
    `modes` and `stable` say what it does in time. Then `input`, `tau` and the guesses are numbers or one for each type.
    The search starts from `guess_mean`, the input if None, and follows the dynamics of means and variances.

    Raises:
        ValueError: for an `ensemble` or `transfer` of another type, a guess or an input of another number of modes,
            guess_variance <= 0, and nodes < 20. With types, as `stationary`.

    Source: Mastrogiuseppe & Ostojic 2018; the reaction derived here (cavity method).
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    if has_types(ensemble, transfer, input, tau):
        drive: Any = input
        return typed_static_state(ensemble, transfer, drive, tau, guess_mean, guess_variance, nodes)
    if guess_mean is not None:
        raise ValueError("`guess_mean` must be None for units of one type, whose guess is `guess_kappa`")
    problem = problem_of(ensemble, transfer, input)
    require_whole("nodes", nodes, least=20)
    K, dtype = problem.modes.noise.shape[0], problem.modes.noise.dtype
    kappa = of_modes("guess_kappa", guess_kappa, K).astype(dtype)
    variance = scalar("guess_variance", guess_variance).astype(dtype)
    require("guess_kappa", kappa, np.isfinite, "finite numbers")
    require("guess_variance", variance, positive, "a finite number > 0")
    problem, scaled, kappa, variance = in_units(problem, kappa, variance)
    return out_of_units(solve(scaled, kappa, variance, nodes), problem)


def has_types(ensemble: Ensemble, transfer: Any, input: Any, tau: Any) -> bool:
    """Whether units have types or time constants. Raises `ValueError` for an input of modes then."""
    if not (ensemble.type_fractions().shape[0] > 1 or isinstance(transfer, Sequence) or tau is not None):
        return False
    if isinstance(input, Input):
        raise ValueError("`input` must be a number or one for each type of unit, as an `Input` has modes")
    return True


def problem_of(ensemble: Ensemble, transfer: Any, input: Any) -> Problem:
    """The checked arguments, in the precision of the ensemble."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    input = Input() if input is None else input
    require_instance("input", input, Input, "an `Input`")
    dtype = ensemble.variance().dtype
    modes = jax.tree.map(lambda x: x.astype(dtype), ensemble.finite_rank())
    left, right = (of_modes(name, getattr(input, name), modes.rank) for name in ("left", "right"))
    input = Input(*(a.astype(dtype) for a in (input.mean, input.variance, left, right)))
    return Problem(ensemble, modes, transfer, input, jnp.ones(2, dtype))


def of_modes(name: str, value: Float[ArrayLike, "*K"], K: int) -> Float[Array, " K"]:
    """One number for each mode."""
    array = real_array(name, value)
    if array.shape not in ((), (K,)):
        raise ValueError(f"`{name}` must be a number or one for each of the {K} modes, got shape {array.shape}")
    return jnp.broadcast_to(array, (K,))


# --- units ----------------------------------------------------------------------------------------------------


class _InUnits(Transfer):
    """The rates of states, both in other units."""

    transfer: Transfer
    units: Float[Array, "2"]

    def __call__(self, x):
        return self.transfer(self.units[0] * x) / self.units[1]

    def slope(self, x):
        return self.transfer.slope(self.units[0] * x) * (self.units[0] / self.units[1])


@as_program
def in_units(
    problem: Problem, kappa: Float[Array, "*b K"], variance: Float[Array, "*b"], scale: Float[Array, ""] | None = None
) -> tuple[Problem, Problem, Float[Array, "*b K"], Float[Array, "*b"]]:
    """The problem with its units, and in these the problem and the guesses; `scale` replaces the guess for the unit."""
    drive = frozen(problem.input)
    sizes = [drive.mean, jnp.sqrt(drive.variance), drive.left, drive.right]
    sizes += [kappa, jnp.sqrt(variance)] if scale is None else [scale]
    x = _power_of_two(jnp.max(jnp.abs(jnp.concatenate([jnp.ravel(frozen(size)) for size in sizes]))))
    # The largest rate at likely states. No nodes at 0: it is no scale.
    z = jnp.linspace(-_LIKELY, _LIKELY, 2 * _LIKELY, dtype=x.dtype)
    rates = jnp.abs(frozen(problem.transfer)(drive.mean + x * z)) * jnp.exp((1 - z**2) / 2)
    rate = jnp.max(jnp.where(jnp.isfinite(rates), rates, 0))
    rate = _power_of_two(jnp.where(rate > 0, rate, x))
    problem = eqx.tree_at(lambda p: p.units, problem, jnp.stack([x, rate]))
    return problem, _in_its_units(problem), kappa / x, variance / x / x


def _power_of_two(size: Float[Array, ""]) -> Float[Array, ""]:
    """A power of 2 near to it: a change of such units has no rounding errors."""
    near = size * 2**0.5
    return near / jnp.frexp(near)[0] / 2


def _in_its_units(problem: Problem) -> Problem:
    """The same problem with states and rates in its units: J phi / x has couplings J rate / x."""
    (x, rate), drive = problem.units, problem.input
    factor, modes = rate / x, problem.modes
    at = lambda drive: (drive.mean, drive.variance, drive.left, drive.right)
    return Problem(
        ensemble=Scaled(factor, problem.ensemble),
        modes=FiniteRank(factor * modes.overlaps, factor * modes.noise, modes.constant),
        transfer=_InUnits(problem.transfer, problem.units),
        input=eqx.tree_at(at, drive, (drive.mean / x, drive.variance / x / x, drive.left / x, drive.right / x)),
        units=jnp.ones_like(problem.units),
    )


@as_program
def out_of_units(state: StaticState, problem: Problem) -> StaticState:
    """The state of a problem, from its state `in_units`."""
    return _times(state, problem.units, problem)


@as_program
def state_in_units(state: StaticState) -> StaticState:
    """The state with all numbers in the units of its problem: the inverse of `out_of_units`."""
    return _times(state, 1 / state.problem.units, _in_its_units(state.problem))


def _times(state: StaticState, units: Float[Array, "2"], problem: Problem) -> StaticState:
    x, rate = units
    return StaticState(
        kappa=state.kappa * x,
        mean=state.mean * x,
        variance=state.variance * x * x,
        rate=state.rate * rate,
        rate_power=state.rate_power * rate * rate,
        response=state.response * (rate / x),
        reaction=state.reaction * (x / rate),
        bulk=state.bulk,
        x=state.x * x,
        weights=state.weights,
        residual=state.residual,
        converged=state.converged,
        problem=problem,
    )


# --- the equations --------------------------------------------------------------------------------------------


class Field(eqx.Module):
    """The Gaussian law of the field h."""

    left: Float[Array, " K"]  # components of h along U
    random: Float[Array, ""]  # the part of the variance that the random couplings make
    mean: Float[Array, ""]
    variance: Float[Array, ""]
    reaction: Float[Array, ""]  # r(S)
    strength: Float[Array, ""]  # kappa(S)


def field_at(problem: Problem, y: Float[Array, " K+2"]) -> Field:
    """The field in a network whose order parameters are y = (kappa, <phi^2>, S)."""
    kappa, power, response = y[:-2], y[-2], y[-1]
    r, strength = problem.ensemble.r_and_kappa(as_complex(response))
    drive, uniform = problem.input, problem.modes.uniform
    left, random = kappa + drive.left, strength * power
    variance = jnp.sum((1 - uniform) * left**2) + jnp.sum(drive.right**2) + drive.variance + random
    return Field(left, random, drive.mean + uniform @ left, variance, r.real, strength)


def order_parameters(problem: Problem, field: Field, of: Averages) -> Float[Array, " K+2"]:
    """(kappa, <phi^2>, S) of units in this field, from their averages."""
    modes = problem.modes
    u_phi = jnp.where(modes.uniform > 0, of.rate, field.left * of.response)
    w_phi = problem.input.right * of.response
    return jnp.concatenate([modes.overlaps @ u_phi + modes.noise * w_phi, jnp.stack([of.power, of.response])])


def mismatch(y: Float[Array, " K+2"], problem: Problem, nodes: int) -> Float[Array, " K+2"]:
    """The order parameters, less the order parameters of units in the field that they make."""
    field = field_at(problem, y)
    of = averages(problem.transfer, field.mean, field.variance, field.reaction, nodes)
    return y - order_parameters(problem, field, of)


def first_guess(
    problem: Problem, kappa: Float[Array, " K"], variance: Float[Array, ""], nodes: int
) -> Float[Array, " K+2"]:
    """Order parameters from a guessed field: kappa as guessed, and averages over the field without reaction."""
    left = kappa + problem.input.left
    mean, uniform = problem.input.mean + problem.modes.uniform @ left, problem.modes.uniform
    variance = variance + problem.input.variance + jnp.sum((1 - uniform) * left**2)
    of = averages(problem.transfer, mean, variance, None, nodes)
    return jnp.concatenate([kappa, jnp.stack([of.power, of.response])])


def solve(problem: Problem, kappa: Float[Array, " K"], variance: Float[Array, ""], nodes: int) -> StaticState:
    """The solution found from a guessed field: a damped search, then Newton steps that make it differentiable."""
    if not is_concrete(problem, kappa, variance):
        return _solve(problem, kappa, variance, nodes)
    states = solve_from_host(problem, np.asarray(kappa)[None], np.asarray(variance)[None], nodes)
    first = from_host(jax.tree.map(lambda leaf: np.asarray(leaf)[0], states))
    return eqx.tree_at(lambda s: s.problem, first, problem)


@as_program
def _solve(problem: Problem, kappa: Float[Array, " K"], variance: Float[Array, ""], nodes: int) -> StaticState:
    start = first_guess(problem, kappa, variance, nodes)
    near, most = jnp.asarray(_searched(start.dtype), start.dtype), _MOST_STEPS
    found = least_squares(lambda y, problem: _linear(y, problem, nodes), start, problem, near, most)
    size = 1 + jnp.abs(found)
    root = polish_root(lambda y, problem: mismatch(y, problem, nodes) / size, found, problem, num_steps=_NEWTON_STEPS)
    # Newton steps leave a point that is not isolated (a ring): there the search itself is the answer.
    isolated = jnp.all(jnp.abs(root.value - found) <= _MOVED * size) & root.converged
    y = jnp.where(isolated, root.value, found)
    missed = jnp.where(isolated, root.residual, jnp.max(jnp.abs(mismatch(found, frozen(problem), nodes)) / size))
    return _state(problem, y, missed, nodes)


def _linear(y: Float[Array, " K+2"], problem: Problem, nodes: int) -> tuple[Array, Array]:
    """The mismatch and its Jacobian."""
    return jax.jacfwd(lambda y: (mismatch(y, problem, nodes),) * 2, has_aux=True)(y)[::-1]


def _searched(dtype) -> float:
    return max(_SEARCHED, _SEARCHED_ROUNDINGS * float(jnp.finfo(dtype).eps))


def solve_from_host(
    problem: Problem, kappa: Float[np.ndarray, "b K"], variance: Float[np.ndarray, " b"], nodes: int
) -> StaticState:
    """`solve` from several guesses, by three small programs; every array of the state has an axis of guesses."""
    evaluate = lambda y: _in_blocks(_linear_rows, problem, (y,), nodes)
    start = _in_blocks(_guess_rows, problem, (kappa, variance), nodes)
    dtype = start.dtype
    found, value = least_squares_from_host(evaluate, start, np.asarray(_searched(dtype), dtype), _MOST_STEPS)
    y, miss, size = found, np.zeros(len(found), dtype), 1 + np.abs(found)
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            value_here, jacobian = evaluate(y)
            miss = np.max(np.abs(value_here) / size, axis=1)
            change = _solved(jacobian, value_here)
            y = y - change
            if np.all(np.abs(change) <= 4 * np.finfo(dtype).eps * (1 + np.abs(y))):
                break
        isolated = np.all(np.abs(y - found) <= _MOVED * size, axis=1)
    isolated &= miss <= max(1e-8, _ROUNDINGS * float(np.finfo(dtype).eps))
    y = np.where(isolated[:, None], y, found)
    missed = np.where(isolated, miss, np.max(np.abs(value) / size, axis=1))
    return _in_blocks(_state_rows, problem, (y, missed), nodes)


def _solved(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Solutions of linear equations, NaN where a matrix is singular."""
    singular = ~np.isfinite(np.linalg.det(matrices)) | (np.linalg.det(matrices) == 0)
    safe = np.where(singular[:, None, None], np.eye(matrices.shape[1]), matrices)
    return np.where(singular[:, None], np.nan, np.linalg.solve(safe, vectors[..., None])[..., 0])


def _in_blocks(rows, problem: Problem, arrays: tuple[np.ndarray, ...], nodes: int):
    """The results of a program for so many rows at a time: one row alone, or a block."""
    count = len(arrays[0])
    block = 1 if count == 1 else _BLOCK
    padded = [np.concatenate([a, np.repeat(a[-1:], -count % block, axis=0)]) for a in arrays]
    parts = [rows(problem, *(a[i : i + block] for a in padded), nodes) for i in range(0, len(padded[0]), block)]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[:count], *parts)


@as_program
def _guess_rows(problem, kappa, variance, nodes):
    return jax.vmap(lambda k, v: first_guess(problem, k, v, nodes))(kappa, variance)


@as_program
def _linear_rows(problem, y, nodes):
    return jax.vmap(lambda y: _linear(y, problem, nodes))(y)


@as_program
def _state_rows(problem, y, missed, nodes):
    return jax.vmap(lambda y, missed: _state(problem, y, missed, nodes))(y, missed)


def _state(problem: Problem, y: Float[Array, " K+2"], missed: Float[Array, ""], nodes: int) -> StaticState:
    """The state of the order parameters y, judged; ``missed`` is the largest error of the equations."""
    transfer, field = problem.transfer, field_at(problem, y)
    law = gaussian_field(transfer, field.mean, field.variance, field.reaction, nodes, 3 * nodes // 4)
    of, coarse = (
        averages_over(transfer, law, weights, field.variance, field.reaction) for weights in (law.weights, law.coarser)
    )
    errors = jax.tree.map(lambda a, b: jnp.abs(a - b) / (1 + jnp.abs(a)), of, coarse)
    residual = jax.lax.stop_gradient(jnp.max(jnp.stack([missed, *jax.tree.leaves(errors)])))

    spread = has_spread(field.variance)
    x, weights = law.x[: 2 * nodes], law.weights[: 2 * nodes]
    x = jnp.where(spread, x, law.x_of_mean)
    meaningful = (
        (field.variance > (_NEGATIVE if y.dtype == jnp.float64 else _NEGATIVE_SINGLE))
        & jnp.all(field.reaction * transfer.slope(x) < 1)
        & jnp.all(y[-1] * problem.ensemble.poles().real < 1)
    )
    return StaticState(
        kappa=y[:-2],
        mean=field.mean,
        # Exactly 0 without spread, with the derivative that the variance has.
        variance=field.variance - jnp.where(spread, 0, jax.lax.stop_gradient(field.variance)),
        rate=of.rate,
        rate_power=of.power,
        response=of.response,
        reaction=field.reaction,
        bulk=field.strength * of.square_response,
        x=x,
        weights=weights / jnp.sum(weights),
        residual=residual,
        converged=meaningful & (residual <= max(_TOLERANCE, _ROUNDINGS * float(jnp.finfo(y.dtype).eps))),
        problem=problem,
    )
