"""One concrete problem on the host: the same equations in NumPy, where nothing is compiled.

A function of this package is written once. It takes `xp = namespace(x)` for the module of its array x. Given NumPy
arrays, it runs at once; given JAX arrays, it can be traced, mapped and differentiated. A solver moves a concrete
problem of few numbers to the host by `on_host`: its equations take milliseconds, and their program seconds to compile.
The loops below are those of JAX for traced problems, and loops of Python that may end early on the host.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

Y = TypeVar("Y")

# A step is not taken below so many roundings, which is where the conditions of the equations leave it.
_LAST = 64
# The shortest part of a step of Newton's, in halvings.
_HALVINGS = 12


def namespace(x: Any) -> ModuleType:
    """NumPy for its own arrays and `jax.numpy` for all others."""
    return np if isinstance(x, np.ndarray | np.generic) else jnp


def plane(x: Any, y: Any) -> Any:
    """x + i y, in the precision of x and y."""
    return x + 1j * y if namespace(x) is np else jax.lax.complex(x, y)


def on_host(tree: Any) -> Any:
    """The same concrete problem with NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf) if eqx.is_array(leaf) else leaf, tree)


def light(module: Any) -> Any:
    """An ordinary object with the fields and methods of a module, and of the modules in its fields.

    Equinox makes a new module of each method that is called, which takes longer than the equations themselves.
    """
    if not isinstance(module, eqx.Module):
        return module
    bare = _ordinary(type(module))()
    bare.__dict__.update({field.name: light(getattr(module, field.name)) for field in dataclasses.fields(module)})
    return bare


@functools.cache
def _ordinary(kind: type) -> type:
    members = {name: inspect.getattr_static(kind, name) for name in dir(kind) if name == "__call__" or name[:2] != "__"}
    return type(kind.__name__, (), {name: getattr(member, "method", member) for name, member in members.items()})


def from_host(tree: Any) -> Any:
    """What was found there, in arrays of JAX."""
    # `jnp.asarray` compiles a copy for each shape and type, and one call for each leaf takes longer.
    return jax.device_put(tree)


def loop(step: Callable[[Int[Any, ""], Y], tuple[Y, Float[Any, ""]]], start: Y, num_steps: int, *, numpy: bool) -> Y:
    """What `num_steps` of y, moved = step(i, y) make of `start`; on the host (`numpy`) until nothing has moved."""
    if not numpy:
        return jax.lax.fori_loop(0, num_steps, lambda i, y: step(i, y)[0], start)
    y = start
    for i in range(num_steps):
        y, moved = step(np.asarray(i), y)
        if moved == 0:
            break
    return y


def repeated(step: Callable[[Y], Y], unfinished: Callable[[Y], Any], start: Y, *, numpy: bool) -> Y:
    """``y = step(y)`` while ``unfinished(y)``: a compiled loop, or on the host (`numpy`) one of Python."""
    if not numpy:
        return jax.lax.while_loop(unfinished, step, start)
    y = start
    while unfinished(y):
        y = step(y)
    return y


def solve_on_host(matrix: Float[np.ndarray, "k k"], vector: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The solution of linear equations, NaN where they have none: as in JAX, failure is data."""
    try:
        return np.linalg.solve(matrix, vector)
    except np.linalg.LinAlgError:
        return np.full_like(vector, np.nan)


def newton_on_host(
    fn: Callable[[Float[Any, " k"]], Float[Any, " k"]],
    y: Float[Any, " k"],
    num_steps: int,
    jacobian: Callable[[Float[Any, " k"]], Float[Any, "k k"]] | None = None,
) -> tuple[Float[Any, " k"], Float[Any, ""]]:
    """A root of fn near y, and max |fn| there, by at most `num_steps` of Newton's.

    A step is halved until it makes fn smaller, so that none leaves the range where fn has a meaning (NaN elsewhere).
    The search ends where no part of a step does: at rounding, or at a minimum of |fn| that is no root. Without a
    `jacobian`, fn is differenced to half of its digits, so that each step leaves some 1e-8 of the error.
    """
    value = fn(y)
    for _ in range(num_steps):
        matrix = differences(fn, y, value) if jacobian is None else jacobian(y)
        if not np.all(np.isfinite(matrix)) or np.linalg.matrix_rank(matrix) < len(y):
            break
        change = np.linalg.solve(matrix, value)
        if np.max(np.abs(change) / np.maximum(1, np.abs(y))) < _LAST * np.finfo(y.dtype).eps:
            break
        for part in 0.5 ** np.arange(_HALVINGS, dtype=y.dtype):
            new = y - part * change
            new_value = fn(new)
            if np.max(np.abs(new_value)) < np.max(np.abs(value)):
                break
        else:
            break
        y, value = new, new_value
    return y, np.max(np.abs(value))


def differences(
    fn: Callable[[Float[Any, " k"]], Float[Any, " k"]], y: Float[np.ndarray, " k"], value: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k k"]:
    """The Jacobian of fn, whose value at y is known, to half of its digits."""
    steps = np.finfo(y.dtype).eps ** 0.5 * np.maximum(1, np.abs(y))
    return np.stack([(fn(y + h) - value) / np.max(h) for h in np.diag(steps)], 1)
