r"""Two-time mean field on sampled units, which hear their own past: one causal pass, row by row, no outer iteration.

$$ \dot x = -x + \sum_\mu \xi^\mu \sum_\nu K_{\mu\nu} m_\nu + \eta + R\, \phi(x), \qquad R = r(S), \qquad
   C^\eta = \kappa(S; C^\phi), \qquad S(t, s) = \langle \partial \phi(t) / \partial \eta(s) \rangle $$

In time steps with an exact leak and a field that is linear between them (`gaussian`), units are a network in discrete
time. Its mean field is exact with S_nm = <phi'_n dx_n / d eta_m>, where weights of the step are included and m = n
counts. R and C^eta are then functions of triangular matrices (`Feedback`): no rules for the ends of integrals enter.

Row n of each matrix follows from rows before it and a guess for x_n, which the row gives anew. In each row

- eta_n = L_n z with C^eta = L L^T and normal numbers z that are drawn once;
- the response of each path obeys the equation of x, linearised: d_nm = E d_(n-1)m + w_0 f_(n-1)m + w_1 f_nm with
  f_nm = 1_(n=m) + sum_l R_nl phi'_l d_lm. This sum over l is the work. It is done once for a row, and what a later R_n
  differs by is multiplied by the mean S.

The normal numbers of all times and of the start are made orthonormal over the paths: a linear network then has no
sampling error. Groups of paths have an S of their own, so that their scatter shows the errors, growth included.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray

from ..._numerics import as_program, checkpointed_scan
from ...couplings import Feedback, Stored
from ...transfer import Transfer
from .gaussian import filter_weights, safe_root

# Rows of which the reverse pass keeps one: times are whole blocks of so many.
BLOCK = 16
# Iterations for a row, after a first guess with an error of the square of the step.
_ITERATIONS = 3
# Rows that are added at once.
_TOGETHER = 8
# Least part of the variance of eta_n that earlier eta do not determine, in double and in single precision. Processes
# are smooth: rounding errors would be divided by less, and make the next rows blow up within ten steps.
_FLOOR, _FLOOR_SINGLE = 1e-6, 1e-4


class PathProblem(eqx.Module):
    """Checked arguments, in one precision, at times that fill blocks."""

    feedback: Feedback
    transfer: Transfer
    step: Float[Array, ""]
    variance: Float[Array, ""]  # of x at the start
    noise: Float[Array, ""] | None
    start: Float[Array, " K"]
    pushes: Float[Array, "K n"]  # of the inputs, in each step
    weights: Float[Array, " K"]
    given: Float[Array, "T T"] | None  # covariance of inputs across units
    stored: Stored | None  # condensed patterns
    cue: Float[Array, " P"]
    paths: int = eqx.field(static=True)
    window: int = eqx.field(static=True)  # rows of which the response of a path is kept


class Drawn(NamedTuple):
    """The units of one group: their random numbers, their classes and their share of all averages."""

    z: Float[Array, "T M"]
    start: Float[Array, " M"]
    noise: Float[Array, "T M"] | None
    patterns: Float[Array, "P M"]
    unit_class: Int[Array, " M"]
    share: Float[Array, " M"]


class Past(NamedTuple):
    """All that rows need of rows before. Columns of the window are times modulo its length W = C B, in C blocks."""

    x: Float[Array, " M"]
    field: Float[Array, " M"]
    change: Float[Array, "C M B"]  # d x_n / d eta_m
    pull: Float[Array, "C M B"]  # d (field_n) / d eta_m
    answers: Float[Array, "W C M B"]  # phi'_l d x_l / d eta_m
    rates: Float[Array, "T M"]
    c_phi: Float[Array, "T T"]
    response: Float[Array, "T T"]
    root: Float[Array, "T T"]  # of C^eta
    dressing: Inexact[Array, "k T T"]  # sigma_k


class Now(NamedTuple):
    """Row n, as far as a guess for x_n gives it."""

    x: Float[Array, " M"]
    field: Float[Array, " M"]
    rate: Float[Array, " M"]
    slope: Float[Array, " M"]
    own: Float[Array, ""]  # what of the field is of the own rate at this time
    late: Float[Array, " W"]  # what `summed` lacks
    c_phi: Float[Array, " T"]
    response: Float[Array, " T"]
    kernel: Float[Array, " T"]
    root: Float[Array, " T"]
    dressing: Inexact[Array, "k T"]


class Paths(NamedTuple):
    """What one group of paths gives."""

    mean: Float[Array, "K T"]
    c_x: Float[Array, "T T"]
    c_phi: Float[Array, "T T"]
    beta: Float[Array, " T"]
    response: Float[Array, "T T"]
    kernel: Float[Array, "T T"]
    overlap: Float[Array, "P T"]
    change: Float[Array, " T"]


@as_program
def solve_paths(problem: PathProblem, keys: PRNGKeyArray) -> Paths:
    """One course for each key, whose groups of paths have nothing in common."""
    with jax.default_matmul_precision("highest"):
        return jax.vmap(lambda key: _course(problem, _drawn(problem, key)))(keys)


def _drawn(problem: PathProblem, key: PRNGKeyArray) -> Drawn:
    """Random numbers of a group, each with a key of its own: numbers that are used twice give plausible wrong courses.

    Those of the start and of times near each other are orthonormal over paths, and have mean 0 in each class.
    """
    M, K, P, T = problem.paths, problem.weights.shape[0], problem.cue.shape[0], problem.pushes.shape[1] + 1
    dtype = problem.step.dtype
    own, pattern, noise = jax.random.split(key, 3)
    classes = np.arange(M) % K
    indicators = jnp.asarray(classes[:, None] == np.arange(K), dtype)
    binary = problem.stored is not None and problem.stored.binary
    signs = (jax.random.rademacher if binary else jax.random.normal)(pattern, (M, P), dtype)
    even = _evened(signs) if binary else jnp.ones(M, dtype)
    root = jnp.sqrt(even)[:, None]
    # As many times together as there is room for; times far from each other need not be.
    size = T + 1 if T + 1 < M - K - P else (M - K - P) // 2
    parts = -(-(T + 1) // size)

    def orthonormal(columns):
        q, r = jnp.linalg.qr(root * jnp.concatenate([indicators, signs, columns], 1))
        sign = jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(dtype)
        return (q / root * (math.sqrt(M) * sign)[None])[:, K:].T

    found = jax.vmap(orthonormal)(jax.random.normal(own, (parts, M, size), dtype))
    normal = found[:, P:].reshape(parts * size, M)
    counts = np.bincount(classes, minlength=K)
    return Drawn(
        z=normal[1 : T + 1],
        start=normal[0],
        noise=None if problem.noise is None else jax.random.normal(noise, (T, M), dtype),
        patterns=signs.T if binary else found[0, :P],
        unit_class=jnp.asarray(classes),
        share=even * (problem.weights / jnp.asarray(counts, dtype))[classes],
    )


def _evened(signs: Float[Array, "M P"]) -> Float[Array, " M"]:
    """Weights of units, of mean 1, with which signs have mean 0 and different patterns no overlap.

    Without them these are of order M^-1/2, and pull at each other. Many patterns of few units keep their overlaps.
    """
    M, P = signs.shape
    first, second = np.triu_indices(P, 1 if P * (P + 1) < M else P)
    features = jnp.concatenate([signs, signs[:, first] * signs[:, second]], 1)
    features = jnp.concatenate([jnp.ones_like(features[:, :1]), features], 1)
    target = jnp.zeros_like(features[0]).at[0].set(M)
    weights = features @ jnp.linalg.solve(features.T @ features, target)
    weights = jnp.maximum(weights, 0.05)  # all positive, at the price of small overlaps
    return weights / jnp.mean(weights)


def _course(problem: PathProblem, drawn: Drawn) -> Paths:
    T, M = drawn.z.shape
    W, K, dtype = problem.window, problem.weights.shape[0], drawn.z.dtype
    start = problem.start[drawn.unit_class] + jnp.sqrt(problem.variance) * drawn.start
    start = start + problem.cue @ drawn.patterns
    square = jnp.zeros((T, T), dtype)
    past = Past(
        x=start,
        field=jnp.zeros_like(start),
        change=jnp.zeros((W // BLOCK, M, BLOCK), dtype),
        pull=jnp.zeros((W // BLOCK, M, BLOCK), dtype),
        answers=jnp.zeros((W, W // BLOCK, M, BLOCK), dtype),
        rates=jnp.zeros((T, M), dtype),
        c_phi=square,
        response=square,
        root=jnp.eye(T, dtype=dtype),
        dressing=jnp.zeros((problem.feedback.poles.shape[0], T, T), problem.feedback.poles.dtype),
    )
    end, (x, kernel, change, beta) = checkpointed_scan(
        lambda past, n: _next_row(problem, drawn, past, n), past, jnp.arange(T), BLOCK
    )
    belongs = jnp.where(drawn.unit_class[None] == jnp.arange(K)[:, None], drawn.share[None], 0)
    some = jnp.where(problem.weights > 0, problem.weights, 1)
    mean = belongs @ x.T / some[:, None]
    apart = x - mean[drawn.unit_class].T
    return Paths(
        mean=mean,
        c_x=(apart * drawn.share[None]) @ apart.T,
        c_phi=end.c_phi,
        beta=beta,
        response=end.response,
        kernel=kernel,
        overlap=(drawn.patterns * drawn.share[None]) @ end.rates.T,
        change=change,
    )


def _next_row(problem: PathProblem, drawn: Drawn, past: Past, n: Int[Array, ""]):
    """Row n: a guess, the sum over the past that is the work, and iterations for what row n says of itself."""
    W, whole = problem.window, problem.window == drawn.z.shape[0]
    slot = n % W
    # The column of this time had one that leaves the window.
    clear = lambda a: a.at[..., slot // BLOCK, :, slot % BLOCK].set(0)
    past = past._replace(change=clear(past.change), pull=clear(past.pull))
    decay, w0, w1 = filter_weights(problem.step)
    w0, w1, keep = (jnp.where(n > 0, w, other) for w, other in ((w0, 0), (w1, 0), (decay, 1)))
    carried = keep * past.x + _push(problem, drawn, n) + w0 * past.field
    here, newest = (jax.nn.one_hot(m % W, W, dtype=past.x.dtype) for m in (n, n - 1))
    times, inside = _times_of_slots(n, W)

    def at(x, field, answer, own, late):
        """Row n that x_n gives, with the mean `answer` to fields of these slopes and shares."""
        rate, slope = problem.transfer(x), problem.transfer.slope(x)
        c_phi = past.rates.at[n].set(rate) @ (drawn.share * rate)
        by_slot = answer(drawn.share * slope / (1 - w1 * own * slope))
        response = jnp.zeros_like(c_phi).at[times].add(jnp.where(inside, by_slot, 0))
        dressing, kernel, c_eta = _feedback(problem.feedback, past, c_phi, response, n)
        if problem.given is not None:
            c_eta = c_eta + jnp.where(jnp.arange(c_eta.shape[0]) <= n, problem.given[n], 0)
        return Now(x, field, rate, slope, own, late, c_phi, response, kernel, _root_row(past.root, c_eta, n), dressing)

    def as_before(s):
        """The mean answer if the field answers as it did at the time before."""
        newer = here - jnp.where(n > 0, newest, 0)
        return keep * _mean(s, past.change) + (w0 + w1) * _mean(s, past.pull) + w1 * newer * jnp.sum(s)

    guess = at(carried + w1 * past.field, past.field, as_before, jnp.zeros_like(w1), jnp.zeros_like(here))
    reach = jnp.where(inside & (times < n), guess.kernel[times], 0)
    first = BLOCK * np.arange(W // BLOCK) if whole else np.zeros(W // BLOCK, int)
    summed = _weighted_sum(reach, past.answers, jnp.asarray(first), n if whole else jnp.asarray(W, n.dtype))
    summed = summed.at[slot // BLOCK, :, slot % BLOCK].set(1)
    base = keep * past.change + w0 * past.pull + w1 * summed

    def iteration(now, _):
        field = now.root @ drawn.z + now.kernel @ past.rates + now.kernel[n] * now.rate
        if problem.stored is not None:
            overlaps = drawn.patterns @ (drawn.share * now.rate)
            field = field + (problem.stored.core @ overlaps) @ drawn.patterns
        x = carried + w1 * field
        late = jnp.where(jnp.arange(now.kernel.shape[0]) < n, now.kernel - guess.kernel, 0) @ past.response
        late = jnp.where(inside, late[times], 0)
        answer = lambda s: _mean(s, base) + w1 * late * jnp.sum(s)
        return at(x, field, answer, now.kernel[n], late), drawn.share @ x**2

    now, sizes = jax.lax.scan(iteration, guess, length=_ITERATIONS)
    settled = jnp.abs(sizes[-1] - sizes[-2]) / jnp.where(sizes[-1] > 0, sizes[-1], 1)
    late, slope = now.late.reshape(-1, 1, BLOCK), now.slope[None, :, None]
    change = (base + w1 * late) / (1 - w1 * now.own * slope)
    # After the sum has read them, so that they change in place.
    answers = past.answers if whole else clear(past.answers)
    row = lambda a, value: a.at[n].set(value)
    past = Past(
        x=now.x,
        field=now.field,
        change=change,
        pull=summed + late + now.own * slope * change,
        answers=answers.at[slot].set(slope * change),
        rates=row(past.rates, now.rate),
        c_phi=row(past.c_phi, now.c_phi).at[:, n].set(now.c_phi),
        response=row(past.response, now.response),
        root=row(past.root, now.root),
        dressing=past.dressing.at[:, n].set(now.dressing),
    )
    return past, (now.x, now.kernel, settled, drawn.share @ now.slope)


def _push(problem: PathProblem, drawn: Drawn, n: Int[Array, ""]) -> Float[Array, " M"]:
    """What inputs and noise add to x in the step to time n."""
    push = problem.pushes[drawn.unit_class, n - 1]
    if drawn.noise is not None and problem.noise is not None:
        push = push + problem.noise * jnp.sqrt(-jnp.expm1(-2 * problem.step)) * drawn.noise[n]
    return jnp.where(n > 0, push, 0)


def _mean(shares: Float[Array, " M"], values: Float[Array, "C M B"]) -> Float[Array, " W"]:
    return jnp.einsum("m,cmb->cb", shares, values).ravel()


@jax.custom_jvp
def _weighted_sum(
    weights: Float[Array, " W"], rows: Float[Array, "W C M B"], first: Int[Array, " C"], end: Int[Array, ""]
) -> Float[Array, "C M B"]:
    """sum_l weights_l rows_l, over l from `first` of each block of columns to `end`: the others are 0.

    A block is summed over all l before the next one, so that its sum stays in the cache.
    """
    weights = jnp.pad(weights, (0, _TOGETHER))

    def block(c, total):
        def some(i, total):
            for k in range(_TOGETHER):
                at = first[c] + _TOGETHER * i + k
                total = total + weights[at] * rows[at, c]  # beyond the last row: times 0
            return total

        parts = (end - first[c] + _TOGETHER - 1) // _TOGETHER
        return total.at[c].set(jax.lax.fori_loop(0, parts, some, jnp.zeros_like(total[c])))

    return jax.lax.fori_loop(0, rows.shape[1], block, jnp.zeros_like(rows[0]))


@_weighted_sum.defjvp
def _(primals, tangents):
    weights, rows, first, end = primals
    summed = lambda weights, rows: jnp.einsum("l,lcmb->cmb", weights, rows)
    return _weighted_sum(*primals), summed(tangents[0], rows) + summed(weights, tangents[1])


def _times_of_slots(n: Int[Array, ""], W: int):
    """The time up to n that each column of the window is of, and whether there is one."""
    times = n - (n - jnp.arange(W)) % W
    return jnp.maximum(times, 0), times >= 0


def _feedback(feedback: Feedback, past: Past, c_phi: Float[Array, " T"], response: Float[Array, " T"], n):
    """Row n of sigma_k, of R = r(S) and of C^eta = kappa(S; C^phi).

    sigma = 1 + lambda S sigma gives its row n from the rows before.
    """
    T = c_phi.shape[0]
    known = jnp.arange(T) <= n
    kernel = feedback.linear * response
    c_eta = feedback.white * c_phi
    if feedback.poles.shape[0] == 0:
        return past.dressing[:, 0], kernel, jnp.where(known, c_eta, 0)
    poles, dtype = feedback.poles, feedback.poles.dtype
    before = jnp.where(jnp.arange(T) < n, response, 0).astype(dtype)
    summed = jnp.einsum("l,klm->km", before, past.dressing)
    row = (jax.nn.one_hot(n, T, dtype=dtype)[None] + poles[:, None] * summed) / (1 - poles * response[n].astype(dtype))[
        :, None
    ]
    dressing = past.dressing.at[:, n].set(row)
    both = past.c_phi.at[n].set(c_phi).at[:, n].set(c_phi).astype(dtype)
    spread = jnp.einsum("km,klm->kl", row @ both, jnp.conj(dressing))
    kernel = kernel + jnp.real((feedback.weights.astype(dtype) * poles) @ row)
    c_eta = c_eta + jnp.real((feedback.weights * feedback.powers).astype(dtype) @ spread)
    return row, kernel, jnp.where(known, c_eta, 0)


def _root_row(root: Float[Array, "T T"], covariance: Float[Array, " T"], n) -> Float[Array, " T"]:
    """Row n of L with L L^T the covariance; rows after it are those of the unit matrix, as they are in `root`."""
    T = covariance.shape[0]
    before = jnp.arange(T) < n
    # Rows without variance count as unit rows, so that they can be divided by.
    diagonal = jnp.diagonal(root)
    safe = root + jnp.diag(jnp.where(diagonal > 0, 0, 1 - diagonal))
    right = jnp.where(before, covariance, 0)
    row = jax.lax.linalg.triangular_solve(safe, right[None], left_side=False, lower=True, transpose_a=True)[0]
    row = jnp.where(before & (diagonal > 0), row, 0)
    left = covariance[n] - row @ row
    least = (_FLOOR if covariance.dtype == jnp.float64 else _FLOOR_SINGLE) * covariance[n]
    return row.at[n].set(safe_root(jnp.maximum(left, least)))
