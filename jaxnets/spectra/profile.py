r"""The spectrum of networks each of whose weights has a law of its own, mean and variance: J = mu + W, N x N.

$$ \rho\big( V B(z) \big) \ge 1 \;\; \text{in the support}, \qquad B_{jk}(z) = \big| [(z - \mu)^{-1}]_{jk} \big|^2 $$

with V the variances of single weights and rho the spectral radius (the `stability` of z). Inside, the Hermitised
equations for the vectors g1, g2 > 0 hold, with a = V g2, b = V^T g1 as diagonal matrices and M = z - mu,

$$ g_1 = \mathrm{diag}\, Y, \quad g_2 = \mathrm{diag} (b + M^\dagger a^{-1} M)^{-1}, \quad
   Y = (a + M b^{-1} M^\dagger)^{-1}, \qquad
   g(z) = \frac1N \mathrm{tr}\, b^{-1} M^\dagger Y, \quad \rho(z) = \frac1\pi \frac{\partial g}{\partial \bar z} $$

The means may have any number of modes, and shape the support as they are. For means of few modes beside a bulk, and
for units of few types, the laws of these are the same and faster. Source: Alt, Erdos & Kruger 2018 (variance
profiles); Zou, Li & Huang 2021 for trained networks.
"""

import warnings

import contourpy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arguments import plane_points
from .._numerics import as_complex, in_batches, is_concrete
from .._numerics.host import from_host
from .._results import one_line
from . import tolerances


class ProfileLaw(eqx.Module):
    """The limiting spectrum of J = mu + W for the `mean` and the `variances` of single weights; made by `law`.

    Methods return NaN where a solver failed. A network of N units deviates from the law as N weights for each unit
    average to their variances: of trained networks of 50 units some 5 % of the eigenvalues lie outside.
    """

    __repr__ = one_line

    mean: Float[Array, "N N"]
    variances: Float[Array, "N N"]

    def stability(self, z: Complex[ArrayLike, "..."]) -> Float[Array, "..."]:
        """rho(V B(z)) at any points, at least 1 in the support and below 1 outside; differentiable, vmappable.

        Raises `ValueError` for points that are not finite.
        """
        points = plane_points("z", z, self.variances.dtype)
        if is_concrete(self, points):
            flat = np.asarray(points).ravel()
            return from_host(np.exp(_levels(self, flat, tolerances.PROFILE_BATCH)[0]).reshape(points.shape))
        return jnp.exp(jnp.vectorize(lambda z: _level(self, z))(points))

    def boundary(self, num_points: int = 512) -> list[Complex[np.ndarray, " num_points"]]:
        """Every closed curve that bounds the support, as complex arrays of `num_points`, the first repeated last.

        Edges come first, by falling size, then the voids. Works on concrete values only. Components and voids narrower
        than 1/60 of the support may be missed. Warns, with a point z, if a curve was not resolved.

        Raises `ValueError` if `num_points` < 8.
        """
        if num_points < 8:
            raise ValueError(f"`num_points` must be at least 8, got {num_points}")
        curves = [self._onto(_resampled(curve, num_points)) for curve in self._contours()]
        areas = [_area(curve) for curve in curves]
        order = sorted(range(len(curves)), key=lambda i: (areas[i] < 0, -abs(areas[i])))
        return [curves[i] for i in order]

    def right_edge(self) -> Float[np.ndarray, ""]:
        """The largest real part in the support, for concrete values."""
        return np.asarray(self._reach(1.0))

    def left_edge(self) -> Float[np.ndarray, ""]:
        """The smallest real part in the support, for concrete values."""
        return np.asarray(self._reach(-1.0))

    def density(self, z: Complex[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Density of eigenvalues per unit area at any concrete points z, 0 outside the support.

        Raises `ValueError` for points that are not finite.
        """
        points = np.asarray(plane_points("z", z, self.variances.dtype))
        flat = points.ravel()
        inside = np.flatnonzero(~(_levels(self, flat, tolerances.PROFILE_BATCH)[0] < 0))
        values = np.zeros(flat.size, self.variances.dtype)
        values[inside] = _densities(self, flat[inside], tolerances.PROFILE_FEW)
        return from_host(values.reshape(points.shape))

    def is_symmetric(self) -> bool:
        """False: single weights are independent."""
        return False

    def _contours(self) -> list[Complex[np.ndarray, " m"]]:
        """Curves of the support on a grid over the region that cannot be left: near the numerical range of mu."""
        mean, variances = np.asarray(self.mean, float), np.asarray(self.variances, float)
        # |V B|_inf <= |V|_inf / d^2 at the distance d from the numerical range of mu, and as much with V^T.
        widening = np.sqrt(min(variances.sum(0).max(), variances.sum(1).max()))
        along = np.linalg.eigvalsh((mean + mean.T) / 2)
        across = np.linalg.norm((mean - mean.T) / 2, 2)  # its eigenvalues are imaginary
        cells = tolerances.PROFILE_CELLS
        x = np.linspace(along[0] - 1.05 * widening, along[-1] + 1.05 * widening, cells)
        y = np.linspace(0, across + 1.05 * widening, cells // 2)
        upper = _levels(self, (x[None] + 1j * y[:, None]).ravel(), tolerances.PROFILE_BATCH)[0].reshape(len(y), -1)
        upper = np.minimum(upper, np.log(tolerances.PROFILE_LARGEST))
        if np.any(lost := np.isnan(upper)):
            warnings.warn(f"the stability of {lost.sum()} points was not found", RuntimeWarning, stacklevel=3)
        both = np.concatenate([upper[:0:-1], upper])
        found = contourpy.contour_generator(x, np.concatenate([-y[:0:-1], y]), both).lines(0.0)
        return [curve[:, 0] + 1j * curve[:, 1] for curve in map(np.asarray, found)]

    def _onto(self, z: Complex[np.ndarray, " m"]) -> Complex[np.ndarray, " m"]:
        """Newton's steps along the gradient of the level, from less than a cell away; warns if they do not end."""
        for _ in range(tolerances.PROFILE_STEPS):
            level, slope = _levels(self, z, tolerances.PROFILE_BATCH)
            step = level * slope / np.abs(slope) ** 2
            z = z - np.where(np.isfinite(step), step, 0)
        lost = ~(np.abs(step) < tolerances.PROFILE_RESIDUAL * np.max(np.abs(z)))
        if np.any(lost):
            warnings.warn(f"the boundary was not resolved near z = {z[lost][0]:.4g}", RuntimeWarning, stacklevel=3)
        return z

    def _reach(self, sign: float) -> float:
        """Re z where sign * Re z is largest in the support: by x(y) on finer and finer y near the extreme point."""
        curve = max(self.boundary(), key=lambda curve: np.max(sign * np.real(curve)))
        i = int(np.argmax(sign * np.real(curve[:-1])))
        before, at, after = (curve[j % (len(curve) - 1)] for j in (i - 1, i, i + 1))
        low, high = sorted((np.imag(before), np.imag(after)))
        for _ in range(tolerances.PROFILE_ZOOMS):
            y = np.linspace(low, high, tolerances.PROFILE_BATCH)
            z, step = np.real(at) + 1j * y, np.inf * y
            for _ in range(tolerances.PROFILE_STEPS):
                level, slope = _levels(self, z, tolerances.PROFILE_BATCH)
                step = level / np.real(slope)
                z = z - step
            met = np.abs(step) < tolerances.PROFILE_RESIDUAL * np.max(np.abs(curve))
            if not np.any(met):
                return float(np.nan)
            best = int(np.argmax(np.where(met, sign * np.real(z), -np.inf)))
            low, high = y[max(best - 1, 0)], y[min(best + 1, len(y) - 1)]
        return float(np.real(z[best]))


# --- outside, and the edge


def _level(law: ProfileLaw, z: Complex[Array, ""]) -> Float[Array, ""]:
    """ln rho(V B(z)), by power iteration from both sides: its slope needs the two vectors, and not their slopes.

    inf at an eigenvalue of mu, NaN where the iteration has not come to its end.
    """
    inverse = jnp.linalg.inv(z * jnp.eye(law.mean.shape[0], dtype=z.dtype) - as_complex(law.mean))
    product = law.variances @ (inverse.real**2 + inverse.imag**2)
    fixed = jax.lax.stop_gradient(product)

    def again(carry):
        left, right, value, _, num = carry
        after = fixed @ right
        new = left @ after / (left @ right)
        # With a part of the old vectors: units that only reach each other in turns would make the iteration circle.
        left, right = left @ fixed + new / 2 * left, after + new / 2 * right
        return left / jnp.max(left), right / jnp.max(right), new, jnp.abs(new / value - 1), num + 1

    accuracy = tolerances.PROFILE_ROUNDINGS * jnp.finfo(law.mean.dtype).eps
    unfinished = lambda carry: (carry[3] > accuracy) & (carry[4] < tolerances.PROFILE_ITERATIONS)
    one = jnp.ones(law.mean.shape[0], law.mean.dtype)
    start = one, one, jnp.max(fixed), jnp.ones((), one.dtype), jnp.zeros((), int)
    left, right, _, change, _ = jax.lax.while_loop(unfinished, again, start)
    level = jnp.log(left @ product @ right / (left @ right))
    level = jnp.where(change < tolerances.PROFILE_RESIDUAL, level, jnp.nan)
    return jnp.where(jnp.all(jnp.isfinite(fixed)), level, jnp.inf)


@in_batches
def _levels(law: ProfileLaw, z):
    """The level at each z, and its gradient dx + i dy."""

    def one(z):
        at = lambda x: _level(law, jax.lax.complex(x[0], x[1]))
        value, slope = jax.value_and_grad(at)(jnp.stack([z.real, z.imag]))
        return value, jax.lax.complex(slope[0], slope[1])

    return jax.lax.map(one, z)


def _resampled(curve: Complex[np.ndarray, " m"], num: int) -> Complex[np.ndarray, " num"]:
    """Points of a closed curve at equal lengths of arc."""
    arc = np.concatenate([[0], np.cumsum(np.abs(np.diff(curve)))])
    at = np.linspace(0, arc[-1], num)
    return np.interp(at, arc, np.real(curve)) + 1j * np.interp(at, arc, np.imag(curve))


def _area(curve: Complex[np.ndarray, " m"]) -> float:
    """Enclosed area; contours have the support to their left, so that voids have a negative one."""
    return float(np.sum(np.conj(curve[:-1]) * curve[1:]).imag / 2)


# --- inside


def _hermitised(law: ProfileLaw, z, g, eta=0.0):
    """The right-hand sides of the equations for g = (g1, g2), g(z), and the three matrices of their slopes."""
    n = law.mean.shape[0]
    a, b = eta + law.variances @ g[n:], eta + law.variances.T @ g[:n]
    M = z * jnp.eye(n, dtype=z.dtype) - as_complex(law.mean)
    over = M / as_complex(b)[None]
    Y = jnp.linalg.inv(jnp.diag(as_complex(a)) + over @ M.conj().T)
    Z = Y @ over
    other = jnp.diag(as_complex(1 / b)) - over.conj().T @ Z  # (b + M^+ a^-1 M)^-1
    values = jnp.concatenate([jnp.diagonal(Y).real, jnp.diagonal(other).real])
    return values, jnp.conj(jnp.trace(Z)) / n, (Y, Z, other)


def _balance(g):
    """sum g1 - sum g2, kept at 0: g1 -> c g1, g2 -> g2 / c leaves the equations as they are."""
    n = g.shape[0] // 2
    return jnp.sum(g[:n]) - jnp.sum(g[n:])


def _linearised(law: ProfileLaw, g, matrices):
    """The matrix of the equations g - values(g) = 0, with the balance along the direction that leaves them alone."""
    n = law.mean.shape[0]
    Y, Z, other = (jnp.abs(matrix) ** 2 for matrix in matrices)
    slopes = jnp.block([[Z @ law.variances.T, -Y @ law.variances], [-other @ law.variances.T, Z.T @ law.variances]])
    free = g.at[n:].multiply(-1) / jnp.sum(g)
    return jnp.eye(2 * n, dtype=g.dtype) - slopes + free[:, None] * jax.grad(_balance)(g)[None], free


@in_batches
def _densities(law: ProfileLaw, z):
    return jax.lax.map(lambda z: _density(law, z), z)


def _density(law: ProfileLaw, z: Complex[Array, ""]) -> Float[Array, ""]:
    """rho(z), NaN where the equations were not solved."""
    n, dtype = law.mean.shape[0], law.mean.dtype
    size = jnp.sqrt(jnp.sum(law.variances) / n)
    steps = tolerances.PROFILE_DAMPED

    def damped(k, g):
        eta = size * jnp.asarray(tolerances.PROFILE_REGULARISER, dtype) ** (k / steps).astype(dtype)
        return (g + _hermitised(law, z, g, eta)[0]) / 2

    def newton(_, g):
        values, _, matrices = _hermitised(law, z, g)
        linear, free = _linearised(law, g, matrices)
        return jnp.maximum(g - jnp.linalg.solve(linear, g - values + free * _balance(g)), g / 10)

    g = jax.lax.fori_loop(0, steps, damped, jnp.full(2 * n, 1 / size))
    g = jax.lax.fori_loop(0, tolerances.PROFILE_NEWTON, newton, g)
    values, _, matrices = _hermitised(law, z, g)
    linear, _ = _linearised(law, g, matrices)

    def along(direction):
        by_z = jax.jvp(lambda z: _hermitised(law, z, g)[:2], (z,), (as_complex(direction),))[1]
        change = jnp.linalg.solve(linear, by_z[0])
        by_g = jax.jvp(lambda g: _hermitised(law, z, g)[1], (g,), (change,))[1]
        return by_z[1] + by_g

    dx, dy = (along(jnp.asarray(direction, z.dtype)) for direction in (1, 1j))
    solved = jnp.max(jnp.abs(values / g - 1)) < tolerances.PROFILE_RESIDUAL
    return jnp.where(solved, (dx.real - dy.imag) / (2 * jnp.pi), jnp.nan)
