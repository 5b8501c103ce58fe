"""The arguments of states with types, checked: numbers for each type, and what the couplings make of covariances."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..._arguments import nonnegative, positive, real_array, require, require_instance
from ..._numerics import as_complex, as_program, is_concrete
from ..._numerics.host import namespace
from ...couplings import Ensemble
from ...spectra.types.outside import spectral_radius
from ...transfer import Linear, PiecewiseLinear, ReLU, Transfer, as_piecewise_linear
from ..unit.requirements import kinks_of

# Where `field` is asked whether units hear themselves: responses of any size show it, since r is analytic.
_PROBE = 0.3
Transfers = Transfer | Sequence[Transfer]


class Functions(eqx.Module):
    """The transfer functions of K types, and where they bend."""

    transfers: tuple[Transfer, ...]  # one for all types, or one for each
    breaks: tuple[Float[Array, " d"] | None, ...]

    def of_types(self, fn, *arrays):
        """fn(transfer, breaks, *rows), stacked over types."""
        if jax.tree.leaves(arrays)[0].shape[0] == 1:
            # Products of one matrix are faster than those of a batch of one.
            return jax.tree.map(lambda x: x[None], fn(self.transfers[0], self.breaks[0], *_row(arrays, 0)))
        if len(self.transfers) == 1:
            return jax.vmap(lambda *rows: fn(self.transfers[0], self.breaks[0], *rows))(*arrays)
        found = [
            fn(transfer, breaks, *_row(arrays, a))
            for a, (transfer, breaks) in enumerate(zip(self.transfers, self.breaks, strict=True))
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def _row(arrays, a: int):
    return jax.tree.map(lambda x: x[a], arrays)


class Problem(eqx.Module):
    """Units of K types: tau x' = -x + (means) + (Gaussian field of covariance W C^phi) + input + sqrt(2) sigma xi.

    W_ab = f_b g_ab^2, and the mean of the field on type a is sum_b `means`_ab <phi_b> with M_ab f_b in `means`.
    """

    fractions: Float[Array, " K"]
    W: Float[Array, "K K"]
    means: Float[Array, "K K"]
    input: Float[Array, " K"]
    tau: Float[Array, " K"]
    noise: Float[Array, " K"]
    functions: Functions
    memoryless: Bool[Array, ""]

    @property
    def noise_variance(self) -> Float[Array, " K"]:
        """The variance that white noise alone gives a unit, sigma^2 / tau."""
        return self.noise**2 / self.tau


def problem_of(
    ensemble: Ensemble,
    transfer: Transfers,
    noise: Float[ArrayLike, "*K"],
    tau: Float[ArrayLike, "*K"] | None,
    input: Float[ArrayLike, "*K"] | None,
    *,
    memory: bool = False,
) -> Problem:
    """The checked arguments, in the precision of the ensemble, which may have a `memory` kernel or must have none."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    fractions = ensemble.type_fractions()
    num, dtype = fractions.shape[0], fractions.dtype
    given = {"noise": noise, "tau": 1.0 if tau is None else tau, "input": 0.0 if input is None else input}
    numbers = {name: of_types(name, value, fractions) for name, value in given.items()}
    require("noise", numbers["noise"], nonnegative, "finite numbers >= 0")
    require("tau", numbers["tau"], positive, "finite numbers > 0")
    require("input", numbers["input"], np.isfinite, "finite numbers")
    transfers = _transfers(transfer, num)
    W, memoryless = _memoryless(ensemble) if memory else random_part(ensemble)
    return Problem(
        fractions,
        W,
        _means(ensemble) * fractions[None],
        numbers["input"],
        numbers["tau"],
        numbers["noise"],
        Functions(transfers, tuple(_breaks(phi, dtype) for phi in transfers)),
        memoryless,
    )


def random_part(ensemble: Ensemble) -> tuple[Float[Array, "K K"], Bool[Array, ""]]:
    """W, and whether r = 0 and kappa is constant. Raises `ValueError` where it is known that they are not."""
    W, memoryless = _memoryless(ensemble)
    if is_concrete(memoryless) and not bool(memoryless):
        raise ValueError(
            "`ensemble` must be without memory kernel and echo (symmetry 0, no overlaps) here for units of several "
            f"types, got {ensemble!r}: take `stationary` with a `key`, simulate its samples, or leave these out, as "
            '`from_matrix` does with `symmetry=False` and `beyond="degrees"`'
        )
    return W, memoryless


def known_memory(ensemble: Ensemble) -> bool | None:
    """Whether units hear themselves; None if it is not known, as couplings are traced."""
    _, memoryless = _memoryless(ensemble)
    return not bool(memoryless) if is_concrete(memoryless) else None


def _memoryless(ensemble: Ensemble) -> tuple[Float[Array, "K K"], Bool[Array, ""]]:
    W, echo, power = _seen(ensemble, ensemble.type_fractions())
    return W, (echo == 0) & (power <= 100 * float(jnp.finfo(W.dtype).eps))


@as_program
def _seen(ensemble: Ensemble, fractions: Float[Array, " K"]):
    num = fractions.shape[0]
    one = jnp.eye(num, dtype=fractions.dtype)
    none = jnp.zeros(num, fractions.dtype)

    def field(t21, t22):
        t = as_complex(t21)
        _, s21, s11, _ = ensemble.field(t, t, none, t22, fractions, physical=True)
        return s21, s11.real

    W = jax.vmap(lambda t22: field(none, t22)[1])(one).T
    size = jnp.max(jnp.sqrt(jnp.maximum(W, 0)))
    t = _PROBE * (1 + jnp.arange(num, dtype=none.dtype) / num) / jnp.where(size > 0, size, 1)
    s21, s11 = field(t, none + 1)
    total = jnp.sum(W, axis=1)
    largest = jnp.max(jnp.abs(total))
    return W, jnp.max(jnp.abs(s21)), jnp.max(jnp.abs(s11 - total)) / jnp.where(largest > 0, largest, 1)


def growth(W: Float[Any, "K K"], slopes: Float[Any, " K"]) -> Float[Any, ""]:
    """The spectral radius of W_ab slopes_b: below 1 where perturbations of the random part die out."""
    if namespace(slopes) is np:
        return np.asarray(_radius(W * slopes[None]))
    return spectral_radius(W * slopes[None])


_radius = as_program(spectral_radius)


def _means(ensemble: Ensemble) -> Float[Array, "K K"]:
    """M of types, and of modes that are the same on all units. Raises `ValueError` for other modes."""
    num, modes = ensemble.type_fractions().shape[0], ensemble.finite_rank()
    means = ensemble.block_means()
    if ensemble.typed_rank(num).rows.shape[0] > 0:
        raise ValueError(
            "`ensemble` must have no `TypeRank`, whose order parameters are not derived: simulate its samples, or take "
            '`from_matrix` with `beyond="degrees"`'
        )
    if modes.rank == 0:
        return means
    if not all(modes.constant) or (is_concrete(modes.noise) and np.any(np.asarray(modes.noise))):
        raise ValueError(
            "`ensemble` must have no modes of finite rank but uniform ones, as overlaps with types are not derived: "
            "simulate its samples, or make the modes means of types"
        )
    # An ensemble of one type shows its means as modes.
    return jnp.sum(modes.overlaps) + (jnp.zeros_like(means) if num == 1 else means)


def of_types(name: str, value: Any, like: Float[Array, " K"]) -> Float[Array, " K"]:
    """A number, or one for each type, as (K,)."""
    array, (num,) = real_array(name, value), like.shape
    if array.shape not in ((), (num,)):
        raise ValueError(f"`{name}` must be a number or one for each of {num} types, got shape {array.shape}")
    return jnp.broadcast_to(array.astype(like.dtype), (num,))


def _transfers(transfer: Transfers, num: int) -> tuple[Transfer, ...]:
    transfers = (transfer,) if isinstance(transfer, Transfer) else tuple(transfer)
    for phi in transfers:
        require_instance("transfer", phi, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`, or one for each type")
    if len(transfers) not in (1, num):
        raise ValueError(f"`transfer` must be one, or one for each of {num} types, got {len(transfers)}")
    return transfers


def _breaks(transfer: Transfer, dtype: Any) -> Float[Array, " d"] | None:
    match transfer:
        case Linear():
            return None
        case PiecewiseLinear() | ReLU():
            return as_piecewise_linear(transfer).breaks.astype(dtype)
    return kinks_of(transfer, dtype)
