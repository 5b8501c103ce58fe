r"""Answers follow a change of units, for all public functions of a matrix, an ensemble, a network or a recording.

A system in other units has couplings q J, states u x and times s t. Its transfer function is phi(x / u) u / q, so that
tau x' = -x + J phi(x) is the same equation. `CASES` says how each output changes; rooms that test many functions of
their own are in `ELSEWHERE`. A function without an entry fails.
"""

import inspect
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public_calls import modules

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian, Dense, Elliptic, LowRank, RandomModes
from jaxnets.transfer import PiecewiseLinear, Tanh, Transfer

RNG = np.random.default_rng(4)
KEY = jax.random.key(0)
N = 6
J = RNG.standard_normal((N, N)) * 1.5 / N**0.5
START = RNG.standard_normal(N)
POINTS = 1.2 * np.exp(2j * np.pi * RNG.random(5)) * RNG.random(5)
# A packet of overlap that moves from pattern to pattern.
PACKET = np.exp(-((np.arange(40.0)[:, None] / 4 - np.arange(6)) ** 2))
SPINS = np.sign(RNG.standard_normal((3, N)))


class Units(NamedTuple):
    """Of couplings, of states and of time."""

    q: float = 1.0
    u: float = 1.0
    s: float = 1.0


def transfer(units):
    """Between -1 and 1 in the first units."""
    q, u, _ = units
    return PiecewiseLinear(np.array([-1.0, 1.0]) * u, np.array([0.0, 1.0, 0.0]) / q, np.array([-1.0, 0, 1]) * u / q)


class SmoothInUnits(Transfer):
    """tanh in units, for what is not exact where phi has kinks."""

    rate: jax.Array
    state: jax.Array

    def __call__(self, x):
        return self.rate * jnp.tanh(x / self.state)

    def slope(self, x):
        return self.rate / self.state / jnp.cosh(x / self.state) ** 2


def smooth(units):
    return SmoothInUnits(jnp.asarray(float(units.u / units.q)), jnp.asarray(float(units.u)))


def net(units, order=slice(None), noise=0.0):
    q, u, s = units
    matrix, current = J[order][:, order], 0.3 * np.cos(np.arange(N))[order]
    return jn.dynamics.RateNetwork(q * matrix, transfer(units), noise * u * s**0.5, u * current, s)


def modes(q):
    return RandomModes(np.array([1.4, 0.6]) * q, load=0.7, overlap=0.2)


def noisy(q):
    return IID(0.8 * q) + modes(q)


def law(q):
    return jn.spectra.law(noisy(q), np.array([0.8, 1.2]))


def hebbian(q):
    return DeepHebbian(0.02, q, (0.0,), symmetric=True)


def vectors(order=slice(None)):
    return START[order]


# Name: outputs in units and an order of the units, and of each output the powers of q, u and s and the axes of units.
# None in place of powers: what is not compared, such as residuals.
def run(c, order):
    found = jn.dynamics.simulate(net(c, order), c.u * vectors(order), duration=2 * c.s, dt=0.1 * c.s, progress=False)
    return found.times, found.states


def exponents(c, order):
    found = jn.dynamics.lyapunov_spectrum(
        net(c, order),
        c.u * vectors(order),
        num_exponents=2,
        duration=20 * c.s,
        dt=0.1 * c.s,
        discard=2 * c.s,
        interval=0.5 * c.s,
        key=KEY,
        progress=False,
    )
    return (found.mean_trace,)


def fixed(c, order):
    found = jn.dynamics.fixed_points(
        net(c, order), c.u * vectors(order)[None], tolerance=1e-10 * c.u, same=1e-5 * c.u, progress=False
    )
    return found.points, found.eigenvalues, found.stable


def outliers(c, order):
    found = jn.spectra.outliers(IID(0.5 * c.q) + LowRank(2 * c.q, c.q))
    return found.values, found.converged


def static_states(c, order):
    ensemble, ways = IID(0.5 * c.q) + LowRank(2 * c.q, c.q), dict(key=KEY, num_starts=12, scale=c.u, nodes=40)
    found = jn.meanfield.static_states(ensemble, smooth(c), jn.meanfield.Input(0.1 * c.u), **ways)
    return found.state.variance, np.abs(found.state.kappa[:, 0]), found.stability.stable, found.stability.edge


CASES = {
    "eigen.leading": (lambda c, order: (jn.eigen.leading(c.q * J[order][:, order], 2).values,), [((1, 0, 0), ())]),
    "eigen.host_eigenvalues": (
        lambda c, order: (np.abs(np.sum(jn.eigen.host_eigenvalues(c.q * J[order][:, order]))),),
        [((1, 0, 0), ())],
    ),
    "spectra.law": (
        lambda c, order: (law(c.q).right_edge(), law(c.q).left_edge(), law(c.q).zero_mass(), law(c.q).real_crossings()),
        [((1, 0, 0), ()), ((1, 0, 0), ()), ((0, 0, 0), ()), ((1, 0, 0), ())],
    ),
    "spectra.SpectralLaw.density": (lambda c, order: (law(c.q).density(c.q * POINTS),), [((-2, 0, 0), ())]),
    "spectra.SpectralLaw.boundary": (
        lambda c, order: (np.abs(jn.spectra.law(Elliptic(c.q, 0.3)).boundary(16)[0]).max(),),
        [((1, 0, 0), ())],
    ),
    "spectra.outliers": (outliers, [((1, 0, 0), ()), ((0, 0, 0), ())]),
    "spectra.critical_value": (
        lambda c, order: (jn.spectra.critical_value(lambda g: IID(g), 1.2 * c.q, edge=c.q).value,),
        [((1, 0, 0), ())],
    ),
    "spectra.singular_profile": (
        lambda c, order: (jn.spectra.singular_profile(noisy(c.q), c.q * np.array([0.5, 1.0])).counts,),
        [((0, 0, 0), ())],
    ),
    "spectra.quantiles": (lambda c, order: (jn.spectra.quantiles(law(c.q), 9),), [((1, 0, 0), ())]),
    "spectra.void_area": (
        lambda c, order: (
            jn.spectra.void_area(jn.spectra.law(jn.couplings.SingularModes([c.q]) + IID(0.3 * c.q))).value,
        ),
        [((2, 0, 0), ())],
    ),
    "spectra.observed_void_area": (
        lambda c, order: (jn.spectra.observed_void_area(c.q * np.exp(2j * np.pi * np.arange(60) / 60)),),
        [((2, 0, 0), ())],
    ),
    "population.cross_spectrum": (
        lambda c, order: (jn.population.cross_spectrum(c.q * J[order][:, order], np.array([0.2 + 0.1j]) / c.q),),
        [((0, 0, 0), (1, 2))],
    ),
    "population.dressed": (lambda c, order: (jn.population.dressed(noisy(c.q), 0.3 / c.q).value,), [((-1, 0, 0), ())]),
    "population.four_point_sum": (
        lambda c, order: (jn.population.four_point_sum(noisy(c.q), 0.3 / c.q, 0.2 / c.q),),
        [((0, 0, 0), ())],
    ),
    "population.four_point_sum_x": (
        lambda c, order: (jn.population.four_point_sum_x(noisy(c.q), 0.3 / c.q, 0.2 / c.q, 0.1, 0.1),),
        [((0, 0, 0), ())],
    ),
    "population.linear_sum": (
        lambda c, order: (jn.population.linear_sum(noisy(c.q), 0.3 / c.q, 0.2 / c.q),),
        [((0, 0, 0), ())],
    ),
    "dynamics.simulate": (run, [((0, 0, 1), ()), ((0, 1, 0), (1,))]),
    "dynamics.lyapunov_spectrum": (exponents, [((0, 0, -1), ())]),
    "dynamics.find_fixed_point": (
        lambda c, order: (
            jn.dynamics.find_fixed_point(net(c, order), c.u * vectors(order), tolerance=1e-10 * c.u).value,
        ),
        [((0, 1, 0), (0,))],
    ),
    "dynamics.fixed_points": (fixed, [((0, 1, 0), (1,)), ((0, 0, -1), ()), ((0, 0, 0), ())]),
    "dynamics.jacobian_eigenvalues": (
        lambda c, order: (
            np.sort(jn.dynamics.jacobian_eigenvalues(net(c, order), 0.5 * c.u * vectors(order), progress=False).real),
        ),
        [((0, 0, -1), ())],
    ),
    "dynamics.step": (
        lambda c, order: (
            jn.dynamics.step(net(c, order), jn.dynamics.rk4, 0.0, c.u * vectors(order), 0.1 * c.s, None),
        ),
        [((0, 1, 0), (0,))],
    ),
    "dynamics.step_log_density": (
        lambda c, order: (
            jn.dynamics.step_log_density(
                net(c, order, 0.3),
                jn.dynamics.heun,
                0.0,
                c.u * vectors(order),
                c.u * (vectors(order) + 0.01),
                0.1 * c.s,
            )
            + N * np.log(c.u),
        ),
        [((0, 0, 0), ())],
    ),
    "meanfield.chaos_onset": (
        lambda c, order: (jn.meanfield.chaos_onset(noisy(c.q), Tanh()).value,),
        [((-1, 0, 0), ())],
    ),
    "meanfield.stationary": (
        lambda c, order: vars_of(jn.meanfield.stationary(IID(1.8 * c.q), transfer(c), num_lags=65), "c_x", "c_phi"),
        [((0, 2, 0), ()), ((-2, 2, 0), ())],
    ),
    "meanfield.transient": (
        lambda c, order: vars_of(
            jn.meanfield.transient(IID(1.8 * c.q), transfer(c), duration=2.0, variance=0.3 * c.u**2, mean=0.2 * c.u),
            "mean",
            "c_x",
            "c_phi",
        ),
        [((0, 1, 0), ()), ((0, 2, 0), ()), ((-2, 2, 0), ())],
    ),
    "layers.rate_covariance": (
        lambda c, order: vars_of(
            jn.layers.rate_covariance(
                transfer(c), 0.2 * c.u * np.arange(3.0)[order], c.u**2 * (np.eye(3) + 0.3)[np.ix_(order, order)]
            ),
            "mean",
            "covariance",
        ),
        [((-1, 1, 0), (0,)), ((-2, 2, 0), (0, 1))],
    ),
    "meanfield.stationary_states": (
        lambda c, order: (jn.meanfield.stationary_states(IID(1.8 * c.q), transfer(c), num_lags=65).state.c_x[..., 0],),
        [((0, 2, 0), ())],
    ),
    "meanfield.static_state": (
        lambda c, order: vars_of(
            jn.meanfield.static_state(
                IID(0.5 * c.q) + LowRank(2 * c.q, c.q),
                smooth(c),
                guess_kappa=c.u,
                guess_variance=c.u**2,
                nodes=40,
            ),
            "kappa",
            "variance",
            "rate_power",
            "response",
            "converged",
        ),
        [((0, 1, 0), ()), ((0, 2, 0), ()), ((-2, 2, 0), ()), ((-1, 0, 0), ()), ((0, 0, 0), ())],
    ),
    "meanfield.static_states": (static_states, [((0, 2, 0), ()), ((0, 1, 0), ()), ((0, 0, 0), ()), ((0, 0, 0), ())]),
    "population.dimension": (
        lambda c, order: vars_of(
            jn.population.dimension(jn.meanfield.stationary(IID(1.8 * c.q), transfer(c), num_lags=65)), "phi", "x"
        ),
        [((0, 0, 0), ()), ((0, 0, 0), ())],
    ),
    "population.lyapunov_distribution": (
        lambda c, order: vars_of(
            jn.population.lyapunov_distribution(
                jn.meanfield.stationary(IID(1.8 * c.q), transfer(c), num_lags=65),
                None,
                transfer(c),
                key=KEY,
                thresholds=[-0.6, -0.3],
                num_paths=64,
                points=16,
                period=8.0,
            ),
            "cdf",
            "edge",
        ),
        [((0, 0, 0), ()), ((0, 0, 0), ())],
    ),
    "memory.replica_state": (
        lambda c, order: vars_of(jn.memory.replica_state(hebbian(c.q), [0.95], 0.2 * c.q), "m", "chi", "free_energy"),
        [((0, 0, 0), ()), ((-1, 0, 0), ()), ((1, 0, 0), ())],
    ),
    "memory.glass_temperature": (
        lambda c, order: (jn.memory.glass_temperature(hebbian(c.q)).temperature,),
        [((1, 0, 0), ())],
    ),
    "memory.capacity": (
        lambda c, order: (jn.memory.capacity(hebbian(c.q), [0.95], 0.2 * c.q).load,),
        [((0, 0, 0), ())],
    ),
    "memory.glauber": (
        lambda c, order: vars_of(
            jn.memory.glauber(
                Dense(c.q * (J + J.T), symmetric=True), SPINS, temperature=0.5 * c.q, num_sweeps=3, key=KEY
            ),
            "spins",
            "energy",
        ),
        [((0, 0, 0), None), ((1, 0, 0), None)],
    ),
    "memory.packet_speed": (
        lambda c, order: (jn.memory.packet_speed(DeepHebbian(0.5, 0.2 * c.q, np.array([1.0, 0.5]) * c.q)),),
        [((0, 0, 0), ())],
    ),
    "memory.zero_load_overlaps": (
        lambda c, order: (jn.memory.zero_load_overlaps(c.q * (np.eye(3) + 0.1), [0.9, 0.5, 0.2], 0.2 * c.q).value,),
        [((0, 0, 0), ())],
    ),
    "memory.hebbian": (
        lambda c, order: (jn.memory.hebbian(SPINS[:, order], 0.2 * c.q, [c.q]).dense(),),
        [((1, 0, 0), (0, 1))],
    ),
    "fitting.edge_misses": (
        lambda c, order: (jn.fitting.edge_misses(noisy(c.q), c.q, 0.1 * c.q),),
        [((0, 0, 0), ())],
    ),
    "fitting.onset_misses": (
        lambda c, order: (jn.fitting.onset_misses(noisy(c.q), Tanh(), 1 / c.q, 0.1 / c.q),),
        [((0, 0, 0), ())],
    ),
    "couplings.finite_size": (
        lambda c, order: (jn.couplings.finite_size(noisy(c.q), 500).edge,),
        [((0, 0, 0), ())],
    ),
    "meanfield.largest_lyapunov": (
        lambda c, order: (
            jn.meanfield.largest_lyapunov(jn.meanfield.stationary(IID(1.8 * c.q), transfer(c), num_lags=65)).value,
        ),
        [((0, 0, 0), ())],
    ),
    "population.pair_covariance": (
        lambda c, order: vars_of(
            jn.population.pair_covariance(
                jn.meanfield.stationary(IID(1.8 * c.q), transfer(c), num_lags=65), None, np.array([0.0, 1.0]), nodes=32
            ),
            "phi",
            "x",
        ),
        [((-4, 4, 0), ()), ((0, 4, 0), ())],
    ),
    "memory.self_organised_edge": (
        lambda c, order: (jn.memory.self_organised_edge(DeepHebbian(0.5, 0.0, [c.q]), Tanh(), mean=0.1, variance=0.5),),
        [((1, 0, 0), ())],
    ),
    "memory.retrieval": (
        lambda c, order: vars_of(
            jn.memory.retrieval(c.q * PACKET, c.s * np.arange(40.0), threshold=0.1 * c.q),
            "speed",
            "peak_overlap",
            "reach",
        ),
        [((0, 0, -1), ()), ((1, 0, 0), ()), ((0, 0, 0), ())],
    ),
    "spectra.estimated_singular_profile": (
        lambda c, order: (
            jn.spectra.estimated_singular_profile(
                c.q * J, c.q * np.array([0.5, 1.0]), key=KEY, num_vectors=4, num_steps=6
            ).counts,
        ),
        [((0, 0, 0), None)],
    ),
    "fitting.void_radius": (
        lambda c, order: (jn.fitting.void_radius(RandomModes([c.q], load=0.5, overlap=0.2)),),
        [((1, 0, 0), ())],
    ),
    "fitting.speed_misses": (
        lambda c, order: (jn.fitting.speed_misses(DeepHebbian(0.5, 0.0, [c.q]), 1 / c.s, 1 / c.s, time_constant=c.s),),
        [((0, 0, 0), ())],
    ),
}
FAST = ("eigen.", "population.cross", "dynamics.simulate", "memory.packet", "memory.hebbian")


def vars_of(result, *names):
    return tuple(getattr(result, name) for name in names)


_COUPLINGS = "couplings/test_units.py"
_NETWORKS = "multistability/test_units_of_networks.py"
_FITS = "fitting/test_fitting_units.py"
ELSEWHERE = {
    "couplings.from_matrix": _COUPLINGS,
    "couplings.random_modes_from_matrix": _COUPLINGS,
    "couplings.singular_mismatch": _COUPLINGS,
    "eigen.eigenvalues": _COUPLINGS,
    "fitting.autocovariance_misses": _FITS,
    "fitting.with_covariance": _FITS,
    "fitting.fit_recording": _FITS,
    "fitting.fit_connectome": _FITS,
    "fitting.held_out": _FITS,
    "fitting.apart": _FITS,
    "fitting.null_models": "fitting/test_scores.py",
    "fitting.score_models": "fitting/test_scores.py",
    **{
        f"multistability.{name}": _NETWORKS
        for name in ("basins", "descend", "flow", "follow_pattern", "is_stable", "margins", "stable_patterns")
    },
    "learning.factorise": _NETWORKS,
    "learning.compose": _NETWORKS,
}
# Functions that have no unit of their own: arrays are signs, truth values or parts, or the function is one of these.
WITHOUT = {
    "learning": "signs, masks and bounds: see `store` in test_units_of_networks.py",
    "multistability": "signs alone, or `state_graph`, which is `basins` and kicks",
    "plotting": "draws what it is given",
    "computations": "functions of the rooms at a point of a sweep",
    "replica": "problems whose names and units are in `memory`",
}
NO_UNITS = {
    "fitting.dimension_misses": "`population.dimension`, of no unit, against data",
    "fitting.population_time_misses": "`population.pair_covariance` as parts of the first, against data",
    "fitting.predict": "any statistic of a user",
    "fitting.recording_likelihood": "the equations of `fit_recording`, as a function of its parameters",
    "fitting.spectrum_misses": "the law at points of the data",
    "meanfield.stationary_by_paths": "averages over paths of `stationary`, with errors far above 1e-6",
    "meanfield.transient_by_paths": "paths of the equations of `transient`, at fixed numbers of unit variance",
    "memory.coexistence": "as `capacity`",
    "memory.correlation_profile": "as `replica_state`",
    "memory.observe": "`simulate`, `retrieval` and `lyapunov_spectrum` in turn",
    "memory.replicon_temperature": "as `glass_temperature`",
    "memory.retrieval_course": "is `meanfield.transient_by_paths` of condensed patterns",
    "memory.retrieve": "`simulate` and `retrieval` in turn",
    "memory.symmetric_core": "the couplings of `replica_state`",
    "spectra.eigenvalues": "is `eigen.eigenvalues`",
}


def of_a_network(function):
    """Whether an argument is a matrix, an ensemble, a network or a recording."""
    kinds = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
    marks = ("Ensemble", "DeepHebbian", "Operator", "'n n'", "'m m'", "'time", "RateNetwork", "Stationary")
    return any(mark in kind for kind in kinds for mark in marks)


def test_every_function_has_its_units_tested():
    functions = {
        f"{room}.{name}"
        for room, module in modules().items()
        for name in dir(module)
        if room not in WITHOUT and inspect.isfunction(getattr(module, name)) and of_a_network(getattr(module, name))
    }
    text = {file: (Path(__file__).parent / file).read_text() for file in set(ELSEWHERE.values())}
    for name, file in ELSEWHERE.items():
        assert name.split(".")[-1] in text[file], name
    recordings = {f"observables.{name}" for name in dir(jn.observables)}  # found by a test of their own
    assert sorted(functions - set(CASES) - set(ELSEWHERE) - recordings - set(NO_UNITS)) == []


# Theory looks at transfer functions over 30 decades on either side of 1.
CHANGES = [Units(1e-30, 1, 1), Units(1e30, 1, 1), Units(1, 1e-20, 1), Units(1, 1e20, 1), Units(1, 1, 60.0)]
FARTHER = [Units(1, 1e-30, 1), Units(1, 1e30, 1)]  # of states, for what does not look for the scale of phi


def check(name, units):
    call, outputs = CASES[name]
    order = RNG.permutation(N)
    before = [np.asarray(leaf) for leaf in call(Units(), slice(None))]
    assert all(np.isfinite(leaf).all() for leaf in before)
    permuted = all(axes is not None for _, axes in outputs)
    after = call(units, order if permuted else slice(None))
    for found, expected, (powers, axes) in zip(after, before, outputs, strict=True):
        for axis in axes or ():
            expected = np.take(expected, order, axis)
        scale = float(np.prod([unit**power for unit, power in zip(units, powers, strict=True)]))
        error = 1e-6 * np.abs(expected).max(initial=0)
        np.testing.assert_allclose(np.asarray(found) / scale, expected, 1e-6, error)


@pytest.mark.parametrize("units", CHANGES)
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(FAST)])
def test_units_of_networks(name, units):
    check(name, units)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(FAST)])
def test_units_of_theory(name):
    for units in CHANGES:
        check(name, units)


@pytest.mark.parametrize("name", ["dynamics.find_fixed_point", "dynamics.fixed_points"])
def test_units_of_fixed_points(name):
    for units in FARTHER:
        check(name, units)
