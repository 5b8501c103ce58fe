"""Programs that are compiled in less time where they stand alone."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import get_opaque_trace_state

# XLA's older emitter of loops for CPUs compiles a small loop in half the time, some 20 ms less. The edge, boundary
# and density of a law of two shifts take 1.5, 3.7 and 6.7 s of a core to compile and not 2.7, 6.1 and 10.3, and run as
# fast. JAX 0.11 does not know this option.
_OPTIONS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
# The state of a new thread, since rooms are loaded when they are first used, perhaps in a function that JAX traces.
with ThreadPoolExecutor(1) as _thread:
    _NOTHING_TRACED = _thread.submit(get_opaque_trace_state).result()


def as_program(function: Callable[..., Any], jit: Callable[..., Any] = eqx.filter_jit, **options: Any) -> Any:
    """``jit(function, **options)``, with quicker compilation where nothing is traced around the call.

    A program within another one is compiled as part of it, with its options.
    """
    within = jit(function, **options)
    alone = jit(function, compiler_options=_OPTIONS, **options) if _OPTIONS else within

    @functools.wraps(function)
    def call(*args, **kwargs):
        return (alone if get_opaque_trace_state() == _NOTHING_TRACED else within)(*args, **kwargs)

    return call
