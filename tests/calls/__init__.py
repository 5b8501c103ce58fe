"""How each public function and class that takes arrays is called: good arguments by name, one small problem each."""

from . import couplings, fits, patterns, simulation, theory
from .problems import Call

__all__ = ["CALLS", "Call"]

CALLS = couplings.CALLS | simulation.CALLS | theory.CALLS | patterns.CALLS | fits.CALLS
