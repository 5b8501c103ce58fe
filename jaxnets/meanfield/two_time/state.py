"""What the mean field at two times gives: means, covariances and responses at all pairs of times."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ..._arguments import real_array, require
from ..._results import Result


class Transient(
    Result,
    axes={"T": "times", "S": "other_time", "K": "unit_class", "P": "pattern"},
    units={"times": "tau"},
):
    r"""The course of a network from its start on, made by `transient` and `transient_by_paths`.

    `times` are t_n, in units of tau. At these `mean` is the mean of x in each class of units, `c_x` the covariance of x
    around it, the same for all classes (with paths: the mean over units), and `c_phi` = <phi(t) phi(s)> over all units,
    means of phi included. `beta` is <phi'>. `c_x_replica` is the covariance of x(t) in one network with x(s) in its
    replica, which has the same J, input and noise, and another start; None if there is no replica. `weights` are the
    fractions of units in each class.

    With paths there are further `responses` S(t, s), the `kernel`, a matrix with (R phi)(t_n) = sum_m kernel_nm
    phi(t_m) that contains the weights of the step and the instantaneous part of R, and the `overlap` m = <xi phi> with
    each condensed pattern, if there are some. `c_x_error`, `c_phi_error`, `beta_error` and `overlap_error` are standard
    errors. All of these are None without paths.

    `residual` is the largest last change of the iteration for a time, over the variance; it and what Hermite
    coefficients leave of <phi^2> must be small for `converged`. The error of the step is not part of it. Courses
    that converged had the variance to 1 % at g = 2, 5 and 10.
    """

    times: Float[Array, " T"]
    mean: Float[Array, "K T"]
    c_x: Float[Array, "T S"]
    c_phi: Float[Array, "T S"]
    beta: Float[Array, " T"]
    c_x_replica: Float[Array, "T S"] | None
    weights: Float[Array, " K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]
    responses: Float[Array, "T S"] | None = None
    kernel: Float[Array, "T S"] | None = None
    overlap: Float[Array, "P T"] | None = None
    c_x_error: Float[Array, "T S"] | None = None
    c_phi_error: Float[Array, "T S"] | None = None
    beta_error: Float[Array, " T"] | None = None
    overlap_error: Float[Array, "P T"] | None = None

    @property
    def variance(self) -> Float[Array, " T"]:
        """The variance of x around the mean of its class, C(t, t)."""
        return jnp.diagonal(self.c_x, axis1=-2, axis2=-1)

    @property
    def second_moment(self) -> Float[Array, " T"]:
        """<x^2> over all units: the variance, and the squares of the means."""
        return self.variance + jnp.sum(self.weights[..., None] * self.mean**2, -2)

    def squared_distance(self) -> Float[Array, " T"]:
        r"""The squared distance between a network and its replica, for each unit.

        $$ \frac1N \sum_i (x_i - x_i')^2 = 2\, [C(t, t) - C_{12}(t, t)] $$

        It grows where the network is chaotic, and falls where the input suppresses chaos. Raises `ValueError` for a
        transient without replica.
        """
        if self.c_x_replica is None:
            raise ValueError("`replica` must be given to `transient` for a distance, got None")
        return 2 * (self.variance - jnp.diagonal(self.c_x_replica, axis1=-2, axis2=-1))

    def response(self, t: Float[ArrayLike, "..."], s: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        r"""The response of the rate at time t to a field at time s.

        $$ S(t, s) = \langle \partial \phi(t) / \partial \eta(s) \rangle, \qquad t \ge s $$

        It is beta(t) e^{-(t - s)} without memory kernel, linear between the times with paths, and 0 before s.
        Raises `ValueError` for times that are not finite.
        """
        t, s = (real_array(name, value).astype(self.beta.dtype) for name, value in (("t", t), ("s", s)))
        for name, value in (("t", t), ("s", s)):
            require(name, value, np.isfinite, "finite")
        t, s = jnp.broadcast_arrays(t, s)
        if self.responses is None:
            return jnp.where(t >= s, jnp.interp(t, self.times, self.beta) * jnp.exp(-jnp.maximum(t - s, 0)), 0)
        return jnp.where(t >= s, _bilinear(self.responses, self.times, t, s), 0)


def _bilinear(table: Float[Array, "T T"], times: Float[Array, " T"], t: Array, s: Array) -> Float[Array, "..."]:
    """A lower triangle between its entries; linear in the cells that the diagonal halves."""
    diagonal, below = jnp.diagonal(table), jnp.diagonal(table, -1)
    above = jnp.arange(times.shape[0] - 1)
    table = table.at[above, above + 1].set(diagonal[:-1] + diagonal[1:] - below)
    (i, u), (j, v) = (_cell(times, x) for x in (t, s))
    return (1 - u) * ((1 - v) * table[i, j] + v * table[i, j + 1]) + u * (
        (1 - v) * table[i + 1, j] + v * table[i + 1, j + 1]
    )


def _cell(times: Float[Array, " T"], t: Float[Array, "..."]) -> tuple[Array, Array]:
    """The interval that holds t, and the part of it before t."""
    position = jnp.clip(jnp.interp(t, times, jnp.arange(times.shape[0], dtype=times.dtype)), 0, times.shape[0] - 1)
    index = jnp.minimum(position.astype(int), times.shape[0] - 2)
    return index, position - index.astype(position.dtype)
