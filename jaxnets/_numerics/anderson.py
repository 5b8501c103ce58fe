"""Anderson's acceleration of y <- G(y): a secant step along the directions of the last steps, a plain one elsewhere."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Found = TypeVar("Found")

# Singular values of the last changes below this part of the largest are noise.
_RANK = 1e-8
# A miss that has grown by more than this was due to them.
_GROWN = 2.0


def accelerated(
    update: Callable[[Float[Array, " k"]], tuple[Float[Array, " k"], Found]],
    start: Float[Array, " k"],
    found: Found,
    tolerance: Float[Array, ""],
    max_steps: Int[Array, ""],
    *,
    depth: int,
    largest: float,
) -> tuple[Float[Array, " k"], Found, Float[Array, ""]]:
    r"""The fixed point y of ``update`` near ``start``, without gradients; what it found there, and its miss.

    ``update(y)`` returns G(y) and what else it found, whose shapes and types are those of `found`. With misses
    f = G(y) - y, and changes of y and f in the last `depth` steps in the rows of dY and dF, the next y is

    $$ y + f - (dY + dF)^T \gamma, \qquad \gamma = \mathrm{argmin}\, |f - dF^T \gamma|. $$

    Where the miss has doubled, the last steps are forgotten. No element changes by more than `largest`. Steps end at a
    largest miss of `tolerance`, or one that is NaN; what was found belongs to the y before the last step, whose miss is
    returned.
    """

    def step(carry):
        y, last_y, last_f, changes, _, last_miss, count = carry
        new, found = update(y)
        f = new - y
        miss = jnp.max(jnp.abs(f))
        # The first step has no change before it: rows of 0 have no part.
        change = jax.tree.map(lambda a, b: jnp.where(count > 0, a - b, 0), (y, f), (last_y, last_f))
        changes = jax.tree.map(lambda rows, row: jnp.roll(rows, 1, 0).at[0].set(row), changes, change)
        dY, dF = (jnp.where(miss > _GROWN * last_miss, 0, rows) for rows in changes)
        gamma = jnp.linalg.lstsq(dF.T, f, rcond=_RANK)[0]
        moved = jnp.clip(f - (dY + dF).T @ gamma, -largest, largest)
        return y + moved, y, f, (dY, dF), found, miss, count + 1

    def unfinished(carry):
        *_, miss, count = carry
        return (miss > tolerance) & (count < max_steps)

    none = jnp.zeros((depth, start.shape[0]), start.dtype)
    infinite = jnp.full((), jnp.inf, start.dtype)
    carry: Any = (start, start, jnp.zeros_like(start), (none, none), found, infinite, 0)
    _, y, _, _, found, miss, _ = jax.lax.while_loop(unfinished, step, carry)
    return y, found, miss
