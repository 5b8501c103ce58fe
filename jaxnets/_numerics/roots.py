"""Roots of equations: the one home of Newton's method, bisection and the derivatives of implicit functions.

A solver of this package has two stages, because JAX cannot differentiate a loop of unknown length in reverse mode:

1. A **search** finds some digits of the root, without gradients: `bisect`, `newton_in_bracket`, `iterate`,
   `follow_line`, `find_root`, or an optimiser of optimistix on frozen arguments.
2. One of four functions makes these digits exact and differentiable. No other pattern is allowed:

   - `polish_root`, for up to some 30 unknowns: the rule. Derivatives of any order, in both modes, and a `Root`.
   - `last_steps`, for one unknown, or an array of independent ones: where a copy of `polish_root` is too slow, as in
     the innermost loop of other solvers, or for so many elements that their dense Jacobian is too large. Also where a
     solver has a Jacobian of its own that is cheaper.
   - `implicit_root`, for up to some 30 unknowns that the search finds to rounding: where programs hold many copies that
     are rarely differentiated. It evaluates the equations for derivatives alone, and compiles in half the time.
     Its derivative is `implicit_tangent`, for a solver with one more rule: `spectra.edges`, where an unknown is an
     extremum and its slope needs fewer derivatives.
   - `implicit_fixed_point`, for functions on a grid: where the Jacobian is too large to be formed. GMRES, first
     derivatives only.

A failed search is data: NaN, or a `Root` that has not converged. Nothing here raises inside `jit`.

**One concrete problem** should not wait for the compiler. So a search whose function is at the top level of a module,
and whose start and `args` are concrete, is a small compiled program of its own: it is compiled once per process, shapes
and types, whatever the numbers. Traced searches become part of the program around them. For this, equations take what
they depend on as `args`, and close over nothing: a function within a function is a new one at each call, and what it
closes over may be traced. A solver that is a sequence of such searches is decorated with `in_parts`. Inside `jit`, a
problem of constants is solved while the program around it is traced.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Inexact, Int

from .._results import Result
from .arrays import frozen, is_concrete
from .host import namespace, solve_on_host
from .programs import as_program

Y = TypeVar("Y")
P = ParamSpec("P")


class Root(Result):
    """A root of equations.

    Fields: `value`, the root; `residual`, the largest error of the equations, scaled to order one; `converged`, whether
    the residual is below the tolerance of the solver.
    """

    value: Any
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


# --- one concrete problem ---------------------------------------------------------------------------------------


def in_parts(solver: Callable[P, Y]) -> Callable[P, Y]:
    """A solver that runs step by step where all its arguments are concrete, and is one compiled program elsewhere.

    Each search in it is then a program of its own. What lies between the searches should be few operations in functions
    of their own by `as_program`, since each single operation would be compiled alone.
    """
    whole = as_program(solver)

    @functools.wraps(solver)
    def run(*args: P.args, **kwargs: P.kwargs) -> Y:
        if not is_concrete(args, kwargs):
            return whole(*args, **kwargs)
        with _at_once():
            return solver(*args, **kwargs)

    return run


def _at_once() -> Any:
    """Where operations on numbers are computed at once, also while a program is traced.

    Only there: it would compile each constant of the programs that are traced inside on its own, 40 for a small one.
    """
    is_tracing = isinstance(jax.device_put(0.0), Tracer)
    return jax.ensure_compile_time_eval() if is_tracing else contextlib.nullcontext()


def _is_alone(fn: Callable, *operands: Any) -> bool:
    """Whether this is one concrete problem, of a function that outlives the call."""
    lasting = isinstance(fn, eqx.Module) or "<locals>" not in getattr(fn, "__qualname__", "<locals>")
    return lasting and is_concrete(fn, operands)


def _run(search: Callable, fn: Callable, *operands: Any) -> Any:
    """search(fn, *operands), as a program of its own if it stands alone."""
    if not _is_alone(fn, *operands):
        return search(fn, *operands)
    with _at_once():
        return _program(search, fn, *operands)


@as_program
def _program(search, fn, *operands):
    return search(fn, *operands)


# --- searches: some digits, no gradients ----------------------------------------------------------------------


def bisect(
    is_below: Callable[[Array, Any], Bool[Array, "..."]],
    low: Inexact[Array, "..."],
    high: Inexact[Array, "..."],
    args: Any,
    num_steps: int = 60,
) -> tuple[Array, Array]:
    """The bracket (low, high) halved `num_steps` times, elementwise, without gradients.

    ``is_below(x, args)`` says whether the root lies between x and `high`. The ends may be complex numbers (points of a
    line in the plane), and `low` may exceed `high`. 60 halvings reach rounding in float64.
    """
    return _run(_bisect, is_below, low, high, args, num_steps)


def _bisect(is_below, low, high, args, num_steps):
    return bisect_knowing(lambda x, args: (is_below(x, args), ()), low, high, (), args, num_steps)[:2]


def bisect_knowing(
    look: Callable[[Array, Any], tuple[Bool[Array, "..."], Y]],
    low: Inexact[Array, "..."],
    high: Inexact[Array, "..."],
    known: Y,
    args: Any,
    num_steps: int | Int[Array, ""],
) -> tuple[Array, Array, Y]:
    """The ends of `bisect`, and what else ``look(x, args)`` found at `high`: it returns this beside `is_below`.

    One copy of `look` does both. Without steps, it looks at `high` alone. `known` has the shapes and types of what it
    finds, and any values.
    """
    low, high, args = frozen((low, high, args))
    some = len(jax.tree.leaves(known)) > 0

    def step(count, bracket):
        low, high, known = bracket
        middle = (low + high) / 2
        if some:  # a step more than halvings, the first one, which finds what is known at `high`
            middle = jnp.where(count == 0, high, middle)
        below, found = look(middle, args)
        below = below & (count > 0) if some else below
        known = jax.tree.map(lambda old, new: jnp.where(below, old, new), known, found)
        # Inside the loop too: what `look` closes over may carry tangents.
        return jax.lax.stop_gradient((jnp.where(below, middle, low), jnp.where(below, high, middle), known))

    return jax.lax.fori_loop(0 if some else 1, num_steps + 1, step, (low, high, known))


def newton_in_bracket(
    value_and_slope: Callable[[Array, Any], tuple[Array, Array]],
    start: Float[Array, "..."],
    low: Float[Array, "..."],
    high: Float[Array, "..."],
    args: Any,
    num_steps: int = 40,
) -> Float[Array, "..."]:
    """The roots of an increasing function, elementwise: Newton steps, halvings where a step leaves the bracket.

    ``value_and_slope(x, args)`` returns f and df/dx. One end of the bracket may be infinite: there, a step that leaves
    the bracket is not taken until the end is finite. Without gradients.
    """
    return _run(_newton_in_bracket, value_and_slope, start, low, high, args, num_steps)


def _newton_in_bracket(value_and_slope, start, low, high, args, num_steps):
    def narrow(_, carry):
        x, low, high = carry
        value, slope = value_and_slope(x, args)
        above = value > 0
        low, high = jnp.where(above, low, x), jnp.where(above, x, high)
        new = x - value / slope
        # A step of 0 ends at the root, whose neighbour on one side may still be the far end of the bracket.
        inside = ((new > low) & (new < high)) | (new == x)
        middle = jnp.where(jnp.isfinite(low + high), (low + high) / 2, x)
        return jax.lax.stop_gradient((jnp.where(inside, new, middle), low, high))

    bracketed, args = frozen(((start, low, high), args))
    return jax.lax.fori_loop(0, num_steps, narrow, bracketed)[0]


def iterate(
    step: Callable[[Y, Any], tuple[Y, Float[Array, ""]]],
    start: Y,
    args: Any,
    tolerance: Float[ArrayLike, ""],
    max_steps: int | Int[Array, ""],
) -> tuple[Y, Float[Array, ""]]:
    """Repeats y, miss = step(y, args) while the miss exceeds `tolerance`; returns the last y and its miss.

    For equations whose own step is better than `find_root`: in other coordinates, averaged, or of one complex number.
    It stops at a miss that is NaN, since no later step recovers from it. Not for reverse-mode differentiation.
    """
    return _run(_iterate, step, start, args, tolerance, max_steps)


def _iterate(step, start, args, tolerance, max_steps):
    def unfinished(carry):
        _, miss, count = carry
        return (miss > tolerance) & (count < max_steps)

    def again(carry):
        y, _, count = carry
        return *step(y, args), count + 1

    dtype = jnp.result_type(*(x.real.dtype for x in jax.tree.leaves(start) if eqx.is_inexact_array(x)))
    y, miss, _ = jax.lax.while_loop(unfinished, again, (start, jnp.array(jnp.inf, dtype), 0))
    return y, miss


def newton_step(
    fn: Callable[[Complex[Array, ""]], Complex[Array, ""]], y: Complex[Array, ""]
) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """One Newton step for one unknown (real, or complex with a holomorphic fn), and |fn| before the step."""
    value, slope = jax.jvp(fn, (y,), (jnp.ones_like(y),))
    return y - value / slope, jnp.abs(value)


def follow_line(
    step: Callable[[Array, Any, Float[ArrayLike, ""]], tuple[Array, Float[Array, ""]]],
    start: Inexact[Array, "..."],
    args: Any,
    num_parts: int,
    tolerance: Float[ArrayLike, ""],
    max_steps: int,
) -> tuple[Inexact[Array, "..."], Float[Array, ""]]:
    """A root followed along a line of problems, whose root at one end is known, to the problem at the other end.

    ``step(y, args, part)`` takes one step (`newton_step`) towards the root of the problem at a part of the line, 0 <
    part <= 1, and returns its miss. One step is taken at each of `num_parts` equal parts, then steps at the end of the
    line, as in `iterate`. So the root stays on the branch that starts at `start`, where Newton's method from afar may
    leave it.
    """
    return _run(_follow_line, step, start, args, num_parts, tolerance, max_steps)


def _follow_line(step, start, args, num_parts, tolerance, max_steps):
    y = jax.lax.fori_loop(0, num_parts, lambda k, y: step(y, args, (k + 1) / num_parts)[0], start)
    return _iterate(lambda y, args: step(y, args, 1.0), y, args, tolerance, max_steps)


def find_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    start: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-10,
    max_steps: int = 30,
) -> Float[Array, " k"]:
    """A root y of fn(y, args) near ``start`` by Newton's method, without gradients.

    Where the search fails, fn is not small at the y that it returns.
    """
    # Newton's corrections do not fall below some 100 roundings.
    tolerance = max(tolerance, 300 * float(jnp.finfo(start.dtype).eps))
    if _is_alone(fn, start, args):
        return _newton_from_host(fn, start, args, max_steps, tolerance)[0]
    start, args = frozen((start, args))
    y, _ = _iterate(lambda y, args: _newton_step(fn, y, args)[:2], start, args, tolerance, max_steps)
    return jax.lax.stop_gradient(y)


def _newton_step(fn, y, args):
    """The next y, the error of y and of the equations, each on its own scale, and that of the equations alone."""
    jacobian, value = jax.jacfwd(lambda y: (fn(y, args),) * 2, has_aux=True)(y)
    change = solve_few(jacobian, value)
    y, miss = y - change, jnp.max(jnp.abs(value))
    return y, jnp.maximum(jnp.max(jnp.abs(change) / (1 + jnp.abs(y))), miss), miss


def _newton_from_host(fn, y, args, num_steps, tolerance=-1.0):
    """Steps of one compiled program, which `find_root` and `polish_root` share: y, and the last miss."""
    miss = jnp.inf
    with _at_once():
        for _ in range(num_steps):
            y, error, miss = _program(_newton_step, fn, y, args)
            if not float(error) > tolerance:  # a number, since a comparison of arrays would be compiled
                break
    return y, miss


# --- what makes a root exact and differentiable ---------------------------------------------------------------


def polish_root(
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    y: Float[Array, " k"],
    args: Any,
    tolerance: float = 1e-8,
    num_steps: int = 3,
) -> Root:
    """A root of fn(y, args) = 0 known to some digits, made exact, and differentiable in ``args``.

    `num_steps` Newton steps, and the derivatives of the implicit function, of any order and in both modes. The
    residual is max |fn| before the last step, so `fn` should be scaled to order one. The `tolerance` is at least 3000
    roundings, which a well-conditioned root in float32 reaches.
    """

    tolerance = max(tolerance, 3000 * float(jnp.finfo(y.dtype).eps))
    if _is_alone(fn, y, args):
        y, miss = _newton_from_host(fn, y, args, num_steps)
        return Root(y, jnp.asarray(miss), jnp.asarray(float(miss) <= tolerance))

    def search(fn, y):
        def step(y, _):
            y, _, miss = _newton_step(lambda y, _: fn(y), y, None)
            return y, miss

        y, misses = jax.lax.scan(step, y, None, length=num_steps)
        return y, misses[-1]

    def invert(linear, value):
        return jnp.linalg.solve(jax.jacfwd(linear)(value), value)

    # The implicit adjoint of optimistix raises inside jit if one of many mapped problems fails; here failure is data.
    y, miss = jax.lax.custom_root(lambda y: fn(y, args), jax.lax.stop_gradient(y), search, invert, has_aux=True)
    residual = jax.lax.stop_gradient(miss)
    return Root(y, residual, residual <= tolerance)


def last_steps(
    step: Callable[[Y, Any], tuple[Y, Array]], y: Y, args: Any, num_steps: int = 3, *, unroll: bool = False
) -> tuple[Y, Array]:
    """A root known to rounding, made differentiable in ``args`` by its last steps; returns y and the last miss.

    ``step(y, args)`` returns the next y and its miss. The search before has no gradients; these steps have. Each Newton
    step doubles the order to which derivatives are exact, from the value alone: one step gives first derivatives, two
    the third. If the step holds its Jacobian fixed, each adds one order. `unroll` them where a loop would cost more
    than it saves.
    """
    y = jax.lax.stop_gradient(y)
    if unroll:
        miss = None
        for _ in range(num_steps):
            y, miss = step(y, args)
        assert miss is not None
        return y, jax.lax.stop_gradient(miss)
    y, misses = jax.lax.scan(lambda y, _: step(y, args), y, None, length=num_steps)
    return y, jax.lax.stop_gradient(misses[-1])


def implicit_root(
    search: Callable[[Any], Float[Array, " k"]],
    fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]],
    args: Any,
) -> Float[Array, " k"]:
    """search(args), a root of fn(y, args) = 0 to rounding, with the derivatives of the implicit function.

    The derivative is dy = -(dfn/dy)^-1 dfn(y, args), of any order and in both modes. Neither `search` nor `fn` may
    close over numbers that are differentiated.
    """

    @eqx.filter_custom_jvp
    def root(args):
        return search(args)

    @root.def_jvp
    def root_jvp(primals, tangents):
        y = root(*primals)
        return y, implicit_tangent(fn, y, primals, tangents)

    return root(args)


def implicit_tangent(fn: Callable[[Float[Array, " k"], Any], Float[Array, " k"]], y, primals: tuple, tangents: tuple):
    """dy of a root of fn(y, args) = 0 as `args` move, for solvers with a rule of derivatives of their own."""
    _, moved = eqx.filter_jvp(lambda args: fn(y, args), primals, tangents)
    moved = jnp.zeros_like(y) if moved is None else moved  # None where no number that moves enters
    return -solve_few(jax.jacfwd(fn)(y, *primals), moved)


def solve_few(matrix: Inexact[Any, "k k"], vector: Inexact[Any, " k"]) -> Inexact[Any, " k"]:
    """The solution of linear equations; of one or two in closed form: a decomposition takes longer to compile."""
    if namespace(matrix) is np:
        return solve_on_host(matrix, vector)
    if vector.shape[0] == 1:
        return vector / matrix[0]
    if vector.shape[0] != 2:
        return jnp.linalg.solve(matrix, vector)
    (a, b), (c, d) = matrix
    e, f = vector
    return jnp.stack([d * e - b * f, a * f - c * e]) / (a * d - b * c)


def implicit_fixed_point(update: Callable[[Y, Any], Y], y: Y, args: Any) -> Y:
    """A fixed point y = update(y, args), known to rounding, with first derivatives by GMRES, to some 1e-6."""
    solution = optx.fixed_point(
        update,
        # Tolerances of 1 accept the first step: the fixed point is known, and only its adjoint is asked for.
        optx.FixedPointIteration(rtol=1.0, atol=1.0),
        y,
        args,
        max_steps=2,
        adjoint=optx.ImplicitAdjoint(lx.GMRES(rtol=1e-6, atol=1e-9, restart=30, max_steps=10)),
        throw=False,
    )
    return solution.value
