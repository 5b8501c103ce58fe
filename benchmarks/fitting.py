"""Gradient steps of fits through the theory, and the same losses with SciPy and finite differences.

    python benchmarks/fitting.py [--quick]

Each target is a sum of squares of residuals, of data by the theory itself at other parameters with 1% of noise. Per
target: seconds to compile and for one value with its gradient; then the fit from one start, ours (`fit` with L-BFGS,
compiled before) and `scipy.optimize.minimize` (L-BFGS-B, two-point differences) with the same compiled loss, until its
loss has fallen to the last one of ours or SciPy gives up; and `least_squares` to the same loss. `--quick` runs two
targets.
"""

import argparse
import platform
import time

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from table import Row

import jaxnets as jn
from jaxnets.fitting import Positive, fit, least_squares

AIM = 10.0


def modes(params):
    return jn.couplings.RandomModes.of_rank(params["g"], params["rank"])


def state_of(params):
    return jn.meanfield.stationary(
        jn.couplings.IID(params["g"]), jn.transfer.Tanh(), nodes=401, num_lags=513, max_lag=50.0
    )


def edges(params):
    """Right edges of one synaptic window at eight loads."""
    edge = lambda load: jn.spectra.law(jn.couplings.DeepHebbian(load, 0.2, params["window"])).right_edge()
    return jax.vmap(edge)(jnp.linspace(0.1, 1.5, 8))


def autocovariance(params):
    state = state_of(params)
    return jnp.interp(jnp.linspace(0.3, 10, 16) / params["tau"], state.lags, state.c_phi)


def dimensions(params):
    state = state_of(params)
    found = jn.population.dimension(state, modes(params))
    return jnp.stack([state.c_phi[0], jnp.log(found.phi), jnp.log(found.x)])


def spectrum(params):
    data = jn.fitting.SpectralStatistics(jnp.zeros(8), jnp.linspace(0.2, 1.6, 8), jnp.zeros((1, 11)), jnp.ones(11))
    return jn.fitting.spectrum_misses(jn.couplings.DeepHebbian(params["load"], params["auto"], params["window"]), data)


# Name: the prediction, the truth, the start.
TARGETS = {
    "autocovariance (2 parameters)": (autocovariance, {"g": 3.0, "tau": 2.0}, {"g": 2.0, "tau": 1.5}),
    "right edges, window of 8 (8)": (
        edges,
        {"window": 0.6 * np.exp(-np.arange(8) / 3.0)},
        {"window": 0.3 * np.ones(8)},
    ),
    "dimension of activity (2)": (dimensions, {"g": 3.0, "rank": 0.4}, {"g": 2.5, "rank": 1.0}),
    "eigenvalue counts (3)": (
        spectrum,
        {"load": 0.6, "auto": 0.5, "window": np.array([0.8])},
        {"load": 0.5, "auto": 0.4, "window": np.array([0.6])},
    ),
}


def measure(name, predict, truth, start) -> list[Row]:
    arrays = lambda tree: jax.tree.map(jnp.asarray, tree)
    exact = np.asarray(jax.jit(predict)(arrays(truth)))
    error = 0.01 * np.abs(exact).max()
    data = jnp.asarray(exact + error * np.random.default_rng(0).standard_normal(exact.shape))
    residuals = lambda params, data: (predict(params) - data) / error

    def loss(params, data):
        r = residuals(params, data)
        return r @ r / 2

    held = {key: Positive() for key in start}
    start = arrays(start)
    began = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss)).lower(start, data).compile()
    compiling = time.perf_counter() - began
    step_seconds = best_of(lambda: step(start, data))
    value = jax.jit(loss).lower(start, data).compile()
    value_seconds = best_of(lambda: value(start, data))

    ours = lambda: fit(loss, start, data, transforms=held, max_steps=100, tolerance=1e-4)
    found = ours()
    seconds = best_of(ours, 1)
    squares = lambda: least_squares(residuals, start, data, transforms=held)
    by_squares = squares()
    squares_seconds = best_of(squares, 1)

    flat, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(jnp.log, start))
    reached = []

    def objective(u):
        current = float(value(jax.tree.map(jnp.exp, unravel(jnp.asarray(u))), data))
        reached.append(current)
        if current <= float(found.loss) * (1 + 1e-6):
            raise StopIteration
        return current

    began = time.perf_counter()
    try:
        minimize(objective, np.asarray(flat), method="L-BFGS-B", options={"maxiter": 200, "ftol": 0, "gtol": 1e-4})
    except StopIteration:
        pass
    scipy_seconds = time.perf_counter() - began
    print(
        f"{name:34s}{compiling:8.1f}{1e3 * value_seconds:9.1f}{1e3 * step_seconds:9.1f}{seconds:8.2f}"
        f"{float(found.loss):9.1e}{squares_seconds:8.2f}{float(by_squares.loss):9.1e}{scipy_seconds:8.2f}"
        f"{np.nanmin(reached):9.1e}{scipy_seconds / seconds:8.1f}{scipy_seconds / squares_seconds:8.1f}",
        flush=True,
    )
    differences = (1 + flat.size) * value_seconds
    failed = np.nanmin(reached) > 1.01 * float(found.loss)
    by_scipy = "SciPy, which gives up before" if failed else "SciPy, differences"
    return [
        Row(f"fit of {name}", min(seconds, squares_seconds), None, by_scipy, scipy_seconds),
        Row("a gradient of its loss", step_seconds, compiling, "differences", differences, "the value", value_seconds),
    ]


def best_of(call, repeats=3):
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main(quick: bool) -> list[Row]:
    jax.config.update("jax_enable_x64", True)
    device = f"{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}, float64"
    print(f"{device}; aim: SciPy / ours > {AIM:g}")
    print(f"{'':34s}{'compile':>8s}{'value':>9s}{'gradient':>9s}{'fit':>8s}{'':9s}{'squares':>8s}{'':9s}{'SciPy':>8s}")
    print(
        f"{'':34s}{'s':>8s}{'ms':>9s}{'ms':>9s}{'s':>8s}{'loss':>9s}{'s':>8s}{'loss':>9s}{'s':>8s}{'loss':>9s}"
        f"{'/ fit':>8s}{'/ sq.':>8s}"
    )
    return [row for name in list(TARGETS)[: 2 if quick else None] for row in measure(name, *TARGETS[name])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two targets")
    main(**vars(parser.parse_args()))
