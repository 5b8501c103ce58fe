r"""Fits: the least loss over constrained parameters, from one start or many, with errors.

The search runs over the free numbers u of the transforms (see `parameters`), x = x(u). If the loss is minus a
log-likelihood, its curvature H at the best u gives the covariance of the fitted parameters,

$$ \mathrm{Cov}\, u = H^{-1}, \qquad \mathrm{Cov}\, x = \frac{\partial x}{\partial u} H^{-1}
   \frac{\partial x}{\partial u}^T, $$

with H = A^T A, A = dr/du, for the loss |r|^2 / 2 of residuals r in units of their standard errors. Directions along
which the loss does not curve are not identifiable.

This module knows no physics. Another search is one more function like `_descend` that returns an `_End`.
"""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from .._arguments import positive, real_array, require, require_whole, scalar, vector
from .._numerics import as_program, is_concrete
from .._results import Result
from . import squares
from .parameters import Space, Transforms, space_of, stacked_starts

# A combination of numbers is flat if its curvature, in units of their own curvatures, is below `_FLAT`: its standard
# error is then 10^4 times as large as the errors of the numbers alone. Numbers of different units may differ more, so a
# single number is flat only if its curvature is below `_FLAT_ALONE` times `_FLAT` of the largest one. A number that has
# less than `_TOUCHED` of a flat unit vector keeps its error.
_FLAT, _FLAT_ALONE, _TOUCHED = 1e-8, 1e-4, 1e-3


class NotIdentifiable(UserWarning):
    """The data do not determine some combination of parameters."""


class Fit(Result, axes={"k": "step", "s": "start", "p": "direction", "n": "component"}):
    """The best of all starts, made by `fit` and `least_squares`.

    `error` is a tree like `params`: standard errors, 0 for fixed parameters, inf for parameters that are not
    identifiable. `covariance` is the covariance of the components, in the order of `names`, along identifiable
    directions alone. `history` has the loss of the best start at each of its `num_steps` steps and NaN afterwards; by
    `least_squares` it has the loss before and after. `losses` has the last loss of each start, NaN for one that failed.
    `gradient_norm` is the largest component of the gradient with respect to the numbers `free`, which `space` maps to
    parameters. `flat` tells which of the `directions`, unit vectors in the components, are not identifiable.
    """

    params: PyTree
    error: PyTree
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    converged: Bool[Array, ""]
    num_steps: Int[Array, ""]
    history: Float[Array, " k"]
    losses: Float[Array, " s"]
    covariance: Float[Array, "n n"]
    flat: Bool[Array, " p"]
    directions: Float[Array, "p n"]
    names: tuple[str, ...] = eqx.field(static=True)
    space: Space
    free: Float[Array, " p"]

    def unidentified(self) -> tuple[str, ...]:
        """The directions that are not identifiable, by the paths of parameters: '0.71 g - 0.71 load'."""
        return tuple(
            _combination(direction, self.names)
            for direction, flat in zip(np.asarray(self.directions), np.asarray(self.flat), strict=True)
            if flat
        )


def fit(
    loss: Callable[..., Float[Array, ""]],
    params: PyTree,
    *data: PyTree,
    optimiser: optax.GradientTransformation | None = None,
    max_steps: int = 500,
    tolerance: float = 1e-6,
    transforms: Transforms | None = None,
    starts: PyTree | None = None,
) -> Fit:
    r"""The parameters of least `loss(params, *data)`, by gradients, in one compiled loop.

    $$ \hat x = \mathrm{argmin}_x\, L(x), \qquad \mathrm{Cov}\, x = \Big(\frac{\partial^2 L}{\partial x^2}\Big)^{-1} $$

    `params` is the start: any tree with float leaves, such as a dict or an ensemble. `transforms` are constraints by
    path, {"load": Positive(), "overlap": Interval(-1, 1)}; other floats are free. `optimiser` is any of optax, L-BFGS
    if None. It stops where the gradient in the free numbers is below `tolerance` times max(1, |loss|), or after
    `max_steps`; `converged` says which. `starts`, a tree like `params` with one more axis in front (see `draw_starts`),
    replaces the one start by many, which run together. A start whose loss becomes NaN ends there with its best point.

    Free numbers should be of order one: L-BFGS, unlike `least_squares`, depends on their units. `Positive` makes any
    unit of a parameter one.

    Errors are valid, as standard errors, if the loss is minus a log-likelihood and a parabola within them; `profile`
    does not need the parabola. Directions without curvature are named in a `NotIdentifiable` warning.

    A function that is defined once is compiled once: pass changing arrays as `data` rather than in a closure. Works
    under `jit` and `vmap`, without warnings there. If no start has a finite loss, all numbers are NaN and `converged`
    is False.

    Raises:
        ValueError: for parameters outside their constraints, unknown paths in `transforms`, starts that do not fit,
            max_steps < 1 and a tolerance that is not positive.
    """
    space, from_ = _prepared(params, transforms, starts, max_steps, tolerance)
    alone = optimiser is None and from_.shape[0] == 1 and is_concrete(from_, data)
    result = _fit_from_host(loss, space, from_, data, max_steps, tolerance) if alone else None
    if result is None:
        result = _fit(loss, space, from_, data, _LBFGS if optimiser is None else optimiser, max_steps, tolerance)
    _warn(result)
    return result


def least_squares(
    residuals: Callable[..., Float[Array, " m"]],
    params: PyTree,
    *data: PyTree,
    max_steps: int = 100,
    tolerance: float = 1e-8,
    transforms: Transforms | None = None,
    starts: PyTree | None = None,
) -> Fit:
    r"""The parameters of least |r|^2 / 2, r = `residuals(params, *data)`, by the method of Levenberg and Marquardt.

    $$ \hat x = \mathrm{argmin}_x\, \tfrac12 |r(x)|^2, \qquad \mathrm{Cov}\, u = (A^T A)^{-1}, \qquad
       A = \frac{\partial r}{\partial u} $$

    The errors are valid for independent residuals in units of their standard errors; `with_covariance` gives the errors
    of a fit to other residuals. Arguments, results, warnings and errors are as in `fit`. The search does not depend on
    the units of parameters and residuals. It stops where the linear model promises residuals, or each free number, a
    change of less than `tolerance` times their size. `converged` is also True where rounding leaves no step that makes
    the residuals fall, and they are nearly 0 or nearly orthogonal to the slopes. Derivatives are taken forwards, one
    column for each free number.
    """
    space, from_ = _prepared(params, transforms, starts, max_steps, tolerance)
    evaluate = lambda starts: _residuals_and_slopes(residuals, space, starts, data)
    result = _squares_result(squares.search(evaluate, from_, max_steps, tolerance), space)
    _warn(result)
    return result


def with_covariance(
    result: Fit, residuals: Callable[..., Float[Array, " m"]], covariance: Float[ArrayLike, "m m"], *data: PyTree
) -> Fit:
    r"""A fit by `least_squares` with the errors that residuals of that `covariance` give, rather than independent ones.

    $$ \mathrm{Cov}\, u = A^+\, \Sigma\, (A^+)^T, \qquad A^+ = (A^T A)^{-1} A^T $$

    The parameters of `result` stay: its weights were plain, and now its errors are true. So Sigma may be
    singular or known from few repetitions, and could then not be inverted to weights. Directions that are not
    identifiable stay so. Valid to first order in the errors. Raises `ValueError` if `covariance` is not (m, m) or not
    finite.
    """
    covariance = real_array("covariance", covariance)
    require("covariance", covariance, np.isfinite, "finite")
    A = _residuals_and_slopes(residuals, result.space, result.free[None], data)[1][0]
    covariance = covariance.astype(A.dtype)
    if covariance.shape != (A.shape[0], A.shape[0]):
        raise ValueError(f"`covariance` must have shape {(A.shape[0],) * 2}, as many residuals, got {covariance.shape}")
    of_params, errors = _sandwich(result, A, covariance)
    return eqx.tree_at(lambda f: (f.covariance, f.error), result, (of_params, errors))


@as_program
def _sandwich(result: Fit, A: Float[Array, "m p"], covariance: Float[Array, "m m"]) -> tuple[Float[Array, "n n"], Any]:
    gather = jax.jacfwd(result.space.vector)(result.free) @ jnp.linalg.pinv(A)
    of_params = gather @ covariance @ gather.T
    unknown = jnp.isinf(result.space.components(result.error))
    errors = jnp.where(unknown, jnp.inf, jnp.sqrt(jnp.diagonal(of_params)))
    return of_params, result.space.like_params(errors, 0.0)


# --- the two searches

_LBFGS = optax.lbfgs()  # one object, for optimisers are told apart by identity, and a new one is compiled anew


class _End(eqx.Module):
    """Where a search ended."""

    u: Float[Array, " p"]
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_steps: Int[Array, ""]
    history: Float[Array, " k"]
    converged: Bool[Array, ""]


@as_program
def _fit(loss, space, starts, data, optimiser, max_steps, tolerance) -> Fit:
    of_u = lambda u: loss(space.params(u), *data)
    optimiser = optax.with_extra_args_support(optimiser)
    ends = _from_each(lambda u: _descend(of_u, u, optimiser, max_steps, tolerance), starts)
    best = _best(ends, ends.loss)
    return _result(best, ends.loss, space, jax.hessian(of_u)(best.u))


def _fit_from_host(loss, space, starts, data, max_steps, tolerance) -> Fit | None:
    """One concrete start, by SciPy's L-BFGS: loss and gradient are compiled, but no search around them.

    None if the loss closes over something traced.
    """
    evaluate = lambda u: _loss_and_gradient(loss, space, jnp.asarray(u, starts.dtype), data)
    if not is_concrete(evaluate(starts[0])):  # what the loss closes over
        return None
    end = _descend_from_host(evaluate, starts[0], max_steps, tolerance)
    return _curved_result(loss, space, data, end)


def _descend_from_host(evaluate, start: Float[Array, " p"], max_steps: int, tolerance: float) -> "_End":
    """As `_descend`, by L-BFGS; `evaluate` gives loss and gradient."""
    path, near, dtype = [], {}, start.dtype

    def seen(u):
        value, gradient = (np.asarray(x, float) for x in evaluate(u))
        near[u.tobytes()] = u.copy(), float(value), gradient
        return near[u.tobytes()]

    def objective(u):
        _, value, gradient = seen(u)
        if np.isfinite(value) and np.isfinite(gradient).all():
            return value, gradient
        # As if the loss had risen as it falls at the last point: the search tries half of the step.
        _, value, gradient = path[-1]
        return value + 1e-9 * abs(value), -gradient

    def arrive(u):
        path.append(near.get(u.tobytes()) or seen(u))
        near.clear()
        _, value, gradient = path[-1]
        if not np.max(np.abs(gradient)) > tolerance * max(1, abs(value)):
            raise StopIteration

    with contextlib.suppress(StopIteration):
        arrive(at_start := np.asarray(start, float))
        options = {"maxiter": max_steps - 1, "maxfun": 20 * max_steps, "ftol": 0, "gtol": 0}
        if max_steps > 1 and np.isfinite(path[0][1]):
            scipy.optimize.minimize(objective, at_start, jac=True, method="L-BFGS-B", callback=arrive, options=options)
    u, value, gradient = path[-1]
    norm = np.max(np.abs(gradient))
    losses = [value for _, value, _ in path]
    history = np.array(losses + [np.nan] * (max_steps - len(losses)))
    small = np.isfinite(value) and norm <= tolerance * max(1, abs(value))
    u, value, norm, history = (jnp.asarray(x, dtype) for x in (u, value, norm, history))
    return _End(u, value, norm, jnp.asarray(len(path)), history, jnp.asarray(small))


@as_program
def _loss_and_gradient(loss, space, u, data):
    return jax.value_and_grad(lambda u: loss(space.params(u), *data))(u)


@as_program
def _curved_result(loss, space, data, end: _End) -> Fit:
    H = jax.hessian(lambda u: loss(space.params(u), *data))(end.u)
    return _result(end, end.loss[None], space, H)


@as_program
def _residuals_and_slopes(residuals, space, starts, data) -> tuple[Float[Array, "s m"], Float[Array, "s m p"]]:
    with_slopes = jax.jacfwd(lambda u: (residuals(space.params(u), *data),) * 2, has_aux=True)
    A, r = _from_each(with_slopes, starts)
    return r, A


@as_program
def _squares_result(ends: squares.Search, space: Space) -> Fit:
    gradient_norm = jax.vmap(lambda A, r: jnp.max(jnp.abs(A.T @ r)))(ends.A, ends.r)
    losses = jnp.where(jnp.isinf(ends.loss), jnp.nan, ends.loss)
    history = jnp.stack([ends.first_loss, losses], axis=1)
    found = _End(ends.u, losses, gradient_norm, ends.num_steps, history, ends.converged)
    best, A = _best((found, ends.A), losses)
    return _result(best, losses, space, A.T @ A)


def _from_each(search: Callable[[Float[Array, " p"]], Any], starts: Float[Array, "s p"]) -> Any:
    """The search from every start together; from a single one without the price of `vmap`: both sides of branches."""
    if starts.shape[0] > 1:
        return jax.vmap(search)(starts)
    return jax.tree.map(lambda x: x[None], search(starts[0]))


def _descend(
    loss: Callable[[Float[Array, " p"]], Float[Array, ""]],
    start: Float[Array, " p"],
    optimiser: optax.GradientTransformationExtraArgs,
    max_steps: int,
    tolerance: float,
) -> _End:
    """Steps of the optimiser until the gradient is small, with the best point on the way."""
    state = optimiser.init(start)
    # The line search of some optimisers ends with the value and the gradient that the next step begins with.
    keeps = all(optax.tree.get(state, name) is not None for name in ("value", "grad"))
    evaluate: Any = optax.value_and_grad_from_state(loss) if keeps else lambda u, state: jax.value_and_grad(loss)(u)

    def more(carry):
        _, _, best, going = carry
        return going & (best.num_steps < max_steps)

    def step(carry):
        u, state, best, _ = carry
        value, gradient = evaluate(u, state=state)
        norm = jnp.max(jnp.abs(gradient))
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        better = finite & (value < best.loss)
        small = finite & (norm <= tolerance * jnp.maximum(1, jnp.abs(value)))
        best = _End(
            jnp.where(better, u, best.u),
            jnp.where(better, value, best.loss),
            jnp.where(better, norm, best.gradient_norm),
            best.num_steps + 1,
            best.history.at[best.num_steps].set(jnp.where(finite, value, jnp.nan)),
            jnp.where(better, small, best.converged),
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers of two widths
            updates, state = optimiser.update(gradient, state, u, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(u, updates), state, best, finite & ~small

    infinity = jnp.full((), jnp.inf, start.dtype)
    unknown = jnp.full(max_steps, jnp.nan, start.dtype)
    nothing = _End(start, infinity, infinity, jnp.array(0), unknown, jnp.array(False))
    end = jax.lax.while_loop(more, step, (start, state, nothing, jnp.array(True)))[2]
    failed = jnp.isinf(end.loss)
    unset = lambda x: jnp.where(failed, jnp.nan, x)
    return eqx.tree_at(lambda e: (e.loss, e.gradient_norm), end, replace_fn=unset)


def _best(ends: Any, losses: Float[Array, " s"]) -> Any:
    index = jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))
    return jax.tree.map(lambda x: x[index], ends)


# --- errors


def _result(best: _End, losses: Float[Array, " s"], space: Space, H: Float[Array, "p p"]) -> Fit:
    covariance_u, flat, directions_u, touched_u = _invert(H)
    failed = ~jnp.isfinite(best.loss)
    slopes = jax.jacfwd(space.vector)(best.u)
    covariance = slopes @ covariance_u @ slopes.T
    directions = directions_u @ slopes.T
    length = jnp.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / jnp.where(length > 0, length, 1)
    touched = (slopes != 0).astype(H.dtype) @ touched_u.astype(H.dtype) > 0
    errors = jnp.where(touched, jnp.inf, jnp.sqrt(jnp.diagonal(covariance)))
    covariance, errors, u = (jnp.where(failed, jnp.nan, x) for x in (covariance, errors, best.u))
    return Fit(
        params=space.params(u),
        error=space.like_params(errors, 0.0),
        loss=best.loss,
        gradient_norm=best.gradient_norm,
        converged=best.converged,
        num_steps=best.num_steps,
        history=best.history,
        losses=losses,
        covariance=covariance,
        flat=flat & ~failed,
        directions=directions,
        names=space.names(),
        space=space,
        free=u,
    )


def _invert(
    H: Float[Array, "p p"],
) -> tuple[Float[Array, "p p"], Bool[Array, " p"], Float[Array, "p p"], Bool[Array, " p"]]:
    """The inverse of H on its curved directions, which directions are flat, all directions, and the numbers they move.

    A direction is flat, whatever the units, if it is one number that curves the loss far less than another number
    does, or a combination of numbers that is flat in units of their own curvatures.
    """
    least = max(_FLAT, 100 * float(jnp.finfo(H.dtype).eps))
    H = jnp.where(jnp.isfinite(H), (H + H.T) / 2, 0)
    curvature = jnp.diagonal(H)
    alone = curvature <= _FLAT_ALONE * least * jnp.max(jnp.abs(curvature))
    scale = 1 / jnp.sqrt(jnp.where(alone, 1, curvature))
    both = alone[:, None] | alone[None]
    C = jnp.where(both, 0, H * scale[:, None] * scale[None])
    values, vectors = jnp.linalg.eigh(C)
    flat = values <= least
    inverse = vectors @ (jnp.where(flat, 0, 1 / jnp.where(flat, 1, values))[:, None] * vectors.T)
    covariance = inverse * scale[:, None] * scale[None]
    directions = vectors.T * scale[None]
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    touched = jnp.any(flat[:, None] & (jnp.abs(vectors.T) > _TOUCHED), axis=0)
    return covariance, flat, directions, touched


def _combination(direction: np.ndarray, names: tuple[str, ...]) -> str:
    """'g', or '0.71 g - 0.71 load' with the largest first; terms below 1% are left out."""
    largest = np.max(np.abs(direction), initial=0)
    order = [i for i in np.argsort(-np.abs(direction), kind="stable") if abs(direction[i]) > 0.01 * largest]
    if len(order) == 1:
        return names[order[0]]
    first = np.sign(direction[order[0]]) if order else 1
    terms = [f"{'-' if direction[i] * first < 0 else '+'} {abs(direction[i]):.2f} {names[i]}" for i in order]
    return " ".join(terms).removeprefix("+ ")


def _warn(result: Fit) -> None:
    if not is_concrete(result.flat):
        return
    if names := result.unidentified():
        message = f"the data do not determine {'; nor '.join(names)}: fix a parameter with `Fixed()`, or add data"
        warnings.warn(message, NotIdentifiable, stacklevel=3)


def _prepared(params, transforms, starts, max_steps, tolerance) -> tuple[Space, Float[Array, "s p"]]:
    require_whole("max_steps", max_steps)
    require("tolerance", scalar("tolerance", tolerance), positive, "a finite number > 0")
    space = space_of(params, transforms)
    return space, _start(space) if starts is None else stacked_starts(space, starts)


@as_program
def _start(space: Space) -> Float[Array, "1 p"]:
    return space.at_values()[None]


# --- profiles


class Profile(Result, axes={"k": "values"}):
    """The least `losses` with one parameter held at `values`, made by `profile`; `low` and `high` end its interval."""

    values: Float[Array, " k"]
    losses: Float[Array, " k"]
    converged: Bool[Array, " k"]
    low: Float[Array, ""]
    high: Float[Array, ""]


def profile(
    loss: Callable[..., Float[Array, ""]],
    result: Fit,
    name: str,
    values: Float[ArrayLike, " k"],
    *data: PyTree,
    optimiser: optax.GradientTransformation | None = None,
    max_steps: int = 500,
    tolerance: float = 1e-6,
) -> Profile:
    r"""The least loss over all other parameters while the component `name` is held at each of `values`.

    $$ L_p(v) = \min_{x: x_{name} = v} L(x), \qquad L_p(\mathrm{low}) = L_p(\mathrm{high}) = L(\hat x) + \tfrac12 $$

    For a log-likelihood, the interval from low to high is one standard error wide to either side, valid also where the
    log-likelihood is no parabola. Its ends come from sqrt(2 (L_p - L)), linear between the rising `values`, and are NaN
    where the values do not enclose them. `result` is a fit of the same loss, or by `least_squares` of residuals with
    half the sum of squares as `loss`, and all searches start from it. Other arguments are as in `fit`.

    Raises:
        ValueError: if no fitted component has that ``name``, or it is a weight of a simplex, and for ``values`` that
            break the constraint.
    """
    require_whole("max_steps", max_steps)
    require("tolerance", scalar("tolerance", tolerance), positive, "a finite number > 0")
    index, transform = result.space.coordinate(name)
    held = vector("values", values).astype(result.free.dtype)
    require("values", held, transform.holds, transform.expected())
    optimiser = optax.with_extra_args_support(optax.lbfgs() if optimiser is None else optimiser)
    return _profile(loss, result, index, transform, name, held, data, optimiser, max_steps, tolerance)


@as_program
def _profile(loss, result, index, transform, name, held, data, optimiser, max_steps, tolerance) -> Profile:
    others = jnp.delete(result.free, index, assume_unique_indices=True)

    def least(value):
        place = lambda rest: jnp.insert(rest, index, transform.free(value))
        of_rest = lambda rest: loss(result.space.params(place(rest)), *data)
        if others.size == 0:
            return of_rest(others), jnp.array(True)
        end = _descend(of_rest, others, optimiser, max_steps, tolerance)
        return end.loss, end.converged

    losses, converged = jax.vmap(least)(held)
    best = result.space.vector(result.free)[result.names.index(name)]
    rise = jnp.sqrt(2 * jnp.maximum(losses - result.loss, 0)) * jnp.sign(held - best)
    low, high = jnp.interp(jnp.array([-1.0, 1.0], held.dtype), rise, held, left=jnp.nan, right=jnp.nan)
    return Profile(held, losses, converged, low, high)
