"""Samples with labels to be told apart. Nothing downloads: data ship with scikit-learn, an extra, or are made.

Tasks in time, with targets for every step, are in `trials`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.ndimage import gaussian_filter1d

from .._arguments import require_whole
from .._results import Result

_TRAINED_ON = 1347  # of 1797 digits, the split of the reference values

# Ten shapes of twelve points, drawn with a pen that moves from left to right (Greydanus 2020).
_SHAPES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_ROOM, _LENGTH = 72, 40  # points that a shape is spread over, and of the finished sequence


class Samples(Result):
    """Inputs with their labels."""

    inputs: Float[Array, "num ..."]
    labels: Int[Array, " num"]


class Split(Result):
    """Samples to train on, and others to test with."""

    train: Samples
    test: Samples


def digits() -> Split:
    """1797 handwritten digits of 8 x 8 pixels from 0 to 1, as vectors (64,): 1347 to train and 450 to test.

    The split is always the same. Data ship with scikit-learn: ``pip install 'jaxnets[learning]'``.

    Raises `ImportError` without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("digits ship with scikit-learn, install it: pip install 'jaxnets[learning]'") from error
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(labels))
    parts = (order[:_TRAINED_ON], order[_TRAINED_ON:])
    return Split(*(Samples(jnp.asarray(pixels[part] / 16), jnp.asarray(labels[part])) for part in parts))


def digit_rows() -> Split:
    """`digits` as sequences (8, 8) of rows, for recurrent networks.

    Raises `ImportError` without scikit-learn.
    """
    rows = lambda samples: Samples(samples.inputs.reshape(-1, 8, 8), samples.labels)
    found = digits()
    return Split(rows(found.train), rows(found.test))


def mnist_1d(num_samples: int = 5000, *, seed: int = 0) -> Split:
    """Ten shapes in sequences of 40 numbers, spread, moved, tilted and in noise: four fifths to train, a fifth to test.

    Each shape of 12 points is spread over 14 to 18 of the 40, its height varies by 20 %, and it stands at any of 48 of
    72 places. Between shapes there is noise, correlated over two of the 72 points, and white noise on all of it. All
    numbers of the `num_samples` together have mean 0 and variance 1. The same `seed` gives the same samples; the
    published set has others of the same kind, since it was drawn by other random numbers.

    Raises `ValueError` for fewer than 10 samples. Source: Greydanus 2020 (arXiv 2011.14439).
    """
    require_whole("num_samples", num_samples, 10)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_samples) % len(_SHAPES))
    shapes = np.array(_SHAPES, float)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True) / 6
    shapes = (shapes - shapes[:, :1])[labels]
    length = shapes.shape[1]

    uniform = lambda: rng.random((num_samples, 1)) - 0.5
    # A shape of 12 points with 36 to 60 empty ones behind it fills the 72: so the shape is spread.
    points = length + rng.integers(36, 61, (num_samples, 1))
    place = np.linspace(0, 1, _ROOM)[None] * (points - 1)
    left = np.minimum(place.astype(int), length)
    ended = np.concatenate([shapes, np.zeros((num_samples, 2))], 1)  # the empty points
    rise = np.take_along_axis(ended, left + 1, 1) - np.take_along_axis(ended, left, 1)
    drawn = np.take_along_axis(ended, left, 1) + (place - left) * np.where(left < length, rise, 0)
    drawn = drawn * (1 + 0.4 * uniform())
    noise = gaussian_filter1d(0.25 * rng.standard_normal((num_samples, _ROOM)), 2, axis=1)
    moved = (np.arange(_ROOM)[None] - rng.integers(0, 48, (num_samples, 1))) % _ROOM
    inside = np.take_along_axis(place < length, moved, 1)
    x = np.where(inside, np.take_along_axis(drawn, moved, 1), noise)
    x = x + 0.02 * rng.standard_normal(x.shape) - 0.75 * uniform() * np.linspace(-0.5, 0.5, _ROOM)[None]
    at = np.linspace(0, _ROOM - 1, _LENGTH)
    left = np.minimum(at.astype(int), _ROOM - 2)
    x = x[:, left] + (at - left)[None] * (x[:, left + 1] - x[:, left])
    x = (x - x.mean()) / x.std()
    parts = np.split(np.arange(num_samples), [num_samples * 4 // 5])
    return Split(*(Samples(jnp.asarray(x[part]), jnp.asarray(labels[part])) for part in parts))


def accuracy(network: Callable[[Any], Float[Array, " classes"]], samples: Samples) -> Float[Array, ""]:
    """The share of samples whose label has the largest output; `network` takes one input."""
    return jnp.mean(jnp.argmax(jax.vmap(network)(samples.inputs), -1) == samples.labels)
