"""The rank of a network from held-out trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from .._arguments import require_whole
from .._results import Result
from .lowrank import LowRankFit, fit_low_rank
from .recordings import Recording


class RankChoice(Result, axes={"K": "ranks"}):
    """Held-out bounds by rank, made by `choose_rank`, in nats per recorded number.

    `held_out_elbo` are the bounds of `ranks`, and `fits` the fits. `lacks` are the bounds below the best one;
    `lacks_error`, their standard errors, come from the same trials under two fits, NaN for a single held-out trial.
    `rank` is the smallest one that lacks no more than its error, and `fit` the fit of it.
    """

    ranks: Int[np.ndarray, " K"]
    held_out_elbo: Float[np.ndarray, " K"]
    lacks: Float[np.ndarray, " K"]
    lacks_error: Float[np.ndarray, " K"]
    rank: int
    fit: LowRankFit
    fits: tuple[LowRankFit, ...]


def choose_rank(recording: Recording, ranks: Sequence[int], *, key: PRNGKeyArray, **options: Any) -> RankChoice:
    """The smallest rank whose held-out bound is the best one, within the standard error of the difference.

    `options` are those of `fit_low_rank`, but for the `checkpoint`, of which each rank writes its own: `name` becomes
    `name-rank2`. All ranks hold out the same trials. Raises `ValueError` as `fit_low_rank`, before any fit for ranks
    that are no whole numbers and for `held_out=0`.
    """
    ranks = list(ranks)
    if not ranks:
        raise ValueError("`ranks` must be one rank or more, got none")
    for rank in ranks:
        require_whole("ranks", rank)
    if isinstance(held := options.get("held_out"), (int, np.integer)) and held == 0:
        raise ValueError("`held_out` must be 1 or more: the rank is that of the best held-out bound")
    checkpoint = options.pop("checkpoint", None)
    fits = []
    for rank in sorted(set(ranks)):
        own = None if checkpoint is None else f"{checkpoint}-rank{rank}"
        fits.append(fit_low_rank(recording, rank, checkpoint=own, key=key, **options))
    elbo = np.array([float(fit.held_out_elbo) for fit in fits])
    held_out = np.asarray(fits[0].held_out)
    totals = np.array([np.asarray(fit.filtered.log_likelihood)[held_out] for fit in fits])
    observed = np.asarray(fits[0].filtered.num_observed)[held_out]
    best = int(np.argmax(np.where(np.isfinite(elbo), elbo, -np.inf)))
    differences = totals[best] - totals
    lacks = np.sum(differences, 1) / np.sum(observed)
    scatter = differences - lacks[:, None] * observed
    num = len(held_out)
    error = (
        np.sqrt(np.sum(scatter**2, 1) * num / (num - 1)) / np.sum(observed) if num > 1 else np.full(len(fits), np.nan)
    )
    within = lacks <= np.where(np.isfinite(error), error, 0)
    chosen = int(np.argmax(within))
    return RankChoice(
        ranks=np.array(sorted(set(ranks))),
        held_out_elbo=elbo,
        lacks=lacks,
        lacks_error=error,
        rank=sorted(set(ranks))[chosen],
        fit=fits[chosen],
        fits=tuple(fits),
    )
