"""Coupling operators: what an ensemble samples and everything else multiplies by.

An operator stands for one real n x n matrix J, with J[i, j] the weight from j to i. It multiplies like an array
(`J @ x`), but a network of P modes, J = L K R^T / n, keeps its n x P factors and its core K, which acts on the P axis
in O(P); the n x n matrix is formed by `dense` alone. `vmap` over keys returns a batch: an operator whose every leaf
carries the same leading axes. `dense`, `low_rank` and `shape` read a batch directly; `@` is for one network, under
`vmap`.

A new kind of mode couplings is one more `Core`; a new kind of matrix is one more `Operator`.
"""

import abc
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from .._arguments import real_array, whole_array
from .._results import one_line


def per_network(method):
    """Extends a method written for one network to a batch, by `vmap` over the leading axes of all leaves."""

    @functools.wraps(method)
    def over_batch(self):
        mapped = method
        for _ in self.shape[:-2]:
            mapped = jax.vmap(mapped)
        return mapped(self)

    return over_batch


def _is_real_scalar(factor: Any) -> bool:
    return isinstance(factor, (int, float, np.generic, np.ndarray, jax.Array)) and (
        jnp.ndim(factor) == 0 and jnp.isrealobj(factor)
    )


# --- operators


class Operator(eqx.Module):
    """A real n x n matrix J known by what it does.

    Operators add, and scale by real numbers.
    """

    __repr__ = one_line

    # Makes NumPy scalars and arrays on the left of `*` and `@` defer to this class.
    __array_ufunc__ = None

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(*batch, n, n)."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The precision of the entries."""

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """True only when the construction guarantees J = J^T, whatever the values of the leaves."""

    @abc.abstractmethod
    def __matmul__(self, x: Float[Array, " n *k"]) -> Float[Array, " n *k"]:
        """J x, for a vector or for columns of vectors."""

    @property
    @abc.abstractmethod
    def T(self) -> "Operator":
        """The transpose."""

    @abc.abstractmethod
    def dense(self) -> Float[Array, "*batch n n"]:
        """The matrix itself."""

    @abc.abstractmethod
    def low_rank(self) -> tuple[Float[Array, "*batch n P"], Float[Array, "*batch P n"]] | None:
        """Two factors whose product is J, or None when J is not made of modes."""

    @abc.abstractmethod
    def scaled(self, factor: Real[Array, ""]) -> "Operator":
        """`factor` J."""

    def __mul__(self, factor) -> "Operator":
        return self.scaled(jnp.asarray(factor)) if _is_real_scalar(factor) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> "Operator":
        return -1.0 * self

    def __add__(self, other: "Operator") -> "Operator":
        return Sum((self, other)) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: "Operator") -> "Operator":
        return self + -1.0 * other if isinstance(other, Operator) else NotImplemented


class Dense(Operator):
    """J given by its entries; `symmetric=True` promises J = J^T, which is not checked.

    Raises `ValueError` when `matrix` is not square.
    """

    matrix: Float[Array, "*batch n n"]
    _symmetric: bool = eqx.field(static=True)

    def __init__(self, matrix: Float[ArrayLike, "*batch n n"], symmetric: bool = False):
        self.matrix = real_array("matrix", matrix)
        self._symmetric = symmetric

    def __check_init__(self):
        if self.matrix.ndim < 2 or self.matrix.shape[-1] != self.matrix.shape[-2]:
            raise ValueError(f"`matrix` must be square, got shape {self.matrix.shape}")

    @property
    def shape(self):
        return self.matrix.shape

    @property
    def dtype(self):
        return self.matrix.dtype

    @property
    def symmetric(self):
        return self._symmetric

    def __matmul__(self, x):
        require_one_network(self)
        return self.matrix @ x

    @property
    def T(self):
        return Dense(jnp.swapaxes(self.matrix, -1, -2), self.symmetric)

    def dense(self):
        return self.matrix

    def low_rank(self):
        return None

    def scaled(self, factor):
        return Dense(factor.astype(self.dtype) * self.matrix, self.symmetric)


class Modes(Operator):
    """J = L K R^T / n: P input modes (columns of `right`), P output modes (columns of `left`) and the core K.

    Passing the same array twice, as for stored patterns, keeps it once, and J is then symmetric when K is. A layer from
    n inputs to m units has n rows in `right` and m in `left`: J is m x n then, and networks and spectra refuse it.
    Raises `ValueError` when `left` and `right` differ in the number of modes or in batch.
    """

    left: Float[Array, "*batch m P"]
    # As rows, which meet a vector or few columns in memory order: twice as fast and more. None: the same as `left`.
    _right_rows: Float[Array, "*batch P n"] | None
    core: "Core"

    def __init__(self, left: Float[Array, "*batch m P"], right: Float[Array, "*batch n P"], core: "Core"):
        self.left = real_array("left", left)
        right = self.left if right is left else real_array("right", right)
        if self.left.ndim < 2:
            raise ValueError(f"`left` must have shape (m, P), or (..., m, P) of a batch, got {self.left.shape}")
        *batch, _, num = self.left.shape
        if right.ndim != self.left.ndim or (*right.shape[:-2], right.shape[-1]) != (*batch, num):
            expected = ", ".join(map(str, (*batch, "n", num)))
            raise ValueError(f"`right` must have shape ({expected}), with the modes of `left`, got {right.shape}")
        self._right_rows = None if right is self.left else jnp.swapaxes(right, -1, -2)
        self.core = core

    @property
    def right(self) -> Float[Array, "*batch n P"]:
        """The input modes, as columns."""
        return self.left if self._right_rows is None else jnp.swapaxes(self._right_rows, -1, -2)

    @property
    def shape(self):
        num_inputs = self.left.shape[-2] if self._right_rows is None else self._right_rows.shape[-1]
        return (*self.left.shape[:-1], num_inputs)

    @property
    def dtype(self):
        return self.left.dtype

    @property
    def symmetric(self):
        return self._right_rows is None and self.core.symmetric

    def __matmul__(self, x):
        require_one_network(self)
        # Not `left.T @ x`, which is several times slower for a vector.
        inputs = (x.T @ self.left).T if self._right_rows is None else self._right_rows @ x
        return self.left @ (self.core @ inputs) / self.shape[-1]

    @property
    def T(self):
        m, n = self.shape[-2:]
        core = self.core.T
        # J^T, an operator of m inputs, is divided by m.
        return Modes(self.right, self.left, core if m == n else core.scaled(jnp.asarray(m / n, self.dtype)))

    def dense(self):
        left, core_right = self.low_rank()
        return left @ core_right

    @per_network
    def low_rank(self):
        return self.left, self.core @ self.right.T / self.shape[-1]

    def scaled(self, factor):
        return Modes(self.left, self.right, self.core.scaled(factor))


class Sum(Operator):
    """The sum of operators of one shape, its `terms`, each applied in its own way.

    Raises `ValueError` when the shapes differ or there is no term.
    """

    terms: tuple[Operator, ...]

    def __check_init__(self):
        shapes = {term.shape for term in self.terms}
        if len(shapes) != 1:
            raise ValueError(f"`terms` must be operators of one shape, got {sorted(shapes)}")

    @property
    def shape(self):
        return self.terms[0].shape

    @property
    def dtype(self):
        return self.terms[0].dtype

    @property
    def symmetric(self):
        return all(term.symmetric for term in self.terms)

    def __matmul__(self, x):
        return functools.reduce(jnp.add, [term @ x for term in self.terms])

    @property
    def T(self):
        return Sum(tuple(term.T for term in self.terms))

    def dense(self):
        return functools.reduce(jnp.add, [term.dense() for term in self.terms])

    def low_rank(self):
        factors = [term.low_rank() for term in self.terms]
        if any(factor is None for factor in factors):
            return None
        lefts, core_rights = zip(*factors, strict=True)
        return jnp.concatenate(lefts, -1), jnp.concatenate(core_rights, -2)

    def scaled(self, factor):
        return Sum(tuple(term.scaled(factor) for term in self.terms))


class Product(Operator):
    """The product of square operators of one shape, its `factors`: J x applies the last one first.

    Raises `ValueError` when the shapes differ, are not square, or there is no factor.
    """

    factors: tuple[Operator, ...]

    def __check_init__(self):
        shapes = {factor.shape for factor in self.factors}
        if len(shapes) != 1 or any(shape[-1] != shape[-2] for shape in shapes):
            raise ValueError(f"`factors` must be square operators of one shape, got {sorted(shapes)}")

    @property
    def shape(self):
        return self.factors[0].shape

    @property
    def dtype(self):
        return self.factors[0].dtype

    @property
    def symmetric(self):
        return len(self.factors) == 1 and self.factors[0].symmetric

    def __matmul__(self, x):
        return functools.reduce(lambda x, factor: factor @ x, reversed(self.factors), x)

    @property
    def T(self):
        return Product(tuple(factor.T for factor in reversed(self.factors)))

    def dense(self):
        return functools.reduce(jnp.matmul, [factor.dense() for factor in self.factors])

    def low_rank(self):
        found = [(k, pair) for k, factor in enumerate(self.factors) if (pair := factor.low_rank()) is not None]
        if not found:
            return None
        k, (left, right) = min(found, key=lambda one: one[1][0].shape[-1])  # the fewest modes bound the rank
        before, after = ([factor.dense() for factor in part] for part in (self.factors[:k], self.factors[k + 1 :]))
        return functools.reduce(lambda x, a: a @ x, reversed(before), left), functools.reduce(jnp.matmul, after, right)

    def scaled(self, factor):
        return Product((self.factors[0].scaled(factor), *self.factors[1:]))


def require_one_network(operator: Operator):
    if len(operator.shape) > 2:
        raise ValueError(f"`@` multiplies by one network: map a batch of shape {operator.shape} with `jax.vmap`")


# --- cores: the P x P couplings between modes, never formed


class Core(eqx.Module):
    """The P x P matrix K between output modes and input modes, applied along the first axis of y in O(P)."""

    __repr__ = one_line

    @property
    @abc.abstractmethod
    def symmetric(self) -> bool:
        """True only when the construction guarantees K = K^T."""

    @abc.abstractmethod
    def __matmul__(self, y: Float[Array, " P *k"]) -> Float[Array, " P *k"]:
        """K y."""

    @property
    @abc.abstractmethod
    def T(self) -> "Core":
        """The transpose."""

    @abc.abstractmethod
    def scaled(self, factor: Real[Array, ""]) -> "Core":
        """`factor` K."""


class Diagonal(Core):
    """K = diag(D), D the `amplitudes` (..., P): mode a is read out by R_a and written by L_a with amplitude D_a.

    Raises `ValueError` for amplitudes that are not real numbers.
    """

    amplitudes: Float[Array, "*batch P"]

    def __init__(self, amplitudes: Float[ArrayLike, "*batch P"]):
        self.amplitudes = real_array("amplitudes", amplitudes)

    @property
    def symmetric(self):
        return True

    def __matmul__(self, y):
        return _along_first(self.amplitudes.astype(y.dtype), y)

    @property
    def T(self):
        return self

    def scaled(self, factor):
        return Diagonal(factor.astype(self.amplitudes.dtype) * self.amplitudes)


class Shifts(Core):
    """(K y)_mu = c y_mu + sum_{r=1}^d gamma_r y_{mu-r} [+ gamma_r y_{mu+r}, if `symmetric`].

    Pattern mu calls itself with strength c (`auto`) and its r-th successor with gamma_r (`hetero`). Indices run
    over the first `size` patterns, modulo `size` on a ring and dropped beyond the ends of an open chain; patterns from
    `size` on are silent. `size` may be traced, which lets one array of P columns serve every load up to P / n.
    `backward` turns gamma_r y_{mu-r} into gamma_r y_{mu+r}: the transpose. Raises `ValueError` for
    strengths that are not real numbers, and a size that is not whole.
    """

    auto: Float[Array, "*batch"]
    hetero: Float[Array, "*batch d"]
    size: Int[Array, "*batch"]
    ring: bool = eqx.field(static=True)
    _symmetric: bool = eqx.field(static=True)
    backward: bool = eqx.field(static=True)

    def __init__(self, auto, hetero, size, *, ring: bool = True, symmetric: bool = False, backward: bool = False):
        self.auto = real_array("auto", auto)
        self.hetero = real_array("hetero", hetero)
        # An array even when it is known, so that a batch batches it too.
        self.size = whole_array("size", size)
        self.ring = ring
        self._symmetric = symmetric
        self.backward = backward

    @property
    def symmetric(self):
        return self._symmetric or self.hetero.shape[-1] == 0

    def __matmul__(self, y):
        mu = jnp.arange(y.shape[0], dtype=self.size.dtype)
        total = _along_first((mu < self.size).astype(y.dtype) * self.auto.astype(y.dtype), y)
        for r, gamma in enumerate(self.hetero.astype(y.dtype), start=1):
            for step in (r, -r) if self._symmetric else (-r if self.backward else r,):
                source = mu - step
                heard = (mu < self.size) if self.ring else (mu < self.size) & (source >= 0) & (source < self.size)
                total = total + _along_first(heard.astype(y.dtype) * gamma, y[source % self.size])
        return total

    @property
    def T(self):
        return self if self.symmetric else self._with(self.auto, self.hetero, backward=not self.backward)

    def scaled(self, factor):
        auto, hetero = (factor.astype(x.dtype) * x for x in (self.auto, self.hetero))
        return self._with(auto, hetero, backward=self.backward)

    def _with(self, auto, hetero, backward):
        return Shifts(auto, hetero, self.size, ring=self.ring, symmetric=self._symmetric, backward=backward)


def _along_first(weights: Float[Array, " P"], y: Float[Array, " P *k"]) -> Float[Array, " P *k"]:
    """weights[mu] y[mu, ...], whatever follows the first axis of y."""
    return weights.reshape(-1, *(1,) * (y.ndim - 1)) * y
