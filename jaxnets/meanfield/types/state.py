r"""Stationary states of networks with types: silent, fixed, or fluctuating, and which of these a network is in.

$$ \mu_a = I_a + \sum_b M_{ab} f_b \langle\phi_b\rangle, \qquad
   C_a - \tau_a^2 C_a'' = \sum_b f_b g_{ab}^2\, C^\phi_b(C_b), \qquad C_a'(0^+) = -\sigma_a^2 / \tau_a^2 $$

with C_a the covariance of x around its mean, and C^phi_b = <phi phi> there. The K equations conserve no energy, unlike
those of one type.
"""

import enum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from ..._arguments import positive, real_array, require, require_whole, scalar
from ..._numerics import as_complex, as_program, frozen, in_parts, is_concrete, solve_few
from ..._numerics.filon import one_sided, spectrum
from ..._numerics.host import from_host, loop, namespace, on_host
from ..._results import Result
from ...couplings import Ensemble
from . import window
from .averages import Rates, power_error, product, rates, series_tail
from .equations import Solution, decay_rate, decay_rate_alone, solve
from .iteration import UNBOUNDED, Guess, search
from .means import is_unstable, mean_modes, rotates
from .problem import Functions, Problem, Transfers, problem_of
from .static import TypedStaticState, fixed_point, scale_of_all

# Largest residual of a converged state, and the same in roundings.
_TOLERANCE, _ROUNDINGS = 1e-6, 3e4
# The first window of the search, in the longest tau, and the window of the state, in decay times; its largest length.
_SEARCHED, _DECAY_TIMES, _LONGEST = 100.0, 16.0, 1e4
# ln of the first amplitude, over the square of the scale.
_FIRST = -7.0
# Quadrature points of fixed points, on either side of 0.
_STATIC_NODES = 100
_MARGIN = 1e-9


class Phase(enum.IntEnum):
    """What a network with types does, in `TypedStationary.phase`.

    SILENT: no rate differs from 0. FIXED: all units are constant. CHAOTIC: units fluctuate without noise. DRIVEN: they
    fluctuate with noise. In the others no state is stationary. OSCILLATING: means leave it in circles. DRIFTING: they
    leave it for another state. UNBOUNDED: activity grows without bound. NOT_FOUND: the solver failed.
    Source: as `stationary`.
    """

    SILENT = 0
    FIXED = 1
    CHAOTIC = 2
    DRIVEN = 3
    OSCILLATING = 4
    DRIFTING = 5
    UNBOUNDED = 6
    NOT_FOUND = 7


class TypedStationary(
    Result, axes={"T": "lags", "K": "type", "M": "impulse_lag"}, units={"lags": "tau", "decay_rate": "1 / tau"}
):
    """The stationary state of a network whose units have types, made by `stationary`; arrays have an axis of types.

    x of type a has the `mean` mu_a, and around it the covariance `c_x` at `lags`, static disorder included: it tends to
    `static_x`. `rate` is <phi>; `c_phi` = <phi phi>, not centred, tends to `static_phi`. `c_slope` is <phi' phi'> and
    `beta` = <phi'>. `decay_rate` is the rate at which c_x approaches `static_x`. `mean_modes` are growth rates of the
    means at fixed variances, by falling real part. `phase` is one of `Phase`. `W` is f_b g_ab^2, with
    f the `fractions`. `functions` are the transfer functions.

    `impulse` is S_a(tau), the response of the rate, on the first lags, or None where it is beta e^{-t / tau} / tau. In
    a state from sampled paths, with a memory kernel, `mean_modes` are NaN, and `c_x_error`, `c_phi_error` and
    `response_error` are standard errors, the last one of S at frequency 0; they are 0 elsewhere.

    Where there is no stationary state, as `phase` says, `converged` is False. At a fixed point all lags are alike.
    """

    lags: Float[Array, " T"]
    mean: Float[Array, " K"]
    rate: Float[Array, " K"]
    c_x: Float[Array, "K T"]
    c_phi: Float[Array, "K T"]
    c_slope: Float[Array, "K T"]
    beta: Float[Array, " K"]
    static_x: Float[Array, " K"]
    static_phi: Float[Array, " K"]
    decay_rate: Float[Array, ""]
    mean_modes: Complex[Array, " K"]
    phase: Int[Array, ""]
    fractions: Float[Array, " K"]
    W: Float[Array, "K K"]
    tau: Float[Array, " K"]
    noise: Float[Array, " K"]
    functions: Functions
    ensemble: Ensemble
    impulse: Float[Array, "K M"] | None
    c_x_error: Float[Array, "K T"]
    c_phi_error: Float[Array, "K T"]
    response_error: Float[Array, " K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]

    @property
    def variance(self) -> Float[Array, " K"]:
        """C(0) of x, static disorder included."""
        return self.c_x[..., 0]

    def response(self, frequency: Float[ArrayLike, "..."]) -> Complex[Array, "K ..."]:
        """S(w) of each type at each angular `frequency` w: beta / (1 + i w tau) without memory kernel.

        Raises `ValueError` for frequencies that are not finite real numbers, as all methods of a frequency.
        """
        w = self._frequency(frequency)
        of = lambda beta, tau: as_complex(beta) / jax.lax.complex(jnp.ones_like(w), tau * w)
        if self.impulse is None:
            return jax.vmap(of)(self.beta, self.tau)
        # The jump at 0 is transformed apart, as in `Stationary.response`.
        spacing, first = self.lags[1] - self.lags[0], self.impulse[:, 0] * self.tau
        lags = self.lags[None, : self.impulse.shape[1]] / self.tau[:, None]
        rest = self.impulse - self.impulse[:, :1] * jnp.exp(-lags)
        return jax.vmap(of)(first, self.tau) + jax.vmap(lambda s: one_sided(s, spacing, w))(rest)

    def spectrum_x(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "K ..."]:
        """The transform of c_x - static_x at each angular `frequency`, as `Stationary.spectrum_x`."""
        return self._spectrum(self.c_x - self.static_x[:, None], frequency)

    def spectrum_phi(self, frequency: Float[ArrayLike, "..."]) -> Float[Array, "K ..."]:
        """The transform of c_phi - static_phi at each angular `frequency`."""
        return self._spectrum(self.c_phi - self.static_phi[:, None], frequency)

    def _spectrum(self, c, frequency):
        w, spacing = self._frequency(frequency), self.lags[1] - self.lags[0]
        return jax.vmap(lambda c: spectrum(c, spacing, self.decay_rate, w))(c)

    def _frequency(self, value: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        frequency = real_array("frequency", value)
        require("frequency", frequency, np.isfinite, "finite")
        return frequency.astype(self.beta.dtype)


def typed_stationary(
    ensemble: Ensemble,
    transfer: Transfers,
    noise: Float[ArrayLike, "*K"],
    tau: Float[ArrayLike, "*K"] | None,
    input: Float[ArrayLike, "*K"] | None,
    nodes: int,
    num_lags: int,
    max_lag: Float[ArrayLike, ""] | None,
) -> TypedStationary:
    """The state of a network with types; the arguments are those of `stationary`."""
    problem = problem_of(ensemble, transfer, noise, tau, input)
    require_whole("nodes", nodes, least=41)
    require_whole("num_lags", num_lags, least=17)
    if max_lag is not None:
        max_lag = scalar("max_lag", max_lag).astype(problem.tau.dtype)
        require("max_lag", max_lag, positive, "a finite number > 0")
    return _solved(ensemble, problem, scale_of_all(problem), max_lag, nodes, num_lags)


@in_parts
def _solved(ensemble, problem: Problem, scale, max_lag, nodes: int, num_lags: int) -> TypedStationary:
    static = fixed_point(problem, scale, problem.input, jnp.zeros_like(problem.tau), _STATIC_NODES)
    if is_concrete(problem, scale, max_lag):
        problem, scale, static, max_lag = on_host((problem, scale, static, max_lag))
        of = _fluctuating if _fluctuates(problem, static) else _resting
        return from_host(of(ensemble, problem, scale, static, max_lag, nodes, num_lags))
    moving = lambda: _fluctuating(ensemble, problem, scale, static, max_lag, nodes, num_lags)
    still = lambda: _resting(ensemble, problem, scale, static, max_lag, nodes, num_lags)
    return jax.lax.cond(_fluctuates(problem, static), moving, still)


def _fluctuates(problem: Problem, static: TypedStaticState) -> Bool[Array, ""]:
    return (problem.noise > 0).any() | ~(static.bulk < 1) | ~static.converged


def _resting(ensemble: Ensemble, problem: Problem, scale, static, max_lag, nodes: int, num_lags: int):
    """A state without fluctuations."""
    xp = namespace(problem.tau)
    flat = lambda of: xp.broadcast_to(of[:, None], (of.shape[0], num_lags))
    silent = (static.rate_power == 0).all()
    found = xp.where(silent, Phase.SILENT, Phase.FIXED)
    last = frozen(_SEARCHED * problem.tau.max())
    of_decay = decay_rate_alone if xp is np else decay_rate
    return TypedStationary(
        lags=last * xp.linspace(0, 1, num_lags, dtype=last.dtype),
        mean=static.mean,
        rate=static.rate,
        c_x=flat(static.variance),
        c_phi=flat(static.rate_power),
        c_slope=flat(static.square_response),
        beta=static.response,
        static_x=static.variance,
        static_phi=static.rate_power,
        decay_rate=of_decay(frozen(problem), frozen(static.square_response)),
        mean_modes=mean_modes(problem, static.response),
        phase=_phase(found, static.converged, static.modes, silent & False),
        fractions=problem.fractions,
        W=problem.W,
        tau=problem.tau,
        noise=problem.noise,
        functions=problem.functions,
        ensemble=ensemble,
        impulse=None,
        **_exact(problem, num_lags),
        residual=static.residual,
        converged=static.converged & static.stable,
    )


def _exact(problem: Problem, num_lags: int) -> dict[str, Array]:
    """The errors where nothing is sampled."""
    none = namespace(problem.tau).zeros((problem.tau.shape[0], num_lags), problem.tau.dtype)
    return {"c_x_error": none, "c_phi_error": none, "response_error": none[:, 0]}


def _phase(found, solved, modes, unbounded) -> Int[Array, ""]:
    xp = namespace(modes)
    leaves = xp.where(rotates(modes), Phase.OSCILLATING, Phase.DRIFTING)
    phase = xp.where(is_unstable(modes, _MARGIN), leaves, found)
    return xp.where(unbounded, Phase.UNBOUNDED, xp.where(solved, phase, Phase.NOT_FOUND)).astype(int)


def _fluctuating(ensemble, problem, scale, static, max_lag, nodes, num_lags) -> TypedStationary:
    guess, length = _searched(frozen(problem), frozen(scale), frozen(static), max_lag, nodes)
    return _finished(ensemble, problem, scale, guess, length, nodes, num_lags)


def _searched(problem: Problem, scale, static: TypedStaticState, max_lag, nodes: int):
    """A guess on the window of the state, and its length."""
    xp = namespace(problem.tau)
    longest = problem.tau.max()
    length = _SEARCHED * longest
    guess = on_host(_guess_alone(problem, scale, static)) if xp is np else _guess(problem, scale, static)
    of = rates(problem, guess.c[:, 0], guess.mean, nodes)
    last = guess.c[:, -1:]
    slopes = product(of, last, guess.c[:, 0]).by_lag[:, 0]
    rate = np.asarray(decay_rate_alone(problem, slopes)) if xp is np else decay_rate(problem, slopes)
    longer = xp.clip(_DECAY_TIMES / rate, 2 * longest, _LONGEST * longest) if max_lag is None else max_lag
    win = window.window()
    lags = longer * xp.asarray(win.lags, longest.dtype)
    inside = window.at_lags(win, guess.c, xp.minimum(lags / length, 1))
    beyond = xp.exp(-rate * xp.maximum(lags - length, 0))
    return Guess(last + (inside - last) * beyond[None], guess.mean, guess.log_q2, guess.log_amplitude), longer


def _guess(problem: Problem, scale, static: TypedStaticState) -> Guess:
    """A guess on the window of the search."""
    mean = jnp.where(static.converged, static.mean, problem.input)
    variance = jnp.where(static.converged, jnp.maximum(static.variance, 0), scale**2)
    length = _SEARCHED * jnp.max(problem.tau)
    return search(problem, mean, variance, 2 * jnp.log(scale) + _FIRST, scale, length)


_guess_alone = as_program(_guess)


def _finished(ensemble, problem: Problem, scale, guess: Guess, length, nodes: int, num_lags: int) -> TypedStationary:
    xp = namespace(problem.tau)
    solution = solve(problem, guess.c, guess.mean, length, nodes)
    of = rates(problem, solution.c[:, 0], solution.mean, nodes)
    variance = solution.c[:, 0]
    static_x = _limit(problem, of, variance, solution.c[:, -1])
    win = window.window()
    part = xp.asarray(np.linspace(0, 1, num_lags), variance.dtype)
    c_x = window.at_lags(win, solution.c, part)
    at_lags, at_end = product(of, c_x, variance), product(of, static_x[:, None], variance)
    modes = mean_modes(problem, of.beta)
    residual = _residual(problem, solution, of, static_x, nodes)
    accurate = residual <= max(_TOLERANCE, _ROUNDINGS * float(xp.finfo(variance.dtype).eps))
    falls = (xp.diff(solution.c, axis=1) <= _TOLERANCE * variance.max()).all()
    moves = (variance - static_x).max() > _TOLERANCE * variance.max()
    solved = accurate & falls & moves & problem.memoryless
    unbounded = ~solved & (guess.log_amplitude >= 2 * xp.log(scale) + UNBOUNDED) & (guess.log_q2 < 0)
    noisy = (problem.noise > 0).any()
    phase = _phase(xp.where(noisy, Phase.DRIVEN, Phase.CHAOTIC), solved, modes, unbounded)
    of_decay = decay_rate_alone if xp is np else decay_rate
    return TypedStationary(
        lags=length * part,
        mean=solution.mean,
        rate=of.rate,
        c_x=c_x,
        c_phi=at_lags.value,
        c_slope=at_lags.by_lag,
        beta=of.beta,
        static_x=static_x,
        static_phi=at_end.value[:, 0],
        decay_rate=of_decay(frozen(problem), frozen(at_end.by_lag[:, 0])),
        mean_modes=modes,
        phase=phase,
        fractions=problem.fractions,
        W=problem.W,
        tau=problem.tau,
        noise=problem.noise,
        functions=problem.functions,
        ensemble=ensemble,
        impulse=None,
        **_exact(problem, num_lags),
        residual=residual,
        converged=solved & ~is_unstable(modes, _MARGIN),
    )


def _limit(problem: Problem, of: Rates, variance, start):
    """The static part: the root of D = W C^phi(D) near the end of the window, by Newton steps."""
    one = np.eye(start.shape[0], dtype=start.dtype)

    def step(_, D):
        pair = product(of, D[:, None], variance)
        matrix = one - problem.W * pair.by_lag[:, 0][None]
        return D - solve_few(matrix, D - problem.W @ pair.value[:, 0]), 1

    if namespace(start) is np:
        return loop(step, start, 3, numpy=True)
    return jax.lax.scan(lambda D, _: (step(0, D)[0], None), start, length=3)[0]


def _residual(problem: Problem, solution: Solution, of: Rates, static_x, nodes: int) -> Float[Array, ""]:
    problem, solution, of, static_x = frozen((problem, solution, of, static_x))
    variance = solution.c[:, 0]
    errors = [
        solution.miss,
        power_error(problem, of, variance, solution.mean, nodes),
        abs(solution.c[:, -1] - static_x).max() / variance.max(),
        window.tail(window.window(), solution.c).max(),
        series_tail(of),
    ]
    return namespace(variance).stack(errors).max()
