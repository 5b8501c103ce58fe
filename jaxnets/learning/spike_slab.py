r"""Recurrent networks whose single weights are spikes and slabs: training shapes the law of each weight.

$$ h(t+1) = (1 - a) h(t) + a u(t+1) + \sqrt{2a}\, \sigma \xi, \qquad r = \max(h, 0) $$

$$ u_i = \sum_j \mu_{ij} r_j(t) + \sum_j \mu^{in}_{ij} x_j(t+1)
       + \epsilon_i(t+1) \Big( \sum_j v_{ij} r_j^2 + \sum_j v^{in}_{ij} x_j^2 \Big)^{1/2}, \qquad
   y_k = \sum_j \mu^{out}_{kj} r_j + \epsilon'_k \Big( \sum_j v^{out}_{kj} r_j^2 \Big)^{1/2} $$

with mu and v the `moments` of each weight. The noise eps of the weights is drawn anew for every unit and step
(annealed). One network of the ensemble has weights that stay (quenched), whose noise is correlated in time: `sample`
gives it, and both should be evaluated. Trained weights are an ensemble, `couplings.SpikeSlab`.

Source: Zou, Li & Huang 2021 (arXiv 2102.03740).
"""

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._arguments import nonnegative, positive, require, require_instance, require_key, require_whole
from .._results import one_line
from ..couplings.spike_slab import SpikeSlab
from .recurrent import Signed


class SpikeSlabRNN(eqx.Module):
    """A recurrent network of threshold-linear units with spike-and-slab weights from inputs, among units, to outputs.

    `leak` is a = dt / tau, `start` is h(0) of every unit, and `noise` is sigma. The network is a function of one
    sequence of inputs (T, n_in). Raises `ValueError` for weights that do not fit each other, a leak outside (0, 1], a
    negative noise, or a start that is not finite.
    """

    __repr__ = one_line

    inputs: SpikeSlab
    recurrent: SpikeSlab
    outputs: SpikeSlab
    leak: float = eqx.field(static=True)
    start: float = eqx.field(static=True, default=0.0)
    noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        shapes = [weights.mean.shape for weights in (self.inputs, self.recurrent, self.outputs)]
        n = shapes[1][0]
        if shapes[1] != (n, n) or shapes[0][0] != n or shapes[2][1] != n:
            raise ValueError(
                f"`inputs`, `recurrent` and `outputs` must have shapes (n, n_in), (n, n) and (n_out, n), got {shapes}"
            )
        require("leak", self.leak, lambda a: (a > 0) & (a <= 1), "a number in (0, 1]")
        require("start", self.start, np.isfinite, "a finite number")
        require("noise", self.noise, nonnegative, "a finite number >= 0")

    @classmethod
    def gaussian(
        cls,
        num_inputs: int,
        n: int,
        num_outputs: int,
        *,
        key: PRNGKeyArray,
        leak: float,
        spread: float = 0.1,
        start: float = 0.1,
        noise: float = 0.0,
    ) -> "SpikeSlabRNN":
        """The published start for digits: every weight is present, and each unit keeps its own rate.

        Means from inputs, and to the `num_outputs` outputs, are Gaussian with the standard deviation
        sqrt(num_inputs / n). Recurrent means are the identity, and variances are uniform up to `spread`. Raises
        `ValueError` for numbers below 1, a negative spread, and without a key.
        """
        for name, number in (("num_inputs", num_inputs), ("n", n), ("num_outputs", num_outputs)):
            require_whole(name, number)
        require_key("key", key)
        require("spread", spread, nonnegative, "a finite number >= 0")
        k_in, k_out, *widths = jax.random.split(key, 5)
        size = (num_inputs / n) ** 0.5
        means = (
            size * jax.random.normal(k_in, (n, num_inputs)),
            jnp.eye(n),
            size * jax.random.normal(k_out, (num_outputs, n)),
        )
        variances = [spread * jax.random.uniform(k, mean.shape) for k, mean in zip(widths, means, strict=True)]
        parts = [SpikeSlab(mean, 0.0, variance) for mean, variance in zip(means, variances, strict=True)]
        return cls(parts[0], parts[1], parts[2], leak, start, noise)

    @classmethod
    def multisensory(cls, n: int = 150, *, key: PRNGKeyArray, leak: float = 0.2, noise: float = 0.15) -> "SpikeSlabRNN":
        """The published start for `Multisensory`: a third of units each hear, see, and get the cue alone.

        Weights from inputs are certain, with means of variance 1/5; those that are missing stay so. Other means have
        the variance 1 / n, and slabs a variance uniform up to .01. Raises `ValueError` for n below 3, or without a key.
        """
        require_whole("n", n, 3)
        require_key("key", key)
        k_in, k_rec, k_out, w_rec, w_out = jax.random.split(key, 5)
        third = np.arange(n) * 3 // n
        hears, sees = third == 0, third == 1
        connected = np.stack([sees, hears, sees, hears, np.ones(n, bool)], 1)
        inputs = SpikeSlab(
            jnp.where(connected, jax.random.normal(k_in, (n, 5)) / 5**0.5, 0), np.where(connected, 0.0, 1.0), 0.0
        )
        shapes = ((n, n), k_rec, w_rec), ((2, n), k_out, w_out)
        recurrent, outputs = (
            SpikeSlab(jax.random.normal(k, shape) / n**0.5, 0.0, 0.01 * jax.random.uniform(w, shape))
            for shape, k, w in shapes
        )
        return cls(inputs, recurrent, outputs, leak, 0.0, noise)

    def __call__(self, x: Float[Array, "T n_in"], *, key: PRNGKeyArray | None = None) -> Float[Array, "T n_out"]:
        """Outputs after each step of inputs `x`: with annealed noise from `key`, or of mean weights without a key.

        Raises `ValueError` for inputs of another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs.mean.shape[1]:
            raise ValueError(f"`x` must have shape (T, {self.inputs.mean.shape[1]}), got {x.shape}")
        n, (num_outputs, _) = self.recurrent.mean.shape[0], self.outputs.mean.shape
        from_inputs, recurrent, outputs = (part.moments() for part in (self.inputs, self.recurrent, self.outputs))
        draws = jnp.zeros((len(x), 2 * n + num_outputs), x.dtype)
        if key is not None:
            draws = jax.random.normal(key, draws.shape, x.dtype)

        def step(h, row):
            x, draw = row
            weights, own, reading = jnp.split(draw, (n, 2 * n))
            r = jax.nn.relu(h)
            spread = _root(recurrent.variance @ r**2 + from_inputs.variance @ x**2)
            u = recurrent.mean @ r + from_inputs.mean @ x + weights * spread
            h = (1 - self.leak) * h + self.leak * u + (2 * self.leak) ** 0.5 * self.noise * own
            r = jax.nn.relu(h)
            return h, outputs.mean @ r + reading * _root(outputs.variance @ r**2)

        return jax.lax.scan(step, jnp.full(n, self.start, x.dtype), (x, draws))[1]

    def certain(self) -> "SpikeSlabRNN":
        """The network of mean weights, whose only noise is its own `noise`."""
        return self._of([part.moments().mean for part in (self.inputs, self.recurrent, self.outputs)])

    def sample(self, *, key: PRNGKeyArray) -> "SpikeSlabRNN":
        """One network of the ensemble: its weights are certain, and what noise it has is its own `noise`."""
        require_key("key", key)
        parts = (self.inputs, self.recurrent, self.outputs)
        return self._of([part.draw(key=k) for part, k in zip(parts, jax.random.split(key, 3), strict=True)])

    def _of(self, weights) -> "SpikeSlabRNN":
        certain = [SpikeSlab(matrix, 0.0, 0.0) for matrix in weights]
        return SpikeSlabRNN(certain[0], certain[1], certain[2], self.leak, self.start, self.noise)


def _root(variance: Float[Array, " n"]) -> Float[Array, " n"]:
    """A root whose slope is 0 at 0, where silent units and blank inputs are."""
    some = variance > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)


# --- transformations for optax


def projected(optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser after whose steps every `SpikeSlab` has sparsities from 0 to 1 and variances of at least 0.

    Sizes of `Signed` weights stay at least 0 as well, so that no weight changes its sign.

    Raises `ValueError` unless ``optimiser`` is one of optax.
    """
    require_instance("optimiser", optimiser, optax.GradientTransformation, "of optax, such as `optax.adamw(1e-3)`")
    optimiser = optax.with_extra_args_support(optimiser)

    def update(updates, state, params: Any = None, **more):
        updates, state = optimiser.update(updates, state, params, **more)
        moved = _allowed(optax.apply_updates(params, updates))
        return jax.tree.map(lambda new, old: new - old, moved, params), state

    return optax.GradientTransformationExtraArgs(optimiser.init, update)


def _is_spike_slab(node) -> bool:
    return isinstance(node, SpikeSlab)


def _has_region(node) -> bool:
    return isinstance(node, SpikeSlab | Signed)


def _allowed(params: PyTree) -> PyTree:
    def project(node):
        if isinstance(node, Signed):
            return eqx.tree_at(lambda node: node.sizes, node, jnp.maximum(node.sizes, 0))
        if not _is_spike_slab(node):
            return node
        new = jnp.clip(node.sparsity, 0, 1), jnp.maximum(node.slab_variance, 0)
        return eqx.tree_at(lambda node: (node.sparsity, node.slab_variance), node, new)

    return jax.tree.map(project, params, is_leaf=_has_region)


def except_sparsity(params: PyTree) -> PyTree:
    """True for each array of `params` but the sparsities of `SpikeSlab`: the mask of `optax.adamw` for decay."""

    def mark(node):
        every = jax.tree.map(lambda _: True, node)
        return eqx.tree_at(lambda node: node.sparsity, every, False) if _is_spike_slab(node) else every

    return jax.tree.map(mark, params, is_leaf=_is_spike_slab)


def multisensory_optimiser() -> optax.GradientTransformation:
    """The published rates for `SpikeSlabRNN.multisensory`: RMSprop, whose steps of sparsities are by far the largest.

    Means and variances have the rate 1e-3 and decay by 1e-3 times themselves in the gradient. Sparsities have the rates
    1 (recurrent) and .1 (outputs), halved every 100 steps. Inputs learn their means alone.
    """
    halved = lambda rate: lambda count: rate * 0.5 ** ((count + 1) // 100)
    rms = optax.scale_by_rms(decay=0.9, eps=1e-8)
    decayed = optax.chain(optax.add_decayed_weights(1e-3), rms, optax.scale_by_learning_rate(1e-3))
    rates: dict[Hashable, optax.GradientTransformation] = {"slab": decayed, "fixed": optax.set_to_zero()}
    for name, rate in (("recurrent", 1.0), ("outputs", 0.1)):
        rates[name] = optax.chain(rms, optax.scale_by_learning_rate(halved(rate)))

    def labels(net: "SpikeSlabRNN"):
        of = lambda part, *names: eqx.tree_at(
            lambda part: (part.mean, part.sparsity, part.slab_variance), part, replace=names
        )
        return eqx.tree_at(
            lambda net: (net.inputs, net.recurrent, net.outputs),
            net,
            (
                of(net.inputs, "slab", "fixed", "fixed"),
                of(net.recurrent, "slab", "recurrent", "slab"),
                of(net.outputs, "slab", "outputs", "slab"),
            ),
        )

    return projected(optax.multi_transform(rates, labels))


def clip_spectral(bound: float) -> optax.GradientTransformation:
    """Scales down the gradient of each matrix to the spectral norm ``bound``, of each vector to this length.

    Raises `ValueError` unless ``bound`` is positive.
    """
    require("bound", bound, positive, "a finite number > 0")

    def clipped(slope):
        norm = jnp.linalg.norm(slope, 2 if slope.ndim == 2 else None)
        return slope / jnp.maximum(1, norm / bound)

    return optax.stateless(lambda updates, _: jax.tree.map(clipped, updates))
