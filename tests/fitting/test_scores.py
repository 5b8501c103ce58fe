"""Null models: those that keep what matters predict a matrix and its twin, those that do not are told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, CellTypes
from jaxnets.fitting import null_models, of_spectrum, score_models

N = 60
TYPES = CellTypes((0.5, 0.5), [[0.3, 2.0], [1.0, 0.3]])
OF = TYPES.labels(N)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def scores():
    matrices = {name: TYPES.sample(N, key=jax.random.key(k)).dense() for k, name in enumerate(("one", "other"))}
    models = {name: model for name, model in null_models(matrices["one"], OF).items() if name in ("i.i.d.", "types")}
    return score_models(models, matrices, key=KEY, num_samples=24, num_scales=3, progress=False)


def test_null_models_are_named_and_keep_more_and_more():
    J = TYPES.sample(N, key=KEY).dense()
    models = null_models(J, OF)
    assert list(models) == ["i.i.d.", "types", "types, degrees", "types, modes", "types, modes, overlaps"]
    for model in models.values():
        assert abs(float(model.variance()) / float(N * jnp.var(J)) - 1) < 0.1


@pytest.mark.slow
def test_blocks_of_strong_and_weak_weights_need_types(scores):
    """The singular values of the two types are apart, which independent weights of one variance are not."""
    likelihood, error = np.asarray(scores.log_likelihood), np.asarray(scores.log_likelihood_error)
    assert np.all(likelihood[:, 1] - likelihood[:, 0] > 2 * error[:, 1])
    assert scores.misfit[0] > scores.misfit[1]


def test_predictions_of_the_right_model_agree_with_the_matrices(scores):
    z = (scores.measured[:, None] - scores.predicted) / scores.scatter
    assert np.all(np.abs(z[:, 1]) < 3.5)
    size = scores.observables.index("rms |z|")
    assert np.all(z[:, 0, size] < -4) and scores.predicted.shape == (2, 2, 3)  # feedback within types is weak
    np.testing.assert_allclose(scores.error[0, 1], scores.predicted[0, 1] / scores.measured[0] - 1)


def test_the_table_has_a_line_for_each_model_and_matrix(scores):
    lines = str(scores).splitlines()
    assert lines[0] == "one" and "right edge" in lines[1] and len(lines) == 11
    assert lines[2].startswith("i.i.d.") and "+0.0 ±" in lines[2] and lines[4].startswith("measured")


def test_of_spectrum_against_eigenvalues():
    J = np.random.default_rng(0).standard_normal((9, 9))
    z, found = np.linalg.eigvals(J), of_spectrum(jnp.asarray(J))
    expected = z.real.max(), z.real.min(), np.sqrt(np.mean(np.abs(z) ** 2))
    np.testing.assert_allclose([found[name] for name in ("right edge", "left edge", "rms |z|")], expected)


def test_a_matrix_of_another_size_is_compared_with_samples_of_its_size():
    J, larger = (IID().sample(n, key=KEY).dense() for n in (30, 60))
    trace = lambda J: {"size": float(len(J))}
    found = score_models({"i.i.d.": IID()}, {"a": J, "b": larger}, trace, key=KEY, num_samples=12, num_scales=3)
    np.testing.assert_array_equal(found.predicted[:, 0, 0], [30, 60])
    assert found.scatter.max() == 0


@pytest.mark.parametrize("q", [1e-30, 1e30])
def test_the_unit_of_weights(q, scores):
    J = TYPES.sample(N, key=jax.random.key(0)).dense()
    for name, model in null_models(q * J, OF).items():
        np.testing.assert_allclose(model.variance(), q**2 * null_models(J, OF)[name].variance(), rtol=1e-6)
    one = {"i.i.d.": q * IID(scores.predicted[0, 0, 2])}
    found = score_models(one, {"one": q * J}, key=KEY, num_samples=12, num_scales=3, progress=False)
    same = score_models({"i.i.d.": one["i.i.d."] * (1 / q)}, {"one": J}, key=KEY, num_samples=12, num_scales=3)
    np.testing.assert_allclose(found.predicted, q * same.predicted, rtol=1e-6)
    np.testing.assert_allclose(found.log_likelihood, same.log_likelihood, atol=1e-6)


def test_bad_input():
    J = IID().sample(30, key=KEY).dense()
    for arguments, message in (
        (({}, {"a": J}), "one entry at least"),
        (({"a": J}, {"a": J}), "ensembles of"),
        (({"a": IID()}, {"a": np.ones((2, 3))}), "square"),
        (({"a": IID()}, {"a": 0 * J}), "`matrices` must have at least 6 modes"),
        (({"a": IID()}, {"a": J}, None, 8), "`num_samples`"),
    ):
        with pytest.raises(ValueError, match=message):
            score_models(*arguments[:3], key=KEY, num_scales=3, num_samples=(arguments[3:] or (12,))[0])
