r"""On-line learning of a soft committee whose weights are modes: closed equations for D -> infinity, and their witness.

$$ y(x) = \frac1m \sum_{i=1}^m \mathrm{erf}(z_i / \sqrt2), \qquad z = W x / \sqrt D, \quad
   W = \xi\, \mathrm{diag}(\Sigma)\, \hat\xi, \qquad x \sim N(0, 1)^D $$

A student learns a teacher y* from a stream of samples, each seen once, by gradient descent on (y - y*)^2 / 2. In the
limit of many inputs D the overlaps of its modes obey closed equations in the time t = samples / D. `online_theory`
solves these equations, `online_sgd` runs the descent itself. Both return an `OnlineRun`.

Source: Saad & Solla 1995 for committees of free weights; Li & Huang 2023 (arXiv 2208.09859) for modes of which only
the input side learns; derived here where the output side and the strengths of modes learn too.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from .._arguments import (
    nonnegative,
    positive,
    require,
    require_key,
    require_whole,
    scalar,
    vector,
)
from .._numerics import as_program
from .._results import Result, one_line
from .modes import factors, require_factors

_TOLERANCE = 1e-8  # of the order parameters, relative and absolute, in each step of the equations
_MOST_STEPS = 100_000  # of the equations: 10,000 lead to t = 3e4 with 8 + 8 units, where steps are about 3
_MOST_SAMPLES = 2**31  # of the descent, which counts them in 32 bits where JAX is not asked for 64


class Committee(eqx.Module):
    """A soft committee of m units with p modes of D inputs: `left` is xi, `amplitudes` Sigma, `right` xihat.

    The committee is a function of one input `x` (D,). Raises `ValueError` for entries that are not finite, and shapes
    other than (m, p), (p,) and (p, D).
    """

    __repr__ = one_line

    left: Float[Array, "m p"]
    amplitudes: Float[Array, " p"]
    right: Float[Array, "p D"]

    def __init__(
        self,
        left: Float[ArrayLike, "m p"],
        amplitudes: Float[ArrayLike, " p"],
        right: Float[ArrayLike, "p D"],
    ):
        self.left, self.amplitudes, self.right = factors(left, amplitudes, right)

    def __check_init__(self):
        require_factors(self.left, self.amplitudes, self.right, "(p, D)")

    @classmethod
    def gaussian(cls, units: int, modes: int, inputs: int, *, key: PRNGKeyArray, scale: float = 1.0) -> "Committee":
        """A committee whose entries, of all three factors, are Gaussian with the standard deviation `scale`.

        Raises `ValueError` for numbers below 1 and a scale that is negative or not finite.
        """
        for name, number in (("units", units), ("modes", modes), ("inputs", inputs)):
            require_whole(name, number)
        size = scalar("scale", scale)
        require("scale", size, nonnegative, "a finite number >= 0")
        require_key("key", key)
        shapes = (units, modes), (modes,), (modes, inputs)
        return cls(*(size * jax.random.normal(k, s) for k, s in zip(jax.random.split(key, 3), shapes, strict=True)))

    def weights(self) -> Float[Array, "m D"]:
        """W = xi diag(Sigma) xihat."""
        return self.left * self.amplitudes[None] @ self.right

    def __call__(self, x: Float[Array, " D"]) -> Float[Array, ""]:
        """y at one input `x`."""
        return jnp.mean(_rate(self.left * self.amplitudes[None] @ (self.right @ x) / x.shape[0] ** 0.5))


class LearningRates(NamedTuple):
    """Rates eta of the three factors, as they multiply the gradient in `online_sgd`; 0 is for a factor that stays.

    `right` is the rate of xihat, which has D columns and moves by eta / sqrt(D) for one sample. `left` and `amplitudes`
    are the rates of xi and Sigma, which move by eta / D. All three then change by amounts of order one in a time of
    order one.
    """

    right: Float[ArrayLike, ""]
    left: Float[ArrayLike, ""] = 0.0
    amplitudes: Float[ArrayLike, ""] = 0.0


class Overlaps(Result):
    """The order parameters: overlaps of the student's modes with each other and with the teacher's units, xi and Sigma.

    `right` = xihat xihat^T / D, `teacher` = xihat W*^T / D, and `target` = W* W*^T / D, which stays; `left` and
    `amplitudes` are the student's own.
    """

    right: Float[Array, "p p"]
    teacher: Float[Array, "p k"]
    left: Float[Array, "m p"]
    amplitudes: Float[Array, " p"]
    target: Float[Array, "k k"]

    def covariance(self) -> Float[Array, "n n"]:
        """Covariance of the fields (xihat x, W x, W* x) / sqrt(D): of p modes, m units and k units of the teacher."""
        A = self.left * self.amplitudes[None]
        units, seen = A @ self.right, A @ self.teacher
        return jnp.block(
            [
                [self.right, units.T, self.teacher],
                [units, units @ A.T, seen],
                [self.teacher.T, seen.T, self.target],
            ]
        )


class OnlineRun(Result, axes={"T": "times"}, units={"times": "D samples"}, batch={"overlaps": "T"}):
    """Generalisation errors <(y - y*)^2> / 2, as `losses`, and `overlaps` at `times`, in units of D samples.

    `converged` says that all times were reached with finite numbers. At times that were not reached all values are NaN.
    """

    times: Float[Array, " T"]
    losses: Float[Array, " T"]
    overlaps: Overlaps
    converged: Bool[Array, ""]


class Plateaus(Result, axes={"k": "plateau"}, units={"starts": "D samples", "escapes": "D samples"}):
    """Plateaus of a run: when each `starts`, when the student `escapes` (infinite if it does not), and its `losses`."""

    starts: Float[np.ndarray, " k"]
    escapes: Float[np.ndarray, " k"]
    losses: Float[np.ndarray, " k"]


def order_parameters(student: Committee, teacher: Committee) -> Overlaps:
    """The order parameters of a student beside a teacher of as many inputs.

    Raises `ValueError` for another number of inputs.
    """
    _require_inputs(student, teacher)
    target, size = teacher.weights(), student.right.shape[1]
    return Overlaps(
        student.right @ student.right.T / size,
        student.right @ target.T / size,
        student.left,
        student.amplitudes,
        target @ target.T / size,
    )


def generalisation_error(overlaps: Overlaps) -> Float[Array, ""]:
    r"""<(y - y*)^2> / 2 over all inputs, from the `overlaps`.

    $$ \epsilon_g = \frac1\pi \sum_{uv} c_u c_v \arcsin \frac{C_{uv}}{\sqrt{(1 + C_{uu})(1 + C_{vv})}} $$

    over the units of student (c = 1/m) and teacher (c = -1/k), C their covariance. Source: Saad & Solla 1995, eq. 3.
    """
    m, k, C = _units(overlaps)
    c = _signs(m, k, C.dtype)
    size = jnp.sqrt(1 + jnp.diagonal(C))
    return c @ jnp.arcsin(C / size[:, None] / size[None]) @ c / jnp.pi


def online_theory(
    student: Committee, teacher: Committee, rates: LearningRates, times: Float[ArrayLike, " T"]
) -> OnlineRun:
    r"""The course of a `student` of a `teacher` for many inputs, D -> infinity at fixed overlaps.

    $$ \dot{\hat Q} = -\eta (A^T X_h + X_h^T A) + \eta^2 A^T Y A, \quad \dot{\hat M} = -\eta A^T X_*, \quad
       \dot\xi = -\eta_\xi X_h\, \mathrm{diag}(\Sigma), \quad \dot\Sigma = -\eta_\Sigma\, \mathrm{diag}(\xi^T X_h) $$

    with A = xi diag(Sigma), X_iv = <delta_i h_v> and Y_ij = <delta_i delta_j> over the Gaussian fields h, where delta_i
    is the derivative of the loss by z_i. `times` increase from 0 or later, in units of D samples. Differentiable by
    both committees and the rates, vmappable. Valid for D -> infinity; at finite D a run of samples lies O(D^-1/2) off,
    the mean over runs O(1/D), both more at the escape from a plateau.

    Raises `ValueError` for committees of different inputs, rates that are negative or not finite, and times that do not
    increase. Source: module.
    """
    return _solved(student, teacher, *_checked(student, teacher, rates, times))


def online_sgd(
    student: Committee,
    teacher: Committee,
    rates: LearningRates,
    times: Float[ArrayLike, " T"],
    *,
    key: PRNGKeyArray,
) -> OnlineRun:
    r"""Gradient descent of a `student` on samples of a `teacher`, each seen once; `online_theory` is its limit.

    $$ \hat\xi \leftarrow \hat\xi - \frac{\eta}{\sqrt D}\, \mathrm{diag}(\Sigma)\, \xi^T \delta x^T, \quad
       \xi \leftarrow \xi - \frac{\eta_\xi}{D}\, \delta \hat z^T \mathrm{diag}(\Sigma), \quad
       \Sigma \leftarrow \Sigma - \frac{\eta_\Sigma}{D}\, \mathrm{diag}(\xi^T \delta \hat z^T) $$

    with zhat = xihat x / sqrt(D). Errors are exact ones of the weights, not of a test set. `times` are rounded to whole
    samples. `vmap` over keys gives many streams. Valid at any D; not for reverse-mode differentiation. Raises
    `ValueError` as `online_theory`, without a key, and for 2^31 samples or more.
    """
    require_key("key", key)
    eta, at = _checked(student, teacher, rates, times)
    most = _MOST_SAMPLES / student.right.shape[1]
    require("times", at, lambda at: at[-1] < most, f"below {most:.3g}, for fewer than {_MOST_SAMPLES:.3g} samples")
    return _descended(student, teacher, eta, at, key)


def plateaus(run: OnlineRun, *, slope: float = 0.1, length: float = 2.0) -> Plateaus:
    r"""Where learning stands still: times from t to at least `length` t over which |d ln loss / d ln t| < `slope`.

    The times of the run should be dense on a logarithmic scale, ten or more for a factor `length`. For one concrete
    run. Raises `ValueError` for a batch of runs, `slope` <= 0, `length` <= 1, and a run with fewer than two positive
    times.
    """
    times, losses = np.asarray(run.times), np.asarray(run.losses)
    if times.ndim != 1:
        raise ValueError(f"`run` must be one run, got a batch of times of shape {times.shape}")
    require("slope", np.asarray(slope), positive, "a finite number > 0")
    require("length", np.asarray(length), lambda x: np.isfinite(x) & (x > 1), "a finite number > 1")
    known = (times > 0) & (losses > 0)
    times, losses = times[known], losses[known]
    if times.size < 2:
        raise ValueError(f"`run` must have at least two times > 0 with a loss > 0, got {times.size}")
    flat = np.abs(np.diff(np.log(losses)) / np.diff(np.log(times))) < slope
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    long = times[ends] >= length * times[starts]
    starts, ends = starts[long], ends[long]
    middle = (starts + ends) // 2
    return Plateaus(times[starts], np.where(ends == times.size - 1, np.inf, times[ends]), losses[middle])


# --- the equations --------------------------------------------------------------------------------------------


@as_program  # or each call would compile the solver anew
def _solved(student: Committee, teacher: Committee, eta: LearningRates, times) -> OnlineRun:
    """The order parameters are one vector for the solver, which compiles a third faster for it."""
    import diffrax

    start = order_parameters(student, teacher)
    vector, parts = ravel_pytree((start.right, start.teacher, start.left, start.amplitudes))

    def overlaps(vector):
        return Overlaps(*parts(vector), target=start.target)

    def velocity(t, vector, eta):
        change = _velocity(overlaps(vector), eta)
        return ravel_pytree((change.right, change.teacher, change.left, change.amplitudes))[0]

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        jnp.zeros((), times.dtype),
        times[-1],
        None,
        vector,
        eta,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=_TOLERANCE, atol=_TOLERANCE),
        max_steps=_MOST_STEPS,
        throw=False,
    )
    found = jnp.asarray(solution.ys)
    return _run(times, jax.vmap(overlaps)(jnp.where(jnp.isfinite(found), found, jnp.nan)))  # infinite if not reached


@as_program
def _descended(student: Committee, teacher: Committee, eta: LearningRates, times, key) -> OnlineRun:
    target, size = teacher.weights(), student.right.shape[1]

    def sample(number, student):
        x = jax.random.normal(jax.random.fold_in(key, number), (size,), target.dtype)
        return _descent(student, target, eta, x)

    def until(carry, stop):
        start, student = carry
        student = jax.lax.fori_loop(start, stop, sample, student)
        return (stop, student), order_parameters(student, teacher)

    stops = jnp.round(times * size).astype(int)
    _, found = jax.lax.scan(until, (jnp.zeros((), stops.dtype), student), stops)
    return _run((stops / size).astype(times.dtype), found)


def _rate(z):
    return jax.scipy.special.erf(z / 2**0.5)


def _descent(student: Committee, target, eta: LearningRates, x) -> Committee:
    """The student after one sample."""
    size = x.shape[0]
    hidden = student.right @ x / size**0.5
    z = student.left * student.amplitudes[None] @ hidden
    m = z.shape[0]
    miss = jnp.mean(_rate(z)) - jnp.mean(_rate(target @ x / size**0.5))
    delta = (2 / jnp.pi) ** 0.5 * jnp.exp(-(z**2) / 2) * miss / m
    back = student.left.T @ delta
    return Committee(
        student.left - eta.left / size * delta[:, None] * (student.amplitudes * hidden)[None],
        student.amplitudes - eta.amplitudes / size * back * hidden,
        student.right - eta.right / size**0.5 * (student.amplitudes * back)[:, None] * x[None],
    )


def _velocity(overlaps: Overlaps, eta: LearningRates) -> Overlaps:
    """d/dt of the order parameters."""
    p = overlaps.amplitudes.shape[0]
    A = overlaps.left * overlaps.amplitudes[None]
    X, Y = _averages(overlaps)
    of_modes, of_teacher = X[:, :p], X[:, p + A.shape[0] :]
    pull = A.T @ of_modes
    right, left, amplitudes = (jnp.asarray(rate) for rate in eta)
    return Overlaps(
        -right * (pull + pull.T) + right**2 * A.T @ Y @ A,
        -right * A.T @ of_teacher,
        -left * of_modes * overlaps.amplitudes[None],
        -amplitudes * jnp.sum(overlaps.left * of_modes, 0),
        jnp.zeros_like(overlaps.target),
    )


def _averages(overlaps: Overlaps) -> tuple[Float[Array, "m n"], Float[Array, "m m"]]:
    r"""X_iv = <delta_i h_v> over all n fields, and Y_ij = <delta_i delta_j> over the units of the student.

    $$ X_{iv} = \frac1m \sum_u c_u I_3(i, v, u), \qquad Y_{ij} = \frac1{m^2} \sum_{uv} c_u c_v I_4(i, j, u, v) $$

    with I_3(1, 2, 3) = <g'(1) h_2 g(3)> and I_4(1, 2, 3, 4) = <g'(1) g'(2) g(3) g(4)>. Source: Saad & Solla 1995,
    appendix.
    """
    p, whole = overlaps.amplitudes.shape[0], overlaps.covariance()
    m, k, C = _units(overlaps)
    c = _signs(m, k, whole.dtype)
    own, pair = C[:m, :m], C[:m]  # of the student's units with each other, and with all units
    one = 1 + jnp.diagonal(own)
    # I_3 = 2/pi [C_23 (1 + C_11) - C_12 C_13] / ((1 + C_11) sqrt(L3)), L3 = (1 + C_11)(1 + C_33) - C_13^2
    weight = c[None] / jnp.sqrt(one[:, None] * (1 + jnp.diagonal(C))[None] - pair**2)
    across = weight @ whole[p:]
    along = jnp.sum(weight * pair, 1) / one
    X = 2 / (jnp.pi * m) * (across - whole[p : p + m] * along[:, None])

    # Axes i, j of the student's units, u, v of all units.
    i, j, both = one[:, None, None, None], one[None, :, None, None], own[:, :, None, None]
    iu, iv, ju, jv = pair[:, None, :, None], pair[:, None, None, :], pair[None, :, :, None], pair[None, :, None, :]
    L4 = i * j - both**2
    L0 = L4 * C[None, None] - ju * jv * i - iu * iv * j + both * (iu * jv + iv * ju)
    L1 = L4 * (1 + jnp.diagonal(C))[None, None, :, None] - ju**2 * i - iu**2 * j + 2 * both * iu * ju
    L2 = jnp.swapaxes(L1, 2, 3)
    I4 = 4 / jnp.pi**2 * jnp.arcsin(L0 / jnp.sqrt(L1 * L2)) / jnp.sqrt(L4)
    return X, jnp.einsum("ijuv,u,v->ij", I4, c, c) / m**2


def _units(overlaps: Overlaps) -> tuple[int, int, Float[Array, "m+k m+k"]]:
    """The numbers of units, and the covariance of their fields."""
    (m, p), k = overlaps.left.shape, overlaps.target.shape[0]
    return m, k, overlaps.covariance()[p:, p:]


def _signs(m: int, k: int, dtype) -> Float[Array, " m+k"]:
    """c_u, by which the units enter y - y*."""
    return jnp.concatenate([jnp.full(m, 1 / m, dtype), jnp.full(k, -1 / k, dtype)])


# --- arguments and results --------------------------------------------------------------------------------------


def _checked(student: Committee, teacher: Committee, rates: LearningRates, times):
    """The rates and the times, in the precision of the student."""
    _require_inputs(student, teacher)
    found = []
    for name, value in zip(LearningRates._fields, rates, strict=True):
        rate = scalar(f"rates.{name}", value)
        require(f"rates.{name}", rate, nonnegative, "a finite number >= 0")
        found.append(rate.astype(student.right.dtype))
    at = vector("times", times).astype(student.right.dtype)
    require("times", at, nonnegative, "finite numbers >= 0")
    require("times", at, lambda at: np.all(np.diff(at) > 0), "increasing")
    return LearningRates(*found), at


def _require_inputs(student: Committee, teacher: Committee) -> None:
    size, other = student.right.shape[1], teacher.right.shape[1]
    if size != other:
        raise ValueError(f"`teacher` must have the {size} inputs of `student`, got {other}")


def _run(times, found: Overlaps) -> OnlineRun:
    losses = jax.vmap(generalisation_error)(found)
    return OnlineRun(times, losses, found, jnp.all(jnp.isfinite(losses)))
