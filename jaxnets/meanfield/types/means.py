r"""The means of types respond to themselves: the modes of means, whose growth ends a stationary state.

A perturbation e^{zt} of the mean input of type b changes its mean rate by beta_b / (1 + tau_b z), so that modes are at

$$ \det\!\Big(1 - M\, \mathrm{diag}\Big(\frac{f_b\, \beta_b}{1 + \tau_b z}\Big)\Big) = 0, $$

the eigenvalues of diag(1/tau) (-1 + diag(beta) M diag(f)). At a fixed point the variances of fields follow too, and the
same holds for (<phi>, <phi^2>) of all types.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from ..._numerics import as_complex, frozen
from ..._numerics.host import namespace, plane
from ...eigen import eigenvalues, host_eigenvalues
from .problem import Problem


def mean_modes(problem: Problem, beta: Float[Array, " K"]) -> Complex[Array, " K"]:
    """The growth rates of means at fixed variances, by falling real part; without derivatives."""
    return _rates(problem.tau, beta[:, None] * problem.means)


def static_modes(problem: Problem, slopes: Float[Array, "K 2 2"]) -> Complex[Array, " 2K"]:
    """The growth rates of means and variances at a fixed point, where `slopes` are those of (<phi>, <phi^2>).

    The second index of `slopes` is the average, the third the mean or the variance of the field.
    """
    xp, by_mean, by_variance = namespace(slopes), slopes[..., 0], slopes[..., 1]
    rows = [
        xp.concatenate([by_mean[:, k, None] * problem.means, by_variance[:, k, None] * problem.W], axis=1)
        for k in range(2)
    ]
    return _rates(xp.concatenate([problem.tau, problem.tau]), xp.concatenate(rows))


def _rates(tau: Float[Array, " m"], recurrent: Float[Array, "m m"]) -> Complex[Array, " m"]:
    tau, recurrent = frozen((tau, recurrent))
    xp = namespace(tau)
    matrix = (recurrent - xp.eye(tau.shape[0], dtype=tau.dtype)) / tau[:, None]
    known = xp.isfinite(matrix).all()
    of = host_eigenvalues if xp is np else eigenvalues
    z = of(xp.where(known, matrix, 0)) if tau.shape[0] > 1 else plane(matrix[0], 0 * matrix[0])
    z = xp.where(known, z, xp.nan)
    return z[xp.lexsort((-z.imag, -z.real))]


def num_growing(problem: Problem, response: Complex[Array, "K w"]) -> Int[Array, ""]:
    r"""How many modes of the means grow, where units have the `response` S_b(w) at frequencies from 0 on.

    $$ D(w) = \det(1 - M\, \mathrm{diag}(f_b\, S_b(w))) $$

    S is analytic where Re z > 0, and D tends to 1, so that the zeros there are counted by the turns of D around 0
    (Nyquist 1932).
    """
    means, response = frozen((problem.means, response))
    one = jnp.eye(means.shape[0], dtype=response.dtype)
    D = jnp.linalg.det(one[None] - as_complex(means)[None] * response.T[:, None, :])
    D = jnp.append(D, jnp.ones((), D.dtype))
    # D(-w) is the conjugate of D(w): both halves turn by the same angle, and clockwise around a zero.
    turned = jnp.sum(jnp.angle(D[1:] * jnp.conj(D[:-1])))
    return jnp.round(-2 * turned / (2 * np.pi)).astype(int)


def is_unstable(z: Complex[Array, " m"], margin: float) -> Array:
    """Whether a mode grows, or nearly so in units of the fastest."""
    return (z.real >= -margin * abs(z).max()).any()


def rotates(z: Complex[Array, " m"]) -> Array:
    """Whether the leading mode is complex."""
    return abs(z[0].imag) > 0
