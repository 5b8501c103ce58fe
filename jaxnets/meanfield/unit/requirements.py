"""The requirements of the theory of one unit: phi is odd, and the couplings give units no common mean."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..._arguments import require, require_instance
from ...couplings import Ensemble
from ...transfer import Transfer

# phi counts as odd if phi(x) + phi(-x) is below this at all points: some hundred roundings of float32.
_ODD, _ODD_POINTS = 1e-5, np.linspace(0, 4, 17)


def is_odd(transfer: Transfer, dtype: Any) -> Bool[Array, ""]:
    """Whether phi is odd. Raises `ValueError` if it is known not to be, and for a `transfer` of another type."""
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    x = jnp.asarray(_ODD_POINTS, dtype)
    even_part = jnp.max(jnp.abs(transfer(x) + transfer(-x)))
    require("transfer", even_part, lambda e: e <= _ODD, "odd, with phi(x) + phi(-x) = 0")
    return even_part <= _ODD


def require_no_mean(ensemble: Ensemble) -> None:
    """Raises `ValueError` for a finite-rank part, which gives units a common mean, and for other types."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    if ensemble.finite_rank().rank > 0:
        parts = [part.ensemble for part in ensemble.parts() if part.ensemble.finite_rank().rank > 0]
        raise ValueError(f"`ensemble` must have no finite-rank part, which gives units a common mean, got {parts[0]!r}")
