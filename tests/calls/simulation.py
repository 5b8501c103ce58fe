"""What is simulated, diagonalised, observed and drawn."""

import numpy as np

import jaxnets as jn
from jaxnets.transfer import Tanh

from .problems import CIRCLE, KEY, PATTERNS, POINTS, QUIET, SERIES, STATES, VECTOR, Call, J, Made, net, of

CALLS = {
    # --- eigen
    "eigen.eigenvalues": of(jn.eigen.eigenvalues, J=J, gains=VECTOR),
    "eigen.host_eigenvalues": of(jn.eigen.host_eigenvalues, J=J, gains=VECTOR),
    "eigen.batched_eigenvalues": of(
        jn.eigen.batched_eigenvalues, heavy=True, J=J, guesses=np.array([0.5, 0.1 + 0.2j, 0.1 - 0.2j])
    ),
    "eigen.leading": of(jn.eigen.leading, J=J, num=1),
    # --- observables
    "observables.autocovariance": of(
        jn.observables.autocovariance, nan=("error",), x=SERIES, interval=0.5, max_lag=2.0
    ),
    "observables.unit_autocovariances": of(jn.observables.unit_autocovariances, x=SERIES, interval=0.5, max_lag=2.0),
    "observables.cross_covariance": of(jn.observables.cross_covariance, x=SERIES, y=SERIES, interval=0.5, max_lag=2.0),
    "observables.covariance": of(jn.observables.covariance, x=SERIES),
    "observables.correlation_time": of(jn.observables.correlation_time, nan=("",), x=SERIES, interval=0.5),
    "observables.participation_ratio": of(
        jn.observables.participation_ratio, x=SERIES, interval=0.5, correlation_time=0.5
    ),
    "observables.dimension_estimate": of(
        jn.observables.dimension_estimate, nan=("value", "error"), x=SERIES, interval=0.5, correlation_time=0.5
    ),
    "observables.rank_exponent": of(
        lambda eigenvalues: jn.observables.rank_exponent(eigenvalues, 1, 3),
        nan=("value", "residual"),
        eigenvalues=VECTOR,
    ),
    "observables.cross_validated_spectrum": of(jn.observables.cross_validated_spectrum, x1=SERIES, x2=SERIES[::-1]),
    "observables.principal_components": of(jn.observables.principal_components, x=SERIES),
    "observables.power_spectrum": of(jn.observables.power_spectrum, x=SERIES, interval=0.5, segment=5.0),
    "observables.dominant_frequencies": of(
        jn.observables.dominant_frequencies, nan=("frequencies", "power"), x=SERIES, interval=0.5, segment=5.0
    ),
    "observables.overlaps": of(jn.observables.overlaps, nan=("",), patterns=PATTERNS, rates=STATES),
    "observables.online.Overlaps": of(jn.observables.online.Overlaps, patterns=PATTERNS),
    "observables.online.Projections": of(jn.observables.online.Projections, directions=STATES.T),
    "observables.online.Units": of(jn.observables.online.Units, indices=np.array([0, 2])),
    # --- dynamics
    "dynamics.RateNetwork": of(
        jn.dynamics.RateNetwork, J=J, transfer=Tanh(), noise=0.5 * VECTOR, input=VECTOR, tau=VECTOR, row_gains=VECTOR
    ),
    "dynamics.RateNetwork.jacobian": Call(lambda x: net().jacobian(x).dense(), lambda: {"x": STATES}),
    "dynamics.jacobian_eigenvalues": of(jn.dynamics.jacobian_eigenvalues, net=Made(net), states=STATES, **QUIET),
    "dynamics.find_fixed_point": of(jn.dynamics.find_fixed_point, net=Made(net), x0=VECTOR),
    "dynamics.fixed_points": of(jn.dynamics.fixed_points, net=Made(net), x0s=STATES, **QUIET),
    "dynamics.simulate": of(jn.dynamics.simulate, net=Made(net), x0=STATES, duration=0.5, **QUIET),
    "dynamics.lyapunov_spectrum": of(
        jn.dynamics.lyapunov_spectrum,
        net=Made(net),
        x0=VECTOR,
        num_exponents=1,
        duration=4.0,
        discard=0.5,
        key=KEY,
        **QUIET,
    ),
    "dynamics.entropy_rate": of(jn.dynamics.entropy_rate, nan=("",), exponents=VECTOR),
    "dynamics.kaplan_yorke_dimension": of(
        jn.dynamics.kaplan_yorke_dimension, nan=("",), exponents=np.array([0.5, 0.0, -1.0])
    ),
    "dynamics.step": of(jn.dynamics.step, net=Made(net), scheme=jn.dynamics.heun, t=0.0, x=VECTOR, dt=0.05, key=None),
    "dynamics.PlaneWave": of(jn.dynamics.PlaneWave, sites=3, amplitude=0.1, mode=1, frequency=0.2),
    "dynamics.forced_wave": of(jn.dynamics.forced_wave, amplitude=0.1, detuning=0.2),
    "dynamics.propagation_length": of(jn.dynamics.propagation_length, modulus=0.2, group_velocity=VECTOR),
    "dynamics.wave_relaxation": of(jn.dynamics.wave_relaxation, modulus=0.2, alpha=0.1, beta=VECTOR),
    "dynamics.saturate": of(jn.dynamics.saturate, nan=("",), z=VECTOR + 1j),
    "dynamics.simulate_waves": of(
        jn.dynamics.simulate_waves,
        coupling=jn.couplings.Convolution(VECTOR),
        start=VECTOR + 1j,
        forcing=0.1 * VECTOR,
        num_steps=2,
    ),
    "dynamics.step_log_density": Call(
        lambda t, x, x_next, dt: jn.dynamics.step_log_density(
            jn.dynamics.RateNetwork(J, Tanh(), noise=0.5), jn.dynamics.heun, t, x, x_next, dt
        ),
        lambda: {"t": 0.0, "x": VECTOR, "x_next": VECTOR + 0.01, "dt": 0.05},
        heavy=True,
        nan=("",),
    ),
    # --- transfer
    "transfer.Logistic": of(jn.transfer.Logistic, steepness=2.0),
    "transfer.PiecewiseLinear": of(
        jn.transfer.PiecewiseLinear,
        breaks=np.array([0.0, 1.0]),
        slopes=np.array([0.0, 1.0, 0.0]),
        intercepts=np.array([0.0, 0.0, 1.0]),
    ),
    # --- plotting
    **{
        f"plotting.{name}": of(getattr(jn.plotting, name), **arguments)
        for name, arguments in {
            "eigenvalues": {"values": POINTS},
            "density": {"x": VECTOR.cumsum(), "y": VECTOR[:2].cumsum(), "values": STATES**2},
            "marks": {"values": POINTS},
            "histogram": {"values": VECTOR, "num_bins": 5},
            "line": {"x": VECTOR, "values": VECTOR},
            "raster": {"times": np.arange(2.0), "values": STATES},
            "phases": {
                "x": VECTOR.cumsum(),
                "y": np.arange(2.0),
                "values": np.array([[0, 1, 1], [1, 0, -1]]),
                "names": ["a", "b"],
            },
            "autocovariance": {"lags": np.arange(3.0), "values": VECTOR, "error": 0.1 * VECTOR},
            "components": {"explained": VECTOR},
            "dimension": {"x": VECTOR, "values": VECTOR},
            "profile": {"x": VECTOR, "values": VECTOR},
            "estimates": {"x": VECTOR, "values": VECTOR, "error": 0.1 * VECTOR},
            "samples": {"x": VECTOR, "values": VECTOR, "error": 0.1 * VECTOR},
            "heat_map": {"x": VECTOR.cumsum(), "y": np.arange(2.0), "values": STATES},
            "corner": {"values": STATES, "names": ["a", "b", "c"], "truth": VECTOR},
            "patterns": {"values": PATTERNS, "names": ["a", "b"]},
            "graph": {"sizes": VECTOR, "edges": np.abs(J), "names": ["a", "b", "c"], "colors": ["r", "g", "b"]},
        }.items()
    },
    "plotting.boundary": Call(lambda curves: jn.plotting.boundary([curves]), lambda: {"curves": CIRCLE}),
}
