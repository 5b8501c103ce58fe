"""The small problems that public functions are called with, and how a call is written."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian
from jaxnets.transfer import Tanh

RNG = np.random.default_rng(1)
KEY = jax.random.key(0)
N = 3
J = 0.4 * RNG.standard_normal((N, N))
LARGE = RNG.standard_normal((20, 20)) / 20**0.5
VECTOR = np.array([0.5, 1.0, 0.25])
STATES = RNG.standard_normal((2, N))
SERIES = RNG.standard_normal((40, N))
# Smooth in time, as a fit asks for.
RECORDING = np.apply_along_axis(np.convolve, 0, RNG.standard_normal((900, 12)), np.hanning(8), "valid")
PATTERNS = np.array([[1, 0, 1], [0, 1, 1]])
SPINS = np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
SIGNS = np.array([[0.0, -1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
CONDENSED = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.0]])
SMALL = DeepHebbian(0.05, 1.0, (0.3,), symmetric=True)
CIRCLE = np.exp(2j * np.pi * np.arange(9) / 8)
POINTS = 0.7 * np.exp(2j * np.pi * RNG.random(6))
QUIET = {"progress": False}
SHARES, TABLE = np.array([0.75, 0.25]), np.array([[1.0, 0.4], [0.3, 0.8]])


class Made(NamedTuple):
    """An argument that is computed when it is first needed, and kept; `costly` if that takes seconds."""

    make: Callable[[], Any]
    costly: bool = False


class Call(NamedTuple):
    """One way to call a function.

    `heavy`: a call that is not refused compiles for seconds. `nan` are fields of the result that the documentation
    allows to be NaN; "" is a result that is one number or array.
    """

    function: Callable
    arguments: Callable[[], dict[str, Any]]
    heavy: bool = False
    nan: tuple[str, ...] = ()
    costly: bool = False  # to make the arguments


def of(function, heavy=False, nan=(), **arguments):
    made = lambda: {name: value.make() if isinstance(value, Made) else value for name, value in arguments.items()}
    costly = any(isinstance(value, Made) and value.costly for value in arguments.values())
    return Call(function, made, heavy, nan, costly)


@functools.cache
def net():
    return jn.dynamics.RateNetwork(J, Tanh())


@functools.cache
def state():
    return jn.meanfield.stationary(IID(1.5), Tanh(), num_lags=129)
