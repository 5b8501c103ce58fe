"""Units that differ by a gain, a law of gains of rows J_ij -> gamma_i J_ij: what each gain sees in a state."""

import equinox as eqx
from jaxtyping import Array, Float

from .._laws import Discrete


class Units(eqx.Module):
    """What the units of each of the `gains` do: `c_x`, `c_phi` and `beta` = <phi'>; made by `stationary`."""

    gains: Discrete
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    beta: Float[Array, " K"]  # <phi'>
