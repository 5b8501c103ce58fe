r"""Products of independent couplings, J = J_1 J_2 ... J_m: S-transforms of J J^T multiply.

Of couplings that rotations from either side leave as they are, all theory follows from the law of singular values s:

$$ y = \Big\langle \frac{s^2 c}{1 + s^2 c} \Big\rangle, \qquad c = \frac{y}{1 - y}\, \mathcal S(-y), \qquad
   \mathcal S = \prod_k \mathcal S_k, \qquad h = \frac{y}{u} \;\text{ at }\; p = -u = -c\, (1 - y)^2 $$

So the c_k of the factors, at one y, have the product c (y / (1 - y))^(m - 1). Of a factor that is known by its h the
unknown is u_k = c_k (1 - y)^2, with y = u_k h_k(-u_k); of singular modes it is c_k. All are written as multiples
exp(K_k) of c, or of u, so that nothing is singular where that is 0. Source: Voiculescu 1987; Haagerup & Larsen 2000.
"""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact

from .._arguments import require_instance, require_key
from .._laws import Discrete
from .._numerics import as_complex, as_program, iterate
from . import operators
from .ensemble import Ensemble, FourPoint, no_pole
from .parts import inverse_square


class Product(Ensemble):
    r"""Independent ensembles multiplied, J = J_1 J_2 up to J_m, of couplings that rotations leave as they are.

    Rotations from either side must leave the law of each factor as it is. `factors` may be `IID`, `RandomModes` without
    overlap, `SingularModes`, sums and multiples of these (singular modes
    not within a sum), and your own ensembles without memory kernel. `a @ b` is the product of two. Singular values and
    eigenvalues do not depend on the order of factors; a sample has theirs. A diagonal matrix of gains is
    `SingularModes(gains)` where another factor stands beside it. Raises `ValueError` for no factor, and for factors
    that are not of this kind: with correlated reciprocal weights, echoes, types, or modes of finite rank. Source:
    Haagerup & Larsen 2000 (R-diagonal elements); Burda, Janik & Waclaw 2010 for independent weights.
    """

    factors: tuple[Ensemble, ...]

    def __init__(self, factors: Sequence[Ensemble]):
        found = []
        for factor in factors:
            require_instance("factors", factor, Ensemble, "ensembles of `jaxnets.couplings`")
            _require_invariant(factor)
            parts = factor.parts()
            inner = parts[0].ensemble
            if len(parts) == 1 and isinstance(inner, Product):
                found += [parts[0].factor * inner.factors[0], *inner.factors[1:]]
            else:
                found.append(factor)
        if not found:
            raise ValueError("`factors` must be one ensemble or more, got none")
        self.factors = tuple(found)

    def sample(self, n, *, key, dtype=None, max_modes=None):
        require_key("key", key)
        keys = jax.random.split(key, len(self.factors))
        pairs = zip(self.factors, keys, strict=True)
        return operators.Product(tuple(f.sample(n, key=k, dtype=dtype, max_modes=max_modes) for f, k in pairs))

    def padded(self):
        return Product([factor.padded() for factor in self.factors])

    def blocks(self, t12, t21, p, *, physical=False):
        """The blocks of `Ensemble`, with h continued from p = 0 along the straight line to p; NaN where that fails."""
        p = as_complex(p)
        h, _, found = solve(self._law(), -p, 1)
        zero = jnp.zeros_like(t21)
        return zero, zero, jnp.where(found, h, jnp.nan)

    def four_point(self, s1, s2):
        g2, b, zero = self.variance().astype(s1.dtype), self.fourth_cumulant().astype(s1.dtype), jnp.zeros_like(s1)
        return FourPoint(g2, zero, zero, zero, b)

    def variance(self):
        return functools.reduce(jnp.multiply, [factor.variance() for factor in self.factors])

    def fourth_cumulant(self):
        """g^4 (m - 1 + the sum of all 1 / PR^D)."""
        return self.variance() ** 2 * self._inverse_rank()

    def _inverse_rank(self):
        return sum(factor._inverse_rank() for factor in self.factors) + (len(self.factors) - 1)

    def rank_fraction(self):
        return functools.reduce(jnp.minimum, [factor.rank_fraction() for factor in self.factors])

    def poles(self):
        return no_pole(self.variance())

    def is_symmetric(self):
        return False

    def is_memoryless(self):
        return True

    def singular_law(self) -> "ProductLaw":
        """The law of its singular values, by the y of any c."""
        return self._law()

    def _law(self) -> "ProductLaw":
        """Factors of one kind and shape are stacked, so that any number of them is one program."""
        groups: dict[Any, list[Any]] = {}
        for factor in self.factors:
            known = factor.singular_law()
            kind = factor if known is None else known
            leaves, structure = jax.tree.flatten(kind)
            shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
            groups.setdefault((structure, shapes), []).append((kind, factor.variance()))
        stack = lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])
        kinds = tuple(jax.tree.map(stack, *(kind for kind, _ in group)) for group in groups.values())
        variances = tuple(jnp.stack([variance for _, variance in group]) for group in groups.values())
        return ProductLaw(kinds, variances)


def _require_invariant(factor: Ensemble) -> None:
    """Raises `ValueError` unless rotations from either side leave the law of this factor as it is."""
    what = f"`factors` must be invariant under rotations from either side, got {factor!r}, "
    if factor.type_fractions().shape[0] > 1 or factor.single_weights() is not None:
        raise ValueError(f"{what}whose units have types or laws of their own")
    if factor.finite_rank().rank > 0:
        raise ValueError(f"{what}which has modes of finite rank: add them to the product")
    site = factor.site(certain=True)
    if site is None or site.echo is not None:
        raise ValueError(f"{what}whose weights are correlated with those of the reverse connections, or form chains")
    parts = factor.parts()
    if len(parts) > 1 and any(part.ensemble.singular_law() is not None for part in parts):
        raise ValueError(f"{what}a sum with singular modes or products: take them as factors or terms of their own")


class ProductLaw(eqx.Module):
    """The law of the singular values of a product: laws of singular values and ensembles, stacked by kind."""

    kinds: tuple[Discrete | Ensemble, ...]
    variances: tuple[Float[Array, " m"], ...]
    scale: Float[ArrayLike, ""] = 1.0

    def scaled(self, factor: float | Float[Array, ""]) -> "ProductLaw":
        """The law of |factor| s."""
        return ProductLaw(self.kinds, self.variances, jnp.abs(factor) * self.scale)

    def means(self, c: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """<1/(1 + s^2 c)> and <s^2/(1 + s^2 c)>."""
        square = jnp.asarray(self.scale, c.dtype) ** 2
        eta, rest, found = solve(self, square * c, 0)
        return jnp.where(found, rest, jnp.nan), jnp.where(found, square * eta, jnp.nan)

    def moment(self, power: int) -> Float[Array, ""]:
        """<s^2>, the only `power` that is asked for, 2."""
        assert power == 2
        total = functools.reduce(jnp.multiply, [jnp.prod(variance) for variance in self.variances])
        return jnp.asarray(self.scale, total.dtype) ** 2 * total

    def inverse(self) -> Float[Array, ""]:
        """1 / <s^-2>, a product over factors; 0 with any that is not known by its singular values."""
        total = jnp.asarray(self.scale, self.variances[0].dtype) ** 2
        for kind in self.kinds:
            of = jax.vmap(inverse_square)(kind) if isinstance(kind, Discrete) else jnp.zeros(1, total.dtype)
            total = total * jnp.prod(of)
        return total


# --- the equations of a product


_PARTS = 12  # of the line to x; Newton steps between them are short in logarithms
_STEPS = 40  # at the end of the line
_FOUND, _ACCEPTED = 8, 1e4  # roundings, where the search stops, and above which it has failed


@as_program
def solve(
    law: ProductLaw, x: Inexact[Array, ""], by_u: int
) -> tuple[Inexact[Array, ""], Inexact[Array, ""], Bool[Array, ""]]:
    """y / x and 1 - y, at x = c or, if `by_u`, at x = u, where it is the branch that grows from 0; whether found.

    The unknowns are E, and K of each factor. At c, E is the logarithm of y / (c (1 - y)), which is smooth and exact at
    both ends; at u it is the one of y / u.
    """
    law = jax.tree.map(lambda leaf: leaf.astype(_like(leaf, x)) if eqx.is_inexact_array(leaf) else leaf, law)
    (E, _), miss = _root((law, x), by_u)
    eta, rest = _fraction(E, x, by_u)
    return jnp.exp(eta), jnp.exp(rest), miss <= _ACCEPTED * float(jnp.finfo(x.dtype).eps)


def _like(leaf, x):
    """Real weights and values stay real; ensembles take complex points themselves."""
    return jnp.finfo(x.dtype).dtype if jnp.isrealobj(leaf) else leaf.dtype


def _root(args: tuple[ProductLaw, Inexact[Array, ""]], by_u: int) -> tuple[Any, Float[Array, ""]]:
    """The unknowns, with derivatives of the implicit function, and the last miss."""

    @eqx.filter_custom_jvp
    def root(args):
        return _search(args[0], args[1], by_u)

    @root.def_jvp
    def root_jvp(primals, tangents):
        y, miss = root(*primals)
        _, (errors, tie) = eqx.filter_jvp(lambda args: _errors(y, args[0], args[1], by_u), primals, tangents)
        # None where nothing that moves enters.
        errors = [jnp.zeros_like(k) if error is None else error for error, k in zip(errors, y[1], strict=True)]
        tie = jnp.zeros_like(y[0]) if tie is None else tie
        change = _linearised(y, primals[0][0], primals[0][1], by_u)[2].change(errors, tie)
        return (y, miss), (change, jnp.zeros_like(miss))

    return root(args)


def _search(law: ProductLaw, x, by_u: int) -> tuple[Any, Float[Array, ""]]:
    logs = tuple(jnp.log(variance) for variance in law.variances)
    total = functools.reduce(jnp.add, map(jnp.sum, logs))
    start: Any = jax.tree.map(lambda y: y.astype(x.dtype), (total, tuple(total - log for log in logs)))
    rounding = float(jnp.finfo(x.dtype).eps)

    def step(carry, _):
        y, count = carry
        part = jnp.minimum((count + 1) / _PARTS, 1)  # of the line from 0
        # From 0 on by equal steps of x, far away by equal factors.
        at = x * (part * (1 + jnp.abs(x) * jnp.exp(total)) ** (part - 1)).astype(x.dtype)
        errors, tie, linear = _linearised(y, law, at, by_u)
        change = linear.change(errors, tie)
        miss = jnp.maximum(functools.reduce(jnp.maximum, [jnp.max(jnp.abs(error)) for error in errors]), jnp.abs(tie))
        return (jax.tree.map(jnp.add, y, change), count + 1), jnp.where(part < 1, jnp.inf, miss)

    first = start, jnp.zeros_like(total)
    (y, _), miss = iterate(step, first, None, _FOUND * rounding, _PARTS + _STEPS)
    return y, miss


def _fraction(E, x, by_u: int):
    """The logarithms of y / x and of 1 - y."""
    if by_u:
        return E, jnp.log1p(-x * jnp.exp(E))
    rest = -jnp.log1p(x * jnp.exp(E))
    return E + rest, rest


def _power(law: ProductLaw, by_u: int) -> tuple[int, int]:
    """The number of factors, and the power of 1 - y in the product of all exp(K)."""
    sizes = [variance.shape[0] for variance in law.variances]
    by_h = sum(size for size, kind in zip(sizes, law.kinds, strict=True) if not isinstance(kind, Discrete))
    return sum(sizes), 2 * by_h - sum(sizes) + (-1 if by_u else 1)


def _own(kind, k, x):
    """The logarithm of y / x of factors of a kind, or of y / (1 - y) over x where singular values are known."""
    of = _odds_of_law if isinstance(kind, Discrete) else _share_of_ensemble
    return jax.vmap(lambda kind, k: of(kind, k, x))(kind, k)


def _errors(y, law: ProductLaw, x, by_u: int):
    """One equation of each factor, of its K and E, and one more that ties all K to E."""
    E, K = y
    eta, rest = _fraction(E, x, by_u)
    size, power = _power(law, by_u)
    pairs = zip(law.kinds, K, strict=True)
    errors = [_own(kind, k, x) - (eta - rest if isinstance(kind, Discrete) else eta) for kind, k in pairs]
    return errors, functools.reduce(jnp.add, map(jnp.sum, K)) - (size - 1) * eta - power * rest


def _linearised(y, law: ProductLaw, x, by_u: int):
    """The equations, and their slopes: an equation has its own K and E alone, so that one derivative gives each."""
    E, K = y
    one = lambda leaf: jnp.ones_like(leaf)
    errors, by_own = jax.jvp(lambda K: _errors((E, K), law, x, by_u)[0], (K,), (jax.tree.map(one, K),))
    (eta, rest), (d_eta, d_rest) = jax.jvp(lambda E: _fraction(E, x, by_u), (E,), (one(E),))
    size, power = _power(law, by_u)
    tie = functools.reduce(jnp.add, map(jnp.sum, K)) - (size - 1) * eta - power * rest
    by_shared = [d_rest - d_eta if isinstance(kind, Discrete) else -d_eta for kind in law.kinds]
    return errors, tie, _Linear(by_own, by_shared, -(size - 1) * d_eta - power * d_rest)


class _Linear(eqx.Module):
    """Slopes of the equations: of each factor by its K and by E, and of the tie by E (by each K it is 1)."""

    by_own: list[Array]
    by_shared: list[Array]
    tie: Array

    def change(self, errors, tie):
        """What of E and K makes up for errors of this size."""
        total = lambda parts: functools.reduce(jnp.add, [jnp.sum(part) for part in parts])
        found = list(zip(errors, self.by_own, self.by_shared, strict=True))
        weight = self.tie - total(shared / own for _, own, shared in found)
        change = (total(error / own for error, own, _ in found) - tie) / weight
        return change, tuple(-(error + shared * change) / own for error, own, shared in found)


def _odds_of_law(law: Discrete, k, x):
    """The logarithm of y / (1 - y) over x, at c_k = x exp(k)."""
    squares, multiple = law.values.astype(x.dtype) ** 2, jnp.exp(k)
    response = law.weights.astype(x.dtype) / (1 + squares * x * multiple)
    return jnp.log(multiple * jnp.sum(squares * response) / jnp.sum(response))


def _share_of_ensemble(ensemble: Ensemble, k, x):
    """The logarithm of y over x, at u_k = x exp(k)."""
    multiple, zero = jnp.exp(k), as_complex(jnp.zeros_like(x.real))
    h = ensemble.blocks(zero, zero, -x * multiple, physical=jnp.isrealobj(x))[2]
    return jnp.log(multiple * (h.real if jnp.isrealobj(x) else h))
