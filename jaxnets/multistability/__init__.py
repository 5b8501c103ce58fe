"""Networks of threshold units: their stable patterns, exact flow and attractors, and low-rank piecewise-linear kin."""
