r"""Pairs of units of K types, without memory kernel: who shares activity with whom.

With D_a = 1 / (1 + i w tau_a), s_a = <beta_i^2>_a conj(D_a(w_1)) D_a(w_2), and for sums over units of type a at one end

$$ V^a = \big(1 - (g^2)^T \mathrm{diag}(f s)\big)^{-1} (g^2)^T \mathrm{diag}(f \bar D_1 D_2)\, e_a, \qquad
   U^a = e_a + \langle\beta_i^2\rangle_a V^a, $$

$$ \frac1N \sum_{i \in a, j \in b} C^\phi_{ij} C^\phi_{ji}
   = \sum_c f_c\, \langle C^\phi_{i1} C^\phi_{i2}\rangle_c\, U^a_c \bar U^b_c
   + \langle\beta_i^2\rangle_a \langle\beta_i^2\rangle_b\, Q^{ab}, $$

$$ \frac1N \sum_{i \in a, j \in b} C^x_{ij} C^x_{ji} = \delta_{ab} f_a C^x_{a1} C^x_{a2}
   + f_a C^x_{a1} C^x_{a2} \langle\beta_i^2\rangle_a V^b_a + f_b C^x_{b1} C^x_{b2} \langle\beta_i^2\rangle_b \bar V^a_b
   + \sum_c f_c\, \langle C^\phi_{i1} C^\phi_{i2}\rangle_c V^a_c \bar V^b_c + Q^{ab}. $$

All C are of fluctuations around the means of single units over time. With static disorder units i of one type have
fields that differ by a constant, so that C_i and beta_i = <phi'>_i differ too, while the spectrum of x does not.

Modes without overlaps beside the types add, with w, l and c of `Ensemble.quartic`,

$$ Q^{ab} = \sum_m w_m \langle l_m M^a\rangle \langle l_m \bar M^b\rangle
   \langle c_m C^\phi_1\rangle \langle c_m C^\phi_2\rangle, \qquad
   M^a_c = \delta_{ac} \bar D_1 D_2 + s_c V^a_c. $$

Block means change the sums by order 1 of N, unless a mode of means is close to growing. White noise of units is part of
C^x. Source: with one type Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373); with types derived here.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._numerics import as_complex, as_program, frozen, solve_few, square_modulus
from .._results import Result
from ..couplings.parts import Quartic
from ..meanfield import TypedStationary
from ..meanfield.types.problem import growth
from ..meanfield.types.units import STATIC, SingleUnits, static_part, units_at
from .pairs import Pairs

T = TypeVar("T")

# Static fields, in standard deviations: 3e-7 of the weight at 0 is beyond. 96 of them resolve functions that bend over
# a fifth of a deviation, as kinked rates have with 4 % of their variance in fluctuations.
_WIDTH, _FIELDS_PER_NODE = 5.5, 1.5
# Functions that span the covariances of all units of a type. What they leave is part of the residual: 1e-9 of the
# squares for tanh(relu) with 96 % of the variance static.
_RANK = 12


class TypedDimension(Result, axes={"K": "type"}):
    """The dimension PR / N of rates (`phi`) and of states (`x`) in a network with types, made by `dimension`.

    `phi_types` and `x_types` are the dimensions of the units of each type, over the number N of all units.
    `phi_shared` and `x_shared` are (1/N) sum C_ij^2 over i of type a and j of type b at lag 0; of z-scored units where
    these were asked for.
    """

    phi: Float[Array, ""]
    x: Float[Array, ""]
    phi_types: Float[Array, " K"]
    x_types: Float[Array, " K"]
    phi_shared: Float[Array, "K K"]
    x_shared: Float[Array, "K K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Units(eqx.Module):
    """What pairs need to know of single units of K types."""

    fractions: Float[Array, " K"]
    g2: Float[Array, "K K"]
    tau: Float[Array, " K"]
    square_slope: Float[Array, " K"]  # <beta_i^2>
    weighted_slope: Float[Array, " K"]  # <w_i beta_i^2>, with squared output weights w of rates
    power: Float[Array, "2 K"]  # <w_i C_i(0)> of rates and states
    weight_x: Float[Array, " K"]
    c_x: Float[Array, "K T"]
    # b_r and d_r with <C_i C_i> = sum_r b_r b_r, <w_i C_i C_i> = sum_r b_r d_r and so on, and <C_i> = sum_r part_r b_r.
    b: Float[Array, "K r T"]
    d: Float[Array, "K r T"] | None  # None if all weights are 1
    part: Float[Array, "K r"]
    quartic: Quartic
    miss: Float[Array, ""]

    @property
    def sizes(self) -> Float[Array, "3 K"]:
        """What `dimension_of_types` asks: both powers, and squared slopes."""
        return jnp.concatenate([self.power, self.square_slope[None]])

    @property
    def functions(self) -> Float[Array, "s T"]:
        """All functions of the lag, of which `pairs_of_types` takes spectra."""
        shape = (-1, self.c_x.shape[-1])
        return jnp.concatenate([x.reshape(shape) for x in (self.b, self.c_x, self.d) if x is not None])

    def of(self, functions: Float[Array, " s"]) -> tuple[Float[Array, "K r"], Float[Array, " K"], Float[Array, "K r"]]:
        """b, c_x and d from `functions`."""
        K, r = self.part.shape
        b, x, d = functions[: K * r], functions[K * r : K * r + K], functions[K * r + K :]
        return b.reshape(K, r, *b.shape[1:]), x, (b if self.d is None else d).reshape(K, r, *b.shape[1:])


def units_of_types(state: TypedStationary, z_scored: bool, nodes: int, part: Float[ArrayLike, ""] = 1.0) -> Units:
    """The units of a concrete state, for `nodes` frequencies; static fields by a `part` of the points of the rule."""
    differ = np.any(np.asarray(state.static_x) > STATIC * np.asarray(state.c_x[:, 0]))
    return (_unlike_alone if differ else _alike_alone)(state, z_scored, nodes, np.asarray(part))


def with_units(then: Callable[[Units], T], state: TypedStationary, z_scored: bool, nodes: int) -> T:
    """What a function makes of the units of a traced state: one of each type where there is no static disorder."""
    static, _ = static_part(state)
    of = lambda units: lambda: then(units(state, z_scored, nodes, 1.0))
    return jax.lax.cond(jnp.any(static > 0), of(_unlike), of(_alike))


def _alike(state: TypedStationary, z_scored: bool, nodes: int, part: Float[ArrayLike, ""]) -> Units:
    """Units that are known to have no static fields: one of each type stands for all."""
    one = jnp.ones(1, state.tau.dtype)
    single = SingleUnits(state.c_phi[:, None], state.beta[:, None])
    return _units(state, single, one, jnp.ones((*state.tau.shape, 1, 1), one.dtype), z_scored)


def _unlike(state: TypedStationary, z_scored: bool, nodes: int, part: Float[ArrayLike, ""]) -> Units:
    num = int(_FIELDS_PER_NODE * nodes)
    numbers, count = jnp.asarray(np.arange(num), state.tau.dtype), jnp.asarray(part * num, state.tau.dtype)
    z = 2 * _WIDTH * numbers / (count - 1) - _WIDTH
    weights = jnp.where(numbers < count, jnp.exp(-(z**2) / 2), 0)
    return _units(state, units_at(state, z), weights / jnp.sum(weights), None, z_scored)


_alike_alone, _unlike_alone = as_program(_alike), as_program(_unlike)


def _units(
    state: TypedStationary,
    single: SingleUnits,
    weights: Float[Array, " q"],
    basis: Float[Array, "K q r"] | None,
    z_scored: bool,
) -> Units:
    """What pairs need, from units with such weights."""
    f, (static_x, static_phi) = state.fractions, static_part(state)
    c_x, power = state.c_x - static_x[:, None], state.c_phi[:, 0] - static_phi
    mean = lambda of: jnp.einsum("q,kq->k", weights, of)
    own, roots = single.c_phi[..., 0], jnp.sqrt(weights)[None, :, None]
    scaled = roots * single.c_phi
    w, lost, spanned = jnp.ones_like(own), jnp.zeros_like(power), scaled
    if z_scored:
        # A unit that does not fluctuate has no unit of its own.
        moves = own > jnp.finfo(own.dtype).eps ** 0.75 * power[:, None]
        w = jnp.where(moves, 1 / jnp.where(moves, own, 1), 0)
        spanned = jnp.concatenate([scaled, (w * power[:, None])[..., None] * scaled], axis=-1)
    if basis is None:
        basis, lost = _basis(spanned)
    project = lambda of: jnp.einsum("kqr,kqt->krt", basis, of)
    missed = jnp.maximum(jnp.abs(mean(own) - power) / power, lost)
    return Units(
        fractions=f,
        g2=state.W / f[None],
        tau=state.tau,
        square_slope=mean(single.beta**2),
        weighted_slope=mean(w * single.beta**2),
        power=jnp.stack([mean(w * own), jnp.ones_like(power)] if z_scored else [power, c_x[:, 0]]),
        weight_x=1 / c_x[:, 0] if z_scored else jnp.ones_like(f),
        c_x=c_x,
        b=project(scaled),
        d=project(w[..., None] * scaled) if z_scored else None,
        part=project(jnp.broadcast_to(roots, (*own.shape, 1)))[..., 0],
        quartic=state.ensemble.quartic(f.shape[0]),
        miss=jax.lax.stop_gradient(jnp.max(missed)),
    )


def _basis(of: Float[Array, "K q T"]) -> tuple[Float[Array, "K q r"], Float[Array, " K"]]:
    """Orthonormal columns that nearly span the rows of each type, and the share of squares that they leave.

    Without derivatives: a sum of squares in a basis that spans it changes as the sum does.
    """
    of = jax.lax.stop_gradient(of)
    squares, vectors = jnp.linalg.eigh(jnp.einsum("kqt,kpt->kqp", of, of))
    lost = jnp.abs(jnp.sum(squares[:, :-_RANK], axis=1)) / jnp.sum(squares, axis=1)
    return vectors[:, :, : -_RANK - 1 : -1], lost


def pairs_of_types(units: Units) -> Pairs:
    """Pairs of units of each two types: (2 K^2,) sums, of rates and then of states."""
    K, f, slope, weighted = units.tau.shape[0], units.fractions, units.square_slope, units.weighted_slope
    weight_x = units.weight_x[:, None] * units.weight_x[None]

    def response(w):
        of = lambda slope, tau: as_complex(jnp.sqrt(slope)) / jax.lax.complex(jnp.ones_like(w), tau * w)
        return jnp.moveaxis(jax.vmap(of)(slope, units.tau), 0, -1)

    def single(c):
        _, x, d = units.of(c)
        own = f[None, :, None] * jnp.stack([jnp.sum(d**2, axis=1), units.weight_x[:, None] ** 2 * x**2])
        return (jnp.eye(K, dtype=c.dtype)[None, :, :, None] * own[:, :, None]).reshape(2 * K * K, -1)

    def added(w1, w2, s1, s2, c1, c2):
        (b1, x1, d1), (b2, x2, d2) = units.of(c1), units.of(c2)
        turn, V = _paths(units.g2, f, units.tau, slope, w1, w2)  # V[c, a] = V^a_c
        phi = x = _products(V, f * jnp.sum(b1 * b2, axis=1))
        if units.quartic.weights.shape[0] > 0:
            M = jnp.diag(turn) + (as_complex(slope) * turn)[:, None] * V
            of_columns = [units.quartic.columns @ (f * jnp.sum(units.part * b, axis=1)) for b in (b1, b2)]
            of_rows = as_complex(units.quartic.rows * f[None]) @ M
            Q = _products(of_rows, units.quartic.weights * of_columns[0] * of_columns[1])
            phi, x = phi + Q, x + Q
        # Rates of one end, or both, without a path: weights of the unit itself.
        ends = (f * jnp.sum(b1 * d2 + d1 * b2, axis=1) / 2)[:, None] * V.real * weighted[None]
        phi = weighted[:, None] * phi * weighted[None] + ends + ends.T
        direct = (f * x1 * x2 * slope)[:, None] * V.real
        return jnp.concatenate([phi.ravel(), (weight_x * (x + direct + direct.T)).ravel()])

    W = units.g2 * f[None]
    return Pairs(response, lambda s: growth(W, square_modulus(s)), units.functions, single, added)


def _products(A: Complex[Array, "m K"], weights: Float[Array, " m"]) -> Float[Array, "K K"]:
    """sum_c weights_c Re A^a_c conj(A^b_c), at [a, b], of A[c, a]."""
    return (A.real * weights[:, None]).T @ A.real + (A.imag * weights[:, None]).T @ A.imag


def _paths(g2, f, tau, slope, w1, w2) -> tuple[Complex[Array, " K"], Complex[Array, "K K"]]:
    """conj(D_1) D_2 and V."""
    D1, D2 = (1 / jax.lax.complex(jnp.ones_like(tau), tau * w) for w in (w1, w2))
    turn = jnp.conj(D1) * D2
    Y = as_complex(g2.T * f[None]) * turn[None]
    matrix = jnp.eye(tau.shape[0], dtype=Y.dtype) - Y * as_complex(slope)[None]
    return turn, jax.vmap(lambda column: solve_few(matrix, column), in_axes=1, out_axes=1)(Y)


@as_program
def dimension_of_types(
    state: TypedStationary, sizes: Float[Array, "3 K"], shared: Float[Array, "m 1"], residual: Float[Array, ""]
) -> TypedDimension:
    """The result, from the `sizes` of units and the sums at lag 0."""
    K, f = state.tau.shape[0], state.fractions
    phi, x = shared[:, 0].reshape(2, K, K)
    parts = []
    for table, power in zip((phi, x), sizes[:2], strict=True):
        trace = f * power
        parts.append((jnp.sum(trace) ** 2 / jnp.sum(table), trace**2 / jnp.diagonal(table)))
    known = (growth(frozen(state.W), frozen(sizes[2])) < 1) & jnp.all(state.c_x[:, 0] > state.c_x[:, -1])
    parts, phi, x = jax.tree.map(lambda a: jnp.where(known, a, jnp.nan), (parts, phi, x))
    return TypedDimension(
        phi=parts[0][0],
        x=parts[1][0],
        phi_types=parts[0][1],
        x_types=parts[1][1],
        phi_shared=phi,
        x_shared=x,
        residual=residual,
        converged=state.converged & known & (residual <= 1e-4),
    )
