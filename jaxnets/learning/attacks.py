r"""Layers that learn from errors of their own, and how robust a classifier is to noise and to attacks.

$$ h_l = \phi(W_l\, h_{l-1} + b_l), \qquad \text{loss of layer } l: \; \mathrm{CE}(\mathrm{softmax}\, B_l h_l) $$

with a fixed random readout B_l of each layer. By `local_errors` a layer learns from its own loss alone, and no gradient
passes to the layer below; every layer is a classifier. Source: Zhou & Huang 2020 (arXiv 2007.02047).
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from .._arguments import (
    nonnegative,
    positive,
    real_array,
    require,
    require_instance,
    require_key,
    require_whole,
    scalar,
    vector,
)
from .._numerics import as_program
from .._results import Result, one_line
from ..transfer import Tanh, Transfer
from .tasks import Samples

_TANH = Tanh()


class ReadoutNetwork(eqx.Module):
    """Layers with a random readout each: `weights` W, `biases` b, `readouts` B, and an `offset` taken off the input.

    A function of one input: the outputs of the last readout. Readouts and offset do not learn. Raises `ValueError` for
    layers that do not fit each other.
    """

    __repr__ = one_line

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]
    readouts: tuple[Float[Array, "classes _"], ...]
    offset: Float[Array, " n"]
    transfer: Transfer

    def __check_init__(self):
        sizes = [self.offset.shape[0], *(b.shape[0] for b in self.biases)]
        shapes = [W.shape for W in self.weights]
        if not self.weights or shapes != list(zip(sizes[1:], sizes[:-1], strict=True)):
            raise ValueError(f"`weights` must fit `offset` and `biases` of the sizes {sizes}, got shapes {shapes}")
        if [B.shape[1] for B in self.readouts] != sizes[1:]:
            raise ValueError(f"`readouts` must have a row for each class and {sizes[1:]} columns")

    @classmethod
    def gaussian(
        cls,
        sizes: Sequence[int],
        num_classes: int,
        *,
        key: PRNGKeyArray,
        gain: Float[ArrayLike, ""] = 1.0,
        offset: Float[ArrayLike, " n"] | None = None,
        transfer: Transfer = _TANH,
    ) -> "ReadoutNetwork":
        """Gaussian weights of variance gain^2 / inputs, readouts of variance 1 / units, and no biases.

        `sizes` are the inputs and the units of each layer; `num_classes` are read out. Raises `ValueError` for fewer
        than two sizes, numbers below 1, a gain that is not positive, an `offset` that is not one of each input, and
        without a key.
        """
        require_key("key", key)
        require_whole("num_classes", num_classes)
        for size in sizes:
            require_whole("sizes", size)
        if len(sizes) < 2:
            raise ValueError(f"`sizes` must be the inputs and the units of one layer or more, got {list(sizes)}")
        gain = scalar("gain", gain)
        require("gain", gain, positive, "a finite number > 0")
        require_instance("transfer", transfer, Transfer, "a function of `jaxnets.transfer`")
        centre = jnp.zeros(sizes[0]) if offset is None else real_array("offset", offset)
        require("offset", centre, np.isfinite, "finite numbers")
        if centre.shape != (sizes[0],):
            raise ValueError(f"`offset` must have shape ({sizes[0]},), got {centre.shape}")
        of_weights, of_readouts = jax.random.split(key)
        gain = gain.astype(centre.dtype)
        draw = lambda key, m, n: jax.random.normal(key, (m, n), centre.dtype) / n**0.5
        pairs, depth = list(zip(sizes[1:], sizes[:-1], strict=True)), len(sizes) - 1
        weights = [gain * draw(k, m, n) for k, (m, n) in zip(jax.random.split(of_weights, depth), pairs, strict=True)]
        readouts = [
            draw(k, num_classes, m) for k, (m, _) in zip(jax.random.split(of_readouts, depth), pairs, strict=True)
        ]
        biases = tuple(jnp.zeros(m, centre.dtype) for m, _ in pairs)
        return cls(tuple(weights), biases, tuple(readouts), centre, transfer)

    def layers(self, x: Float[Array, " n"], *, local: bool = False) -> list[Float[Array, " _"]]:
        """Activity of all layers for one input x; with `local`, gradients end at each layer."""
        h, found = x - jax.lax.stop_gradient(self.offset), []
        for W, b in zip(self.weights, self.biases, strict=True):
            h = self.transfer(W @ (jax.lax.stop_gradient(h) if local else h) + b)
            found.append(h)
        return found

    def outputs(self, x: Float[Array, " n"], *, local: bool = False) -> Float[Array, "L classes"]:
        """What each layer's readout makes of one input x; `local` as in `layers`."""
        pairs = zip(self.readouts, self.layers(x, local=local), strict=True)
        return jnp.stack([jax.lax.stop_gradient(B) @ h for B, h in pairs])

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " classes"]:
        """Outputs of the last layer for one input x."""
        return self.outputs(x)[-1]


def local_errors(network: ReadoutNetwork, inputs: Float[Array, "B n"], labels: Int[Array, " B"]) -> Float[Array, ""]:
    """The loss by which each layer learns from its own readout: mean cross-entropies, summed over layers.

    No gradient passes from a layer to the ones below. For `train`, as in ``loss = lambda network, batch, key:
    local_errors(network, x[batch], y[batch])``. Raises `ValueError` unless `network` is a `ReadoutNetwork`, and there
    is one of the `labels` for each of the `inputs`.
    """
    require_instance("network", network, ReadoutNetwork, "a `ReadoutNetwork`")
    if inputs.ndim != 2 or labels.shape != inputs.shape[:1]:
        raise ValueError(f"`inputs` and `labels` must be (B, n) and (B,), got {inputs.shape} and {labels.shape}")
    outputs = jax.vmap(lambda x: network.outputs(x, local=True))(inputs)
    losses = optax.softmax_cross_entropy_with_integer_labels(
        outputs, jnp.broadcast_to(labels[:, None], outputs.shape[:2])
    )
    return jnp.sum(jnp.mean(losses, axis=0))


class Robustness(Result, axes={"G": "gaussian", "E": "one_step", "M": "many_steps"}):
    """Accuracies: `clean`, with noise of strengths `gaussian`, and under attacks of `one_step` and of `many_steps`.

    `gaussian_accuracy`, `one_step_accuracy` and `many_steps_accuracy` belong to these. Made by `robustness`.
    """

    clean: Float[Array, ""]
    gaussian: Float[Array, " G"]
    gaussian_accuracy: Float[Array, " G"]
    one_step: Float[Array, " E"]
    one_step_accuracy: Float[Array, " E"]
    many_steps: Float[Array, " M"]
    many_steps_accuracy: Float[Array, " M"]


def robustness(
    classifier: Callable[[Any], Float[Array, " classes"]],
    samples: Samples,
    *,
    key: PRNGKeyArray,
    gaussian: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
    one_step: Sequence[float] = (0.02, 0.05, 0.1, 0.15),
    many_steps: Sequence[float] = (0.02, 0.05, 0.1),
    num_steps: int = 20,
) -> Robustness:
    r"""The accuracy of a `classifier` on `samples` with noise, and under two attacks.

    $$ x + s z, \qquad x + e\, \mathrm{sign} \frac{dL}{dx}, \qquad
       x_{k+1} = \mathrm{clip}_{|x' - x| \le e} \Big( x_k + \frac{2.5 e}{n}\, \mathrm{sign} \frac{dL}{dx_k} \Big) $$

    with L the cross-entropy at the true label, s the strengths `gaussian`, e those of `one_step` and of `many_steps`,
    of which there are n = `num_steps` for each sample. `classifier` is a function of one input: outputs of which the
    largest counts, as a `ReadoutNetwork`. One step alone misleads: where units saturate the gradient says little, and a
    network that withstands one step may fall to many. Strengths are in units of the inputs, which are not clipped.

    Raises `ValueError` for strengths that are negative or none, ``num_steps`` < 1, and without a key. Source:
    Goodfellow et al. 2015 (arXiv 1412.6572); Madry et al. 2018 (arXiv 1706.06083).
    """
    require_key("key", key)
    require_whole("num_steps", num_steps)
    require_instance("samples", samples, Samples, "`Samples`, of inputs with labels")
    strengths = [("gaussian", gaussian), ("one_step", one_step), ("many_steps", many_steps)]
    found = [vector(name, values) for name, values in strengths]
    for (name, _), values in zip(strengths, found, strict=True):
        require(name, values, nonnegative, "finite numbers >= 0")
    clean, accuracies = _robustness(classifier, samples, key, tuple(found), num_steps)
    return Robustness(clean, found[0], accuracies[0], found[1], accuracies[1], found[2], accuracies[2])


@as_program
def _robustness(classifier, samples: Samples, key, strengths, num_steps: int):
    inputs, labels = samples.inputs, samples.labels
    strengths = tuple(x.astype(inputs.dtype) for x in strengths)

    def share(x):
        return jnp.mean((jnp.argmax(jax.vmap(classifier)(x), -1) == labels).astype(inputs.dtype))

    def direction(x):
        losses = lambda x: optax.softmax_cross_entropy_with_integer_labels(jax.vmap(classifier)(x), labels).sum()
        return jnp.sign(jax.grad(losses)(x))

    def climbed(e):
        def step(_, x):
            return jnp.clip(x + 2.5 * e / num_steps * direction(x), inputs - e, inputs + e)

        return share(jax.lax.fori_loop(0, num_steps, step, inputs))

    noise, ascent = jax.random.normal(key, inputs.shape, inputs.dtype), direction(inputs)
    noisy = jax.lax.map(lambda s: share(inputs + s * noise), strengths[0])
    once = jax.lax.map(lambda e: share(inputs + e * ascent), strengths[1])
    return share(inputs), (noisy, once, jax.lax.map(climbed, strengths[2]))
