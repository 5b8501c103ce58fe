r"""How the overlap with a cue goes on in a large network, below and above the load that it can hold.

$$ m_\mu(t) = \langle \xi^\mu \phi(x(t)) \rangle $$

for N -> infinity, by `meanfield.transient_by_paths` with the cue and the patterns after it as condensed patterns.
`retrieve` measures the same in a network.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from .._arguments import real_array, require, require_instance, require_whole
from .._numerics import is_concrete
from .._results import Result
from ..couplings import Ensemble
from ..meanfield import Transient, transient_by_paths
from ..transfer import Transfer
from .sequences import PRESENT


class RetrievalCourse(Result, axes={"T": "times", "P": "pattern"}, units={"times": "tau"}):
    """The overlaps of a network with its cue and the patterns after it, made by `retrieval_course`.

    `overlaps` (P, T) are those at the `times`, with standard errors `overlaps_error`. `largest` is the highest overlap
    of each pattern, reached at `largest_time`. Above capacity it shows what a cue recovers for a while, before it is
    lost. `transient` has the covariances, responses and the memory kernel of the units. `converged` asks also that no
    pattern beyond the last one followed becomes present.
    """

    times: Float[Array, " T"]
    overlaps: Float[Array, "P T"]
    overlaps_error: Float[Array, "P T"]
    largest: Float[Array, " P"]
    largest_time: Float[Array, " P"]
    transient: Transient
    converged: Bool[Array, ""]

    def overlap(self, t: Float[ArrayLike, "..."]) -> Float[Array, "P ..."]:
        """The overlap with each pattern at time t, linear between the times.

        Raises `ValueError` for times that are not finite.
        """
        t = real_array("t", t).astype(self.times.dtype)
        require("t", t, np.isfinite, "finite")
        return jax.vmap(lambda m: jnp.interp(t, self.times, m))(self.overlaps)


def retrieval_course(
    ensemble: Ensemble,
    transfer: Transfer,
    cue: Float[ArrayLike, ""] | Float[ArrayLike, " P"] = 1.0,
    *,
    key: PRNGKeyArray,
    duration: float,
    step: float = 0.1,
    num_paths: int = 2000,
    length: int | None = None,
    variance: Float[ArrayLike, ""] = 0.0,
    noise: Float[ArrayLike, ""] = 0.0,
    memory: float | None = None,
) -> RetrievalCourse:
    r"""The overlaps with stored patterns after the start x(0) = sum_mu cue_mu xi^mu + sqrt(variance) z, for N -> inf.

    $$ \dot x = -x + \sum_{\mu\nu} \xi^\mu K_{\mu\nu} m_\nu + \eta + R\, \phi(x), \qquad
       m_\mu = \langle \xi^\mu \phi(x) \rangle $$

    where eta and R are what all other patterns do. The ensemble must store patterns: `DeepHebbian`, `RandomModes` with
    overlap 1 or -1 and one amplitude, or a sum of one of these and others. `cue` is the amplitude of the first pattern,
    or of each of the first ones. `length` patterns are followed, at least those of the cue and by default one of
    uncoupled patterns and eight of a sequence; a sequence that calls patterns beyond them has `converged` False.
    `key`, `duration`, `step`, `num_paths`, `noise` and `memory` are those of `transient_by_paths`.

    Valid for a number of cued patterns that stays finite while N -> infinity, and for patterns without overlaps. At
    small loads a cue is completed and kept. Above capacity it is recovered for a while, and lost. In a sequence the
    overlap moves on, by one pattern in about one time constant.

    Raises:
        ValueError: for an ensemble that stores no patterns; a length that is not whole, or below that of the cue; and
            as `transient_by_paths`.

    Source: derived here; Clark 2025 (arXiv 2506.05303) for uncoupled patterns.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    amplitudes = jnp.atleast_1d(real_array("cue", cue))
    if amplitudes.ndim != 1 or amplitudes.shape[0] == 0:
        raise ValueError(f"`cue` must be a number, or have shape (P,), got shape {amplitudes.shape}")
    alone = ensemble.stored(2)
    if alone is None:
        raise ValueError(
            "`ensemble` must store patterns in one of its parts, as `DeepHebbian` or `RandomModes.flat(overlap=1)`, "
            f"got {ensemble!r}"
        )
    if length is None:
        length = max(amplitudes.shape[0], _SEQUENCE if _calls(alone.core) else 1)
    require_whole("length", length, least=amplitudes.shape[0])
    all_of_them = ensemble.stored(length + 1)
    condensed = ensemble.stored(length)
    assert all_of_them is not None and condensed is not None  # as for 2
    run = transient_by_paths(
        ensemble,
        transfer,
        key=key,
        duration=duration,
        step=step,
        num_paths=num_paths,
        variance=variance,
        noise=noise,
        condensed=condensed,
        cue=jnp.pad(amplitudes, (0, length - amplitudes.shape[0])),
        memory=memory,
    )
    return _of_course(run, all_of_them.core)


# Patterns of a sequence that are followed by default: what a packet of overlap reaches in some ten time constants.
_SEQUENCE = 8


def _calls(core: Float[Array, "P P"]) -> bool:
    """Whether patterns call others; what is traced may."""
    return not is_concrete(core) or bool(np.any(np.asarray(core)[~np.eye(2, dtype=bool)]))


def _of_course(run: Transient, core: Float[Array, "Q Q"]) -> RetrievalCourse:
    overlaps, error = run.overlap, run.overlap_error
    assert overlaps is not None and error is not None  # as patterns were condensed
    called = jnp.abs(core[-1, :-1]).astype(overlaps.dtype) @ jnp.abs(overlaps) / jnp.max(jnp.abs(core))
    within = jnp.max(called) < PRESENT
    return RetrievalCourse(
        times=run.times,
        overlaps=overlaps,
        overlaps_error=error,
        largest=jnp.max(overlaps, 1),
        largest_time=run.times[jnp.argmax(overlaps, 1)],
        transient=run,
        converged=run.converged & (within | ~jnp.any(core[-1, :-1] != 0)),
    )
