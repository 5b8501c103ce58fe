r"""Where a fit starts: modes and linear dynamics from the covariances of a recording at a few lags.

Noise of the measurement is independent in time, so that covariances at lags of one step and more are those of the
signal. Their principal directions are m; in these coordinates z_{t+1} = A z_t + noise gives

$$ G_{k+1} = A\, G_k, \qquad G_0 = A^{-1} G_1, \qquad Q = G_0 - A\, G_0 A^T, $$

and n phi(m z - h) is fitted to (A - a) z over Gaussian z of the covariance G_0. Everything here runs in NumPy.
"""

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ..eigen import host_eigenvalues
from ..transfer import Linear, PiecewiseLinear, ReLU, Transfer
from .models import StochasticLowRank
from .observations import Affine, Currents, Gaussian, Observation, Rates

_LAGS = 4  # the last one; beyond, slow oscillations have turned, and short trials have few pairs
_DRAWS, _RIDGE = 1000, 1e-2  # states that n is fitted to, and the ridge, as a part of the mean square of rates
_LEAST_NOISE = 0.05  # of measurements, as a part of the variance of a unit
_LEAKS = 0.5, 0.7, 0.8, 0.9, 0.95  # that inputs may have
_LEAK = 0.1, 0.95  # the range of the leak; data where phi is nearly linear say nothing of it


def start_of(
    y: Float[np.ndarray, "B T M"],
    rank: int,
    transfer: Transfer,
    observation: Observation | None,
    inputs: Float[np.ndarray, "B T I"] | None,
    key: PRNGKeyArray,
) -> StochasticLowRank:
    """A model of rank `rank` from which a fit of the recording can start."""
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), np.uint32)))
    observation, x = _unscaled(y, observation)
    N = x.shape[2]
    weights, leak, v = None, None, np.zeros(())
    if inputs is not None and isinstance(observation.readout, Affine):
        weights = np.zeros((N, inputs.shape[2]))  # seen through latent variables alone
        v = np.zeros_like(inputs)
    elif inputs is not None:
        weights, leak, v, x = _without_inputs(x, np.asarray(inputs, float))
        observation = _shifted(observation, weights @ np.mean(v, (0, 1)))
    lagged = _lagged(x)
    total = sum(part + part.T for part in lagged[1:3])
    values, vectors = np.linalg.eigh(total)
    m = np.sqrt(N) * vectors[:, np.argsort(-values)[:rank]]
    G = [m.T @ part @ m / N**2 for part in lagged]
    A, G0, Q = _dynamics(G)
    a = leak or float(np.clip(np.mean(np.abs(host_eigenvalues(A))) - 0.1, *_LEAK))

    signal = np.einsum("ir,rs,is->i", m, G0, m)
    kinks = isinstance(transfer, PiecewiseLinear | ReLU)
    h = np.sqrt(signal) * rng.uniform(-1, 1, N) if kinks else np.zeros(N)
    if weights is None:
        z = rng.standard_normal((_DRAWS, rank)) @ np.linalg.cholesky(G0).T
        currents, ahead = z @ m.T, z @ (A - a * np.eye(rank)).T
    else:
        currents, ahead = _driven(x, m, v @ weights.T, a)
    rates = np.asarray(jax.vmap(transfer)(currents - h), float)
    gram = rates.T @ rates / len(rates)
    ridge = _RIDGE * max(np.trace(gram) / N, np.finfo(float).tiny) * np.eye(N)
    n = np.linalg.solve(gram + ridge, rates.T @ ahead / len(rates)).T
    if isinstance(observation, Gaussian):
        gain = np.abs(np.asarray(getattr(observation.readout, "gain", 1.0)))
        variance = np.nanvar(x, (0, 1))  # without what inputs explain
        noise = gain * np.sqrt(np.maximum(variance - signal, _LEAST_NOISE * variance))
        observation = Gaussian(noise, observation.readout)
    if isinstance(observation.readout, Affine):
        observation = _with_readout(observation, Affine(m, observation.readout.bias))
    return StochasticLowRank(
        m,
        n,
        a,
        np.linalg.cholesky(Q),
        transfer,
        threshold=h if kinks else 0.0,
        input_weights=weights,
        initial_noise=np.linalg.cholesky(G0),
        observation=observation,
    )


def _unscaled(y, observation: Observation | None) -> tuple[Observation, Float[np.ndarray, "B T M"]]:
    """An observation with biases that fit the means, and the deviations of the data as deviations of currents."""
    mean = np.nanmean(y, (0, 1))
    if observation is None:
        scale = np.sqrt(np.nanmean((y - mean) ** 2))
        observation = Gaussian(1.0, Currents(scale if scale > 0 else 1.0))
    readout = observation.readout
    eta, slope = _inverse(observation, mean) if observation.counts else (mean, np.ones_like(mean))
    gain = np.asarray(getattr(readout, "gain", 1.0), float)
    x = (y - mean) / np.where(slope * gain == 0, 1, slope * gain)
    match readout:
        case Affine():
            readout = Affine(readout.matrix, eta)
        case Currents() | Rates():
            readout = type(readout)(readout.gain, eta)
    return _with_readout(observation, readout), x


def _with_readout(observation: Observation, readout) -> Observation:
    return type(observation)(
        **{**{name: getattr(observation, name) for name in observation.__dataclass_fields__}, "readout": readout}
    )


def _shifted(observation: Observation, current: Float[np.ndarray, " N"]) -> Observation:
    """Biases without what mean inputs add to currents."""
    readout = observation.readout
    if not isinstance(readout, Currents | Rates):
        return observation
    return _with_readout(observation, type(readout)(readout.gain, readout.bias - readout.gain * current))


def _inverse(observation: Observation, mean: Float[np.ndarray, " M"]):
    """eta where the mean count is `mean`, and the slope of the mean there, from a table of the link."""
    eta = np.linspace(-15, 15, 3001)
    rate = np.asarray(observation.mean(jax.numpy.asarray(eta)))
    rate, first = np.unique(rate, return_index=True)
    at = np.clip(np.interp(np.maximum(mean, 1e-3), rate, eta[first]), -10, 14)
    step = 1e-2
    slope = (np.interp(at + step, eta[first], rate) - np.interp(at - step, eta[first], rate)) / (2 * step)
    return at, slope


def _without_inputs(x: Float[np.ndarray, "B T N"], u: Float[np.ndarray, "B T I"]):
    """Input weights by least squares, the leak and the inputs that explain most, and what is left of the currents."""
    seen = np.isfinite(x)
    known, best = np.where(seen, x, 0.0), None
    for leak in _LEAKS:
        v, at = np.zeros_like(u), np.zeros_like(u[:, 0])
        for t in range(u.shape[1]):
            at = leak * at + (1 - leak) * u[:, t]
            v[:, t] = at
        about = v - np.mean(v, (0, 1))
        gram = np.einsum("btn,bti,btj->nij", seen, about, about)
        weights = np.einsum("nij,btj,btn->ni", np.linalg.pinv(gram, rcond=1e-8, hermitian=True), about, known)
        left = x - about @ weights.T
        size = np.nansum(left**2)
        if best is None or size < best[0]:
            best = size, (weights, leak, v, left)
    assert best is not None
    return best[1]


def _driven(
    x: Float[np.ndarray, "B T N"], m: Float[np.ndarray, "N R"], by_inputs: Float[np.ndarray, "B T N"], a: float
):
    """Currents, and what drives z in the next step: inputs are no noise, so that states are read from the data."""
    seen = np.isfinite(x)
    known = np.where(seen, x, 0.0) @ m
    z = np.einsum("btrs,bts->btr", np.linalg.pinv(np.einsum("btn,nr,ns->btrs", seen, m, m), hermitian=True), known)
    whole = np.sum(seen, 2) > m.shape[1]
    both = whole[:, 1:] & whole[:, :-1]
    return (z @ m.T + by_inputs)[:, :-1][both], (z[:, 1:] - a * z[:, :-1])[both]


def _lagged(x: Float[np.ndarray, "B T N"]) -> list[Float[np.ndarray, "N N"]]:
    """<x(t + k) x(t)^T> for k = 0, 1, ... over the pairs of numbers that are there."""
    seen = np.isfinite(x)
    x, seen = np.where(seen, x, 0.0), seen.astype(float)
    last = min(_LAGS, x.shape[1] - 1)
    found = []
    for k in range(last + 1):
        later, now = (slice(k, None), slice(0, x.shape[1] - k))
        flat = lambda a, times: a[:, times].reshape(-1, x.shape[2])
        pairs = flat(seen, later).T @ flat(seen, now)
        found.append(flat(x, later).T @ flat(x, now) / np.maximum(pairs, 1))
    return found


def _dynamics(G: list[Float[np.ndarray, "R R"]]):
    """A, G_0 and Q of linear dynamics with these covariances, stable and positive definite."""
    R = len(G[0])
    first, then = np.concatenate(G[1:-1], 1), np.concatenate(G[2:], 1)
    A = then @ first.T @ np.linalg.pinv(first @ first.T, rcond=1e-6, hermitian=True)
    # Not beyond the edge of stability: what grows there is bounded by phi, and what is noise is no dynamics.
    largest = np.max(np.abs(host_eigenvalues(A)))
    A = A * min(1.0, 0.99 / largest) if largest > 0 else 0.5 * np.eye(R)
    positive = lambda P, least: _clipped((P + P.T) / 2, least)
    size = max(np.trace(G[1]) / R, 1e-6 * np.trace(G[0]) / R, np.finfo(float).tiny)
    G0 = positive(np.linalg.pinv(A, rcond=0.1) @ G[1], 0.05 * size)
    return A, G0, positive(G0 - A @ G0 @ A.T, 0.01 * size)


def _clipped(P: Float[np.ndarray, "R R"], least: float) -> Float[np.ndarray, "R R"]:
    values, vectors = np.linalg.eigh(P)
    return (vectors * np.maximum(values, least)) @ vectors.T


def is_smooth(transfer: Transfer) -> bool:
    """Whether thresholds are left at 0: smooth units are told apart by their modes, kinks by where they are."""
    return not isinstance(transfer, PiecewiseLinear | ReLU) or isinstance(transfer, Linear)
