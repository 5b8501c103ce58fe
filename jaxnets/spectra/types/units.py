r"""The units of K types: gains and time constants at a few nodes for each type.

The spectrum of A = diag(1/tau) (-1 + J G) is where det(diag(zeta) - J G) = 0 with zeta_i = 1 + tau_i z: z enters
through zeta alone. The spectrum of J G is the same problem with zeta_i = z.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from ..._arguments import positive, real_array, require, vector
from ..._laws import Discrete
from ..._numerics import as_complex, is_concrete
from ..._results import one_line
from ...transfer import Transfer


class Units(eqx.Module):
    """K types with `fractions` f of all units, and nodes in each: `gains` G, time constants `tau`, and `weights`.

    The weights of a type sum to 1. zeta = decay + tau z: with time constants the `decay` is 1; without, it is 0 and
    every tau is 1.
    """

    __repr__ = one_line

    fractions: Float[Array, " K"]
    gains: Float[Array, "K n"]
    tau: Float[Array, "K n"]
    weights: Float[Array, "K n"]
    decay: Float[Array, ""]

    def zeta(self, z: Complex[Array, ""]) -> Complex[Array, "K n"]:
        """decay + tau z at each node."""
        return as_complex(self.decay) + as_complex(self.tau) * z

    def mean(self, of: Inexact[Array, "K n"]) -> Inexact[Array, " K"]:
        """The mean within each type."""
        return jnp.sum(self.weights.astype(of.dtype) * of, axis=-1)

    def total(self, of: Inexact[Array, " K"]) -> Inexact[Array, ""]:
        """The mean over types."""
        return jnp.sum(self.fractions.astype(of.dtype) * of)

    def mirrored(self, sign: Float[Array, ""]) -> "Units":
        """The units whose spectrum with sign J is that of sign A."""
        return eqx.tree_at(lambda units: units.decay, self, sign * self.decay)


def units(fractions: Float[Array, " K"], gains: Any, mean: Any, variance: Any, tau: Any) -> Units:
    """Units from the arguments of `spectra.law`, in the precision of the fractions."""
    num = fractions.shape[0]
    laws = _gain_laws(gains, mean, variance, num)
    times = [Discrete(np.ones(1))] * num if tau is None else _times(tau, num)
    joint = [_joint(law, time, a) for a, (law, time) in enumerate(zip(laws, times, strict=True))]
    most = max(len(values) for values, _, _ in joint)
    # Nodes of weight 0 fill the shorter laws.
    rows: list[Any] = [
        [jnp.pad(x, (0, most - len(x)), mode=m) for x, m in zip(nodes, _FILLED, strict=True)] for nodes in joint
    ]
    if is_concrete(rows):
        rows = [[np.asarray(x) for x in row] for row in rows]
    xp: Any = np if is_concrete(rows) else jnp
    g, t, w = (xp.stack(column).astype(fractions.dtype) for column in zip(*rows, strict=True))
    decay: Any = np.asarray(0.0 if tau is None else 1.0, fractions.dtype)
    return Units(fractions, g, t, w, decay)


_FILLED = ("edge", "edge", "constant")  # how gains, time constants and weights are filled up


def _gain_laws(gains, mean, variance, num: int) -> list[Discrete]:
    """The law of gains of each type."""
    one_each = isinstance(gains, Sequence) and len(gains) > 0 and any(_is_law(one) for one in gains)
    if one_each and len(gains) != num:
        raise ValueError(f"`gains` must be one law, or one for each of {num} types, got {len(gains)}")
    each = list(gains) if one_each else [gains] * num
    if not any(isinstance(one, Transfer) for one in each):
        if variance is not None:
            raise ValueError("`variance` belongs to a transfer function in `gains`, got it without one")
        return [_one_law(one) for one in each]
    if variance is None:
        raise ValueError("`variance` of the input must be given with a transfer function, got None")
    variance, mean = _of_types("variance", variance, num), _of_types("mean", mean, num)
    require("variance", variance, positive, "finite numbers > 0")
    require("mean", mean, np.isfinite, "finite numbers")
    return [
        one.slope_law(mean[a], variance[a]) if isinstance(one, Transfer) else _one_law(one)
        for a, one in enumerate(each)
    ]


def _is_law(one: Any) -> bool:
    return isinstance(one, Discrete | Transfer) or np.ndim(one) > 0


def _one_law(gains: Any) -> Discrete:
    if gains is None:
        return Discrete(np.ones(1))
    if isinstance(gains, Discrete):
        return gains
    values = vector("gains", gains)
    require("gains", values, np.isfinite, "finite numbers")
    return Discrete(values)


def _of_types(name: str, value: Any, num: int) -> Float[Array, " K"]:
    """A number, or one for each type."""
    array = real_array(name, value)
    if array.shape not in ((), (num,)):
        raise ValueError(f"`{name}` must be a number or ({num},), one for each type, got shape {array.shape}")
    return jnp.broadcast_to(array, (num,))


def _times(tau: Any, num: int) -> list[Any]:
    """For each type a `Discrete` law that is independent of the gains, or the array of its nodes."""
    if isinstance(tau, Discrete):
        each: list[Any] = [tau] * num
    elif isinstance(tau, Sequence) and any(isinstance(one, Discrete) or np.ndim(one) > 0 for one in tau):
        if len(tau) != num:
            raise ValueError(f"`tau` must have one law for each of {num} types, got {len(tau)}")
        each = [one if isinstance(one, Discrete) else real_array("tau", one) for one in tau]
    else:
        each = list(_of_types("tau", tau, num))
    for one in each:
        require("tau", one.values if isinstance(one, Discrete) else one, positive, "finite numbers > 0")
    return each


def _joint(gains: Discrete, tau: Any, of: int) -> tuple[Array, Array, Array]:
    """Gains, time constants and weights of the nodes of one type."""
    if isinstance(tau, Discrete):
        g, t = (x.ravel() for x in jnp.broadcast_arrays(gains.values[:, None], tau.values[None]))
        return g, t, (gains.weights[:, None] * tau.weights[None]).ravel()
    if tau.ndim > 1:
        raise ValueError(f"`tau` of type {of} must be a number or 1-d, got shape {tau.shape}")
    t = jnp.atleast_1d(tau)
    num = len(gains.values)
    if num == 1 and len(t) > 1:
        return jnp.broadcast_to(gains.values, t.shape), t, jnp.full(t.shape, 1 / len(t))
    if len(t) not in (1, num):
        raise ValueError(f"`tau` of type {of} must be a number or one for each of its {num} gains, got {len(t)}")
    return gains.values, jnp.broadcast_to(t, (num,)), gains.weights
