"""What the theory of one unit asks of an ensemble."""

from ..._arguments import require_instance
from ...couplings import Ensemble


def require_no_mean(ensemble: Ensemble) -> None:
    """Raises `ValueError` for what is no ensemble, and for a finite-rank part, which gives units a common mean."""
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    if ensemble.finite_rank().rank > 0:
        parts = [part.ensemble for part in ensemble.parts() if part.ensemble.finite_rank().rank > 0]
        raise ValueError(f"`ensemble` must have no finite-rank part, which gives units a common mean, got {parts[0]!r}")
