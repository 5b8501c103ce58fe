"""Fits of connectomes: soft counts against exact laws and samples, recovery, error bars, and the larva."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import larva_connectome
from jaxnets.fitting import (
    ConstantOverlap,
    Exponential,
    Flat,
    GaussianModes,
    Independent,
    OrthogonalModes,
    PowerLaw,
    StretchedExponential,
    apart,
    fit_connectome,
    held_out,
    predict,
)
from jaxnets.meanfield import chaos_onset
from jaxnets.population import dressed, four_point_sum
from jaxnets.spectra import law, outliers
from jaxnets.transfer import Tanh

KEY = jax.random.key(0)
SCALES = np.geomspace(0.03, 10, 9)


def _ranks(modes, n):
    return jnp.asarray((np.arange(modes) + 0.5) / n)


# --- families


@pytest.mark.parametrize("make", [GaussianModes, OrthogonalModes])
def test_the_g_of_a_family_is_that_of_its_ensemble(make):
    a = _ranks(30, 50)
    for shape in (Flat(), Exponential(0.2), StretchedExponential(0.2, 0.7), PowerLaw(0.3)):
        ensemble = make(shape, g=2.5).ensemble(a, 30 / 50)
        np.testing.assert_allclose(ensemble.variance(), 2.5**2, rtol=1e-12)
        np.testing.assert_allclose(ensemble.rank_fraction(), 30 / 50, rtol=1e-12)


# --- fits

N = 80
TRUTH = GaussianModes(Exponential(0.25), ConstantOverlap(0.4), g=1.5)
CANDIDATES = (OrthogonalModes(Exponential()), GaussianModes(Exponential(), ConstantOverlap()))


def _sampled(family, n, key):
    return family.ensemble(_ranks(n, n), 1.0).sample(n, key=key).dense()


@pytest.fixture(scope="module")
def sampled():
    return _sampled(TRUTH, N, jax.random.key(3))


@pytest.fixture(scope="module")
def fitted(sampled):
    return fit_connectome(sampled, CANDIDATES, key=KEY)


def _assert_recovered(fit, truth, sigmas=4.0):
    for value, error, expected in zip(*map(jax.tree.leaves, (fit.family, fit.error, truth)), strict=True):
        assert abs(value - expected) < sigmas * error, (value, error, expected)


@pytest.mark.slow
def test_the_generating_family_is_found_with_its_parameters(fitted):
    best = fitted.best
    assert best.converged and best.family.label() == TRUTH.label() and not best.unidentified
    _assert_recovered(best, TRUTH)
    # Errors that say something.
    assert best.error.g < 0.1 and best.error.law.decay < 0.05 and best.error.overlap.value < 0.1
    assert fitted.fits[1].aic - best.aic > 10
    assert best.misfit < 0.5 < 1 < fitted.fits[1].misfit


def test_the_table_lists_families_by_their_aic(fitted):
    lines = fitted.table().splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["GaussianModes", "OrthogonalModes"]
    assert "ConstantOverlap" in lines[0] and "law.decay = 0.2" in lines[0]


def test_predictions_carry_the_errors_of_the_parameters(fitted):
    gain = predict(fitted.best, lambda ensemble: jnp.sqrt(ensemble.variance()))
    np.testing.assert_allclose(gain.value, fitted.best.family.g, rtol=1e-12)
    np.testing.assert_allclose(gain.error, np.std(np.asarray(fitted.best.replicates.g), ddof=1), rtol=1e-9)
    # The replicates are drawn with the covariance of the fit: 128 of them give a standard deviation to 6%.
    for spread, error in zip(*map(jax.tree.leaves, (fitted.best.replicates, fitted.best.error)), strict=True):
        np.testing.assert_allclose(np.std(np.asarray(spread), ddof=1), error, rtol=0.3)


def test_a_second_sample_is_predicted_best_by_the_generating_family(fitted, sampled):
    other = _sampled(TRUTH, N, jax.random.key(4))
    held = held_out(fitted, other)
    assert held.advantage.value[0] == 0
    assert held.advantage.value[1] > 3 * held.advantage.error[1]
    assert held.overlap_distance.value[0] < 1.5 < held.overlap_distance.value[1]
    scaled = held_out(fitted, 3 * other, free_g=True)
    np.testing.assert_allclose(
        held_out(fitted, other, free_g=True).log_likelihood.value, scaled.log_likelihood.value, rtol=1e-9
    )
    itself = held_out(fitted, sampled)
    np.testing.assert_allclose(itself.log_likelihood.value[0], fitted.best.log_likelihood, rtol=1e-9)
    assert "GaussianModes" in held.table()


def test_two_samples_are_as_far_apart_as_two_samples(fitted, sampled):
    other = _sampled(TRUTH, N, jax.random.key(4))
    distance = apart(fitted.best, sampled, other)
    np.testing.assert_allclose(np.sqrt(np.mean(distance.replicates**2)), 1, atol=0.3)
    assert distance.value < 1 + 4 * distance.error
    assert apart(fitted.best, sampled, sampled).value == 0
    # Independent weights of the same gain are another circuit.
    assert apart(fitted.best, sampled, _sampled(Independent(1.5), N, KEY)).value > 5


@pytest.mark.slow
def test_a_leading_mode_is_set_apart(capsys):
    rng = np.random.default_rng(1)
    u = 1 + 0.3 * rng.standard_normal(60)
    w = rng.standard_normal((60, 60)) / np.sqrt(60) + 12 * np.outer(u, u) / (u @ u)
    fit = fit_connectome(w, [Independent()], key=KEY, num_leading=1, progress=False).best
    assert capsys.readouterr().err == ""  # a fit takes seconds, after which the bar would be there
    s, o = fit.measured.leading[0]
    np.testing.assert_allclose([s, o], [12, 1], atol=0.2)
    np.testing.assert_allclose(fit.family.g, 1, atol=4 * float(fit.error.g))
    assert fit.misfit < 1
    whole = fit.ensemble()
    np.testing.assert_allclose(whole.variance(), fit.family.g**2, rtol=1e-12)
    top = np.linalg.svd(whole.sample(60, key=KEY).dense(), compute_uv=False)[0]
    np.testing.assert_allclose(top, 12, atol=4)  # |u| |v| / n scatters by sqrt(2 / n)
    assert fit.replicate(0).terms[1].overlaps.shape == (1, 1)
    # The bulk of independent weights has its right edge at the gain.
    edge = predict(fit, lambda ensemble: law(ensemble).right_edge(), num_replicates=3)
    np.testing.assert_allclose(edge.replicates, fit.replicates.g[:3], rtol=1e-9)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda w: fit_connectome(w[:3], key=KEY), "`matrix` must be a square matrix"),
        (lambda w: fit_connectome(w * np.nan, key=KEY), "`matrix` must be finite"),
        (lambda w: fit_connectome(w[:12, :12], key=KEY), "`matrix` must have at least 16 modes"),
        (lambda w: fit_connectome(w, key=KEY, num_leading=30), "`matrix` must have at least 16 modes beyond the 30"),
        (lambda w: fit_connectome(w, [], key=KEY), "`families` must have a family"),
        (lambda w: fit_connectome(w, [Exponential()], key=KEY), "`families` must be"),
        (lambda w: fit_connectome(w, key=KEY, num_leading=-1), "`num_leading` must be a whole number >= 0"),
        (lambda w: fit_connectome(w, key=KEY, num_scales=2), "`num_scales` must be a whole number >= 3"),
        (lambda w: fit_connectome(w, key=KEY, num_replicates=31), "`num_replicates` must be a whole number >= 32"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build(np.random.default_rng(0).standard_normal((40, 40)))


def test_bad_arguments_of_what_follows_a_fit(fitted):
    with pytest.raises(ValueError, match="`num_replicates` must be at most the number of replicates, 128"):
        predict(fitted.best, lambda ensemble: ensemble.variance(), num_replicates=129)
    with pytest.raises(ValueError, match="`matrix` must have modes beyond the 0 leading ones"):
        held_out(fitted, np.zeros((5, 5)))


# --- slow: many fits


@pytest.mark.slow
def test_each_of_three_families_is_found_in_its_sample():
    truths = (GaussianModes(PowerLaw(0.3)), GaussianModes(Flat(), ConstantOverlap(-0.5)), Independent())
    for i, truth in enumerate(truths):
        fit = fit_connectome(_sampled(truth, N, jax.random.key(i)), truths, key=KEY)
        assert fit.best.family.label() == truth.label(), fit.table()
        _assert_recovered(fit.best, truth)


@pytest.mark.slow
def test_error_bars_cover_the_truth_and_shrink_with_the_network():
    """1 sigma covers 68%: of 3 x 40 deviations, correlated within a fit, between 55% and 81% at three sigmas."""
    mean_errors = []
    for n, num in ((60, 40), (180, 12)):
        keys = jax.random.split(jax.random.key(n), num)
        fits = [fit_connectome(_sampled(TRUTH, n, k), CANDIDATES[1:], key=k).best for k in keys]
        deviations = np.array([jax.tree.leaves(jax.tree.map(lambda a, b: a - b, f.family, TRUTH)) for f in fits])
        errors = np.array([jax.tree.leaves(f.error) for f in fits])
        inside = np.mean(np.abs(deviations) < errors)
        print(n, "covered", inside, "rms in errors", np.sqrt(np.mean((deviations / errors) ** 2, axis=0)))
        assert 0.5 < inside < 0.85
        mean_errors.append(np.median(errors, axis=0))
    # Counts scatter by order one and the parameters move them by order N: errors fall like 1 / N.
    np.testing.assert_allclose(mean_errors[0] / mean_errors[1], 3, rtol=0.35)


@pytest.mark.slow
@pytest.mark.parametrize("side, other", [("left", "right"), ("right", "left")])
def test_one_side_of_the_larva_predicts_the_other(side, other):
    """Better than independent weights and modes without overlaps, in shape; the gains of the sides differ by 5%."""
    families = (
        GaussianModes(StretchedExponential(), ConstantOverlap()),
        GaussianModes(StretchedExponential()),
        Independent(),
    )
    measured, held = larva_connectome(side), larva_connectome(other)
    fit = fit_connectome(measured, families, key=KEY, num_leading=1)
    assert [one.family.label() for one in fit.fits] == [family.label() for family in families]
    assert all(one.converged for one in fit.fits)

    shape = held_out(fit, held, free_g=True)
    print("\n".join([side, fit.table(), shape.table(), held_out(fit, held).table()]))
    assert np.all(shape.advantage.value[1:] > 2 * shape.advantage.error[1:])
    counts, overlaps = shape.count_distance, shape.overlap_distance
    assert counts.value[0] + 10 * counts.error[0] < counts.value[2]
    assert overlaps.value[0] + 4 * overlaps.error[0] < overlaps.value[1]
    # The gains as measured too: by their distance, if not by the likelihood, which expects no change of gain.
    raw = held_out(fit, held)
    assert raw.count_distance.value[0] < raw.count_distance.value[2] / 5

    # Two sides differ by more than two samples, most of it in the gain.
    in_shape, as_measured = apart(fit.best, measured, held, free_g=True), apart(fit.best, measured, held)
    print("apart", in_shape.value, as_measured.value, "samples", in_shape.error)
    assert 1 + 2 * in_shape.error < in_shape.value < as_measured.value

    edge = predict(fit.best, lambda e: law(e.terms[0]).right_edge(), num_replicates=12)
    onset = predict(fit.best, lambda e: chaos_onset(e.terms[0], Tanh()).value, num_replicates=12)
    np.testing.assert_allclose(onset.replicates * edge.replicates, np.ones(12), rtol=1e-4)
    outlier = predict(fit.best, lambda e: outliers(e).values.real[0])
    activity = predict(fit.best, _static_dimension, num_replicates=12)
    largest = np.max(np.linalg.eigvals(measured).real)
    print("edge", edge.value, edge.error, "outlier", outlier.value, outlier.error, "of", largest)
    print("dimension", activity.value, activity.error)
    # The measured outlier has a feedback through the other modes that independent parts do not have.
    assert 0.5 < outlier.value / largest < 1 and 0 < outlier.error < 0.4 * outlier.value
    assert 0 < activity.value < 1 and 0 < activity.error < 0.3 * activity.value


def _static_dimension(ensemble):
    """PR / N of slow activity in a linear network with the bulk alone, at 80% of the gain of its instability."""
    bulk = ensemble.terms[0]
    S = dressed(bulk, 0.8 * chaos_onset(bulk, Tanh()).value).value
    return 1 / four_point_sum(bulk, S, S)
