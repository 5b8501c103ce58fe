r"""Null models of a measured matrix, of growing richness, and what they predict of it and of another one.

A null model is an ensemble that keeps some numbers of the matrix and draws everything else at random. Its samples, of
the size of the matrix, show what the matrix would be like if these numbers were all there is. Two comparisons are made:

- by likelihood, of the soft counts y of singular values and overlaps (see `connectome`): log N(y; mean, Sigma + tau^2)
  with mean and Sigma of the samples; the misfit tau is found on the matrix that the model was made of, and held fixed
  for others;
- by predictions, of any numbers of a network: right edge, onset, variance and dimension of its activity.

Source: derived here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import require_instance, require_key, require_whole, square_matrix
from .._numerics import is_concrete
from .._results import Result
from ..couplings import Ensemble, from_matrix
from ..spectra import eigenvalues
from .connectome import likeliest_misfit, log_normal, measure, soft_counts

Observe = Callable[[Float[Array, "n n"]], Mapping[str, Any]]


def null_models(
    matrix: Float[ArrayLike, "n n"], types: Sequence[str] | Int[ArrayLike, " n"], *, symmetry: bool = True
) -> dict[str, Ensemble]:
    """Ensembles that keep more and more of a measured matrix with `types` of units, by name, the poorest first.

    "i.i.d." has the mean and the variance of all weights; "types" those of every pair of types, with the correlations
    of J_ij and J_ji; "types, degrees" also how much units send and receive; "types, modes" instead the singular modes
    that stand out, with overlaps; "types, modes, overlaps" also how these overlap with the means of types. All but the
    first are made by `couplings.from_matrix`, which has the equations and says what needs `symmetry=False`. Any other
    ensemble may be put beside them, as that of a `FamilyFit`.

    Raises `ValueError` as `couplings.from_matrix`.
    """
    matrix = square_matrix("matrix", matrix)
    one = np.zeros(matrix.shape[0], int)
    return {
        "i.i.d.": from_matrix(matrix, types=one, beyond=None, symmetry=False),
        "types": from_matrix(matrix, types=types, beyond=None, symmetry=symmetry),
        "types, degrees": from_matrix(matrix, types=types, beyond="degrees", symmetry=symmetry),
        "types, modes": from_matrix(matrix, types=types, beyond="modes", symmetry=symmetry),
        "types, modes, overlaps": from_matrix(matrix, types=types, beyond="overlaps", symmetry=symmetry),
    }


class Scores(Result, axes={"M": "model", "W": "matrix", "O": "observable"}):
    """What null models predict of measured matrices; made by `score_models`.

    `models`, `matrices` and `observables` are the names along the axes. `predicted` and `scatter` are mean and standard
    deviation over samples of each model, of the size of each matrix, and `measured` is the same of the matrix.
    `log_likelihood_error` is the error of `log_likelihood` from another sample in the place of the matrix. `misfit` is
    tau, from the first matrix.
    """

    models: tuple[str, ...] = eqx.field(static=True)
    matrices: tuple[str, ...] = eqx.field(static=True)
    observables: tuple[str, ...] = eqx.field(static=True)
    measured: Float[Array, "W O"]
    predicted: Float[Array, "W M O"]
    scatter: Float[Array, "W M O"]
    log_likelihood: Float[Array, "W M"]
    log_likelihood_error: Float[Array, "W M"]
    misfit: Float[Array, " M"]

    @property
    def error(self) -> Float[Array, "W M O"]:
        """How far predictions are from what is measured, relative to it."""
        return self.predicted / self.measured[:, None] - 1

    def __str__(self) -> str:
        return self.table() if is_concrete(self) and np.ndim(self.misfit) == 1 else repr(self)

    def table(self) -> str:
        """For each matrix, one line a model: log-likelihood above the first model's, predictions with their scatter."""
        width = max(map(len, (*self.models, "measured")))
        lines = []
        for w, matrix in enumerate(self.matrices):
            heads = "".join(f"{name:>20}" for name in ("log-likelihood", *self.observables))
            lines += [f"{matrix}", f"{'':{width}}{heads}"]
            gained = self.log_likelihood[w] - self.log_likelihood[w, 0]
            for m, model in enumerate(self.models):
                cells = [f"{float(gained[m]):+.1f} ± {float(self.log_likelihood_error[w, m]):.1f}"]
                pairs = zip(self.predicted[w, m], self.scatter[w, m], strict=True)
                cells += [f"{float(value):.4g} ± {float(scatter):.2g}" for value, scatter in pairs]
                lines.append(f"{model:{width}}" + "".join(f"{cell:>20}" for cell in cells))
            values = (f"{float(value):.4g}" for value in self.measured[w])
            lines += [f"{'measured':{width}}{'':20}" + "".join(f"{value:>20}" for value in values), ""]
        return "\n".join(lines[:-1])


@jax.jit
def of_spectrum(J: Float[Array, "n n"]) -> dict[str, Float[Array, ""]]:
    """The right and the left edge of the eigenvalues of a matrix `J`, by real parts, and their root mean square |z|.

    Source: none; what `score_models` observes of a matrix.
    """
    z = eigenvalues(J)
    size = jnp.sqrt(jnp.mean(jnp.abs(z) ** 2))
    return {"right edge": jnp.max(z.real), "left edge": jnp.min(z.real), "rms |z|": size}


def score_models(
    models: Mapping[str, Ensemble],
    matrices: Mapping[str, Float[ArrayLike, "n n"]],
    observe: Observe | None = None,
    *,
    key: PRNGKeyArray,
    num_samples: int = 48,
    num_scales: int = 6,
    progress: bool = True,
) -> Scores:
    r"""Null models, compared by what `num_samples` samples of each predict of measured matrices.

    `matrices` are named. The `models` were made of the first one, and all others are held out. `observe` is a function
    of one matrix that returns numbers by name, such as those of a simulation; if None it is `of_spectrum`. It is called
    once for each sample and each matrix.

    The likelihood is of soft counts of singular values and overlaps at `num_scales` scales (see `fit_connectome`). An
    ensemble with many numbers may predict worse than one with few: nothing is refitted for a held-out matrix, whose own
    size the samples have.

    Raises:
        ValueError: for no model or matrix, an object that is no ensemble, matrices that are not square and finite, a
            matrix with too few modes for the scales, num_samples < 4 num_scales, and what `observe` raises.
    """
    require_key("key", key)
    require_whole("num_scales", num_scales, least=3)
    require_whole("num_samples", num_samples, least=4 * num_scales)
    if not models or not matrices:
        raise ValueError("`models` and `matrices` must have one entry at least, got none")
    for model in models.values():
        require_instance("models", model, Ensemble, "ensembles of `jaxnets.couplings`")
    arrays = {name: square_matrix("matrices", matrix) for name, matrix in matrices.items()}
    observe = of_spectrum if observe is None else observe
    scales = measure(next(iter(arrays.values())), 0, num_scales, "matrices").scales
    counts = [np.asarray(_counts_of(matrix, scales)) for matrix in arrays.values()]
    values = [dict(observe(matrix)) for matrix in arrays.values()]
    names = tuple(values[0])
    sizes = sorted({matrix.shape[0] for matrix in arrays.values()})
    found = np.zeros((len(arrays), len(models), 2, len(names)))
    likelihood, misfit = np.zeros((2, len(arrays), len(models))), np.zeros(len(models))
    bar = tqdm(total=len(models) * len(sizes), desc="sampling null models", delay=2, leave=False, disable=not progress)
    for m, model in enumerate(models.values()):
        of_size = {}
        for n, of in zip(sizes, jax.random.split(jax.random.fold_in(key, m), len(sizes)), strict=True):
            of_size[n] = _samples(model, n, jax.random.split(of, num_samples), observe, names, scales)
            bar.update()
        for w, matrix in enumerate(arrays.values()):
            seen, y = of_size[matrix.shape[0]]
            found[w, m] = np.mean(seen, 0), np.std(seen, 0, ddof=1)
            likelihood[:, w, m], misfit[m] = _likelihood(counts[w], y, misfit[m] if w > 0 else None)
    bar.close()
    return Scores(
        models=tuple(models),
        matrices=tuple(arrays),
        observables=names,
        measured=jnp.asarray([[float(one[name]) for name in names] for one in values]),
        predicted=jnp.asarray(found[:, :, 0]),
        scatter=jnp.asarray(found[:, :, 1]),
        log_likelihood=jnp.asarray(likelihood[0]),
        log_likelihood_error=jnp.asarray(likelihood[1]),
        misfit=jnp.asarray(misfit),
    )


def _samples(
    model: Ensemble, n: int, keys: PRNGKeyArray, observe: Observe, names: Sequence[str], scales: Float[Array, " K"]
) -> tuple[Float[np.ndarray, "B O"], Float[np.ndarray, "B 2*K"]]:
    """What is observed of samples of n units, and their counts."""
    sample = jax.jit(lambda key: model.sample(n, key=key).dense())
    seen, counts = [], []
    for key in keys:
        J = sample(key)
        at = observe(J)
        seen.append([float(at[name]) for name in names])
        counts.append(np.asarray(_counts_of(J, scales)))
    return np.array(seen), np.stack(counts)


def _likelihood(
    counts: Float[np.ndarray, " 2*K"], samples: Float[np.ndarray, "B 2*K"], misfit: float | None
) -> tuple[tuple[float, float], float]:
    """The log-likelihood of counts, with its error, and the misfit: the likeliest if None."""
    noise = samples - samples.mean(0)
    scatter = noise.T @ noise / (len(noise) - noise.shape[1] - 2)  # as in `fit_connectome`
    misses = counts - samples.mean(0)
    misfit = likeliest_misfit(misses, scatter) if misfit is None else misfit
    one, others = (np.asarray(log_normal(e, scatter, misfit)) for e in (misses, misses + noise))
    return (float(one), float(np.std(others))), misfit


@jax.jit
def _counts_of(J: Float[Array, "n n"], scales: Float[Array, " K"]) -> Float[Array, " 2*K"]:
    u, s, vt = jnp.linalg.svd(J)
    return soft_counts(s, jnp.sum(u * vt.T, axis=0), len(s), scales)
