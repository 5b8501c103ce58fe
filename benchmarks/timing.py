"""How long pieces of work take, and how fast the machine could be."""

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(function: Callable, *args: Any, repeats: int = 3) -> tuple[float, float, Any]:
    """Seconds of the first call without the work itself, the least of later ones, and what came out."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return seconds[0] - min(seconds[1:]), min(seconds[1:]), result


def flops(dtype: Any) -> float:
    """Operations a second of a large matrix product."""
    n = 2000
    a = jax.random.normal(jax.random.key(0), (n, n), dtype)
    return 2 * n**3 / timed(jax.jit(lambda a: a @ a), a)[1]
