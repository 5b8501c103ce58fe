"""Tasks that networks are trained on. Nothing downloads: data ship with scikit-learn, an extra, or are made."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._results import Result

_TRAINED_ON = 1347  # of 1797 digits, the split of the reference values


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


def accuracy(network: Callable[[Any], Float[Array, " classes"]], samples: Samples) -> Float[Array, ""]:
    """The share of samples whose label has the largest output; `network` takes one input."""
    return jnp.mean(jnp.argmax(jax.vmap(network)(samples.inputs), -1) == samples.labels)
