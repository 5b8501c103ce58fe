r"""The lags from 0 to L of functions that are even and flat at the end, and the leak of units there.

Functions are held at Chebyshev nodes, which crowd at lag 0, where a unit with strong couplings is fast. The leak is the
inverse of 1 - tau^2 d^2/dlag^2 with slopes 0 at both ends. The eigenvectors of the second derivative there depend on
the number of nodes alone, and are well conditioned (7 for 96 nodes), so that one diagonal matrix holds all of tau and
L. A noise that makes C'(0) differ from 0 is added apart.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev

from ..._numerics.host import namespace
from ...eigen import host_eigenvalues

# Nodes of lags. tanh at g = 5 leaves 1e-9 of C in the last coefficients.
NODES = 96
# Lags are L (e^{as} - 1) / (e^a - 1) at Chebyshev nodes s: dense where rates are fast, twelve times as at the end.
_DENSER = 2.5
# Shift of inverse iteration beside an eigenvalue, far below the distance of two.
_ASIDE = 1e-9


class Window(NamedTuple):
    """Lags over L at the nodes, and the maps from values there."""

    lags: Float[np.ndarray, " n"]
    modes: Float[np.ndarray, "n m"]  # eigenvectors of the second derivative
    squares: Float[np.ndarray, " m"]  # minus the eigenvalues, in units of 1 / L^2
    to_modes: Float[np.ndarray, "m n"]
    series: Float[np.ndarray, "n n"]  # to Chebyshev coefficients in s


@functools.cache
def window(num: int = NODES) -> Window:
    """The window of ``num`` nodes."""
    angles = np.pi * np.arange(num) / (num - 1)
    s = np.sin(angles / 2) ** 2
    weights = (-1.0) ** np.arange(num)
    weights[[0, -1]] /= 2
    # Differences of nodes without cancellation.
    apart = np.sin((angles[:, None] + angles) / 2) * np.sin((angles[:, None] - angles) / 2)
    np.fill_diagonal(apart, 1)
    slope = weights / weights[:, None] / apart
    np.fill_diagonal(slope, 0)
    np.fill_diagonal(slope, -slope.sum(axis=1))
    stretch = _DENSER / np.expm1(_DENSER) * np.exp(_DENSER * s)
    slope = slope / stretch[:, None]

    ends, inside = np.array([0, num - 1]), np.arange(1, num - 1)
    extended = np.zeros((num, num - 2))
    extended[inside, np.arange(num - 2)] = 1
    extended[ends] = -np.linalg.solve(slope[ends][:, ends], slope[ends][:, inside])
    vectors, values = _eigenvectors((slope @ slope)[inside] @ extended)
    to_modes = np.zeros((num - 2, num))
    to_modes[:, inside] = np.linalg.inv(vectors)
    squares = np.maximum(-values, 0)
    series = np.linalg.inv(chebyshev.chebvander(2 * s - 1, num - 1))
    return Window(np.expm1(_DENSER * s) / np.expm1(_DENSER), extended @ vectors, squares, to_modes, series)


def _eigenvectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors in columns, and eigenvalues: real and distinct. By inverse iteration."""
    values = np.sort(np.real(host_eigenvalues(matrix)))
    near = values + _ASIDE * (1 + np.abs(values))
    shifted = matrix - near[:, None, None] * np.eye(len(values))
    vectors = np.random.default_rng(0).standard_normal((len(values), len(values), 1))
    for _ in range(3):
        vectors = np.linalg.solve(shifted, vectors)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[..., 0].T, values


def leak(
    win: Window, tau: Float[Array, " K"], length: Float[Array, ""], of: Float[Array, "K n"]
) -> Float[Array, "K n"]:
    """(1 - tau^2 d^2/dlag^2)^{-1} of a function for each type."""
    modes, to_modes = (namespace(of).asarray(a, of.dtype) for a in (win.modes, win.to_modes))
    return ((of @ to_modes.T) * _factors(win, tau, length)) @ modes.T


def leak_matrices(win: Window, tau: Float[Array, " K"], length: Float[Array, ""]) -> Float[Array, "K n n"]:
    """`leak` as a matrix for each type."""
    modes, to_modes = (namespace(tau).asarray(a, tau.dtype) for a in (win.modes, win.to_modes))
    return (modes[None] * _factors(win, tau, length)[:, None]) @ to_modes[None]


def _factors(win: Window, tau: Float[Array, " K"], length: Float[Array, ""]) -> Float[Array, "K m"]:
    return 1 / (1 + (tau / length)[:, None] ** 2 * namespace(tau).asarray(win.squares, tau.dtype)[None])


def at_lags(win: Window, of: Float[Array, "K n"], lags: Float[Array, " T"]) -> Float[Array, "K T"]:
    """The functions at other lags, over L."""
    xp, num = namespace(of), len(win.lags)
    s = xp.log1p(lags * float(np.expm1(_DENSER))) / _DENSER
    angles = xp.arccos(xp.clip(2 * s - 1, -1, 1))
    waves = xp.cos(xp.arange(num, dtype=of.dtype)[:, None] * angles[None])
    return (of @ xp.asarray(win.series, of.dtype).T) @ waves


def tail(win: Window, of: Float[Array, "K n"]) -> Float[Array, " K"]:
    """The last coefficients, over the largest."""
    xp = namespace(of)
    sizes = abs(of @ xp.asarray(win.series, of.dtype).T)
    return sizes[:, -4:].max(1) / xp.maximum(sizes.max(1), xp.finfo(of.dtype).tiny)
