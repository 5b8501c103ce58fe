"""The distribution of Lyapunov exponents: exact laws of constant gains, tables of networks, symmetries, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes, SingularModes
from jaxnets.meanfield import largest_lyapunov, stationary
from jaxnets.population import LyapunovDistribution, lyapunov_distribution
from jaxnets.transfer import Tanh

PHI, KEY = Tanh(), jax.random.key(0)
FEW = {"num_paths": 64, "points": 40, "period": 16.0}


def _share_of_disc(a, g):
    """The share of a uniform disc of radius g with real part below a."""
    x = np.clip(np.asarray(a) / g, -1, 1)
    return 0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi


def test_independent_weights_at_rest_and_in_chaos():
    """At rest the circular law; in chaos symmetric about -1, and the published shares."""
    rest = stationary(IID(0.6), PHI)
    thresholds = np.array([-1.6, -1.4, -0.6, -0.4, -0.2])
    found = lyapunov_distribution(rest, None, PHI, key=KEY, thresholds=thresholds, **FEW)
    assert found.converged and found.mirrored
    np.testing.assert_allclose(found.cdf, _share_of_disc(thresholds + 1, 0.6), atol=2e-3)
    np.testing.assert_allclose(found.edge, -0.4, atol=1e-9)

    chaos = stationary(IID(3.0), PHI)
    found = lyapunov_distribution(chaos, None, PHI, key=KEY, thresholds=[-1.6, -1.4, -0.6, -0.4, 0.0], **FEW)
    assert found.converged and found.residual <= 3e-6
    np.testing.assert_allclose(found.cdf[:2], 1 - found.cdf[3:1:-1], atol=1e-4)
    np.testing.assert_allclose(np.asarray(found.cdf)[[2, 4]], [0.8310, 0.9708], atol=3e-3)
    assert np.all(found.error < 2e-3) and np.all(found.error > 0)
    assert found.edge == largest_lyapunov(chaos).value


def test_edge_of_the_shift():
    """The exponent of the shift: of the table, and 0 modes of C' at the onset of chaos."""
    root = largest_lyapunov(stationary(DeepHebbian(1.0, 0.0, (2.0,)), PHI))
    assert root.converged
    np.testing.assert_allclose(root.value, 0.11367, atol=1e-5)
    assert abs(largest_lyapunov(stationary(DeepHebbian(1.0, 0.0, (0.6,)), PHI)).value - (0.6 * np.sqrt(2) - 1)) < 1e-9


def _of_disc(g, num=401):
    """The circular law as a distribution, with two groups of errors."""
    thresholds = np.linspace(-1, g - 1, num)[:-1]
    cdf = jnp.asarray(_share_of_disc(thresholds + 1, g))
    groups = jnp.stack([cdf - 1e-3, cdf + 1e-3, cdf, cdf])
    nothing = jnp.zeros_like(cdf)
    fields = (jnp.asarray(thresholds), cdf, nothing, jnp.asarray(g - 1.0), groups, jnp.asarray(0.0), jnp.asarray(True))
    return LyapunovDistribution(*fields, mirrored=True)


def test_what_a_distribution_says():
    """Dimension, entropy rate and quantiles of a known law, by sums over many exponents."""
    g = 1.3
    found = _of_disc(g)
    s = np.linspace(-1 - g, g - 1, 200001)
    r = 1 - _share_of_disc(s + 1, g)
    exponents = np.interp((np.arange(20000) + 0.5) / 20000, 1 - r, s)[::-1]
    np.testing.assert_allclose(found.entropy_rate(), jn.dynamics.entropy_rate(exponents) / 20000, rtol=1e-4)
    dimension = jn.dynamics.kaplan_yorke_dimension(exponents) / 20000
    np.testing.assert_allclose(found.kaplan_yorke(), dimension, rtol=2e-4)
    np.testing.assert_allclose(found.positive_fraction(), 1 - _share_of_disc(1.0, g), rtol=1e-4)
    p = np.array([0.02, 0.3, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(_share_of_disc(found.quantile(p) + 1, g), p, atol=1e-4)
    np.testing.assert_allclose(
        found.above(np.array([-2.0, -0.5, 0.5])), 1 - _share_of_disc([-1, 0.5, 1.5], g), atol=1e-5
    )
    np.testing.assert_allclose(found.standard_error(lambda d: d.above(-0.2)), 1e-3 * np.sqrt(2 / 3) / 2, rtol=0.05)
    with pytest.raises(ValueError, match="`p`"):
        found.quantile(1.5)
    several = jax.tree.map(lambda x: jnp.stack([x, x]), found)
    np.testing.assert_allclose(several.kaplan_yorke(), [found.kaplan_yorke()] * 2)
    assert {"thresholds", "group"} <= set(found.to_xarray().dims) and "edge" in str(found)


def test_laws_without_positive_exponents():
    found = _of_disc(0.7)
    assert found.kaplan_yorke() == found.entropy_rate() == found.positive_fraction() == 0


def test_refusals():
    state = stationary(IID(1.5), PHI)
    call = lambda **changed: lyapunov_distribution(
        **{"state": state, "ensemble": None, "transfer": PHI, "key": KEY, **changed}
    )
    with pytest.raises(ValueError, match="`thresholds`.*rising"):
        call(thresholds=[0.0, -0.5])
    with pytest.raises(ValueError, match="`num_paths`.*64"):
        call(num_paths=32)
    with pytest.raises(ValueError, match="`num_paths`.*multiple of 4"):
        call(num_paths=65)
    with pytest.raises(ValueError, match="`points`.*even"):
        call(points=33)
    with pytest.raises(ValueError, match="`period`"):
        call(period=0.0)
    with pytest.raises(ValueError, match="`transfer`"):
        call(transfer=jnp.tanh)
    with pytest.raises(ValueError, match="`ensemble`"):
        call(ensemble=2.0)
    gains = jn.Discrete(np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="`state`.*row gains"):
        call(state=stationary(IID(1.5), PHI, row_gains=gains))


# --- longer ones


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "exact"),
    [
        (Elliptic(0.6, 0.4), [0.2776, 0.5756, 0.7224, 0.8552, 0.9602]),
        (DeepHebbian(1.0, 0.0, (0.6,)), [0.1630, 0.6844, 0.8370, 0.9269, 0.9815]),
        (RandomModes.flat(0.8), [0.1823, 0.6501, 0.8177, 0.9231, 0.9864]),
        (IID(0.3) + DeepHebbian(1.0, 0.0, (0.5,)), None),
    ],
)
def test_constant_gains(ensemble, exact):
    """At rest, the share of eigenvalues of J with real part below 1 + s."""
    rest = stationary(ensemble, PHI, key=KEY)
    thresholds = np.array([-1.3, -0.9, -0.7, -0.5, -0.3])
    found = lyapunov_distribution(rest, None, PHI, key=KEY, thresholds=thresholds, num_paths=64)
    assert found.converged
    tolerance = 1e-3
    if exact is None:
        keys = jax.random.split(KEY, 3)
        sampled = np.stack([jn.spectra.eigenvalues(ensemble.sample(800, key=key)) for key in keys]).real
        exact, tolerance = [np.mean(sampled < 1 + s) for s in thresholds], 4e-3
    np.testing.assert_allclose(found.cdf, exact, atol=tolerance)
    np.testing.assert_allclose(found.edge, float(jn.spectra.law(ensemble).right_edge()) - 1, atol=1e-6)


@pytest.mark.slow
def test_singular_modes_are_right_or_not_converged():
    rest = stationary(SingularModes([0.6]), PHI)
    found = lyapunov_distribution(rest, None, PHI, key=KEY, thresholds=[-0.9, -0.7, -0.5], **FEW)
    exact = 0.5 + np.arcsin(np.array([0.1, 0.3, 0.5]) / 0.6) / np.pi  # an orthogonal matrix: uniform on the circle
    assert not found.converged or np.allclose(found.cdf, exact, atol=2e-3)


# D_KY / N and h_KS / N per tau: of the published repository, extrapolated; at g = 1.5 of an independent program with
# these regulators.
INDEPENDENT = {
    1.5: (0.0142, 1.52e-4, 64, 64.0, 128),
    3.0: (0.06163, 3.231e-3, 256, 32.0, 80),
    5.0: (0.08077, 7.335e-3, 256, 32.0, 80),
}


@pytest.mark.slow
@pytest.mark.parametrize("g", INDEPENDENT)
def test_published_dimension_and_entropy(g):
    dimension, entropy, num_paths, period, points = INDEPENDENT[g]
    settings = {"num_paths": num_paths, "period": period, "points": points}
    found = lyapunov_distribution(stationary(IID(g), PHI), None, PHI, key=KEY, **settings)
    assert found.converged
    np.testing.assert_allclose(found.kaplan_yorke(), dimension, rtol=0.01)
    np.testing.assert_allclose(found.entropy_rate(), entropy, rtol=0.012)


@pytest.mark.slow
def test_two_keys_agree():
    state = stationary(IID(3.0), PHI)
    both = [lyapunov_distribution(state, None, PHI, key=jax.random.key(k)).kaplan_yorke() for k in (0, 1)]
    np.testing.assert_allclose(both[0], both[1], rtol=3e-3)


# Networks of N = 1000 and 2000: D_KY / N and its standard error over one orbit, and h_KS / N.
NETWORKS = {
    "full rank": (IID(3.0), RandomModes.of_rank(3.0, 1.0), 0.04659, 2.384e-3, (0.0464, 0.0028), (2.25e-3, 0.26e-3)),
    "low rank": (IID(3.0), RandomModes.of_rank(3.0, 0.25), 0.02501, 1.290e-3, (0.0238, 0.0009), (1.16e-3, 0.08e-3)),
    "shift": (None, DeepHebbian(1.0, 0.0, (2.0,)), 0.01649, 4.18e-4, (0.0179, 0.0018), (4.4e-4, 0.9e-4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_other_ensembles(name):
    solved, ensemble, dimension, entropy, network, network_entropy = NETWORKS[name]
    state = stationary(solved or ensemble, PHI)
    found = lyapunov_distribution(state, ensemble, PHI, key=KEY)
    assert found.converged
    np.testing.assert_allclose(found.kaplan_yorke(), dimension, rtol=0.01)
    np.testing.assert_allclose(found.entropy_rate(), entropy, rtol=0.02)
    assert abs(found.kaplan_yorke() - network[0]) < 3 * network[1]
    assert abs(found.entropy_rate() - network_entropy[0]) < 3 * network_entropy[1]


@pytest.mark.slow
def test_a_network():
    """Exponents of one network of 500 units: quantiles next to -1 do not depend on its size."""
    ensemble = RandomModes.of_rank(3.0, 1.0)
    net = jn.dynamics.RateNetwork(ensemble.sample(300, key=KEY), PHI)
    spectrum = jn.dynamics.lyapunov_spectrum(
        net, np.ones(300), num_exponents=300, duration=90.0, discard=30.0, key=KEY, progress=False
    )
    state = stationary(IID(3.0), PHI)
    found = lyapunov_distribution(state, ensemble, PHI, key=KEY, num_paths=128, points=40, period=16.0)
    p = np.array([0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(np.quantile(spectrum.exponents, p), found.quantile(p), atol=0.03)


SMALLEST = {"num_paths": 64, "points": 16, "period": 8.0}


@jax.jit
def _shares(g, shift):
    thresholds = jnp.array([-0.2, 0.0]) + shift
    state = stationary(IID(g), PHI, num_lags=129)
    return lyapunov_distribution(state, None, PHI, key=KEY, thresholds=thresholds, **SMALLEST).cdf


@pytest.mark.slow
def test_maps_equal_loops():
    gs = jnp.array([2.8, 3.0])
    loop = jnp.stack([_shares(g, 0.0) for g in gs])
    np.testing.assert_allclose(jax.vmap(lambda g: _shares(g, 0.0))(gs), loop, atol=1e-6)


@pytest.mark.slow
def test_derivatives_by_strength_and_thresholds():
    """Of the state and of the couplings, in forward mode; by thresholds it is the density."""
    step = 1e-2
    for tangent in ((1.0, 0.0), (0.0, 1.0)):
        _, slope = jax.jvp(_shares, (3.0, 0.0), tangent)
        shifted = [_shares(3.0 + sign * step * tangent[0], sign * step * tangent[1]) for sign in (1, -1)]
        np.testing.assert_allclose(slope, (shifted[0] - shifted[1]) / (2 * step), rtol=5e-3)


@pytest.mark.slow
def test_reverse_mode_by_amplitudes():
    state = stationary(IID(3.0), PHI, num_lags=129)

    @jax.jit
    def share(amplitude):
        ensemble = RandomModes(jnp.stack([amplitude, 9 - amplitude]), load=0.5)
        return lyapunov_distribution(state, ensemble, PHI, key=KEY, thresholds=[-0.2, 0.0], **SMALLEST).cdf[0]

    slope = (share(2.01) - share(1.99)) / 0.02
    np.testing.assert_allclose(jax.jit(jax.grad(share))(2.0), slope, rtol=5e-3)
