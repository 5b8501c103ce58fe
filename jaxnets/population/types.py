r"""Pairs of units of K types, without memory kernel: who shares activity with whom.

With D_a = 1 / (1 + i w tau_a), s_a = beta_a^2 conj(D_a(w_1)) D_a(w_2), and for sums over units of type a at one end

$$ V^a = \big(1 - (g^2)^T \mathrm{diag}(f s)\big)^{-1} (g^2)^T \mathrm{diag}(f \bar D_1 D_2)\, e_a, \qquad
   U^a = e_a + \beta_a^2 V^a, $$

$$ \frac1N \sum_{i \in a, j \in b} C^\phi_{ij} C^\phi_{ji} = \sum_c f_c\, C^\phi_{c1} C^\phi_{c2}\, U^a_c \bar U^b_c, $$

$$ \frac1N \sum_{i \in a, j \in b} C^x_{ij} C^x_{ji} = \delta_{ab} f_a C^x_{a1} C^x_{a2}
   + f_a C^x_{a1} C^x_{a2} \beta_a^2 V^b_a + f_b C^x_{b1} C^x_{b2} \beta_b^2 \bar V^a_b
   + \sum_c f_c\, C^\phi_{c1} C^\phi_{c2} V^a_c \bar V^b_c. $$

Block means change the sums by order 1 of N, unless a mode of means is close to growing. White noise of units is part of
C^x. Source: with one type Clark, Abbott & Litwin-Kumar 2023 (arXiv 2207.12373); with types derived here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from .._numerics import as_complex, frozen, is_concrete, solve_few, square_modulus
from .._results import Result
from ..meanfield import TypedStationary
from ..meanfield.types.problem import growth
from .pairs import Pairs

# A state counts as without static disorder up to this part of its variance.
_STATIC = 1e-6


class TypedDimension(Result, axes={"K": "type"}):
    """The dimension PR / N of rates (`phi`) and of states (`x`) in a network with types, made by `dimension`.

    `phi_types` and `x_types` are the dimensions of the units of each type, over the number N of all units.
    `phi_shared` and `x_shared` are (1/N) sum C_ij^2 over i of type a and j of type b at lag 0.
    """

    phi: Float[Array, ""]
    x: Float[Array, ""]
    phi_types: Float[Array, " K"]
    x_types: Float[Array, " K"]
    phi_shared: Float[Array, "K K"]
    x_shared: Float[Array, "K K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def check_types(state: TypedStationary) -> None:
    """Raises `ValueError` for a state whose pairs are not derived."""
    static, fourth = np.max, state.ensemble.fourth_cumulant()
    if is_concrete(state.static_x, state.c_x):
        size, moving = np.asarray(state.c_x[:, 0]), np.asarray(state.c_x[:, 0] - state.static_x)
        if static(np.asarray(state.static_x)) > _STATIC * static(size) and static(moving) > 0:
            raise ValueError(
                "`state` must have no static disorder (static_x = 0), as units with different fields are not derived, "
                f"got {np.asarray(state.static_x)}"
            )
    if is_concrete(fourth) and float(fourth) != 0:
        raise ValueError("`ensemble` must have no modes beside its types, as their part of covariances is not derived")


def pairs_of_types(state: TypedStationary) -> Pairs:
    """Pairs of units of each two types: (2 K^2,) sums, of rates and then of states."""
    K = state.tau.shape[0]
    f, tau, beta = state.fractions, state.tau, state.beta
    g2 = state.W / f[None]

    def response(w):
        return jnp.moveaxis(state.response(w), 0, -1)

    def single(c):
        own = f[None, :, None] * c.reshape(2, K, -1) ** 2
        return (jnp.eye(K, dtype=c.dtype)[None, :, :, None] * own[:, :, None]).reshape(2 * K * K, -1)

    def added(w1, w2, s1, s2, c1, c2):
        (phi1, x1), (phi2, x2) = c1.reshape(2, K), c2.reshape(2, K)
        V = _paths(g2, f, tau, beta, w1, w2)  # V[c, a] = V^a_c
        E = V * as_complex(beta**2)[None]
        common = f * phi1 * phi2
        both = lambda A: jnp.einsum("c,cab->ab", common, _products(A))
        phi = both(E) + common[:, None] * E.real + (common[:, None] * E.real).T
        direct = (f * x1 * x2 * beta**2)[:, None] * V.real
        x = both(V) + direct + direct.T
        return jnp.concatenate([phi.ravel(), x.ravel()])

    functions = jnp.concatenate([state.c_phi, state.c_x])
    return Pairs(response, lambda s: growth(state.W, square_modulus(s)), functions, single, added)


def _products(A: Complex[Array, "K K"]) -> Float[Array, "K K K"]:
    """Re A^a_c conj(A^b_c), at [c, a, b]."""
    return A.real[:, :, None] * A.real[:, None] + A.imag[:, :, None] * A.imag[:, None]


def _paths(g2, f, tau, beta, w1, w2) -> Complex[Array, "K K"]:
    D1, D2 = (1 / jax.lax.complex(jnp.ones_like(tau), tau * w) for w in (w1, w2))
    Y = as_complex(g2.T * f[None]) * (jnp.conj(D1) * D2)[None]
    matrix = jnp.eye(tau.shape[0], dtype=Y.dtype) - Y * as_complex(beta**2)[None]
    return jax.vmap(lambda column: solve_few(matrix, column), in_axes=1, out_axes=1)(Y)


@eqx.filter_jit
def dimension_of_types(
    state: TypedStationary, shared: Float[Array, "m 1"], z_scored: bool, residual: Float[Array, ""]
) -> TypedDimension:
    """The result, from the sums at lag 0."""
    K, f = state.tau.shape[0], state.fractions
    phi, x = shared[:, 0].reshape(2, K, K)
    power = state.c_phi[:, 0], state.c_x[:, 0]
    weights = [1 / p if z_scored else jnp.ones(K, f.dtype) for p in power]
    parts = []
    for of, p, w in zip((phi, x), power, weights, strict=True):
        table, trace = w[:, None] * of * w[None], f * w * p
        parts.append((jnp.sum(trace) ** 2 / jnp.sum(table), trace**2 / jnp.diagonal(table)))
    stationary = growth(frozen(state.W), frozen(state.beta) ** 2) < 1
    known = stationary & jnp.all(state.static_x <= _STATIC * jnp.max(state.c_x))
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
