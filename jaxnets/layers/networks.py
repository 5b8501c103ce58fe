"""Deep networks of finite size: correlated weights, one network of a law, and the statistics of its activity."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import nonnegative, real_array, require, require_instance, require_key, require_whole, scalar
from .._numerics import as_program, is_concrete
from .._results import one_line
from ..transfer import Transfer
from .closure import Closure, propagated
from .statistics import LayerStatistics, statistics


def correlated_weights(
    num_outputs: int,
    num_inputs: int,
    r: Float[ArrayLike, ""],
    *,
    key: PRNGKeyArray,
    binary: bool = False,
    dtype: jnp.dtype | None = None,
) -> Float[Array, "m n"]:
    r"""Weights of mean 0 and variance 1, those from one input correlated by q = r / sqrt(n), n the `num_inputs`.

    $$ w_{ik} = \sqrt{1 - q}\, a_{ik} + \sqrt q\, v_k \quad \text{(Gaussian)}, \qquad
       w_{ik} = v_k e_{ik}, \quad P(e = 1) = (1 + \sqrt q) / 2 \quad \text{(binary)} $$

    with v Gaussian, or signs. The length of a Gaussian v fluctuates by sqrt(2 / n), and covariances in the network
    with it; `binary` weights are free of this. Weights from the input k are the column w_{ik}, of `num_outputs`.

    Raises `ValueError` unless 0 <= r < sqrt(n), the numbers are whole, and without a key.
    """
    require_whole("num_outputs", num_outputs)
    require_whole("num_inputs", num_inputs)
    require_key("key", key)
    r = scalar("r", r)
    _require_r(r, num_inputs)
    r = r if dtype is None else r.astype(dtype)
    return _weights(key, num_outputs, num_inputs, r, binary)


def _require_r(r, n):
    require("r", r, nonnegative, "a finite number >= 0")
    require("r", r, lambda r: r < math.sqrt(n), f"below the root of the number of inputs, {math.sqrt(n):.4g}")


@as_program
def _weights(key, m: int, n: int, r, binary: bool):
    q = r / math.sqrt(n)
    shared, own = jax.random.split(key)
    if binary:
        v = jax.random.rademacher(shared, (n,), r.dtype)
        e = jax.random.bernoulli(own, (1 + jnp.sqrt(q)) / 2, (m, n))
        return jnp.where(e, v[None], -v[None])
    v = jax.random.normal(shared, (n,), r.dtype)
    return jnp.sqrt(1 - q) * jax.random.normal(own, (m, n), r.dtype) + jnp.sqrt(q) * v[None]


class FeedForward(eqx.Module):
    """A network of layers, h' = phi(W h + b), with as many units in each layer as there are inputs.

    `weights` and `biases` hold W and b of all layers, `transfer` is phi. A function of one input: activity of all
    layers. Raises `ValueError` for shapes that do not fit, and numbers that are not finite.
    """

    __repr__ = one_line

    weights: Float[Array, "L n n"]
    biases: Float[Array, "L n"]
    transfer: Transfer

    def __init__(self, weights: Float[ArrayLike, "L n n"], biases: Float[ArrayLike, "L n"], transfer: Transfer):
        require_instance("transfer", transfer, Transfer, "a function of `jaxnets.transfer`")
        self.weights, self.biases, self.transfer = (
            real_array("weights", weights),
            real_array("biases", biases),
            transfer,
        )

    def __check_init__(self):
        shape = self.weights.shape
        if len(shape) != 3 or shape[1] != shape[2] or 0 in shape or self.biases.shape != shape[:2]:
            raise ValueError(
                f"`weights` and `biases` must have shapes (L, n, n) and (L, n), got {shape} and {self.biases.shape}"
            )
        for name in ("weights", "biases"):
            value = getattr(self, name)
            if is_concrete(value) and not np.all(np.isfinite(np.asarray(value))):
                raise ValueError(f"`{name}` must be finite")

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, "L n"]:
        """Activity of all layers for one input x."""

        def layer(h, row):
            weights, bias = row
            h = self.transfer(weights @ h + bias)
            return h, h

        return jax.lax.scan(layer, x, (self.weights, self.biases))[1]

    def closure(
        self,
        covariance: Float[ArrayLike, "n n"] | None = None,
        mean: Float[ArrayLike, " n"] | None = None,
        *,
        terms: int = 24,
    ) -> Closure:
        """Means and covariances of all layers over inputs with this `covariance` and `mean`, white ones by default.

        Inputs to the units of each layer are taken to be Gaussian. This is the only approximation: there is no noise of
        samples. `terms` are those of the series of `rate_covariance`. Valid for many units and covariances that are
        small between most of them; for Gaussian inputs, the first layer is exact.

        Raises `ValueError` for shapes that do not fit, numbers that are not finite, and as `rate_covariance`.
        """
        n, dtype = self.biases.shape[1], self.weights.dtype
        C = jnp.eye(n, dtype=dtype) if covariance is None else real_array("covariance", covariance).astype(dtype)
        m = jnp.zeros(n, dtype) if mean is None else real_array("mean", mean).astype(dtype)
        if C.shape != (n, n) or m.shape != (n,):
            raise ValueError(
                f"`covariance` and `mean` must have shapes ({n}, {n}) and ({n},), got {C.shape} and {m.shape}"
            )
        require("covariance", C, np.isfinite, "finite")
        require("mean", m, np.isfinite, "finite")
        require_whole("terms", terms)
        return propagated(self.transfer, self.weights, self.biases, C, m, terms)


def sampled(transfer, law, n: int, depth: int, key, binary: bool, dtype) -> FeedForward:
    """A network of `Layers`, whose g, r and bias are the `law`."""
    require_whole("n", n)
    require_whole("depth", depth)
    require_key("key", key)
    _require_r(law[1], n)
    law = law if dtype is None else tuple(x.astype(dtype) for x in law)
    weights, biases = _sampled(law, n, depth, key, binary)
    return FeedForward(weights, biases, transfer)


@as_program
def _sampled(law, n: int, depth: int, key, binary: bool):
    g, r, bias = law
    of_weights, of_biases = jax.random.split(key)
    draw = lambda key: g / math.sqrt(n) * _weights(key, n, n, r, binary)
    weights = jax.lax.map(draw, jax.random.split(of_weights, depth))
    return weights, bias * jax.random.normal(of_biases, (depth, n), g.dtype)


def measured_statistics(
    first: Float[ArrayLike, "T L n"], second: Float[ArrayLike, "T L n"] | None = None
) -> LayerStatistics:
    r"""The statistics of activity, for inputs on the first axis, without bias: products of two independent halves.

    $$ S = \frac1N \sum_{i \ne j} C^{(1)}_{ij} C^{(2)}_{ij} $$

    and alike for squares of means and variances. `first` and `second` are the activity in L layers for independent
    inputs, as ``jax.vmap(network)(x)``; a single record is divided into two halves if `second` is None. The square of
    one covariance from T inputs would be too large by K_1^2 N / T.

    The dimension of units that do not vary is NaN.

    Raises `ValueError` for arrays that are not (T, L, n) with at least 2 inputs in each half, do not fit each other, or
    are not finite.
    """
    first = real_array("first", first)
    if second is None:
        if first.ndim != 3 or first.shape[0] < 4:
            raise ValueError(f"`first` must have shape (T, L, n) with 4 inputs or more, got {first.shape}")
        half = first.shape[0] // 2
        first, second = first[:half], first[half : 2 * half]
    second = real_array("second", second).astype(first.dtype)
    if first.ndim != 3 or second.ndim != 3 or first.shape[1:] != second.shape[1:] or min(len(first), len(second)) < 2:
        raise ValueError(
            f"`first` and `second` must have shapes (T, L, n) of equal layers and units, with 2 inputs or more, got "
            f"{first.shape} and {second.shape}"
        )
    require("first", first, np.isfinite, "finite")
    require("second", second, np.isfinite, "finite")
    return _measured(first, second)


@as_program
def _measured(first, second) -> LayerStatistics:
    def layer(halves):
        (m1, C1), (m2, C2) = ((jnp.mean(x, 0), _covariance(x)) for x in halves)
        return statistics(m1, m2, C1, C2)

    return jax.lax.map(layer, (jnp.swapaxes(first, 0, 1), jnp.swapaxes(second, 0, 1)))


def _covariance(x):
    centred = x - jnp.mean(x, 0, keepdims=True)
    return jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / (len(x) - 1)
