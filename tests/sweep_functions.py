"""What the sweeps of the tests compute, imported by name in the processes that run them; and such a process.

    python tests/sweep_functions.py OUTPUT [WORKERS]

runs the sweep `LONG` into OUTPUT.
"""

import functools
import hashlib
import operator
import os
import signal
import sys
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def key_of(seed, realisation, **values):
    """The key of a point: of the seed, 64 bits of the values, each hashed for itself, and the realisation."""
    hashes = [hashlib.sha256(f"{name}={value:.12g}".encode()).digest()[:8] for name, value in values.items()]
    code = functools.reduce(operator.xor, (int.from_bytes(one, "little") for one in hashes))
    key = jax.random.key(seed)
    for number in (code >> 32, code % 2**32, realisation):
        key = jax.random.fold_in(key, np.uint32(number))
    return key


def noisy(x, key, scale=1.0):
    """Cheap, random, and with everything that a result can be."""
    draw = jax.random.normal(key, (3,), x.dtype)
    return {
        "sum": x + scale * draw.sum(),
        "draw": draw,
        "tone": jax.lax.complex(jnp.cos(x), jnp.sin(x)),
        "count": jnp.int32(7),
    }


def product(a, b=2.0, n=1, word="x"):
    return a * b * jnp.arange(1, n + 1, dtype=a.dtype) + len(word)


class Point(NamedTuple):
    value: jax.Array
    converged: jax.Array


def partly(x, key):
    """Raises above 10, does not converge between 5 and 10, and is not finite at 3."""
    x = eqx.error_if(x, x > 10, "x is too large")
    draw = jax.random.normal(key, (), x.dtype)
    return Point(jnp.where(x == 3, jnp.nan, x + draw), x <= 5)


def identity(x):
    return x


def constant(n=3):
    return jnp.arange(n)


def text(x):
    return {"a": x, "b": "no array"}


def untraceable(x):
    y = jnp.sin(x)
    return float(np.sum(np.asarray(y)))


def ranks(x, n):
    """As many axes as n."""
    return jnp.full((2,) * n, x)


def matrix(gain, n, key):
    """Eigenvalues, the computation whose bits are most likely to depend on its surroundings."""
    return jnp.linalg.eigvals(gain * jax.random.normal(key, (n, n), gain.dtype) / np.sqrt(n))


def slowly(x, key):
    """`noisy`, each call of which takes 20 ms."""

    def wait(x):
        time.sleep(0.02)
        return x

    x = jax.pure_callback(wait, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="expand_dims")
    return noisy(x, key)


def deadly(x):
    """Kills the process that computes it, at x = 5."""

    def maybe(x):
        if np.any(x == 5):
            os._exit(1)
        return x

    return jax.pure_callback(maybe, jax.ShapeDtypeStruct((), x.dtype), x, vmap_method="expand_dims")


LONG = dict(
    function="sweep_functions:slowly",
    axes={"x": {"linspace": [0.0, 1.0, 32]}},
    realisations=8,
    batch=4,
    chunk=4,
)


def environment(**variables: str) -> dict[str, str]:
    """That of a process which imports this module, and the package as it lies here."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([here, os.path.dirname(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path} | variables


if __name__ == "__main__":
    from jaxnets import sweeps

    # What is started in the background ignores Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sweeps.run(sweeps.Sweep(**LONG), sys.argv[1], workers=int(sys.argv[2]) if len(sys.argv) > 2 else None)
    except KeyboardInterrupt as stopped:
        print(stopped)
        sys.exit(130)
