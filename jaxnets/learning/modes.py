r"""Feed-forward networks whose weights are modes, of which training moves all three factors.

$$ W^l = \xi^l \mathrm{diag}(\Sigma^l) (\hat\xi^l)^T, \qquad z^l = W^l a^{l-1}, \quad a^l = \phi(z^l) $$

A layer from n inputs to m units has p (m + n + 1) parameters in place of m n. Its `operator` is the one that
`couplings.RandomModes` samples: training turns random modes into learned ones. The factors are not unique, as any
invertible mixing of modes leaves W as it is. `canonical` chooses the singular vectors of W, where the amplitudes are
its singular values.

Source: Li & Huang 2023 (arXiv 2208.09859).
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._arguments import in_one_precision, real_array, require, require_key, require_whole
from .._results import one_line
from ..couplings.operators import Diagonal, Modes
from ..transfer import ReLU

_RELU = ReLU()


def factors(left: ArrayLike, amplitudes: ArrayLike, right: ArrayLike) -> tuple[Float[Array, "..."], ...]:
    """The three factors of modes as real arrays of one precision."""
    given = {"left": left, "amplitudes": amplitudes, "right": right}
    return in_one_precision(*(real_array(name, value) for name, value in given.items()))


def require_factors(left, amplitudes, right, inputs: str) -> None:
    """Raises `ValueError` unless all are finite, of shapes (m, p), (p,) and `inputs`, "(n, p)" or "(p, n)"."""
    shapes = [left.shape, amplitudes.shape, right.shape]
    last = -1 if inputs.endswith("p)") else 0  # axis of the modes in `right`
    if [len(shape) for shape in shapes] != [2, 1, 2] or not shapes[0][1] == shapes[1][0] == shapes[2][last]:
        got = f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        raise ValueError(f"`left`, `amplitudes` and `right` must have shapes (m, p), (p,) and {inputs}, got {got}")
    for name, factor in (("left", left), ("amplitudes", amplitudes), ("right", right)):
        require(name, factor, np.isfinite, "finite numbers")


class ModeLinear(eqx.Module):
    """One layer of p modes: `left` (m, p) is xi, `amplitudes` (p,) Sigma, and `right` (n, p) xihat^T.

    The layer is a function of one input (n,). Raises `ValueError` for entries that are not finite, and other shapes.
    """

    __repr__ = one_line

    left: Float[Array, "m p"]
    amplitudes: Float[Array, " p"]
    right: Float[Array, "n p"]

    def __init__(
        self,
        left: Float[ArrayLike, "m p"],
        amplitudes: Float[ArrayLike, " p"],
        right: Float[ArrayLike, "n p"],
    ):
        self.left, self.amplitudes, self.right = factors(left, amplitudes, right)

    def __check_init__(self):
        require_factors(self.left, self.amplitudes, self.right, "(n, p)")

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        """W x, in 2 p (m + n) operations."""
        return self.left @ (self.amplitudes * (x @ self.right))

    def weight(self) -> Float[Array, "m n"]:
        """W itself."""
        return (self.left * self.amplitudes[None]) @ self.right.T

    def operator(self) -> Modes:
        """W as an operator, which divides by n: simulation, eigenvalues and `low_rank` read it."""
        return Modes(self.left, self.right, Diagonal(self.right.shape[0] * self.amplitudes))

    def canonical(self) -> "ModeLinear":
        """The same W by its singular vectors, of length 1, and singular values, the largest first.

        Where p exceeds m or n, the modes that are left have zeros for all three factors.
        """
        p = len(self.amplitudes)
        (q_left, r_left), (q_right, r_right) = jnp.linalg.qr(self.left), jnp.linalg.qr(self.right)
        u, values, v = jnp.linalg.svd((r_left * self.amplitudes[None]) @ r_right.T, full_matrices=False)
        room = p - len(values)
        left, right = q_left @ u, q_right @ v.T
        return ModeLinear(
            jnp.pad(left, ((0, 0), (0, room))), jnp.pad(values, (0, room)), jnp.pad(right, ((0, 0), (0, room)))
        )


class ModeNetwork(eqx.Module):
    """Layers of modes with a transfer function between them; the last layer gives its currents, say for a softmax.

    `left`, `amplitudes` and `right` hold the factors of each layer. In a `tied` network the units of a hidden layer
    have one set of modes: xi of a layer is xihat^T of the next one, and `left` holds the last xi alone. The network is
    a function of one input. Raises `ValueError` for layers that do not fit each other.
    """

    __repr__ = one_line

    left: tuple[Float[Array, "_ _"], ...]
    amplitudes: tuple[Float[Array, " _"], ...]
    right: tuple[Float[Array, "_ _"], ...]
    transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]]

    def __init__(
        self,
        left: Sequence[Float[ArrayLike, "_ _"]],
        amplitudes: Sequence[Float[ArrayLike, " _"]],
        right: Sequence[Float[ArrayLike, "_ _"]],
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]] = _RELU,
    ):
        self.left = _arrays("left", left)
        self.amplitudes = _arrays("amplitudes", amplitudes)
        self.right = _arrays("right", right)
        self.transfer = transfer

    def __check_init__(self):
        depth = len(self.right)
        if depth == 0 or len(self.amplitudes) != depth or len(self.left) not in (1, depth):
            counts = [len(factors) for factors in (self.left, self.amplitudes, self.right)]
            raise ValueError(
                "`amplitudes` and `right` must have one array for each layer, at least one, and `left` as many or, in "
                f"a tied network, one, got {counts}"
            )
        outputs = [layer.left.shape[0] for layer in self.layers]
        inputs = [layer.right.shape[0] for layer in self.layers]
        if outputs[:-1] != inputs[1:]:
            raise ValueError(f"layers give {outputs[:-1]} numbers and the next ones take {inputs[1:]}")

    @classmethod
    def gaussian(
        cls,
        sizes: Sequence[int],
        modes: int,
        *,
        key: PRNGKeyArray,
        tied: bool = False,
        transfer: Callable[[Float[Array, "..."]], Float[Array, "..."]] = _RELU,
    ) -> "ModeNetwork":
        """All entries are Gaussian with variance (n ln n)^(-1/3), n the inputs of the layer, as published.

        `sizes` are the inputs, the units of each layer and the outputs. The weights then have the variance
        p / (n ln n). Raises `ValueError` for fewer than two sizes or inputs, for numbers below 1, and without a key.
        """
        require_key("key", key)
        require_whole("modes", modes)
        for size in sizes:
            require_whole("sizes", size)
        if len(sizes) < 2 or min(sizes[:-1], default=0) < 2:
            raise ValueError(f"`sizes` must have two entries or more, all but the last above 1, got {tuple(sizes)}")
        layers = list(zip(sizes, sizes[1:], strict=False))
        scales = [(n * np.log(n)) ** (-1 / 6) for n, _ in layers]
        # One draw for all, as each would compile for seconds.
        ends = np.cumsum([(m + 1 + n) * modes for n, m in layers])
        parts = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
        factors = [
            jnp.split((scale * part).reshape(-1, modes), (m, m + 1))
            for scale, part, (_, m) in zip(scales, parts, layers, strict=True)
        ]
        lefts, amplitudes, rights = zip(*((left, size[0], right) for left, size, right in factors), strict=True)
        return cls(lefts[-1:] if tied else lefts, amplitudes, rights, transfer)

    @property
    def tied(self) -> bool:
        """Whether the units of a hidden layer have one set of modes."""
        return len(self.left) < len(self.right)

    @property
    def layers(self) -> tuple[ModeLinear, ...]:
        """All layers, the first one first."""
        lefts = (*self.right[1:], *self.left) if self.tied else self.left
        return tuple(map(ModeLinear, lefts, self.amplitudes, self.right))

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        """The currents of the last layer at one input `x`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.transfer(layer(x))
        return last(x)

    def canonical(self) -> "ModeNetwork":
        """The same function by the singular vectors of each layer; it is not tied any more."""
        layers = [layer.canonical() for layer in self.layers]
        return ModeNetwork(
            [layer.left for layer in layers],
            [layer.amplitudes for layer in layers],
            [layer.right for layer in layers],
            self.transfer,
        )


def _arrays(name: str, values: Sequence[ArrayLike]) -> tuple[Float[Array, "..."], ...]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"`{name}` must be a list of arrays, one for each layer, got {type(values).__name__}")
    return tuple(real_array(name, value) for value in values)


# --- importance of modes


def strength(layer: ModeLinear) -> Float[Array, " p"]:
    """F = |Sigma| |xi| |xihat| of each mode of a `layer`: the Frobenius norm of its part of W.

    Rescaling the factors of a mode leaves it alone. In the gauge of `canonical` it is the singular values of W.
    """
    return jnp.abs(layer.amplitudes) * _lengths(layer.left) * _lengths(layer.right)


def importance(layer: ModeLinear) -> Float[Array, " p"]:
    r"""The published measure of each mode of a `layer`, which depends on the scale of its factors, unlike `strength`.

    $$ \tau_a = |\Sigma_a| + \kappa (|\xi_a| + |\hat\xi_a|), \qquad
       \kappa = \langle |\Sigma| \rangle / \langle |\xi| + |\hat\xi| \rangle $$

    Source: Li & Huang 2023 (arXiv 2208.09859).
    """
    size, lengths = jnp.abs(layer.amplitudes), _lengths(layer.left) + _lengths(layer.right)
    return size + jnp.mean(size) / jnp.mean(lengths) * lengths


def _lengths(factor: Float[Array, "n p"]) -> Float[Array, " p"]:
    return jnp.linalg.norm(factor, axis=0)


def prune(
    network: ModeNetwork,
    layer: int,
    fraction: float,
    scores: Callable[[ModeLinear], Float[Array, " p"]] = strength,
) -> ModeNetwork:
    """The network with the modes of lowest `scores` in one layer silenced, by an amplitude of 0.

    `fraction` of all p modes go, rounded to whole modes. Of ``network.canonical()`` the smallest singular values go.
    Works under `jit` and `vmap`. Raises `ValueError` for a layer that there is not, and a fraction outside [0, 1].
    """
    depth = len(network.amplitudes)
    if not -depth <= layer < depth:
        raise ValueError(f"`layer` must be from 0 to {depth - 1}, got {layer}")
    require("fraction", fraction, lambda f: (f >= 0) & (f <= 1), "a number from 0 to 1")
    amplitudes = network.amplitudes[layer]
    order = jnp.argsort(scores(network.layers[layer]))
    pruned = amplitudes.at[order[: round(fraction * len(amplitudes))]].set(0)
    return eqx.tree_at(lambda network: network.amplitudes[layer], network, pruned)
