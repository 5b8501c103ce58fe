"""What commands make of results: which number goes where, with results that are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxnets._progress import stage
from jaxnets.cli import fit, meanfield, memory, multistable, simulate, spectrum, sweep
from jaxnets.cli.refusals import InputError


def _circle(radius, points=64):
    return radius * np.exp(2j * np.pi * np.arange(points) / points)


def test_a_stage_keeps_its_form_under_another_name():
    with stage("one") as line:
        before = str(line)
        line.set_description_str("two")
        assert (before, str(line)) == ("one: 00:00", "two: 00:00")


# --- spectrum ---------------------------------------------------------------------------------------------------


def test_curves_within_curves_are_voids():
    """A disc with a void in which lies another disc; what lies outside or in the void by a margin is counted."""
    law = SimpleNamespace(
        boundary=lambda: [_circle(2.0), _circle(0.2), _circle(1.0)],
        right_edge=lambda: 2.0,
        left_edge=lambda: -2.0,
        zero_mass=lambda: 0.1,
    )
    found = spectrum._Prediction.of("theory", law)
    assert found.voids == [False, False, True]
    assert found.numbers() == {"right_edge": 2.0, "left_edge": -2.0, "zero_mass": 0.1}
    values = np.array([3.0, 2.0 + 1e-3, 1.5j, 0.6, -0.5j, 0.1, -0.05, 1.2, 0.7 + 0.1j, 1.9])
    assert found.misses(values) == (0.1, 0.3)
    assert found.misses(values[:0]) == (0.0, 0.0)


def test_the_window_holds_values_and_curves():
    values = np.array([[-3.0, 1 + 2j], [1 - 2j, 0.5]])
    window = spectrum._Window.around(values, [_circle(1.0)])
    pad = 0.06 * 4
    np.testing.assert_allclose(
        [window.re[0], window.re[-1], window.im[0], window.im[-1]], [-3 - pad, 1 + pad, -2 - pad, 2 + pad]
    )
    assert window.holds(values) and window.holds(values.conj())
    for beyond in (-3.3, 1.3, 2.3j, -2.3j):
        assert not window.holds(np.append(values, beyond))


def test_density_in_the_window():
    """On all of the grid, of which the lower half is a mirror; on the line where the spectrum is real."""
    window = spectrum._Window.around(np.array([[-1.0, 1 + 2j]]), [])
    plane = SimpleNamespace(is_symmetric=lambda: False, density=lambda z: np.real(z) + 10 * np.abs(np.imag(z)))
    z = window.re + 1j * window.im[:, None]
    np.testing.assert_allclose(window.density(plane), plane.density(z))
    line = SimpleNamespace(is_symmetric=lambda: True, density=lambda x: 2 * x)
    np.testing.assert_array_equal(window.density(line), 2 * window.line())


def test_numbers_of_a_measured_matrix():
    """Overlaps of modes of singular value 0 do not count; chance has mean 0 and variance 1 / n."""
    weights = np.zeros((9, 9))
    weights[:3, :6] = np.arange(18).reshape(3, 6)
    overlaps = np.array([0.4, 0.2, -0.1, 0.3, 0.9])
    haar = SimpleNamespace(
        overlaps=overlaps, values=np.array([3.0, 2, 1, 1, 0]), variance=lambda: 4.0, effective_rank=lambda: 0.5
    )
    found = spectrum._statistics(weights, haar)
    counted = overlaps[:4]
    assert found["rank"] == 4 and found["g"] == 2 and found["effective_rank"] == 0.5
    expected = {
        "nonzero_fraction": 17 / 81,
        "g_without_mean": 3 * weights.std(),
        "overlap_mean": counted.mean(),
        "overlap_mean_z": counted.mean() / (1 / 3 / np.sqrt(4)),
        "overlap_sd": counted.std(),
        "overlap_sd_z": (counted.std() - 1 / 3) / (1 / 3 / np.sqrt(2 * 4)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


# --- the others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [2, 40])
def test_principal_variances_fall(times):
    """More samples than units, and fewer."""
    z = np.random.default_rng(0).standard_normal((times, 2, 6)) * np.arange(1, 7)
    found = simulate._principal_variances(z)
    exact = np.linalg.eigvalsh(np.cov(z.reshape(-1, 6).T, bias=True))[::-1]
    np.testing.assert_allclose(found, np.maximum(exact, 0)[: len(found)], atol=1e-12)
    assert len(found) == min(2 * times, 6)


def test_attractors_are_sorted_with_all_that_belongs_to_them():
    """Two units, each of which holds itself; then a cycle, and a point that is no pattern."""
    J = np.array([[1.0, -2.0], [-2.0, 3.0]])
    graph = SimpleNamespace(
        activities=np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.3]]),
        periods=np.array([0, 0, 1.5, 0]),
        num_stable=2,
        shares=np.array([0.2, 0.5, 0.25, 0.05]),
        error=np.array([0.02, 0.05, 0.025, 0.005]),
        edges=np.array([[1, 7, 3, 4], [5, 2, 6, 8]]),
    )
    found = multistable._Found.of(J, 0.0, np.array([[True, False]]), None, graph, None)
    assert found.kinds == ["stable", "stored", "cycle", "other"]
    np.testing.assert_array_equal(found.activities, graph.activities[[1, 0, 2, 3]])
    np.testing.assert_allclose(found.margins, [2, 1, np.nan, np.nan])  # of (2 s - 1) J s: the least, of both units
    np.testing.assert_array_equal(found.shares, [0.5, 0.2, 0.25, 0.05])
    np.testing.assert_array_equal(found.errors, [0.05, 0.02, 0.025, 0.005])
    np.testing.assert_array_equal(found.periods, graph.periods)
    np.testing.assert_array_equal(found.edges, [[2, 5, 6, 8], [7, 1, 3, 4], [0] * 4, [0] * 4])


def test_overlaps_after_conversion_are_means_of_both_sides(monkeypatch):
    far = memory.REACH
    exact, sampled, asked = np.arange(2 * far + 1.0), np.arange(2 * far + 1.0) ** 2, []
    monkeypatch.setattr(memory.memories, "binary", lambda n, num, **_: np.zeros((num, n)))
    monkeypatch.setattr(memory.memories, "hebbian", lambda patterns, auto, window, **_: asked.append(window))
    monkeypatch.setattr(memory.memories, "glauber", lambda *_, **__: SimpleNamespace(overlaps=[sampled * 0, sampled]))

    def overlaps(core, pure):
        asked.append(core)
        return SimpleNamespace(value=exact)

    monkeypatch.setattr(memory.memories, "zero_load_overlaps", overlaps)
    options = SimpleNamespace(lengths=(2,), conversion=0.7, num_spins=10)
    found = memory._converted(options, memory.jax.random.key(0))
    core, window = asked
    np.testing.assert_allclose(window, [0.35, 0.35])
    np.testing.assert_allclose(core[0, :5], [1, 0.35, 0.35, 0, 0])
    np.testing.assert_array_equal(core, core.T)
    np.testing.assert_array_equal(found.conversion_exact[0], exact[far:])
    steps = np.arange(far + 1)
    np.testing.assert_array_equal(found.conversion_sampled[0], far**2 + steps**2)


def test_what_is_fitted(tmp_path, monkeypatch):
    """The rates of the file, and the options; what is refused speaks of the file."""
    asked = {}

    def refused(rates, interval, **options):
        asked.update(options, rates=rates, interval=interval)
        raise ValueError("`rates` must be other rates")

    monkeypatch.setattr(fit, "fit_recording", refused)
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    source = fit.Source(tmp_path / "a.npy", ("1",), False, None)
    with pytest.raises(InputError, match=r"a\.npy must be other rates"):
        fit.run(source, 0.25, 90, True, "Erf()", 0, tmp_path)
    np.testing.assert_array_equal(asked["rates"], [[1], [3], [5]])
    assert (asked["interval"], asked["population_size"], asked["z_scored"]) == (0.25, 90, True)
    assert type(asked["transfer"]).__name__ == "Erf"


def test_numbers_of_the_mean_field():
    """Of two strengths, three lags and two ranks; the first strength is at rest."""
    numbers = {name: np.array([0.1, 0.2]) + k for k, name in enumerate(("beta", "decay_rate", "residual"))}
    flags = np.array([True, False])
    c = np.array([[0.0, 0, 0], [3.0, 2, 1]])
    states = SimpleNamespace(**numbers, lags=np.arange(6).reshape(2, 3), c_x=c, c_phi=c / 2, converged=flags)
    exponents = SimpleNamespace(value=np.array([-0.5, 0.25]), converged=flags[::-1])
    dimensions = [
        SimpleNamespace(
            phi=np.array([np.nan, 0.1 * k]), x=np.array([np.nan, 0.2 * k]), converged=flags, residual=c[:, 0]
        )
        for k in (1, 2)
    ]
    data = meanfield._dataset(np.array([0.5, 2.0]), np.array([np.inf, 0.5]), states, exponents, dimensions)
    at = data.sel(g=2.0)
    assert (at.variance_x, at.variance_phi, at.beta, at.decay_rate, at.state_residual) == (3, 1.5, 0.2, 1.2, 2.2)
    assert at.lyapunov == 0.25 and at.lyapunov_converged and not at.state_converged
    np.testing.assert_array_equal(at.autocovariance_x, [3, 2, 1])
    np.testing.assert_array_equal(at.autocovariance_phi, [1.5, 1, 0.5])
    np.testing.assert_array_equal(at.lags, [3, 4, 5])
    np.testing.assert_allclose(at.dimension_phi, [0.1, 0.2])
    np.testing.assert_allclose(at.dimension_x, [0.2, 0.4])
    np.testing.assert_allclose(data.dimension_phi.sel(effective_rank=0.5), [np.nan, 0.2])
    lines = [line.split() for line in meanfield._tables(data, "title").splitlines()]
    assert ["2", "3.00000", "1.50000", "0.20000", "1.20000", "0.25000", "no?"] in lines
    assert ["0.5", "0.00000", "0.00000", "0.10000", "1.10000", "-0.50000?", "yes"] in lines
    assert ["g", "=", "2", "0.1000", "(0.2000)?", "0.2000", "(0.4000)?"] in lines
    assert ["g", "=", "0.5", "rest", "rest"] in lines


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (2e5, "2.3 days"),
        (2e7, "231 days"),
    ],
)
def test_durations(seconds, said):
    assert sweep._duration(seconds) == f"about {said}"


@pytest.mark.parametrize(("count", "said"), [(999, "999 bytes"), (1000, "1 kB"), (2.5e6, "2.5 MB"), (3e13, "30 TB")])
def test_sizes(count, said):
    assert sweep._bytes(count) == said
