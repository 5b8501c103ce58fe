"""Parameters as a vector of free numbers: constraints are smooth maps, kept beside the parameters.

A constraint is named by the path of what it holds for: "load" of a dict or an ensemble, "terms.0.g" of a sum of
ensembles, "terms.0" for everything below. To add a constraint, write a final subclass of `Transform`.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from .._arguments import positive, require, require_key, require_whole, scalar
from .._numerics import as_float, is_concrete
from .._results import one_line


class Transform(eqx.Module):
    """A smooth map from free numbers onto the values that a parameter may have.

    A value that rounding would put on an excluded limit stays next to the limit: a search that runs off to it ends at
    parameters from which another search can start.
    """

    __repr__ = one_line

    @abc.abstractmethod
    def constrain(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """The parameter at free numbers u."""

    @abc.abstractmethod
    def free(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The free numbers of a parameter x: the inverse of `constrain`."""

    @abc.abstractmethod
    def holds(self, x: Float[np.ndarray, "..."]) -> Any:
        """Whether x keeps the constraint."""

    @abc.abstractmethod
    def expected(self) -> str:
        """What x must be, for a message."""


class Free(Transform):
    """Any finite number, x = u: the transform of parameters for which none is given."""

    def constrain(self, u):
        return u

    def free(self, x):
        return x

    def holds(self, x):
        return np.isfinite(x)

    def expected(self):
        return "finite"


class Positive(Transform):
    """x > 0, x = e^u."""

    def constrain(self, u):
        return jnp.maximum(jnp.exp(u), _tiny(u))

    def free(self, x):
        return jnp.log(x)

    def holds(self, x):
        return positive(x)

    def expected(self):
        return "finite and > 0"


class Interval(Transform):
    """`low` < x < `high`, x = low + (high - low) / (1 + e^{-u}).

    Raises `ValueError` unless low < high are finite.
    """

    low: Float[Array, ""]
    high: Float[Array, ""]

    def __init__(self, low: Float[ArrayLike, ""], high: Float[ArrayLike, ""]):
        self.low = scalar("low", low)
        self.high = scalar("high", high)
        require("low", self.low, np.isfinite, "a finite number")
        above = lambda high: not is_concrete(self.low) or high > np.asarray(self.low)
        require("high", self.high, lambda high: np.isfinite(high) & above(high), f"a finite number > `low`, {low}")

    def constrain(self, u):
        low, high = self.low.astype(u.dtype), self.high.astype(u.dtype)
        eps, tiny = float(jnp.finfo(u.dtype).eps), _tiny(u)
        inner = low + (eps * jnp.abs(low) + tiny), high - (eps * jnp.abs(high) + tiny)
        return jnp.clip(low + (high - low) * jax.nn.sigmoid(u), *inner)

    def free(self, x):
        low, high = self.low.astype(x.dtype), self.high.astype(x.dtype)
        return jnp.log((x - low) / (high - x))

    def holds(self, x):
        return (x > np.asarray(self.low)) & (x < np.asarray(self.high))  # of any precision

    def expected(self):
        return f"between {self.low:g} and {self.high:g}, the limits excluded"


class Simplex(Transform):
    """Weights w_1..w_K > 0 of sum 1, w_k = e^{u_k} / (1 + sum_j e^{u_j}): K - 1 free numbers."""

    def constrain(self, u):
        return jnp.maximum(jax.nn.softmax(jnp.append(u, 0)), _tiny(u))

    def free(self, x):
        return jnp.log(x[:-1] / x[-1])

    def holds(self, x):
        return x.ndim == 1 and np.all(positive(x)) and abs(np.sum(x) - 1) < 1e-6

    def expected(self):
        return "a 1-d array of numbers > 0 whose sum is 1"


def _tiny(u: Float[Array, "..."]) -> float:
    return float(jnp.finfo(u.dtype).tiny)


class Fixed(Transform):
    """Not fitted: the parameter keeps its value and has no free number."""

    def constrain(self, u):
        raise TypeError("a fixed parameter has no free numbers")

    def free(self, x):
        return jnp.zeros(0, x.dtype)

    def holds(self, x):
        return np.ones_like(x, bool)

    def expected(self):
        return "any number"


Transforms = Mapping[str, Transform]


class Space(eqx.Module):
    """Parameters (any pytree with float leaves) and free vectors u, each from the other. Made by `space_of`."""

    transforms: tuple[Transform, ...]  # of each float leaf
    values: tuple[Float[Array, "..."], ...]  # of each float leaf; those that are fixed are read from here
    rest: PyTree  # all other leaves
    paths: tuple[str, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    def params(self, u: Float[Array, " p"]) -> PyTree:
        """The parameters at u."""
        return eqx.combine(self.floats(u), self.rest)

    def floats(self, u: Float[Array, " p"]) -> PyTree:
        """The float leaves of the parameters at u, and None in place of all others."""
        return jax.tree.unflatten(self.structure, self._leaves(u))

    def log_volume(self, u: Float[Array, " p"]) -> Float[Array, ""]:
        """ln |dx/du| of all fitted parameters; of a simplex, for all its weights but the last."""
        total, start = jnp.zeros((), u.dtype), 0
        for value, transform in zip(self.values, self.transforms, strict=True):
            size = _size(transform, value)
            if size and not isinstance(transform, Fixed):
                slopes = jax.jacfwd(lambda u, t=transform, n=size: t.constrain(u)[:n])(u[start : start + size])
                total += jnp.linalg.slogdet(slopes)[1]
            start += size
        return total

    def fitted(self) -> tuple[str, ...]:
        """The paths of the parameters that are fitted."""
        return tuple(p for p, t in zip(self.paths, self.transforms, strict=True) if not isinstance(t, Fixed))

    def free(self, params: PyTree) -> Float[Array, " p"]:
        """The vector of `params`, a tree like that which made this space."""
        return self._free(jax.tree.leaves(_split(params)[0]))

    def at_values(self) -> Float[Array, " p"]:
        """The vector of the parameters that made this space."""
        return self._free(self.values)

    def _free(self, leaves: Sequence[Float[Array, "..."]]) -> Float[Array, " p"]:
        dtype = self.dtype
        return jnp.concatenate([t.free(x).ravel().astype(dtype) for t, x in zip(self.transforms, leaves, strict=True)])

    def vector(self, u: Float[Array, " p"]) -> Float[Array, " n"]:
        """The components of the fitted parameters at u, as `names` lists them."""
        return self.components(self.params(u))

    def components(self, tree: PyTree) -> Float[Array, " n"]:
        """The components of any tree like the parameters, in the same order."""
        leaves = zip(jax.tree.leaves(_split(tree)[0]), self.transforms, strict=True)
        return jnp.concatenate([x.ravel().astype(self.dtype) for x, t in leaves if not isinstance(t, Fixed)])

    def like_params(self, components: Float[Array, " n"], fixed: float) -> PyTree:
        """A tree like the parameters with these numbers as components; parameters that are not fitted get `fixed`."""
        leaves, start = [], 0
        for value, transform in zip(self.values, self.transforms, strict=True):
            if isinstance(transform, Fixed):
                leaves.append(jnp.full_like(value, fixed))
            else:
                leaves.append(components[start : start + value.size].reshape(value.shape).astype(value.dtype))
                start += value.size
        return eqx.combine(jax.tree.unflatten(self.structure, leaves), self.rest)

    def names(self) -> tuple[str, ...]:
        """The path of every component of the fitted parameters, as in 'hetero[1]'."""
        names = []
        for path, value, transform in zip(self.paths, self.values, self.transforms, strict=True):
            if not isinstance(transform, Fixed):
                indices = [f"[{', '.join(map(str, i))}]" if i else "" for i in np.ndindex(value.shape)]
                names += [path + index for index in indices]
        return tuple(names)

    def coordinate(self, name: str) -> tuple[int, Transform]:
        """The free number that alone moves the component of that name, and its transform."""
        if name not in self.names():
            raise ValueError(f"`name` must be one of the fitted parameters, {', '.join(self.names())}, got {name!r}")
        start = 0
        for path, value, transform in zip(self.paths, self.values, self.transforms, strict=True):
            inside = [path + (f"[{', '.join(map(str, i))}]" if i else "") for i in np.ndindex(value.shape)]
            if name in inside and isinstance(transform, Simplex):
                raise ValueError(
                    f"`name` must not be one of the weights of a simplex, which move together, got {name!r}"
                )
            if name in inside and not isinstance(transform, Fixed):
                return start + inside.index(name), transform
            start += _size(transform, value)
        raise AssertionError(name)

    @property
    def dtype(self) -> Any:
        return np.result_type(*(value.dtype for value in self.values))

    def _leaves(self, u: Float[Array, " p"]) -> list[Array]:
        leaves, start = [], 0
        for value, transform in zip(self.values, self.transforms, strict=True):
            size = _size(transform, value)
            if isinstance(transform, Fixed):
                leaves.append(value)
            else:
                shape = value.shape if size == value.size else (size,)
                x = transform.constrain(u[start : start + size].reshape(shape).astype(value.dtype))
                leaves.append(x)
            start += size
        return leaves


def space_of(params: PyTree, transforms: Transforms | None) -> Space:
    """The space of `params` under `transforms`.

    Raises `ValueError` if no float leaf is fitted, for complex leaves, for a path that `params` does not have, and for
    values that do not keep their constraint.
    """
    floats, rest = _split(params)
    with_paths, structure = jax.tree_util.tree_flatten_with_path(floats)
    paths = tuple(jax.tree_util.keystr(path, simple=True, separator=".") or "params" for path, _ in with_paths)
    values = tuple(value for _, value in with_paths)
    given = dict(transforms or {})
    for path, transform in given.items():
        if not any(_below(leaf, path) for leaf in paths):
            raise ValueError(f"`transforms` must be named by the parameters, {', '.join(paths)}, got {path!r}")
        if not isinstance(transform, Transform):
            raise ValueError(f"`transforms`: {path} must have a `Transform` such as `Positive()`, got {transform!r}")
    chosen = tuple(next((t for path, t in given.items() if _below(leaf, path)), Free()) for leaf in paths)
    for path, value, transform in zip(paths, values, chosen, strict=True):
        require(f"params: {path}", value, transform.holds, transform.expected())
    if all(isinstance(transform, Fixed) for transform in chosen):
        raise ValueError("`params` must have a float that is not fixed, got none to fit")
    return Space(chosen, values, rest, paths, structure)


def draw_starts(
    params: PyTree,
    num_starts: int,
    *,
    key: PRNGKeyArray,
    spread: Float[ArrayLike, ""] = 1.0,
    transforms: Transforms | None = None,
) -> PyTree:
    """`num_starts` starts of a fit, stacked along a first axis: `params`, and Gaussian draws around them.

    The draws have the standard deviation `spread` in the free numbers of the transforms: a factor of e for a positive
    parameter. Raises `ValueError` for num_starts < 1, a spread that is not positive, and `params` as `fit` does.
    """
    require_key("key", key)
    require_whole("num_starts", num_starts)
    require("spread", scalar("spread", spread), positive, "a finite number > 0")
    space = space_of(params, transforms)
    centre = space.free(params)
    noise = jnp.asarray(spread, centre.dtype) * jax.random.normal(key, (num_starts, centre.size), centre.dtype)
    return jax.vmap(space.params)(centre[None] + noise.at[0].set(0))


def stacked_starts(space: Space, starts: PyTree) -> Float[Array, "s p"]:
    """The free vectors of `starts`, a tree like the parameters whose float leaves have one more axis, the first."""
    floats, _ = _split(starts)
    leaves, structure = jax.tree.flatten(floats)
    like = structure == space.structure and all(
        x.ndim > 0 and x.shape[1:] == value.shape for x, value in zip(leaves, space.values, strict=True)
    )
    if not like:
        raise ValueError("`starts` must be a tree like `params` whose arrays have one more axis, the first")
    if len({x.shape[0] for x in leaves}) != 1 or leaves[0].shape[0] == 0:
        raise ValueError(f"`starts` must have one number of starts, 1 or more, got {[x.shape[0] for x in leaves]}")
    for path, value, transform in zip(space.paths, leaves, space.transforms, strict=True):
        if is_concrete(value):
            for one in np.asarray(value):
                require(f"starts: {path}", one, transform.holds, transform.expected())
    return jax.vmap(lambda leaves: space.free(jax.tree.unflatten(structure, leaves)))(leaves)


def _split(params: PyTree) -> tuple[PyTree, PyTree]:
    """Float leaves as arrays, and everything else."""
    if any(_is_inexact(x) and jnp.iscomplexobj(x) for x in jax.tree.leaves(params)):
        raise ValueError("`params` must be real, got complex numbers")
    params = jax.tree.map(lambda x: as_float(x) if _is_inexact(x) else x, params)
    return eqx.partition(params, eqx.is_inexact_array)


def _is_inexact(x: Any) -> bool:
    kinds = (float, complex, np.ndarray, np.generic, jax.Array)
    return isinstance(x, kinds) and jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _below(leaf: str, path: str) -> bool:
    return leaf == path or leaf.startswith(f"{path}.")


def _size(transform: Transform, value: Array) -> int:
    return jax.eval_shape(transform.free, value).size
