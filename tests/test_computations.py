"""Computations at one point: against what they call, under jit and vmap, and what they refuse."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import (
    computations,
    couplings,
    dynamics,
    meanfield,
    memory,
    observables,
    population,
    spectra,
    transfer,
)
from jaxnets._expressions import evaluate, names_in, vocabulary

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 2)
ENSEMBLES = vocabulary(couplings, couplings.Ensemble)

# Each with axes of two points.
POINTS = {
    "spectrum": (
        lambda load, g, key: computations.spectrum(
            "DeepHebbian(load=load, hetero=(g,))", n=60, max_modes=30, key=key, load=load, g=g
        ),
        (jnp.array([0.3, 0.5]), jnp.array([1.0, 2.0]), KEYS),
    ),
    "eigenvalues": (
        lambda g, v, key: computations.eigenvalues("g * IID()", "Tanh()", v, n=12, key=key, g=g),
        (jnp.array([0.5, 1.5]), jnp.array([0.3, 0.9]), KEYS),
    ),
    "simulate": (
        lambda g, noise, key: computations.simulate(
            "IID(g)", noise=noise, n=30, num_trajectories=12, duration=80.0, discard=20.0, max_lag=4.0, key=key, g=g
        ),
        (jnp.array([0.5, 0.7]), jnp.array([1.0, 0.5]), KEYS),
    ),
    "lyapunov": (
        lambda g, key: computations.lyapunov("IID(g)", "Linear()", n=8, num_exponents=8, duration=100.0, key=key, g=g),
        (jnp.array([0.2, 0.4]), KEYS),
    ),
    "memory": (
        lambda load, g, key: computations.memory(
            "DeepHebbian(load, hetero=(g,))", n=500, length=6, duration=40.0, max_modes=10, key=key, load=load, g=g
        ),
        (jnp.array([0.012, 0.02]), jnp.array([1.5, 0.5]), KEYS),
    ),
    "regime": (
        lambda load, g, key: computations.regime(
            "DeepHebbian(load, hetero=(g,))",
            n=200,
            length=4,
            duration=12.0,
            exponent_duration=8.0,
            dt=0.1,
            max_modes=8,
            key=key,
            load=load,
            g=g,
        ),
        (jnp.array([0.02, 0.04]), jnp.array([1.5, 0.5]), KEYS),
    ),
    "mean_field": (lambda g: computations.mean_field("IID(g)", g=g), (jnp.array([0.8, 2.0]),)),
    "transient": (
        lambda s, v, key: computations.transient(
            "Elliptic(1.5, s)", "Tanh()", v, 0.5, 2.0, duration=1.5, num_paths=240, key=key, s=s
        ),
        (jnp.array([0.2, 0.5]), jnp.array([1.0, 0.5]), KEYS),
    ),
    "dimension": (
        lambda g, rank: computations.dimension("g * RandomModes.flat(1 / rank, load=rank * rank)", g=g, rank=rank),
        (jnp.array([1.5, 2.0]), jnp.array([1.0, 0.5])),
    ),
}
QUICK = ("eigenvalues",)  # to compile


@pytest.mark.slow
@pytest.mark.parametrize("name", POINTS)
def test_traces_under_jit_and_vmap(name):
    """To numbers, or arrays of fixed shapes, in the precision of the point."""
    of_point, axes = POINTS[name]
    found = jax.eval_shape(jax.jit(jax.vmap(of_point)), *axes)
    assert all(leaf.shape[0] == 2 for leaf in found.values())
    assert {leaf.dtype.name for leaf in found.values()} <= {"float64", "complex128", "bool", "int64"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in POINTS]
)
def test_a_batch_is_the_loop(name):
    of_point, axes = POINTS[name]
    together = jax.jit(jax.vmap(of_point))(*axes)
    for k in range(2):
        alone = of_point(*(axis[k] for axis in axes))
        for result, value in alone.items():
            np.testing.assert_allclose(together[result][k], value, rtol=1e-6, atol=1e-8, err_msg=result)


# --- the names of numbers, with stand-ins for what is called


def _given(monkeypatch, module, **results):
    """Functions of a module that return these, as arrays, whatever they are asked."""
    for name, fields in results.items():
        made = _as_arrays(fields) if isinstance(fields, dict) else jnp.asarray(fields)
        monkeypatch.setattr(module, name, lambda *args, made=made, **settings: made, raising=False)


def _as_arrays(fields, **others):
    return SimpleNamespace(**{name: jnp.asarray(value) for name, value in fields.items()}, **others)


def _has(found, **expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_names_of_a_spectrum(monkeypatch):
    """Eigenvalues that are 0 up to rounding are not the right edge."""
    for values, edge in (([0.0, 1e-9, -2.0, 1.5 + 1j], 1.5), ([0.0, 1e-9, -2.0 + 1j, -1.5], -1.5)):
        for converged in ((True, True), (True, False), (False, True)):
            rightmost, void = ({"converged": flag} for flag in converged)
            law = SimpleNamespace(zero_mass=lambda: 0.25)
            _given(monkeypatch, law, rightmost=rightmost | {"z": 1.6 + 2j})
            monkeypatch.setattr(spectra, "law", lambda *args, law=law, **settings: law)
            _given(monkeypatch, spectra, void_area=void | {"value": 0.7}, observed_void_area=0.8)
            _given(monkeypatch, computations, _eigenvalues=values)
            found = computations.spectrum("IID()", n=4, key=KEY)
            _has(found, right_edge=edge, void_area=0.8, zero_mass_theory=0.25, converged=all(converged))
            _has(found, right_edge_theory=1.6 if converged[0] else np.nan)
            _has(found, void_area_theory=0.7 if converged[1] else np.nan)


def test_names_of_a_simulation(monkeypatch):
    run = {"states": np.ones((3, 2, 5)), "rates": np.zeros((3, 2, 5)), "interval": 0.2}
    _given(monkeypatch, observables, dimension_estimate={"value": 2.0, "error": 0.5})
    of_x, of_rates = (
        SimpleNamespace(lags=np.arange(2), values=v, error=v / 10) for v in np.array([[3.0, 2], [1, 0.5]])
    )
    monkeypatch.setattr(observables, "autocovariance", lambda z, *_, **__: of_x if np.any(z) else of_rates)
    for finite, time, converged in ((True, 4.9, True), (True, 5.1, False), (False, 4.9, False)):
        _given(monkeypatch, dynamics, simulate=run | {"finite": [True, finite]})
        _given(monkeypatch, observables, correlation_time=time)
        found = computations.simulate("IID()", n=5, key=KEY)
        _has(found, variance_x=3, variance_x_error=0.3, variance_phi=1, variance_phi_error=0.1, autocovariance_x=[3, 2])
        _has(
            found, autocovariance_x_error=[0.3, 0.2], autocovariance_phi=[1, 0.5], autocovariance_phi_error=[0.1, 0.05]
        )
        _has(found, lags=[0, 1], dimension_phi=0.4, dimension_phi_error=0.1)
        _has(found, correlation_time_phi=time, converged=converged)


def test_names_of_lyapunov_exponents(monkeypatch):
    for last in (-1.0, np.nan):
        _given(monkeypatch, dynamics, lyapunov_spectrum={"exponents": [0.2, last], "error": [0.1, 0.3]})
        found = computations.lyapunov("IID()", n=5, key=KEY)
        _has(found, lyapunov=0.2, lyapunov_error=0.1, exponents=[0.2, last], exponents_error=[0.1, 0.3])
        _has(found, converged=np.isfinite(last))


@pytest.mark.slow
def test_types():
    """Numbers of each type, and the edge of the bulk or of an outlier."""
    types = "CellTypes((.7, .3), ((1., 1.6), (.8, 1.3)), means=((m, -4.), (2., -3.)))"
    for m, outlier in ((2.0, False), (9.0, True)):
        found = computations.spectrum(types, n=400, key=KEY, m=m)
        assert found["right_edge"] == pytest.approx(float(found["right_edge_theory"]), rel=0.15) and found["converged"]
        assert (found["right_edge_theory"] > 2) == outlier
    state = computations.mean_field(f"2 * {types}", m=2.0)
    assert state["variance_x"].shape == (2,) and state["phase"] == meanfield.Phase.CHAOTIC and state["converged"]
    assert 0 < computations.dimension(f"2 * {types}", m=2.0)["dimension_phi"] < 0.1


@pytest.mark.slow
def test_a_measured_matrix_beside_its_theory():
    types = couplings.CellTypes((0.7, 0.3), 2 * np.sqrt([[1, 2.5], [0.6, 1.6]]))
    J = types.sample(300, key=KEY).dense()
    short = {"num_trajectories": 8, "duration": 120.0, "discard": 40.0, "dt": 0.1, "beyond": None, "key": KEY}
    found = computations.measured(J, types.labels(300), noise=0.5, scale=0.3, **short)
    for name, error in (("right_edge", 0.1), ("onset", 0.1), ("variance_x", 0.1), ("dimension_phi", 0.25)):
        assert found[name] == pytest.approx(float(found[f"{name}_theory"]), rel=error), name
    assert found["converged"]
    np.testing.assert_allclose(found["onset"], 0.3 / found["right_edge"])
    twice = computations.measured(2 * J, types.labels(300), noise=0.5, scale=0.15, **short)
    np.testing.assert_allclose(twice["variance_x"], found["variance_x"], rtol=1e-6)
    with pytest.raises(ValueError, match="`types` must be one label"):
        computations.measured(J, "abc".split(), **short)


def test_names_of_a_retrieval(monkeypatch):
    """A cycle passes the three patterns of load .3 and 11 neurons in 3 / speed."""
    numbers = {"fidelity": 0.8, "reach": 4, "speed": 2.0, "peak_overlap": 0.9}
    for success in (True, False):
        _given(monkeypatch, memory, retrieve=numbers | {"success": success})
        found = computations.memory("DeepHebbian(.3)", n=11, key=KEY)
        _has(found, success=success, period=1.5 if success else np.nan, **numbers)


@pytest.mark.parametrize(
    "converged", [(True, True, True), (False, True, True), (True, False, True), (True, True, False)]
)
def test_names_of_the_mean_field(monkeypatch, converged):
    state, onset, exponent = ({"converged": flag} for flag in converged)
    state |= {"c_x": [2.0, 1], "c_phi": [0.6, 0.5], "beta": 0.4, "decay_rate": 0.3, "alternatives": 1, "residual": 1e-9}
    onset |= {"value": 0.5, "appears": 0.45}
    for site in ({"echo": None}, {"echo": 1.0}, None):
        of = None if site is None else SimpleNamespace(**site)
        _given(monkeypatch, meanfield, chaos_onset=onset, largest_lyapunov=exponent | {"value": 0.1})
        result = _as_arrays(state, site=of)
        monkeypatch.setattr(meanfield, "stationary", lambda *args, result=result, **settings: result)
        found = computations.mean_field("IID()")
        _has(found, variance_x=2, variance_phi=0.6, beta=0.4, decay_rate=0.3, alternatives=1, onset=0.5, residual=1e-9)
        known = site == {"echo": None}
        _has(found, converged=all(converged if known else converged[:2]))
        assert ("lyapunov" in found) == ("chaos_appears" in found) == known
        if known:
            _has(found, lyapunov=0.1, chaos_appears=0.45)


def test_names_of_a_dimension(monkeypatch):
    numbers = {"phi": 0.1, "x": 0.2, "phi_error": 0.03, "x_error": 0.04, "residual": 1e-5, "converged": True}
    _given(monkeypatch, meanfield, stationary=0.0)
    _given(monkeypatch, population, dimension=numbers)
    found = computations.dimension("IID()")
    _has(found, dimension_phi=0.1, dimension_phi_error=0.03, dimension_x=0.2, dimension_x_error=0.04)
    _has(found, residual=1e-5, converged=True)


@pytest.mark.slow
def test_names_of_a_transient():
    """Without memory kernel no key; with one errors; with a cue overlaps."""
    free = computations.transient("IID(g)", variance=0.5, duration=1.5, replica=0.9, g=1.5)
    run = meanfield.transient(couplings.IID(1.5), transfer.Tanh(), variance=0.5, duration=1.5, replica=0.9)
    _has(free, times=run.times, variance_x=run.variance, squared_distance=run.squared_distance(), converged=True)
    settings = {"duration": 1.5, "num_paths": 160, "key": KEY}
    assert computations.transient("Elliptic(1., s)", s=0.5, **settings)["variance_x_error"].shape == (16,)
    hopfield = computations.transient("DeepHebbian(load, 2., (0.,))", load=0.05, cue=0.5, **settings)
    assert hopfield["overlap"].shape == hopfield["overlap_error"].shape == (1, 16)


def test_transients_that_are_refused():
    with pytest.raises(ValueError, match="`key`"):
        computations.transient("Elliptic(1., .5)")
    with pytest.raises(ValueError, match="`replica`"):
        computations.transient("Elliptic(1., .5)", replica=0.5, key=KEY)


# --- each against what it calls


def test_gains_are_slopes_at_inputs_of_the_variance():
    found = computations.eigenvalues("IID(2.)", "Tanh()", 0.25, n=20, key=KEY)
    key_network, key_gains = jax.random.split(KEY)
    J = np.asarray(couplings.IID(2.0).sample(20, key=key_network).dense())
    gains = 1 / np.cosh(0.5 * np.asarray(jax.random.normal(key_gains, (20,)))) ** 2
    expected = np.linalg.eigvals(J * gains)
    np.testing.assert_allclose(np.sort_complex(found["eigenvalues"]), np.sort_complex(expected), atol=1e-12)


def test_eigenvalues_are_those_of_the_sample():
    found = computations.eigenvalues("IID(g) + 0.5 * Elliptic(symmetry=-s)", n=20, key=KEY, g=1.5, s=0.3)
    ensemble = couplings.IID(1.5) + 0.5 * couplings.Elliptic(symmetry=-0.3)
    key, _ = jax.random.split(KEY)
    expected = np.linalg.eigvals(np.asarray(ensemble.sample(20, key=key).dense()))
    np.testing.assert_allclose(np.sort_complex(found["eigenvalues"]), np.sort_complex(expected), atol=1e-12)


@pytest.mark.slow
def test_mean_field_of_independent_weights():
    found = computations.mean_field("IID(gain)", gain=2.0)
    state = meanfield.stationary(couplings.IID(2.0), transfer.Tanh())
    assert found["converged"] and found["onset"] == pytest.approx(0.5)
    np.testing.assert_allclose(found["variance_x"], state.c_x[0], rtol=1e-12)
    # Sompolinsky, Crisanti & Sommers (1988), as tabulated in independent computations.
    np.testing.assert_allclose([found["variance_x"], found["lyapunov"]], [1.924805, 0.1125], atol=1e-4)


@pytest.mark.slow
def test_spectrum_of_one_shift():
    load, g, n = 0.3, 1.4, 1000
    found = computations.spectrum("DeepHebbian(load, hetero=(g,))", n=n, key=KEY, load=load, g=g)
    assert found["converged"]
    np.testing.assert_allclose(found["right_edge_theory"], g * np.sqrt(1 + load), rtol=1e-6)
    np.testing.assert_allclose(found["void_area_theory"], np.pi * g**2 * (1 - load) ** 3, rtol=1e-2)
    np.testing.assert_allclose(found["zero_mass_theory"], 1 - load)
    # Of finite size: the edge within a few of its fluctuations, n^(-1/2), the area 5 to 10 % too large.
    np.testing.assert_allclose(found["right_edge"], found["right_edge_theory"], rtol=0.1)
    np.testing.assert_allclose(found["void_area"], found["void_area_theory"], rtol=0.15)


@pytest.mark.slow
def test_spectrum_with_gains():
    found = computations.spectrum("IID(2.)", "Tanh()", 0.5, n=600, key=KEY)
    law = spectra.law(couplings.IID(2.0), transfer.Tanh(), variance=0.5)
    np.testing.assert_allclose(found["right_edge_theory"], law.right_edge())
    np.testing.assert_allclose(found["right_edge"], law.right_edge(), rtol=0.1)
    assert found["void_area_theory"] == 0 and found["converged"]


@pytest.mark.slow
def test_simulation_of_a_linear_network():
    """Without couplings: C(t) = sigma^2 e^{-t}, of dimension N."""
    found = computations.simulate(
        "gain * IID()", "Linear()", 0.5, n=50, num_trajectories=40, duration=120.0, discard=20.0, key=KEY, gain=0.0
    )
    assert found["converged"]
    inside = found["lags"] <= 5
    expected = 0.25 * np.exp(-found["lags"][inside])
    measured, error = (found[f"autocovariance_x{ending}"][inside] for ending in ("", "_error"))
    np.testing.assert_array_less(np.abs(measured - expected), 4 * error + 2e-3)
    assert abs(found["dimension_phi"] - 1) < 4 * found["dimension_phi_error"] + 0.02
    np.testing.assert_allclose(found["correlation_time_phi"], 1, rtol=0.2)


@pytest.mark.slow
def test_too_short_a_correlation_time_does_not_converge():
    settings = dict(n=30, num_trajectories=12, duration=80.0, discard=20.0, max_lag=4.0, key=KEY)
    found = computations.simulate("IID(.5)", noise=1.0, correlation_time=0.2, **settings)
    assert not found["converged"] and found["correlation_time_phi"] > 0.2


@pytest.mark.slow
def test_lyapunov_exponents_of_a_linear_network():
    """Real parts of the eigenvalues of J - 1."""
    found = computations.lyapunov("IID(.4)", "Linear()", n=8, num_exponents=8, duration=400.0, key=KEY)
    key, _ = jax.random.split(KEY)
    exact = np.sort(np.linalg.eigvals(np.asarray(couplings.IID(0.4).sample(8, key=key).dense())).real - 1)[::-1]
    np.testing.assert_allclose(found["exponents"], exact, atol=0.02)
    assert found["lyapunov"] == found["exponents"][0] and found["converged"]


@pytest.mark.slow
def test_memory_with_silent_columns_is_memory_without():
    """At one load, known or traced."""
    ensemble, settings = "DeepHebbian(load, hetero=(1.5,))", dict(n=500, length=6, duration=40.0, key=KEY)
    known = computations.memory(ensemble, load=0.02, **settings)
    padded = jax.jit(lambda load: computations.memory(ensemble, load=load, max_modes=10, **settings))(0.02)
    assert known["success"] and known["reach"] == 6
    for name, value in known.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-6, err_msg=name)
    J = couplings.DeepHebbian(0.02, hetero=(1.5,)).sample(500, key=KEY)
    net = dynamics.RateNetwork(J, transfer.Tanh())
    found = memory.retrieve(net, J.left.T, duration=40.0, length=6, progress=False)
    np.testing.assert_allclose([known["speed"], known["period"]], [found.speed, 10 / found.speed], rtol=1e-6)
    np.testing.assert_allclose(known["period"], found.period, rtol=0.2)


@pytest.mark.slow
def test_dimension_is_that_of_the_theory():
    found = computations.dimension("RandomModes.flat(gain, load=.25)", gain=6.0)
    ensemble = couplings.RandomModes.flat(6.0, load=0.25)
    expected = population.dimension(meanfield.stationary(ensemble, transfer.Tanh()), ensemble)
    np.testing.assert_allclose([found["dimension_phi"], found["dimension_x"]], [expected.phi, expected.x], rtol=1e-9)
    assert found["converged"]


# --- expressions with names


@pytest.mark.parametrize(
    ("text", "variance"),
    [
        ("IID(g)", 4.0),
        ("IID(g / 2 - 1 + s)", 9.0),
        ("g * IID() / 4", 0.25),
        ("s * IID() - g * IID()", 13.0),
        ("-g * IID(-(1 - g))", 4.0),
        ("IID(g=g * s / (1 + 1))", 9.0),
    ],
)
def test_names_and_arithmetic(text, variance):
    of = lambda g, s: evaluate(text, ENSEMBLES, couplings.Ensemble, "x", {"g": g, "s": s}).variance()
    assert float(of(2.0, 3.0)) == pytest.approx(variance)
    assert float(jax.jit(of)(2.0, 3.0)) == pytest.approx(variance)
    slope = jax.grad(lambda g: of(g, 3.0))(2.0)
    np.testing.assert_allclose(slope, (of(2.0 + 1e-5, 3.0) - of(2.0 - 1e-5, 3.0)) / 2e-5, rtol=1e-6)


def test_names_of_values_that_are_no_numbers():
    values = {"kind": "gaussian", "window": (1.0, 0.5)}
    found = evaluate("DeepHebbian(hetero=window, patterns=kind)", ENSEMBLES, couplings.Ensemble, "x", values)
    assert found.patterns == "gaussian" and found.hetero.shape == (2,)


def test_names_in():
    assert names_in("a * IID(b) + RandomModes.flat(c, load=load)") == {"a", "b", "c", "load"}
    assert names_in("IID(") == set()


SAMPLED = dict(n=10, key=KEY)


@pytest.mark.parametrize(
    "text", ["g * DeepHebbian(0.3)", "DeepHebbian(0.3, hetero=(g,))", "g * (0.5 * DeepHebbian(3 / 10))"]
)
def test_what_the_text_says_is_known_under_jit(text):
    """A load of the text needs no bound on the number of modes."""
    found = jax.eval_shape(jax.jit(lambda g: computations.eigenvalues(text, g=g, **SAMPLED)), 0.5)
    assert found["eigenvalues"].shape == (10,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: computations.mean_field("IID(g)"), "unknown name `g`"),
        (lambda: computations.mean_field("IID(g)", h=1.0, g=1.0), "`h` must be an argument or a name in `ensemble`"),
        (lambda: computations.mean_field("IID()", g=1.0), "which has no names"),
        (lambda: computations.mean_field(couplings.IID()), "`ensemble` must be text"),
        (lambda: computations.mean_field("IID()", "Tanh"), "`transfer`: unknown name `Tanh`"),
        (lambda: computations.mean_field("IID(1 / 0)"), "`1 / 0` is refused"),
        (lambda: computations.mean_field("IID() / IID()"), "not part of the notation"),
        (lambda: computations.mean_field("1 / IID()"), "not part of the notation"),
        (lambda: computations.mean_field("IID(g.real)", g=1.0), "not part of the notation"),
        (lambda: computations.mean_field("IID(g ** 9)", g=1.0), "not part of the notation"),
        (lambda: computations.mean_field("IID(__import__('os').getpid())"), "unknown name"),
        (lambda: computations.mean_field("IID(" + "1+" * 5000 + "1)"), "must be an expression"),
        (lambda: jax.eval_shape(lambda g: computations.eigenvalues("g * IID(-1)", g=g, **SAMPLED), 1.0), "`g`"),
        (lambda: computations.spectrum("IID()", "Tanh()", **SAMPLED), "`transfer` and `variance`"),
        (lambda: computations.eigenvalues("IID()", variance=1.0, **SAMPLED), "`transfer` and `variance`"),
        (lambda: computations.memory("IID()", **SAMPLED), "`ensemble` must be a `DeepHebbian`"),
        (lambda: computations.regime("IID()", **SAMPLED), "`ensemble` must be a `DeepHebbian`"),
        (
            lambda: jax.eval_shape(lambda g: computations.eigenvalues("DeepHebbian(g)", g=g, **SAMPLED), 0.5),
            "give `max_modes`",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
